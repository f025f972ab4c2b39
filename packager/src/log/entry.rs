//! An entry of the packaged log.

use super::Event;

/// An event of a broadcast and its number. Made by [`LogWriter::append`](super::LogWriter::append).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Counts the entries of the broadcast, from 0 without a number left out.
    pub seq: u64,
    /// One step of the broadcast.
    pub event: Event,
}
