//! One track of a contribution as its tags tell it: which header holds, and why it is left out where it is.

use bytes::Bytes;
use media::codec::nal;
use media::codec::{HeaderError, ac3, av1, avc, flac, hevc, vp9};
use media::{Access, CodecConfig, Kind};

use super::Codec;

/// Bytes of the length before each NAL unit where no header says it: what all encoders write.
const LENGTH_SIZE: u8 = 4;
/// Frames without a header after which it is said that there is none.
const PATIENCE: u32 = 50;
/// Bytes kept for the next frame; what is longer is left out.
const MOST_AHEAD: usize = 64 * 1_024;

/// A track that is not carried; the rest of the contribution is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} track {track} ({codec}) is left out: {reason}", if *.kind == Kind::Video { "video" } else { "audio" })]
pub struct LeftOut {
    /// Pictures or sound.
    pub kind: Kind,
    /// The track among those of its kind.
    pub track: u8,
    /// How it is coded.
    pub codec: Codec,
    /// Why it is left out.
    pub reason: Reason,
}

/// Why a track is not carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing in Weir knows the codec.
    #[error("this codec is not carried; video may be H.264, HEVC, AV1 or VP9, audio AAC, Opus, AC-3, E-AC-3 or FLAC")]
    NotCarried,
    /// The header is broken or asks for something that is not supported.
    #[error("its sequence header cannot be used: {0}")]
    Header(HeaderError),
    /// No header came, and the frames do not tell.
    #[error("its frames came without a sequence header")]
    NoHeader,
    /// AV1 in the form of MPEG-2 TS.
    #[error("it comes in the form of MPEG-2 TS; the encoder has to send a plain sequence header")]
    TransportForm,
    /// A live stream has one video track.
    #[error("a live stream has one video track, and another one came first")]
    SecondVideo,
    /// More audio tracks than a live stream has.
    #[error("a live stream has no more than {0} audio tracks")]
    TooManyAudio(usize),
}

/// A frame, and whether decoding may start at it.
type Sample = (Access, Bytes);

/// The state of a track.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) kind: Kind,
    pub(super) number: u8,
    /// It was carried once, and keeps its place.
    pub(super) admitted: bool,
    /// The reason told last.
    told: Option<LeftOut>,
    codec: Option<Codec>,
    /// The last header as it came: encoders repeat it, also where parameter sets in the frames have gone on from it.
    header: Option<Bytes>,
    config: Option<CodecConfig>,
    headless: u32,
    /// What came without a slice, parameter sets as a rule: it goes with the next picture.
    ahead: Bytes,
}

impl Lane {
    pub(super) const fn new(kind: Kind, number: u8) -> Self {
        Self {
            kind,
            number,
            admitted: false,
            told: None,
            codec: None,
            header: None,
            config: None,
            headless: 0,
            ahead: Bytes::new(),
        }
    }

    pub(super) fn is(&self, kind: Kind, number: u8) -> bool {
        self.kind == kind && self.number == number
    }

    /// True if the last reason told was this one; it is from now on.
    pub(super) fn is_told(&mut self, left_out: &LeftOut) -> bool {
        let is_told = self.told.as_ref() == Some(left_out);
        self.told = Some(left_out.clone());
        is_told
    }

    /// Takes a header; gives the configuration if it says something new.
    pub(super) fn header(&mut self, codec: Codec, header: &Bytes) -> Result<Option<CodecConfig>, Reason> {
        self.turn_to(codec)?;
        if self.header.as_ref() == Some(header) {
            return Ok(None);
        }
        // A copy, so that a few bytes do not hold the block of a whole message.
        let header = Bytes::copy_from_slice(header);
        self.header = Some(header.clone());
        self.ahead.clear();
        match codec.config(header) {
            // An empty header ends some streams: what was known holds.
            Ok(None) => Ok(None),
            Ok(Some(config)) => Ok(self.set(config)),
            Err(err) => {
                self.config = None;
                Err(Reason::Header(err))
            }
        }
    }

    /// Drops what was known: the frames to come are of no use.
    pub(super) fn transport_header(&mut self, codec: Codec) -> Reason {
        self.codec = Some(codec);
        (self.header, self.config) = (None, None);
        self.ahead.clear();
        Reason::TransportForm
    }

    /// Takes a frame; gives what it makes new of the configuration, and the frame with whether decoding may start at it.
    /// None for an empty one, and where no decoder can be set up for it yet.
    pub(super) fn frame(
        &mut self,
        codec: Codec,
        payload: Bytes,
    ) -> Result<(Option<CodecConfig>, Option<Sample>), Reason> {
        self.turn_to(codec)?;
        let payload = match std::mem::take(&mut self.ahead) {
            ahead if ahead.is_empty() => payload,
            ahead => [ahead, payload].concat().into(),
        };
        let new = self.learn(codec, &payload)?;
        let Some(config) = &self.config else { return Ok((new, None)) };
        if !config.has_content(&payload) {
            // No decoder takes parameter sets by themselves.
            if payload.len() <= MOST_AHEAD {
                self.ahead = Bytes::copy_from_slice(&payload);
            }
            return Ok((new, None));
        }
        let frame = is_whole(config).then(|| (config.access(&payload), payload));
        Ok((new, frame))
    }

