//! Waits for a condition, with a timeout that only a faulty server reaches.

use std::thread;
use std::time::{Duration, Instant};

/// Timeout for a condition. Long enough for a loaded two-core machine; it measures nothing.
pub(crate) const BOUND: Duration = Duration::from_secs(40);

const POLL_INTERVAL: Duration = Duration::from_millis(40);

/// Polls `condition` until it returns a value, for at most [`BOUND`].
pub(crate) fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    until_within(BOUND, what, condition)
}

/// Polls `condition` until it returns a value, for at most `bound`.
pub(crate) fn until_within<T>(bound: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < bound, "timeout after {bound:?}: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}
