//! VP9: the codec configuration record (VP Codec ISO Media File Format Binding, version 1) and the uncompressed header
//! of a frame (VP9 bitstream specification §6.2).

use bytes::Bytes;

use super::{Colour, HeaderError};
use crate::bits::BitReader;

/// `frame_sync_code` of a key frame.
const SYNC_CODE: u32 = 0x49_83_42;
/// `color_space` of RGB, which has no subsampling.
const CS_RGB: u32 = 7;
/// Colour descriptions by `color_space`: unknown, BT.601, BT.709, SMPTE 170, SMPTE 240, BT.2020, reserved and sRGB.
const SPACES: [(u8, u8, u8); 8] =
    [(2, 2, 2), (6, 6, 6), (1, 1, 1), (6, 6, 6), (7, 7, 7), (9, 14, 9), (2, 2, 2), (1, 13, 0)];
/// Levels, each with the most luma samples of a frame that it allows.
const LEVELS: [(u32, u8); 9] = [
    (36_864, 10),
    (73_728, 11),
    (122_880, 20),
    (245_760, 21),
    (552_960, 30),
    (983_040, 31),
    (2_228_224, 40),
    (8_912_896, 50),
    (u32::MAX, 60),
];
/// Luma samples assumed before a key frame declares the size: 1080p.
const USUAL_FRAME_SIZE: u32 = 1_920 * 1_080;

/// A parsed codec configuration record, and the frame size, which the record omits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The body of `vpcC` after its version and flags.
    pub record: Bytes,
    /// Profile, 0 to 3.
    pub profile: u8,
    /// Ten times the level; 0 if the encoder does not declare it.
    pub level: u8,
    /// Bits per sample.
    pub bit_depth: u8,
    /// Chroma subsampling: 0 and 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
    pub chroma_subsampling: u8,
    /// Colour description.
    pub colour: Colour,
    /// Width and height, once a key frame has declared them; see [`Config::changed_by`].
    pub size: Option<(u32, u32)>,
}

impl Config {
    /// Parses a `VPCodecConfigurationRecord`, with or without the version and flags of its box.
    pub fn parse(record: Bytes) -> Result<Self, HeaderError> {
        // A record that begins with these four bytes would have samples of zero bits.
        let record = if record.starts_with(&[1, 0, 0, 0]) { record.slice(4..) } else { record };
        let mut r = BitReader::new(&record);
        let profile = ranged(&mut r, 8, 0..=3, "vpcC > profile")?;
        let level = ranged(&mut r, 8, 0..=62, "vpcC > level")?;
        let bit_depth = ranged(&mut r, 4, 8..=12, "vpcC > bitDepth")?;
        let chroma_subsampling = ranged(&mut r, 3, 0..=3, "vpcC > chromaSubsampling")?;
        let full_range = r.flag("vpcC > videoFullRangeFlag")?;
        let primaries = r.bits(8, "vpcC > colourPrimaries")? as u8;
        let transfer = r.bits(8, "vpcC > transferCharacteristics")? as u8;
        let matrix = r.bits(8, "vpcC > matrixCoefficients")? as u8;
        // VP9 has no initialization data.
        ranged(&mut r, 16, 0..=0, "vpcC > codecInitializationDataSize")?;
        let record = record.slice(..r.position() / 8);
        let colour = Colour { primaries, transfer, matrix, full_range };
        Ok(Self { record, profile, level, bit_depth, chroma_subsampling, colour, size: None })
    }

    /// Derives the configuration from a key frame, for transports that send no record.
    pub fn from_key_frame(frame: &[u8]) -> Result<Self, HeaderError> {
        let header = FrameHeader::parse(frame)?;
        let Some(format) = header.format else {
            return Err(HeaderError::Unsupported { place: "vp9 > frame_type", value: 1 });
        };
        let FrameFormat { width, height, bit_depth, chroma_subsampling, colour } = format;
        let level = level(width.saturating_mul(height));
        let sampling = bit_depth << 4 | chroma_subsampling << 1 | u8::from(colour.full_range);
        let record = [header.profile, level, sampling, colour.primaries, colour.transfer, colour.matrix, 0, 0];
        Ok(Self {
            record: Bytes::copy_from_slice(&record),
            profile: header.profile,
            level,
            bit_depth,
            chroma_subsampling,
            colour,
            size: Some((width, height)),
        })
    }

