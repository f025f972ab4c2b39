//! The grammar of a tag's body, up to where the codecs begin.

use bytes::Bytes;
use media::Kind;

use super::{Body, Codec, Packet};
use crate::error::{Error, Place};

/// Tracks that one message may hold; those beyond are left out, for a message of a megabyte can hold 200 000 empty ones.
pub const MAX_TRACKS: usize = 32;

const CODEC_AVC: u8 = 7;
const CODEC_HEVC: u8 = 12;
const SOUND_AAC: u8 = 10;
/// Sound format that announces a packet type and a FourCC.
const SOUND_EXTENDED: u8 = 9;
/// Bit of the first video byte that announces a packet type and a FourCC.
const VIDEO_EXTENDED: u8 = 0x80;
/// A frame type that holds a command for a player, no picture.
const FRAME_COMMAND: u8 = 5;

/// What an AVC or AAC packet type of FLV says.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;

/// What a packet type of Enhanced RTMP says; the numbers of pictures and sound differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PacketType {
    Header,
    Frames,
    /// Frames without a composition time where there would be one.
    FramesX,
    TransportHeader,
    /// Says nothing that is of use here.
    Passed,
    /// Colours, which a frame type that means a command does not make a command.
    Metadata,
    Multitrack,
    ModEx,
}

/// The one type of ModEx there is: nanoseconds to add to the time.
const NANO_OFFSET: u8 = 0;
/// What a nanosecond offset stays below: the next millisecond.
const NANOS_IN_MILLI: u32 = 1_000_000;

const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// Reads the body of an audio or video tag and gives `each` of its packets. What was given before an error stands.
///
/// Ends of sequences, commands for players and silence give nothing. Neither do channel layouts and the colours of
/// metadata packets: the codec's own header and frames say them, and those are what a decoder goes by.
pub fn read(kind: Kind, body: &Bytes, mut each: impl FnMut(Packet)) -> Result<(), Error> {
    let mut cursor = Cursor { kind, body, at: 0 };
    if body.is_empty() {
        return Ok(());
    }
    let first = cursor.byte("tag header")?;
    let packet = match kind {
        Kind::Video if first & VIDEO_EXTENDED != 0 => {
            return extended(&mut cursor, first & 0x0f, first >> 4 & 7 == FRAME_COMMAND, each);
        }
        Kind::Audio if first >> 4 == SOUND_EXTENDED => return extended(&mut cursor, first & 0x0f, false, each),
        Kind::Video => legacy_video(&mut cursor, first)?,
        Kind::Audio => legacy_audio(&mut cursor, first)?,
    };
    packet.into_iter().for_each(|(codec, body)| each(Packet { kind, track: 0, codec, nanos: 0, body }));
    Ok(())
}

fn legacy_video(cursor: &mut Cursor<'_>, first: u8) -> Result<Option<(Codec, Body)>, Error> {
    if first >> 4 == FRAME_COMMAND {
        return Ok(None);
    }
    let codec = match first & 0x0f {
        CODEC_AVC => Codec::Avc,
        CODEC_HEVC => Codec::Hevc,
        other => {
            return Ok(Some((Codec::VideoId(other), Body::Frame { composition_ms: 0, payload: cursor.rest() })));
        }
    };
    let body = match cursor.byte("AVCPacketType")? {
        // It needs no composition time, and some encoders send none.
        SEQUENCE_END => return Ok(None),
        SEQUENCE_START => {
            cursor.array::<3>("composition time")?;
            Body::Header(cursor.rest())
        }
        CODED_FRAMES => Body::Frame { composition_ms: cursor.composition_ms()?, payload: cursor.rest() },
        other => return Err(cursor.range("AVCPacketType", other)),
    };
    Ok(Some((codec, body)))
}

