//! Headers of PES packets (ISO/IEC 13818-1 §2.4.3.6).

use super::clock::wrapped;

/// `stream_id` of the first video stream.
pub(super) const VIDEO: u8 = 0xe0;
/// `stream_id` of the first MPEG audio stream.
pub(super) const AUDIO: u8 = 0xc0;
/// `stream_id` of `private_stream_1`: AC-3, E-AC-3, Opus and ID3.
pub(super) const PRIVATE: u8 = 0xbd;

/// Bytes up to the packet's length, inclusive, which that length does not count.
const PREFIX: usize = 6;
/// Bytes up to the length of the optional fields, inclusive.
const FIXED: usize = 9;
/// Bytes of a timestamp.
const STAMP: usize = 5;

/// Most payload bytes in a packet that declares its length and has one timestamp.
pub(super) const MAX_BOUNDED: usize = 0xffff - (FIXED - PREFIX) - STAMP;

/// Header of a PES packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    bytes: [u8; FIXED + 2 * STAMP],
    len: usize,
}

impl Header {
    /// Creates the header of a packet with `payload` bytes and these times, in ticks of 90 kHz. Without a length if the
    /// payload exceeds the field, which is allowed for video only.
    pub(super) fn new(stream_id: u8, pts: i64, dts: i64, payload: usize) -> Self {
        let (pts, dts) = (wrapped(pts), wrapped(dts));
        let (flags, stamps) = if pts == dts { (0x80, STAMP) } else { (0xc0, 2 * STAMP) };
        let len = FIXED + stamps;
        let length = u16::try_from(len - PREFIX + payload).unwrap_or(0);
        let [high, low] = length.to_be_bytes();
        let mut bytes = [0; FIXED + 2 * STAMP];
        let [a, b, c, d, e] = stamp(if stamps > STAMP { 3 } else { 2 }, pts);
        let [f, g, h, i, j] = stamp(1, dts);
        // 0x84: the marker bits, and data_alignment_indicator, because each packet begins with an access unit.
        let all = [0, 0, 1, stream_id, high, low, 0x84, flags, stamps as u8, a, b, c, d, e, f, g, h, i, j];
        bytes.copy_from_slice(&all);
        Self { bytes, len }
    }

    /// Returns the bytes of the header.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Returns a timestamp in its form of 5 bytes, with `mark` in the first 4 bits.
const fn stamp(mark: u8, ticks: u64) -> [u8; STAMP] {
    [
        mark << 4 | (ticks >> 29) as u8 & 0x0e | 1,
        (ticks >> 22) as u8,
        (ticks >> 14) as u8 | 1,
        (ticks >> 7) as u8,
        (ticks << 1) as u8 | 1,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_one_time_or_two() {
        let one = Header::new(AUDIO, 90_000, 90_000, 10);
        assert_eq!(one.as_bytes(), [0, 0, 1, 0xc0, 0, 18, 0x84, 0x80, 5, 0x21, 0, 5, 0xbf, 0x21]);
        let two = Header::new(VIDEO, 0, -1, 70_000);
        let bytes = [0, 0, 1, 0xe0, 0, 0, 0x84, 0xc0, 10, 0x31, 0, 1, 0, 1, 0x1f, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(two.as_bytes(), bytes);
    }

    #[test]
    fn the_length_is_exact_up_to_its_limit() {
        let length = |payload| Header::new(AUDIO, 1, 1, payload).as_bytes()[4..6].to_vec();
        assert_eq!((length(MAX_BOUNDED), length(MAX_BOUNDED + 1)), (vec![0xff, 0xff], vec![0, 0]));
    }
}
