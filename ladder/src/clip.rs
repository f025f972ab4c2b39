//! The slate as a clip in the codec of a programme that is not encoded anew, for the gaps in it.
//!
//! It is made ahead, in one go, on a thread that may be kept busy for a moment.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use media::codec::{aac, ac3, av1, avc, flac, hevc, vp9};
use media::{CodecConfig, Frame, Timestamp, Track, TrackId};
use slate::filler::{LoopedVideo, Silence};

use crate::error::Error;
use crate::ladder::SlateImages;
use crate::pipeline::{Notify, Pipe, clock_time, element};
use crate::rate::Rate;
use crate::video::captions::Captions;
use crate::video::encoder::header;
use crate::video::raw_frame::{RawFrame, colours};
use crate::video::slate_image::Canvas;

/// A clip that takes longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Frames of silence that are encoded: the first ones still bear the encoder's beginning.
const SILENT_FRAMES: usize = 8;
/// Samples in a frame of silence where the frame itself does not tell.
const USUAL_SAMPLES: u32 = 1_024;
/// Samples of silence that are encoded: eight frames of the longest coding, FLAC's, and what an encoder holds back.
const SILENT_SAMPLES: usize = (SILENT_FRAMES + 2) * 4_608;
/// x264 at a quality that shows no trace of coding, in a profile that everything plays.
const H264: &[(&str, &str)] = &[
    ("pass", "qual"),
    ("quantizer", "20"),
    ("speed-preset", "superfast"),
    ("tune", "zerolatency"),
    ("threads", "1"),
    ("aud", "false"),
    ("option-string", "scenecut=0:open-gop=0:bframes=0"),
];
const AV1: &[(&str, &str)] = &[
    ("usage-profile", "realtime"),
    ("cpu-used", "8"),
    ("min-quantizer", "10"),
    ("max-quantizer", "24"),
    ("lag-in-frames", "0"),
    ("threads", "1"),
    ("keyframe-max-dist", "9999"),
];
const VP9: &[(&str, &str)] = &[
    ("deadline", "1"),
    ("cpu-used", "8"),
    ("end-usage", "cq"),
    ("cq-level", "24"),
    ("target-bitrate", "2000000"),
    ("lag-in-frames", "0"),
    ("threads", "1"),
    ("keyframe-max-dist", "9999"),
];

/// What clips and their silence are made with, where that is not known by heart: a codec, and the elements for it.
const ENCODERS: [(&str, &[&str]); 8] = [
    ("H.264", &["x264enc"]),
    ("HEVC", &["x265enc", "h265parse"]),
    ("AV1", &["av1enc"]),
    ("VP9", &["vp9enc"]),
    ("AAC", &["avenc_aac"]),
    ("AC-3", &["avenc_ac3"]),
    ("E-AC-3", &["avenc_eac3"]),
    ("FLAC", &["flacenc"]),
];

/// The codecs that a clip may have to be in, each with the first element that this machine lacks for it, if it lacks one.
pub fn encoders() -> Result<Vec<(&'static str, Option<&'static str>)>, Error> {
    gst::init().map_err(|error| Error::Start(error.to_string()))?;
    let lacks = |element: &&&str| gst::ElementFactory::find(element).is_none();
    Ok(ENCODERS.iter().map(|(codec, elements)| (*codec, elements.iter().find(lacks).copied())).collect())
}

/// What the pictures of a clip have to be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClipSpec {
    coding: Coding,
    size: (u32, u32),
    /// Shape of a pixel: width to height.
    aspect: (u16, u16),
    rate: Rate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Coding {
    Avc,
    Hevc,
    Av1,
    Vp9,
}

