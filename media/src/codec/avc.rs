//! H.264: the decoder configuration record (ISO/IEC 14496-15 §5.3.3) and the NAL units of a sample. The sequence
//! parameter set (ITU-T H.264 §7.3.2.1) is [`Sps`].

mod sps;

use bytes::Bytes;

pub use sps::Sps;

use super::HeaderError;
use super::nal::{self, MAX_PARAMETER_SETS};
use crate::bits::BitReader;
use crate::frame::Access;
use sps::has_chroma_info;

/// `nal_unit_type` of a slice of a non-IDR frame.
pub const NAL_SLICE: u8 = 1;
/// `nal_unit_type` of a slice of an IDR frame.
pub const NAL_IDR: u8 = 5;
/// `nal_unit_type` of supplemental enhancement information: captions, recovery points.
pub const NAL_SEI: u8 = 6;
/// `nal_unit_type` of a sequence parameter set.
pub const NAL_SPS: u8 = 7;
/// `nal_unit_type` of a picture parameter set.
pub const NAL_PPS: u8 = 8;
/// `nal_unit_type` of an access unit delimiter.
pub const NAL_AUD: u8 = 9;

/// Largest configuration record accepted, in bytes.
const MAX_RECORD: usize = 4_096;
/// Bytes of a slice that hold `first_mb_in_slice` and `slice_type`, two Exp-Golomb codes of at most 63 bits.
const SLICE_HEAD: usize = 16;
/// Bytes of an SEI unit searched for a recovery point, which is at its beginning.
const SEI_HEAD: usize = 256;
/// `payloadType` of the SEI message for a recovery point.
const SEI_RECOVERY_POINT: usize = 6;

/// A parsed decoder configuration record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The record as received, for `avcC`.
    pub record: Bytes,
    /// Bytes in the length prefix of each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// The first sequence parameter set ([`Sps`]).
    pub sps: Sps,
}

impl Config {
    /// Parses an `AVCDecoderConfigurationRecord`.
    pub fn parse(record: Bytes) -> Result<Self, HeaderError> {
        if record.len() > MAX_RECORD {
            return Err(HeaderError::Range { place: "avcC", value: record.len() as u64 });
        }
        let mut r = BitReader::new(&record);
        let version = r.bits(8, "avcC > configurationVersion")?;
        if version != 1 {
            return Err(HeaderError::Unsupported { place: "avcC > configurationVersion", value: version.into() });
        }
        r.skip(24 + 6, "avcC > AVCProfileIndication")?;
        let length_size = r.bits(2, "avcC > lengthSizeMinusOne")? as u8 + 1;
        if length_size == 3 {
            return Err(HeaderError::Range { place: "avcC > lengthSizeMinusOne", value: 2 });
        }
        let (sps, _) = read_sets(&record)?;
        let Some(first) = sps.first() else {
            return Err(HeaderError::Range { place: "avcC > numOfSequenceParameterSets", value: 0 });
        };
        let sps = Sps::parse(first)?;
        Ok(Self { length_size, sps, record })
    }

    /// Builds the record from parameter sets found in a stream, for NAL units with length prefixes of four bytes.
    pub fn from_parameter_sets(sps: &[Bytes], pps: &[Bytes]) -> Result<Self, HeaderError> {
        let Some(first) = sps.first() else {
            return Err(HeaderError::Range { place: "avc > sequence parameter sets", value: 0 });
        };
        let head = Sps::parse(first)?;
        let mut record = vec![1, head.profile, head.constraints, head.level, 0xff];
        put_sets(&mut record, sps, 0xe0, "avc > sequence parameter sets")?;
        put_sets(&mut record, pps, 0, "avc > picture parameter sets")?;
        if has_chroma_info(head.profile) {
            record.extend([
                0xfc | head.chroma_format,
                0xf8 | depth(head.bit_depth_luma),
                0xf8 | depth(head.bit_depth_chroma),
                0,
            ]);
        }
        Ok(Self { record: record.into(), length_size: 4, sps: head })
    }

    /// Returns the sequence and picture parameter sets of the record, as slices of it.
    pub fn parameter_sets(&self) -> (Vec<Bytes>, Vec<Bytes>) {
        read_sets(&self.record).unwrap_or_default()
    }

    /// Returns the ids of the parameter sets, first the sequence, then the picture ones; `None` if one cannot be read.
    pub fn set_ids(&self) -> Option<Vec<u32>> {
        let (sps, pps) = self.parameter_sets();
        sps.iter().map(|set| sps_id(set)).chain(pps.iter().map(|set| pps_id(set))).collect()
    }

