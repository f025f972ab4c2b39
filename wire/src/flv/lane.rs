//! One track of a contribution as its tags tell it: which header holds, and why it is left out where it is.

use bytes::Bytes;
use media::codec::{HeaderError, aac, ac3, av1, avc, flac, hevc, vp9};
use media::{Access, CodecConfig, Fault, Kind, TimeDelta, Timescale};

use super::joiner::{Joiner, Stamp, Unit};
use super::units::{self, Form};
use super::{Codec, adts};
use crate::annexb;

/// Frames without a header after which it is said that there is none.
const PATIENCE: u32 = 50;

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

/// What a tag makes of a track.
#[derive(Debug)]
pub(super) enum Output {
    /// The frames that follow have another configuration.
    Config(CodecConfig),
    /// A frame, and whether decoding may start at it.
    Frame(Stamp, Access, Bytes),
    /// Video is on its way, but not its configuration.
    Expected,
    /// Something was repaired.
    Repaired(Fault, &'static str),
    /// A frame was dropped, and why if that is not known already.
    Dropped(Option<(Fault, &'static str)>),
}

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
    /// The configuration that was given last.
    given: Option<CodecConfig>,
    headless: u32,
    /// Another header came: its parameter sets go with the next key frame too, because players keep those they know over a
    /// change of init sections.
    is_changed: bool,
    joiner: Joiner,
    /// AAC frames have ADTS headers, which say more than the track's header does.
    has_adts: bool,
}

impl Lane {
    pub(super) fn new(kind: Kind, number: u8) -> Self {
        Self {
            kind,
            number,
            admitted: false,
            told: None,
            codec: None,
            header: None,
            config: None,
            given: None,
            headless: 0,
            is_changed: false,
            joiner: Joiner::default(),
            has_adts: false,
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
    pub(super) fn header(&mut self, codec: Codec, header: &Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        self.turn_to(codec, out)?;
        if self.header.as_ref() == Some(header) {
            return Ok(());
        }
        self.flush(out);
        // A copy, so that a few bytes do not hold the block of a whole message.
        let header = Bytes::copy_from_slice(header);
        self.header = Some(header.clone());
        self.joiner.forget_ahead();
        if self.has_adts {
            return Ok(());
        }
        if matches!(codec, Codec::Avc | Codec::Hevc) && units::begins_with_start_code(&header) {
            out.push(Output::Repaired(Fault::StartCodes, "a sequence header with start codes"));
        }
        match codec.config(header) {
            // An empty header ends some streams: what was known holds.
            Ok(None) => Ok(()),
            Ok(Some(config)) => {
                // Its parameter sets may be nowhere else.
                let is_given = self.given.as_ref().is_some_and(|given| is_equal(given, &config));
                self.config = Some(config);
                if !is_given {
                    self.is_changed = self.given.is_some();
                    self.give(out);
                }
                Ok(())
            }
            Err(err) => {
                // Without it nothing is to be said of the frames.
                (self.config, self.given, self.headless) = (None, None, PATIENCE);
                Err(Reason::Header(err))
            }
        }
    }

    /// Drops what was known: the frames to come are of no use.
    pub(super) fn transport_header(&mut self, codec: Codec) -> Reason {
        self.codec = Some(codec);
        (self.header, self.config, self.given) = (None, None, None);
        self.joiner = Joiner::default();
        Reason::TransportForm
    }

    /// Takes the payload of a message that is no header.
    pub(super) fn frame(
        &mut self,
        codec: Codec,
        stamp: Stamp,
        payload: Bytes,
        out: &mut Vec<Output>,
    ) -> Result<(), Reason> {
        self.turn_to(codec, out)?;
        if payload.is_empty() {
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "an empty frame"))));
            return Ok(());
        }
        match codec {
            Codec::Avc => self.units(annexb::Codec::Avc, stamp, payload, out),
            Codec::Hevc => self.units(annexb::Codec::Hevc, stamp, payload, out),
            Codec::Aac => self.aac(stamp, payload, out),
            _ => self.sample(stamp, payload, out),
        }
    }

    /// True while its first picture waits for the message that tells whether it is whole.
    pub(super) fn is_undecided(&self) -> bool {
        self.joiner.is_undecided()
    }

    /// Takes the first picture to be whole, if it still waits for the next message.
    pub(super) fn decide(&mut self) {
        self.joiner.decide();
    }

    /// Gives the picture that waits for more of it: there is none.
    pub(super) fn flush(&mut self, out: &mut Vec<Output>) {
        if let Some(Unit { stamp, payload }) = self.joiner.flush() {
            // Only a row of frames without a header is a reason.
            let _ = self.sample(stamp, payload, out);
        }
    }