impl ClipSpec {
    /// What goes with pictures of a track at this rate; none for sound, and where the size is not known yet.
    pub fn of(codec: &CodecConfig, rate: Rate) -> Option<Self> {
        let coding = match codec {
            CodecConfig::Avc(_) => Coding::Avc,
            CodecConfig::Hevc(_) => Coding::Hevc,
            CodecConfig::Av1(_) => Coding::Av1,
            CodecConfig::Vp9(_) => Coding::Vp9,
            _ => return None,
        };
        Some(Self { coding, size: codec.resolution()?, aspect: codec.pixel_aspect().unwrap_or((1, 1)), rate })
    }

    /// Frames a second.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The slate as one GOP of so many seconds. Blocks the thread for as long as the encoder takes.
    pub fn render_clip(&self, slate: &SlateImages, seconds: u32) -> Result<LoopedVideo, Error> {
        gst::init().map_err(|error| Error::Start(error.to_string()))?;
        let mut canvas = Canvas::with_pixels(self.size, self.aspect, &colours(None))?;
        let picture = canvas.draw(slate)?;
        let count = self.rate.frames_in(seconds);
        let samples = self.encode(&picture, count)?;
        let codec = self.coding.config(samples.first().ok_or(Error::Clip("no frames"))?)?;
        let frame = |(n, sample): (i64, &gst::Sample)| {
            let at = Timestamp::ZERO + self.rate.span(n);
            let payload = self.coding.payload(bytes(sample)?);
            Some(Frame { track: TRACK, dts: at, pts: at, access: codec.access(&payload), payload })
        };
        let frames: Option<Vec<_>> = (0..).zip(&samples).map(frame).collect();
        let frames = frames.ok_or(Error::Clip("frames without bytes"))?;
        let length = self.rate.span(count.into());
        LoopedVideo::new(Track::new(TRACK, codec), frames, length).ok_or(Error::Clip("it cannot be repeated"))
    }

    /// The same picture `count` times.
    fn encode(&self, picture: &RawFrame, count: u32) -> Result<Vec<gst::Sample>, Error> {
        let rate = gst::Fraction::new(self.rate.frames as i32, self.rate.seconds as i32);
        let mut from = picture.info().to_caps().map_err(Error::refused("clip > caps"))?;
        if let Some(structure) = from.make_mut().structure_mut(0) {
            structure.set("framerate", rate);
            let (width, height) = self.aspect;
            structure.set("pixel-aspect-ratio", gst::Fraction::new(width.max(1).into(), height.max(1).into()));
        }
        let (chain, to) = self.coding.chain(count)?;
        let span = gst::ClockTime::from_nseconds((1e9 / self.rate.per_second()) as u64);
        let at = |n| clock_time(Timestamp::ZERO + self.rate.span(n)).unwrap_or_default();
        let pictures = (0..i64::from(count)).map(|n| picture.dated(at(n), span, &Captions::default()));
        encode(&from, &chain, &to, pictures, usize::try_from(count).unwrap_or(usize::MAX))
    }
}

/// The track of a clip until it takes the place of another one.
const TRACK: TrackId = TrackId(0);

impl Coding {
    fn chain(self, gop: u32) -> Result<(Vec<gst::Element>, gst::Caps), Error> {
        let caps = |name: &str| gst::Caps::builder(name).field("alignment", "au");
        Ok(match self {
            Self::Avc => {
                let key = gop.to_string();
                let properties = [H264, &[("key-int-max", &key)]].concat();
                let to = caps("video/x-h264").field("stream-format", "avc").field("profile", "main").build();
                (vec![element("x264enc", &properties)?], to)
            }
            Self::Hevc => {
                let options = format!(
                    "keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=0:crf=20:log-level=none:pools=none:frame-threads=1"
                );
                let properties = [("speed-preset", "ultrafast"), ("tune", "zerolatency"), ("option-string", &options)];
                let chain = vec![element("x265enc", &properties)?, element("h265parse", &[])?];
                (chain, caps("video/x-h265").field("stream-format", "hvc1").build())
            }
            Self::Av1 => {
                (vec![element("av1enc", AV1)?], gst::Caps::builder("video/x-av1").field("alignment", "tu").build())
            }
            Self::Vp9 => (vec![element("vp9enc", VP9)?], gst::Caps::builder("video/x-vp9").build()),
        })
    }

