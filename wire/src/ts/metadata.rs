//! Timed metadata: the time of an SCTE-35 section's event.

/// Table id of a `splice_info_section`.
const SPLICE_INFO: u8 = 0xfc;
/// Command types.
const SPLICE_INSERT: u8 = 5;
const TIME_SIGNAL: u8 = 6;
/// Mask of timestamps, which have 33 bits.
const TIME_MASK: u64 = (1 << 33) - 1;

/// Returns the time of the event that a `splice_info_section` announces (SCTE 35 §9.6), in ticks of 90 kHz modulo 2^33.
///
/// `None` if the section is encrypted, takes effect at once, or has no time. An error if it is another section.
pub(super) fn splice_time(section: &[u8]) -> Result<Option<u64>, ()> {
    let [SPLICE_INFO, _, _, 0, adjustment @ ..] = section else { return Err(()) };
    let [a0, a1, a2, a3, a4, _cw, _tier, _tier_length, _length, kind, command @ ..] = adjustment else {
        return Err(());
    };
    if a0 & 0x80 != 0 {
        return Ok(None);
    }
    let adjustment = number(&[a0 & 1, *a1, *a2, *a3, *a4]);
    let time = match *kind {
        TIME_SIGNAL => command,
        SPLICE_INSERT => match command {
            // Not cancelled, and for the whole programme at a signalled time.
            [_, _, _, _, cancel, flags, time @ ..] if cancel & 0x80 == 0 && flags & 0x50 == 0x40 => time,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(match time {
        [b0, b1, b2, b3, b4, ..] if b0 & 0x80 != 0 => {
            Some((number(&[b0 & 1, *b1, *b2, *b3, *b4]) + adjustment) & TIME_MASK)
        }
        _ => None,
    })
}

/// Returns whether an ID3 tag declares more bytes than it has, but at most `limit`.
pub(super) fn is_short_id3(tag: &[u8], limit: usize) -> bool {
    let [b'I', b'D', b'3', _, _, _, a, b, c, d, body @ ..] = tag else { return false };
    // Four digits of seven bits.
    let size = [a, b, c, d].into_iter().fold(0, |size, digit| size << 7 | usize::from(*digit & 0x7f));
    size > body.len() && size <= limit
}

fn number(bytes: &[u8; 5]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of SCTE 35 §14.1 and §14.2: a time_signal and a splice_insert.
    const SIGNAL: [u8; 20] =
        [0xfc, 0x30, 0x34, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xf0, 0x05, 0x06, 0xfe, 0x72, 0xbd, 0x00, 0x50, 0];
    const INSERT: [u8; 25] = [
        0xfc, 0x30, 0x2f, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xf0, 0x14, 0x05, 0x48, 0, 0, 0x8f, 0x7f, 0xef, 0xfe, 0x73,
        0x69, 0xc0, 0x2e,
    ];

    #[test]
    fn times_are_found() {
        assert_eq!(splice_time(&SIGNAL), Ok(Some(0x0_72bd_0050)));
        assert_eq!(splice_time(&INSERT), Ok(Some(0x0_7369_c02e)));
        let mut adjusted = SIGNAL;
        adjusted[4..9].copy_from_slice(&[1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(splice_time(&adjusted), Ok(Some(0x0_72bd_004f)), "modulo 2^33");
    }

    #[test]
    fn no_time_is_none_and_no_section_an_error() {
        let mut now = INSERT;
        now[19] |= 0x10;
        assert_eq!(splice_time(&now), Ok(None));
        let mut encrypted = SIGNAL;
        encrypted[4] = 0x80;
        assert_eq!(splice_time(&encrypted), Ok(None));
        assert_eq!(splice_time(&SIGNAL[..16]), Ok(None));
        assert_eq!(splice_time(&SIGNAL[..10]), Err(()));
        assert_eq!(splice_time(&[0; 20]), Err(()));
    }
}
