//! Decodes one track of a contribution.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer_video as video;
use media::{Access, CodecConfig, Frame, Kind, Timestamp, Track, TrackId};

use crate::error::Error;
use crate::pipeline::{Notify, Pipeline, clock_time, element, timestamp};
use crate::video::raw_frame::RawFrame;

/// Sample rate of decoded audio, whatever the input has.
pub const SAMPLE_RATE: u32 = 48_000;
/// Channels of decoded audio, whatever the input has.
pub const CHANNELS: u32 = 2;

/// Most frames that wait for the decoder. At the bound the ladder pushes no more, and its
/// [`Inbox`](crate::inbox::Inbox) fills.
const MAX_QUEUED: usize = 8;
/// Most decoded frames, or blocks of audio, that wait to be pulled. At the bound the decoder waits.
const MAX_WAITING: u32 = 4;
/// Pixels per second above which several threads decode. Each of them delays the output by one frame.
const MAX_PIXEL_RATE_OF_ONE_THREAD: u64 = 1_920 * 1_080 * 60;
/// Frames per second that [`needs_threads`] assumes at least, because not every header has the rate.
const MIN_RATE: u64 = 30;

/// Output of a decoder, with the timestamps of its input.
#[derive(Debug)]
pub enum Decoded {
    /// Video frame.
    Video {
        /// Presentation time.
        pts: Timestamp,
        /// The raw frame.
        frame: RawFrame,
    },
    /// Interleaved samples of [`CHANNELS`] channels at [`SAMPLE_RATE`].
    Audio {
        /// Presentation time of the first sample.
        pts: Timestamp,
        /// The samples.
        samples: Vec<f32>,
    },
}

/// Decoder of one track.
pub struct Decoder {
    pipeline: Pipeline,
    track: TrackId,
    codec: CodecConfig,
    /// Whether a frame that decoding may start at has come.
    started: bool,
    /// Frames before that one.
    skipped: u64,
}

impl Decoder {
    /// Starts a decoder. `notify` is called on another thread when something can be pulled.
    pub fn start(track: &Track, notify: Notify) -> Result<Self, Error> {
        let from = caps(&track.codec)?;
        let mut chain = vec![decoding_element(&track.codec)?];
        let to = match track.kind() {
            Kind::Video => {
                // An interlaced frame becomes one progressive frame, not one for each field.
                chain.push(element("deinterlace", &[("mode", "auto"), ("fields", "top")])?);
                gst::Caps::builder("video/x-raw").build()
            }
            Kind::Audio => {
                chain.extend([element("audioconvert", &[])?, element("audioresample", &[])?]);
                gst::Caps::builder("audio/x-raw")
                    .field("format", "F32LE")
                    .field("layout", "interleaved")
                    .field("rate", SAMPLE_RATE as i32)
                    .field("channels", CHANNELS as i32)
                    .build()
            }
        };
        let pipeline = Pipeline::start(&from, &chain, &to, MAX_WAITING, notify)?;
        if let Some(header) = stream_header(&track.codec) {
            pipeline.push(gst::Buffer::from_slice(header))?;
        }
        Ok(Self { pipeline, track: track.id, codec: track.codec.clone(), started: false, skipped: 0 })
    }

    /// Returns the track that is decoded.
    pub const fn track(&self) -> TrackId {
        self.track
    }

    /// Takes another header of the same codec for the frames that follow. Returns false if another decoder is needed.
    pub fn reconfigure(&mut self, codec: &CodecConfig) -> Result<bool, Error> {
        if self.codec == *codec {
            return Ok(true);
        }
        if self.codec.kind() == Kind::Audio || self.codec.name() != codec.name() {
            return Ok(false);
        }
        self.pipeline.set_caps(&caps(codec)?);
        self.codec = codec.clone();
        Ok(true)
    }

    /// Returns whether another frame may be pushed, because fewer than the bound wait for the decoder.
    pub fn has_room(&self) -> bool {
        self.pipeline.queued() < MAX_QUEUED
    }