fn legacy_audio(cursor: &mut Cursor<'_>, first: u8) -> Result<Option<(Codec, Body)>, Error> {
    let format = first >> 4;
    if format != SOUND_AAC {
        return Ok(Some((Codec::SoundFormat(format), Body::Frame { composition_ms: 0, payload: cursor.rest() })));
    }
    let body = match cursor.byte("AACPacketType")? {
        SEQUENCE_START => Body::Header(cursor.rest()),
        CODED_FRAMES => Body::Frame { composition_ms: 0, payload: cursor.rest() },
        other => return Err(cursor.range("AACPacketType", other)),
    };
    Ok(Some((Codec::Aac, body)))
}

/// What Enhanced RTMP puts behind the four bits of `packet_type`.
fn extended(
    cursor: &mut Cursor<'_>,
    packet_type: u8,
    command: bool,
    mut each: impl FnMut(Packet),
) -> Result<(), Error> {
    let kind = cursor.kind;
    let mut nanos = 0;
    let mut packet_type = cursor.packet_type(packet_type)?;
    while packet_type == PacketType::ModEx {
        packet_type = mod_ex(cursor, &mut nanos)?;
    }
    if command && packet_type != PacketType::Metadata {
        return Ok(());
    }
    if packet_type != PacketType::Multitrack {
        let codec = cursor.codec()?;
        let body = cursor.packet_body(packet_type, codec, cursor.body.len())?;
        body.into_iter().for_each(|body| each(Packet { kind, track: 0, codec, nanos, body }));
        return Ok(());
    }
    let types = cursor.byte("multitrack type")?;
    let (layout, packet_type) = (types >> 4, cursor.packet_type(types & 0x0f)?);
    if layout > MANY_TRACKS_MANY_CODECS || matches!(packet_type, PacketType::Multitrack | PacketType::ModEx) {
        return Err(cursor.range("multitrack type", types));
    }
    let common = if layout == MANY_TRACKS_MANY_CODECS { None } else { Some(cursor.codec()?) };
    for _ in 0..MAX_TRACKS {
        let codec = match common {
            Some(codec) => codec,
            None => cursor.codec()?,
        };
        let track = cursor.byte("track id")?;
        let end = if layout == ONE_TRACK { cursor.body.len() } else { cursor.sized()? };
        let body = cursor.packet_body(packet_type, codec, end)?;
        body.into_iter().for_each(|body| each(Packet { kind, track, codec, nanos, body }));
        if cursor.at >= cursor.body.len() {
            return Ok(());
        }
    }
    Err(Error::Limit { place: cursor.place("tracks"), value: MAX_TRACKS as u64 + 1, limit: MAX_TRACKS as u64 })
}

/// Reads one ModEx and gives the packet type behind it.
fn mod_ex(cursor: &mut Cursor<'_>, nanos: &mut u32) -> Result<PacketType, Error> {
    let mut size = usize::from(cursor.byte("ModEx > size")?) + 1;
    if size == 256 {
        size = usize::from(u16::from_be_bytes(cursor.array("ModEx > size")?)) + 1;
    }
    let end = cursor.end(size, "ModEx > data")?;
    let data = cursor.take_to(end);
    let types = cursor.byte("ModEx > type")?;
    // Types to come are passed over: that is what ModEx is for.
    if types >> 4 == NANO_OFFSET {
        let Some(&[a, b, c]) = data.get(..3) else { return Err(cursor.short("ModEx > nanosecond offset")) };
        // More than a millisecond has no sense: the time of the message counts those.
        *nanos = u32::from_be_bytes([0, a, b, c]).min(NANOS_IN_MILLI - 1);
    }
    cursor.packet_type(types & 0x0f)
}

