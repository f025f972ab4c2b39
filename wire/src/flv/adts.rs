//! AAC frames with ADTS headers, which do not belong in FLV.

use bytes::Bytes;
use media::codec::aac::{self, Adts};

/// Most ADTS frames in a message; a message with more is not treated as ADTS.
const MAX_FRAMES: usize = 64;

/// Returns the frames of a message that consists only of ADTS frames, each with its header; `None` for any other
/// message.
///
/// A raw frame that begins like an ADTS header would also need exactly the length that the header says.
pub(super) fn frames(payload: &Bytes) -> Option<Vec<(Adts, Bytes)>> {
    let (mut frames, mut rest) = (Vec::new(), payload.clone());
    while !rest.is_empty() {
        let adts = Adts::parse(&rest).ok().filter(|adts| adts.size <= rest.len() && adts.blocks == 1)?;
        if frames.len() == MAX_FRAMES {
            return None;
        }
        frames.push((adts, rest.split_to(adts.size)));
    }
    (!frames.is_empty()).then_some(frames)
}

/// Returns a frame as an MP4 sample holds it.
pub(super) fn raw(adts: Adts, frame: &Bytes) -> Bytes {
    aac::without_program_config(frame.slice(adts.head.min(frame.len())..))
}

/// Returns whether frames with such a header match the configuration. The header does not signal spectral band
/// replication.
pub(super) fn matches_config(adts: Adts, config: &aac::Config) -> bool {
    let channels = if adts.channel_configuration == 7 { 8 } else { adts.channel_configuration };
    adts.sample_rate == config.sample_rate
        && (channels == 0 || channels == config.channels)
        && (config.object_type > 4 || config.object_type == adts.object_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC, 48 kHz, stereo, with `len` bytes after the header.
    fn frame(len: u8) -> Vec<u8> {
        let mut frame = vec![0xff, 0xf1, 0x4c, 0x80, 0, (len + 7) << 5 | 0x1f, 0xfc];
        frame[4] = (len + 7) >> 3;
        frame.resize(7 + usize::from(len), 0x21);
        frame
    }

    #[test]
    fn only_messages_of_whole_frames_have_headers() {
        let lengths = |bytes: &[u8]| {
            let frames = frames(&Bytes::copy_from_slice(bytes))?;
            Some(frames.iter().map(|(adts, frame)| raw(*adts, frame).len()).collect::<Vec<_>>())
        };
        assert_eq!(lengths(&frame(5)), Some(vec![5]));
        assert_eq!(lengths(&[frame(5), frame(9)].concat()), Some(vec![5, 9]));
        assert_eq!((lengths(&[]), lengths(&frame(5)[..9]), lengths(&[0x21, 0x10])), (None, None, None));
        assert_eq!(lengths(&[&frame(5)[..], &[0x21]].concat()), None);
        assert_eq!(lengths(&frame(1).repeat(MAX_FRAMES + 1)), None);
    }

    #[test]
    fn a_header_agrees_with_its_configuration() {
        let adts = Adts::parse(&frame(5)).unwrap();
        assert!(matches_config(adts, &aac::Config::new(2, 48_000, 2).unwrap()));
        assert!(!matches_config(adts, &aac::Config::new(2, 44_100, 2).unwrap()));
        assert!(!matches_config(adts, &aac::Config::new(2, 48_000, 1).unwrap()));
        assert!(!matches_config(adts, &aac::Config::new(1, 48_000, 2).unwrap()));
        assert!(matches_config(Adts { channel_configuration: 0, ..adts }, &aac::Config::new(2, 48_000, 6).unwrap()));
    }
}
