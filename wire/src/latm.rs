//! AAC in LATM (ISO/IEC 14496-3 §1.7.3): the elements in LOAS frames, with one programme of one layer.

use bytes::{BufMut, Bytes, BytesMut};
use media::bits::BitReader;
use media::codec::{HeaderError, aac};

/// Bits of a byte.
const BYTE: usize = 8;

/// Reader of the elements of one stream, which share a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    mux: Option<Mux>,
}

/// A `StreamMuxConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mux {
    config: aac::Config,
    /// Frames per element.
    frames: u32,
    /// Number of bits of other data after the frames.
    other: usize,
}

impl Reader {
    /// Returns the configuration in force.
    pub(crate) fn config(&self) -> Option<&aac::Config> {
        self.mux.as_ref().map(|mux| &mux.config)
    }

    /// Reads an `AudioMuxElement`, which may contain a new configuration, and passes its frames to `out`.
    ///
    /// Frames before the first configuration are skipped.
    pub(crate) fn read(&mut self, element: &[u8], out: &mut impl FnMut(Bytes)) -> Result<(), HeaderError> {
        let mut r = BitReader::new(element);
        if !r.flag("AudioMuxElement > useSameStreamMux")? {
            let mux = mux(&mut r, element)?;
            if self.mux.as_ref() != Some(&mux) {
                self.mux = Some(mux);
            }
        }
        let Some(mux) = &self.mux else { return Ok(()) };
        for _ in 0..mux.frames {
            let mut length = 0usize;
            loop {
                let more = r.bits(8, "AudioMuxElement > MuxSlotLengthBytes")?;
                length += more as usize;
                if more < 255 {
                    break;
                }
            }
            let from = r.position();
            r.skip(length * BYTE, "AudioMuxElement > PayloadMux")?;
            if length > 0 {
                out(copy_bits(element, from, length * BYTE));
            }
        }
        r.skip(mux.other, "AudioMuxElement > otherDataBit")
    }
}

/// Reads a `StreamMuxConfig`.
fn mux(r: &mut BitReader<'_>, element: &[u8]) -> Result<Mux, HeaderError> {
    let only = |place, wanted: u32, value: u32| {
        if value == wanted { Ok(()) } else { Err(HeaderError::Unsupported { place, value: value.into() }) }
    };
    let version = r.bits(1, "StreamMuxConfig > audioMuxVersion")?;
    if version == 1 {
        only("StreamMuxConfig > audioMuxVersionA", 0, r.bits(1, "StreamMuxConfig > audioMuxVersionA")?)?;
        value(r)?;
    }
    only("StreamMuxConfig > allStreamsSameTimeFraming", 1, r.bits(1, "StreamMuxConfig > allStreamsSameTimeFraming")?)?;
    let frames = r.bits(6, "StreamMuxConfig > numSubFrames")? + 1;
    only("StreamMuxConfig > numProgram", 0, r.bits(4, "StreamMuxConfig > numProgram")?)?;
    only("StreamMuxConfig > numLayer", 0, r.bits(3, "StreamMuxConfig > numLayer")?)?;
    let length = if version == 1 { Some(value(r)? as usize) } else { None };
    let from = r.position();
    let length = match length {
        Some(length) => length,
        None => specific_config(&mut r.clone())?.saturating_sub(from),
    };
    r.skip(length, "StreamMuxConfig > AudioSpecificConfig")?;
    let config = aac::Config::parse(copy_bits(element, from, length))?;
    only("StreamMuxConfig > frameLengthType", 0, r.bits(3, "StreamMuxConfig > frameLengthType")?)?;
    r.skip(8, "StreamMuxConfig > latmBufferFullness")?;
    let mut other = 0usize;
    if r.flag("StreamMuxConfig > otherDataPresent")? {
        if version == 1 {
            other = value(r)? as usize;
        } else {
            loop {
                let more = r.flag("StreamMuxConfig > otherDataLenEsc")?;
                other = other << 8 & 0xff_ffff | r.bits(8, "StreamMuxConfig > otherDataLenTmp")? as usize;
                if !more {
                    break;
                }
            }
        }
    }
    if r.flag("StreamMuxConfig > crcCheckPresent")? {
        r.skip(8, "StreamMuxConfig > crcCheckSum")?;
    }
    Ok(Mux { config, frames, other })
}

/// Reads a number of one to four bytes (`LatmGetValue`).
fn value(r: &mut BitReader<'_>) -> Result<u32, HeaderError> {
    let bytes = r.bits(2, "LatmGetValue > bytesForValue")? + 1;
    r.bits(bytes * 8, "LatmGetValue > valueTmp")
}

