//! A reader of bit fields and Exp-Golomb codes (ITU-T H.264 §9.1) that never reads past its bytes.

use crate::codec::HeaderError;

/// Reads big-endian bit fields from a slice. Each call names its field, for the [`HeaderError`].
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    bit: usize,
}

impl<'a> BitReader<'a> {
    /// Creates a reader at the first bit of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, bit: 0 }
    }

    /// Returns the number of bits read.
    pub const fn position(&self) -> usize {
        self.bit
    }

    /// Returns the number of bits left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() * 8 - self.bit
    }

    /// Reads `n` bits, at most 32, as a number.
    pub fn bits(&mut self, n: u32, place: &'static str) -> Result<u32, HeaderError> {
        debug_assert!(n <= 32);
        if (n as usize) > self.remaining() {
            return Err(HeaderError::Short { place, bit: self.bytes.len() * 8 });
        }
        let mut value = 0u64;
        for _ in 0..n {
            let byte = self.bytes[self.bit / 8];
            value = value << 1 | u64::from(byte >> (7 - self.bit % 8) & 1);
            self.bit += 1;
        }
        Ok(value as u32)
    }

    /// Reads one bit as a flag.
    pub fn flag(&mut self, place: &'static str) -> Result<bool, HeaderError> {
        Ok(self.bits(1, place)? == 1)
    }

    /// Skips `n` bits.
    pub fn skip(&mut self, n: usize, place: &'static str) -> Result<(), HeaderError> {
        if n > self.remaining() {
            return Err(HeaderError::Short { place, bit: self.bytes.len() * 8 });
        }
        self.bit += n;
        Ok(())
    }

    /// Reads an unsigned Exp-Golomb code, `ue(v)`.
    pub fn ue(&mut self, place: &'static str) -> Result<u32, HeaderError> {
        let mut zeros = 0;
        while !self.flag(place)? {
            zeros += 1;
            if zeros > 31 {
                return Err(HeaderError::Range { place, value: u64::from(u32::MAX) });
            }
        }
        Ok(((1u64 << zeros) - 1 + u64::from(self.bits(zeros, place)?)) as u32)
    }

    /// Reads a signed Exp-Golomb code, `se(v)`.
    pub fn se(&mut self, place: &'static str) -> Result<i32, HeaderError> {
        let code = i64::from(self.ue(place)?);
        let magnitude = (code + 1) / 2;
        Ok(if code % 2 == 0 { -magnitude } else { magnitude } as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_across_bytes() {
        let mut r = BitReader::new(&[0b1010_1100, 0b0111_0000]);
        assert_eq!(r.bits(3, "a"), Ok(0b101));
        assert_eq!(r.bits(8, "b"), Ok(0b0110_0011));
        assert_eq!(r.remaining(), 5);
        assert_eq!(r.bits(6, "c"), Err(HeaderError::Short { place: "c", bit: 16 }));
        assert_eq!(r.bits(5, "d"), Ok(0b10000));
    }

    #[test]
    fn exp_golomb_codes() {
        // 1, 010, 011, 00100, then se: 010 -> 1, 011 -> -1
        let mut r = BitReader::new(&[0b1010_0110, 0b0100_0100, 0b1100_0000]);
        assert_eq!([r.ue("a"), r.ue("b"), r.ue("c"), r.ue("d")], [Ok(0), Ok(1), Ok(2), Ok(3)]);
        assert_eq!([r.se("e"), r.se("f")], [Ok(1), Ok(-1)]);
    }

    #[test]
    fn a_run_of_zeros_is_refused() {
        assert!(matches!(BitReader::new(&[0; 16]).ue("x"), Err(HeaderError::Range { .. })));
    }
}
