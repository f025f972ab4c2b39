//! The part of a target that depends on its protocol.

use std::future::Future;
use std::time::Duration;

use media::{Frame, Metadata, Timestamp, Track};

use crate::failure::Failure;

/// Protocol of a target, with its address and secrets.
pub(crate) trait Transport: Send + 'static {
    /// A connection on which the publication has started.
    type Connection: Connection;

    /// Connects and starts the publication. Time limits are the transport's. Dropping the future closes the connection.
    fn open(&mut self) -> impl Future<Output = Result<Self::Connection, Failure>> + Send;
}

/// A publication that has started. Its output is bounded by what the caller passes between two flushes.
pub(crate) trait Connection: Send {
    /// Writes the headers of the tracks to the output, as far as the target does not have them.
    fn announce(&mut self, tracks: &[Track], at: Timestamp) -> Result<(), Failure>;

    /// Writes a frame to the output; returns whether the target takes its track.
    fn send(&mut self, frame: &Frame) -> Result<bool, Failure>;

    /// Writes timed metadata to the output, if the protocol has a place for it.
    fn metadata(&mut self, _metadata: &Metadata) {}

    /// Sends the output, and returns the number of its bytes. Answers the target meanwhile.
    fn flush(&mut self) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Answers the target until the connection fails. Dropping the future loses nothing.
    fn idle(&mut self) -> impl Future<Output = Failure> + Send;

    /// Returns the round-trip time; `None` if it is not known.
    fn round_trip(&mut self) -> Option<Duration> {
        None
    }

    /// Ends the publication and waits until the target has received everything.
    fn close(self) -> impl Future<Output = ()> + Send;
}