    /// Returns a header for the samples of both, with the parameter sets of `other` after its own. The frame size must
    /// be the same, and the ids of the sets must differ (see [`Config::set_ids`]).
    pub fn joined_with(&self, other: &Self) -> Result<Self, HeaderError> {
        let ((mut sps, mut pps), (more_sps, more_pps)) = (self.parameter_sets(), other.parameter_sets());
        sps.extend(more_sps);
        pps.extend(more_pps);
        let mut joined = Self::from_parameter_sets(&sps, &pps)?;
        joined.set_length_size(self.length_size);
        // The record promises no more than all of its sets do (ISO/IEC 14496-15 §5.3.3.1.2).
        joined.sps.constraints &= other.sps.constraints;
        joined.sps.level = joined.sps.level.max(other.sps.level);
        let mut record = joined.record.to_vec();
        if let Some(promise) = record.get_mut(2..4) {
            promise.copy_from_slice(&[joined.sps.constraints, joined.sps.level]);
        }
        joined.record = record.into();
        Ok(joined)
    }

    /// Returns the header with the parameter sets of `sample` merged in; `None` if they are the same, or absent.
    pub fn changed_by(&self, sample: &[u8]) -> Result<Option<Self>, HeaderError> {
        if !self.nal_units(sample).any(|nal| matches!(nal_type(nal), Some(NAL_SPS | NAL_PPS))) {
            return Ok(None);
        }
        let known = self.parameter_sets();
        let (mut sps, mut pps) = known.clone();
        for nal in self.nal_units(sample) {
            match nal_type(nal) {
                Some(NAL_SPS) => nal::merge(&mut sps, nal, sps_id),
                Some(NAL_PPS) => nal::merge(&mut pps, nal, pps_id),
                _ => {}
            }
        }
        nal::bring_forward(&mut sps, self.nal_units(sample).filter(|nal| nal_type(nal) == Some(NAL_SPS)));
        if (&sps, &pps) == (&known.0, &known.1) {
            return Ok(None);
        }
        // Samples keep their own length prefixes.
        let mut config = Self::from_parameter_sets(&sps, &pps)?;
        config.set_length_size(self.length_size);
        Ok(Some(config))
    }

    fn set_length_size(&mut self, size: u8) {
        if size != self.length_size {
            let mut record = self.record.to_vec();
            if let Some(byte) = record.get_mut(4) {
                *byte = 0xfc | (size.wrapping_sub(1) & 3);
            }
            self.record = record.into();
            self.length_size = size;
        }
    }

    /// Returns the codec parameter of RFC 6381, `avc1.PPCCLL`.
    pub fn codec_string(&self) -> String {
        let Sps { profile, constraints, level, .. } = self.sps;
        format!("avc1.{profile:02X}{constraints:02X}{level:02X}")
    }

    /// Returns the NAL units of a length-prefixed sample; stops at the first one that does not fit.
    pub fn nal_units<'a>(&self, sample: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        nal::units(sample, self.length_size)
    }

    /// Returns whether the sample is an IDR frame, regardless of the transport's flags.
    pub fn is_idr(&self, sample: &[u8]) -> bool {
        self.nal_units(sample).filter_map(nal_type).find(|kind| is_vcl(*kind)) == Some(NAL_IDR)
    }

    /// Returns whether decoding may start at the sample: at an IDR frame, or at an intra frame with a recovery point
    /// SEI for exact output at once.
    pub fn access(&self, sample: &[u8]) -> Access {
        let Some(slice) = self.nal_units(sample).find(|nal| nal_type(nal).is_some_and(is_vcl)) else {
            return Access::Dependent;
        };
        match nal_type(slice) {
            Some(NAL_IDR) => Access::Independent,
            Some(NAL_SLICE) if is_intra_slice(slice) && self.nal_units(sample).any(is_exact_recovery_point) => {
                Access::Open
            }
            _ => Access::Dependent,
        }
    }
}

/// Returns the `nal_unit_type` of a NAL unit; `None` if it is empty.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|byte| byte & 0x1f)
}

/// Returns whether a NAL unit ([`nal_type`]) is a slice of the primary coded picture, or a partition of one.
pub const fn is_vcl(nal_type: u8) -> bool {
    matches!(nal_type, 1..=5)
}

