//! One GStreamer pipeline between an application source and an application sink, without a clock.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as app;
use media::{Frame, Timestamp, Track};

use crate::error::Error;

/// Callback on a thread of GStreamer's, whenever output can be pulled, and at the end of the output.
pub(crate) type Notify = Arc<dyn Fn() + Send + Sync>;

/// Flicks and nanoseconds in a second. A flick is longer than a nanosecond, so converting to nanoseconds and back is
/// exact.
const FLICKS: i128 = 705_600_000;
const NANOS: i128 = 1_000_000_000;

/// Converts a time to GStreamer's; `None` for a negative time.
pub(crate) fn clock_time(at: Timestamp) -> Option<gst::ClockTime> {
    let nanos = (i128::from(at.flicks()) * NANOS + FLICKS / 2).div_euclid(FLICKS);
    u64::try_from(nanos).ok().map(gst::ClockTime::from_nseconds)
}

/// Converts nanoseconds to a time on the programme's timeline.
pub(crate) fn timestamp(nanos: i64) -> Timestamp {
    let flicks = (i128::from(nanos) * FLICKS + NANOS / 2).div_euclid(NANOS);
    media::Timescale::new(FLICKS as u32).timestamp(i64::try_from(flicks).unwrap_or(i64::MAX))
}

/// A running pipeline, which ends when it is dropped.
pub(crate) struct Pipeline {
    pipeline: gst::Pipeline,
    source: app::AppSrc,
    sink: app::AppSink,
    bus: gst::Bus,
    warnings: u64,
}

impl Pipeline {
    /// Starts `elements` between a source with the caps `from` and a sink with the caps `to`. The sink keeps
    /// `max_waiting` buffers before the pipeline waits.
    pub(crate) fn start(
        from: &gst::Caps,
        elements: &[gst::Element],
        to: &gst::Caps,
        max_waiting: u32,
        notify: Notify,
    ) -> Result<Self, Error> {
        let pipeline = gst::Pipeline::new();
        let source = app::AppSrc::builder()
            .caps(from)
            .format(gst::Format::Time)
            .is_live(true)
            .stream_type(app::AppStreamType::Stream)
            // No bound here, because [`Pipeline::queued`] is checked before each push.
            .max_bytes(0)
            .build();
        let sink = app::AppSink::builder()
            .caps(to)
            .sync(false)
            .enable_last_sample(false)
            .wait_on_eos(false)
            .max_buffers(max_waiting)
            .build();
        let notify_end = notify.clone();
        let callbacks = app::AppSinkCallbacks::builder()
            .new_sample(move |_| {
                notify();
                Ok(gst::FlowSuccess::Ok)
            })
            .eos(move |_| notify_end());
        sink.set_callbacks(callbacks.build());
        accept_any_layout(&sink)?;
        let mut chain = vec![source.clone().upcast::<gst::Element>()];
        chain.extend_from_slice(elements);
        chain.push(sink.clone().upcast());
        pipeline.add_many(&chain).map_err(Error::refused("pipeline"))?;
        gst::Element::link_many(&chain).map_err(Error::refused("pipeline"))?;
        let bus = pipeline.bus().ok_or_else(|| Error::Start("a pipeline without a bus".to_owned()))?;
        let pipeline = Self { pipeline, source, sink, bus, warnings: 0 };
        match pipeline.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(pipeline),
            Err(error) => {
                let mut pipeline = pipeline;
                Err(pipeline.fault().unwrap_or_else(|| Error::Start(error.to_string())))
            }
        }
    }

    /// Changes the caps of the buffers that follow.
    pub(crate) fn set_caps(&self, caps: &gst::Caps) {
        self.source.set_caps(Some(caps));
    }

    /// Returns the number of buffers that no element has taken yet.
    pub(crate) fn queued(&self) -> usize {
        usize::try_from(self.source.current_level_buffers()).unwrap_or(usize::MAX)
    }

    /// Pushes a buffer; never blocks.
    pub(crate) fn push(&self, buffer: gst::Buffer) -> Result<(), Error> {
        let refused = |error: gst::FlowError| Error::Refused { place: "pipeline > source", reason: error.to_string() };
        self.source.push_buffer(buffer).map(drop).map_err(refused)
    }

    /// Pushes an event, which the elements see after the buffers that were pushed before.
    pub(crate) fn event(&self, event: gst::Event) {
        self.source.send_event(event);
    }

    /// Ends the input: the buffers that elements hold back can be pulled.
    pub(crate) fn end(&self) {
        // Refused only by a pipeline that has ended already.
        let _ended = self.source.end_of_stream();
    }

    /// Returns whether the last buffer was pulled after [`Pipeline::end`].
    pub(crate) fn is_ended(&self) -> bool {
        self.sink.is_eos()
    }

    /// Returns the next output, if there is one.
    pub(crate) fn pull(&self) -> Option<gst::Sample> {
        self.sink.try_pull_sample(gst::ClockTime::ZERO)
    }

    /// Returns the number of warnings so far, each of them a frame that could not be decoded.
    pub(crate) const fn warnings(&self) -> u64 {
        self.warnings
    }

    /// Reads the pipeline's messages. Returns the error that stopped it, if one did.
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

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Joins the pipeline's threads. A sample that waits in the sink does not delay that.
        let _stopped = self.pipeline.set_state(gst::State::Null);
    }
}

/// Ends pipelines on threads of its own, because an encoder may be in the middle of a frame and the ladder must not
/// wait for it.
#[derive(Default)]
pub(crate) struct EncoderReaper(Vec<JoinHandle<()>>);

impl EncoderReaper {
    /// Ends a pipeline. The threads are few: no more than renditions are dropped while an encoder finishes one frame.
    pub(crate) fn reap(&mut self, pipeline: Pipeline) {
        self.0.retain(|thread| !thread.is_finished());
        // If no thread can be started, the closure is dropped, which ends the pipeline on this thread.
        self.0.extend(Builder::new().name("ladder-reaper".to_owned()).spawn(move || drop(pipeline)));
    }
}

impl Drop for EncoderReaper {
    fn drop(&mut self) {
        // Ending a pipeline does not panic.
        self.0.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn failed(message: &gst::Message, error: &glib::Error) -> Error {
    let element = message.src().map_or_else(String::new, |source| source.name().to_string());
    Error::Failed { element, reason: error.to_string() }
}

/// Makes the sink accept frames in any memory layout, so that decoders output their own buffers and copy nothing.
fn accept_any_layout(sink: &app::AppSink) -> Result<(), Error> {
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

/// Makes an element with these properties, which are given as text.
pub(crate) fn element(factory: &str, properties: &[(&str, &str)]) -> Result<gst::Element, Error> {
    let mut builder = gst::ElementFactory::make(factory);
    for (name, value) in properties {
        builder = builder.property_from_str(name, value);
    }
    builder.build().map_err(|_| Error::Missing(factory.to_owned()))
}

/// Output of an encoder, as [`Track`] and [`Frame`] of the programme.
pub(crate) enum EncoderOutput {
    /// Header of the frames that follow.
    Track(Track),
    /// Encoded frame.
    Frame(Frame),
}

/// Returns the decoder configuration record in a sample's caps.
pub(crate) fn codec_data(sample: &gst::Sample) -> Option<Bytes> {
    let buffer = sample.caps()?.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    let map = buffer.map_readable().ok()?;
    Some(Bytes::copy_from_slice(&map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Timescale;

    #[test]
    fn flicks_to_nanoseconds_and_back_is_exact() {
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
