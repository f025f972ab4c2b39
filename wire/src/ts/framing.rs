//! How sound is cut into frames: ADTS, LOAS, AC-3 and E-AC-3 sync frames, and Opus behind its control header.

use media::CodecConfig;
use media::codec::{HeaderError, aac, ac3, opus};

/// Samples of each channel in an access unit of E-AC-3, as MP4 wants them: six blocks.
const EAC3_SAMPLES: u32 = 1_536;

/// A way to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// AAC in ADTS frames.
    Adts,
    /// AAC in LOAS frames.
    Loas,
    /// AC-3 and E-AC-3: streams of one are announced as the other.
    Dolby,
    /// Opus with this many channels.
    Opus(u8),
}

/// What the bytes at hand begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// More bytes are needed to tell.
    Short,
    /// Not a frame.
    Wrong,
    /// A frame, whole or not.
    Frame(Shape),
}

/// The outline of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes in front that are not handed on.
    pub(super) head: usize,
    /// Bytes of it all.
    pub(super) size: usize,
    /// The fields that frames of a stream have in common.
    pub(super) identity: u64,
    /// True where it goes on with the access unit before: the further substreams and blocks of E-AC-3.
    pub(super) joins: bool,
    /// Samples that it adds to an access unit of several frames.
    pub(super) samples: u32,
}

impl Shape {
    /// True for E-AC-3, the end of whose access units only the next frame tells.
    pub(super) const fn is_enhanced(&self) -> bool {
        self.identity >> 63 == 1
    }
}

impl Format {
    /// The first byte of each frame.
    pub(super) const fn sync(self) -> u8 {
        match self {
            Self::Adts => 0xff,
            Self::Loas => 0x56,
            Self::Dolby => 0x0b,
            Self::Opus(_) => 0x7f,
        }
    }

    /// Looks at the front of `bytes`.
    pub(super) fn look(self, bytes: &[u8]) -> Look {
        match self {
            Self::Adts => adts(bytes),
            Self::Loas => loas(bytes),
            Self::Dolby => dolby(bytes),
            Self::Opus(_) => opus_control(bytes),
        }
    }

    /// The configuration that a frame, its head included, stands for; none where LOAS frames hold it themselves.
    pub(super) fn config(self, frame: &[u8]) -> Result<Option<CodecConfig>, HeaderError> {
        Ok(match self {
            Self::Adts => Some(CodecConfig::Aac(aac::Config::from_adts(frame)?)),
            Self::Loas => None,
            Self::Dolby if ac3::Header::parse(frame)?.enhanced => {
                Some(CodecConfig::Eac3(ac3::EnhancedConfig::from_access_unit(frame)?))
            }
            Self::Dolby => Some(CodecConfig::Ac3(ac3::Config::from_frame(frame)?)),
            Self::Opus(channels) => Some(CodecConfig::Opus(opus::Config::new(channels)?)),
        })
    }
}

/// Channels of an Opus configuration code (the opus-in-ts draft, table 1); mappings of one's own are not carried.
pub(super) fn opus_channels(code: u8) -> Option<u8> {
    (1..=8).contains(&code).then_some(code)
}

fn adts(bytes: &[u8]) -> Look {
    let bad = match bytes {
        [first, second, ..] => *first != 0xff || second & 0xf6 != 0xf0,
        [first] => *first != 0xff,
        [] => false,
    };
    let [_, b1, b2, b3, b4, b5, b6, ..] = *bytes else { return if bad { Look::Wrong } else { Look::Short } };
    let size = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
    let head = if b1 & 1 == 1 { 7 } else { 9 };
    // More than one raw data block in a frame has not been seen outside of test suites.
    if bad || size <= head || b6 & 3 != 0 {
        return Look::Wrong;
    }
    let identity = u64::from(b1) << 16 | u64::from(b2) << 8 | u64::from(b3 & 0xf0);
    Look::Frame(Shape { head, size, identity, joins: false, samples: 0 })
}

fn loas(bytes: &[u8]) -> Look {
    match *bytes {
        [0x56, b1, b2, ..] if b1 & 0xe0 == 0xe0 => {
            let size = 3 + (usize::from(b1 & 0x1f) << 8 | usize::from(b2));
            Look::Frame(Shape { head: 3, size, identity: 0, joins: false, samples: 0 })
        }
        [] | [0x56] => Look::Short,
        [0x56, b1] if b1 & 0xe0 == 0xe0 => Look::Short,
        _ => Look::Wrong,
    }
}