    /// Takes NAL units, which may be a part of a picture only.
    fn units(
        &mut self,
        codec: annexb::Codec,
        stamp: Stamp,
        payload: Bytes,
        out: &mut Vec<Output>,
    ) -> Result<(), Reason> {
        let size = match &self.config {
            Some(CodecConfig::Avc(config)) => config.length_size,
            Some(CodecConfig::Hevc(config)) => config.length_size,
            _ => units::LENGTH_SIZE,
        };
        let Some((payload, form)) = units::with_lengths(payload, size) else {
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "no whole NAL unit"))));
            return Ok(());
        };
        match form {
            Form::Lengths => {}
            Form::StartCodes => out.push(Output::Repaired(Fault::StartCodes, "frames with start codes")),
            Form::Trimmed => out.push(Output::Repaired(Fault::DamagedFrames, "NAL units that are empty or do not fit")),
        }
        let done = self.joiner.push((codec, size), stamp, payload, out);
        done.into_iter().flatten().try_for_each(|Unit { stamp, payload }| self.sample(stamp, payload, out))
    }

    /// Takes one AAC frame, or several with headers of their own.
    fn aac(&mut self, stamp: Stamp, payload: Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        let frames = adts::frames(&payload).unwrap_or_default();
        self.has_adts = !frames.is_empty();
        let Some((adts, first)) = frames.first() else {
            return self.sample(stamp, aac::without_program_config(payload), out);
        };
        out.push(Output::Repaired(Fault::AdtsHeaders, ""));
        if !matches!(&self.config, Some(CodecConfig::Aac(config)) if adts::agrees(*adts, config)) {
            match aac::Config::from_adts(first) {
                Ok(config) => {
                    if self.config.is_some() {
                        out.push(Output::Repaired(Fault::WrongHeaders, "AudioSpecificConfig"));
                    }
                    self.config = Some(CodecConfig::Aac(config));
                    self.give(out);
                }
                // The header is as good as any.
                Err(_) if self.config.is_some() => {}
                Err(err) => return Err(Reason::Header(err)),
            }
        }
        let lasts = match &self.config {
            Some(CodecConfig::Aac(config)) => Timescale::new(config.sample_rate).delta(config.samples_per_frame.into()),
            _ => TimeDelta::ZERO,
        };
        let mut stamp = stamp;
        for (adts, frame) in &frames {
            self.sample(stamp, adts::raw(*adts, frame), out)?;
            stamp = Stamp { dts: stamp.dts + lasts, pts: stamp.pts + lasts };
        }
        Ok(())
    }

    /// Takes a whole access unit as an MP4 sample holds it.
    fn sample(&mut self, stamp: Stamp, payload: Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        self.learn(&payload, out)?;
        let config = self.config.as_ref().filter(|config| is_whole(config));
        let Some(config) = config else {
            let is_told = self.headless >= PATIENCE;
            if self.kind == Kind::Video && !is_told {
                out.push(Output::Expected);
            }
            let early = (Fault::FramesBeforeKeyFrame, "its codec header has not come");
            out.push(Output::Dropped((!is_told).then_some(early)));
            return Ok(());
        };
        if !config.has_content(&payload) {
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "a frame without content"))));
            return Ok(());
        }
        let access = config.access(&payload);
        let is_known = self.given.as_ref().is_none_or(|given| is_equal(given, config));
        if access != Access::Dependent && !is_known && !has_sets(config, &payload) {
            // The sets came once, in another frame: who begins here needs them.
            self.give(out);
            self.is_changed = true;
        }
        let payload = match &self.config {
            Some(config) if self.is_changed && access != Access::Dependent => {
                self.is_changed = false;
                if has_sets(config, &payload) {
                    payload
                } else {
                    [&config.parameter_set_units(), &payload[..]].concat().into()
                }
            }
            _ => payload,
        };
        out.push(Output::Frame(stamp, access, payload));
        Ok(())
    }

    /// Takes what a frame makes new of the configuration.
    fn learn(&mut self, payload: &Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        let new = match (&self.config, self.codec) {
            (Some(config), _) => changed(config, payload),
            (None, Some(codec)) => first(codec, payload),
            (None, None) => None,
        };
        if let Some(new) = new {
            let is_given = self.given.as_ref().is_some_and(|given| is_same(given, &new));
            self.config = Some(new);
            if !is_given {
                self.give(out);
            }
        } else if self.config.is_none() {
            self.headless = self.headless.saturating_add(1);
            if self.headless == PATIENCE {
                return Err(Reason::NoHeader);
            }
        }
        Ok(())
    }

    /// What a header of another codec said does not hold for this one.
    fn turn_to(&mut self, codec: Codec, out: &mut Vec<Output>) -> Result<(), Reason> {
        if self.codec != Some(codec) {
            self.flush(out);
            self.codec = Some(codec);
            (self.header, self.config, self.given, self.headless) = (None, None, None, 0);
            (self.joiner, self.has_adts) = (Joiner::default(), false);
        }
        if codec.is_carried() { Ok(()) } else { Err(Reason::NotCarried) }
    }

    /// Gives the configuration, once the frames have said the rest of it.
    fn give(&mut self, out: &mut Vec<Output>) {
        if let Some(config) = self.config.as_ref().filter(|config| is_whole(config)) {
            self.given = Some(config.clone());
            out.push(Output::Config(config.clone()));
        }
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

/// True where both say the same, each parameter set included.
fn is_equal(old: &CodecConfig, new: &CodecConfig) -> bool {
    match (old, new) {
        (CodecConfig::Avc(old), CodecConfig::Avc(new)) => {
            old.length_size == new.length_size && old.parameter_sets() == new.parameter_sets()
        }
        (CodecConfig::Hevc(old), CodecConfig::Hevc(new)) => {
            old.length_size == new.length_size && old.parameter_sets() == new.parameter_sets()
        }
        _ => is_same(old, new),
    }
}

/// True for a sample with parameter sets of its own.
fn has_sets(config: &CodecConfig, sample: &[u8]) -> bool {
    match config {
        CodecConfig::Avc(config) => config.nal_units(sample).filter_map(avc::nal_type).any(|kind| kind == avc::NAL_PPS),
        CodecConfig::Hevc(config) => {
            config.nal_units(sample).filter_map(hevc::nal_type).any(|kind| kind == hevc::NAL_PPS)
        }
        // What they change in-band makes another configuration at once.
        _ => true,
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
        Codec::Avc => units::avc_sets(payload),
        Codec::Hevc => units::hevc_sets(payload),
        _ => None,
    }
}
