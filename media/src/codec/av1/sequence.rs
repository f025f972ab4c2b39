//! AV1 sequence headers (AV1 specification §5.5).

use crate::bits::BitReader;
use crate::codec::{Colour, HeaderError};

/// The part of a sequence header that Weir uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// `seq_profile`: 0 is Main.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level: u8,
    /// `seq_tier` of the first operating point.
    pub high_tier: bool,
    /// Whether frames have the short headers of still images.
    pub reduced_still_picture: bool,
    /// Largest frame width.
    pub width: u32,
    /// Largest frame height.
    pub height: u32,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Whether there is no chroma.
    pub monochrome: bool,
    /// Whether chroma has half the samples horizontally, and vertically.
    pub subsampling: (bool, bool),
    /// `chroma_sample_position`.
    pub sample_position: u8,
    /// [`Colour`] description, if there is one.
    pub colour: Option<Colour>,
    /// Frame rate as (frames, seconds), if all frames have the same duration.
    pub frame_rate: Option<(u32, u32)>,
}

/// Parameters of the first operating point and of the timing.
#[derive(Default)]
struct Points {
    level: u8,
    high_tier: bool,
    frame_rate: Option<(u32, u32)>,
}

impl Sequence {
    /// Parses the payload of a sequence header OBU.
    pub fn parse(payload: &[u8]) -> Result<Self, HeaderError> {
        let mut r = BitReader::new(payload);
        let profile = r.bits(3, "sequence_header > seq_profile")? as u8;
        if profile > 2 {
            return Err(HeaderError::Range { place: "sequence_header > seq_profile", value: profile.into() });
        }
        r.skip(1, "sequence_header > still_picture")?;
        let reduced = r.flag("sequence_header > reduced_still_picture_header")?;
        let points = if reduced {
            Points { level: r.bits(5, "sequence_header > seq_level_idx")? as u8, ..Points::default() }
        } else {
            operating_points(&mut r)?
        };
        let width_bits = r.bits(4, "sequence_header > frame_width_bits_minus_1")? + 1;
        let height_bits = r.bits(4, "sequence_header > frame_height_bits_minus_1")? + 1;
        let width = r.bits(width_bits, "sequence_header > max_frame_width_minus_1")? + 1;
        let height = r.bits(height_bits, "sequence_header > max_frame_height_minus_1")? + 1;
        tools(&mut r, reduced)?;
        let mut sequence = Self {
            profile,
            level: points.level,
            high_tier: points.high_tier,
            reduced_still_picture: reduced,
            width,
            height,
            bit_depth: 8,
            monochrome: false,
            subsampling: (true, true),
            sample_position: 0,
            colour: None,
            frame_rate: points.frame_rate,
        };
        sequence.color_config(&mut r)?;
        Ok(sequence)
    }

    fn color_config(&mut self, r: &mut BitReader<'_>) -> Result<(), HeaderError> {
        let high = r.flag("color_config > high_bitdepth")?;
        self.bit_depth = match high && self.profile == 2 && r.flag("color_config > twelve_bit")? {
            true => 12,
            false => 8 + 2 * u8::from(high),
        };
        self.monochrome = self.profile != 1 && r.flag("color_config > mono_chrome")?;
        let mut colour = Colour::UNSPECIFIED;
        let described = r.flag("color_config > color_description_present_flag")?;
        if described {
            colour.primaries = r.bits(8, "color_config > color_primaries")? as u8;
            colour.transfer = r.bits(8, "color_config > transfer_characteristics")? as u8;
            colour.matrix = r.bits(8, "color_config > matrix_coefficients")? as u8;
        }
        // sRGB with the identity matrix is always 4:4:4 in the full range.
        if !self.monochrome && (colour.primaries, colour.transfer, colour.matrix) == (1, 13, 0) {
            colour.full_range = true;
            self.subsampling = (false, false);
        } else {
            colour.full_range = r.flag("color_config > color_range")?;
            if !self.monochrome {
                self.chroma(r)?;
            }
        }
        self.colour = (described || colour.full_range).then_some(colour);
        Ok(())
    }

