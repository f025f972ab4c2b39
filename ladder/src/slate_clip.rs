//! Renders the slate as a clip in the codec of a programme that is not transcoded, for the gaps in it.
//!
//! A clip is rendered ahead and as a whole, on a thread that may block.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gstreamer as gst;
use media::codec::{aac, ac3, av1, avc, flac, hevc, vp9};
use media::{CodecConfig, Frame, Timestamp, Track, TrackId};
use slate::filler::{LoopedVideo, SilentAudio};
use slate::gap::{ClipSpec, SlateImages, VideoCodec};

use crate::error::Error;
use crate::pipeline::{Notify, Pipeline, clock_time, codec_data, element};
use crate::video::captions::Captions;
use crate::video::colorimetry::output_colorimetry;
use crate::video::raw_frame::RawFrame;
use crate::video::slate_image::Canvas;

/// Longest time for rendering a clip.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Frames of silence that are encoded, because the first ones still contain the start of the encoder.
const SILENT_FRAMES: usize = 8;
/// Samples of silence that are encoded: eight frames of the longest kind, FLAC's, and what an encoder holds back.
const SILENT_SAMPLES: usize = (SILENT_FRAMES + 2) * 4_608;
/// Settings of x264 for no visible artefacts, in a profile that every player supports.
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

/// GStreamer elements for each codec that clips and silence are encoded in. The silence that [`SilentAudio`] has built
/// in needs none.
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

/// Returns the codecs of clips and silence, each with the first GStreamer element that this machine lacks for it, if
/// any.
pub fn encoders() -> Result<Vec<(&'static str, Option<&'static str>)>, Error> {
    gst::init().map_err(|error| Error::Start(error.to_string()))?;
    let lacks = |element: &&&str| gst::ElementFactory::find(element).is_none();
    Ok(ENCODERS.iter().map(|(codec, elements)| (*codec, elements.iter().find(lacks).copied())).collect())
}

/// Renders the slate as one GOP, a [`LoopedVideo`], of this length. Blocks the thread for as long as the encoder takes.
pub fn render(spec: &ClipSpec, images: &SlateImages, seconds: u32) -> Result<LoopedVideo, Error> {
    gst::init().map_err(|error| Error::Start(error.to_string()))?;
    let mut canvas = Canvas::with_pixels(spec.size, spec.pixel_aspect, &output_colorimetry(None))?;
    let image = canvas.draw(images)?;
    let count = spec.rate.frames_in(seconds);
    let samples = encode_image(spec, &image, count)?;
    let codec = codec_config(spec.codec, samples.first().ok_or(Error::Clip("no frames"))?)?;
    let frame = |(n, sample): (i64, &gst::Sample)| {
        let at = Timestamp::ZERO + spec.rate.span(n);
        let payload = mp4_payload(spec.codec, bytes(sample)?);
        Some(Frame { track: TRACK, dts: at, pts: at, access: codec.access(&payload), payload })
    };
    let frames: Option<Vec<_>> = (0..).zip(&samples).map(frame).collect();
    let frames = frames.ok_or(Error::Clip("frames without bytes"))?;
    let length = spec.rate.span(count.into());
    LoopedVideo::new(Track::new(TRACK, codec), frames, length).ok_or(Error::Clip("it cannot be repeated"))
}

/// Encodes the same image `count` times.
fn encode_image(spec: &ClipSpec, image: &RawFrame, count: u32) -> Result<Vec<gst::Sample>, Error> {
    let rate = gst::Fraction::new(spec.rate.frames as i32, spec.rate.seconds as i32);
    let mut from = image.info().to_caps().map_err(Error::refused("clip > caps"))?;
    if let Some(structure) = from.make_mut().structure_mut(0) {
        structure.set("framerate", rate);
        let (width, height) = spec.pixel_aspect;
        structure.set("pixel-aspect-ratio", gst::Fraction::new(width.max(1).into(), height.max(1).into()));
    }
    let (chain, to) = encoder_chain(spec.codec, count)?;
    let span = gst::ClockTime::from_nseconds((1e9 / spec.rate.per_second()) as u64);
    let at = |n| clock_time(Timestamp::ZERO + spec.rate.span(n)).unwrap_or_default();
    let images = (0..i64::from(count)).map(|n| image.timed_buffer(at(n), span, &Captions::default()));
    encode(&from, &chain, &to, images, usize::try_from(count).unwrap_or(usize::MAX))
}

/// Track of a clip before it is put in place of another one.
const TRACK: TrackId = TrackId(0);

