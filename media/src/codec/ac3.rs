//! AC-3 and Enhanced AC-3 (ETSI TS 102 366): synchronization frames, and the `dac3` and `dec3` derived from them.

use bytes::Bytes;

use super::HeaderError;
use crate::bits::BitReader;

/// Samples per channel in an AC-3 frame: six blocks of 256.
pub const SAMPLES_PER_FRAME: u32 = 1_536;
/// First bytes of every synchronization frame.
pub const SYNC_WORD: [u8; 2] = [0x0b, 0x77];

const BLOCK: u32 = 256;
/// Number of blocks in a frame, by `numblkscod`.
const BLOCKS: [u32; 4] = [1, 2, 3, 6];
/// Sample rates by `fscod`.
const RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Bit rates in kbit/s by half of `frmsizecod` (table 4.13).
const BIT_RATES: [u32; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
/// Number of full-range channels by `acmod`.
const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
/// Most synchronization frames read in one packet: 8 independent substreams of six one-block frames, each with 8
/// dependent ones, are the most that the format allows.
const MAX_FRAMES: usize = 432;
/// Number of channels that each bit of `chan_loc` adds (table F.6.1): a pair or a single one.
const LOCATION_CHANNELS: [u8; 9] = [2, 2, 1, 1, 2, 2, 2, 1, 1];

/// Type of the substream that a synchronization frame belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Substream {
    /// An independent programme, by its number. The first is 0, and AC-3 has no other.
    Independent(u8),
    /// Further channels of the preceding [`Substream::Independent`].
    Dependent(u8),
}

/// The header of a synchronization frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether the frame is Enhanced AC-3.
    pub enhanced: bool,
    /// Substream of the frame.
    pub substream: Substream,
    /// Bytes of the whole frame.
    pub size: usize,
    /// Samples per second.
    pub sample_rate: u32,
    /// Samples per channel.
    pub samples: u32,
    /// Number of channels, the low-frequency one included.
    pub channels: u8,
    /// `fscod`.
    pub fscod: u8,
    /// `bsid`: 8 and below is AC-3, 11 to 16 Enhanced AC-3.
    pub bsid: u8,
    /// `bsmod`; 0, a complete main service, for frames that do not say it at the front.
    pub bsmod: u8,
    /// `acmod`: the full-range channels.
    pub acmod: u8,
    /// `lfeon`: whether there is a low-frequency channel.
    pub lfe: bool,
    /// Half of `frmsizecod`; AC-3 only.
    pub bit_rate_code: u8,
    /// `chanmap` of a dependent substream.
    pub channel_map: Option<u16>,
}

