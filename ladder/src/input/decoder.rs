//! Decodes one track of a contribution.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer_video as video;
use media::{Access, CodecConfig, Frame, Kind, Timestamp, Track, TrackId};

use crate::error::Error;
use crate::pipeline::{Notify, Pipe, clock_time, element, timestamp};
use crate::video::raw_frame::RawFrame;

/// Samples of sound a second that come out, whatever goes in.
pub const SAMPLE_RATE: u32 = 48_000;
/// Channels of sound that come out.
pub const CHANNELS: u32 = 2;

/// Frames that wait for the decoder. At the bound the ladder stops feeding it, and its own queue fills.
const MAX_QUEUED: usize = 8;
/// Pictures or blocks of sound that wait behind the decoder. At the bound the decoder waits.
const MAX_WAITING: u32 = 4;
/// More samples a second than this are decoded on several threads, at the price of a frame of delay for each.
const ONE_THREAD: u64 = 1_920 * 1_080 * 60;
/// Frames a second where the header does not tell.
const USUAL_RATE: u64 = 30;

/// What a decoder gives, on the timeline of what it is given.
#[derive(Debug)]
pub enum Decoded {
    /// A picture.
    Video {
        /// When it is shown.
        pts: Timestamp,
        /// The picture.
        picture: RawFrame,
    },
    /// Interleaved samples of [`CHANNELS`] channels at [`SAMPLE_RATE`].
    Audio {
        /// When the first one is heard.
        pts: Timestamp,
        /// The samples.
        samples: Vec<f32>,
    },
}

/// Decodes one track.
pub struct Decoder {
    pipe: Pipe,
    track: TrackId,
    codec: CodecConfig,
    /// A frame that may start has come.
    started: bool,
    skipped: u64,
}

impl Decoder {
    /// Starts a decoder; `notify` is called on another thread when something can be pulled.
    pub fn start(track: &Track, notify: Notify) -> Result<Self, Error> {
        let from = caps(&track.codec)?;
        let mut chain = vec![decoding_element(&track.codec)?];
        let to = match track.kind() {
            Kind::Video => {
                // Both fields of interlaced pictures together make one progressive one.
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
        let pipe = Pipe::start(&from, &chain, &to, MAX_WAITING, notify)?;
        if let Some(header) = stream_header(&track.codec) {
            pipe.push(gst::Buffer::from_slice(header))?;
        }
        Ok(Self { pipe, track: track.id, codec: track.codec.clone(), started: false, skipped: 0 })
    }

    /// The track that it decodes.
    pub const fn track(&self) -> TrackId {
        self.track
    }

    /// Takes a new header of the same codec for what follows; false where a new decoder is needed.
    pub fn reconfigure(&mut self, codec: &CodecConfig) -> Result<bool, Error> {
        if self.codec == *codec {
            return Ok(true);
        }
        if self.codec.kind() == Kind::Audio || self.codec.name() != codec.name() {
            return Ok(false);
        }
        self.pipe.set_caps(&caps(codec)?);
        self.codec = codec.clone();
        Ok(true)
    }

    /// False while enough frames wait.
    pub fn has_room(&self) -> bool {
        self.pipe.queued() < MAX_QUEUED
    }

    /// Gives it the next frame. Frames before the first one that decoding may start at are skipped and counted.
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
        self.pipe.push(buffer)
    }

    /// Nothing follows: what is held back for reordering comes out.
    pub fn end(&self) {
        self.pipe.end();
    }

    /// Whether all came out after [`Self::end`], and was pulled.
    pub fn is_ended(&self) -> bool {
        self.pipe.is_ended()
    }

    /// The next picture or block of sound, if there is one.
    pub fn pull(&mut self) -> Option<Decoded> {
        loop {
            let sample = self.pipe.pull()?;
            let decoded = match self.codec.kind() {
                Kind::Video => picture(&sample),
                Kind::Audio => sound(&sample),
            };
            if decoded.is_some() {
                return decoded;
            }
        }
    }

    /// The error that stopped the decoder, if one did; a new one is needed then.
    pub fn fault(&mut self) -> Option<Error> {
        self.pipe.fault()
    }

    /// Frames that came before the first one that decoding may start at.
    pub const fn skipped_frames(&self) -> u64 {
        self.skipped
    }

    /// Frames that could not be decoded.
    pub const fn damaged_frames(&self) -> u64 {
        self.pipe.warnings()
    }
}

fn picture(sample: &gst::Sample) -> Option<Decoded> {
    let buffer = sample.buffer_owned()?;
    let info = video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let pts = timestamp(i64::try_from(buffer.pts()?.nseconds()).ok()?);
    Some(Decoded::Video { pts, picture: RawFrame::new(buffer, info) })
}

fn sound(sample: &gst::Sample) -> Option<Decoded> {
    let buffer = sample.buffer()?;
    let pts = timestamp(i64::try_from(buffer.pts()?.nseconds()).ok()?);
    let map = buffer.map_readable().ok()?;
    let samples =
        map.chunks_exact(size_of::<f32>()).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap_or_default()));
    // A decoder's odd samples are no reason to hurt ears, or an encoder.
    let samples = samples.map(|sample| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 });
    Some(Decoded::Audio { pts, samples: samples.collect() })
}