fn encoder_chain(codec: VideoCodec, gop: u32) -> Result<(Vec<gst::Element>, gst::Caps), Error> {
    let caps = |name: &str| gst::Caps::builder(name).field("alignment", "au");
    Ok(match codec {
        VideoCodec::Avc => {
            let key = gop.to_string();
            let properties = [H264, &[("key-int-max", &key)]].concat();
            let to = caps("video/x-h264").field("stream-format", "avc").field("profile", "main").build();
            (vec![element("x264enc", &properties)?], to)
        }
        VideoCodec::Hevc => {
            let options = format!(
                "keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=0:crf=20:log-level=none:pools=none:\
                 frame-threads=1"
            );
            let properties = [("speed-preset", "ultrafast"), ("tune", "zerolatency"), ("option-string", &options)];
            let chain = vec![element("x265enc", &properties)?, element("h265parse", &[])?];
            (chain, caps("video/x-h265").field("stream-format", "hvc1").build())
        }
        VideoCodec::Av1 => {
            (vec![element("av1enc", AV1)?], gst::Caps::builder("video/x-av1").field("alignment", "tu").build())
        }
        VideoCodec::Vp9 => (vec![element("vp9enc", VP9)?], gst::Caps::builder("video/x-vp9").build()),
    })
}

fn codec_config(codec: VideoCodec, first: &gst::Sample) -> Result<CodecConfig, Error> {
    let missing = Error::Clip("no codec_data");
    Ok(match codec {
        VideoCodec::Avc => CodecConfig::Avc(avc::Config::parse(codec_data(first).ok_or(missing)?)?),
        VideoCodec::Hevc => CodecConfig::Hevc(hevc::Config::parse(codec_data(first).ok_or(missing)?)?),
        VideoCodec::Av1 => CodecConfig::Av1(av1::Config::from_sample(&bytes(first).ok_or(missing)?)?),
        VideoCodec::Vp9 => CodecConfig::Vp9(vp9::Config::from_key_frame(&bytes(first).ok_or(missing)?)?),
    })
}

/// Returns the frame as MP4 stores it.
fn mp4_payload(codec: VideoCodec, frame: Bytes) -> Bytes {
    if codec == VideoCodec::Av1 { av1::without_delimiters(frame) } else { frame }
}

/// Returns silence in the codec of a track: built in, or else from an encoder and with a header of its own. Blocks the
/// thread for as long as that takes.
pub fn silence(track: &Track) -> Result<SilentAudio, Error> {
    if let Some(silence) = SilentAudio::of(track.clone()) {
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
        CodecConfig::Aac(_) => CodecConfig::Aac(aac::Config::parse(codec_data(first).ok_or_else(missing)?)?),
        CodecConfig::Ac3(_) => CodecConfig::Ac3(ac3::Config::from_frame(&payload)?),
        CodecConfig::Eac3(_) => CodecConfig::Eac3(ac3::EnhancedConfig::from_access_unit(&payload)?),
        _ => CodecConfig::Flac(flac::Config::parse(&stream_header(first).ok_or_else(missing)?)?),
    };
    let length = codec.packet_samples_or_usual(&payload);
    Ok(SilentAudio::new(Track { codec, ..track.clone() }, payload, length))
}

/// Returns the usual positions of this number of speakers, by GStreamer's bits: front left and right, centre, bass,
/// rear.
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

/// Returns the header that a FLAC encoder writes before its first frame.
fn stream_header(sample: &gst::Sample) -> Option<Bytes> {
    let headers = sample.caps()?.structure(0)?.get::<gst::Array>("streamheader").ok()?;
    // The marker and version of FLAC in Ogg come first, then `fLaC` and the stream information.
    let first = headers.iter().next()?.get::<gst::Buffer>().ok()?;
    let map = first.map_readable().ok()?;
    let at = map.windows(4).position(|four| four == b"fLaC")?;
    map.get(at..).map(Bytes::copy_from_slice)
}

fn bytes(sample: &gst::Sample) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(&sample.buffer()?.map_readable().ok()?))
}

/// Runs `buffers` through a chain until `count` frames came out. Headers that come as buffers do not count as frames.
fn encode(
    from: &gst::Caps,
    chain: &[gst::Element],
    to: &gst::Caps,
    buffers: impl Iterator<Item = gst::Buffer>,
    count: usize,
) -> Result<Vec<gst::Sample>, Error> {
    let (notifier, signals) = notifier();
    let most = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
    let mut pipeline = Pipeline::start(from, chain, to, most, notifier)?;
    buffers.into_iter().try_for_each(|buffer| pipeline.push(buffer))?;
    pipeline.end();
    collect(&mut pipeline, &signals, count)
}

/// Returns a notifier, and the channel on which it signals.
fn notifier() -> (Notify, Receiver<()>) {
    let (notifier, signals) = sync_channel(1);
    let notify = move || {
        // One signal is enough, because all that is there is taken after it.
        let _ = notifier.try_send(());
    };
    (Arc::new(notify), signals)
}

