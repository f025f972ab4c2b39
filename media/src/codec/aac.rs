//! MPEG-4 AAC: the AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).

use bytes::Bytes;

use super::HeaderError;
use crate::bits::BitReader;

/// Sampling frequencies by index (ISO/IEC 14496-3 table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Largest configuration accepted, in bytes; one with a program config element stays far below.
const MAX_CONFIG: usize = 256;

/// An AudioSpecificConfig and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The configuration as it came, for `esds`.
    pub raw: Bytes,
    /// The audio object type as signalled: 2 for AAC-LC, 5 for SBR, 29 for parametric stereo.
    pub object_type: u8,
    /// Sampling frequency of the core decoder, in hertz; the timescale of the track.
    pub sample_rate: u32,
    /// Channels; 0 where a program config element defines them.
    pub channels: u8,
    /// Samples of each channel in one frame, at `sample_rate`: 1 024 or 960.
    pub samples_per_frame: u32,
}

impl Config {
    /// Parses an AudioSpecificConfig.
    pub fn parse(raw: Bytes) -> Result<Self, HeaderError> {
        if raw.len() > MAX_CONFIG {
            return Err(HeaderError::Range { place: "AudioSpecificConfig", value: raw.len() as u64 });
        }
        let mut r = BitReader::new(&raw);
        let object_type = object_type(&mut r)?;
        let sample_rate = sampling_frequency(&mut r)?;
        let channels = match r.bits(4, "AudioSpecificConfig > channelConfiguration")? as u8 {
            7 => 8,
            n if n < 7 => n,
            n => {
                return Err(HeaderError::Range {
                    place: "AudioSpecificConfig > channelConfiguration",
                    value: n.into(),
                });
            }
        };
        let mut core = object_type;
        if matches!(object_type, 5 | 29) {
            sampling_frequency(&mut r)?;
            core = self::object_type(&mut r)?;
        }
        if !(1..=4).contains(&core) {
            return Err(HeaderError::Unsupported {
                place: "AudioSpecificConfig > audioObjectType",
                value: core.into(),
            });
        }
        let short_frame = r.flag("AudioSpecificConfig > frameLengthFlag")?;
        let samples_per_frame = if short_frame { 960 } else { 1_024 };
        Ok(Self { object_type, sample_rate, channels, samples_per_frame, raw })
    }

    /// Builds the configuration of a core object type (1 to 4; 2 is AAC-LC) with `channels` in their usual places.
    pub fn new(object_type: u8, sample_rate: u32, channels: u8) -> Result<Self, HeaderError> {
        let layout = match channels {
            1..=6 => channels,
            8 => 7,
            _ => return Err(HeaderError::Unsupported { place: "aac > channels", value: channels.into() }),
        };
        if !(1..=4).contains(&object_type) {
            return Err(HeaderError::Unsupported { place: "aac > object type", value: object_type.into() });
        }
        // Left-aligned in 40 bits: object type, sampling frequency, channels, then a GASpecificConfig of three zeros.
        let index = RATES.iter().position(|rate| *rate == sample_rate);
        let (bits, len) = match index {
            Some(index) => (u64::from(object_type) << 35 | (index as u64) << 31 | u64::from(layout) << 27, 2),
            None => {
                let rate = u64::from(sample_rate & 0xff_ffff);
                (u64::from(object_type) << 35 | 15 << 31 | rate << 7 | u64::from(layout) << 3, 5)
            }
        };
        Self::parse(Bytes::copy_from_slice(bits.to_be_bytes().get(3..3 + len).unwrap_or_default()))
    }

    /// Builds the configuration that an ADTS header stands for (ISO/IEC 14496-3 §1.A.3.2).
    pub fn from_adts(header: &[u8]) -> Result<Self, HeaderError> {
        let mut r = BitReader::new(header);
        let sync = r.bits(12, "adts > syncword")?;
        if sync != 0xfff {
            return Err(HeaderError::Range { place: "adts > syncword", value: sync.into() });
        }
        r.skip(4, "adts > ID")?;
        let object_type = r.bits(2, "adts > profile_ObjectType")? as u8 + 1;
        let place = "adts > sampling_frequency_index";
        let index = r.bits(4, place)?;
        let rate = *RATES.get(index as usize).ok_or(HeaderError::Range { place, value: index.into() })?;
        r.skip(1, "adts > private_bit")?;
        let channels = match r.bits(3, "adts > channel_configuration")? as u8 {
            7 => 8,
            n => n,
        };
        Self::new(object_type, rate, channels)
    }

