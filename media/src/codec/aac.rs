//! MPEG-4 AAC: the AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).

mod adts;
mod layout;

pub use adts::Adts;
pub use layout::without_program_config;

use bytes::Bytes;

use super::HeaderError;
use crate::bits::BitReader;

/// Sampling frequencies by index (ISO/IEC 14496-3 table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Longest configuration accepted, in bytes; one with a program config element is far shorter.
const MAX_CONFIG: usize = 256;

/// A parsed AudioSpecificConfig.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The configuration for `esds`: as received, or with a channel configuration in place of a program config element,
    /// which browsers do not support.
    pub raw: Bytes,
    /// The audio object type as signalled: 2 for AAC-LC, 5 for SBR, 29 for parametric stereo.
    pub object_type: u8,
    /// Sampling frequency of the core decoder, in hertz; the timescale of the track.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u8,
    /// Samples per channel in one frame, at [`Config::sample_rate`]: 1 024 or 960.
    pub samples_per_frame: u32,
}

impl Config {
    /// Parses an AudioSpecificConfig.
    pub fn parse(raw: Bytes) -> Result<Self, HeaderError> {
        if raw.len() > MAX_CONFIG {
            return Err(HeaderError::Range { place: "AudioSpecificConfig", value: raw.len() as u64 });
        }
        let bytes = raw.clone();
        let mut r = BitReader::new(&bytes);
        let object_type = object_type(&mut r)?;
        let sample_rate = sampling_frequency(&mut r)?;
        let place = "AudioSpecificConfig > channelConfiguration";
        let configuration = r.bits(4, place)? as u8;
        if configuration > 7 {
            return Err(HeaderError::Range { place, value: configuration.into() });
        }
        let (mut core, mut extension_rate) = (object_type, None);
        if matches!(object_type, 5 | 29) {
            extension_rate = Some(sampling_frequency(&mut r)?);
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
        let config = Self { object_type, sample_rate, channels: channels(configuration), samples_per_frame, raw };
        if configuration > 0 {
            return Ok(config);
        }
        if r.flag("AudioSpecificConfig > dependsOnCoreCoder")? {
            r.skip(14, "AudioSpecificConfig > coreCoderDelay")?;
        }
        r.flag("AudioSpecificConfig > extensionFlag")?;
        let configuration = layout::channel_configuration(&mut r)?;
        let mut bits = Bits::default();
        bits.object_type(object_type);
        bits.rate(sample_rate);
        bits.put(4, configuration.into());
        if let Some(rate) = extension_rate {
            bits.rate(rate);
            bits.object_type(core);
        }
        // A GASpecificConfig without dependencies and extensions.
        bits.put(3, u32::from(short_frame) << 2);
        Ok(Self { channels: channels(configuration), raw: bits.bytes(), ..config })
    }

    /// Creates the configuration of a core object type (1 to 4; 2 is AAC-LC) with `channels` in their usual positions.
    pub fn new(object_type: u8, sample_rate: u32, channels: u8) -> Result<Self, HeaderError> {
        let layout = match channels {
            1..=6 => channels,
            8 => 7,
            _ => return Err(HeaderError::Unsupported { place: "aac > channels", value: channels.into() }),
        };
        if !(1..=4).contains(&object_type) {
            return Err(HeaderError::Unsupported { place: "aac > object type", value: object_type.into() });
        }
        let mut bits = Bits::default();
        bits.object_type(object_type);
        bits.rate(sample_rate);
        bits.put(4, layout.into());
        // A GASpecificConfig without dependencies and extensions.
        bits.put(3, 0);
        Self::parse(bits.bytes())
    }

    /// Creates the configuration of an [`Adts`] frame (ISO/IEC 14496-3 §1.A.3.2). If its header leaves the channels to
    /// a program config element, the frame must begin with one.
    pub fn from_adts(frame: &[u8]) -> Result<Self, HeaderError> {
        let adts = Adts::parse(frame)?;
        let configuration = match adts.channel_configuration {
            0 => layout::leading_configuration(frame.get(adts.head..).unwrap_or_default())?,
            configuration => configuration,
        };
        Self::new(adts.object_type, adts.sample_rate, channels(configuration))
    }

    /// Returns the codec parameter of RFC 6381, `mp4a.40.N`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }
}

/// Returns the number of channels of a channel configuration.
const fn channels(configuration: u8) -> u8 {
    if configuration == 7 { 8 } else { configuration }
}

/// Writer of the fields of a configuration, which have at most 120 bits.
#[derive(Default)]
struct Bits {
    value: u128,
    len: u32,
}

impl Bits {
    fn put(&mut self, n: u32, value: u32) {
        self.value = self.value << n | u128::from(value);
        self.len += n;
    }