impl Header {
    /// Parses the header of the frame at the front of `bytes`. Ten bytes are enough for all but unusual ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut r = BitReader::new(bytes);
        let sync = r.bits(16, "syncframe > syncword")?;
        if sync != u32::from(u16::from_be_bytes(SYNC_WORD)) {
            return Err(HeaderError::Range { place: "syncframe > syncword", value: sync.into() });
        }
        // Both formats have `bsid` at the same position.
        let bsid = *bytes.get(5).ok_or(HeaderError::Short { place: "syncframe > bsid", bit: bytes.len() * 8 })? >> 3;
        match bsid {
            0..=8 => Self::basic(r, bsid),
            11..=16 => Self::enhanced(r, bsid),
            other => Err(HeaderError::Unsupported { place: "syncframe > bsid", value: other.into() }),
        }
    }

    fn basic(mut r: BitReader<'_>, bsid: u8) -> Result<Self, HeaderError> {
        r.skip(16, "syncframe > crc1")?;
        let fscod = r.bits(2, "syncframe > fscod")? as u8;
        let size_code = r.bits(6, "syncframe > frmsizecod")?;
        r.skip(5, "syncframe > bsid")?;
        let bsmod = r.bits(3, "syncframe > bsmod")? as u8;
        let acmod = r.bits(3, "syncframe > acmod")? as u8;
        // Mix levels of a centre channel and of surround channels, and the mode of plain stereo.
        let levels = usize::from(acmod & 1 != 0 && acmod != 1) + usize::from(acmod & 4 != 0) + usize::from(acmod == 2);
        r.skip(levels * 2, "syncframe > cmixlev")?;
        let lfe = r.flag("syncframe > lfeon")?;
        let sample_rate = rate(fscod)?;
        let kilobits = *BIT_RATES
            .get(size_code as usize / 2)
            .ok_or(HeaderError::Range { place: "syncframe > frmsizecod", value: size_code.into() })?;
        let words = match fscod {
            0 => kilobits * 2,
            // The rate does not divide, so odd codes have one word more.
            1 => kilobits * 320 / 147 + size_code % 2,
            _ => kilobits * 3,
        };
        Ok(Self {
            enhanced: false,
            substream: Substream::Independent(0),
            size: words as usize * 2,
            sample_rate,
            samples: SAMPLES_PER_FRAME,
            channels: channels(acmod, lfe),
            fscod,
            bsid,
            bsmod,
            acmod,
            lfe,
            bit_rate_code: (size_code / 2) as u8,
            channel_map: None,
        })
    }

    fn enhanced(mut r: BitReader<'_>, bsid: u8) -> Result<Self, HeaderError> {
        let kind = r.bits(2, "syncframe > strmtyp")?;
        let id = r.bits(3, "syncframe > substreamid")? as u8;
        let size = (r.bits(11, "syncframe > frmsiz")? as usize + 1) * 2;
        let fscod = r.bits(2, "syncframe > fscod")? as u8;
        let code = r.bits(2, "syncframe > numblkscod")? as u8;
        // `fscod` 3 halves the rate in the field for the blocks, of which there are then six.
        let (sample_rate, blocks) = if fscod == 3 { (rate(code)? / 2, 3) } else { (rate(fscod)?, usize::from(code)) };
        let acmod = r.bits(3, "syncframe > acmod")? as u8;
        let lfe = r.flag("syncframe > lfeon")?;
        r.skip(5, "syncframe > bsid")?;
        let substream = match kind {
            0 | 2 => Substream::Independent(id),
            1 => Substream::Dependent(id),
            other => return Err(HeaderError::Range { place: "syncframe > strmtyp", value: other.into() }),
        };
        let channel_map = if kind == 1 { channel_map(&mut r, acmod)? } else { None };
        Ok(Self {
            enhanced: true,
            substream,
            size,
            sample_rate,
            samples: BLOCKS.get(blocks).copied().unwrap_or(1) * BLOCK,
            channels: channels(acmod, lfe),
            fscod,
            bsid,
            bsmod: 0,
            acmod,
            lfe,
            bit_rate_code: 0,
            channel_map,
        })
    }

    /// Returns whether a new access unit begins: at each frame of the first independent substream.
    pub fn starts_access_unit(&self) -> bool {
        self.substream == Substream::Independent(0)
    }
}

fn rate(fscod: u8) -> Result<u32, HeaderError> {
    let place = "syncframe > fscod";
    RATES.get(usize::from(fscod)).copied().ok_or(HeaderError::Range { place, value: fscod.into() })
}

fn channels(acmod: u8, lfe: bool) -> u8 {
    CHANNELS.get(usize::from(acmod)).copied().unwrap_or(0) + u8::from(lfe)
}

/// Skips the dialogue levels and reads the channel map of a dependent substream.
fn channel_map(r: &mut BitReader<'_>, acmod: u8) -> Result<Option<u16>, HeaderError> {
    // Two single channels have one level each.
    for _ in 0..if acmod == 0 { 2 } else { 1 } {
        r.skip(5, "syncframe > dialnorm")?;
        if r.flag("syncframe > compre")? {
            r.skip(8, "syncframe > compr")?;
        }
    }
    let has_map = r.flag("syncframe > chanmape")?;
    Ok(if has_map { Some(r.bits(16, "syncframe > chanmap")? as u16) } else { None })
}

/// Returns the complete synchronization frames at the front of `bytes`; stops at the first that is damaged or
/// truncated.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = Header::parse(rest).ok()?;
        let (frame, tail) = rest.split_at_checked(header.size)?;
        rest = tail;
        Some((header, frame))
    })
    .take(MAX_FRAMES)
}

