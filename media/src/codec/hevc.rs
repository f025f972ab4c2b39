//! HEVC: the decoder configuration record (ISO/IEC 14496-15 §8.3.2), the NAL units of a sample, and where decoding may
//! start (ITU-T H.265 §7.4.2.2). The sequence parameter set is [`Sps`].

pub mod sps;

use bytes::Bytes;
pub use sps::{ProfileTierLevel, Sps};

use super::HeaderError;
use super::nal::{self, MAX_PARAMETER_SETS};
use crate::bits::BitReader;
use crate::frame::Access;

/// `nal_unit_type` of a video parameter set.
pub const NAL_VPS: u8 = 32;
/// `nal_unit_type` of a sequence parameter set.
pub const NAL_SPS: u8 = 33;
/// `nal_unit_type` of a picture parameter set.
pub const NAL_PPS: u8 = 34;
/// `nal_unit_type` of an access unit delimiter.
pub const NAL_AUD: u8 = 35;
/// `nal_unit_type` of SEI before its frame: captions, mastering display.
pub const NAL_PREFIX_SEI: u8 = 39;
/// `nal_unit_type` of SEI after its frame.
pub const NAL_SUFFIX_SEI: u8 = 40;

const NAL_BLA_W_LP: u8 = 16;
const NAL_IDR_N_LP: u8 = 20;
const NAL_CRA: u8 = 21;

/// Bytes of a NAL unit's header.
const HEADER: usize = 2;
/// Bytes of the record before its arrays.
const RECORD_HEAD: usize = 22;
/// Largest configuration record accepted, in bytes; SEI units with encoder settings make it larger than H.264's.
const MAX_RECORD: usize = 16_384;
/// Most NAL units in a record.
const MAX_UNITS: usize = 128;

/// A parsed decoder configuration record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The record as received or built, for `hvcC`.
    pub record: Bytes,
    /// Bytes in the length prefix of each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// The first sequence parameter set ([`Sps`]).
    pub sps: Sps,
}

/// The parameter sets of a record or a stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParameterSets {
    /// Video parameter sets.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
    /// SEI units of a record, which apply to all of its samples.
    pub sei: Vec<Bytes>,
}

impl Config {
    /// Parses an `HEVCDecoderConfigurationRecord`.
    pub fn parse(record: Bytes) -> Result<Self, HeaderError> {
        if record.len() > MAX_RECORD {
            return Err(HeaderError::Range { place: "hvcC", value: record.len() as u64 });
        }
        let version = *record.first().ok_or(HeaderError::Short { place: "hvcC > configurationVersion", bit: 0 })?;
        // Old encoders wrote 0 for drafts of the format, with the same layout.
        if version > 1 {
            return Err(HeaderError::Unsupported { place: "hvcC > configurationVersion", value: version.into() });
        }
        let length_size = match record.get(RECORD_HEAD - 1).map(|byte| byte & 3) {
            Some(2) => return Err(HeaderError::Range { place: "hvcC > lengthSizeMinusOne", value: 2 }),
            Some(less_one) => less_one + 1,
            None => return Err(HeaderError::Short { place: "hvcC > lengthSizeMinusOne", bit: record.len() * 8 }),
        };
        let sets = read_sets(&record)?;
        let Some(first) = sets.sps.first() else {
            return Err(HeaderError::Range { place: "hvcC > arrays > sequence parameter sets", value: 0 });
        };
        let sps = Sps::parse(first)?;
        Ok(Self { length_size, sps, record })
    }

    /// Builds the record from parameter sets found in a stream, for NAL units with length prefixes of four bytes.
    pub fn from_parameter_sets(vps: &[Bytes], sps: &[Bytes], pps: &[Bytes]) -> Result<Self, HeaderError> {
        let Some(first) = sps.first() else {
            return Err(HeaderError::Range { place: "hevc > sequence parameter sets", value: 0 });
        };
        Self::build(Sps::parse(first)?, 4, [vps, sps, pps])
    }

    /// Returns the [`ParameterSets`] of the record, as slices of it.
    pub fn parameter_sets(&self) -> ParameterSets {
        read_sets(&self.record).unwrap_or_default()
    }