    fn object_type(&mut self, object_type: u8) {
        match object_type {
            0..31 => self.put(5, object_type.into()),
            _ => self.put(11, 31 << 6 | u32::from(object_type.saturating_sub(32) & 0x3f)),
        }
    }

    fn rate(&mut self, rate: u32) {
        match RATES.iter().position(|known| *known == rate) {
            Some(index) => self.put(4, index as u32),
            None => self.put(28, 15 << 24 | rate & 0xff_ffff),
        }
    }

    /// Returns the bytes, with zeros after the last bit.
    fn bytes(self) -> Bytes {
        let aligned = self.value << (u128::BITS - self.len.clamp(1, u128::BITS));
        Bytes::copy_from_slice(aligned.to_be_bytes().get(..self.len.div_ceil(8) as usize).unwrap_or_default())
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
    fn builds_records_that_it_parses() {
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
        assert!(Config::from_adts(&[0xff, 0xf1, 0x7c, 0x80, 0x2e, 0x7f, 0xfc]).is_err());
    }

    impl Bits {
        fn put_all(&mut self, fields: &[(u32, u32)]) {
            fields.iter().for_each(|(n, value)| self.put(*n, *value));
        }
    }

    // ffmpeg's encoder: 48 kHz, 5.1 with side channels in an order of its own, the comment "Lavc59.37.100".
    const SIDES: &[u8] = &[
        0x11, 0x80, 0x04, 0xc8, 0x44, 0x00, 0x20, 0x00, 0xc4, 0x0d, 0x4c, 0x61, 0x76, 0x63, 0x35, 0x39, 0x2e, 0x33,
        0x37, 0x2e, 0x31, 0x30, 0x30, 0x56, 0xe5, 0x00,
    ];

    #[test]
    fn a_program_config_element_of_a_usual_layout_becomes_a_channel_configuration() {
        // Stereo after an explicit SBR header.
        let mut bits = Bits::default();
        bits.put_all(&[(5, 5), (4, 6), (4, 0), (4, 3), (5, 2), (3, 0)]);
        let pce = [(4, 0), (2, 1), (4, 6), (4, 1), (4, 0), (4, 0), (2, 0), (3, 0), (4, 0), (3, 0), (1, 1), (4, 0)];
        bits.put_all(&pce);
        let raw = [&bits.bytes()[..], &[0, 0]].concat();
        let config = Config::parse(raw.into()).unwrap();
        assert_eq!((config.object_type, config.sample_rate, config.channels), (5, 24_000, 2));
        assert_eq!(Config::parse(config.raw.clone()), Ok(config));
    }

    #[test]
    fn a_layout_of_its_own_is_refused() {
        // The low-frequency channel is signalled as a single channel at the back.
        assert!(matches!(parse(SIDES), Err(HeaderError::Unsupported { value: 6, .. })));
    }

    #[test]
    fn an_adts_frame_may_declare_its_channels_in_a_program_config_element() {
        // 5.1 in the usual order, after the three bits that identify the element.
        let mut bits = Bits::default();
        bits.put_all(&[(3, 5), (4, 0), (2, 1), (4, 3), (4, 2), (4, 1), (4, 0), (2, 1), (3, 0), (4, 0), (3, 0)]);
        bits.put_all(&[(1, 0), (4, 0), (1, 1), (4, 0), (1, 1), (4, 1), (4, 0)]);
        let element = [&bits.bytes()[..], &[1, b'x']].concat();
        let frame = [&[0xff, 0xf1, 0x4c, 0x00, 0x02, 0x7f, 0xfc], &element[..], &[0x01, 0x40]].concat();
        let config = Config::from_adts(&frame).unwrap();
        assert_eq!((config.sample_rate, config.channels, &config.raw[..]), (48_000, 6, &[0x11, 0xb0][..]));
        let raw = Bytes::copy_from_slice(&frame[7..]);
        assert_eq!(without_program_config(raw), [0x01, 0x40][..]);
        assert_eq!(without_program_config(Bytes::from_static(&[0x01, 0x40])), [0x01, 0x40][..]);
        assert!(Config::from_adts(&[0xff, 0xf1, 0x4c, 0x00, 0x02, 0x7f, 0xfc, 0x01, 0x40]).is_err());
    }

    #[test]
    fn refuses_unsupported_configurations() {
        assert!(matches!(parse(&[]), Err(HeaderError::Short { .. })));
        assert!(matches!(parse(&[0x11]), Err(HeaderError::Short { .. })));
        assert!(matches!(parse(&[0x17, 0x10]), Err(HeaderError::Range { .. })));
        assert!(matches!(parse(&[0x49, 0x90, 0]), Err(HeaderError::Unsupported { .. })));
    }
}