fn dolby(bytes: &[u8]) -> Look {
    let header = match ac3::Header::parse(bytes) {
        Ok(header) => header,
        Err(HeaderError::Short { .. }) if ac3::SYNC_WORD.iter().zip(bytes).all(|(a, b)| a == b) => return Look::Short,
        Err(_) => return Look::Wrong,
    };
    let joins = header.enhanced && !header.starts_access_unit();
    // Substreams differ in their layout; what begins access units does not.
    let identity = u64::from(header.enhanced) << 63 | u64::from(header.sample_rate) << 32;
    let layout = u64::from(header.bsid) << 16 | u64::from(header.acmod) << 8 | u64::from(header.lfe);
    Look::Frame(Shape {
        head: 0,
        size: header.size,
        identity: identity | if joins { 0 } else { layout },
        joins,
        samples: if header.starts_access_unit() { header.samples } else { 0 },
    })
}

fn opus_control(bytes: &[u8]) -> Look {
    let [first, flags, rest @ ..] = bytes else {
        return if bytes.first().is_some_and(|byte| *byte != 0x7f) { Look::Wrong } else { Look::Short };
    };
    if *first != 0x7f || flags & 0xe0 != 0xe0 {
        return Look::Wrong;
    }
    let Some(full) = rest.iter().position(|byte| *byte != 0xff) else { return Look::Short };
    let size = full * 255 + usize::from(rest.get(full).copied().unwrap_or(0));
    let mut head = 2 + full + 1;
    head += 2 * (usize::from(flags >> 4 & 1) + usize::from(flags >> 3 & 1));
    if flags & 4 != 0 {
        let Some(extension) = bytes.get(head) else { return Look::Short };
        head += 1 + usize::from(*extension);
    }
    if size == 0 {
        return Look::Wrong;
    }
    Look::Frame(Shape { head, size: head + size, identity: 0, joins: false, samples: 0 })
}

/// True where an access unit with so many samples takes more sync frames that do not join it.
pub(super) const fn is_partial(identity: u64, samples: u32) -> bool {
    identity >> 63 == 1 && samples < EAC3_SAMPLES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(look: Look) -> (usize, usize) {
        match look {
            Look::Frame(shape) => (shape.head, shape.size),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn adts_headers() {
        let header = [0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc];
        assert_eq!(shape(adts(&header)), (7, 371));
        assert_eq!(shape(adts(&[&[0xff, 0xf0], &header[2..]].concat())), (9, 371), "with a CRC");
        for len in 0..7 {
            assert_eq!(adts(&header[..len]), Look::Short);
        }
        assert_eq!(adts(&[0xff, 0xe1]), Look::Wrong);
        assert_eq!(adts(&[0xff, 0xf1, 0x50, 0x80, 0, 0xff, 0xfc]), Look::Wrong, "no longer than its head");
        assert_eq!(adts(&[0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfd]), Look::Wrong, "two blocks");
    }

    #[test]
    fn loas_headers() {
        assert_eq!(shape(loas(&[0x56, 0xe1, 0x02])), (3, 261));
        assert_eq!((loas(&[]), loas(&[0x56]), loas(&[0x56, 0xe0])), (Look::Short, Look::Short, Look::Short));
        assert_eq!((loas(&[0x57]), loas(&[0x56, 0x1f])), (Look::Wrong, Look::Wrong));
    }

    #[test]
    fn opus_control_headers() {
        assert_eq!(shape(opus_control(&[0x7f, 0xe0, 9])), (3, 12));
        assert_eq!(shape(opus_control(&[0x7f, 0xe0, 255, 255, 1])), (5, 516));
        let trims = [0x7f, 0xfc, 4, 0, 1, 0, 2, 3, 0, 0, 0];
        assert_eq!(shape(opus_control(&trims)), (11, 15));
        for len in 0..8 {
            assert_eq!(opus_control(&trims[..len]), Look::Short);
        }
        assert_eq!((opus_control(&[0x7e]), opus_control(&[0x7f, 0xc0])), (Look::Wrong, Look::Wrong));
        assert_eq!((opus_channels(2), opus_channels(0), opus_channels(0x81)), (Some(2), None, None));
    }

    #[test]
    fn ac3_headers() {
        // 48 kHz, 192 kbit/s, stereo.
        let frame = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0, 0];
        assert_eq!(shape(dolby(&frame)), (0, 768));
        for len in 0..6 {
            assert_eq!(dolby(&frame[..len]), Look::Short, "{len}");
        }
        assert_eq!(dolby(&[0x0b, 0x78]), Look::Wrong);
    }
}
