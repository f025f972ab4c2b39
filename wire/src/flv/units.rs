//! NAL units of a message in the form of an MP4 sample: with length prefixes, none empty.
//!
//! Some encoders write start codes instead of the lengths of FLV, or after them, and also in the sequence header.

use bytes::{BufMut, Bytes, BytesMut};
use media::CodecConfig;
use media::codec::{avc, hevc, nal};
use memchr::memmem;

/// Start code of a NAL unit in a byte stream.
const START_CODE: &[u8] = &[0, 0, 1];
/// Size of the length prefix if no header declares it: the one that all encoders use.
pub(super) const LENGTH_SIZE: u8 = 4;

/// Form in which the NAL units of a message arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// With length prefixes.
    Lengths,
    /// With start codes.
    StartCodes,
    /// Some units were empty or did not fit, and are removed.
    Trimmed,
}

/// Returns the NAL units of `payload` with length prefixes of `size` bytes, and the form in which they arrived; `None`
/// if there is no complete one. A payload that already has that form is returned without a copy.
pub(super) fn length_prefixed(payload: Bytes, size: u8) -> Option<(Bytes, Form)> {
    let prefix = usize::from(size.max(1));
    let (mut end, mut is_plain, mut is_coded) = (0, true, false);
    for unit in nal::units(&payload, size) {
        end += prefix + unit.len();
        is_plain &= !unit.is_empty();
        is_coded |= begins_with_start_code(unit);
    }
    let is_complete = end == payload.len();
    if is_complete && is_plain && !is_coded {
        return Some((payload, Form::Lengths));
    }
    // Four-byte lengths that leave only padding are valid, although they may look like a start code.
    let is_padded = prefix == 4 && payload.get(end..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
    if !(is_padded || is_complete && is_plain) && begins_with_start_code(&payload) {
        return Some((write_units(split(&payload), size)?, Form::StartCodes));
    }
    let form = if is_coded { Form::StartCodes } else { Form::Trimmed };
    let units = nal::units(&payload, size).flat_map(|unit| {
        // Bytes without a start code are one unit.
        let (coded, plain) = if begins_with_start_code(unit) { (unit, None) } else { (&[][..], Some(unit)) };
        split(coded).chain(plain)
    });
    Some((write_units(units, size)?, form))
}

/// Returns the configuration of a sequence header that consists of parameter sets instead of a record.
pub(super) fn avc_header(header: &Bytes) -> Option<CodecConfig> {
    let (units, _) = length_prefixed(header.clone(), LENGTH_SIZE)?;
    avc_sets(&units)
}

/// As [`avc_header`], for HEVC.
pub(super) fn hevc_header(header: &Bytes) -> Option<CodecConfig> {
    let (units, _) = length_prefixed(header.clone(), LENGTH_SIZE)?;
    hevc_sets(&units)
}

/// Returns the configuration from the parameter sets of a sample.
pub(super) fn avc_sets(sample: &[u8]) -> Option<CodecConfig> {
    let of = |kind| sets(sample, move |unit| avc::nal_type(unit) == Some(kind));
    avc::Config::from_parameter_sets(&of(avc::NAL_SPS), &of(avc::NAL_PPS)).ok().map(CodecConfig::Avc)
}

/// As [`avc_sets`], for HEVC.
pub(super) fn hevc_sets(sample: &[u8]) -> Option<CodecConfig> {
    let of = |kind| sets(sample, move |unit| hevc::nal_type(unit) == Some(kind));
    let (vps, sps, pps) = (of(hevc::NAL_VPS), of(hevc::NAL_SPS), of(hevc::NAL_PPS));
    hevc::Config::from_parameter_sets(&vps, &sps, &pps).ok().map(CodecConfig::Hevc)
}

/// Returns whether the bytes begin with a start code instead of a length or a record. No NAL unit begins like that.
pub(super) fn begins_with_start_code(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, 1, ..] | [0, 0, 0, 1, ..])
}

/// Copies the NAL units that `wanted` selects.
fn sets(sample: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
    nal::units(sample, LENGTH_SIZE).filter(|unit| wanted(unit)).map(Bytes::copy_from_slice).collect()
}

