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
    /// Decoding may start here: an IDR picture, or any audio frame.
    pub key: bool,
    /// The coded bytes as an MP4 sample holds them: length-prefixed NAL units for AVC, raw data blocks for AAC.
    pub payload: Bytes,
}
