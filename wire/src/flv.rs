//! FLV tag bodies, which are RTMP's audio and video messages (Adobe, "Video File Format Specification", annex E).

mod demux;

use std::fmt;

use bytes::Bytes;
use media::codec::{aac, avc};

pub use demux::{AUDIO_TRACK, Demuxer, VIDEO_TRACK};

use crate::error::{Error, Place};

const CODEC_AVC: u8 = 7;
const SOUND_AAC: u8 = 10;
/// Sound format that Enhanced RTMP uses to announce a FourCC.
const SOUND_EXTENDED: u8 = 9;
/// Bit of the first video byte that Enhanced RTMP uses to announce a FourCC.
const VIDEO_EXTENDED: u8 = 0x80;
const FRAME_KEY: u8 = 1;
/// A frame type that holds a command for a player, no picture.
const FRAME_COMMAND: u8 = 5;

/// One audio or video message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Transport time in milliseconds, unwrapped: the DTS.
    pub millis: i64,
    /// What it holds.
    pub packet: Packet,
}

/// The body of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A video tag.
    Video(Video),
    /// An audio tag.
    Audio(Audio),
}

/// The body of a video tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Video {
    /// AVC sequence header.
    AvcHeader(avc::Config),
    /// AVC NAL units, length-prefixed.
    Avc {
        /// Composition time in milliseconds: PTS less DTS.
        composition_ms: i32,
        /// What the tag says of itself; encoders get it wrong.
        keyframe: bool,
        /// The access unit, a slice of the message.
        payload: Bytes,
    },
    /// AVC end of sequence.
    AvcEnd,
    /// A command for players, or an empty tag.
    Nothing,
    /// Video that Weir does not carry.
    Unsupported(Codec),
}

/// The body of an audio tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audio {
    /// AAC sequence header.
    AacHeader(aac::Config),
    /// One raw AAC frame, a slice of the message.
    Aac(Bytes),
    /// An empty tag.
    Nothing,
    /// Audio that Weir does not carry.
    Unsupported(Codec),
}

/// A codec as FLV names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `CodecID` of a video tag.
    Video(u8),
    /// `SoundFormat` of an audio tag.
    Audio(u8),
    /// FourCC of Enhanced RTMP; zeros where the tag has none in its fifth byte.
    FourCc([u8; 4]),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Video(id) => write!(f, "FLV video codec {id}"),
            Self::Audio(id) => write!(f, "FLV sound format {id}"),
            Self::FourCc(cc) => write!(f, "FourCC {}", cc.escape_ascii()),
        }
    }
}

impl Video {
    /// Parses the body of a video tag.
    pub fn parse(body: &Bytes) -> Result<Self, Error> {
        let Some(&first) = body.first() else { return Ok(Self::Nothing) };
        if first & VIDEO_EXTENDED != 0 {
            return Ok(Self::Unsupported(four_cc(body)));
        }
        let (frame, codec) = (first >> 4, first & 0x0f);
        if frame == FRAME_COMMAND {
            return Ok(Self::Nothing);
        }
        if codec != CODEC_AVC {
            return Ok(Self::Unsupported(Codec::Video(codec)));
        }
        let Some(&[_, kind, a, b, c]) = body.get(..5) else {
            // An end of sequence needs no composition time, and some encoders send none.
            return if body.get(1) == Some(&2) {
                Ok(Self::AvcEnd)
            } else {
                Err(short(body, "video > composition time"))
            };
        };
        let payload = body.slice(5..);
        match kind {
            0 => avc::Config::parse(payload)
                .map(Self::AvcHeader)
                .map_err(|source| Error::Codec { place: Place::new("flv", 5, "video > AVC sequence header"), source }),
            1 => Ok(Self::Avc {
                // Sign-extends the 24 bits.
                composition_ms: i32::from_be_bytes([a, b, c, 0]) >> 8,
                keyframe: frame == FRAME_KEY,
                payload,
            }),
            2 => Ok(Self::AvcEnd),
            other => Err(Error::Range { place: Place::new("flv", 1, "video > AVCPacketType"), value: other.into() }),
        }
    }
}

