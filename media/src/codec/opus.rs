//! Opus: the identification header (RFC 7845 §5.1) and the duration of a packet (RFC 6716 §3.1).

use bytes::Bytes;

use super::HeaderError;

/// Output rate of every Opus decoder, in samples per second.
pub const SAMPLE_RATE: u32 = 48_000;
/// Longest packet: 120 ms.
const MAX_PACKET_SAMPLES: u32 = 5_760;
/// [`Config::pre_skip`] if no header declares it: 6.5 ms, the value of libopus.
const USUAL_PRE_SKIP: u16 = 312;
/// Largest identification header: the fixed fields and a mapping of 255 channels.
const MAX_HEAD: usize = 21 + 255;
/// Channel mappings of family 1 (RFC 7845 §5.1.1.2), by number of channels: streams, coupled streams, table.
const VORBIS: [(u8, u8, &[u8]); 8] = [
    (1, 0, &[0]),
    (1, 1, &[0, 1]),
    (2, 1, &[0, 2, 1]),
    (2, 2, &[0, 1, 2, 3]),
    (3, 2, &[0, 4, 1, 2, 3]),
    (4, 2, &[0, 4, 1, 2, 3, 5]),
    (4, 3, &[0, 4, 1, 2, 3, 5, 6]),
    (5, 3, &[0, 6, 1, 2, 3, 4, 5, 7]),
];

/// A parsed identification header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The body of `dOps`: the header's fields in big-endian order.
    pub record: Bytes,
    /// Number of output channels.
    pub channels: u8,
    /// Samples at 48 kHz to drop from the start of the decoder's output.
    pub pre_skip: u16,
    /// Channel mapping family: 0 for mono and stereo, 1 for surround in Vorbis order.
    pub family: u8,
}

impl Config {
    /// Parses an identification header, its `OpusHead` magic included.
    pub fn parse(head: &[u8]) -> Result<Self, HeaderError> {
        let short = HeaderError::Short { place: "OpusHead", bit: head.len() * 8 };
        if head.len() > MAX_HEAD {
            return Err(HeaderError::Range { place: "OpusHead", value: head.len() as u64 });
        }
        let Some((magic, rest)) = head.split_at_checked(8) else { return Err(short) };
        if magic != b"OpusHead" {
            return Err(HeaderError::Range {
                place: "OpusHead > magic",
                value: magic.first().copied().unwrap_or(0).into(),
            });
        }
        let Some((&[version, channels, s0, s1, r0, r1, r2, r3, g0, g1, family], mapping)) = rest.split_first_chunk()
        else {
            return Err(short);
        };
        // The upper half signals incompatible changes.
        if version & 0xf0 != 0 {
            return Err(HeaderError::Unsupported { place: "OpusHead > version", value: version.into() });
        }
        let mapping = match family {
            0 => &[],
            _ => mapping.get(..2 + usize::from(channels)).ok_or(short)?,
        };
        check_mapping(channels, family, mapping)?;
        let mut record = vec![0, channels, s1, s0, r3, r2, r1, r0, g1, g0, family];
        record.extend_from_slice(mapping);
        Ok(Self { record: record.into(), channels, pre_skip: u16::from_le_bytes([s0, s1]), family })
    }

    /// Creates the header for `channels` in their usual order, as the `channel_config_code` of MPEG-TS with that number
    /// means.
    pub fn new(channels: u8) -> Result<Self, HeaderError> {
        let family = u8::from(channels > 2);
        let Some((streams, coupled, order)) = usize::from(channels).checked_sub(1).and_then(|at| VORBIS.get(at)) else {
            return Err(HeaderError::Unsupported { place: "opus > channels", value: channels.into() });
        };
        let [s1, s0] = USUAL_PRE_SKIP.to_be_bytes();
        let [r3, r2, r1, r0] = SAMPLE_RATE.to_be_bytes();
        let mut record = vec![0, channels, s1, s0, r3, r2, r1, r0, 0, 0, family];
        if family > 0 {
            record.extend([*streams, *coupled]);
            record.extend_from_slice(order);
        }
        Ok(Self { record: record.into(), channels, pre_skip: USUAL_PRE_SKIP, family })
    }
}

