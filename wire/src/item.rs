//! The output of every demuxer: tracks, their frames, and timed metadata.

use media::{FaultReport, Frame, Metadata, Track};

/// One item of a demuxer's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A new track, or a track that continues with another header.
    Track(Track),
    /// The stream has video whose codec header has not arrived yet. Repeated with each access unit before that header.
    VideoExpected,
    /// One access unit.
    Frame(Frame),
    /// Timed metadata.
    Metadata(Metadata),
    /// Something was repaired or dropped.
    Fault(FaultReport),
}