/// Returns whether a slice has the first macroblock: the first slice of a frame, in the order of all encoders.
pub fn is_first_slice(nal: &[u8]) -> bool {
    // `first_mb_in_slice` is 0, whose Exp-Golomb code is a single one.
    nal_type(nal).is_some_and(is_vcl) && nal.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

fn is_intra_slice(nal: &[u8]) -> bool {
    let head = nal::unescape(nal.get(1..).unwrap_or_default(), SLICE_HEAD);
    let mut r = BitReader::new(&head);
    r.ue("slice_header > first_mb_in_slice").is_ok()
        && r.ue("slice_header > slice_type").is_ok_and(|kind| matches!(kind, 2 | 4 | 7 | 9))
}

/// Returns whether an SEI unit has a recovery point after zero frames.
fn is_exact_recovery_point(nal: &[u8]) -> bool {
    if nal_type(nal) != Some(NAL_SEI) {
        return false;
    }
    let head = nal::unescape(nal.get(1..).unwrap_or_default(), SEI_HEAD);
    let mut rest = &head[..];
    while let Some((kind, size, body)) = sei_message(rest) {
        if kind == SEI_RECOVERY_POINT {
            return BitReader::new(body).ue("sei > recovery_frame_cnt") == Ok(0);
        }
        rest = body.get(size..).unwrap_or_default();
    }
    false
}

/// Returns type, size and following bytes of the next SEI message.
fn sei_message(bytes: &[u8]) -> Option<(usize, usize, &[u8])> {
    let number = |bytes: &mut std::slice::Iter<'_, u8>| {
        let mut sum = 0usize;
        loop {
            let byte = *bytes.next()?;
            sum += usize::from(byte);
            if byte != 0xff {
                return Some(sum);
            }
        }
    };
    let mut bytes = bytes.iter();
    let (kind, size) = (number(&mut bytes)?, number(&mut bytes)?);
    Some((kind, size, bytes.as_slice()))
}

/// Returns the sequence and picture parameter sets of a record. The latter may be missing.
fn read_sets(record: &Bytes) -> Result<(Vec<Bytes>, Vec<Bytes>), HeaderError> {
    let mut at = 5;
    let mut sets = |mask: u8, place, len_place| -> Result<Vec<Bytes>, HeaderError> {
        let short = |place| HeaderError::Short { place, bit: record.len() * 8 };
        let count = record.get(at).ok_or(short(place))? & mask;
        at += 1;
        let mut sets = Vec::with_capacity(usize::from(count).min(MAX_PARAMETER_SETS));
        for _ in 0..count {
            let Some(&[high, low]) = record.get(at..at + 2) else { return Err(short(len_place)) };
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            if end > record.len() {
                return Err(short(len_place));
            }
            sets.push(record.slice(at + 2..end));
            at = end;
        }
        Ok(sets)
    };
    let sps = sets(0x1f, "avcC > numOfSequenceParameterSets", "avcC > sequenceParameterSetNALUnit")?;
    // Some encoders truncate the record. The picture parameter sets are then in the samples.
    let pps = sets(0xff, "avcC > numOfPictureParameterSets", "avcC > pictureParameterSetNALUnit").unwrap_or_default();
    Ok((sps, pps))
}