    /// Decodes a frame. Frames before the first one that decoding may start at are skipped and counted.
    pub fn push(&mut self, frame: &Frame) -> Result<(), Error> {
        self.started |= frame.access != Access::Dependent;
        if !self.started {
            self.skipped += 1;
            return Ok(());
        }
        let mut buffer = gst::Buffer::from_slice(frame.payload.clone());
        if let Some(writable) = buffer.get_mut() {
            writable.set_pts(clock_time(frame.pts));
            writable.set_dts(clock_time(frame.dts));
            if !frame.access.is_independent() {
                writable.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.pipeline.push(buffer)
    }

    /// Ends the input: the frames that are held back for reordering can be pulled.
    pub fn end(&self) {
        self.pipeline.end();
    }

    /// Returns whether everything was pulled after [`Decoder::end`].
    pub fn is_ended(&self) -> bool {
        self.pipeline.is_ended()
    }

    /// Returns the next video frame or block of audio, if there is one.
    pub fn pull(&mut self) -> Option<Decoded> {
        loop {
            let sample = self.pipeline.pull()?;
            let decoded = match self.codec.kind() {
                Kind::Video => frame(&sample),
                Kind::Audio => audio(&sample),
            };
            if decoded.is_some() {
                return decoded;
            }
        }
    }

    /// Returns the error that stopped the decoder, if one did. The track then needs another decoder.
    pub fn fault(&mut self) -> Option<Error> {
        self.pipeline.fault()
    }

    /// Returns the number of frames before the first one that decoding may start at.
    pub const fn skipped_frames(&self) -> u64 {
        self.skipped
    }

    /// Returns the number of frames that could not be decoded.
    pub const fn damaged_frames(&self) -> u64 {
        self.pipeline.warnings()
    }
}

fn frame(sample: &gst::Sample) -> Option<Decoded> {
    let buffer = sample.buffer_owned()?;
    let info = video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let pts = timestamp(i64::try_from(buffer.pts()?.nseconds()).ok()?);
    Some(Decoded::Video { pts, frame: RawFrame::new(buffer, info) })
}

fn audio(sample: &gst::Sample) -> Option<Decoded> {
    let buffer = sample.buffer()?;
    let pts = timestamp(i64::try_from(buffer.pts()?.nseconds()).ok()?);
    let map = buffer.map_readable().ok()?;
    let samples =
        map.chunks_exact(size_of::<f32>()).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap_or_default()));
    // A damaged frame may decode to samples that are no numbers, or too loud for listeners and encoders.
    let samples = samples.map(|sample| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 });
    Some(Decoded::Audio { pts, samples: samples.collect() })
}

fn decoding_element(codec: &CodecConfig) -> Result<gst::Element, Error> {
    if let CodecConfig::Flac(_) = codec {
        // The decoder needs headers in a form that only the parser writes.
        let bin = gst::parse::bin_from_description("flacparse ! flacdec", true);
        return bin.map(gst::Element::from).map_err(|_| Error::Missing("decoding FLAC".to_owned()));
    }
    // Elements that decode this codec, the preferred one first.
    let candidates: &[&str] = match codec {
        CodecConfig::Avc(_) => &["avdec_h264"],
        CodecConfig::Hevc(_) => &["avdec_h265", "libde265dec"],
        CodecConfig::Av1(_) => &["dav1ddec", "av1dec"],
        CodecConfig::Vp9(_) => &["vp9dec", "avdec_vp9"],
        CodecConfig::Aac(_) => &["avdec_aac"],
        CodecConfig::Ac3(_) => &["avdec_ac3"],
        CodecConfig::Eac3(_) => &["avdec_eac3"],
        CodecConfig::Opus(_) => &["opusdec", "avdec_opus"],
        CodecConfig::Flac(_) => &[],
    };
    let name = candidates.iter().find(|name| gst::ElementFactory::find(name).is_some());
    let name = name.ok_or_else(|| Error::Missing(format!("decoding {}", codec.name())))?;
    let mut properties = Vec::new();
    if codec.kind() == Kind::Video && name.starts_with("avdec") {
        properties.extend([("max-threads", if needs_threads(codec) { "4" } else { "1" }), ("output-corrupt", "false")]);
    }
    element(name, &properties)
}

