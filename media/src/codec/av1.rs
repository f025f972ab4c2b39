//! AV1: the codec configuration record (AV1 Codec ISO Media File Format Binding §2.3), the OBUs of a temporal unit (AV1
//! specification §5.3) and where decoding may start. The sequence header is in [`sequence`].

pub mod sequence;

use bytes::Bytes;
pub use sequence::Sequence;

use super::{Colour, HeaderError};
use crate::bits::BitReader;
use crate::frame::Access;

/// `obu_type` of a sequence header.
pub const OBU_SEQUENCE_HEADER: u8 = 1;
/// `obu_type` of a temporal delimiter, which MP4 samples omit.
pub const OBU_TEMPORAL_DELIMITER: u8 = 2;
/// `obu_type` of a frame header without tiles.
pub const OBU_FRAME_HEADER: u8 = 3;
/// `obu_type` of metadata: HDR, timecodes, captions.
pub const OBU_METADATA: u8 = 5;
/// `obu_type` of a frame header with its tiles.
pub const OBU_FRAME: u8 = 6;

/// Largest configuration record accepted, in bytes.
const MAX_RECORD: usize = 4_096;
/// Bytes of the record before its OBUs.
const RECORD_HEAD: usize = 4;
/// Marker and version, the first byte of a record.
const MARKER_VERSION: u8 = 0x81;
/// Most OBUs read in one temporal unit; further ones are ignored.
const MAX_OBUS: usize = 1_024;
/// `frame_type` of a key frame.
const KEY_FRAME: u32 = 0;

/// A parsed codec configuration record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The record as received or built, for `av1C`.
    pub record: Bytes,
    /// Format of the video ([`Sequence`]).
    pub sequence: Sequence,
}

impl Config {
    /// Parses an `AV1CodecConfigurationRecord`, which must hold a sequence header.
    pub fn parse(record: Bytes) -> Result<Self, HeaderError> {
        if record.len() > MAX_RECORD {
            return Err(HeaderError::Range { place: "av1C", value: record.len() as u64 });
        }
        let Some((&[first, ..], config_obus)) = record.split_first_chunk::<RECORD_HEAD>() else {
            return Err(HeaderError::Short { place: "av1C > marker", bit: record.len() * 8 });
        };
        if first != MARKER_VERSION {
            return Err(HeaderError::Unsupported { place: "av1C > version", value: first.into() });
        }
        let sequence = Self::sequence_in(config_obus)?;
        Ok(Self { record, sequence })
    }

    /// Builds the record from the sequence header in a temporal unit, for transports that send none.
    pub fn from_sample(unit: &[u8]) -> Result<Self, HeaderError> {
        let header = obus(unit)
            .find(|obu| obu.kind == OBU_SEQUENCE_HEADER)
            .ok_or(HeaderError::Range { place: "av1 > sequence headers", value: 0 })?;
        Self::from_sequence_header(header.body)
    }

    /// Builds the record from the payload of a sequence header OBU.
    pub fn from_sequence_header(payload: &[u8]) -> Result<Self, HeaderError> {
        if payload.len() > MAX_RECORD - RECORD_HEAD - 3 {
            return Err(HeaderError::Range { place: "av1 > sequence header", value: payload.len() as u64 });
        }
        let sequence = Sequence::parse(payload)?;
        let Sequence { profile, level, high_tier, bit_depth, monochrome, subsampling: (x, y), sample_position, .. } =
            sequence;
        let flags = u8::from(high_tier) << 7
            | u8::from(bit_depth > 8) << 6
            | u8::from(bit_depth > 10) << 5
            | u8::from(monochrome) << 4
            | u8::from(x) << 3
            | u8::from(y) << 2
            | sample_position;
        // No initial presentation delay is signalled. The OBU follows, with a size of its own.
        let mut record = vec![MARKER_VERSION, profile << 5 | level, flags, 0, OBU_SEQUENCE_HEADER << 3 | 2];
        put_leb128(&mut record, payload.len());
        record.extend_from_slice(payload);
        Ok(Self { record: record.into(), sequence })
    }

    fn sequence_in(bytes: &[u8]) -> Result<Sequence, HeaderError> {
        match obus(bytes).find(|obu| obu.kind == OBU_SEQUENCE_HEADER) {
            Some(header) => Sequence::parse(header.body),
            None => Err(HeaderError::Range { place: "av1C > configOBUs > sequence headers", value: 0 }),
        }
    }