    /// Returns the configuration with the size of a key frame; `None` for other frames, and if the size is the same.
    pub fn changed_by(&self, frame: &[u8]) -> Option<Self> {
        let format = FrameHeader::parse(frame).ok()?.format?;
        let size = Some((format.width, format.height));
        (size != self.size).then(|| Self { size, ..self.clone() })
    }

    /// Returns the codec parameter: `vp09.00.31.08`, with the colours if they are not the usual ones.
    pub fn codec_string(&self) -> String {
        let Colour { primaries, transfer, matrix, full_range } = self.colour;
        // Players refuse level 0; the level of the frame size is the best guess.
        let level = match (self.level, self.size) {
            (0, Some((width, height))) => level(width.saturating_mul(height)),
            (0, None) => level(USUAL_FRAME_SIZE),
            (declared, _) => declared,
        };
        let mut out = format!("vp09.{:02}.{level:02}.{:02}", self.profile, self.bit_depth);
        let usual = (self.chroma_subsampling <= 1 && !full_range)
            && (!self.colour.is_specified() || (primaries, transfer, matrix) == (1, 1, 1));
        if !usual {
            let (chroma, full) = (self.chroma_subsampling, u8::from(full_range));
            out.push_str(&format!(".{chroma:02}.{primaries:02}.{transfer:02}.{matrix:02}.{full:02}"));
        }
        out
    }
}

fn level(samples: u32) -> u8 {
    LEVELS.iter().find(|(most, _)| samples <= *most).map_or(60, |(_, level)| *level)
}

fn ranged(
    r: &mut BitReader<'_>,
    bits: u32,
    range: std::ops::RangeInclusive<u32>,
    place: &'static str,
) -> Result<u8, HeaderError> {
    let value = r.bits(bits, place)?;
    if range.contains(&value) { Ok(value as u8) } else { Err(HeaderError::Range { place, value: value.into() }) }
}

/// The part of an uncompressed header that Weir uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Profile, 0 to 3.
    pub profile: u8,
    /// Whether the frame is a key frame.
    pub key: bool,
    /// [`FrameFormat`] of a key frame; `None` for other frames.
    pub format: Option<FrameFormat>,
}

/// Format that a key frame declares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameFormat {
    /// Coded width.
    pub width: u32,
    /// Coded height.
    pub height: u32,
    /// Bits per sample.
    pub bit_depth: u8,
    /// Chroma subsampling in the numbers of `vpcC`.
    pub chroma_subsampling: u8,
    /// [`Colour`] description, as far as the colour space defines it.
    pub colour: Colour,
}

impl FrameHeader {
    /// Parses the header of a frame, or of the first frame in a superframe.
    pub fn parse(frame: &[u8]) -> Result<Self, HeaderError> {
        let mut r = BitReader::new(frame);
        ranged(&mut r, 2, 2..=2, "vp9 > frame_marker")?;
        let low = r.bits(1, "vp9 > profile_low_bit")? as u8;
        let profile = (r.bits(1, "vp9 > profile_high_bit")? as u8) << 1 | low;
        if profile == 3 {
            r.skip(1, "vp9 > reserved_zero")?;
        }
        if r.flag("vp9 > show_existing_frame")? || r.flag("vp9 > frame_type")? {
            return Ok(Self { profile, key: false, format: None });
        }
        r.skip(2, "vp9 > show_frame")?;
        let sync = r.bits(24, "vp9 > frame_sync_code")?;
        if sync != SYNC_CODE {
            return Err(HeaderError::Range { place: "vp9 > frame_sync_code", value: sync.into() });
        }
        let format = FrameFormat::parse(&mut r, profile)?;
        Ok(Self { profile, key: true, format: Some(format) })
    }
}

