//! The wall clock. No other file of this crate reads it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::{TimeDelta, WallTime};
use tokio::time::Instant;

/// Returns the time of the machine's clock.
pub(crate) fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Wall time that runs evenly from the start of the process, so setting the machine's clock moves no deadline.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    wall: WallTime,
    start: Instant,
}

impl Clock {
    /// Starts at [`wall_now`].
    pub(crate) fn start() -> Self {
        Self { wall: wall_now(), start: Instant::now() }
    }

    /// Returns the current time.
    pub(crate) fn now(self) -> WallTime {
        let passed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.wall.shifted(TimeDelta::from_millis(passed))
    }

    /// Returns how long it is until `at`; zero if that has passed.
    pub(crate) fn until(self, at: WallTime) -> Duration {
        Duration::from_millis(u64::try_from(at.since(self.now()).as_millis()).unwrap_or(0))
    }
}
