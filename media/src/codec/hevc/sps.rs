//! HEVC sequence parameter sets (ITU-T H.265 §7.3.2.2), down to the timing of their VUI.

use crate::bits::BitReader;
use crate::codec::nal::{self, Vui};
use crate::codec::{Colour, HeaderError};

/// Longest side of a frame accepted, in luma samples: level 6.2 allows 16 888.
const MAX_SIDE: u32 = 16_888;
/// Bytes of a NAL unit's header.
const HEADER: usize = 2;
/// Most short-term reference picture sets, and most pictures in one.
const MAX_RPS: u32 = 64;
const MAX_RPS_PICTURES: u32 = 16;
/// Most long-term reference pictures.
const MAX_LONG_TERM: u32 = 32;

/// `profile_tier_level` of the whole stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProfileTierLevel {
    /// `general_profile_space`; 0 in all current profiles.
    pub space: u8,
    /// Whether the tier is the high one.
    pub high_tier: bool,
    /// `general_profile_idc`: 1 is Main, 2 is Main 10.
    pub profile: u8,
    /// `general_profile_compatibility_flag`s, the first in the highest bit.
    pub compatibility: u32,
    /// The six bytes of constraint flags.
    pub constraints: [u8; 6],
    /// `general_level_idc`, thirty times the level.
    pub level: u8,
}

/// The part of a sequence parameter set that Weir uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sps {
    /// Profile, tier and level.
    pub profile: ProfileTierLevel,
    /// Temporal layers, at least 1.
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_id_nesting: bool,
    /// `chroma_format_idc`: 1 for 4:2:0.
    pub chroma_format: u8,
    /// Visible width, in luma samples.
    pub width: u32,
    /// Visible height, in luma samples.
    pub height: u32,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// Frame rate of the VUI as (frames, seconds), if it has one. Encoders get it wrong, so it is only a hint.
    pub frame_rate: Option<(u32, u32)>,
    /// Aspect ratio of a pixel as (width, height), if the VUI declares one.
    pub pixel_aspect: Option<(u16, u16)>,
    /// [`Colour`] description of the VUI, if it has one.
    pub colour: Option<Colour>,
}

impl Sps {
    /// Parses a sequence parameter set NAL unit, its header included.
    pub fn parse(nal: &[u8]) -> Result<Self, HeaderError> {
        let kind = super::nal_type(nal).unwrap_or_default();
        if kind != super::NAL_SPS {
            return Err(HeaderError::Range { place: "sps > nal_unit_type", value: kind.into() });
        }
        let rbsp = nal::parameter_set(nal, HEADER, "sps")?;
        let mut r = BitReader::new(&rbsp);
        r.skip(4, "sps > sps_video_parameter_set_id")?;
        let sub_layers = sub_layers(&mut r)?;
        let temporal_id_nesting = r.flag("sps > sps_temporal_id_nesting_flag")?;
        let profile = profile_tier_level(&mut r, sub_layers)?;
        r.ue("sps > sps_seq_parameter_set_id")?;
        let (chroma_format, width, height) = frame_size(&mut r)?;
        let bit_depth_luma = bit_depth(&mut r, "sps > bit_depth_luma_minus8")?;
        let bit_depth_chroma = bit_depth(&mut r, "sps > bit_depth_chroma_minus8")?;
        // The remaining fields only matter for the hints in the VUI, which stay unknown if one is damaged.
        let vui = tail(&mut r, sub_layers).unwrap_or_default();
        Ok(Self {
            profile,
            temporal_layers: sub_layers as u8 + 1,
            temporal_id_nesting,
            chroma_format,
            width,
            height,
            bit_depth_luma,
            bit_depth_chroma,
            frame_rate: vui.frame_rate,
            pixel_aspect: vui.pixel_aspect,
            colour: vui.colour,
        })
    }
}

/// Returns the `sps_seq_parameter_set_id` of a NAL unit.
pub(super) fn id(nal: &[u8]) -> Option<u32> {
    let rbsp = nal::parameter_set(nal, HEADER, "sps").ok()?;
    let mut r = BitReader::new(&rbsp);
    r.skip(4, "sps > sps_video_parameter_set_id").ok()?;
    let sub_layers = sub_layers(&mut r).ok()?;
    r.skip(1, "sps > sps_temporal_id_nesting_flag").ok()?;
    profile_tier_level(&mut r, sub_layers).ok()?;
    r.ue("sps > sps_seq_parameter_set_id").ok()
}

fn sub_layers(r: &mut BitReader<'_>) -> Result<usize, HeaderError> {
    match r.bits(3, "sps > sps_max_sub_layers_minus1")? {
        7 => Err(HeaderError::Range { place: "sps > sps_max_sub_layers_minus1", value: 7 }),
        n => Ok(n as usize),
    }
}

