//! The common part of H.264 and HEVC: length prefixes, emulation prevention, parameter sets and their VUI.

use bytes::Bytes;

use super::{Colour, HeaderError};
use crate::bits::BitReader;

/// Longest parameter set accepted, in bytes; real ones stay below 200.
pub const MAX_PARAMETER_SET: usize = 4_096;
/// Most parameter sets of one kind in a record. H.264 numbers 32 sequence parameter sets, but a record cannot count as
/// many.
pub const MAX_PARAMETER_SETS: usize = 31;

/// Returns the NAL units of a length-prefixed sample; stops at the first one that does not fit.
pub fn units(sample: &[u8], length_size: u8) -> impl Iterator<Item = &[u8]> {
    // Without a prefix the iteration would not advance.
    let prefix = usize::from(length_size.max(1));
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_at_checked(prefix)?;
        let len = len.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let (nal, tail) = tail.split_at_checked(len)?;
        rest = tail;
        Some(nal)
    })
}

/// Removes the emulation prevention bytes (ITU-T H.264 §7.4.1); returns at most `limit` bytes.
pub(crate) fn unescape(bytes: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().min(limit));
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        if out.len() == limit {
            break;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Returns the raw bytes of a parameter set after its header of `header` bytes.
pub(crate) fn parameter_set(nal: &[u8], header: usize, place: &'static str) -> Result<Vec<u8>, HeaderError> {
    if nal.len() > MAX_PARAMETER_SET {
        return Err(HeaderError::Range { place, value: nal.len() as u64 });
    }
    Ok(unescape(nal.get(header..).unwrap_or_default(), MAX_PARAMETER_SET))
}

/// Replaces the set with the id of `new`, or appends `new`.
pub(crate) fn merge(sets: &mut Vec<Bytes>, new: &[u8], id: impl Fn(&[u8]) -> Option<u32>) {
    let number = id(new);
    match sets.iter_mut().find(|set| id(set) == number) {
        Some(old) if old == new => {}
        Some(old) => *old = Bytes::copy_from_slice(new),
        None => sets.push(Bytes::copy_from_slice(new)),
    }
}

/// Moves the set that a sample contained to the front, where readers of a record look. Does nothing if it contained
/// several, because only the picture parameter sets show which one is in use.
pub(crate) fn bring_forward<'a>(sets: &mut [Bytes], mut brought: impl Iterator<Item = &'a [u8]>) {
    if let (Some(only), None) = (brought.next(), brought.next())
        && let Some(at) = sets.iter().position(|set| set == only)
    {
        sets.swap(0, at);
    }
}

/// Returns the visible samples of a side: `full` minus the cropped ones.
pub(crate) fn visible(full: u64, cut: u64, max: u32, place: &'static str) -> Result<u32, HeaderError> {
    let seen = full.saturating_sub(cut);
    u32::try_from(seen).ok().filter(|n| (1..=max).contains(n)).ok_or(HeaderError::Range { place, value: seen })
}

/// Content of a VUI.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Vui {
    /// Aspect ratio of a pixel, width to height.
    pub(crate) pixel_aspect: Option<(u16, u16)>,
    /// Colour description.
    pub(crate) colour: Option<Colour>,
    /// Frame rate as (frames, seconds).
    pub(crate) frame_rate: Option<(u32, u32)>,
}

/// Reads the first fields of the VUI, which both standards share (ITU-T H.264 and H.265 annex E).
pub(crate) fn vui_head(r: &mut BitReader<'_>) -> Result<Vui, HeaderError> {
    let mut vui = Vui::default();
    if r.flag("vui > aspect_ratio_info_present_flag")? {
        vui.pixel_aspect = match r.bits(8, "vui > aspect_ratio_idc")? {
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
        r.skip(3, "vui > video_format")?;
        let full_range = r.flag("vui > video_full_range_flag")?;
        let mut colour = Colour { full_range, ..Colour::UNSPECIFIED };
        if r.flag("vui > colour_description_present_flag")? {
            colour.primaries = r.bits(8, "vui > colour_primaries")? as u8;
            colour.transfer = r.bits(8, "vui > transfer_characteristics")? as u8;
            colour.matrix = r.bits(8, "vui > matrix_coefficients")? as u8;
        }
        vui.colour = Some(colour);
    }
    if r.flag("vui > chroma_loc_info_present_flag")? {
        r.ue("vui > chroma_sample_loc_type_top_field")?;
        r.ue("vui > chroma_sample_loc_type_bottom_field")?;
    }
    Ok(vui)
}

/// Reads the timing as (frames, seconds), for `ticks` per frame.
pub(crate) fn frame_rate(r: &mut BitReader<'_>, ticks: u32) -> Result<Option<(u32, u32)>, HeaderError> {
    let units = r.bits(32, "vui > num_units_in_tick")?;
    let scale = r.bits(32, "vui > time_scale")?;
    Ok(units.checked_mul(ticks).filter(|units| *units > 0 && scale > 0).map(|units| (scale, units)))
}

/// Returns the aspect ratio of ITU-T H.264 table E-1, the same in H.265.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_prevention_goes_and_the_limit_holds() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3], 64), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescape(&[0, 3, 0, 0, 0, 3], 64), [0, 3, 0, 0, 0]);
        assert_eq!(unescape(&[1; 9], 8).len(), 8);
        assert_eq!(unescape(&[1; 8], 8).len(), 8);
    }

    #[test]
    fn a_unit_that_does_not_fit_ends_the_walk() {
        let walked: Vec<_> = units(&[0, 1, 7, 0, 0, 0, 2, 8, 9, 0, 9, 1], 2).collect();
        assert_eq!(walked, [&[7][..], &[], &[8, 9]]);
    }

    #[test]
    fn sets_are_replaced_by_number() {
        let id = |set: &[u8]| set.first().map(|n| u32::from(*n));
        let mut sets = vec![Bytes::from_static(&[1, 1])];
        merge(&mut sets, &[1, 2], id);
        merge(&mut sets, &[2, 2], id);
        assert_eq!(sets, [&[1, 2][..], &[2, 2]]);
        bring_forward(&mut sets, [&[2, 2][..]].into_iter());
        assert_eq!(sets, [&[2, 2][..], &[1, 2]]);
        bring_forward(&mut sets, [&[1, 2][..], &[2, 2]].into_iter());
        assert_eq!(sets, [&[2, 2][..], &[1, 2]]);
    }
}