/// Checks the rules of RFC 7845 §5.1.1 for streams, coupled streams and their channels.
fn check_mapping(channels: u8, family: u8, mapping: &[u8]) -> Result<(), HeaderError> {
    let most = match family {
        0 => 2,
        1 => 8,
        _ => 255,
    };
    if !(1..=most).contains(&channels) {
        return Err(HeaderError::Range { place: "OpusHead > channel count", value: channels.into() });
    }
    let [streams, coupled, table @ ..] = mapping else { return Ok(()) };
    let decoded = u16::from(*streams) + u16::from(*coupled);
    if *streams == 0 || coupled > streams || decoded > 255 {
        return Err(HeaderError::Range { place: "OpusHead > stream count", value: (*streams).into() });
    }
    match table.iter().find(|index| **index != 255 && u16::from(**index) >= decoded) {
        Some(index) => Err(HeaderError::Range { place: "OpusHead > channel mapping", value: (*index).into() }),
        None => Ok(()),
    }
}

/// Returns the samples at 48 kHz in a packet, by its table-of-contents byte; `None` for an invalid packet.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = u32::from(toc >> 3);
    let frame = match config {
        // SILK: 10, 20, 40, 60 ms.
        0..12 => [480, 960, 1_920, 2_880].get((config % 4) as usize).copied()?,
        // Hybrid: 10, 20 ms.
        12..16 => 480 << (config % 2),
        // CELT: 2.5, 5, 10, 20 ms.
        _ => 120 << (config % 4),
    };
    let frames = match toc & 3 {
        0 => 1,
        3 => u32::from(packet.get(1)? & 0x3f),
        _ => 2,
    };
    Some(frame * frames).filter(|samples| (1..=MAX_PACKET_SAMPLES).contains(samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::hex;

    #[test]
    fn the_box_is_the_header_with_its_bytes_turned() {
        let config = Config::parse(&hex("4f707573486561640102380180bb0000000000")).unwrap();
        assert_eq!((config.channels, config.pre_skip, config.family), (2, 312, 0));
        assert_eq!(config.record, hex("000201380000bb80000000"));
        assert_eq!(Config::new(2), Ok(config));
        // Six channels as libopus orders them.
        let six = Config::parse(&hex("4f707573486561640106380180bb00000000010402000401020305")).unwrap();
        assert_eq!(six.record, hex("000601380000bb800000010402000401020305"));
        assert_eq!(Config::new(6), Ok(six));
    }

    #[test]
    fn refuses_mappings_that_no_decoder_takes() {
        let of = |tail: &str| Config::parse(&hex(&["4f70757348656164", tail].concat()));
        assert!(of("0100380180bb0000000000").is_err(), "no channels");
        assert!(of("0103380180bb0000000000").is_err(), "three in family 0");
        assert!(of("1002380180bb0000000000").is_err(), "a version to come");
        assert!(of("0102380180bb000000000101020001").is_err(), "more coupled streams than streams");
        assert!(of("0102380180bb000000000101010002").is_err(), "a channel that is not decoded");
        assert!(of("0102380180bb0000000001010100ff").is_ok(), "a silent one");
        assert!(of("0102380180bb00000000010101").is_err(), "cut");
        assert!(Config::parse(b"OpusTags").is_err());
        assert!(Config::new(0).is_err() && Config::new(9).is_err() && Config::new(8).is_ok());
    }

    #[test]
    fn packets_have_a_length() {
        assert_eq!(packet_samples(&[0xfc, 0x7e]), Some(960), "libopus, CELT of 20 ms");
        assert_eq!(packet_samples(&[0b0001_1000]), Some(2_880), "SILK of 60 ms");
        assert_eq!(packet_samples(&[0b0110_0001]), Some(960), "two of 10 ms");
        assert_eq!(packet_samples(&[0b1000_0011, 48]), Some(5_760), "48 of 2.5 ms");
        assert_eq!(packet_samples(&[0b1000_0011, 49]), None);
        assert_eq!(packet_samples(&[0b1000_0011, 0]), None);
        assert_eq!(packet_samples(&[0b0001_1011]), None);
        assert_eq!(packet_samples(&[]), None);
    }
}
