//! H.264: the decoder configuration record (ISO/IEC 14496-15 §5.3.3), sequence parameter sets (ITU-T H.264 §7.3.2.1)
//! and the NAL units of a sample.

use bytes::Bytes;

use super::nal::{self, MAX_PARAMETER_SETS, Vui};
use super::{Colour, HeaderError};
use crate::bits::BitReader;
use crate::frame::Access;

/// `nal_unit_type` of a slice of a non-IDR picture.
pub const NAL_SLICE: u8 = 1;
/// `nal_unit_type` of a slice of an IDR picture.
pub const NAL_IDR: u8 = 5;
/// `nal_unit_type` of supplemental enhancement information: captions, recovery points.
pub const NAL_SEI: u8 = 6;
/// `nal_unit_type` of a sequence parameter set.
pub const NAL_SPS: u8 = 7;
/// `nal_unit_type` of a picture parameter set.
pub const NAL_PPS: u8 = 8;
/// `nal_unit_type` of an access unit delimiter.
pub const NAL_AUD: u8 = 9;

/// Largest picture side accepted, in luma samples: level 6.2 allows 16 888.
const MAX_SIDE: u32 = 16_888;
/// Largest configuration record accepted, in bytes.
const MAX_RECORD: usize = 4_096;
/// Bytes of a slice that hold `first_mb_in_slice` and `slice_type`, two Exp-Golomb codes of at most 63 bits.
const SLICE_HEAD: usize = 16;
/// Bytes of an SEI unit looked through for a recovery point, which stands at its front.
const SEI_HEAD: usize = 256;
/// `payloadType` of the SEI message that tells a recovery point.
const SEI_RECOVERY_POINT: usize = 6;
/// Profiles whose sequence parameter sets and records tell chroma format and bit depth.
const fn tells_chroma(profile: u8) -> bool {
    matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244)
}

/// A decoder configuration record with what its first sequence parameter set says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The record as it came, for `avcC`.
    pub record: Bytes,
    /// Bytes in the length prefix of each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// What the picture looks like.
    pub sps: Sps,
}

/// The part of a sequence parameter set that Weir uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// The constraint flags byte.
    pub constraints: u8,
    /// `level_idc`, ten times the level.
    pub level: u8,
    /// `chroma_format_idc`: 1 for 4:2:0.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Visible width, in luma samples.
    pub width: u32,
    /// Visible height, in luma samples.
    pub height: u32,
    /// `frame_mbs_only_flag`: no picture is coded as fields.
    pub frames_only: bool,
    /// Frame rate of the VUI as (frames, seconds), where it has one. Encoders get it wrong: a hint only.
    pub frame_rate: Option<(u32, u32)>,
    /// Shape of a pixel as width to height, where the VUI says so.
    pub pixel_aspect: Option<(u16, u16)>,
    /// Colour description of the VUI, where it has one.
    pub colour: Option<Colour>,
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

    /// Builds the record of parameter sets found in a stream, for NAL units behind lengths of four bytes.
    pub fn from_parameter_sets(sps: &[Bytes], pps: &[Bytes]) -> Result<Self, HeaderError> {
        let Some(first) = sps.first() else {
            return Err(HeaderError::Range { place: "avc > sequence parameter sets", value: 0 });
        };
        let head = Sps::parse(first)?;
        let mut record = vec![1, head.profile, head.constraints, head.level, 0xff];
        put_sets(&mut record, sps, 0xe0, "avc > sequence parameter sets")?;
        put_sets(&mut record, pps, 0, "avc > picture parameter sets")?;
        if tells_chroma(head.profile) {
            record.extend([
                0xfc | head.chroma_format,
                0xf8 | depth(head.bit_depth_luma),
                0xf8 | depth(head.bit_depth_chroma),
                0,
            ]);
        }
        Ok(Self { record: record.into(), length_size: 4, sps: head })
    }

    /// The sequence and picture parameter sets of the record, as slices of it.
    pub fn parameter_sets(&self) -> (Vec<Bytes>, Vec<Bytes>) {
        read_sets(&self.record).unwrap_or_default()
    }

    /// The numbers of its parameter sets, sequence and picture alike; none where one cannot be read.
    pub fn set_ids(&self) -> Option<Vec<u32>> {
        let (sps, pps) = self.parameter_sets();
        sps.iter().map(|set| sps_id(set)).chain(pps.iter().map(|set| pps_id(set))).collect()
    }

    /// A header for the samples of both, of one size, with the sets of `other` behind its own. Their numbers must differ.
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

    /// The header with the parameter sets of `sample` put in; none where they are the same, or absent.
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
        // Samples keep the length prefixes that they came with.
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

    /// The codec parameter of RFC 6381, `avc1.PPCCLL`.
    pub fn codec_string(&self) -> String {
        let Sps { profile, constraints, level, .. } = self.sps;
        format!("avc1.{profile:02X}{constraints:02X}{level:02X}")
    }

    /// The NAL units of a sample in its length-prefixed form; stops at the first one that does not fit.
    pub fn nal_units<'a>(&self, sample: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        nal::units(sample, self.length_size)
    }

    /// True if the sample is an IDR picture, whatever the transport says of it.
    pub fn is_idr(&self, sample: &[u8]) -> bool {
        self.nal_units(sample).filter_map(nal_type).find(|kind| is_vcl(*kind)) == Some(NAL_IDR)
    }

    /// Whether decoding may start at the sample: an IDR picture, or an intra picture from which a recovery point SEI
    /// promises correct output at once.
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

