//! FLV tag bodies, which are RTMP's audio and video messages: as Adobe wrote them down ("Video File Format
//! Specification", annex E) and as Enhanced RTMP v1 and v2 extend them (Veovera, "Enhanced RTMP").
//!
//! [`read`] knows the grammar and no codec: it cuts a body into [`Packet`]s, one for each track in it. The [`Demuxer`]
//! knows the codecs: it turns packets into tracks and frames, and says once which track it leaves out and why.

mod adts;
mod codec;
mod demux;
mod joiner;
mod lane;
mod tag;
mod units;

use bytes::Bytes;
use media::Kind;

pub use codec::Codec;
pub use demux::{Demuxer, VIDEO_TRACK, audio_track};
pub use lane::{LeftOut, Reason};
pub use tag::{MAX_TRACKS, read};

/// What one audio or video message says of one track, with the time of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Transport time in milliseconds, unwrapped: the DTS.
    pub millis: i64,
    /// What it says.
    pub packet: Packet,
}

/// What the body of a tag says of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Pictures or sound.
    pub kind: Kind,
    /// The track among those of its kind; 0 outside of multitrack messages.
    pub track: u8,
    /// How it is coded.
    pub codec: Codec,
    /// What ModEx adds to the time of the message, in nanoseconds; less than a millisecond.
    pub nanos: u32,
    /// Header or frame.
    pub body: Body,
}

/// What a [`Packet`] holds: slices of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The codec's header, as the codec has it; empty where its frames tell all.
    Header(Bytes),
    /// One access unit.
    Frame {
        /// Composition time in milliseconds: PTS less DTS.
        composition_ms: i32,
        /// The coded bytes.
        payload: Bytes,
    },
    /// The header of AV1 as MPEG-2 TS carries it, which makes its frames come in that form too.
    TransportHeader,
}
