//! One track of a contribution: the codec header in force, its access units, and the reason if it is not supported.

use bytes::Bytes;
use media::codec::{HeaderError, aac, ac3, av1, avc, flac, hevc, vp9};
use media::{Access, CodecConfig, Fault, Kind, TimeDelta, Timescale};

use super::joiner::{Joiner, Unit};
use super::output::{Output, Stamp};
use super::units::{self, Form};
use super::{Codec, adts};
use crate::annexb;

/// Number of frames without a codec header after which the track counts as unsupported.
const MAX_FRAMES_WITHOUT_HEADER: u32 = 50;

/// A track that is not supported. The rest of the contribution is carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} track {track} ({codec}) is left out: {reason}", if *.kind == Kind::Video { "video" } else { "audio" })]
pub struct Unsupported {
    /// Video or audio.
    pub kind: Kind,
    /// Number of the track among those of its kind.
    pub track: u8,
    /// Codec of the track.
    pub codec: Codec,
    /// Reason why the track is unsupported.
    pub reason: Reason,
}

/// Reason why a track is unsupported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Weir does not know the codec.
    #[error("this codec is not carried; video may be H.264, HEVC, AV1 or VP9, audio AAC, Opus, AC-3, E-AC-3 or FLAC")]
    NotCarried,
    /// The header is damaged or uses an unsupported feature.
    #[error("its sequence header cannot be used: {0}")]
    Header(HeaderError),
    /// No header arrived, and the frames do not contain the configuration.
    #[error("its frames came without a sequence header")]
    NoHeader,
    /// AV1 in the form for MPEG-2 TS.
    #[error("it comes in the form of MPEG-2 TS; the encoder has to send a plain sequence header")]
    TransportForm,
    /// A live stream has only one video track.
    #[error("a live stream has one video track, and another one came first")]
    SecondVideo,
    /// The track exceeds the limit on audio tracks.
    #[error("a live stream has no more than {0} audio tracks")]
    TooManyAudio(usize),
}

/// The state of a track.
#[derive(Clone, Debug)]
pub(super) struct TrackState {
    pub(super) kind: Kind,
    pub(super) number: u8,
    /// Whether the track was admitted within the limits on tracks. It then counts towards them permanently.
    pub(super) admitted: bool,
    /// Argument of the last [`TrackState::mark_reported`].
    reported: Option<Unsupported>,
    codec: Option<Codec>,
    /// The last sequence header as received, to recognise repetitions: encoders repeat it even after parameter sets in
    /// the frames have replaced it.
    header: Option<Bytes>,
    /// Configuration in force, from a header or from frames.
    config: Option<CodecConfig>,
    /// Configuration that was output last.
    announced: Option<CodecConfig>,
    /// Frames that arrived before any configuration; at least [`MAX_FRAMES_WITHOUT_HEADER`] once a reason was reported.
    frames_without_header: u32,
    /// Whether the next key frame must include the parameter sets, because the configuration changed. Players keep
    /// the sets that they know across a change of init sections.
    needs_parameter_sets: bool,
    joiner: Joiner,
    /// Whether AAC frames have ADTS headers, which take precedence over the sequence header.
    has_adts: bool,
}

impl TrackState {
    pub(super) fn new(kind: Kind, number: u8) -> Self {
        Self {
            kind,
            number,
            admitted: false,
            reported: None,
            codec: None,
            header: None,
            config: None,
            announced: None,
            frames_without_header: 0,
            needs_parameter_sets: false,
            joiner: Joiner::default(),
            has_adts: false,
        }
    }

    pub(super) fn is(&self, kind: Kind, number: u8) -> bool {
        self.kind == kind && self.number == number
    }

    /// Remembers `unsupported` as the reason reported last; returns whether it already was.
    pub(super) fn mark_reported(&mut self, unsupported: &Unsupported) -> bool {
        let is_reported = self.reported.as_ref() == Some(unsupported);
        self.reported = Some(unsupported.clone());
        is_reported
    }