    fn chroma(&mut self, r: &mut BitReader<'_>) -> Result<(), HeaderError> {
        self.subsampling = match (self.profile, self.bit_depth) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, 12) => {
                let x = r.flag("color_config > subsampling_x")?;
                (x, x && r.flag("color_config > subsampling_y")?)
            }
            _ => (true, false),
        };
        if self.subsampling == (true, true) {
            self.sample_position = r.bits(2, "color_config > chroma_sample_position")? as u8;
        }
        Ok(())
    }
}

/// Reads from `timing_info_present_flag` to the last operating point.
fn operating_points(r: &mut BitReader<'_>) -> Result<Points, HeaderError> {
    let mut points = Points::default();
    let mut delay_bits = None;
    if r.flag("sequence_header > timing_info_present_flag")? {
        points.frame_rate = timing_info(r)?;
        if r.flag("sequence_header > decoder_model_info_present_flag")? {
            delay_bits = Some(r.bits(5, "decoder_model_info > buffer_delay_length_minus_1")? + 1);
            r.skip(32 + 5 + 5, "decoder_model_info > num_units_in_decoding_tick")?;
        }
    }
    let delays = r.flag("sequence_header > initial_display_delay_present_flag")?;
    for point in 0..=r.bits(5, "sequence_header > operating_points_cnt_minus_1")? {
        r.skip(12, "sequence_header > operating_point_idc")?;
        let level = r.bits(5, "sequence_header > seq_level_idx")? as u8;
        let high_tier = level > 7 && r.flag("sequence_header > seq_tier")?;
        if point == 0 {
            (points.level, points.high_tier) = (level, high_tier);
        }
        if let Some(bits) = delay_bits
            && r.flag("sequence_header > decoder_model_present_for_this_op")?
        {
            r.skip(2 * bits as usize + 1, "operating_parameters_info > decoder_buffer_delay")?;
        }
        if delays && r.flag("sequence_header > initial_display_delay_present_for_this_op")? {
            r.skip(4, "sequence_header > initial_display_delay_minus_1")?;
        }
    }
    Ok(points)
}

fn timing_info(r: &mut BitReader<'_>) -> Result<Option<(u32, u32)>, HeaderError> {
    let units = r.bits(32, "timing_info > num_units_in_display_tick")?;
    let scale = r.bits(32, "timing_info > time_scale")?;
    if !r.flag("timing_info > equal_picture_interval")? {
        return Ok(None);
    }
    // The code is an Exp-Golomb code of up to 32 bits, like `ue(v)`.
    let ticks = r.ue("timing_info > num_ticks_per_picture_minus_1")?.saturating_add(1);
    Ok(units.checked_mul(ticks).filter(|units| *units > 0 && scale > 0).map(|units| (scale, units)))
}

/// Skips the coding tools between the size and the colours.
fn tools(r: &mut BitReader<'_>, reduced: bool) -> Result<(), HeaderError> {
    if !reduced && r.flag("sequence_header > frame_id_numbers_present_flag")? {
        r.skip(4 + 3, "sequence_header > delta_frame_id_length_minus_2")?;
    }
    r.skip(3, "sequence_header > use_128x128_superblock")?;
    if !reduced {
        r.skip(4, "sequence_header > enable_interintra_compound")?;
        let order_hint = r.flag("sequence_header > enable_order_hint")?;
        r.skip(if order_hint { 2 } else { 0 }, "sequence_header > enable_jnt_comp")?;
        let choose = r.flag("sequence_header > seq_choose_screen_content_tools")?;
        let forced = choose || r.flag("sequence_header > seq_force_screen_content_tools")?;
        if forced && !r.flag("sequence_header > seq_choose_integer_mv")? {
            r.skip(1, "sequence_header > seq_force_integer_mv")?;
        }
        r.skip(if order_hint { 3 } else { 0 }, "sequence_header > order_hint_bits_minus_1")?;
    }
    r.skip(3, "sequence_header > enable_superres")
}