fn profile_tier_level(r: &mut BitReader<'_>, sub_layers: usize) -> Result<ProfileTierLevel, HeaderError> {
    let space = r.bits(2, "profile_tier_level > general_profile_space")? as u8;
    let high_tier = r.flag("profile_tier_level > general_tier_flag")?;
    let profile = r.bits(5, "profile_tier_level > general_profile_idc")? as u8;
    let compatibility = r.bits(32, "profile_tier_level > general_profile_compatibility_flag")?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = r.bits(8, "profile_tier_level > general_constraint_flags")? as u8;
    }
    let level = r.bits(8, "profile_tier_level > general_level_idc")? as u8;
    let mut skip = 0;
    for _ in 0..sub_layers {
        // 88 bits of profile and 8 of level, each if its flag is set.
        skip += 88 * usize::from(r.flag("profile_tier_level > sub_layer_profile_present_flag")?);
        skip += 8 * usize::from(r.flag("profile_tier_level > sub_layer_level_present_flag")?);
    }
    if sub_layers > 0 {
        skip += 2 * 8usize.saturating_sub(sub_layers);
    }
    r.skip(skip, "profile_tier_level > sub_layer")?;
    Ok(ProfileTierLevel { space, high_tier, profile, compatibility, constraints, level })
}

/// Reads the chroma format, and width and height within the conformance window.
fn frame_size(r: &mut BitReader<'_>) -> Result<(u8, u32, u32), HeaderError> {
    let chroma = r.ue("sps > chroma_format_idc")?;
    if chroma > 3 {
        return Err(HeaderError::Range { place: "sps > chroma_format_idc", value: chroma.into() });
    }
    if chroma == 3 {
        r.flag("sps > separate_colour_plane_flag")?;
    }
    let width = r.ue("sps > pic_width_in_luma_samples")?;
    let height = r.ue("sps > pic_height_in_luma_samples")?;
    let mut cut = [0u64; 4];
    if r.flag("sps > conformance_window_flag")? {
        for side in &mut cut {
            *side = r.ue("sps > conf_win_offset")?.into();
        }
    }
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let [left, right, top, bottom] = cut;
    let width = nal::visible(width.into(), (left + right) * unit_x, MAX_SIDE, "sps > width")?;
    let height = nal::visible(height.into(), (top + bottom) * unit_y, MAX_SIDE, "sps > height")?;
    Ok((chroma as u8, width, height))
}

fn bit_depth(r: &mut BitReader<'_>, place: &'static str) -> Result<u8, HeaderError> {
    match r.ue(place)? {
        more @ 0..=7 => Ok(8 + more as u8),
        other => Err(HeaderError::Range { place, value: other.into() }),
    }
}

/// Reads from `log2_max_pic_order_cnt_lsb_minus4` to the VUI.
fn tail(r: &mut BitReader<'_>, sub_layers: usize) -> Result<Vui, HeaderError> {
    let order_bits = capped(r, 12, "sps > log2_max_pic_order_cnt_lsb_minus4")? + 4;
    let all = r.flag("sps > sps_sub_layer_ordering_info_present_flag")?;
    let orderings = if all { sub_layers + 1 } else { 1 };
    for _ in 0..orderings * 3 {
        r.ue("sps > sub_layer_ordering")?;
    }
    for _ in 0..6 {
        r.ue("sps > block sizes")?;
    }
    if r.flag("sps > scaling_list_enabled_flag")? && r.flag("sps > sps_scaling_list_data_present_flag")? {
        scaling_lists(r)?;
    }
    r.skip(2, "sps > amp_enabled_flag")?;
    if r.flag("sps > pcm_enabled_flag")? {
        r.skip(8, "sps > pcm_sample_bit_depth")?;
        r.ue("sps > log2_min_pcm_luma_coding_block_size_minus3")?;
        r.ue("sps > log2_diff_max_min_pcm_luma_coding_block_size")?;
        r.flag("sps > pcm_loop_filter_disabled_flag")?;
    }
    reference_sets(r)?;
    if r.flag("sps > long_term_ref_pics_present_flag")? {
        let count = capped(r, MAX_LONG_TERM, "sps > num_long_term_ref_pics_sps")?;
        r.skip((count * (order_bits + 1)) as usize, "sps > lt_ref_pic_poc_lsb_sps")?;
    }
    r.skip(2, "sps > sps_temporal_mvp_enabled_flag")?;
    if r.flag("sps > vui_parameters_present_flag")? { vui(r) } else { Ok(Vui::default()) }
}

fn capped(r: &mut BitReader<'_>, max: u32, place: &'static str) -> Result<u32, HeaderError> {
    let value = r.ue(place)?;
    if value > max { Err(HeaderError::Range { place, value: value.into() }) } else { Ok(value) }
}

fn scaling_lists(r: &mut BitReader<'_>) -> Result<(), HeaderError> {
    for size in 0..4u32 {
        // The largest blocks have lists for luma only, one each for intra and inter.
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !r.flag("scaling_list_data > scaling_list_pred_mode_flag")? {
                r.ue("scaling_list_data > scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            if size > 1 {
                r.se("scaling_list_data > scaling_list_dc_coef_minus8")?;
            }
            for _ in 0..(1u32 << (4 + 2 * size)).min(64) {
                r.se("scaling_list_data > scaling_list_delta_coef")?;
            }
        }
    }
    Ok(())
}

