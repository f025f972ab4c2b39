//! What every demuxer gives: tracks, their frames, timed metadata.

use media::{FaultReport, Frame, Metadata, Track};

/// What bytes from an encoder mean for the media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A track begins, or goes on with another header.
    Track(Track),
    /// The stream has video whose codec header has not come yet; repeated with each of its access units that come before.
    VideoExpected,
    /// One access unit.
    Frame(Frame),
    /// Timed metadata.
    Metadata(Metadata),
    /// Something was repaired or dropped.
    Fault(FaultReport),
}