fn decoding_element(codec: &CodecConfig) -> Result<gst::Element, Error> {
    if let CodecConfig::Flac(_) = codec {
        // The decoder wants its headers from the parser, in a form of the parser's own.
        let both = gst::parse::bin_from_description("flacparse ! flacdec", true);
        return both.map(gst::Element::from).map_err(|_| Error::Missing("decoding FLAC".to_owned()));
    }
    let known: &[&str] = match codec {
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
    let name = known.iter().find(|name| gst::ElementFactory::find(name).is_some());
    let name = name.ok_or_else(|| Error::Missing(format!("decoding {}", codec.name())))?;
    let mut properties = Vec::new();
    if codec.kind() == Kind::Video && name.starts_with("avdec") {
        properties.extend([("max-threads", if demanding(codec) { "4" } else { "1" }), ("output-corrupt", "false")]);
    }
    element(name, &properties)
}

/// Whether one thread may be too slow for it.
fn demanding(codec: &CodecConfig) -> bool {
    let (width, height) = codec.resolution().unwrap_or((0, 0));
    let rate = codec.frame_rate().map_or(USUAL_RATE, |(frames, seconds)| u64::from(frames / seconds.max(1)));
    u64::from(width) * u64::from(height) * rate.max(USUAL_RATE) > ONE_THREAD
}

/// What the decoder is told of the track.
fn caps(codec: &CodecConfig) -> Result<gst::Caps, Error> {
    let record = || gst::Buffer::from_slice(codec.record().clone());
    let sound = |name: &str| {
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
        CodecConfig::Aac(_) => sound("audio/mpeg")
            .field("mpegversion", 4)
            .field("stream-format", "raw")
            .field("codec_data", record())
            .build(),
        CodecConfig::Ac3(_) => sound("audio/x-ac3").field("alignment", "frame").build(),
        CodecConfig::Eac3(_) => sound("audio/x-eac3").field("alignment", "frame").build(),
        CodecConfig::Opus(opus) => opus_caps(opus.channels, opus.family, &opus.record),
        CodecConfig::Flac(_) => gst::Caps::new_empty_simple("audio/x-flac"),
    })
}

/// Opus by its mapping table (RFC 7845 §5.1.1), which stands behind eleven bytes of `dOps`. The samples of the start that
/// a player drops stay: timestamps count them.
fn opus_caps(channels: u8, family: u8, record: &Bytes) -> gst::Caps {
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

/// Headers that a decoder wants before the first frame: those of a FLAC file.
fn stream_header(codec: &CodecConfig) -> Option<Bytes> {
    match codec {
        CodecConfig::Flac(flac) => Some([b"fLaC", &flac.record[..]].concat().into()),
        _ => None,
    }
}