/// Returns whether one thread may be too slow for a codec's size and rate.
fn needs_threads(codec: &CodecConfig) -> bool {
    let (width, height) = codec.resolution().unwrap_or((0, 0));
    let rate = codec.frame_rate().map_or(MIN_RATE, |(frames, seconds)| u64::from(frames / seconds.max(1)));
    u64::from(width) * u64::from(height) * rate.max(MIN_RATE) > MAX_PIXEL_RATE_OF_ONE_THREAD
}

/// Returns the caps of the decoder's input.
fn caps(codec: &CodecConfig) -> Result<gst::Caps, Error> {
    let record = || gst::Buffer::from_slice(codec.record().clone());
    let audio = |name: &str| {
        let rate = codec.sample_rate().unwrap_or(SAMPLE_RATE);
        let builder = gst::Caps::builder(name).field("rate", rate as i32).field("framed", true);
        builder.field_if_some("channels", codec.channels().map(i32::from))
    };
    let video = |name: &str| {
        let size = codec.resolution();
        gst::Caps::builder(name)
            .field_if_some("width", size.map(|(width, _)| width as i32))
            .field_if_some("height", size.map(|(_, height)| height as i32))
    };
    Ok(match codec {
        CodecConfig::Avc(_) => video("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("codec_data", record())
            .build(),
        CodecConfig::Hevc(_) => video("video/x-h265")
            .field("stream-format", "hvc1")
            .field("alignment", "au")
            .field("codec_data", record())
            .build(),
        CodecConfig::Av1(_) => {
            video("video/x-av1").field("stream-format", "obu-stream").field("alignment", "tu").build()
        }
        CodecConfig::Vp9(_) => video("video/x-vp9").build(),
        CodecConfig::Aac(_) => audio("audio/mpeg")
            .field("mpegversion", 4)
            .field("stream-format", "raw")
            .field("codec_data", record())
            .build(),
        CodecConfig::Ac3(_) => audio("audio/x-ac3").field("alignment", "frame").build(),
        CodecConfig::Eac3(_) => audio("audio/x-eac3").field("alignment", "frame").build(),
        CodecConfig::Opus(opus) => opus_caps(opus.channels, opus.family, &opus.record),
        CodecConfig::Flac(_) => gst::Caps::new_empty_simple("audio/x-flac"),
    })
}

/// Returns the caps of Opus, with the channel mapping table (RFC 7845 §5.1.1) of its `dOps` record. The pre-skip is
/// left out, so that the decoder keeps the samples that a player drops at the start: timestamps count them.
fn opus_caps(channels: u8, family: u8, record: &Bytes) -> gst::Caps {
    // Position of the table in the record.
    const TABLE: usize = 11;
    let table = record.get(TABLE..).unwrap_or_default();
    let builder = gst::Caps::builder("audio/x-opus")
        .field("rate", SAMPLE_RATE as i32)
        .field("channels", i32::from(channels))
        .field("channel-mapping-family", i32::from(family));
    match table {
        [streams, coupled, mapping @ ..] if family != 0 => builder
            .field("stream-count", i32::from(*streams))
            .field("coupled-count", i32::from(*coupled))
            .field("channel-mapping", gst::Array::new(mapping.iter().map(|channel| i32::from(*channel))))
            .build(),
        _ => builder.build(),
    }
}

/// Returns the headers that a decoder needs before the first frame: those of a FLAC file.
fn stream_header(codec: &CodecConfig) -> Option<Bytes> {
    match codec {
        CodecConfig::Flac(flac) => Some([b"fLaC", &flac.record[..]].concat().into()),
        _ => None,
    }
}