impl Audio {
    /// Parses the body of an audio tag.
    pub fn parse(body: &Bytes) -> Result<Self, Error> {
        let Some(&first) = body.first() else { return Ok(Self::Nothing) };
        match first >> 4 {
            SOUND_AAC => {}
            SOUND_EXTENDED => return Ok(Self::Unsupported(four_cc(body))),
            other => return Ok(Self::Unsupported(Codec::Audio(other))),
        }
        let Some(&kind) = body.get(1) else { return Err(short(body, "audio > AACPacketType")) };
        let payload = body.slice(2..);
        match kind {
            0 => aac::Config::parse(payload)
                .map(Self::AacHeader)
                .map_err(|source| Error::Codec { place: Place::new("flv", 2, "audio > AAC sequence header"), source }),
            1 => Ok(Self::Aac(payload)),
            other => Err(Error::Range { place: Place::new("flv", 1, "audio > AACPacketType"), value: other.into() }),
        }
    }
}

fn four_cc(body: &[u8]) -> Codec {
    let mut cc = [0; 4];
    if let Some(bytes) = body.get(1..5) {
        cc.copy_from_slice(bytes);
    }
    Codec::FourCc(cc)
}

fn short(body: &[u8], path: &str) -> Error {
    Error::Short { place: Place::new("flv", body.len() as u64, path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(bytes: &[u8]) -> Result<Video, Error> {
        Video::parse(&Bytes::copy_from_slice(bytes))
    }

    fn audio(bytes: &[u8]) -> Result<Audio, Error> {
        Audio::parse(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn composition_time_is_signed() {
        let frame = |cts: [u8; 3]| match video(&[0x27, 1, cts[0], cts[1], cts[2], 0xaa]).unwrap() {
            Video::Avc { composition_ms, keyframe: false, payload } if payload[..] == [0xaa] => composition_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!([frame([0, 0, 80]), frame([0xff, 0xff, 0xd8]), frame([0x80, 0, 0])], [80, -40, -8_388_608]);
    }

    #[test]
    fn a_payload_is_a_slice_of_the_message() {
        let body = Bytes::from(vec![0x17, 1, 0, 0, 0, 1, 2, 3]);
        let Video::Avc { payload, keyframe: true, .. } = Video::parse(&body).unwrap() else { panic!("a key frame") };
        assert_eq!(payload.as_ptr(), body[5..].as_ptr());
    }

    #[test]
    fn every_short_tag_is_nothing_or_an_error() {
        assert_eq!((video(&[]).unwrap(), audio(&[]).unwrap()), (Video::Nothing, Audio::Nothing));
        for len in 1..5 {
            assert!(matches!(video(&[0x17, 1, 0, 0][..len]), Err(Error::Short { .. })), "{len} bytes");
        }
        assert_eq!(video(&[0x17, 2]).unwrap(), Video::AvcEnd);
        assert_eq!(
            audio(&[0xaf]).unwrap_err().to_string(),
            "flv byte 1: audio > AACPacketType: ends before the field is whole"
        );
        assert_eq!(audio(&[0xaf, 1]).unwrap(), Audio::Aac(Bytes::new()));
    }

    #[test]
    fn a_bad_header_tells_where() {
        let err = video(&[0x17, 0, 0, 0, 0, 2]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "flv byte 5: video > AVC sequence header: avcC > configurationVersion: 2 is not supported"
        );
        assert!(matches!(video(&[0x17, 3, 0, 0, 0]), Err(Error::Range { value: 3, .. })));
        assert!(matches!(audio(&[0xaf, 9]), Err(Error::Range { value: 9, .. })));
        assert!(matches!(audio(&[0xaf, 0]), Err(Error::Codec { .. })));
    }

    #[test]
    fn other_codecs_are_named() {
        let name = |codec: Codec| codec.to_string();
        assert!(
            matches!(video(&[0x90, b'h', b'v', b'c', b'1']), Ok(Video::Unsupported(c)) if name(c) == "FourCC hvc1")
        );
        assert!(matches!(video(&[0x12, 0]), Ok(Video::Unsupported(c)) if name(c) == "FLV video codec 2"));
        assert!(matches!(audio(&[0x2f, 0]), Ok(Audio::Unsupported(c)) if name(c) == "FLV sound format 2"));
        assert!(
            matches!(audio(&[0x90, b'O', b'p', b'u', b's']), Ok(Audio::Unsupported(c)) if name(c) == "FourCC Opus")
        );
        assert_eq!(video(&[0x57, 0]).unwrap(), Video::Nothing);
    }
}
