//! Access units with their timestamps, and timed metadata.

use bytes::Bytes;

use crate::time::Timestamp;
use crate::track::TrackId;

/// One access unit of one track. The payload is shared and never copied on its way from the socket to the players.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Id of the frame's [`Track`](crate::Track).
    pub track: TrackId,
    /// Decoding time.
    pub dts: Timestamp,
    /// Presentation time; earlier or later than [`Frame::dts`] if frames are reordered.
    pub pts: Timestamp,
    /// Whether decoding may start here.
    pub access: Access,
    /// Coded bytes in the form of an MP4 sample: length-prefixed NAL units for AVC and HEVC, OBUs without temporal
    /// delimiters for AV1, one raw frame or packet for other codecs.
    pub payload: Bytes,
}

/// Whether decoding may start at a frame: the stream access points of ISO/IEC 14496-12 annex I.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// The frame depends on earlier frames.
    Dependent,
    /// Decoding may start here, but frames that follow in decoding order and are presented before this one need earlier
    /// frames: an open GOP (SAP type 3).
    Open,
    /// Decoding may start here, and nothing presented from here on needs earlier frames: an IDR frame, any audio frame
    /// (SAP type 1, 2).
    Independent,
}

impl Access {
    /// Returns [`Access::Independent`] if `independent`, else [`Access::Dependent`].
    pub const fn independent_if(independent: bool) -> Self {
        if independent { Self::Independent } else { Self::Dependent }
    }

    /// Returns whether this is [`Access::Independent`].
    pub const fn is_independent(self) -> bool {
        matches!(self, Self::Independent)
    }
}

/// Timed metadata: content of an instant of the programme that is neither video nor audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Format of the payload ([`MetadataKind`]).
    pub kind: MetadataKind,
    /// Presentation time that the metadata belongs to.
    pub pts: Timestamp,
    /// Bytes in the format of the metadata's own standard.
    pub payload: Bytes,
}

/// Format of a [`Metadata`] payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MetadataKind {
    /// ID3 tags.
    Id3,
    /// A `splice_info_section` of SCTE-35, CRC included.
    Scte35,
}
