//! Encodes the pictures of one rung as H.264.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer_video as video;
use media::codec::avc;
use media::{Access, CodecConfig, Frame, LatencyMode, Timestamp, Track, TrackId};

use crate::error::Error;
use crate::pipeline::{Leaving, Notify, Pipe, clock_time, element, timestamp};
use crate::plan::{Level, Rung};
use crate::rate::Rate;
use crate::source::parameter_sets::Style;
use crate::video::captions::Captions;
use crate::video::raw_frame::RawFrame;

/// The encoder that is always there.
pub(crate) const SOFTWARE: &str = "x264enc";
/// Hardware encoders that are looked for, the best first.
const HARDWARE: [(&str, &str); 4] = [
    ("nvh264enc", "NVENC"),
    ("vah264enc", "VA-API"),
    ("vaapih264enc", "VA-API, of old"),
    ("v4l2h264enc", "Video4Linux"),
];
/// Pictures in a second above which one thread of x264 cannot keep up on every machine, as samples.
const ONE_THREAD: f64 = 1_920.0 * 1_080.0 * 32.0;
/// Frames that wait behind an encoder: they are small, and the ladder takes them at once.
const MAX_WAITING: u32 = 120;

/// An encoder on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncoderInfo {
    /// Its element of GStreamer.
    pub element: &'static str,
    /// What it is, for people.
    pub name: &'static str,
    /// Whether it is hardware.
    pub hardware: bool,
}

/// The H.264 encoders on this machine, in the order in which they are taken.
pub fn encoders() -> Result<Vec<EncoderInfo>, Error> {
    gst::init().map_err(|error| Error::Start(error.to_string()))?;
    let hardware = HARDWARE.iter().map(|(element, name)| EncoderInfo { element, name, hardware: true });
    let all = hardware.chain([EncoderInfo { element: SOFTWARE, name: "x264", hardware: false }]);
    Ok(all.filter(|found| gst::ElementFactory::find(found.element).is_some()).collect())
}

/// Where the frames of a constant rate stand: frame `n` is `n` spans from the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub(crate) origin: Timestamp,
    pub(crate) rate: Rate,
}

impl Ticks {
    /// The number of the frame nearest to `at`.
    pub(crate) fn index(&self, at: Timestamp) -> i64 {
        let (seconds, parts) = (i64::from(self.rate.seconds), media::Timescale::new(self.rate.frames));
        (parts.delta_ticks(at - self.origin) + seconds / 2).div_euclid(seconds)
    }

    pub(crate) fn at(&self, index: i64) -> Timestamp {
        self.origin + self.rate.span(index)
    }
}

/// What all encoders of a ladder have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    pub(crate) level: Level,
    pub(crate) mode: LatencyMode,
    /// The leader's frames.
    pub(crate) ticks: Ticks,
    /// Frames of the leader from one key frame to the next.
    pub(crate) gop: u32,
    /// And at the most, where the source says when.
    pub(crate) longest_gop: u32,
}

/// Encodes one rung.
pub(crate) struct Encoder {
    pipe: Pipe,
    id: TrackId,
    ticks: Ticks,
    duration: gst::ClockTime,
    header: Option<Bytes>,
    fresh: bool,
}

/// What comes out of an encoder.
pub(crate) enum Encoded {
    /// The header of the frames that follow.
    Track(Track),
    /// A frame.
    Frame(Frame),
}

impl Encoder {
    /// Starts the encoder `name` for pictures like `info`; one of `style` is x264 whatever its name.
    pub(crate) fn start(
        name: &str,
        rung: &Rung,
        id: TrackId,
        coding: &Coding,
        style: Option<Style>,
        info: &video::VideoInfo,
        notify: Notify,
    ) -> Result<Self, Error> {
        let rate = gst::Fraction::new(rung.rate.frames as i32, rung.rate.seconds as i32);
        let mut from = info.to_caps().map_err(Error::refused("encoder > caps"))?;
        if let Some(structure) = from.make_mut().structure_mut(0) {
            structure.set("framerate", rate);
        }
        let to = gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("profile", style.map_or("high", |style| style.profile))
            .build();
        let is_software = name == SOFTWARE || style.is_some();
        let chain = if is_software { vec![software(rung, coding, style)?] } else { hardware(name, rung, coding)? };
        let pipe = Pipe::start(&from, &chain, &to, MAX_WAITING, notify)?;
        let second = gst::ClockTime::SECOND.nseconds() as f64;
        let duration = gst::ClockTime::from_nseconds((second / rung.rate.per_second()) as u64);
        Ok(Self { pipe, id, ticks: coding.ticks, duration, header: None, fresh: true })
    }

    /// Pictures that wait.
    pub(crate) fn queued(&self) -> usize {
        self.pipe.queued()
    }

    /// Encodes a picture with captions, as a key frame if so.
    pub(crate) fn push(
        &mut self,
        picture: &RawFrame,
        captions: &Captions,
        pts: Timestamp,
        key: bool,
    ) -> Result<(), Error> {
        let Some(at) = clock_time(pts) else { return Ok(()) };
        // The first picture is a key frame anyway, and asking for one there makes 1.22 ignore all later ones.
        if key && !self.fresh {
            self.pipe.event(video::DownstreamForceKeyUnitEvent::builder().running_time(at).build());
        }
        self.fresh = false;
        self.pipe.push(picture.dated(at, self.duration, captions))
    }