    /// The codec parameter of RFC 6381, `mp4a.40.N`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }
}

fn object_type(r: &mut BitReader<'_>) -> Result<u8, HeaderError> {
    let short = r.bits(5, "AudioSpecificConfig > audioObjectType")?;
    let long = if short == 31 { 32 + r.bits(6, "AudioSpecificConfig > audioObjectTypeExt")? } else { short };
    Ok(long as u8)
}

fn sampling_frequency(r: &mut BitReader<'_>) -> Result<u32, HeaderError> {
    let place = "AudioSpecificConfig > samplingFrequency";
    let rate = match r.bits(4, place)? {
        15 => r.bits(24, place)?,
        index => *RATES.get(index as usize).ok_or(HeaderError::Range { place, value: index.into() })?,
    };
    if (7_350..=192_000).contains(&rate) { Ok(rate) } else { Err(HeaderError::Range { place, value: rate.into() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &'static [u8]) -> Result<Config, HeaderError> {
        Config::parse(Bytes::from_static(bytes))
    }

    #[test]
    fn reads_the_usual_ones() {
        let lc = parse(&[0x11, 0x90]).unwrap();
        assert_eq!((lc.object_type, lc.sample_rate, lc.channels, lc.samples_per_frame), (2, 48_000, 2, 1_024));
        assert_eq!(lc.codec_string(), "mp4a.40.2");
        let lc = parse(&[0x12, 0x10, 0x56, 0xe5, 0x00]).unwrap();
        assert_eq!((lc.object_type, lc.sample_rate, lc.channels), (2, 44_100, 2));
        let he = parse(&[0x2b, 0x8a, 0x08, 0x00]).unwrap();
        assert_eq!((he.object_type, he.sample_rate, he.codec_string().as_str()), (5, 22_050, "mp4a.40.5"));
    }

    #[test]
    fn builds_what_it_parses() {
        let lc = Config::new(2, 48_000, 2).unwrap();
        assert_eq!(&lc.raw[..], [0x11, 0x90]);
        let odd = Config::new(2, 44_000, 8).unwrap();
        assert_eq!((odd.raw.len(), odd.sample_rate, odd.channels), (5, 44_000, 8));
        assert!(matches!(Config::new(2, 48_000, 7), Err(HeaderError::Unsupported { .. })));
        assert!(matches!(Config::new(5, 48_000, 2), Err(HeaderError::Unsupported { .. })));
        assert!(matches!(Config::new(2, 300_000, 2), Err(HeaderError::Range { .. })));
    }

    #[test]
    fn reads_adts() {
        // ffmpeg, 44.1 kHz stereo, no checksum.
        let config = Config::from_adts(&[0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc]).unwrap();
        assert_eq!((config.object_type, config.sample_rate, config.channels), (2, 44_100, 2));
        assert_eq!(&config.raw[..], [0x12, 0x10]);
        assert!(Config::from_adts(&[0xff, 0xe1, 0x50, 0x80]).is_err());
        assert!(Config::from_adts(&[0xff, 0xf1, 0x50]).is_err());
        assert!(Config::from_adts(&[0xff, 0xf1, 0x7c, 0x80]).is_err());
    }

    #[test]
    fn refuses_what_it_cannot_carry() {
        assert!(matches!(parse(&[]), Err(HeaderError::Short { .. })));
        assert!(matches!(parse(&[0x11]), Err(HeaderError::Short { .. })));
        assert!(matches!(parse(&[0x17, 0x10]), Err(HeaderError::Range { .. })));
        assert!(matches!(parse(&[0x49, 0x90, 0]), Err(HeaderError::Unsupported { .. })));
    }
}
