//! Encodes the sound of a programme as AAC.

use bytes::Bytes;
use gstreamer as gst;
use media::codec::aac;
use media::{Access, CodecConfig, Frame, Language, Timescale, Timestamp, Track, TrackId};

use crate::error::Error;
use crate::input::decoder::{CHANNELS, SAMPLE_RATE};
use crate::pipeline::{Notify, Pipe, clock_time, element};
use crate::video::encoder::{Encoded, header};

/// Samples of a frame of AAC-LC.
const FRAME: i64 = 1_024;
/// Samples that the encoder puts before the first one it is given.
const PRIMING: i64 = 1_024;
/// Frames that wait behind the encoder: they are small, and the ladder takes them at once.
const MAX_WAITING: u32 = 200;

/// One encoding of the sound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tier {
    pub(crate) id: TrackId,
    /// 0 for the best.
    pub(crate) tier: u8,
    /// Bits a second.
    pub(crate) bitrate: u32,
    /// What is spoken in it, where that is known.
    pub(crate) language: Option<Language>,
}

/// Encodes interleaved samples that follow one another without a gap.
pub(crate) struct SoundEncoder {
    pipe: Pipe,
    track: Tier,
    origin: Option<Timestamp>,
    /// Samples taken.
    taken: i64,
    /// Frames given.
    given: i64,
    announced: bool,
}

impl SoundEncoder {
    /// Starts an encoder.
    pub(crate) fn start(track: Tier, notify: Notify) -> Result<Self, Error> {
        let from = gst::Caps::builder("audio/x-raw")
            .field("format", "F32LE")
            .field("layout", "interleaved")
            .field("rate", SAMPLE_RATE as i32)
            .field("channels", CHANNELS as i32)
            .field("channel-mask", gst::Bitmask::new(0b11))
            .build();
        let to = gst::Caps::builder("audio/mpeg").field("mpegversion", 4).field("stream-format", "raw").build();
        let chain = [element("audioconvert", &[])?, element("avenc_aac", &[("bitrate", &track.bitrate.to_string())])?];
        let pipe = Pipe::start(&from, &chain, &to, MAX_WAITING, notify)?;
        Ok(Self { pipe, track, origin: None, taken: 0, given: 0, announced: false })
    }

    /// Encodes samples; the first ones say where all are.
    pub(crate) fn push(&mut self, pts: Timestamp, samples: &[f32]) -> Result<(), Error> {
        self.origin.get_or_insert(pts);
        self.append(samples)
    }

    /// Encodes samples behind those so far, if there are any.
    pub(crate) fn append(&mut self, samples: &[f32]) -> Result<(), Error> {
        let Some(origin) = self.origin else { return Ok(()) };
        let scale = Timescale::new(SAMPLE_RATE);
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_slice(bytes);
        let length = i64::try_from(samples.len()).unwrap_or(0) / i64::from(CHANNELS);
        if let Some(writable) = buffer.get_mut() {
            writable.set_pts(clock_time(origin + scale.delta(self.taken)));
            let nanos = length * 1_000_000_000 / i64::from(SAMPLE_RATE);
            writable.set_duration(gst::ClockTime::from_nseconds(u64::try_from(nanos).unwrap_or(0)));
        }
        self.taken += length;
        self.pipe.push(buffer)
    }

    /// Nothing follows: what is held back comes out.
    pub(crate) fn end(&self) {
        self.pipe.end();
    }

    /// Whether all came out after [`Self::end`], and was pulled.
    pub(crate) fn is_ended(&self) -> bool {
        self.pipe.is_ended()
    }

    /// Puts what is encoded into `out`.
    pub(crate) fn pull(&mut self, out: &mut Vec<Encoded>) -> Result<(), Error> {
        while let Some(sample) = self.pipe.pull() {
            if !self.announced
                && let Some(header) = header(&sample)
            {
                let codec = CodecConfig::Aac(aac::Config::parse(header)?);
                let Tier { id, tier, language, .. } = self.track;
                out.push(Encoded::Track(Track { tier, language, ..Track::new(id, codec) }));
                self.announced = true;
            }
            out.extend(self.frame(&sample).map(Encoded::Frame));
        }
        Ok(())
    }

    /// Whether its track was announced.
    pub(crate) const fn is_announced(&self) -> bool {
        self.announced
    }

    /// The error that stopped the encoder, if one did.
    pub(crate) fn fault(&mut self) -> Option<Error> {
        self.pipe.fault()
    }

    /// Frames are counted: the times that the element writes know nothing of the priming.
    fn frame(&mut self, sample: &gst::Sample) -> Option<Frame> {
        let payload = Bytes::from_owner(sample.buffer_owned()?.into_mapped_buffer_readable().ok()?);
        let pts = self.origin? + Timescale::new(SAMPLE_RATE).delta(self.given * FRAME - PRIMING);
        self.given += 1;
        Some(Frame { track: self.track.id, dts: pts, pts, access: Access::Independent, payload })
    }
}
