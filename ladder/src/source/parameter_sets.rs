//! One sample entry for two H.264 encoders: the source's and the one that fills its gaps.
//!
//! Both write one track, so its header holds the parameter sets of both.

use media::CodecConfig;
use media::codec::avc;

/// Length prefix of the NAL units that encoders here write, in bytes.
const LENGTH_SIZE: u8 = 4;
/// Number of ids for sequence parameter sets: 0 to 31 (ITU-T H.264 §7.4.2.1.1).
const SET_IDS: u32 = 32;
/// `constraint_set1_flag`: the stream uses no tool of the baseline profile that other profiles lack.
const CONSTRAINED: u8 = 0x40;

/// Constraints on an encoder whose frames share a track with the source's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EncoderConstraints {
    /// Id of the encoder's parameter sets; the source uses another one.
    pub(crate) set_id: u32,
    /// H.264 profile, by GStreamer's name.
    pub(crate) profile: &'static str,
    /// H.264 level, times ten.
    pub(crate) level: u8,
}

/// Parameter sets of a source, and the [`EncoderConstraints`] that follow from them.
#[derive(Debug)]
pub(crate) struct SharedParameterSets {
    source: avc::Config,
    constraints: EncoderConstraints,
}

impl SharedParameterSets {
    /// Returns the sets for a source with this header; `None` if no encoder here can write a matching stream, or
    /// players could not decode the mix.
    pub(crate) fn new(codec: &CodecConfig) -> Option<Self> {
        let CodecConfig::Avc(source) = codec else { return None };
        let sps = &source.sps;
        let plain = sps.frames_only && (sps.chroma_format, sps.bit_depth_luma, sps.bit_depth_chroma) == (1, 8, 8);
        let profile = match sps.profile {
            66 if sps.constraints & CONSTRAINED != 0 => "constrained-baseline",
            77 => "main",
            100 => "high",
            _ => return None,
        };
        if !plain || source.length_size != LENGTH_SIZE {
            return None;
        }
        let used = source.set_ids()?;
        let set_id = (0..SET_IDS).find(|id| !used.contains(id))?;
        let constraints = EncoderConstraints { set_id, profile, level: sps.level };
        Some(Self { source: source.clone(), constraints })
    }

    /// Returns the constraints on the encoder.
    pub(crate) const fn constraints(&self) -> EncoderConstraints {
        self.constraints
    }

    /// Returns whether frames with this header can be decoded with the source's parameter sets.
    pub(crate) fn matches(&self, codec: &CodecConfig) -> bool {
        let CodecConfig::Avc(other) = codec else { return false };
        other.length_size == LENGTH_SIZE && other.parameter_sets() == self.source.parameter_sets()
    }

    /// Returns the header of the track, with the parameter sets of the source and of the encoder; `None` if the two
    /// cannot share a track.
    pub(crate) fn join(&self, encoder: &CodecConfig) -> Option<CodecConfig> {
        let CodecConfig::Avc(encoder) = encoder else { return None };
        let key = |config: &avc::Config| (config.sps.width, config.sps.height, config.sps.profile, config.length_size);
        let distinct = encoder.set_ids()?.iter().all(|id| *id == self.constraints.set_id);
        if !distinct || key(encoder) != key(&self.source) {
            return None;
        }
        self.source.joined_with(encoder).ok().map(CodecConfig::Avc)
    }
}