    /// Returns the configuration of the sequence header in a temporal unit; `None` if it is the same, or absent.
    pub fn changed_by(&self, unit: &[u8]) -> Result<Option<Self>, HeaderError> {
        let Some(header) = obus(unit).find(|obu| obu.kind == OBU_SEQUENCE_HEADER) else { return Ok(None) };
        let known = obus(self.record.get(RECORD_HEAD..).unwrap_or_default())
            .any(|obu| obu.kind == OBU_SEQUENCE_HEADER && obu.body == header.body);
        if known { Ok(None) } else { Self::from_sequence_header(header.body).map(Some) }
    }

    /// Returns the codec parameter: `av01.0.08M.10`, with chroma and colours if they are not the usual ones.
    pub fn codec_string(&self) -> String {
        let Sequence {
            profile,
            level,
            high_tier,
            bit_depth,
            monochrome,
            subsampling: (x, y),
            sample_position,
            colour,
            ..
        } = self.sequence;
        let tier = if high_tier { 'H' } else { 'M' };
        let mut out = format!("av01.{profile}.{level:02}{tier}.{bit_depth:02}");
        let Colour { primaries, transfer, matrix, full_range } = colour.unwrap_or(Colour::UNSPECIFIED);
        let usual_chroma = !monochrome && x && y && sample_position == 0;
        let usual_colour = (primaries, transfer, matrix) == (1, 1, 1) || (primaries, transfer, matrix) == (2, 2, 2);
        if !(usual_chroma && usual_colour && !full_range) {
            let position = if x && y { sample_position } else { 0 };
            out.push_str(&format!(
                ".{}.{}{}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{}",
                u8::from(monochrome),
                u8::from(x),
                u8::from(y),
                u8::from(full_range)
            ));
        }
        out
    }

    /// Returns whether decoding may start at a temporal unit: its first frame is a key frame that is shown.
    pub fn access(&self, unit: &[u8]) -> Access {
        let Some(frame) = obus(unit).find(|obu| matches!(obu.kind, OBU_FRAME | OBU_FRAME_HEADER)) else {
            return Access::Dependent;
        };
        // Headers of still images say no more, because there is no other frame.
        if self.sequence.reduced_still_picture {
            return Access::Independent;
        }
        let mut r = BitReader::new(frame.body);
        let key = matches!(r.bits(1, "frame_header > show_existing_frame"), Ok(0))
            && matches!(r.bits(2, "frame_header > frame_type"), Ok(KEY_FRAME))
            && matches!(r.bits(1, "frame_header > show_frame"), Ok(1));
        Access::independent_if(key)
    }
}

/// An open bitstream unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Obu<'a> {
    /// `obu_type`.
    pub kind: u8,
    /// The complete unit, its header included.
    pub whole: &'a [u8],
    /// Payload of the unit, without header and size ([`Obu::whole`]).
    pub body: &'a [u8],
}

/// Returns the OBUs of a temporal unit in the low-overhead format. The last one may have no size. Stops at the first
/// damaged one.
pub fn obus(unit: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut rest = unit;
    std::iter::from_fn(move || {
        let (&header, tail) = rest.split_first()?;
        let extension = usize::from(header >> 2 & 1);
        let tail = tail.get(extension..).filter(|_| header & 0x80 == 0)?;
        let (size, tail) = if header & 2 != 0 { leb128(tail)? } else { (tail.len(), tail) };
        let (body, tail) = tail.split_at_checked(size)?;
        let whole = rest.get(..rest.len() - tail.len())?;
        rest = tail;
        Some(Obu { kind: header >> 3 & 0xf, whole, body })
    })
    .take(MAX_OBUS)
}

/// Removes the temporal delimiters of a temporal unit, as MP4 samples require. A delimiter at the front, where it
/// belongs, costs no copy.
pub fn without_delimiters(unit: Bytes) -> Bytes {
    let is_delimiter = |obu: &Obu<'_>| obu.kind == OBU_TEMPORAL_DELIMITER;
    let front: usize = obus(&unit).take_while(is_delimiter).map(|obu| obu.whole.len()).sum();
    let unit = unit.slice(front..);
    if !obus(&unit).any(|obu| is_delimiter(&obu)) {
        return unit;
    }
    let mut out = Vec::with_capacity(unit.len());
    let mut seen = 0;
    for obu in obus(&unit) {
        seen += obu.whole.len();
        if !is_delimiter(&obu) {
            out.extend_from_slice(obu.whole);
        }
    }
    // Damaged data, and data beyond [`MAX_OBUS`], stays as it is.
    out.extend_from_slice(unit.get(seen..).unwrap_or_default());
    out.into()
}

