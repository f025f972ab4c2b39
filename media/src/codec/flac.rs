//! FLAC: the stream information block (RFC 9639 §8.2) and the duration of a frame (§9.1).

use bytes::Bytes;

use super::HeaderError;
use crate::bits::BitReader;

/// Bytes of the stream information block.
const STREAM_INFO: usize = 34;
/// Most metadata blocks searched for the stream information, which must be the first.
const MAX_BLOCKS: usize = 32;

/// A parsed stream information block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The body of `dfLa` after its version and flags: the stream information as the last metadata block.
    pub record: Bytes,
    /// Samples per second.
    pub sample_rate: u32,
    /// Number of channels, 1 to 8.
    pub channels: u8,
    /// Bits per sample, 4 to 32.
    pub bits_per_sample: u8,
    /// Samples per channel in a frame, if all frames have the same number.
    pub samples_per_frame: Option<u32>,
}

impl Config {
    /// Parses the data before the first frame: the `fLaC` marker and metadata blocks, the blocks alone, or the stream
    /// information alone.
    pub fn parse(header: &[u8]) -> Result<Self, HeaderError> {
        if header.len() == STREAM_INFO {
            return Self::from_stream_info(header);
        }
        let mut rest = header.strip_prefix(b"fLaC").unwrap_or(header);
        for _ in 0..MAX_BLOCKS {
            let place = "fLaC > METADATA_BLOCK_HEADER";
            let short = HeaderError::Short { place, bit: header.len() * 8 };
            let Some((&[kind, a, b, c], body)) = rest.split_first_chunk() else { return Err(short) };
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            let Some((block, tail)) = body.split_at_checked(len) else { return Err(short) };
            if kind & 0x7f == 0 {
                return Self::from_stream_info(block);
            }
            if kind & 0x80 != 0 {
                break;
            }
            rest = tail;
        }
        Err(HeaderError::Range { place: "fLaC > STREAMINFO blocks", value: 0 })
    }

    fn from_stream_info(block: &[u8]) -> Result<Self, HeaderError> {
        if block.len() != STREAM_INFO {
            return Err(HeaderError::Range { place: "STREAMINFO", value: block.len() as u64 });
        }
        let mut r = BitReader::new(block);
        let min = r.bits(16, "STREAMINFO > minimum block size")?;
        let max = r.bits(16, "STREAMINFO > maximum block size")?;
        if min < 16 || max < min {
            return Err(HeaderError::Range { place: "STREAMINFO > maximum block size", value: max.into() });
        }
        r.skip(48, "STREAMINFO > frame sizes")?;
        let sample_rate = r.bits(20, "STREAMINFO > sample rate")?;
        if sample_rate == 0 {
            return Err(HeaderError::Range { place: "STREAMINFO > sample rate", value: 0 });
        }
        let channels = r.bits(3, "STREAMINFO > channels")? as u8 + 1;
        let bits_per_sample = r.bits(5, "STREAMINFO > bits per sample")? as u8 + 1;
        if bits_per_sample < 4 {
            return Err(HeaderError::Range { place: "STREAMINFO > bits per sample", value: bits_per_sample.into() });
        }
        let mut record = vec![0x80, 0, 0, STREAM_INFO as u8];
        record.extend_from_slice(block);
        let samples_per_frame = (min == max).then_some(max);
        Ok(Self { record: record.into(), sample_rate, channels, bits_per_sample, samples_per_frame })
    }
}

/// Returns the samples per channel in a frame, from its header.
pub fn packet_samples(frame: &[u8]) -> Option<u32> {
    let &[0xff, second, sizes, _, number, ..] = frame else { return None };
    if second & 0xfe != 0xf8 {
        return None;
    }
    // The frame number precedes it, coded as UTF-8 codes a character: with as many bytes as leading ones.
    let behind = frame.get(4 + (number.leading_ones() as usize).max(1)..)?;
    let short = || behind.first().map(|low| u32::from(*low) + 1);
    let long = || behind.first_chunk().map(|size| u32::from(u16::from_be_bytes(*size)) + 1);
    match u32::from(sizes >> 4) {
        0 => None,
        1 => Some(192),
        code @ 2..=5 => Some(576 << (code - 2)),
        6 => short(),
        7 => long(),
        code => Some(256 << (code - 8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::hex;

    const INFO: &str = "040004000000530001750bb802f0000038401201fa4a58a117c6c9873a85739f96e9";

    #[test]
    fn reads_the_stream_information_at_any_place() {
        let alone = Config::parse(&hex(INFO)).unwrap();
        assert_eq!((alone.sample_rate, alone.channels, alone.bits_per_sample), (48_000, 2, 16));
        assert_eq!(alone.samples_per_frame, Some(1_024));
        assert_eq!(alone.record, hex(&["80000022", INFO].concat()));
        let blocks = Config::parse(&hex(&["80000022", INFO].concat()));
        let file = Config::parse(&hex(&["664c614300000022", INFO, "84000000"].concat()));
        assert_eq!((blocks, file), (Ok(alone.clone()), Ok(alone)));
    }

    #[test]
    fn refuses_a_header_without_stream_information() {
        assert!(Config::parse(&[]).is_err());
        assert!(Config::parse(b"fLaC").is_err());
        assert!(Config::parse(&hex(&["664c614300000022", &INFO[..60]].concat())).is_err());
        assert!(Config::parse(&hex("664c614384000000")).is_err(), "only a comment");
        assert!(Config::parse(&hex("04000000").repeat(MAX_BLOCKS + 1)).is_err(), "comments without end");
        assert!(Config::parse(&[0; 34]).is_err());
    }

    #[test]
    fn frames_have_a_length() {
        assert_eq!(packet_samples(&hex("fff8aa88005b4c00")), Some(1_024));
        assert_eq!(packet_samples(&hex("fff918880044")), Some(192));
        assert_eq!(packet_samples(&hex("fff8588800aa")), Some(4_608));
        assert_eq!(packet_samples(&hex("fff87888c2801fff00")), Some(8_192), "after a number of two bytes");
        assert_eq!(packet_samples(&hex("fff86888004f")), Some(80));
        for broken in ["", "fff8", "fff8088800aa", "fff86888c280", "fef8aa88005b", "fffaaa88005b"] {
            assert_eq!(packet_samples(&hex(broken)), None, "{broken}");
        }
    }
}