/// A walk through a body that remembers where it is.
struct Cursor<'a> {
    kind: Kind,
    body: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], Error> {
        let bytes = self.body.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or_else(|| self.short(field))?;
        self.at += N;
        Ok(*bytes)
    }

    fn byte(&mut self, field: &str) -> Result<u8, Error> {
        self.array(field).map(|[byte]| byte)
    }

    /// Where a field of `len` bytes ends.
    fn end(&self, len: usize, field: &str) -> Result<usize, Error> {
        self.at.checked_add(len).filter(|end| *end <= self.body.len()).ok_or_else(|| self.short(field))
    }

    /// The bytes up to `end`, which lies within the body.
    fn take_to(&mut self, end: usize) -> Bytes {
        let taken = self.body.slice(self.at.min(end)..end);
        self.at = end;
        taken
    }

    fn rest(&mut self) -> Bytes {
        self.take_to(self.body.len())
    }

    /// Where that ends which a 24-bit size stands before.
    fn sized(&mut self) -> Result<usize, Error> {
        let [a, b, c] = self.array("track size")?;
        self.end(u32::from_be_bytes([0, a, b, c]) as usize, "track")
    }

    fn codec(&mut self) -> Result<Codec, Error> {
        self.array("FourCC").map(|four_cc| Codec::from_four_cc(self.kind, four_cc))
    }

    fn composition_ms(&mut self) -> Result<i32, Error> {
        // Sign-extends the 24 bits.
        self.array("composition time").map(|[a, b, c]| i32::from_be_bytes([a, b, c, 0]) >> 8)
    }

    fn packet_type(&self, number: u8) -> Result<PacketType, Error> {
        Ok(match (self.kind, number) {
            (_, 0) => PacketType::Header,
            (_, 1) => PacketType::Frames,
            (_, 2) | (Kind::Audio, 4) => PacketType::Passed,
            (Kind::Video, 3) => PacketType::FramesX,
            (Kind::Video, 4) => PacketType::Metadata,
            (Kind::Video, 5) => PacketType::TransportHeader,
            (Kind::Video, 6) | (Kind::Audio, 5) => PacketType::Multitrack,
            (_, 7) => PacketType::ModEx,
            _ => return Err(self.range("packet type", number)),
        })
    }

    /// What a packet that ends at `end` holds.
    fn packet_body(&mut self, packet_type: PacketType, codec: Codec, end: usize) -> Result<Option<Body>, Error> {
        let mut composition_ms = 0;
        if packet_type == PacketType::Frames && codec.has_composition_time() {
            if end < self.at + 3 {
                return Err(self.short("composition time"));
            }
            composition_ms = self.composition_ms()?;
        }
        let payload = self.take_to(end);
        Ok(match packet_type {
            PacketType::Header => Some(Body::Header(payload)),
            PacketType::Frames | PacketType::FramesX => Some(Body::Frame { composition_ms, payload }),
            PacketType::TransportHeader => Some(Body::TransportHeader),
            PacketType::Passed | PacketType::Metadata | PacketType::Multitrack | PacketType::ModEx => None,
        })
    }

    fn place(&self, field: &str) -> Place {
        let kind = if self.kind == Kind::Video { "video" } else { "audio" };
        Place::new("flv", self.at as u64, format!("{kind} > {field}"))
    }

    fn short(&self, field: &str) -> Error {
        Error::Short { place: self.place(field) }
    }

    /// The byte just read has a value that is not defined.
    fn range(&self, field: &str, value: u8) -> Error {
        let before = Self { at: self.at.saturating_sub(1), ..*self };
        Error::Range { place: before.place(field), value: value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packets of a body, and how it ended.
    fn packets(kind: Kind, bytes: &[u8]) -> (Vec<Packet>, Result<(), Error>) {
        let mut packets = Vec::new();
        let result = read(kind, &Bytes::copy_from_slice(bytes), |packet| packets.push(packet));
        (packets, result)
    }

    /// The one packet of a body.
    fn one(kind: Kind, bytes: &[u8]) -> Packet {
        let (mut packets, result) = packets(kind, bytes);
        assert_eq!((result, packets.len()), (Ok(()), 1), "{bytes:02x?}");
        packets.remove(0)
    }

    fn error(kind: Kind, bytes: &[u8]) -> String {
        packets(kind, bytes).1.unwrap_err().to_string()
    }

    fn frame(composition_ms: i32, payload: &'static [u8]) -> Body {
        Body::Frame { composition_ms, payload: Bytes::from_static(payload) }
    }

    fn header(payload: &'static [u8]) -> Body {
        Body::Header(Bytes::from_static(payload))
    }

    #[test]
    fn composition_time_is_signed() {
        let cts = |bytes: [u8; 3]| match one(Kind::Video, &[&[0x27, 1], &bytes[..], &[0xaa]].concat()).body {
            Body::Frame { composition_ms, payload } if payload[..] == [0xaa] => composition_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!([cts([0, 0, 80]), cts([0xff, 0xff, 0xd8]), cts([0x80, 0, 0])], [80, -40, -8_388_608]);
        assert_eq!(one(Kind::Video, b"\xa1hvc1\xff\xff\xd8\xaa").body, frame(-40, &[0xaa]));
    }

    #[test]
    fn a_payload_is_a_slice_of_the_message() {
        let legacy = Bytes::from_static(&[0x17, 1, 0, 0, 0, 1, 2, 3]);
        let tracks = Bytes::from_static(b"\x96\x21av01\x00\x00\x00\x01\x0ahvc1\x01\x00\x00\x05\x00\x00\x28\x0b\x0c");
        for (body, places) in [(legacy, vec![5]), (tracks, vec![10, 22])] {
            let mut found = Vec::new();
            read(Kind::Video, &body, |packet| {
                let Body::Frame { payload, .. } = packet.body else { panic!("a frame") };
                found.push(payload.as_ptr() as usize - body.as_ptr() as usize);
            })
            .unwrap();
            assert_eq!(found, places);
        }
    }

    #[test]
    fn legacy_codecs_are_told() {
        let told = |kind, bytes: &[u8]| (one(kind, bytes).codec, one(kind, bytes).body);
        assert_eq!(told(Kind::Video, &[0x17, 0, 0, 0, 0, 9]), (Codec::Avc, header(&[9])));
        assert_eq!(told(Kind::Video, &[0x1c, 0, 0, 0, 0, 9]), (Codec::Hevc, header(&[9])));
        assert_eq!(told(Kind::Video, &[0x2c, 1, 0, 0, 40, 9]), (Codec::Hevc, frame(40, &[9])));
        assert_eq!(told(Kind::Video, &[0x12, 7]), (Codec::VideoId(2), frame(0, &[7])));
        assert_eq!(told(Kind::Audio, &[0xaf, 0, 0x11, 0x90]), (Codec::Aac, header(&[0x11, 0x90])));
        assert_eq!(told(Kind::Audio, &[0xaf, 1]), (Codec::Aac, frame(0, &[])));
        assert_eq!(told(Kind::Audio, &[0x2f, 7]), (Codec::SoundFormat(2), frame(0, &[7])));
    }

    #[test]
    fn each_four_cc_is_told() {
        let codec = |kind, four_cc: &[u8; 4]| one(kind, &[&[0x90], &four_cc[..], &[1]].concat()).codec;
        let carried = [
            (b"avc1", Codec::Avc),
            (b"hvc1", Codec::Hevc),
            (b"hev1", Codec::Hevc),
            (b"av01", Codec::Av1),
            (b"vp09", Codec::Vp9),
        ];
        for (four_cc, expected) in carried {
            assert_eq!(codec(Kind::Video, four_cc), expected);
            assert_eq!(codec(Kind::Audio, four_cc), Codec::FourCc(*four_cc), "no sound");
        }
        let carried = [
            (b"mp4a", Codec::Aac),
            (b"Opus", Codec::Opus),
            (b"opus", Codec::Opus),
            (b"ac-3", Codec::Ac3),
            (b"ec-3", Codec::Eac3),
            (b"fLaC", Codec::Flac),
        ];
        for (four_cc, expected) in carried {
            assert_eq!(codec(Kind::Audio, four_cc), expected);
        }
        let names = [*b"vp08", *b"vvc1", *b"\x00x\xffz"].map(|four_cc| codec(Kind::Video, &four_cc).to_string());
        assert_eq!(names, ["VP8", "VVC", "FourCC \\x00x\\xffz"]);
    }

    #[test]
    fn composition_time_stands_where_the_codec_reorders() {
        assert_eq!(one(Kind::Video, b"\xa3hvc1\x09").body, frame(0, &[9]), "CodedFramesX");
        assert_eq!(one(Kind::Video, b"\xa1avc1\x00\x00\x28\x09").body, frame(40, &[9]));
        assert_eq!(one(Kind::Video, b"\xa1av01\x00\x00\x28\x09").body, frame(0, &[0, 0, 40, 9]));
        assert_eq!(one(Kind::Video, b"\xa1vp09\x09").body, frame(0, &[9]));
        assert_eq!(one(Kind::Video, b"\xa1vvc1\x00\x00\x28\x09").body, frame(40, &[9]));
        assert_eq!(one(Kind::Audio, b"\x91Opus\xfc").body, frame(0, &[0xfc]));
        assert_eq!(one(Kind::Video, b"\x95av01\x80").body, Body::TransportHeader);
    }

    #[test]
    fn what_is_no_media_says_nothing() {
        let silent: [(Kind, &[u8]); 10] = [
            (Kind::Video, &[]),
            (Kind::Audio, &[]),
            (Kind::Video, &[0x57, 0]),
            (Kind::Video, &[0x17, 2]),
            (Kind::Video, &[0x17, 2, 0, 0, 0]),
            // A command of Enhanced RTMP has no FourCC, metadata has one whatever its frame type says.
            (Kind::Video, &[0xd1, 0]),
            (Kind::Video, b"\xd4hvc1\x02\x00\x09colorInfo\x03\x00\x00\x09"),
            (Kind::Video, b"\x92hvc1"),
            (Kind::Audio, b"\x92Opus"),
            (Kind::Audio, b"\x94Opus\x01\x02\x00\x00\x00\x03"),
        ];
        for (kind, bytes) in silent {
            assert_eq!(packets(kind, bytes), (vec![], Ok(())), "{bytes:02x?}");
        }
    }

    #[test]
    fn one_track_of_many_messages() {
        let packet = one(Kind::Audio, b"\x95\x01mp4a\x03\x21\x22");
        assert_eq!((packet.track, packet.codec, packet.body), (3, Codec::Aac, frame(0, &[0x21, 0x22])));
        let packet = one(Kind::Video, b"\x96\x01hvc1\x02\x00\x00\x28\x09");
        assert_eq!((packet.track, packet.codec, packet.body), (2, Codec::Hevc, frame(40, &[9])));
    }

    #[test]
    fn many_tracks_in_a_message() {
        let told = |bytes: &[u8]| {
            let (packets, result) = packets(Kind::Audio, bytes);
            assert_eq!(result, Ok(()));
            packets.into_iter().map(|packet| (packet.track, packet.codec, packet.body)).collect::<Vec<_>>()
        };
        let same = told(b"\x95\x11Opus\x00\x00\x00\x02\xfc\xfd\x01\x00\x00\x01\xfe");
        assert_eq!(same, [(0, Codec::Opus, frame(0, &[0xfc, 0xfd])), (1, Codec::Opus, frame(0, &[0xfe]))]);
        let mixed = told(b"\x95\x20Opus\x00\x00\x00\x01\xfcmp4a\x01\x00\x00\x02\x11\x90");
        assert_eq!(mixed, [(0, Codec::Opus, header(&[0xfc])), (1, Codec::Aac, header(&[0x11, 0x90]))]);
    }

    #[test]
    fn a_message_has_a_limit_of_tracks() {
        let with = |count: usize| [&b"\x95\x11Opus"[..], &[7, 0, 0, 1, 0xfc].repeat(count)].concat();
        assert_eq!(packets(Kind::Audio, &with(MAX_TRACKS)).1, Ok(()));
        let (packets, result) = packets(Kind::Audio, &with(MAX_TRACKS + 1));
        assert_eq!(packets.len(), MAX_TRACKS);
        assert!(matches!(result, Err(Error::Limit { limit: 32, .. })));
    }

    #[test]
    fn mod_ex_moves_the_time_and_what_is_unknown_is_passed() {
        // 500 000 ns, then a type that does not exist yet with 256 bytes, then the frame.
        let mut bytes = vec![0x97, 2, 0x07, 0xa1, 0x20, 0x07, 0xff, 0, 255];
        bytes.extend([0; 256]);
        bytes.extend(b"\x51Opus\xfc");
        let packet = one(Kind::Audio, &bytes);
        assert_eq!((packet.nanos, packet.body), (500_000, frame(0, &[0xfc])));
        let packet = one(Kind::Video, b"\xa7\x03\xff\xff\xff\xff\x03hvc1\x09");
        assert_eq!((packet.nanos, packet.body), (999_999, frame(0, &[9])), "stays below a millisecond");
        let packet = one(Kind::Audio, b"\x97\x02\x00\x00\x01\x05\x01Opus\x01\xfc");
        assert_eq!((packet.nanos, packet.track), (1, 1), "a multitrack message behind it");
        let short = "flv byte 4: audio > ModEx > nanosecond offset: ends before the field is whole";
        assert_eq!(error(Kind::Audio, b"\x97\x01\x00\x00\x01Opus"), short.replace("byte 4", "byte 5"));
    }

    #[test]
    fn errors_tell_their_place() {
        let cases: [(Kind, &[u8], &str); 9] = [
            (Kind::Video, &[0x17, 1, 0, 0], "flv byte 2: video > composition time: ends before the field is whole"),
            (Kind::Video, &[0x17, 3, 0, 0, 0], "flv byte 1: video > AVCPacketType: 3 is out of range"),
            (Kind::Audio, &[0xaf], "flv byte 1: audio > AACPacketType: ends before the field is whole"),
            (Kind::Audio, &[0xaf, 9], "flv byte 1: audio > AACPacketType: 9 is out of range"),
            (Kind::Audio, b"\x96Opus", "flv byte 0: audio > packet type: 6 is out of range"),
            (Kind::Video, b"\x90hvc", "flv byte 1: video > FourCC: ends before the field is whole"),
            (Kind::Video, b"\x96\x06hvc1", "flv byte 1: video > multitrack type: 6 is out of range"),
            (Kind::Video, b"\x96\x30hvc1", "flv byte 1: video > multitrack type: 48 is out of range"),
            (
                Kind::Audio,
                b"\x95\x11Opus\x00\x00\x00\x02\xfc",
                "flv byte 10: audio > track: ends before the field is whole",
            ),
        ];
        for (kind, bytes, expected) in cases {
            assert_eq!(error(kind, bytes), expected);
        }
        // What came before the error stands, and a track's size holds its composition time.
        let (before, result) =
            packets(Kind::Video, b"\x96\x11hvc1\x00\x00\x00\x04\x00\x00\x28\x09\x01\x00\x00\x02\x00\x00");
        assert_eq!((before.len(), result.is_err()), (1, true));
    }

    #[test]
    fn every_cut_gives_no_more_than_a_beginning() {
        let bodies: [(Kind, &[u8]); 6] = [
            (Kind::Video, &[0x17, 1, 0, 0, 40, 0x65]),
            (Kind::Audio, &[0xaf, 1, 0x21]),
            (Kind::Video, b"\xa1hvc1\x00\x00\x28\x09"),
            (Kind::Audio, b"\x95\x20Opus\x00\x00\x00\x01\xfcmp4a\x01\x00\x00\x02\x11\x90"),
            (Kind::Video, b"\x96\x11hvc1\x00\x00\x00\x04\x00\x00\x28\x09\x01\x00\x00\x04\x00\x00\x28\x09"),
            (Kind::Audio, b"\x97\x02\x00\x00\x01\x05\x01Opus\x01\xfc"),
        ];
        for (kind, bytes) in bodies {
            let (whole, result) = packets(kind, bytes);
            assert_eq!(result, Ok(()));
            for end in 1..bytes.len() {
                let (cut, result) = packets(kind, &bytes[..end]);
                assert!(result.is_err() || !cut.is_empty(), "{bytes:02x?} cut at {end}: not a word of it");
                // Only the payload at the cut may be shorter; sizes tell it where there are some.
                if let [before @ .., last] = &cut[..] {
                    assert_eq!(before, &whole[..before.len()]);
                    let twin = &whole[before.len()];
                    assert_eq!((last.track, last.codec, last.nanos), (twin.track, twin.codec, twin.nanos));
                }
            }
        }
    }
}