/// Returns the samples per channel in one or more access units.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let samples =
        frames(packet).filter(|(header, _)| header.starts_access_unit()).map(|(header, _)| header.samples).sum();
    Some(samples).filter(|samples| *samples > 0)
}

/// Configuration of an AC-3 stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The body of `dac3`.
    pub record: Bytes,
    /// Samples per second.
    pub sample_rate: u32,
    /// Number of channels, the low-frequency one included.
    pub channels: u8,
}

impl Config {
    /// Derives the configuration from a frame.
    pub fn from_frame(frame: &[u8]) -> Result<Self, HeaderError> {
        let header = Header::parse(frame)?;
        if header.enhanced {
            return Err(HeaderError::Unsupported { place: "ac3 > syncframe > bsid", value: header.bsid.into() });
        }
        let Header { fscod, bsid, bsmod, acmod, lfe, bit_rate_code, .. } = header;
        let bits = u32::from(fscod) << 22
            | u32::from(bsid) << 17
            | u32::from(bsmod) << 14
            | u32::from(acmod) << 11
            | u32::from(lfe) << 10
            | u32::from(bit_rate_code) << 5;
        let [_, record @ ..] = bits.to_be_bytes();
        Ok(Self { record: Bytes::copy_from_slice(&record), sample_rate: header.sample_rate, channels: header.channels })
    }
}

/// Configuration of an Enhanced AC-3 stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnhancedConfig {
    /// The body of `dec3`.
    pub record: Bytes,
    /// Samples per second.
    pub sample_rate: u32,
    /// Number of channels of the first programme, its dependent substreams included.
    pub channels: u8,
    /// Samples per channel in an access unit.
    pub samples_per_frame: u32,
}

/// An independent substream and its dependent ones, as `dec3` describes them.
struct Programme {
    header: Header,
    dependents: u8,
    locations: u16,
}

impl EnhancedConfig {
    /// Derives the configuration from one access unit: all frames of the same time.
    pub fn from_access_unit(unit: &[u8]) -> Result<Self, HeaderError> {
        let mut programmes: Vec<Programme> = Vec::new();
        let mut bytes = 0;
        for (header, frame) in frames(unit) {
            bytes += frame.len();
            match header.substream {
                Substream::Independent(id) if usize::from(id) == programmes.len() => {
                    programmes.push(Programme { header, dependents: 0, locations: 0 });
                }
                // More frames of a known programme.
                Substream::Independent(_) => {}
                Substream::Dependent(id) => {
                    if let Some(last) = programmes.last_mut() {
                        last.dependents = last.dependents.max(id + 1);
                        last.locations |= header.channel_map.map_or(0, locations);
                    }
                }
            }
        }
        let Some(Programme { header, locations, .. }) = programmes.first() else {
            // Returns the error of the first frame.
            let header = Header::parse(unit)?;
            return Err(HeaderError::Short { place: "ec3 > syncframe", bit: header.size.min(unit.len()) * 8 });
        };
        if !header.enhanced {
            return Err(HeaderError::Unsupported { place: "ec3 > syncframe > bsid", value: header.bsid.into() });
        }
        let samples = packet_samples(unit).unwrap_or(header.samples);
        let added: u8 =
            LOCATION_CHANNELS.iter().enumerate().filter(|(bit, _)| locations >> bit & 1 == 1).map(|(_, n)| *n).sum();
        Ok(Self {
            record: record(&programmes, bytes as u64 * 8 * u64::from(header.sample_rate) / u64::from(samples) / 1_000),
            sample_rate: header.sample_rate,
            channels: header.channels + added,
            samples_per_frame: samples,
        })
    }
}

/// Returns `chan_loc` of a channel map, whose bits count from the highest: the fifth to the twelfth, and the second
/// low-frequency channel.
const fn locations(map: u16) -> u16 {
    (map << 5).reverse_bits() & 0xff | (map >> 1 & 1) << 8
}