    /// Nothing follows: what is held back comes out.
    pub(crate) fn end(&self) {
        self.pipe.end();
    }

    /// Ends it as it stands, aside.
    pub(crate) fn leave(self, leaving: &mut Leaving) {
        leaving.end(self.pipe);
    }

    /// Whether all came out after [`Self::end`], and was pulled.
    pub(crate) fn is_ended(&self) -> bool {
        self.pipe.is_ended()
    }

    /// Puts what is encoded into `out`.
    pub(crate) fn pull(&mut self, out: &mut Vec<Encoded>) -> Result<(), Error> {
        while let Some(sample) = self.pipe.pull() {
            if let Some(header) = header(&sample).filter(|header| self.header.as_ref() != Some(header)) {
                let codec = CodecConfig::Avc(avc::Config::parse(header.clone())?);
                out.push(Encoded::Track(Track::new(self.id, codec)));
                self.header = Some(header);
            }
            out.extend(self.frame(&sample).map(Encoded::Frame));
        }
        Ok(())
    }

    /// The error that stopped the encoder, if one did.
    pub(crate) fn fault(&mut self) -> Option<Error> {
        self.pipe.fault()
    }

    fn frame(&self, sample: &gst::Sample) -> Option<Frame> {
        let buffer = sample.buffer_owned()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        // x264enc moves its segment by a thousand hours so that decode times may lie before it.
        let time = |at: Option<gst::ClockTime>| {
            let nanos = segment.to_running_time_full(at?)?;
            i64::try_from(nanos.nseconds()).ok()
        };
        let at = |nanos: i64| self.ticks.at(self.ticks.index(timestamp(nanos)));
        let pts = at(time(buffer.pts())?);
        let dts = time(buffer.dts()).map_or(pts, at).min(pts);
        let access = Access::independent_if(!buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        let payload = Bytes::from_owner(buffer.into_mapped_buffer_readable().ok()?);
        Some(Frame { track: self.id, dts, pts, access, payload })
    }
}

/// The decoder configuration record of a sample's capabilities.
pub(crate) fn header(sample: &gst::Sample) -> Option<Bytes> {
    let buffer = sample.caps()?.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    let map = buffer.map_readable().ok()?;
    Some(Bytes::copy_from_slice(&map))
}

/// x264. `superfast` for plus: it costs three quarters of `veryfast`, which premium has. One with a style stands in for a
/// source: it holds nothing back, so that it is there as soon as it is needed.
fn software(rung: &Rung, coding: &Coding, style: Option<Style>) -> Result<gst::Element, Error> {
    let preset = match coding.level {
        Level::Plus => "superfast",
        Level::Premium => "veryfast",
    };
    let samples = f64::from(rung.width) * f64::from(rung.height) * rung.rate.per_second();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if samples > ONE_THREAD { cores.clamp(1, 4) } else { 1 }.to_string();
    let gop = if style.is_some() { coding.gop } else { coding.longest_gop };
    let key = (gop / rung.divisor).max(1).to_string();
    let kilobits = (rung.bitrate / 1_000).max(1).to_string();
    let low = coding.mode == LatencyMode::Low;
    // A cut of the scene makes no key frame: all rungs have theirs at the same time, and only there.
    let mut options = "scenecut=0:open-gop=0".to_owned();
    if let Some(Style { set_id, level, .. }) = style {
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
    if low || style.is_some() {
        // Nothing is held back: no frames looked ahead at, none reordered.
        properties.push(("tune", "zerolatency"));
    } else {
        properties.extend([("bframes", "2"), ("rc-lookahead", "10")]);
    }
    element(SOFTWARE, &properties)
}

/// An encoder of the machine's hardware, with what all of them have in common.
fn hardware(name: &str, rung: &Rung, coding: &Coding) -> Result<Vec<gst::Element>, Error> {
    let encoder = element(name, &[])?;
    let key = (coding.longest_gop / rung.divisor).max(1).to_string();
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
    // They want their own formats, and write Annex B.
    Ok(vec![element("videoconvert", &[])?, encoder, element("h264parse", &[])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_again() {
        for rate in [Rate::new(30_000, 1_001), Rate::new(25, 1), Rate::new(25, 2), Rate::new(60, 1)] {
            let ticks = Ticks { origin: media::Timescale::MILLIS.timestamp(10_033), rate };
            let slip = media::Timescale::new(705_600_000).delta(3);
            for n in [-2, -1, 0, 1, 2, 1_000_003] {
                let at = ticks.at(n);
                assert_eq!([ticks.index(at - slip), ticks.index(at), ticks.index(at + slip)], [n; 3]);
            }
        }
    }

    #[test]
    fn software_is_always_found() {
        let found = encoders().unwrap();
        assert_eq!(found.last().map(|found| (found.element, found.hardware)), Some((SOFTWARE, false)));
    }
}
