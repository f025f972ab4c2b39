//! Readers of the packaged log.

use super::Entry;

/// A reader of one broadcast's log, such as the origin's live window or an archive.
///
/// Called on the path of the encoder's frames: an implementation only takes the entries over, and never waits for a
/// viewer, a disk or a network.
pub trait LogReader: Send + Sync {
    /// Takes the next entries, in order and without one left out.
    fn append(&self, entries: &[Entry]);
}