/// `nal_unit_type` of a NAL unit; none if it is empty.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|byte| byte & 0x1f)
}

/// True for the slices of the primary picture and their partitions.
pub const fn is_vcl(nal_type: u8) -> bool {
    matches!(nal_type, 1..=5)
}

/// True if a slice holds the first macroblock: the first slice of a picture, as encoders order them.
pub fn starts_picture(nal: &[u8]) -> bool {
    // `first_mb_in_slice` is 0, and the Exp-Golomb code of 0 is a single one.
    nal_type(nal).is_some_and(is_vcl) && nal.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

fn is_intra_slice(nal: &[u8]) -> bool {
    let head = nal::unescape(nal.get(1..).unwrap_or_default(), SLICE_HEAD);
    let mut r = BitReader::new(&head);
    r.ue("slice_header > first_mb_in_slice").is_ok()
        && r.ue("slice_header > slice_type").is_ok_and(|kind| matches!(kind, 2 | 4 | 7 | 9))
}

/// True for an SEI unit with a recovery point after no frame at all.
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

/// Type, size and what follows of the next SEI message.
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

/// The sequence and picture parameter sets of a record; picture parameter sets may be missing.
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
    // Some encoders cut the record short; the picture parameter sets then come in-band.
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

impl Sps {
    /// Parses a sequence parameter set NAL unit, its header byte included.
    pub fn parse(nal: &[u8]) -> Result<Self, HeaderError> {
        let header = nal.first().copied().unwrap_or(0);
        if header & 0x1f != 7 {
            return Err(HeaderError::Range { place: "sps > nal_unit_type", value: (header & 0x1f).into() });
        }
        let rbsp = nal::parameter_set(nal, 1, "sps")?;
        let mut r = BitReader::new(&rbsp);
        let profile = r.bits(8, "sps > profile_idc")? as u8;
        let constraints = r.bits(8, "sps > constraint_set_flags")? as u8;
        let level = r.bits(8, "sps > level_idc")? as u8;
        r.ue("sps > seq_parameter_set_id")?;
        let Chroma { format, planes: chroma, luma_bits, chroma_bits } = chroma_format(&mut r, profile)?;
        r.ue("sps > log2_max_frame_num_minus4")?;
        picture_order(&mut r)?;
        r.ue("sps > max_num_ref_frames")?;
        r.flag("sps > gaps_in_frame_num_value_allowed_flag")?;
        let width_mbs = r.ue("sps > pic_width_in_mbs_minus1")?.saturating_add(1);
        let height_units = r.ue("sps > pic_height_in_map_units_minus1")?.saturating_add(1);
        let frame_mbs_only = r.flag("sps > frame_mbs_only_flag")?;
        if !frame_mbs_only {
            r.flag("sps > mb_adaptive_frame_field_flag")?;
        }
        r.flag("sps > direct_8x8_inference_flag")?;
        let fields = if frame_mbs_only { 1 } else { 2 };
        // 4:2:0 halves both sides, 4:2:2 the width only; a separate or absent chroma plane crops by luma samples.
        let (crop_x, crop_y) = match chroma {
            1 => (2, 2 * fields),
            2 => (2, fields),
            _ => (1, fields),
        };
        let mut crop = [0u32; 4];
        if r.flag("sps > frame_cropping_flag")? {
            for side in &mut crop {
                *side = r.ue("sps > frame_crop_offset")?;
            }
        }
        let width = side(width_mbs, 1, crop[0].saturating_add(crop[1]), crop_x, "sps > width")?;
        let height = side(height_units, fields, crop[2].saturating_add(crop[3]), crop_y, "sps > height")?;
        let vui = match r.flag("sps > vui_parameters_present_flag") {
            // A broken VUI costs only the hints in it.
            Ok(true) => vui(&mut r).unwrap_or_default(),
            _ => Vui::default(),
        };
        Ok(Self {
            profile,
            constraints,
            level,
            chroma_format: format,
            bit_depth_luma: luma_bits,
            bit_depth_chroma: chroma_bits,
            width,
            height,
            frames_only: frame_mbs_only,
            frame_rate: vui.frame_rate,
            pixel_aspect: vui.pixel_aspect,
            colour: vui.colour,
        })
    }
}

fn side(blocks: u32, times: u32, cut: u32, unit: u32, place: &'static str) -> Result<u32, HeaderError> {
    nal::visible(u64::from(blocks) * 16 * u64::from(times), u64::from(cut) * u64::from(unit), MAX_SIDE, place)
}

/// How colour is sampled.
struct Chroma {
    format: u8,
    /// `ChromaArrayType`: 0 where the colour planes are coded apart.
    planes: u8,
    luma_bits: u8,
    chroma_bits: u8,
}

/// Reads `chroma_format_idc` and the scaling lists of the profiles that have them; 4:2:0 with 8 bits elsewhere.
fn chroma_format(r: &mut BitReader<'_>, profile: u8) -> Result<Chroma, HeaderError> {
    let mut chroma = Chroma { format: 1, planes: 1, luma_bits: 8, chroma_bits: 8 };
    if !tells_chroma(profile) {
        return Ok(chroma);
    }
    let format = r.ue("sps > chroma_format_idc")?;
    if format > 3 {
        return Err(HeaderError::Range { place: "sps > chroma_format_idc", value: format.into() });
    }
    (chroma.format, chroma.planes) = (format as u8, format as u8);
    let lists = if format == 3 { 12 } else { 8 };
    if format == 3 && r.flag("sps > separate_colour_plane_flag")? {
        chroma.planes = 0;
    }
    chroma.luma_bits = bit_depth(r, "sps > bit_depth_luma_minus8")?;
    chroma.chroma_bits = bit_depth(r, "sps > bit_depth_chroma_minus8")?;
    r.flag("sps > qpprime_y_zero_transform_bypass_flag")?;
    if r.flag("sps > seq_scaling_matrix_present_flag")? {
        for list in 0..lists {
            if r.flag("sps > seq_scaling_list_present_flag")? {
                scaling_list(r, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(chroma)
}

fn bit_depth(r: &mut BitReader<'_>, place: &'static str) -> Result<u8, HeaderError> {
    match r.ue(place)? {
        more @ 0..=6 => Ok(8 + more as u8),
        other => Err(HeaderError::Range { place, value: other.into() }),
    }
}

fn scaling_list(r: &mut BitReader<'_>, size: usize) -> Result<(), HeaderError> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = last.wrapping_add(r.se("sps > scaling_list > delta_scale")?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

fn picture_order(r: &mut BitReader<'_>) -> Result<(), HeaderError> {
    match r.ue("sps > pic_order_cnt_type")? {
        0 => {
            r.ue("sps > log2_max_pic_order_cnt_lsb_minus4")?;
        }
        1 => {
            r.flag("sps > delta_pic_order_always_zero_flag")?;
            r.se("sps > offset_for_non_ref_pic")?;
            r.se("sps > offset_for_top_to_bottom_field")?;
            let count = r.ue("sps > num_ref_frames_in_pic_order_cnt_cycle")?;
            if count > 255 {
                return Err(HeaderError::Range {
                    place: "sps > num_ref_frames_in_pic_order_cnt_cycle",
                    value: count.into(),
                });
            }
            for _ in 0..count {
                r.se("sps > offset_for_ref_frame")?;
            }
        }
        2 => {}
        other => return Err(HeaderError::Range { place: "sps > pic_order_cnt_type", value: other.into() }),
    }
    Ok(())
}

fn vui(r: &mut BitReader<'_>) -> Result<Vui, HeaderError> {
    let mut vui = nal::vui_head(r)?;
    if let Ok(true) = r.flag("vui > timing_info_present_flag") {
        // Two fields make a frame.
        vui.frame_rate = nal::frame_rate(r, 2).unwrap_or_default();
    }
    Ok(vui)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::VideoRange;
    use crate::codec::testing::{hex, sample};

    // x264, 1280x720 at 30 frames a second, High profile, level 3.1.
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
    fn tells_idr_by_its_nal_units() {
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
    fn reads_a_deep_interlaced_set() {
        // x264, 1080i with ten bits, 4:2:2, HLG.
        let sps = Sps::parse(&hex("677a003eb6cd94078044fcbff80018002350912094000003000400000301907c78f658")).unwrap();
        assert_eq!((sps.width, sps.height, sps.pixel_aspect), (1_920, 1_080, Some((3, 4))));
        assert_eq!((sps.chroma_format, sps.bit_depth_luma, sps.bit_depth_chroma), (2, 10, 10));
        assert_eq!(sps.colour.map(|colour| colour.video_range()), Some(VideoRange::Hlg));
        assert_eq!(sps.frame_rate, Some((100, 2)));
    }

    #[test]
    fn an_intra_picture_with_a_recovery_point_is_open() {
        let config = open_gop();
        let of = |sei: &str, slice: &str| config.access(&sample(&[&hex(sei), &hex(slice)]));
        assert_eq!(of("060601c480", "4188aa027fd9"), Access::Open);
        assert_eq!(of("06040211220601c480", "4188aa027fd9"), Access::Open, "behind another message");
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
        assert!(config.changed_by(&sample(&[&[0x67]])).is_err(), "a broken set is told");
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
        assert!(starts_picture(&[0x65, 0x88]) && !starts_picture(&[0x65, 0x08]) && !starts_picture(&[0x67, 0x88]));
        assert!(is_vcl(1) && is_vcl(5) && !is_vcl(6) && !is_vcl(0));
    }
}
