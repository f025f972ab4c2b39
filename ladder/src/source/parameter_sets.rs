//! The encoder beside a source: both write one track, under one header that has the parameter sets of both.

use media::CodecConfig;
use media::codec::avc;

/// The length prefix that encoders here write.
const LENGTH_SIZE: u8 = 4;
/// Sequence parameter sets are numbered below this (ITU-T H.264 §7.4.2.1.1).
const SET_IDS: u32 = 32;
/// `constraint_set1_flag`: nothing of the baseline profile that others cannot decode.
const CONSTRAINED: u8 = 0x40;

/// How an encoder writes, so that its frames go with those of another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Style {
    /// The number of its parameter sets.
    pub(crate) set_id: u32,
    /// The profile, as GStreamer calls it.
    pub(crate) profile: &'static str,
    /// Ten times the level.
    pub(crate) level: u8,
}

/// The source that an encoder stands beside.
#[derive(Debug)]
pub(crate) struct Beside {
    source: avc::Config,
    style: Style,
}

impl Beside {
    /// Beside a source with this header; none where an encoder cannot do the like, or players could not.
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
        let style = Style { set_id, profile, level: sps.level };
        Some(Self { source: source.clone(), style })
    }

    /// How the encoder has to write.
    pub(crate) const fn style(&self) -> Style {
        self.style
    }

    /// Whether frames with this header go with the source's.
    pub(crate) fn suits(&self, codec: &CodecConfig) -> bool {
        let CodecConfig::Avc(other) = codec else { return false };
        other.length_size == LENGTH_SIZE && other.parameter_sets() == self.source.parameter_sets()
    }

    /// The header of the track, with that of the encoder; none where the two do not go together.
    pub(crate) fn join(&self, encoder: &CodecConfig) -> Option<CodecConfig> {
        let CodecConfig::Avc(encoder) = encoder else { return None };
        let of = |config: &avc::Config| (config.sps.width, config.sps.height, config.sps.profile, config.length_size);
        let apart = encoder.set_ids()?.iter().all(|id| *id == self.style.set_id);
        if !apart || of(encoder) != of(&self.source) {
            return None;
        }
        self.source.joined_with(encoder).ok().map(CodecConfig::Avc)
    }
}