    fn config(self, first: &gst::Sample) -> Result<CodecConfig, Error> {
        let missing = Error::Clip("no header");
        Ok(match self {
            Self::Avc => CodecConfig::Avc(avc::Config::parse(header(first).ok_or(missing)?)?),
            Self::Hevc => CodecConfig::Hevc(hevc::Config::parse(header(first).ok_or(missing)?)?),
            Self::Av1 => CodecConfig::Av1(av1::Config::from_sample(&bytes(first).ok_or(missing)?)?),
            Self::Vp9 => CodecConfig::Vp9(vp9::Config::from_key_frame(&bytes(first).ok_or(missing)?)?),
        })
    }

    /// A frame as it stands in MP4.
    fn payload(self, frame: Bytes) -> Bytes {
        if self == Self::Av1 { av1::without_delimiters(frame) } else { frame }
    }
}

/// Silence in the coding of a track: known by heart, or else made by an encoder, with a header of its own. Blocks the
/// thread for as long as that takes.
pub fn silence(track: &Track) -> Result<Silence, Error> {
    if let Some(silence) = Silence::of(track.clone()) {
        return Ok(silence);
    }
    gst::init().map_err(|error| Error::Start(error.to_string()))?;
    let caps = gst::Caps::builder;
    let (name, to) = match &track.codec {
        CodecConfig::Aac(_) => {
            ("avenc_aac", caps("audio/mpeg").field("mpegversion", 4).field("stream-format", "raw").build())
        }
        CodecConfig::Ac3(_) => ("avenc_ac3", caps("audio/x-ac3").build()),
        CodecConfig::Eac3(_) => ("avenc_eac3", caps("audio/x-eac3").build()),
        CodecConfig::Flac(_) => ("flacenc", caps("audio/x-flac").build()),
        other => return Err(Error::Missing(format!("silence in {}", other.name()))),
    };
    let (rate, channels) = (track.codec.sample_rate().unwrap_or(48_000), track.codec.channels().unwrap_or(2));
    let from = caps("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", rate as i32)
        .field("channels", i32::from(channels))
        .field("channel-mask", gst::Bitmask::new(speakers(channels)))
        .build();
    let mut zeros = gst::Buffer::from_slice(vec![0_u8; SILENT_SAMPLES * usize::from(channels) * size_of::<i16>()]);
    if let Some(writable) = zeros.get_mut() {
        writable.set_pts(gst::ClockTime::ZERO);
    }
    let chain = [element("audioconvert", &[])?, element(name, &[])?];
    let samples = encode(&from, &chain, &to, std::iter::once(zeros), SILENT_FRAMES)?;
    let missing = || Error::Clip("no frame of silence");
    let first = samples.first().ok_or_else(missing)?;
    let payload = samples.last().and_then(bytes).ok_or_else(missing)?;
    let codec = match &track.codec {
        CodecConfig::Aac(_) => CodecConfig::Aac(aac::Config::parse(header(first).ok_or_else(missing)?)?),
        CodecConfig::Ac3(_) => CodecConfig::Ac3(ac3::Config::from_frame(&payload)?),
        CodecConfig::Eac3(_) => CodecConfig::Eac3(ac3::EnhancedConfig::from_access_unit(&payload)?),
        _ => CodecConfig::Flac(flac::Config::parse(&stream_header(first).ok_or_else(missing)?)?),
    };
    let length = codec.packet_samples(&payload).or(codec.samples_per_frame()).unwrap_or(USUAL_SAMPLES);
    Ok(Silence::new(Track { codec, ..track.clone() }, payload, length))
}

/// The usual places of so many speakers, as GStreamer numbers them: front left and right, centre, bass, rear.
const fn speakers(channels: u8) -> u64 {
    match channels {
        1 => 0,
        2 => 0b11,
        3 => 0b111,
        4 => 0b11_0011,
        5 => 0b11_0111,
        _ => 0b11_1111,
    }
}

