//! Output of one track, before it becomes [`Item`](crate::Item)s.

use bytes::Bytes;
use media::{Access, CodecConfig, Fault, Timestamp};

/// Decoding and presentation time of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) dts: Timestamp,
    pub(super) pts: Timestamp,
}

/// Output of a track.
#[derive(Debug)]
pub(super) enum Output {
    /// Configuration of the frames that follow.
    Config(CodecConfig),
    /// A frame with its times, its [`Access`] and its payload.
    Frame(Stamp, Access, Bytes),
    /// There is video, but its configuration has not arrived.
    VideoExpected,
    /// A fault was repaired.
    Repaired(Fault, &'static str),
    /// A frame was dropped; with the reason, unless that was already reported.
    Dropped(Option<(Fault, &'static str)>),
}