/// Reads a number of up to eight bytes with seven bits each; returns it with the bytes that follow.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(at + 1..)?));
        }
    }
    None
}

fn put_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::VideoRange;
    use crate::codec::testing::hex;

    // libaom, 640x360, ten bits, HDR10, as ffmpeg writes it.
    const PQ: &str = "81014c000a0e0000000cc4ff6736be5424402410";
    // The beginning of its first and second temporal unit, with the frames truncated.
    const KEY: &str = "0a0e0000000cc4ff6736be5424402410 3206 140023883061";
    const INTER: &str = "3206 2101f0200000";

    #[test]
    fn reads_a_record() {
        let config = Config::parse(hex(PQ)).unwrap();
        let Sequence { width, height, bit_depth, colour, .. } = config.sequence;
        assert_eq!((width, height, bit_depth), (640, 360, 10));
        assert_eq!(colour.map(|colour| colour.video_range()), Some(VideoRange::Pq));
        assert_eq!(config.codec_string(), "av01.0.01M.10.0.110.09.16.09.0");
        // SVT-AV1, eight bits, no colour description.
        let plain = Config::parse(hex("81010c000a0c0200000d2627fb3805f00080")).unwrap();
        assert_eq!(plain.codec_string(), "av01.0.01M.08");
        for len in 0..19 {
            assert!(Config::parse(hex(PQ).slice(..len)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_record_of_an_in_band_header_is_the_encoders_own() {
        let config = Config::parse(hex(PQ)).unwrap();
        assert_eq!(Config::from_sample(&hex(KEY)).unwrap(), config);
        assert_eq!(config.changed_by(&hex(KEY)), Ok(None));
        assert_eq!(config.changed_by(&hex(INTER)), Ok(None));
        let plain = Config::parse(hex("81010c000a0c0200000d2627fb3805f00080")).unwrap();
        assert_eq!(plain.changed_by(&hex(KEY)), Ok(Some(config)));
        assert!(Config::from_sample(&hex(INTER)).is_err());
    }

    #[test]
    fn access_is_a_key_frame_that_is_shown() {
        let config = Config::parse(hex(PQ)).unwrap();
        assert_eq!(config.access(&hex(KEY)), Access::Independent);
        assert_eq!(config.access(&hex(INTER)), Access::Dependent);
        // A frame that was decoded earlier is shown.
        assert_eq!(config.access(&hex("1a0198")), Access::Dependent);
        // A key frame for later: `show_frame` is not set.
        assert_eq!(config.access(&hex("320104")), Access::Dependent);
        assert_eq!(config.access(&[]), Access::Dependent);
    }

    #[test]
    fn delimiters_go_without_a_copy_from_the_front() {
        let unit = hex(&["12003200", KEY].concat());
        let clean = without_delimiters(unit.clone());
        assert_eq!(clean.as_ptr(), unit[2..].as_ptr());
        let inside = without_delimiters(hex(&["1200", "3200", "1200", INTER].concat()));
        assert_eq!(inside, hex(&["3200", INTER].concat()));
        assert_eq!(without_delimiters(hex("1200ff")), hex("ff"));
    }

    #[test]
    fn walks_obus_with_extensions_and_without_a_size() {
        let unit = hex("3e08 03 aabbcc 30 0102".replace(' ', "").as_str());
        let walked: Vec<_> = obus(&unit).map(|obu| (obu.kind, obu.body.len(), obu.whole.len())).collect();
        assert_eq!(walked, [(7, 3, 6), (6, 2, 3)]);
        // A size beyond the end, a size that never ends, the forbidden bit.
        for broken in ["320aff", "32ffffffffffffffffff", "b200"] {
            assert_eq!(obus(&hex(broken)).count(), 0, "{broken}");
        }
        assert_eq!(obus(&[0x32, 0].repeat(MAX_OBUS + 1)).count(), MAX_OBUS);
    }
}
