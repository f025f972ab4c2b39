//! Waiting for a condition, with a bound that only a broken server reaches.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a loaded two-core machine; nothing is measured with it.
pub(crate) const BOUND: Duration = Duration::from_secs(40);

const POLL: Duration = Duration::from_millis(40);

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    until_within(BOUND, what, condition)
}

/// The same for what takes its time even when all is well.
pub(crate) fn until_within<T>(bound: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < bound, "waited {bound:?} in vain: {what}");
        thread::sleep(POLL);
    }
}