/// Skips an AudioSpecificConfig whose length is not signalled; returns the bit position of its end.
fn specific_config(r: &mut BitReader<'_>) -> Result<usize, HeaderError> {
    let place = "StreamMuxConfig > AudioSpecificConfig";
    let rate = |r: &mut BitReader<'_>| match r.bits(4, place)? {
        15 => r.skip(24, place),
        _ => Ok(()),
    };
    let mut kind = r.bits(5, place)?;
    rate(r)?;
    let channels = r.bits(4, place)?;
    if matches!(kind, 5 | 29) {
        rate(r)?;
        kind = r.bits(5, place)?;
    }
    // Other object types and a program config element have other fields here.
    if !(1..=4).contains(&kind) || channels == 0 {
        return Err(HeaderError::Unsupported { place, value: kind.into() });
    }
    r.skip(1, place)?;
    if r.flag(place)? {
        r.skip(14, place)?;
    }
    r.skip(1, place)?;
    Ok(r.position())
}

/// Copies `len` bits of `bytes` from bit `from` to the front of a new buffer; zeros fill the last byte.
fn copy_bits(bytes: &[u8], from: usize, len: usize) -> Bytes {
    let (shift, count) = (from % BYTE, len.div_ceil(BYTE));
    let source = bytes.get(from / BYTE..).unwrap_or_default();
    let mut out = BytesMut::with_capacity(count);
    let next = source.iter().skip(1).copied().chain(std::iter::once(0));
    for (byte, next) in source.iter().zip(next).take(count) {
        let both = u16::from_be_bytes([*byte, next]) << shift;
        out.put_u8((both >> BYTE) as u8);
    }
    if let (Some(last), tail @ 1..) = (out.last_mut(), len % BYTE) {
        *last &= 0xff << (BYTE - tail);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writer of bit fields.
    #[derive(Default)]
    struct Bits(Vec<bool>);

    impl Bits {
        fn put(mut self, n: u32, value: u32) -> Self {
            self.0.extend((0..n).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn bytes(self) -> Vec<u8> {
            self.0.chunks(8).map(|c| c.iter().enumerate().fold(0, |n, (i, b)| n | u8::from(*b) << (7 - i))).collect()
        }
    }

    /// AAC-LC, 48 kHz, stereo, with `frames` frames per element.
    fn config(frames: u32) -> Bits {
        Bits::default()
            .put(1, 0)
            .put(1, 0)
            .put(1, 1)
            .put(6, frames - 1)
            .put(4, 0)
            .put(3, 0)
            .put(16, 0x1190)
            .put(3, 0)
            .put(8, 0xff)
            .put(1, 0)
            .put(1, 0)
    }

    fn read(reader: &mut Reader, element: &[u8]) -> Result<Vec<Vec<u8>>, HeaderError> {
        let mut frames = Vec::new();
        reader.read(element, &mut |frame| frames.push(frame.to_vec()))?;
        Ok(frames)
    }

    #[test]
    fn frames_come_out_of_their_bits() {
        let mut reader = Reader::default();
        let again = Bits::default().put(1, 1).put(8, 1).put(8, 0x5a).bytes();
        assert_eq!(read(&mut reader, &again), Ok(vec![]), "no configuration yet");
        let first = config(2).put(8, 3).put(24, 0x21_1704).put(8, 1).put(8, 0x77).bytes();
        assert_eq!(read(&mut reader, &first), Ok(vec![vec![0x21, 0x17, 0x04], vec![0x77]]));
        assert_eq!(reader.config().unwrap().raw[..], [0x11, 0x90]);
        let one = config(1).put(8, 1).put(8, 9).bytes();
        assert_eq!(read(&mut reader, &one), Ok(vec![vec![9]]));
        assert_eq!(read(&mut reader, &again), Ok(vec![vec![0x5a]]));
    }

    #[test]
    fn long_frames_and_version_1() {
        let mut reader = Reader::default();
        let mut long = Bits::default()
            .put(1, 0)
            .put(2, 2)
            .put(2, 0)
            .put(8, 0xff)
            .put(1, 1)
            .put(6, 0)
            .put(7, 0)
            .put(2, 0)
            .put(8, 16)
            .put(16, 0x1210)
            .put(3, 0)
            .put(8, 0)
            .put(1, 0)
            .put(1, 1)
            .put(8, 0xaa)
            .put(8, 255)
            .put(8, 2);
        for n in 0..257 {
            long = long.put(8, n & 0xff);
        }
        let frames = read(&mut reader, &long.bytes()).unwrap();
        assert_eq!(frames, [(0..257u32).map(|n| n as u8).collect::<Vec<_>>()]);
        assert_eq!(reader.config().unwrap().sample_rate, 44_100);
    }

    #[test]
    fn every_shorter_element_is_an_error() {
        let element = config(1).put(8, 3).put(24, 0x21_1704).bytes();
        for len in 0..element.len() - 1 {
            assert!(read(&mut Reader::default(), &element[..len]).is_err(), "{len} bytes");
        }
        let two = Bits::default().put(1, 0).put(1, 0).put(1, 1).put(6, 0).put(4, 1).put(32, 0).put(32, 0).bytes();
        assert!(matches!(read(&mut Reader::default(), &two), Err(HeaderError::Unsupported { .. })));
    }
}
