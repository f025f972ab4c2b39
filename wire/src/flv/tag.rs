//! The grammar of a tag's body, up to the codec's own bytes.

use bytes::Bytes;
use media::Kind;

use super::{Body, Codec, Packet};
use crate::error::{Error, Place};

/// Most tracks in one message; further ones are dropped, because a message of a megabyte can hold 200 000 empty ones.
pub const MAX_TRACKS: usize = 32;

const CODEC_AVC: u8 = 7;
const CODEC_HEVC: u8 = 12;
const SOUND_AAC: u8 = 10;
/// Sound format that announces a packet type and a FourCC.
const SOUND_EXTENDED: u8 = 9;
/// Bit of the first video byte that announces a packet type and a FourCC.
const VIDEO_EXTENDED: u8 = 0x80;
/// Frame type of a command for a player; not a frame.
const FRAME_COMMAND: u8 = 5;

/// AVC and AAC packet types of FLV.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;

/// Packet types of Enhanced RTMP, whose numbers differ between video and audio.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PacketType {
    Header,
    Frames,
    /// Frames without a composition time, for codecs that otherwise have one.
    FramesX,
    TransportHeader,
    /// Content that is of no use here.
    Ignored,
    /// Colour metadata. It is metadata even if the frame type says command.
    Metadata,
    Multitrack,
    ModEx,
}

/// The only defined type of ModEx: nanoseconds to add to the time.
const NANO_OFFSET: u8 = 0;
/// Exclusive upper limit of a nanosecond offset: the next millisecond.
const NANOS_IN_MILLI: u32 = 1_000_000;

const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// Reads the body of an audio or video tag and passes its packets to `each`. Packets before an error are valid.
///
/// Ends of sequences, commands for players and silence yield no packet. Neither do channel layouts and the colours of
/// metadata packets, because the codec's own header and frames contain them, and decoders follow those.
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
        // A composition time is not needed here, and some encoders send none.
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

/// Reads the fields of Enhanced RTMP that follow the four bits of `packet_type`.
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

/// Reads one ModEx and returns the [`PacketType`] that follows it.
fn mod_ex(cursor: &mut Cursor<'_>, nanos: &mut u32) -> Result<PacketType, Error> {
    let mut size = usize::from(cursor.byte("ModEx > size")?) + 1;
    if size == 256 {
        size = usize::from(u16::from_be_bytes(cursor.array("ModEx > size")?)) + 1;
    }
    let end = cursor.end(size, "ModEx > data")?;
    let data = cursor.take_to(end);
    let types = cursor.byte("ModEx > type")?;
    // Unknown types are skipped, as ModEx intends.
    if types >> 4 == NANO_OFFSET {
        let Some(&[a, b, c]) = data.get(..3) else { return Err(cursor.short("ModEx > nanosecond offset")) };
        // Clamped, because whole milliseconds belong in the time of the message.
        *nanos = u32::from_be_bytes([0, a, b, c]).min(NANOS_IN_MILLI - 1);
    }
    cursor.packet_type(types & 0x0f)
}

/// A position in a body.
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

    /// Returns the end of a field of `len` bytes.
    fn end(&self, len: usize, field: &str) -> Result<usize, Error> {
        self.at.checked_add(len).filter(|end| *end <= self.body.len()).ok_or_else(|| self.short(field))
    }

    /// Takes the bytes up to `end`, which is within the body.
    fn take_to(&mut self, end: usize) -> Bytes {
        let taken = self.body.slice(self.at.min(end)..end);
        self.at = end;
        taken
    }

    fn rest(&mut self) -> Bytes {
        self.take_to(self.body.len())
    }

    /// Returns the end of a field with a 24-bit size in front.
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
            (_, 2) | (Kind::Audio, 4) => PacketType::Ignored,
            (Kind::Video, 3) => PacketType::FramesX,
            (Kind::Video, 4) => PacketType::Metadata,
            (Kind::Video, 5) => PacketType::TransportHeader,
            (Kind::Video, 6) | (Kind::Audio, 5) => PacketType::Multitrack,
            (_, 7) => PacketType::ModEx,
            _ => return Err(self.range("packet type", number)),
        })
    }

    /// Returns the [`Body`] of a packet that ends at `end`.
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
            PacketType::Ignored | PacketType::Metadata | PacketType::Multitrack | PacketType::ModEx => None,
        })
    }

    fn place(&self, field: &str) -> Place {
        let kind = if self.kind == Kind::Video { "video" } else { "audio" };
        Place::new("flv", self.at as u64, format!("{kind} > {field}"))
    }

    fn short(&self, field: &str) -> Error {
        Error::Short { place: self.place(field) }
    }

    /// Returns the error for the byte just read, whose value is undefined.
    fn range(&self, field: &str, value: u8) -> Error {
        let before = Self { at: self.at.saturating_sub(1), ..*self };
        Error::Range { place: before.place(field), value: value.into() }
    }
}

#[cfg(test)]
mod tests;
