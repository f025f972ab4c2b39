//! Counters of a target.

use std::time::Duration;

use crate::state::State;

/// State and counters of a target. They contain no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Current state, with the reason of the newest failure.
    pub state: State,
    /// Bytes sent while publishing, protocol included.
    pub bytes: u64,
    /// Frames sent.
    pub frames: u64,
    /// Frames of a publication dropped because the queue was full. Frames that come between publications do not count.
    pub dropped_frames: u64,
    /// Payload bytes in the queue.
    pub queue_bytes: u64,
    /// Smoothed round-trip time of the current connection; `None` without one, and for RTMP.
    pub rtt: Option<Duration>,
    /// Publications that started.
    pub connects: u64,
    /// Attempts that failed, and publications that broke off.
    pub failures: u64,
}