    /// What a frame makes new of the configuration.
    fn learn(&mut self, codec: Codec, payload: &Bytes) -> Result<Option<CodecConfig>, Reason> {
        if payload.is_empty() {
            return Ok(None);
        }
        let new = match &self.config {
            Some(config) => changed(config, payload),
            None => first(codec, payload),
        };
        if let Some(new) = new {
            return Ok(self.set(new));
        }
        if self.config.is_none() {
            self.headless = self.headless.saturating_add(1);
            if self.headless == PATIENCE {
                return Err(Reason::NoHeader);
            }
        }
        Ok(None)
    }

    /// What a header of another codec said does not hold for this one.
    fn turn_to(&mut self, codec: Codec) -> Result<(), Reason> {
        if self.codec != Some(codec) {
            self.codec = Some(codec);
            (self.header, self.config, self.headless) = (None, None, 0);
            self.ahead.clear();
        }
        if codec.is_carried() { Ok(()) } else { Err(Reason::NotCarried) }
    }

    /// Keeps `new`; gives it where a packager has to know.
    fn set(&mut self, new: CodecConfig) -> Option<CodecConfig> {
        let told = self.config.replace(new.clone()).is_some_and(|old| is_same(&old, &new));
        (!told && is_whole(&new)).then_some(new)
    }
}

/// False where the frames have to say the rest: VP9 tells the size of its pictures in key frames only.
fn is_whole(config: &CodecConfig) -> bool {
    config.kind() == Kind::Audio || config.resolution().is_some()
}

/// True where a decoder set up with `old` takes what follows `new`.
///
/// Picture parameter sets that change between groups of pictures ride in the frames that need them, so they alone make no
/// new track; neither does the bit rate of AC-3, which differs from frame to frame.
fn is_same(old: &CodecConfig, new: &CodecConfig) -> bool {
    match (old, new) {
        (CodecConfig::Avc(old), CodecConfig::Avc(new)) => {
            old.length_size == new.length_size && old.parameter_sets().0 == new.parameter_sets().0
        }
        (CodecConfig::Hevc(old), CodecConfig::Hevc(new)) => {
            let (before, after) = (old.parameter_sets(), new.parameter_sets());
            old.length_size == new.length_size && before.vps == after.vps && before.sps == after.sps
        }
        (CodecConfig::Ac3(old), CodecConfig::Ac3(new)) => {
            (old.sample_rate, old.channels) == (new.sample_rate, new.channels)
        }
        (CodecConfig::Eac3(old), CodecConfig::Eac3(new)) => {
            (old.sample_rate, old.channels, old.samples_per_frame)
                == (new.sample_rate, new.channels, new.samples_per_frame)
        }
        // At its end a stream tells its length and sum, which no decoder needs.
        (CodecConfig::Flac(old), CodecConfig::Flac(new)) => {
            let of =
                |flac: &flac::Config| (flac.sample_rate, flac.channels, flac.bits_per_sample, flac.samples_per_frame);
            of(old) == of(new)
        }
        _ => old == new,
    }
}

/// The configuration with what a frame changes of it. Broken parameter sets change nothing: a decoder may still manage.
fn changed(config: &CodecConfig, payload: &Bytes) -> Option<CodecConfig> {
    match config {
        CodecConfig::Ac3(_) => first(Codec::Ac3, payload),
        CodecConfig::Eac3(_) => first(Codec::Eac3, payload),
        config => config.changed_by(payload).unwrap_or_default(),
    }
}

/// The configuration that a frame tells without a header before it.
fn first(codec: Codec, payload: &Bytes) -> Option<CodecConfig> {
    match codec {
        Codec::Ac3 => ac3::Config::from_frame(payload).ok().map(CodecConfig::Ac3),
        Codec::Eac3 => ac3::EnhancedConfig::from_access_unit(payload).ok().map(CodecConfig::Eac3),
        Codec::Av1 => av1::Config::from_sample(payload).ok().map(CodecConfig::Av1),
        Codec::Vp9 => vp9::Config::from_key_frame(payload).ok().map(CodecConfig::Vp9),
        Codec::Avc => {
            let of = |kind| units(payload, move |unit| avc::nal_type(unit) == Some(kind));
            avc::Config::from_parameter_sets(&of(avc::NAL_SPS), &of(avc::NAL_PPS)).ok().map(CodecConfig::Avc)
        }
        Codec::Hevc => {
            let of = |kind| units(payload, move |unit| hevc::nal_type(unit) == Some(kind));
            let (vps, sps, pps) = (of(hevc::NAL_VPS), of(hevc::NAL_SPS), of(hevc::NAL_PPS));
            hevc::Config::from_parameter_sets(&vps, &sps, &pps).ok().map(CodecConfig::Hevc)
        }
        _ => None,
    }
}

/// Copies of the NAL units that `wanted` picks.
fn units(payload: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
    nal::units(payload, LENGTH_SIZE).filter(|unit| wanted(unit)).map(Bytes::copy_from_slice).collect()
}
