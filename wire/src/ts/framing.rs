//! Formats of audio frames: ADTS, LOAS, AC-3 and E-AC-3 sync frames, and Opus after its control header.

use media::CodecConfig;
use media::codec::{HeaderError, aac, ac3, opus};

/// Samples per channel in an access unit of E-AC-3 in MP4: six blocks.
const EAC3_SAMPLES: u32 = 1_536;

/// Format of a stream's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// AAC in ADTS frames.
    Adts,
    /// AAC in LOAS frames.
    Loas,
    /// AC-3 and E-AC-3, because streams of one are announced as the other.
    Dolby,
    /// Opus with this many channels.
    Opus(u8),
}

/// Result of [`Format::probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// More bytes are needed to decide.
    Short,
    /// Not a frame.
    Wrong,
    /// A frame, complete or not.
    Frame(Shape),
}

/// Size and identity of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes in front that are not part of the output.
    pub(super) head: usize,
    /// Bytes of the whole frame.
    pub(super) size: usize,
    /// Header fields that all frames of a stream share.
    pub(super) identity: u64,
    /// Whether the frame continues the previous access unit, as further substreams and blocks of E-AC-3 do.
    pub(super) joins: bool,
    /// Samples that the frame adds to an access unit of several frames.
    pub(super) samples: u32,
}

impl Shape {
    /// Returns whether the frame is E-AC-3, where only the next frame shows the end of an access unit.
    pub(super) const fn is_enhanced(&self) -> bool {
        self.identity >> 63 == 1
    }
}

impl Format {
    /// Returns the first byte of each frame.
    pub(super) const fn sync(self) -> u8 {
        match self {
            Self::Adts => 0xff,
            Self::Loas => 0x56,
            Self::Dolby => 0x0b,
            Self::Opus(_) => 0x7f,
        }
    }

    /// Examines the front of `bytes`.
    pub(super) fn probe(self, bytes: &[u8]) -> Probe {
        match self {
            Self::Adts => adts(bytes),
            Self::Loas => loas(bytes),
            Self::Dolby => dolby(bytes),
            Self::Opus(_) => opus_control(bytes),
        }
    }