    /// Takes a sequence header; outputs the configuration if it changed.
    pub(super) fn header(&mut self, codec: Codec, header: &Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        self.switch_codec(codec, out)?;
        if self.header.as_ref() == Some(header) {
            return Ok(());
        }
        self.flush(out);
        // Copied, so that a few bytes do not keep the block of a whole message in memory.
        let header = Bytes::copy_from_slice(header);
        self.header = Some(header.clone());
        self.joiner.clear_prefix();
        if self.has_adts {
            return Ok(());
        }
        if matches!(codec, Codec::Avc | Codec::Hevc) && units::begins_with_start_code(&header) {
            out.push(Output::Repaired(Fault::StartCodes, "a sequence header with start codes"));
        }
        match codec.config(header) {
            // Some streams end with an empty header. The previous configuration stays in force.
            Ok(None) => Ok(()),
            Ok(Some(config)) => {
                // A change of parameter sets alone is announced too, because this header may be all that has them.
                let is_announced = self.announced.as_ref().is_some_and(|announced| is_identical(announced, &config));
                self.config = Some(config);
                if !is_announced {
                    self.needs_parameter_sets = self.announced.is_some();
                    self.announce(out);
                }
                Ok(())
            }
            Err(err) => {
                // The reason is in the header, so no reason is reported for frames without one.
                (self.config, self.announced, self.frames_without_header) = (None, None, MAX_FRAMES_WITHOUT_HEADER);
                Err(Reason::Header(err))
            }
        }
    }

    /// Takes a header in the form of MPEG-2 TS, and returns the reason for which the track is unsupported. Forgets the
    /// previous header, because the frames that follow are unusable.
    pub(super) fn transport_header(&mut self, codec: Codec) -> Reason {
        self.codec = Some(codec);
        (self.header, self.config, self.announced) = (None, None, None);
        self.joiner = Joiner::default();
        Reason::TransportForm
    }