fn reference_sets(r: &mut BitReader<'_>) -> Result<(), HeaderError> {
    let count = capped(r, MAX_RPS, "sps > num_short_term_ref_pic_sets")?;
    let mut before = 0;
    for index in 0..count {
        let predicted = index > 0 && r.flag("st_ref_pic_set > inter_ref_pic_set_prediction_flag")?;
        before = if predicted { predicted_set(r, before)? } else { explicit_set(r)? };
    }
    Ok(())
}

/// Reads a set coded as a change of the previous one, which had `before` pictures; returns its own number of pictures.
fn predicted_set(r: &mut BitReader<'_>, before: u32) -> Result<u32, HeaderError> {
    r.flag("st_ref_pic_set > delta_rps_sign")?;
    r.ue("st_ref_pic_set > abs_delta_rps_minus1")?;
    let mut pictures = 0;
    for _ in 0..=before {
        let used = r.flag("st_ref_pic_set > used_by_curr_pic_flag")?;
        pictures += u32::from(used || r.flag("st_ref_pic_set > use_delta_flag")?);
    }
    if pictures > MAX_RPS_PICTURES {
        return Err(HeaderError::Range { place: "st_ref_pic_set > NumDeltaPocs", value: pictures.into() });
    }
    Ok(pictures)
}

fn explicit_set(r: &mut BitReader<'_>) -> Result<u32, HeaderError> {
    let negative = capped(r, MAX_RPS_PICTURES, "st_ref_pic_set > num_negative_pics")?;
    let positive = capped(r, MAX_RPS_PICTURES - negative, "st_ref_pic_set > num_positive_pics")?;
    for _ in 0..negative + positive {
        r.ue("st_ref_pic_set > delta_poc_minus1")?;
        r.flag("st_ref_pic_set > used_by_curr_pic_flag")?;
    }
    Ok(negative + positive)
}

fn vui(r: &mut BitReader<'_>) -> Result<Vui, HeaderError> {
    let mut vui = nal::vui_head(r)?;
    // The fields read so far stay valid if the rest is damaged.
    vui.frame_rate = timing(r).unwrap_or_default();
    Ok(vui)
}

fn timing(r: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, HeaderError> {
    r.skip(3, "vui > neutral_chroma_indication_flag")?;
    if r.flag("vui > default_display_window_flag")? {
        for _ in 0..4 {
            r.ue("vui > def_disp_win_offset")?;
        }
    }
    if r.flag("vui > vui_timing_info_present_flag")? { nal::frame_rate(r, 1) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::VideoRange;
    use crate::codec::testing::hex;

    #[test]
    fn reads_a_set_of_x265() {
        // 640x360 at 30 000 / 1 001, Main.
        let main = Sps::parse(&hex("42010101600000030090000003000003003fa0050201696595924932bc05a02000007d20000ea601"))
            .unwrap();
        assert_eq!((main.width, main.height, main.frame_rate), (640, 360, Some((30_000, 1_001))));
        assert_eq!((main.profile.profile, main.profile.level, main.profile.compatibility), (1, 63, 0x6000_0000));
        assert_eq!((main.chroma_format, main.bit_depth_luma, main.temporal_layers), (1, 8, 1));

        // 1440x1080 with wide pixels, 4:2:2, HLG, high tier, scaling lists.
        let wide = Sps::parse(&hex(
            "42010124080000 03009d08000003000096b002d08010e596566924e578735091209040000003004000000642",
        ))
        .unwrap();
        assert_eq!((wide.width, wide.height, wide.pixel_aspect), (1_440, 1_080, Some((4, 3))));
        assert_eq!((wide.chroma_format, wide.profile.high_tier, wide.profile.level), (2, true, 150));
        assert_eq!(wide.frame_rate, Some((25, 1)));
        assert_eq!(wide.colour.map(|colour| colour.video_range()), Some(VideoRange::Hlg));
    }

    #[test]
    fn a_broken_tail_costs_only_the_hints() {
        let whole = hex("42010101600000030090000003000003003fa0050201696595924932bc05a02000007d20000ea601");
        let cut = Sps::parse(&whole[..26]).unwrap();
        assert_eq!((cut.width, cut.height, cut.frame_rate), (640, 360, None));
        for len in 0..22 {
            assert!(Sps::parse(&whole[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn the_cap_on_a_parameter_set_holds() {
        let mut long = hex("42010101600000030090000003000003003fa0050201696595924932bc05a02000007d20000ea601").to_vec();
        long.resize(nal::MAX_PARAMETER_SET, 0xff);
        assert!(Sps::parse(&long).is_ok());
        long.push(0xff);
        assert_eq!(Sps::parse(&long), Err(HeaderError::Range { place: "sps", value: 4_097 }));
    }
}
