//! FLV tag bodies, which are RTMP's audio and video messages, as defined by Adobe ("Video File Format Specification",
//! annex E) and extended by Enhanced RTMP v1 and v2 (Veovera, "Enhanced RTMP").
//!
//! [`read`] knows the grammar but no codec: it splits a body into [`Packet`]s, one for each track in it. The
//! [`Demuxer`] knows the codecs: it turns packets into tracks and frames, and reports once which tracks are
//! [`Unsupported`] and why.

mod adts;
mod codec;
mod demux;
mod joiner;
pub(crate) mod mux;
mod output;
mod tag;
mod track;
mod units;

use bytes::Bytes;
use media::Kind;

pub use codec::Codec;
pub use demux::{Demuxer, VIDEO_TRACK, audio_track};
pub use tag::{MAX_TRACKS, read};
pub use track::{Reason, Unsupported};

/// Content of one audio or video message for one track, with the time of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Transport time in milliseconds, unwrapped: the DTS.
    pub millis: i64,
    /// The [`Packet`] of the track.
    pub packet: Packet,
}

/// Content of a tag's body for one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Video or audio.
    pub kind: Kind,
    /// Number of the track among those of its kind; 0 outside multitrack messages.
    pub track: u8,
    /// Codec of the track.
    pub codec: Codec,
    /// Nanoseconds that ModEx adds to the time of the message; less than a millisecond.
    pub nanos: u32,
    /// Header or frame.
    pub body: Body,
}

/// Body of a [`Packet`]: slices of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The codec's header in the codec's own format; empty if its frames contain everything.
    Header(Bytes),
    /// One access unit.
    Frame {
        /// Composition time in milliseconds: PTS minus DTS.
        composition_ms: i32,
        /// Coded bytes of the frame.
        payload: Bytes,
    },
    /// The header of AV1 for MPEG-2 TS. The frames that follow have that form too.
    TransportHeader,
}
