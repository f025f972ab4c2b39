//! One GStreamer pipeline between an application source and an application sink, without a clock.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as app;
use media::Timestamp;

use crate::error::Error;

/// Called on a thread of GStreamer's whenever something waits to be pulled.
pub(crate) type Notify = Arc<dyn Fn() + Send + Sync>;

/// Flicks and nanoseconds in a second. A nanosecond is shorter than a flick, so there and back is exact.
const FLICKS: i128 = 705_600_000;
const NANOS: i128 = 1_000_000_000;

/// `at` as GStreamer counts; none before the origin.
pub(crate) fn clock_time(at: Timestamp) -> Option<gst::ClockTime> {
    let nanos = (i128::from(at.flicks()) * NANOS + FLICKS / 2).div_euclid(FLICKS);
    u64::try_from(nanos).ok().map(gst::ClockTime::from_nseconds)
}

/// Nanoseconds on the programme's timeline.
pub(crate) fn timestamp(nanos: i64) -> Timestamp {
    let flicks = (i128::from(nanos) * FLICKS + NANOS / 2).div_euclid(NANOS);
    media::Timescale::new(FLICKS as u32).timestamp(i64::try_from(flicks).unwrap_or(i64::MAX))
}

/// A running pipeline; it ends when it is dropped.
pub(crate) struct Pipe {
    pipeline: gst::Pipeline,
    source: app::AppSrc,
    sink: app::AppSink,
    bus: gst::Bus,
    warnings: u64,
}

impl Pipe {
    /// Starts `elements` between a source of `from` and a sink of `to` that keeps `waiting` buffers before it makes the
    /// pipeline wait.
    pub(crate) fn start(
        from: &gst::Caps,
        elements: &[gst::Element],
        to: &gst::Caps,
        waiting: u32,
        notify: Notify,
    ) -> Result<Self, Error> {
        let pipeline = gst::Pipeline::new();
        let source = app::AppSrc::builder()
            .caps(from)
            .format(gst::Format::Time)
            .is_live(true)
            .stream_type(app::AppStreamType::Stream)
            // Whoever pushes looks at the level first.
            .max_bytes(0)
            .build();
        let sink = app::AppSink::builder()
            .caps(to)
            .sync(false)
            .enable_last_sample(false)
            .wait_on_eos(false)
            .max_buffers(waiting)
            .build();
        let end = notify.clone();
        let arrived = app::AppSinkCallbacks::builder()
            .new_sample(move |_| {
                notify();
                Ok(gst::FlowSuccess::Ok)
            })
            .eos(move |_| end());
        sink.set_callbacks(arrived.build());
        take_strides(&sink)?;
        let mut chain = vec![source.clone().upcast::<gst::Element>()];
        chain.extend_from_slice(elements);
        chain.push(sink.clone().upcast());
        pipeline.add_many(&chain).map_err(Error::refused("pipeline"))?;
        gst::Element::link_many(&chain).map_err(Error::refused("pipeline"))?;
        let bus = pipeline.bus().ok_or_else(|| Error::Start("a pipeline without a bus".to_owned()))?;
        let pipe = Self { pipeline, source, sink, bus, warnings: 0 };
        match pipe.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(pipe),
            Err(error) => {
                let mut pipe = pipe;
                Err(pipe.fault().unwrap_or_else(|| Error::Start(error.to_string())))
            }
        }
    }

    /// What follows is of other capabilities.
    pub(crate) fn set_caps(&self, caps: &gst::Caps) {
        self.source.set_caps(Some(caps));
    }

    /// Buffers that the pipeline has not begun with.
    pub(crate) fn queued(&self) -> usize {
        usize::try_from(self.source.current_level_buffers()).unwrap_or(usize::MAX)
    }

    /// Gives the pipeline a buffer; never waits.
    pub(crate) fn push(&self, buffer: gst::Buffer) -> Result<(), Error> {
        let refused = |error: gst::FlowError| Error::Refused { place: "pipeline > source", reason: error.to_string() };
        self.source.push_buffer(buffer).map(drop).map_err(refused)
    }

    /// Gives the pipeline an event behind the buffers so far.
    pub(crate) fn event(&self, event: gst::Event) {
        self.source.send_event(event);
    }

    /// Nothing follows: what is held back inside comes out.
    pub(crate) fn end(&self) {
        // Refused only by a pipeline that has ended already.
        let _ended = self.source.end_of_stream();
    }

    /// Whether the last buffer came out after [`Self::end`], and was pulled.
    pub(crate) fn is_ended(&self) -> bool {
        self.sink.is_eos()
    }

    /// What waits at the end of the pipeline.
    pub(crate) fn pull(&self) -> Option<gst::Sample> {
        self.sink.try_pull_sample(gst::ClockTime::ZERO)
    }

    /// Warnings so far: frames that could not be decoded.
    pub(crate) const fn warnings(&self) -> u64 {
        self.warnings
    }

    /// Reads the pipeline's messages; gives the error that stopped it.
    pub(crate) fn fault(&mut self) -> Option<Error> {
        while let Some(message) = self.bus.pop() {
            match message.view() {
                gst::MessageView::Error(error) => return Some(failed(&message, &error.error())),
                gst::MessageView::Warning(_) => self.warnings += 1,
                _ => {}
            }
        }
        None
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // Joins the pipeline's threads; a sample that waits in the sink does not hold them up.
        let _stopped = self.pipeline.set_state(gst::State::Null);
    }
}

