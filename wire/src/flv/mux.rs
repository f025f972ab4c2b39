//! Writes the bodies of audio and video tags: the opposite of [`read`](super::read).

use bytes::Bytes;
use media::{Access, CodecConfig, Kind};

use super::Codec;

/// First byte of AAC tags: `SoundFormat` 10; the other bits are fixed for AAC.
const AAC: u8 = 0xaf;
/// First byte of an audio tag with a FourCC, without the packet type.
const AUDIO_EXTENDED: u8 = 0x90;
/// Bit of the first byte of a video tag with a FourCC.
const VIDEO_EXTENDED: u8 = 0x80;
const KEY_FRAME: u8 = 0x10;
const INTER_FRAME: u8 = 0x20;
/// `CodecID` of HEVC that encoders from China use.
pub(crate) const HEVC_ID: u8 = 12;
/// `CodecID` of H.264.
pub(crate) const AVC_ID: u8 = 7;
/// `SoundFormat` of AAC.
pub(crate) const AAC_ID: u8 = 10;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const CODED_FRAMES_X: u8 = 3;
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;

/// Largest and smallest composition time of 24 bits.
const MAX_COMPOSITION: i32 = 0x7f_ffff;
const MIN_COMPOSITION: i32 = -0x80_0000;

/// Form of a track's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `CodecID` or `SoundFormat` of FLV: H.264, AAC, and HEVC as [`HEVC_ID`].
    Legacy,
    /// FourCC of Enhanced RTMP.
    Enhanced,
    /// FourCC with the number of the track.
    Multitrack(u8),
}

/// Appends everything before the codec's own bytes of a sequence header to `out`, and returns those bytes.
pub(crate) fn header(config: &CodecConfig, form: Form, out: &mut Vec<u8>) -> Bytes {
    lead(config, form, (SEQUENCE_START, KEY_FRAME), out);
    if form == Form::Legacy && config.kind() == Kind::Video {
        out.extend_from_slice(&[0; 3]);
    }
    match config {
        // The version and flags of the box, as ffmpeg writes them.
        CodecConfig::Vp9(vp9) => [&[1, 0, 0, 0], &vp9.record[..]].concat().into(),
        CodecConfig::Opus(opus) => opus_head(&opus.record),
        CodecConfig::Flac(flac) => [b"fLaC", &flac.record[..]].concat().into(),
        // Empty by the standard, because each frame has a header.
        CodecConfig::Ac3(_) | CodecConfig::Eac3(_) => Bytes::new(),
        other => other.record().clone(),
    }
}

/// Appends everything before the payload of a frame to `out`.
pub(crate) fn frame(config: &CodecConfig, form: Form, access: Access, composition_ms: i64, out: &mut Vec<u8>) {
    let composition = composition_ms.clamp(MIN_COMPOSITION.into(), MAX_COMPOSITION.into()) as i32;
    let has_composition = config.kind() == Kind::Video && Codec::of(config).has_composition_time();
    let is_x = has_composition && form != Form::Legacy && composition == 0;
    let packet_type = if is_x { CODED_FRAMES_X } else { CODED_FRAMES };
    let frame_type = if access == Access::Dependent { INTER_FRAME } else { KEY_FRAME };
    lead(config, form, (packet_type, frame_type), out);
    if has_composition && !is_x {
        let [_, bytes @ ..] = composition.to_be_bytes();
        out.extend_from_slice(&bytes);
    }
}

/// Appends the first bytes of a tag, up to the packet type, FourCC and track number.
fn lead(config: &CodecConfig, form: Form, (packet_type, frame_type): (u8, u8), out: &mut Vec<u8>) {
    let is_video = config.kind() == Kind::Video;
    let (extended, multitrack) =
        if is_video { (VIDEO_EXTENDED | frame_type, VIDEO_MULTITRACK) } else { (AUDIO_EXTENDED, AUDIO_MULTITRACK) };
    let codec = Codec::of(config);
    let four_cc = codec.four_cc().unwrap_or_default();
    match form {
        Form::Legacy if is_video => {
            let id = if codec == Codec::Hevc { HEVC_ID } else { AVC_ID };
            out.extend_from_slice(&[frame_type | id, packet_type]);
        }
        Form::Legacy => out.extend_from_slice(&[AAC, packet_type]),
        Form::Enhanced => {
            out.push(extended | packet_type);
            out.extend_from_slice(&four_cc);
        }
        Form::Multitrack(number) => {
            // One track in the message: the upper four bits of the second byte are zero.
            out.extend_from_slice(&[extended | multitrack, packet_type]);
            out.extend_from_slice(&four_cc);
            out.push(number);
        }
    }
}

/// Returns the identification header of RFC 7845 for the body of a `dOps` box, whose numbers are big-endian.
fn opus_head(record: &Bytes) -> Bytes {
    let Some((&[_, channels, s1, s0, r3, r2, r1, r0, g1, g0], rest)) = record.split_first_chunk() else {
        return Bytes::new();
    };
    [&b"OpusHead"[..], &[1, channels, s0, s1, r0, r1, r2, r3, g0, g1], rest].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::{Body, read};
    use media::codec::{aac, opus};

    #[test]
    fn opus_headers_keep_every_field() {
        for channels in [1, 2, 6] {
            let config = opus::Config::new(channels).unwrap();
            assert_eq!(opus::Config::parse(&opus_head(&config.record)).unwrap(), config);
        }
    }

    #[test]
    fn audio_in_each_form() {
        let config = CodecConfig::Aac(aac::Config::new(2, 48_000, 2).unwrap());
        for (form, expected) in [
            (Form::Legacy, &b"\xaf\x01"[..]),
            (Form::Enhanced, b"\x91mp4a"),
            (Form::Multitrack(3), b"\x95\x01mp4a\x03"),
        ] {
            let mut out = Vec::new();
            frame(&config, form, Access::Independent, 0, &mut out);
            assert_eq!(out, expected);
            out.push(0x21);
            let mut packets = Vec::new();
            read(Kind::Audio, &out.into(), |packet| packets.push(packet)).unwrap();
            let number = if form == Form::Multitrack(3) { 3 } else { 0 };
            assert_eq!((packets[0].codec, packets[0].track), (Codec::Aac, number));
            assert!(matches!(&packets[0].body, Body::Frame { payload, .. } if payload[..] == [0x21]));
        }
    }
}