    /// Takes the payload of a message that is not a header.
    pub(super) fn frame(
        &mut self,
        codec: Codec,
        stamp: Stamp,
        payload: Bytes,
        out: &mut Vec<Output>,
    ) -> Result<(), Reason> {
        self.switch_codec(codec, out)?;
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

    /// Returns whether the first frame is waiting for the message that shows whether it is complete.
    pub(super) fn is_undecided(&self) -> bool {
        self.joiner.is_undecided()
    }

    /// Treats the first frame as complete, if it is still waiting for the next message.
    pub(super) fn decide(&mut self) {
        self.joiner.decide();
    }

    /// Outputs the frame that is waiting for more messages, as complete.
    pub(super) fn flush(&mut self, out: &mut Vec<Output>) {
        if let Some(Unit { stamp, payload }) = self.joiner.flush() {
            // The only possible error is [`Reason::NoHeader`].
            let _ = self.sample(stamp, payload, out);
        }
    }

    /// Takes NAL units, which may be only a part of a frame.
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
        let Some((payload, form)) = units::length_prefixed(payload, size) else {
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

    /// Takes one AAC frame, or several with ADTS headers.
    fn aac(&mut self, stamp: Stamp, payload: Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        let frames = adts::frames(&payload).unwrap_or_default();
        self.has_adts = !frames.is_empty();
        let Some((adts, first)) = frames.first() else {
            return self.sample(stamp, aac::without_program_config(payload), out);
        };
        out.push(Output::Repaired(Fault::AdtsHeaders, ""));
        if !matches!(&self.config, Some(CodecConfig::Aac(config)) if adts::matches_config(*adts, config)) {
            match aac::Config::from_adts(first) {
                Ok(config) => {
                    if self.config.is_some() {
                        out.push(Output::Repaired(Fault::WrongHeaders, "AudioSpecificConfig"));
                    }
                    self.config = Some(CodecConfig::Aac(config));
                    self.announce(out);
                }
                // An unusable ADTS header changes nothing.
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

    /// Takes a complete access unit as an MP4 sample holds it.
    fn sample(&mut self, stamp: Stamp, payload: Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        self.update_from_frame(&payload, out)?;
        let config = self.config.as_ref().filter(|config| is_complete(config));
        let Some(config) = config else {
            let is_reported = self.frames_without_header >= MAX_FRAMES_WITHOUT_HEADER;
            if self.kind == Kind::Video && !is_reported {
                out.push(Output::VideoExpected);
            }
            let early = (Fault::FramesBeforeKeyFrame, "its codec header has not come");
            out.push(Output::Dropped((!is_reported).then_some(early)));
            return Ok(());
        };
        if !config.has_content(&payload) {
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "a frame without content"))));
            return Ok(());
        }
        let access = config.access(&payload);
        let is_known = self.announced.as_ref().is_none_or(|announced| is_identical(announced, config));
        if access != Access::Dependent && !is_known && !has_sets(config, &payload) {
            // The parameter sets changed in an earlier frame, and a decoder that starts at this frame needs them.
            self.announce(out);
            self.needs_parameter_sets = true;
        }
        let payload = match &self.config {
            Some(config) if self.needs_parameter_sets && access != Access::Dependent => {
                self.needs_parameter_sets = false;
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

    /// Updates the configuration from a frame (see [`changed`]).
    fn update_from_frame(&mut self, payload: &Bytes, out: &mut Vec<Output>) -> Result<(), Reason> {
        let new = match (&self.config, self.codec) {
            (Some(config), _) => changed(config, payload),
            (None, Some(codec)) => config_in_frame(codec, payload),
            (None, None) => None,
        };
        if let Some(new) = new {
            let is_announced = self.announced.as_ref().is_some_and(|announced| is_compatible(announced, &new));
            self.config = Some(new);
            if !is_announced {
                self.announce(out);
            }
        } else if self.config.is_none() {
            self.frames_without_header = self.frames_without_header.saturating_add(1);
            if self.frames_without_header == MAX_FRAMES_WITHOUT_HEADER {
                return Err(Reason::NoHeader);
            }
        }
        Ok(())
    }

    /// Forgets everything about the previous codec if this is another one. Fails if the codec is not carried.
    fn switch_codec(&mut self, codec: Codec, out: &mut Vec<Output>) -> Result<(), Reason> {
        if self.codec != Some(codec) {
            self.flush(out);
            self.codec = Some(codec);
            (self.header, self.config, self.announced, self.frames_without_header) = (None, None, None, 0);
            (self.joiner, self.has_adts) = (Joiner::default(), false);
        }
        if codec.is_carried() { Ok(()) } else { Err(Reason::NotCarried) }
    }

    /// Outputs the configuration, once it [`is_complete`].
    fn announce(&mut self, out: &mut Vec<Output>) {
        if let Some(config) = self.config.as_ref().filter(|config| is_complete(config)) {
            self.announced = Some(config.clone());
            out.push(Output::Config(config.clone()));
        }
    }
}

/// Returns whether the configuration is complete. A VP9 sequence header alone is not, because only key frames contain
/// the frame size.
fn is_complete(config: &CodecConfig) -> bool {
    config.kind() == Kind::Audio || config.resolution().is_some()
}

/// Returns whether a decoder that was set up with `old` can decode frames for `new`.
///
/// Picture parameter sets that change between GOPs are sent in the frames that need them, so they alone do not make a
/// new track. Neither does the bit rate of AC-3, which differs from frame to frame.
fn is_compatible(old: &CodecConfig, new: &CodecConfig) -> bool {
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
        // A header at the end of a stream adds its length and checksum, which no decoder needs.
        (CodecConfig::Flac(old), CodecConfig::Flac(new)) => {
            let of =
                |flac: &flac::Config| (flac.sample_rate, flac.channels, flac.bits_per_sample, flac.samples_per_frame);
            of(old) == of(new)
        }
        _ => old == new,
    }
}

/// Returns whether the two are compatible and have the same parameter sets.
fn is_identical(old: &CodecConfig, new: &CodecConfig) -> bool {
    match (old, new) {
        (CodecConfig::Avc(old), CodecConfig::Avc(new)) => {
            old.length_size == new.length_size && old.parameter_sets() == new.parameter_sets()
        }
        (CodecConfig::Hevc(old), CodecConfig::Hevc(new)) => {
            old.length_size == new.length_size && old.parameter_sets() == new.parameter_sets()
        }
        _ => is_compatible(old, new),
    }
}

/// Returns whether a sample contains parameter sets.
fn has_sets(config: &CodecConfig, sample: &[u8]) -> bool {
    match config {
        CodecConfig::Avc(config) => config.nal_units(sample).filter_map(avc::nal_type).any(|kind| kind == avc::NAL_PPS),
        CodecConfig::Hevc(config) => {
            config.nal_units(sample).filter_map(hevc::nal_type).any(|kind| kind == hevc::NAL_PPS)
        }
        // The other codecs have no parameter sets: a change within their frames makes another configuration at once.
        _ => true,
    }
}

/// Returns the configuration that a frame changes `config` to; `None` if it changes nothing. Damaged parameter sets
/// change nothing, because a decoder may still manage.
fn changed(config: &CodecConfig, payload: &Bytes) -> Option<CodecConfig> {
    match config {
        CodecConfig::Ac3(_) => config_in_frame(Codec::Ac3, payload),
        CodecConfig::Eac3(_) => config_in_frame(Codec::Eac3, payload),
        config => config.changed_by(payload).unwrap_or_default(),
    }
}

/// Returns the configuration that a frame contains, if its codec allows that.
fn config_in_frame(codec: Codec, payload: &Bytes) -> Option<CodecConfig> {
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
