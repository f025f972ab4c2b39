//! What every demuxer gives: tracks and their frames.

use media::{Frame, Track};

/// What bytes from an encoder mean for the media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A track begins, or goes on with another header.
    Track(Track),
    /// One access unit.
    Frame(Frame),
}