/// Pipelines that end on threads of their own: one may be in the middle of a picture, and nobody waits for it.
#[derive(Default)]
pub(crate) struct Leaving(Vec<JoinHandle<()>>);

impl Leaving {
    /// Ends a pipeline aside. There are as many at a time as rungs that were given up within the time of one picture.
    pub(crate) fn end(&mut self, pipe: Pipe) {
        self.0.retain(|thread| !thread.is_finished());
        // Where no thread is to be had it ends here and now.
        self.0.extend(Builder::new().name("ladder-leaving".to_owned()).spawn(move || drop(pipe)));
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Ending a pipeline does not panic.
        self.0.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn failed(message: &gst::Message, error: &glib::Error) -> Error {
    let element = message.src().map_or_else(String::new, |source| source.name().to_string());
    Error::Failed { element, reason: error.to_string() }
}

/// The sink takes pictures in any memory layout, so that decoders hand out their own and copy nothing.
fn take_strides(sink: &app::AppSink) -> Result<(), Error> {
    let pad = sink.static_pad("sink").ok_or_else(|| Error::Missing("pad of appsink".to_owned()))?;
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| match info.query_mut().map(gst::QueryRef::view_mut) {
        Some(gst::QueryViewMut::Allocation(query)) => {
            query.add_allocation_meta::<gstreamer_video::VideoMeta>(None);
            gst::PadProbeReturn::Handled
        }
        _ => gst::PadProbeReturn::Ok,
    });
    Ok(())
}

/// An element with its properties as text.
pub(crate) fn element(factory: &str, properties: &[(&str, &str)]) -> Result<gst::Element, Error> {
    let mut builder = gst::ElementFactory::make(factory);
    for (name, value) in properties {
        builder = builder.property_from_str(name, value);
    }
    builder.build().map_err(|_| Error::Missing(factory.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Timescale;

    #[test]
    fn flicks_survive_nanoseconds() {
        for rate in [90_000, 48_000, 44_100, 30_000, 24_000] {
            for ticks in [0, 1, 2, 3, 1_001, 90_001, 44_099_999, 7_200_000_000] {
                let at = Timescale::new(rate).timestamp(ticks);
                let nanos = clock_time(at).unwrap().nseconds();
                assert_eq!(timestamp(i64::try_from(nanos).unwrap()), at);
            }
        }
        assert_eq!(clock_time(Timestamp::ZERO - media::TimeDelta::from_millis(1)), None);
    }
}
