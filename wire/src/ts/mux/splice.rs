//! SCTE-35 sections: their times follow the timeline that they are written on.

use std::borrow::Cow;

use super::super::{metadata, psi};
use super::clock::wrapped;
use super::error::MuxError;

/// Longest section (ISO/IEC 13818-1 §2.4.4.1): a 12-bit length that is at most 4 093, after 3 bytes.
const MAX_SECTION: usize = 4_096;
/// Bytes up to the length field, inclusive.
const HEAD: usize = 3;
/// Offset of the byte that holds the highest bit of `pts_adjustment` (SCTE 35 §9.6).
const ADJUSTMENT: usize = 4;

/// Returns the section with its event at `pts`, in ticks of 90 kHz.
///
/// `pts_adjustment` and the CRC change if the section names another time. A section without a time, or encrypted, stays
/// as it is.
pub(super) fn at(section: &[u8], pts: i64) -> Result<Cow<'_, [u8]>, MuxError> {
    if section.len() > MAX_SECTION {
        return Err(MuxError::TooLong { len: section.len(), limit: MAX_SECTION });
    }
    let declared = match section {
        [_, high, low, ..] => HEAD + (usize::from(high & 0x0f) << 8 | usize::from(*low)),
        _ => 0,
    };
    if declared != section.len() || psi::checked(section).is_none() {
        return Err(MuxError::Metadata);
    }
    let time = metadata::splice_time(section).map_err(|()| MuxError::Metadata)?;
    let wanted = wrapped(pts);
    match time {
        Some(time) if time != wanted => Ok(adjusted(section, wanted.wrapping_sub(time)).into()),
        _ => Ok(section.into()),
    }
}

/// Returns the section with its adjustment moved by `by`, modulo 2^33.
fn adjusted(section: &[u8], by: u64) -> Vec<u8> {
    let mut bytes = section.to_vec();
    if let Some(field) = bytes.get_mut(ADJUSTMENT..).and_then(|rest| rest.first_chunk_mut::<5>()) {
        let [first, b, c, d, e] = *field;
        let old = u64::from_be_bytes([0, 0, 0, first & 1, b, c, d, e]);
        let [_, _, _, high, rest @ ..] = wrapped(old.wrapping_add(by).cast_signed()).to_be_bytes();
        let [b, c, d, e] = rest;
        *field = [first & !1 | high, b, c, d, e];
    }
    let body = bytes.len().saturating_sub(4);
    bytes.truncate(body);
    bytes.extend(psi::crc32(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a time signal at `time`, with its CRC.
    fn signal(time: u32) -> Vec<u8> {
        let mut bytes = vec![0xfc, 0x30, 22, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xf0, 5, 6, 0xfe];
        bytes.extend(time.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(psi::crc32(&bytes).to_be_bytes());
        bytes
    }

    #[test]
    fn the_event_moves_to_its_time() {
        let section = signal(90_000);
        assert_eq!(at(&section, 90_000).unwrap(), section);
        for pts in [0, 89_999, 1 << 32, (1 << 33) - 1, (1 << 33) + 5, -1] {
            let moved = at(&section, pts).unwrap();
            assert_eq!(metadata::splice_time(&moved), Ok(Some(wrapped(pts))));
            assert!(psi::checked(&moved).is_some());
            assert_eq!(at(&moved, 90_000).unwrap(), section);
        }
    }

    #[test]
    fn what_is_no_section_is_refused() {
        let section = signal(1);
        assert_eq!(at(&section[..20], 1), Err(MuxError::Metadata));
        assert_eq!(at(&[section, vec![0]].concat(), 1), Err(MuxError::Metadata));
        assert_eq!(at(&[], 1), Err(MuxError::Metadata));
        assert!(matches!(at(&[0; 4_097], 1), Err(MuxError::TooLong { .. })));
    }
}
