//! Encodes the video of one rung as H.264.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer_video as video;
use media::codec::avc;
use media::{Access, CodecConfig, Frame, LatencyMode, TickGrid, Timestamp, Track, TrackId};

use crate::error::Error;
use crate::pipeline::{EncoderOutput, EncoderReaper, Notify, Pipeline, clock_time, codec_data, element, timestamp};
use crate::plan::{EncoderParams, Level, Rung};
use crate::source::parameter_sets::EncoderConstraints;
use crate::video::captions::Captions;
use crate::video::raw_frame::RawFrame;

/// GStreamer element of the software encoder, which every installation has.
pub(crate) const SOFTWARE: &str = "x264enc";
/// Hardware encoders that are looked for, the preferred one first: GStreamer element and name.
const HARDWARE: [(&str, &str); 4] = [
    ("nvh264enc", "NVENC"),
    ("vah264enc", "VA-API"),
    ("vaapih264enc", "VA-API (old plugin)"),
    ("v4l2h264enc", "Video4Linux"),
];
/// Samples per second above which one thread of x264 is too slow on some machines.
const ONE_THREAD: f64 = 1_920.0 * 1_080.0 * 32.0;
/// Encoded frames that wait to be pulled. They are small, and the ladder pulls them at once.
const MAX_WAITING: u32 = 120;

/// An encoder of this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncoderInfo {
    /// GStreamer element.
    pub element: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// Whether the encoder is hardware.
    pub hardware: bool,
}

/// Returns the H.264 encoders of this machine, the preferred one first.
pub fn encoders() -> Result<Vec<EncoderInfo>, Error> {
    gst::init().map_err(|error| Error::Start(error.to_string()))?;
    let hardware = HARDWARE.iter().map(|(element, name)| EncoderInfo { element, name, hardware: true });
    let all = hardware.chain([EncoderInfo { element: SOFTWARE, name: "x264", hardware: false }]);
    Ok(all.filter(|info| gst::ElementFactory::find(info.element).is_some()).collect())
}

/// Purpose of one [`Encoder`].
pub(crate) struct EncoderSpec<'a> {
    pub(crate) rung: &'a Rung,
    pub(crate) track: TrackId,
    /// Constraints, where the frames share a track with the source's. The encoder is then x264.
    pub(crate) constraints: Option<EncoderConstraints>,
    /// Size, format and colours of the frames that it is given.
    pub(crate) input: &'a video::VideoInfo,
}

/// Encodes one rung.
pub(crate) struct Encoder {
    pipeline: Pipeline,
    track: TrackId,
    ticks: TickGrid,
    duration: gst::ClockTime,
    /// Newest decoder configuration record that was announced.
    record: Option<Bytes>,
    /// Whether no frame was pushed yet.
    is_fresh: bool,
}

impl Encoder {
    /// Starts the encoder with this GStreamer element; with [`EncoderSpec::constraints`] it is x264 in any case.
    pub(crate) fn start(
        name: &str,
        spec: &EncoderSpec<'_>,
        params: &EncoderParams,
        notify: Notify,
    ) -> Result<Self, Error> {
        let EncoderSpec { rung, track, constraints, input } = *spec;
        let rate = gst::Fraction::new(rung.rate.frames as i32, rung.rate.seconds as i32);
        let mut from = input.to_caps().map_err(Error::refused("encoder > caps"))?;
        if let Some(structure) = from.make_mut().structure_mut(0) {
            structure.set("framerate", rate);
        }
        let to = gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("profile", constraints.map_or("high", |constraints| constraints.profile))
            .build();
        let is_software = name == SOFTWARE || constraints.is_some();
        let chain =
            if is_software { vec![software(rung, params, constraints)?] } else { hardware(name, rung, params)? };
        let pipeline = Pipeline::start(&from, &chain, &to, MAX_WAITING, notify)?;
        let second = gst::ClockTime::SECOND.nseconds() as f64;
        let duration = gst::ClockTime::from_nseconds((second / rung.rate.per_second()) as u64);
        Ok(Self { pipeline, track, ticks: params.ticks, duration, record: None, is_fresh: true })
    }

    /// Returns the number of frames that wait to be encoded.
    pub(crate) fn queued(&self) -> usize {
        self.pipeline.queued()
    }

    /// Encodes a frame with its captions; as a key frame if `key`.
    pub(crate) fn push(
        &mut self,
        frame: &RawFrame,
        captions: &Captions,
        pts: Timestamp,
        key: bool,
    ) -> Result<(), Error> {
        let Some(at) = clock_time(pts) else { return Ok(()) };
        // The first frame is a key frame anyway. GStreamer 1.22 ignores all later requests after one for the first
        // frame.
        if key && !self.is_fresh {
            self.pipeline.event(video::DownstreamForceKeyUnitEvent::builder().running_time(at).build());
        }
        self.is_fresh = false;
        self.pipeline.push(frame.timed_buffer(at, self.duration, captions))
    }

    /// Ends the input: the frames that the encoder holds back can be pulled.
    pub(crate) fn end(&self) {
        self.pipeline.end();
    }