/// Returns the NAL units after the start codes of `bytes`.
fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = memmem::find_iter(bytes, START_CODE).map(|at| at + START_CODE.len());
    let ends = memmem::find_iter(bytes, START_CODE).skip(1).chain([bytes.len()]);
    starts.zip(ends).filter_map(|(start, end)| {
        let unit = bytes.get(start..end)?;
        // Trailing zeros are padding, or the first byte of the next start code.
        let len = unit.iter().rposition(|byte| *byte != 0)? + 1;
        unit.get(..len)
    })
}

/// Writes the non-empty units with length prefixes; `None` if there is no unit, or one is too long for its prefix.
fn write_units<'a>(units: impl Iterator<Item = &'a [u8]>, size: u8) -> Option<Bytes> {
    let size = usize::from(size.clamp(1, 4));
    let mut out = BytesMut::new();
    for unit in units.filter(|unit| !unit.is_empty()) {
        let length = u32::try_from(unit.len()).ok()?.to_be_bytes();
        let (high, low) = length.split_at(length.len() - size);
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.put_slice(low);
        out.put_slice(unit);
    }
    (!out.is_empty()).then(|| out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(payload: &[u8], size: u8) -> Option<(Vec<u8>, Form)> {
        length_prefixed(Bytes::copy_from_slice(payload), size).map(|(bytes, form)| (bytes.to_vec(), form))
    }

    #[test]
    fn lengths_stay_as_they_are() {
        let right = [0, 0, 0, 3, 0x67, 1, 2, 0, 0, 0, 2, 0x65, 0x88];
        assert_eq!(of(&right, 4), Some((right.to_vec(), Form::Lengths)));
        let payload = Bytes::copy_from_slice(&right);
        assert_eq!(length_prefixed(payload.clone(), 4).unwrap().0.as_ptr(), payload.as_ptr(), "not copied");
        // Lengths of 1 and 256 look like start codes.
        let long = [&[0, 0, 0, 1, 0x0a, 0, 0, 1, 0][..], &[0x65; 256]].concat();
        assert_eq!(of(&long, 4), Some((long.clone(), Form::Lengths)));
    }

    #[test]
    fn start_codes_become_lengths() {
        let expected = [0, 0, 0, 3, 0x67, 1, 2, 0, 0, 0, 2, 0x65, 0x88];
        let long = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x65, 0x88, 0];
        let short = [0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x65, 0x88];
        let behind_a_length = [&[0, 0, 0, 11][..], &short].concat();
        for payload in [&long[..], &short, &behind_a_length] {
            assert_eq!(of(payload, 4), Some((expected.to_vec(), Form::StartCodes)), "{payload:?}");
        }
        assert_eq!(of(&short, 2), Some((vec![0, 3, 0x67, 1, 2, 0, 2, 0x65, 0x88], Form::StartCodes)));
        assert_eq!(of(&[0, 0, 1], 4), None);
        let too_long = [&[0, 0, 1, 0x65][..], &[7; 256]].concat();
        assert_eq!(of(&too_long, 1), None);
    }

    #[test]
    fn units_that_do_not_fit_are_removed() {
        let cut = [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 9, 0x65, 0x88];
        assert_eq!(of(&cut, 4), Some((cut[..6].to_vec(), Form::Trimmed)));
        let empty = [0, 0, 0, 0, 0, 0, 0, 2, 0x65, 0x88, 0, 0];
        assert_eq!(of(&empty, 4), Some((cut[..6].to_vec(), Form::Trimmed)));
        // A length of 256 looks like a start code, also with an empty unit behind it.
        let (long, padded) =
            ([&[0, 0, 1, 0][..], &[0x65; 256]].concat(), [&[0, 0, 1, 0][..], &[0x65; 256], &[0; 4]].concat());
        assert_eq!(of(&padded, 4), Some((long, Form::Trimmed)));
        assert_eq!((of(&[0, 0, 0, 9, 0x65], 4), of(&[0; 9], 4), of(&[7, 7], 4)), (None, None, None));
    }

    proptest! {
        #[test]
        fn anything_becomes_right_or_nothing(
            bytes in prop::collection::vec(prop_oneof![4 => 0u8..3, 1 => any::<u8>()], 0..60),
            size in prop::sample::select(vec![1u8, 2, 4]),
        ) {
            if let Some((out, _)) = length_prefixed(bytes.into(), size) {
                prop_assert!(out.is_empty() || of(&out, size).is_some());
                let walked: usize = nal::units(&out, size).map(|unit| usize::from(size) + unit.len()).sum();
                prop_assert_eq!(walked, out.len());
            }
        }
    }
}