fn collect(pipeline: &mut Pipeline, signals: &Receiver<()>, count: usize) -> Result<Vec<gst::Sample>, Error> {
    let (mut samples, began) = (Vec::new(), Instant::now());
    while samples.len() < count {
        if let Some(sample) = pipeline.pull() {
            let is_header = |buffer: &gst::BufferRef| buffer.flags().contains(gst::BufferFlags::HEADER);
            let only_header = sample.buffer().is_none_or(|buffer| is_header(buffer) && buffer.pts().is_none());
            samples.extend((!only_header).then_some(sample));
            continue;
        }
        if let Some(error) = pipeline.fault() {
            return Err(error);
        }
        if began.elapsed() > TIMEOUT {
            return Err(Error::Clip("the encoder is too slow"));
        }
        // Woken by the next frame. A fault does not signal.
        let _signal = signals.recv_timeout(Duration::from_millis(100));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::decoder::{Decoded, Decoder};
    use media::codec::opus;
    use media::{Access, FrameRate, Kind, TimeDelta};
    use slate::{Filler, Item, TrackEnd};

    fn slate() -> SlateImages {
        let [landscape, portrait] =
            [slate::default_images::LANDSCAPE, slate::default_images::PORTRAIT].map(Bytes::from_static);
        SlateImages { landscape, portrait }
    }

    fn spec(codec: VideoCodec, size: (u32, u32)) -> ClipSpec {
        ClipSpec { codec, size, pixel_aspect: (1, 1), rate: FrameRate::new(30_000, 1_001) }
    }

    fn ms(n: i64) -> TimeDelta {
        TimeDelta::from_millis(n)
    }

    /// Plays the first two seconds of a gap.
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

    /// Decodes frames until `enough` items came out.
    fn decoded(track: &Track, frames: &[Frame], enough: usize) -> Vec<Decoded> {
        let (notifier, signals) = notifier();
        let mut decoder = Decoder::start(track, notifier).unwrap();
        frames.iter().for_each(|frame| decoder.push(frame).unwrap());
        decoder.end();
        let mut all = Vec::new();
        while all.len() < enough {
            match decoder.pull() {
                Some(one) => all.push(one),
                None => signals.recv_timeout(Duration::from_secs(20)).unwrap(),
            }
        }
        assert_eq!(decoder.damaged_frames() + decoder.skipped_frames(), 0);
        all
    }

    #[test]
    fn slate_is_rendered_in_every_codec() {
        for codec in [VideoCodec::Avc, VideoCodec::Hevc, VideoCodec::Av1, VideoCodec::Vp9] {
            let clip = render(&spec(codec, (640, 360)), &slate(), 1).unwrap();
            let track = clip.track().clone();
            assert_eq!(ClipSpec::of(&track.codec, FrameRate::new(30_000, 1_001)).unwrap(), spec(codec, (640, 360)));
            let clip = slate::filler::SlateClip { video: Some(clip), audio: Vec::new() };
            let frames = played(clip, track.clone());
            assert_eq!(frames.len(), 60, "{codec:?}");
            let keys: Vec<_> = (0..).zip(&frames).filter(|(_, frame)| frame.access == Access::Independent).collect();
            assert_eq!(keys.iter().map(|(n, _)| *n).collect::<Vec<i32>>(), [0, 30], "{codec:?}");
            let size: usize = frames.iter().map(|frame| frame.payload.len()).sum();
            assert!(size < 200_000, "{codec:?} takes {size} bytes");
            let Some(Decoded::Video { frame: image, .. }) = decoded(&track, &frames, 40).pop() else { unreachable!() };
            assert_eq!((image.width(), image.height()), (640, 360), "{codec:?}");
        }
    }

    #[test]
    fn pixels_keep_their_shape() {
        let wide = ClipSpec { pixel_aspect: (4, 3), ..spec(VideoCodec::Avc, (720, 480)) };
        let clip = render(&wide, &slate(), 1).unwrap();
        assert_eq!(clip.track().codec.display_size(), Some((960, 480)));
        let upright = render(&spec(VideoCodec::Avc, (360, 640)), &slate(), 1).unwrap();
        assert_eq!(upright.track().codec.resolution(), Some((360, 640)));
    }

    #[test]
    fn data_that_is_no_image_makes_no_clip() {
        let none = SlateImages { landscape: Bytes::from_static(b"GIF89a"), portrait: Bytes::new() };
        assert!(matches!(render(&spec(VideoCodec::Avc, (640, 360)), &none, 1), Err(Error::Slate(_))));
        assert_eq!(ClipSpec::of(&CodecConfig::Opus(opus::Config::new(2).unwrap()), FrameRate::new(30, 1)), None);
    }

    #[test]
    fn silence_is_encoded_in_other_codecs() {
        // Six channels of AAC-LC at 48 kHz, AC-3 and E-AC-3 by the headers of a frame, and FLAC by its stream
        // information.
        let aac = CodecConfig::Aac(aac::Config::new(2, 48_000, 6).unwrap());
        let sync = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1];
        let ac3 = CodecConfig::Ac3(ac3::Config::from_frame(&sync).unwrap());
        let info = [&[0x12, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0xb8, 0x02, 0xf0][..], &[0; 20]].concat();
        let flac = CodecConfig::Flac(flac::Config::parse(&info).unwrap());
        for codec in [aac, ac3, flac] {
            let track = Track::new(TrackId(5), codec);
            let silence = silence(&track).unwrap();
            let clip = slate::filler::SlateClip { video: None, audio: vec![silence] };
            let frames = played(clip, track.clone());
            assert!(frames.len() > 20 && track.kind() == Kind::Audio, "{}", track.codec.name());
            let apart = frames[1].dts - frames[0].dts;
            assert!(apart > ms(20) && apart < ms(100), "{}: {apart:?}", track.codec.name());
        }
    }
}