    /// Ends the encoder on a thread of the `reaper`, with all that is inside.
    pub(crate) fn retire(self, reaper: &mut EncoderReaper) {
        reaper.reap(self.pipeline);
    }

    /// Returns whether all frames were pulled after [`Encoder::end`].
    pub(crate) fn is_ended(&self) -> bool {
        self.pipeline.is_ended()
    }

    /// Moves encoded frames to `out`.
    pub(crate) fn pull(&mut self, out: &mut Vec<EncoderOutput>) -> Result<(), Error> {
        while let Some(sample) = self.pipeline.pull() {
            if let Some(record) = codec_data(&sample).filter(|record| self.record.as_ref() != Some(record)) {
                let codec = CodecConfig::Avc(avc::Config::parse(record.clone())?);
                out.push(EncoderOutput::Track(Track::new(self.track, codec)));
                self.record = Some(record);
            }
            out.extend(self.frame(&sample).map(EncoderOutput::Frame));
        }
        Ok(())
    }

    /// Returns the error that stopped the encoder, if one did.
    pub(crate) fn fault(&mut self) -> Option<Error> {
        self.pipeline.fault()
    }

    fn frame(&self, sample: &gst::Sample) -> Option<Frame> {
        let buffer = sample.buffer_owned()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        // x264enc moves its segment by a thousand hours so that decode times may be before it.
        let time = |at: Option<gst::ClockTime>| {
            let nanos = segment.to_running_time_full(at?)?;
            i64::try_from(nanos.nseconds()).ok()
        };
        let at = |nanos: i64| self.ticks.at(self.ticks.index(timestamp(nanos)));
        let pts = at(time(buffer.pts())?);
        let dts = time(buffer.dts()).map_or(pts, at).min(pts);
        let access = Access::independent_if(!buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        let payload = Bytes::from_owner(buffer.into_mapped_buffer_readable().ok()?);
        Some(Frame { track: self.track, dts, pts, access, payload })
    }
}

/// Returns x264, with `superfast` for plus, which costs three quarters of premium's `veryfast`.
///
/// With constraints the encoder fills the gaps of a source. It then holds nothing back, so that its frames are there as
/// soon as they are needed.
fn software(
    rung: &Rung,
    params: &EncoderParams,
    constraints: Option<EncoderConstraints>,
) -> Result<gst::Element, Error> {
    let preset = match params.level {
        Level::Plus => "superfast",
        Level::Premium => "veryfast",
    };
    let samples = f64::from(rung.width) * f64::from(rung.height) * rung.rate.per_second();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if samples > ONE_THREAD { cores.clamp(1, 4) } else { 1 }.to_string();
    let gop = if constraints.is_some() { params.gop } else { params.max_gop };
    let key = (gop / rung.divisor).max(1).to_string();
    let kilobits = (rung.bitrate / 1_000).max(1).to_string();
    let low = params.mode == LatencyMode::Low;
    // No key frames at scene changes: all renditions have theirs at the same time, and only there.
    let mut options = "scenecut=0:open-gop=0".to_owned();
    if let Some(EncoderConstraints { set_id, level, .. }) = constraints {
        options.push_str(&format!(":sps-id={set_id}:level={level}"));
    }
    let mut properties = vec![
        ("speed-preset", preset),
        ("bitrate", &*kilobits),
        ("key-int-max", &*key),
        ("threads", &*threads),
        ("aud", "false"),
        ("vbv-buf-capacity", if low { "1000" } else { "2000" }),
        ("option-string", &*options),
    ];
    if low || constraints.is_some() {
        // Nothing is held back: no look-ahead, and no reordering.
        properties.push(("tune", "zerolatency"));
    } else {
        properties.extend([("bframes", "2"), ("rc-lookahead", "10")]);
    }
    element(SOFTWARE, &properties)
}

/// Returns the elements for a hardware encoder, with those properties that it has of the usual ones.
fn hardware(name: &str, rung: &Rung, params: &EncoderParams) -> Result<Vec<gst::Element>, Error> {
    let encoder = element(name, &[])?;
    let key = (params.max_gop / rung.divisor).max(1).to_string();
    let kilobits = (rung.bitrate / 1_000).max(1).to_string();
    let wanted = [
        ("bitrate", &*kilobits),
        ("key-int-max", &*key),
        ("keyframe-period", &*key),
        ("gop-size", &*key),
        ("b-frames", "0"),
        ("bframes", "0"),
    ];
    for (property, value) in wanted {
        if gst::prelude::ObjectExt::find_property(&encoder, property).is_some() {
            gst::prelude::GObjectExtManualGst::set_property_from_str(&encoder, property, value);
        }
    }
    // Hardware wants its own pixel formats, and writes Annex B.
    Ok(vec![element("videoconvert", &[])?, encoder, element("h264parse", &[])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_always_found() {
        let info = encoders().unwrap();
        assert_eq!(info.last().map(|info| (info.element, info.hardware)), Some((SOFTWARE, false)));
    }
}