impl FrameFormat {
    fn parse(r: &mut BitReader<'_>, profile: u8) -> Result<Self, HeaderError> {
        let deep = profile >= 2;
        let bit_depth = match deep && r.flag("vp9 > color_config > ten_or_twelve_bit")? {
            true => 12,
            false => 8 + 2 * u8::from(deep),
        };
        let space = r.bits(3, "vp9 > color_config > color_space")?;
        // Profiles 1 and 3 are for formats other than 4:2:0.
        let odd = profile & 1 == 1;
        let full_range = space == CS_RGB || r.flag("vp9 > color_config > color_range")?;
        let chroma_subsampling = match (space, odd) {
            (CS_RGB, false) => {
                return Err(HeaderError::Range { place: "vp9 > color_config > color_space", value: CS_RGB.into() });
            }
            (CS_RGB, true) => 3,
            (_, true) => match r.bits(2, "vp9 > color_config > subsampling_x")? {
                0 => 3,
                2 => 2,
                other => {
                    return Err(HeaderError::Unsupported {
                        place: "vp9 > color_config > subsampling_x",
                        value: other.into(),
                    });
                }
            },
            // 4:2:0 with chroma located at the upper left luma sample.
            _ => 1,
        };
        if odd {
            r.skip(1, "vp9 > color_config > reserved_zero")?;
        }
        let (primaries, transfer, matrix) = SPACES.get(space as usize).copied().unwrap_or((2, 2, 2));
        let width = r.bits(16, "vp9 > frame_width_minus_1")? + 1;
        let height = r.bits(16, "vp9 > frame_height_minus_1")? + 1;
        let colour = Colour { primaries, transfer, matrix, full_range };
        Ok(Self { width, height, bit_depth, chroma_subsampling, colour })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::hex;

    #[test]
    fn reads_records_with_and_without_their_box_header() {
        // libvpx, 640x360, as ffmpeg writes it.
        let boxed = Config::parse(hex("010000000015820202020000")).unwrap();
        let bare = Config::parse(hex("0015820202020000")).unwrap();
        assert_eq!(boxed, bare);
        assert_eq!((bare.profile, bare.level, bare.bit_depth, bare.size), (0, 21, 8, None));
        assert_eq!(bare.codec_string(), "vp09.00.21.08");
        let deep = Config::parse(hex("0315a70209100900 00".replace(' ', "").as_str())).unwrap_err();
        assert!(matches!(deep, HeaderError::Range { place: "vpcC > codecInitializationDataSize", .. }));
        let deep = Config::parse(hex("0315a70910090000")).unwrap();
        assert_eq!(deep.codec_string(), "vp09.03.21.10.03.09.16.09.01");
        for len in 0..8 {
            assert!(Config::parse(hex("0015820202020000").slice(..len)).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_key_frame_declares_the_size() {
        let key = hex("824983420027f01676063824");
        let inter = hex("86004092f1214004");
        let config = Config::parse(hex("0000820202020000")).unwrap();
        assert_eq!(config.codec_string(), "vp09.00.40.08", "level 0 is guessed");
        let sized = config.changed_by(&key).unwrap();
        assert_eq!((sized.size, sized.codec_string().as_str()), (Some((640, 360)), "vp09.00.21.08"));
        assert_eq!((sized.changed_by(&key), sized.changed_by(&inter)), (None, None));
        let built = Config::from_key_frame(&key).unwrap();
        assert_eq!((&built.record[..], built.size), (&hex("0015820202020000")[..], Some((640, 360))));
        assert!(Config::from_key_frame(&inter).is_err());
    }

    #[test]
    fn reads_frame_headers() {
        let key = |bytes: &str| FrameHeader::parse(&hex(bytes)).map(|header| header.key);
        assert_eq!(key("824983420027f0167606"), Ok(true));
        assert_eq!(key("86004092f121"), Ok(false));
        assert!(key("424983420027f0167606").is_err(), "no frame marker");
        assert!(key("824983430027f0167606").is_err(), "no sync code");
        assert!(key("8249834200").is_err(), "cut");
        // Profile 3, 4:4:4 with ten bits.
        let deep = FrameHeader::parse(&hex("b124c1a104013f80b3b031c120")).unwrap();
        let format = deep.format.unwrap();
        assert_eq!((deep.profile, format.bit_depth, format.chroma_subsampling), (3, 10, 3));
        assert_eq!((format.width, format.height, format.colour.full_range), (640, 360, true));
    }
}
