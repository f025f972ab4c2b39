//! H.264: the decoder configuration record (ISO/IEC 14496-15 §5.3.3), sequence parameter sets (ITU-T H.264 §7.3.2.1)
//! and the NAL units of a sample.

use bytes::Bytes;

use super::HeaderError;
use crate::bits::BitReader;

/// Largest picture side accepted, in luma samples: level 6.2 allows 16 888.
const MAX_SIDE: u32 = 16_888;
/// Largest configuration record accepted, in bytes.
const MAX_RECORD: usize = 4_096;

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
    /// Visible width, in luma samples.
    pub width: u32,
    /// Visible height, in luma samples.
    pub height: u32,
    /// Frame rate of the VUI as (frames, seconds), where it has one. Encoders get it wrong: a hint only.
    pub frame_rate: Option<(u32, u32)>,
    /// Shape of a pixel as width to height, where the VUI says so.
    pub pixel_aspect: Option<(u16, u16)>,
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
        r.skip(3, "avcC > numOfSequenceParameterSets")?;
        let count = r.bits(5, "avcC > numOfSequenceParameterSets")?;
        if count == 0 {
            return Err(HeaderError::Range { place: "avcC > numOfSequenceParameterSets", value: 0 });
        }
        let len = r.bits(16, "avcC > sequenceParameterSetLength")? as usize;
        let start = r.position() / 8;
        let Some(nal) = record.get(start..start + len) else {
            return Err(HeaderError::Short { place: "avcC > sequenceParameterSetNALUnit", bit: record.len() * 8 });
        };
        let sps = Sps::parse(nal)?;
        Ok(Self { length_size, sps, record })
    }

    /// The codec parameter of RFC 6381, `avc1.PPCCLL`.
    pub fn codec_string(&self) -> String {
        let Sps { profile, constraints, level, .. } = self.sps;
        format!("avc1.{profile:02X}{constraints:02X}{level:02X}")
    }

    /// The NAL units of a sample in its length-prefixed form; stops at the first one that does not fit.
    pub fn nal_units<'a>(&self, sample: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let prefix = usize::from(self.length_size);
        let mut rest = sample;
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_at_checked(prefix)?;
            let len = len.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
            let (nal, tail) = tail.split_at_checked(len)?;
            rest = tail;
            Some(nal)
        })
    }

    /// True if the sample is an IDR picture, whatever the transport says of it.
    pub fn is_idr(&self, sample: &[u8]) -> bool {
        self.nal_units(sample).filter_map(|nal| nal.first()).map(|b| b & 0x1f).find(|t| (1..=5).contains(t)) == Some(5)
    }
}

impl Sps {
    /// Parses a sequence parameter set NAL unit, its header byte included.
    pub fn parse(nal: &[u8]) -> Result<Self, HeaderError> {
        let header = nal.first().copied().unwrap_or(0);
        if header & 0x1f != 7 {
            return Err(HeaderError::Range { place: "sps > nal_unit_type", value: (header & 0x1f).into() });
        }
        let rbsp = unescape(&nal[1..]);
        let mut r = BitReader::new(&rbsp);
        let profile = r.bits(8, "sps > profile_idc")? as u8;
        let constraints = r.bits(8, "sps > constraint_set_flags")? as u8;
        let level = r.bits(8, "sps > level_idc")? as u8;
        r.ue("sps > seq_parameter_set_id")?;
        let chroma = chroma_format(&mut r, profile)?;
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
        let side = |blocks: u32, times: u32, cut: u32, unit: u32, place| {
            let full = u64::from(blocks) * 16 * u64::from(times);
            let seen = full.saturating_sub(u64::from(cut) * u64::from(unit));
            u32::try_from(seen)
                .ok()
                .filter(|n| (1..=MAX_SIDE).contains(n))
                .ok_or(HeaderError::Range { place, value: seen })
        };
        let width = side(width_mbs, 1, crop[0].saturating_add(crop[1]), crop_x, "sps > width")?;
        let height = side(height_units, fields, crop[2].saturating_add(crop[3]), crop_y, "sps > height")?;
        let (pixel_aspect, frame_rate) = match r.flag("sps > vui_parameters_present_flag") {
            // A broken VUI costs only the hints in it.
            Ok(true) => vui(&mut r).unwrap_or_default(),
            _ => (None, None),
        };
        Ok(Self { profile, constraints, level, width, height, frame_rate, pixel_aspect })
    }
}

/// Reads `chroma_format_idc` and the scaling lists of the profiles that have them; 1 (4:2:0) elsewhere.
fn chroma_format(r: &mut BitReader<'_>, profile: u8) -> Result<u32, HeaderError> {
    if !matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244) {
        return Ok(1);
    }
    let mut chroma = r.ue("sps > chroma_format_idc")?;
    if chroma > 3 {
        return Err(HeaderError::Range { place: "sps > chroma_format_idc", value: chroma.into() });
    }
    let lists = if chroma == 3 { 12 } else { 8 };
    if chroma == 3 && r.flag("sps > separate_colour_plane_flag")? {
        chroma = 0;
    }
    r.ue("sps > bit_depth_luma_minus8")?;
    r.ue("sps > bit_depth_chroma_minus8")?;
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

/// Pixel aspect and frame rate of the VUI (ITU-T H.264 annex E).
type Vui = (Option<(u16, u16)>, Option<(u32, u32)>);

fn vui(r: &mut BitReader<'_>) -> Result<Vui, HeaderError> {
    let mut aspect = None;
    if r.flag("vui > aspect_ratio_info_present_flag")? {
        aspect = match r.bits(8, "vui > aspect_ratio_idc")? {
            255 => {
                let w = r.bits(16, "vui > sar_width")? as u16;
                let h = r.bits(16, "vui > sar_height")? as u16;
                (w > 0 && h > 0).then_some((w, h))
            }
            idc => sample_aspect(idc),
        };
    }
    if r.flag("vui > overscan_info_present_flag")? {
        r.flag("vui > overscan_appropriate_flag")?;
    }
    if r.flag("vui > video_signal_type_present_flag")? {
        r.skip(4, "vui > video_format")?;
        if r.flag("vui > colour_description_present_flag")? {
            r.skip(24, "vui > colour_primaries")?;
        }
    }
    if r.flag("vui > chroma_loc_info_present_flag")? {
        r.ue("vui > chroma_sample_loc_type_top_field")?;
        r.ue("vui > chroma_sample_loc_type_bottom_field")?;
    }
    let mut rate = None;
    if r.flag("vui > timing_info_present_flag")? {
        let units = r.bits(32, "vui > num_units_in_tick")?;
        let scale = r.bits(32, "vui > time_scale")?;
        // Two fields make a frame.
        rate = units.checked_mul(2).filter(|u| *u > 0 && scale > 0).map(|u| (scale, u));
    }
    Ok((aspect, rate))
}

/// ITU-T H.264 table E-1.
fn sample_aspect(idc: u32) -> Option<(u16, u16)> {
    const TABLE: [(u16, u16); 16] = [
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    TABLE.get((idc as usize).checked_sub(1)?).copied()
}

/// Takes out the emulation prevention bytes (ITU-T H.264 §7.4.1).
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
