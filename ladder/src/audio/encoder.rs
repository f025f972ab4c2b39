//! Encodes audio as AAC.

use bytes::Bytes;
use gstreamer as gst;
use media::codec::aac;
use media::{Access, CodecConfig, Frame, Language, Timescale, Timestamp, Track, TrackId};

use crate::error::Error;
use crate::input::decoder::{CHANNELS, SAMPLE_RATE};
use crate::pipeline::{EncoderOutput, Notify, Pipeline, clock_time, codec_data, element};

/// Samples of a frame of AAC-LC.
const FRAME: i64 = 1_024;
/// Samples that the encoder puts before the first one of its input.
const PRIMING: i64 = 1_024;
/// Encoded frames that wait to be pulled. They are small, and the ladder pulls them at once.
const MAX_WAITING: u32 = 200;

/// One encoding of an audio output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AudioEncoding {
    pub(crate) id: TrackId,
    /// Quality, 0 for the best.
    pub(crate) tier: u8,
    /// Bits per second.
    pub(crate) bitrate: u32,
    /// Language, if it is known.
    pub(crate) language: Option<Language>,
}

/// Encodes interleaved samples without gaps.
pub(crate) struct AudioEncoder {
    pipeline: Pipeline,
    track: AudioEncoding,
    origin: Option<Timestamp>,
    /// Samples pushed.
    taken: i64,
    /// Frames pulled.
    given: i64,
    announced: bool,
}

impl AudioEncoder {
    /// Starts an encoder.
    pub(crate) fn start(track: AudioEncoding, notify: Notify) -> Result<Self, Error> {
        let from = gst::Caps::builder("audio/x-raw")
            .field("format", "F32LE")
            .field("layout", "interleaved")
            .field("rate", SAMPLE_RATE as i32)
            .field("channels", CHANNELS as i32)
            .field("channel-mask", gst::Bitmask::new(0b11))
            .build();
        let to = gst::Caps::builder("audio/mpeg").field("mpegversion", 4).field("stream-format", "raw").build();
        let chain = [element("audioconvert", &[])?, element("avenc_aac", &[("bitrate", &track.bitrate.to_string())])?];
        let pipeline = Pipeline::start(&from, &chain, &to, MAX_WAITING, notify)?;
        Ok(Self { pipeline, track, origin: None, taken: 0, given: 0, announced: false })
    }

    /// Encodes samples. The time of the first ones decides on that of all others.
    pub(crate) fn push(&mut self, pts: Timestamp, samples: &[f32]) -> Result<(), Error> {
        self.origin.get_or_insert(pts);
        self.append(samples)
    }

    /// Encodes samples right after those so far, if there are any.
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
        self.pipeline.push(buffer)
    }

    /// Ends the input: the frames that the encoder holds back can be pulled.
    pub(crate) fn end(&self) {
        self.pipeline.end();
    }

    /// Returns whether all frames were pulled after [`AudioEncoder::end`].
    pub(crate) fn is_ended(&self) -> bool {
        self.pipeline.is_ended()
    }

    /// Moves encoded frames to `out`.
    pub(crate) fn pull(&mut self, out: &mut Vec<EncoderOutput>) -> Result<(), Error> {
        while let Some(sample) = self.pipeline.pull() {
            if !self.announced
                && let Some(codec_data) = codec_data(&sample)
            {
                let codec = CodecConfig::Aac(aac::Config::parse(codec_data)?);
                let AudioEncoding { id, tier, language, .. } = self.track;
                out.push(EncoderOutput::Track(Track { tier, language, ..Track::new(id, codec) }));
                self.announced = true;
            }
            out.extend(self.frame(&sample).map(EncoderOutput::Frame));
        }
        Ok(())
    }

    /// Returns whether the track was announced.
    pub(crate) const fn is_announced(&self) -> bool {
        self.announced
    }

    /// Returns the error that stopped the encoder, if one did.
    pub(crate) fn fault(&mut self) -> Option<Error> {
        self.pipeline.fault()
    }

    /// Returns the frame of a sample. Its time is counted, because the element's timestamps do not include [`PRIMING`].
    fn frame(&mut self, sample: &gst::Sample) -> Option<Frame> {
        let payload = Bytes::from_owner(sample.buffer_owned()?.into_mapped_buffer_readable().ok()?);
        let pts = self.origin? + Timescale::new(SAMPLE_RATE).delta(self.given * FRAME - PRIMING);
        self.given += 1;
        Some(Frame { track: self.track.id, dts: pts, pts, access: Access::Independent, payload })
    }
}