    /// Returns the configuration in a frame with its header; `None` for LOAS frames, which the LATM reader parses.
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

/// Returns the channels of an Opus configuration code (the opus-in-ts draft, table 1). Custom mappings are unsupported.
pub(super) fn opus_channels(code: u8) -> Option<u8> {
    (1..=8).contains(&code).then_some(code)
}

fn adts(bytes: &[u8]) -> Probe {
    let bad = match bytes {
        [first, second, ..] => *first != 0xff || second & 0xf6 != 0xf0,
        [first] => *first != 0xff,
        [] => false,
    };
    let [_, b1, b2, b3, b4, b5, b6, ..] = *bytes else { return if bad { Probe::Wrong } else { Probe::Short } };
    let size = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
    let head = if b1 & 1 == 1 { 7 } else { 9 };
    // More than one raw data block per frame has not been seen outside test suites.
    if bad || size <= head || b6 & 3 != 0 {
        return Probe::Wrong;
    }
    let identity = u64::from(b1) << 16 | u64::from(b2) << 8 | u64::from(b3 & 0xf0);
    Probe::Frame(Shape { head, size, identity, joins: false, samples: 0 })
}

fn loas(bytes: &[u8]) -> Probe {
    match *bytes {
        [0x56, b1, b2, ..] if b1 & 0xe0 == 0xe0 => {
            let size = 3 + (usize::from(b1 & 0x1f) << 8 | usize::from(b2));
            Probe::Frame(Shape { head: 3, size, identity: 0, joins: false, samples: 0 })
        }
        [] | [0x56] => Probe::Short,
        [0x56, b1] if b1 & 0xe0 == 0xe0 => Probe::Short,
        _ => Probe::Wrong,
    }
}

fn dolby(bytes: &[u8]) -> Probe {
    let header = match ac3::Header::parse(bytes) {
        Ok(header) => header,
        Err(HeaderError::Short { .. }) if ac3::SYNC_WORD.iter().zip(bytes).all(|(a, b)| a == b) => return Probe::Short,
        Err(_) => return Probe::Wrong,
    };
    let joins = header.enhanced && !header.starts_access_unit();
    // Substreams differ in their layout, but frames that begin access units do not.
    let identity = u64::from(header.enhanced) << 63 | u64::from(header.sample_rate) << 32;
    let layout = u64::from(header.bsid) << 16 | u64::from(header.acmod) << 8 | u64::from(header.lfe);
    Probe::Frame(Shape {
        head: 0,
        size: header.size,
        identity: identity | if joins { 0 } else { layout },
        joins,
        samples: if header.starts_access_unit() { header.samples } else { 0 },
    })
}

fn opus_control(bytes: &[u8]) -> Probe {
    let [first, flags, rest @ ..] = bytes else {
        return if bytes.first().is_some_and(|byte| *byte != 0x7f) { Probe::Wrong } else { Probe::Short };
    };
    if *first != 0x7f || flags & 0xe0 != 0xe0 {
        return Probe::Wrong;
    }
    let Some(full) = rest.iter().position(|byte| *byte != 0xff) else { return Probe::Short };
    let size = full * 255 + usize::from(rest.get(full).copied().unwrap_or(0));
    let mut head = 2 + full + 1;
    head += 2 * (usize::from(flags >> 4 & 1) + usize::from(flags >> 3 & 1));
    if flags & 4 != 0 {
        let Some(extension) = bytes.get(head) else { return Probe::Short };
        head += 1 + usize::from(*extension);
    }
    if size == 0 {
        return Probe::Wrong;
    }
    Probe::Frame(Shape { head, size: head + size, identity: 0, joins: false, samples: 0 })
}

/// Returns whether an access unit with so many samples needs further sync frames, even if they do not join it.
pub(super) const fn is_partial(identity: u64, samples: u32) -> bool {
    identity >> 63 == 1 && samples < EAC3_SAMPLES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(look: Probe) -> (usize, usize) {
        match look {
            Probe::Frame(shape) => (shape.head, shape.size),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn adts_headers() {
        let header = [0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc];
        assert_eq!(shape(adts(&header)), (7, 371));
        assert_eq!(shape(adts(&[&[0xff, 0xf0], &header[2..]].concat())), (9, 371), "with a CRC");
        for len in 0..7 {
            assert_eq!(adts(&header[..len]), Probe::Short);
        }
        assert_eq!(adts(&[0xff, 0xe1]), Probe::Wrong);
        assert_eq!(adts(&[0xff, 0xf1, 0x50, 0x80, 0, 0xff, 0xfc]), Probe::Wrong, "no longer than its head");
        assert_eq!(adts(&[0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfd]), Probe::Wrong, "two blocks");
    }

    #[test]
    fn loas_headers() {
        assert_eq!(shape(loas(&[0x56, 0xe1, 0x02])), (3, 261));
        assert_eq!((loas(&[]), loas(&[0x56]), loas(&[0x56, 0xe0])), (Probe::Short, Probe::Short, Probe::Short));
        assert_eq!((loas(&[0x57]), loas(&[0x56, 0x1f])), (Probe::Wrong, Probe::Wrong));
    }

    #[test]
    fn opus_control_headers() {
        assert_eq!(shape(opus_control(&[0x7f, 0xe0, 9])), (3, 12));
        assert_eq!(shape(opus_control(&[0x7f, 0xe0, 255, 255, 1])), (5, 516));
        let trims = [0x7f, 0xfc, 4, 0, 1, 0, 2, 3, 0, 0, 0];
        assert_eq!(shape(opus_control(&trims)), (11, 15));
        for len in 0..8 {
            assert_eq!(opus_control(&trims[..len]), Probe::Short);
        }
        assert_eq!((opus_control(&[0x7e]), opus_control(&[0x7f, 0xc0])), (Probe::Wrong, Probe::Wrong));
        assert_eq!((opus_channels(2), opus_channels(0), opus_channels(0x81)), (Some(2), None, None));
    }

    #[test]
    fn ac3_headers() {
        // 48 kHz, 192 kbit/s, stereo.
        let frame = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0, 0];
        assert_eq!(shape(dolby(&frame)), (0, 768));
        for len in 0..6 {
            assert_eq!(dolby(&frame[..len]), Probe::Short, "{len}");
        }
        assert_eq!(dolby(&[0x0b, 0x78]), Probe::Wrong);
    }
}