fn put_sets(record: &mut Vec<u8>, sets: &[Bytes], reserved: u8, place: &'static str) -> Result<(), HeaderError> {
    if sets.is_empty() || sets.len() > MAX_PARAMETER_SETS {
        return Err(HeaderError::Range { place, value: sets.len() as u64 });
    }
    record.push(reserved | sets.len() as u8);
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

fn sps_id(nal: &[u8]) -> Option<u32> {
    let head = nal::unescape(nal.get(4..)?, SLICE_HEAD);
    BitReader::new(&head).ue("sps > seq_parameter_set_id").ok()
}

fn pps_id(nal: &[u8]) -> Option<u32> {
    let head = nal::unescape(nal.get(1..)?, SLICE_HEAD);
    BitReader::new(&head).ue("pps > pic_parameter_set_id").ok()
}

const fn depth(bits: u8) -> u8 {
    bits.saturating_sub(8) & 7
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::{hex, sample};

    // x264, 1280x720 at 30 frames per second, High profile, level 3.1.
    const SPS_720P: [u8; 25] = [
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19,
    ];

    fn record(sps: &[u8]) -> Bytes {
        let mut out = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1, 0, sps.len() as u8];
        out.extend_from_slice(sps);
        out.extend_from_slice(&[1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        out.into()
    }

    #[test]
    fn reads_a_720p_record() {
        let config = Config::parse(record(&SPS_720P)).unwrap();
        assert_eq!((config.sps.width, config.sps.height), (1280, 720));
        assert_eq!(config.sps.frame_rate, Some((60, 2)));
        assert_eq!(config.length_size, 4);
        assert_eq!(config.codec_string(), "avc1.64001F");
    }

    #[test]
    fn every_shorter_record_is_an_error_not_a_panic() {
        let whole = record(&SPS_720P);
        for len in 0..8 + 12 {
            assert!(Config::parse(whole.slice(..len)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_record_without_parameter_sets_is_refused() {
        let err = Config::parse(Bytes::from_static(&[1, 100, 0, 31, 0xff, 0xe0])).unwrap_err();
        assert_eq!(err.to_string(), "avcC > numOfSequenceParameterSets: 0 is out of range");
    }

    #[test]
    fn recognizes_idr_by_its_nal_units() {
        let config = Config::parse(record(&SPS_720P)).unwrap();
        assert!(config.is_idr(&[0, 0, 0, 2, 0x06, 1, 0, 0, 0, 1, 0x65]));
        assert!(!config.is_idr(&[0, 0, 0, 2, 0x06, 1, 0, 0, 0, 1, 0x41]));
        assert!(!config.is_idr(&[0xff, 0, 0, 2, 0x65]));
        assert!(!config.is_idr(&[]));
    }

    // x264, 640x360 with open GOPs.
    const OPEN_SPS: &str = "6764001eacd940a02ff97011000003000100000300320f16";
    const OPEN_PPS: &str = "68ebe3cb22c0";

    fn open_gop() -> Config {
        Config::from_parameter_sets(&[hex(OPEN_SPS)], &[hex(OPEN_PPS)]).unwrap()
    }

    #[test]
    fn a_record_of_in_band_sets_parses_again() {
        let config = open_gop();
        assert_eq!(config.record, hex(&["0164001effe10018", OPEN_SPS, "010006", OPEN_PPS, "fdf8f800"].concat()));
        assert_eq!(Config::parse(config.record.clone()).unwrap(), config);
        assert_eq!(config.parameter_sets(), (vec![hex(OPEN_SPS)], vec![hex(OPEN_PPS)]));
        assert!(Config::from_parameter_sets(&[hex(OPEN_SPS)], &[]).is_err());
        assert!(Config::from_parameter_sets(&[], &[hex(OPEN_PPS)]).is_err());
        assert!(Config::from_parameter_sets(&vec![hex(OPEN_SPS); 32], &[hex(OPEN_PPS)]).is_err());
    }

    #[test]
    fn an_intra_frame_with_a_recovery_point_is_open() {
        let config = open_gop();
        let of = |sei: &str, slice: &str| config.access(&sample(&[&hex(sei), &hex(slice)]));
        assert_eq!(of("060601c480", "4188aa027fd9"), Access::Open);
        assert_eq!(of("06040211220601c480", "4188aa027fd9"), Access::Open, "after another message");
        assert_eq!(of("060601c480", "419acb7c9944"), Access::Dependent, "a P slice");
        assert_eq!(of("0606014480", "4188aa027fd9"), Access::Dependent, "a recovery point after a frame");
        assert_eq!(of("0601013280", "4188aa027fd9"), Access::Dependent, "another message");
        assert_eq!(of("0601013280", "6588820b02df"), Access::Independent);
        assert_eq!(of("06ffffffff", "4188aa027fd9"), Access::Dependent, "a message without end");
    }

    #[test]
    fn in_band_sets_change_the_header_once() {
        let config = open_gop();
        assert_eq!(config.changed_by(&sample(&[&hex(OPEN_SPS), &hex(OPEN_PPS), &[0x65]])), Ok(None));
        let changed = config.changed_by(&sample(&[&SPS_720P, &[0x65]])).unwrap().unwrap();
        assert_eq!((changed.sps.width, changed.length_size), (1_280, 4));
        assert_eq!(changed.parameter_sets(), (vec![Bytes::from_static(&SPS_720P)], vec![hex(OPEN_PPS)]));
        assert!(config.changed_by(&sample(&[&[0x67]])).is_err(), "a damaged set is an error");
    }

    #[test]
    fn two_encoders_share_a_header() {
        let (config, mut other) = (open_gop(), Config::parse(record(&SPS_720P)).unwrap());
        assert_eq!(config.set_ids(), Some(vec![0, 0]));
        other.sps.constraints = 0x0c;
        let joined = config.joined_with(&other).unwrap();
        assert_eq!(joined.codec_string(), "avc1.64001F");
        assert_eq!(joined.record.get(1..4), Some(&[100, 0, 31][..]));
        assert_eq!(joined.parameter_sets().0, [hex(OPEN_SPS), Bytes::from_static(&SPS_720P)]);
        assert_eq!(joined.set_ids().map(|ids| ids.len()), Some(4));
    }

    #[test]
    fn unit_headers() {
        assert!(is_first_slice(&[0x65, 0x88]) && !is_first_slice(&[0x65, 0x08]) && !is_first_slice(&[0x67, 0x88]));
        assert!(is_vcl(1) && is_vcl(5) && !is_vcl(6) && !is_vcl(0));
    }
}