    /// Returns the header with the parameter sets of `sample` merged in; `None` if they are the same, or absent.
    pub fn changed_by(&self, sample: &[u8]) -> Result<Option<Self>, HeaderError> {
        if !self.nal_units(sample).any(|nal| nal_type(nal).is_some_and(is_parameter_set)) {
            return Ok(None);
        }
        let known = self.parameter_sets();
        let mut sets = known.clone();
        let units = || self.nal_units(sample).filter(|nal| layer(nal) == 0);
        for nal in units() {
            match nal_type(nal) {
                Some(NAL_VPS) => nal::merge(&mut sets.vps, nal, vps_id),
                Some(NAL_SPS) => nal::merge(&mut sets.sps, nal, sps::id),
                Some(NAL_PPS) => nal::merge(&mut sets.pps, nal, pps_id),
                _ => {}
            }
        }
        nal::bring_forward(&mut sets.sps, units().filter(|nal| nal_type(nal) == Some(NAL_SPS)));
        match sets.sps.first() {
            Some(first) if sets != known => {
                let sps = Sps::parse(first)?;
                Self::build(sps, self.length_size, [&sets.vps, &sets.sps, &sets.pps]).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn build(sps: Sps, length_size: u8, sets: [&[Bytes]; 3]) -> Result<Self, HeaderError> {
        let ProfileTierLevel { space, high_tier, profile, compatibility, constraints, level } = sps.profile;
        let mut record = vec![1, space << 6 | u8::from(high_tier) << 5 | profile];
        record.extend(compatibility.to_be_bytes());
        record.extend(constraints);
        // Spatial segmentation and parallelism are not signalled: 0 means unknown, under reserved bits that are ones.
        record.extend([level, 0xf0, 0, 0xfc, 0xfc | sps.chroma_format]);
        record.extend([
            0xf8 | sps.bit_depth_luma.saturating_sub(8) & 7,
            0xf8 | sps.bit_depth_chroma.saturating_sub(8) & 7,
        ]);
        // Average and constant frame rate are unknown.
        let nested = u8::from(sps.temporal_id_nesting) << 2;
        record.extend([
            0,
            0,
            sps.temporal_layers << 3 | nested | (length_size.saturating_sub(1) & 3),
            sets.len() as u8,
        ]);
        for (kind, sets) in [NAL_VPS, NAL_SPS, NAL_PPS].into_iter().zip(sets) {
            put_array(&mut record, kind, sets)?;
        }
        Ok(Self { record: record.into(), length_size, sps })
    }

    /// Returns the codec parameter of RFC 6381 (ISO/IEC 14496-15 annex E): `hvc1.2.4.L123.B0`.
    pub fn codec_string(&self) -> String {
        let ProfileTierLevel { space, high_tier, profile, compatibility, constraints, level } = self.sps.profile;
        let space = ["", "A", "B", "C"].get(usize::from(space)).copied().unwrap_or_default();
        let tier = if high_tier { 'H' } else { 'L' };
        let mut out = format!("hvc1.{space}{profile}.{:X}.{tier}{level}", compatibility.reverse_bits());
        // Trailing zero bytes are omitted.
        let len = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for byte in constraints.iter().take(len) {
            out.push_str(&format!(".{byte:X}"));
        }
        out
    }

    /// Returns the NAL units of a length-prefixed sample; stops at the first one that does not fit.
    pub fn nal_units<'a>(&self, sample: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        nal::units(sample, self.length_size)
    }

    /// Returns whether decoding may start at the sample, by the type of its first slice.
    pub fn access(&self, sample: &[u8]) -> Access {
        match self.nal_units(sample).filter_map(nal_type).find(|kind| is_vcl(*kind)) {
            // Frames that lead a CRA frame, or a broken link, may need earlier frames.
            Some(NAL_CRA | NAL_BLA_W_LP) => Access::Open,
            Some(kind) => Access::independent_if((NAL_BLA_W_LP..=NAL_IDR_N_LP).contains(&kind)),
            None => Access::Dependent,
        }
    }
}

/// Returns the `nal_unit_type` of a NAL unit; `None` if it is empty.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|byte| byte >> 1 & 0x3f)
}

/// Returns the `nuh_layer_id` of a NAL unit, which is above 0 for scalable and multiview decoders only.
pub fn layer(nal: &[u8]) -> u8 {
    match nal {
        [first, second, ..] => (first & 1) << 5 | second >> 3,
        _ => 0,
    }
}

/// Returns whether a NAL unit is a slice.
pub const fn is_vcl(nal_type: u8) -> bool {
    nal_type < NAL_VPS
}

/// Returns whether a NAL unit ([`nal_type`]) is a slice at which decoding may start: BLA, IDR and CRA.
pub const fn is_irap(nal_type: u8) -> bool {
    matches!(nal_type, NAL_BLA_W_LP..=NAL_CRA)
}

/// Returns whether a NAL unit is a video, sequence or picture parameter set.
pub const fn is_parameter_set(nal_type: u8) -> bool {
    matches!(nal_type, NAL_VPS..=NAL_PPS)
}

/// Returns whether a slice is the first of its frame.
pub fn is_first_slice(nal: &[u8]) -> bool {
    nal_type(nal).is_some_and(is_vcl) && nal.get(HEADER).is_some_and(|byte| byte & 0x80 != 0)
}

/// Returns the [`ParameterSets`] of a record.
fn read_sets(record: &Bytes) -> Result<ParameterSets, HeaderError> {
    let short = |place| HeaderError::Short { place, bit: record.len() * 8 };
    let mut at = RECORD_HEAD + 1;
    let mut found = ParameterSets::default();
    let mut units = 0;
    for _ in 0..*record.get(RECORD_HEAD).ok_or(short("hvcC > numOfArrays"))? {
        let Some(&[kind, high, low]) = record.get(at..at + 3) else { return Err(short("hvcC > arrays > numNalus")) };
        at += 3;
        let count = usize::from(u16::from_be_bytes([high, low]));
        units += count;
        if units > MAX_UNITS {
            return Err(HeaderError::Range { place: "hvcC > arrays > numNalus", value: units as u64 });
        }
        for _ in 0..count {
            let Some(&[high, low]) = record.get(at..at + 2) else {
                return Err(short("hvcC > arrays > nalUnitLength"));
            };
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            if end > record.len() {
                return Err(short("hvcC > arrays > nalUnit"));
            }
            match kind & 0x3f {
                NAL_VPS => found.vps.push(record.slice(at + 2..end)),
                NAL_SPS => found.sps.push(record.slice(at + 2..end)),
                NAL_PPS => found.pps.push(record.slice(at + 2..end)),
                NAL_PREFIX_SEI | NAL_SUFFIX_SEI => found.sei.push(record.slice(at + 2..end)),
                _ => {}
            }
            at = end;
        }
    }
    Ok(found)
}

fn put_array(record: &mut Vec<u8>, kind: u8, sets: &[Bytes]) -> Result<(), HeaderError> {
    let place = "hevc > parameter sets";
    if sets.is_empty() || sets.len() > MAX_PARAMETER_SETS {
        return Err(HeaderError::Range { place, value: sets.len() as u64 });
    }
    // The array is complete, because `hvc1` has no other sets in its samples.
    record.extend([0x80 | kind, 0, sets.len() as u8]);
    for set in sets {
        let len = u16::try_from(set.len()).map_err(|_| HeaderError::Range { place, value: set.len() as u64 })?;
        record.extend(len.to_be_bytes());
        record.extend_from_slice(set);
    }
    if record.len() > MAX_RECORD {
        return Err(HeaderError::Range { place, value: record.len() as u64 });
    }
    Ok(())
}

fn vps_id(nal: &[u8]) -> Option<u32> {
    nal.get(HEADER).map(|byte| u32::from(byte >> 4))
}

fn pps_id(nal: &[u8]) -> Option<u32> {
    let head = nal::unescape(nal.get(HEADER..)?, 8);
    BitReader::new(&head).ue("pps > pps_pic_parameter_set_id").ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::{hex, sample};
    use crate::codec::{Colour, VideoRange};

    // x265, 1920x1080 at 50 frames per second, Main 10, HDR10, as ffmpeg writes it; the fourth array is SEI.
    const HDR10: &str = "0102200000009000000000007bf000fcfdfafa00000f04a00001001840010c01ffff022000000300900000030000\
        03007b959809a10001002f42010102200000030090000003000003007ba003c08010e4d96566924caf016a122012080000030008000003\
        019040a2000100074401c172b46240270001000a4e019004000003000080";

    fn hdr10() -> Config {
        Config::parse(hex(HDR10)).unwrap()
    }

    #[test]
    fn reads_an_hdr10_record() {
        let config = hdr10();
        assert_eq!((config.sps.width, config.sps.height, config.length_size), (1_920, 1_080, 4));
        assert_eq!((config.sps.bit_depth_luma, config.sps.frame_rate), (10, Some((50, 1))));
        assert_eq!(config.sps.colour, Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false }));
        assert_eq!(config.sps.colour.unwrap().video_range(), VideoRange::Pq);
        assert_eq!(config.codec_string(), "hvc1.2.4.L123.90");
    }

    #[test]
    fn a_record_of_in_band_sets_is_the_encoders_own() {
        let config = hdr10();
        let ParameterSets { vps, sps, pps, .. } = config.parameter_sets();
        let built = Config::from_parameter_sets(&vps, &sps, &pps).unwrap();
        let theirs = &config.record[..config.record.len() - 15];
        // Without the number of arrays, three instead of four, and the flag of a complete array.
        let differences: Vec<_> =
            built.record.iter().zip(theirs).filter(|(a, b)| a != b).map(|(a, b)| (*a, *b)).collect();
        assert_eq!(built.record.len(), theirs.len());
        assert_eq!(differences, [(3, 4)]);
        assert_eq!(Config::parse(built.record.clone()).unwrap(), built);
        assert!(Config::from_parameter_sets(&vps, &sps, &[]).is_err());
        assert!(Config::from_parameter_sets(&vps, &[], &pps).is_err());
    }

    #[test]
    fn access_follows_the_first_slice() {
        let config = hdr10();
        let of = |kind: u8| config.access(&sample(&[&[NAL_PREFIX_SEI << 1, 1, 0], &[kind << 1, 1, 0xaf]]));
        assert_eq!([16, 21].map(of), [Access::Open; 2]);
        assert_eq!([17, 18, 19, 20].map(of), [Access::Independent; 4]);
        assert_eq!([0, 1, 9, 15, 22, 23].map(of), [Access::Dependent; 6]);
        assert_eq!(config.access(&[]), Access::Dependent);
    }

    #[test]
    fn in_band_sets_change_the_header_once() {
        let config = hdr10();
        let ParameterSets { sps, .. } = config.parameter_sets();
        let same = sample(&[&sps[0], &[40, 1, 0xaf]]);
        assert_eq!(config.changed_by(&same), Ok(None));
        // The same set with another level.
        let mut other = sps[0].to_vec();
        other[17] = 0x78;
        let changed = config.changed_by(&sample(&[&other])).unwrap().unwrap();
        assert_eq!(changed.codec_string(), "hvc1.2.4.L120.90");
        assert_eq!(changed.parameter_sets().sps.len(), 1);
        assert_eq!(changed.changed_by(&sample(&[&other])), Ok(None));
    }

    #[test]
    fn every_shorter_record_is_an_error_not_a_panic() {
        let whole = hex(HDR10);
        for len in 0..whole.len() {
            assert!(Config::parse(whole.slice(..len)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn unit_headers() {
        assert_eq!((nal_type(&[0x28, 0x01]), layer(&[0x28, 0x01]), layer(&[0x29, 0x09])), (Some(20), 0, 33));
        assert!(
            is_first_slice(&[0x28, 1, 0xaf]) && !is_first_slice(&[0x28, 1, 0x2f]) && !is_first_slice(&[0x46, 1, 0xff])
        );
        assert!(is_irap(16) && is_irap(21) && !is_irap(22) && !is_irap(1));
        assert!(is_parameter_set(32) && is_parameter_set(34) && !is_parameter_set(35));
    }
}
