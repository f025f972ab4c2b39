//! H.264 sequence parameter sets (ITU-T H.264 §7.3.2.1), with the hints of their VUI (annex E).

use crate::bits::BitReader;
use crate::codec::nal::{self, Vui};
use crate::codec::{Colour, HeaderError};

/// Longest side of a frame accepted, in luma samples: level 6.2 allows 16 888.
const MAX_SIDE: u32 = 16_888;

/// The part of a sequence parameter set that Weir uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// The byte of constraint flags.
    pub constraints: u8,
    /// `level_idc`, ten times the level.
    pub level: u8,
    /// `chroma_format_idc`: 1 for 4:2:0.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// Visible width, in luma samples.
    pub width: u32,
    /// Visible height, in luma samples.
    pub height: u32,
    /// `frame_mbs_only_flag`: whether no frame is coded as fields.
    pub frames_only: bool,
    /// Frame rate of the VUI as (frames, seconds), if it has one. Encoders get it wrong, so it is only a hint.
    pub frame_rate: Option<(u32, u32)>,
    /// Aspect ratio of a pixel as (width, height), if the VUI declares one.
    pub pixel_aspect: Option<(u16, u16)>,
    /// [`Colour`] description of the VUI, if it has one.
    pub colour: Option<Colour>,
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
        pic_order_cnt(&mut r)?;
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
        // 4:2:0 halves both sides, 4:2:2 only the width. A separate or absent chroma plane is cropped by luma samples.
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
            // A damaged VUI costs only its hints.
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

/// Chroma format and bit depths.
struct Chroma {
    format: u8,
    /// `ChromaArrayType`: 0 if the colour planes are coded separately.
    planes: u8,
    luma_bits: u8,
    chroma_bits: u8,
}

/// Reads `chroma_format_idc`, bit depths and scaling lists; 4:2:0 with 8 bits for profiles without them.
fn chroma_format(r: &mut BitReader<'_>, profile: u8) -> Result<Chroma, HeaderError> {
    let mut chroma = Chroma { format: 1, planes: 1, luma_bits: 8, chroma_bits: 8 };
    if !has_chroma_info(profile) {
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

fn pic_order_cnt(r: &mut BitReader<'_>) -> Result<(), HeaderError> {
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
        // A frame consists of two fields.
        vui.frame_rate = nal::frame_rate(r, 2).unwrap_or_default();
    }
    Ok(vui)
}

/// Returns whether the sequence parameter sets and records of a profile have chroma format and bit depth.
pub(super) const fn has_chroma_info(profile: u8) -> bool {
    matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::VideoRange;
    use crate::codec::testing::hex;

    #[test]
    fn reads_a_deep_interlaced_set() {
        // x264, 1080i with ten bits, 4:2:2, HLG.
        let sps = Sps::parse(&hex("677a003eb6cd94078044fcbff80018002350912094000003000400000301907c78f658")).unwrap();
        assert_eq!((sps.width, sps.height, sps.pixel_aspect), (1_920, 1_080, Some((3, 4))));
        assert_eq!((sps.chroma_format, sps.bit_depth_luma, sps.bit_depth_chroma), (2, 10, 10));
        assert_eq!(sps.colour.map(|colour| colour.video_range()), Some(VideoRange::Hlg));
        assert_eq!(sps.frame_rate, Some((100, 2)));
    }
}