fn record(programmes: &[Programme], kilobits: u64) -> Bytes {
    let rate = kilobits.min(0x1fff) as u16;
    let mut out = Vec::with_capacity(2 + programmes.len() * 4);
    out.extend((rate << 3 | programmes.len().saturating_sub(1) as u16 & 7).to_be_bytes());
    for Programme { header, dependents, locations } in programmes {
        out.push(header.fscod << 6 | header.bsid << 1);
        out.push(header.bsmod << 4 | header.acmod << 1 | u8::from(header.lfe));
        if *dependents > 0 {
            out.extend((u16::from(*dependents) << 9 | locations).to_be_bytes());
        } else {
            out.push(0);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::hex;

    /// Returns a frame with the length that its header declares.
    fn whole(head: &str) -> Vec<u8> {
        let mut frame = hex(head).to_vec();
        frame.resize(Header::parse(&frame).unwrap().size, 0);
        frame
    }

    #[test]
    fn reads_ac3() {
        // ffmpeg, 5.1 at 384 kbit/s, and the box that it writes for it.
        let frame = hex("0b771e8b1c40ebf8403e");
        let header = Header::parse(&frame).unwrap();
        assert_eq!((header.size, header.sample_rate, header.channels, header.samples), (1_536, 48_000, 6, 1_536));
        let config = Config::from_frame(&frame).unwrap();
        assert_eq!((config.record, config.channels), (hex("103dc0"), 6));
        // 44.1 kHz: frames of two lengths.
        let odd = Header::parse(&hex("0b77d80e544043e106f5")).unwrap();
        assert_eq!((odd.size, odd.sample_rate, odd.channels), (834, 44_100, 2));
        let odd = Header::parse(&hex("0b77d80e554043e106f5")).unwrap();
        assert_eq!(odd.size, 836);
    }

    #[test]
    fn reads_enhanced_ac3() {
        let frame = whole("0b7702ff3f87c0002080");
        let config = EnhancedConfig::from_access_unit(&frame).unwrap();
        assert_eq!(config.record, hex("0c00200f00"));
        assert_eq!((config.sample_rate, config.channels, config.samples_per_frame), (48_000, 6, 1_536));
        assert_eq!(packet_samples(&frame.repeat(2)), Some(3_072));
        assert!(Config::from_frame(&frame).is_err());
        assert!(EnhancedConfig::from_access_unit(&frame[..99]).is_err());
        assert!(EnhancedConfig::from_access_unit(&[]).is_err());
    }

    #[test]
    fn dependent_substreams_add_their_channels() {
        let first = whole("0b7702ff3f87c0002080");
        // A dependent substream of 32 bytes, whose map has the rear pair.
        let second = whole("0b77400f3480102000");
        assert_eq!(Header::parse(&second).unwrap().substream, Substream::Dependent(0));
        let unit = [first, second].concat();
        let config = EnhancedConfig::from_access_unit(&unit).unwrap();
        assert_eq!((config.channels, config.samples_per_frame), (8, 1_536));
        assert_eq!(config.record, hex("0c40200f0202"));
        assert_eq!(packet_samples(&unit), Some(1_536));
    }

    #[test]
    fn channel_maps_become_locations() {
        // Bits of the map count from the highest: 5 is the pair next to the centre, 6 the rear pair, 14 the second
        // low-frequency channel.
        assert_eq!(locations(0x8000 >> 5), 1);
        assert_eq!(locations(0x8000 >> 6), 2);
        assert_eq!(locations(0x8000 >> 12), 0x80);
        assert_eq!(locations(0x8000 >> 14), 0x100);
        assert_eq!(locations(0xf800), 0);
    }

    #[test]
    fn refuses_unknown_formats() {
        assert!(Header::parse(&hex("0b78")).is_err(), "no sync word");
        assert!(Header::parse(&hex("0b771e8b1c")).is_err(), "cut");
        assert!(Header::parse(&hex("0b771e8b1c48ebf8")).is_err(), "bsid 9");
        assert!(Header::parse(&hex("0b771e8bdc40ebf8")).is_err(), "a reserved rate");
        assert!(Header::parse(&hex("0b771e8b2640ebf8")).is_err(), "a reserved size");
        assert!(Header::parse(&hex("0b77c2ff3f87c000")).is_err(), "a reserved stream type");
    }
}
