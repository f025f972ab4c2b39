//! One access unit with its timestamps.

use bytes::Bytes;

use crate::time::Timestamp;
use crate::track::TrackId;

/// One access unit of one track. The payload is shared, never copied, on its way from the socket to the players.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The track it belongs to.
    pub track: TrackId,
    /// When it is decoded.
    pub dts: Timestamp,
    /// When it is presented; earlier or later than `dts` where pictures are reordered.
    pub pts: Timestamp,
    /// Whether decoding may start here.
    pub access: Access,
    /// The coded bytes as an MP4 sample holds them: length-prefixed NAL units for AVC and HEVC, OBUs without temporal
    /// delimiters for AV1, one raw frame or packet for the others.
    pub payload: Bytes,
}

/// Whether decoding may start at a frame: the stream access points of ISO/IEC 14496-12 annex I.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// It needs frames before it.
    Dependent,
    /// Decoding may start here, but frames that follow in decoding order and are shown before it need earlier ones: an
    /// open GOP (SAP type 3).
    Open,
    /// All that is decoded and shown from here on needs nothing before it: an IDR picture, any audio frame (SAP type 1, 2).
    Independent,
}

impl Access {
    /// `Independent` if so, else `Dependent`.
    pub const fn independent_if(independent: bool) -> Self {
        if independent { Self::Independent } else { Self::Dependent }
    }

    /// True where nothing before the frame is needed.
    pub const fn is_independent(self) -> bool {
        matches!(self, Self::Independent)
    }
}

/// Something that belongs to an instant of the programme but is neither picture nor sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: MetadataKind,
    /// The instant that it is about.
    pub pts: Timestamp,
    /// Its bytes as its own standard has them.
    pub payload: Bytes,
}

/// What the bytes of a [`Metadata`] are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MetadataKind {
    /// ID3 tags.
    Id3,
    /// A splice_info_section of SCTE-35, CRC included.
    Scte35,
}