/// What a FLAC encoder would write before its first frame.
fn stream_header(sample: &gst::Sample) -> Option<Bytes> {
    let headers = sample.caps()?.structure(0)?.get::<gst::Array>("streamheader").ok()?;
    // The marker and version of FLAC in Ogg, then `fLaC` and the stream information.
    let first = headers.iter().next()?.get::<gst::Buffer>().ok()?;
    let map = first.map_readable().ok()?;
    let at = map.windows(4).position(|four| four == b"fLaC")?;
    map.get(at..).map(Bytes::copy_from_slice)
}

fn bytes(sample: &gst::Sample) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&sample.buffer()?.map_readable().ok()?))
}

/// Runs `buffers` through a chain until `count` frames came out; headers that come as buffers are not frames.
fn encode(
    from: &gst::Caps,
    chain: &[gst::Element],
    to: &gst::Caps,
    buffers: impl Iterator<Item = gst::Buffer>,
    count: usize,
) -> Result<Vec<gst::Sample>, Error> {
    let (bell, rings) = bell();
    let most = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
    let mut pipe = Pipe::start(from, chain, to, most, bell)?;
    buffers.into_iter().try_for_each(|buffer| pipe.push(buffer))?;
    pipe.end();
    collect(&mut pipe, &rings, count)
}

/// Rings where something waits.
fn bell() -> (Notify, Receiver<()>) {
    let (bell, rings) = sync_channel(1);
    let ring = move || {
        // One ring is enough: after it all that is there is taken.
        let _ = bell.try_send(());
    };
    (Arc::new(ring), rings)
}

fn collect(pipe: &mut Pipe, rings: &Receiver<()>, count: usize) -> Result<Vec<gst::Sample>, Error> {
    let (mut samples, began) = (Vec::new(), Instant::now());
    while samples.len() < count {
        if let Some(sample) = pipe.pull() {
            let is_header = |buffer: &gst::BufferRef| buffer.flags().contains(gst::BufferFlags::HEADER);
            let only_header = sample.buffer().is_none_or(|buffer| is_header(buffer) && buffer.pts().is_none());
            samples.extend((!only_header).then_some(sample));
            continue;
        }
        if let Some(error) = pipe.fault() {
            return Err(error);
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::Clip("the encoder is too slow"));
        }
        // Woken by the next frame; a fault rings no bell.
        let _ring = rings.recv_timeout(Duration::from_millis(100));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::decoder::{Decoded, Decoder};
    use media::codec::opus;
    use media::{Access, Kind, TimeDelta};
    use slate::{Filler, Item, TrackEnd};

    fn slate() -> SlateImages {
        let [landscape, portrait] =
            [slate::default_images::LANDSCAPE, slate::default_images::PORTRAIT].map(Bytes::from_static);
        SlateImages { landscape, portrait }
    }

    fn likeness(coding: Coding, size: (u32, u32)) -> ClipSpec {
        ClipSpec { coding, size, aspect: (1, 1), rate: Rate::new(30_000, 1_001) }
    }

    fn ms(n: i64) -> TimeDelta {
        TimeDelta::from_millis(n)
    }

    /// What leaves in the first two seconds of a gap.
    fn played(clip: slate::filler::SlateClip, track: Track) -> Vec<Frame> {
        let end = TrackEnd { track, dts: Timestamp::ZERO, pts: Timestamp::ZERO };
        let mut out = Vec::new();
        Filler::new(clip, &[end], ms(0)).poll(ms(2_000), &mut out);
        let frames = out.into_iter().filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            _ => None,
        });
        frames.collect()
    }

    /// Decodes frames until so much is out.
    fn decoded(track: &Track, frames: &[Frame], enough: usize) -> Vec<Decoded> {
        let (bell, rings) = bell();
        let mut decoder = Decoder::start(track, bell).unwrap();
        frames.iter().for_each(|frame| decoder.push(frame).unwrap());
        decoder.end();
        let mut all = Vec::new();
        while all.len() < enough {
            match decoder.pull() {
                Some(one) => all.push(one),
                None => rings.recv_timeout(Duration::from_secs(20)).unwrap(),
            }
        }
        assert_eq!(decoder.damaged_frames() + decoder.skipped_frames(), 0);
        all
    }

    #[test]
    fn the_slate_is_shown_in_every_codec() {
        for coding in [Coding::Avc, Coding::Hevc, Coding::Av1, Coding::Vp9] {
            let reel = likeness(coding, (640, 360)).render_clip(&slate(), 1).unwrap();
            let track = reel.track().clone();
            assert_eq!(ClipSpec::of(&track.codec, Rate::new(30_000, 1_001)).unwrap(), likeness(coding, (640, 360)));
            let clip = slate::filler::SlateClip { pictures: Some(reel), sounds: Vec::new() };
            let frames = played(clip, track.clone());
            assert_eq!(frames.len(), 60, "{coding:?}");
            let keys: Vec<_> = (0..).zip(&frames).filter(|(_, frame)| frame.access == Access::Independent).collect();
            assert_eq!(keys.iter().map(|(n, _)| *n).collect::<Vec<i32>>(), [0, 30], "{coding:?}");
            let size: usize = frames.iter().map(|frame| frame.payload.len()).sum();
            assert!(size < 200_000, "{coding:?} takes {size} bytes");
            let Some(Decoded::Video { picture, .. }) = decoded(&track, &frames, 40).pop() else { unreachable!() };
            assert_eq!((picture.width(), picture.height()), (640, 360), "{coding:?}");
        }
    }

    #[test]
    fn pixels_keep_their_shape() {
        let wide = ClipSpec { aspect: (4, 3), ..likeness(Coding::Avc, (720, 480)) };
        let reel = wide.render_clip(&slate(), 1).unwrap();
        assert_eq!(reel.track().codec.display_size(), Some((960, 480)));
        let upright = likeness(Coding::Avc, (360, 640)).render_clip(&slate(), 1).unwrap();
        assert_eq!(upright.track().codec.resolution(), Some((360, 640)));
    }

    #[test]
    fn what_is_no_picture_makes_no_clip() {
        let none = SlateImages { landscape: Bytes::from_static(b"GIF89a"), portrait: Bytes::new() };
        assert!(matches!(likeness(Coding::Avc, (640, 360)).render_clip(&none, 1), Err(Error::Slate(_))));
        assert_eq!(ClipSpec::of(&CodecConfig::Opus(opus::Config::new(2).unwrap()), Rate::new(30, 1)), None);
    }

    #[test]
    fn there_is_silence_in_other_codecs() {
        // Six channels of AAC-LC at 48 kHz; AC-3 and E-AC-3 by the headers of a frame; FLAC by its stream information.
        let aac = CodecConfig::Aac(aac::Config::new(2, 48_000, 6).unwrap());
        let sync = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1];
        let ac3 = CodecConfig::Ac3(ac3::Config::from_frame(&sync).unwrap());
        let info = [&[0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0xb8, 0x02, 0xf0][..], &[0; 20]].concat();
        let flac = CodecConfig::Flac(flac::Config::parse(&info).unwrap());
        for codec in [aac, ac3, flac] {
            let track = Track::new(TrackId(5), codec);
            let silence = silence(&track).unwrap();
            let clip = slate::filler::SlateClip { pictures: None, sounds: vec![silence] };
            let frames = played(clip, track.clone());
            assert!(frames.len() > 20 && track.kind() == Kind::Audio, "{}", track.codec.name());
            let apart = frames[1].dts - frames[0].dts;
            assert!(apart > ms(20) && apart < ms(100), "{}: {apart:?}", track.codec.name());
        }
    }
}
