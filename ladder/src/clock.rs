//! The clock of a ladder.

use std::time::{Duration, Instant};

use media::{TimeDelta, Timescale};

/// Time since the start of a ladder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts a clock.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Returns the time since the start.
    pub(crate) fn now(&self) -> TimeDelta {
        let micros = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timescale::new(1_000_000).delta(micros)
    }

    /// Returns the time from now until `at`; zero if that is past.
    pub(crate) fn until(&self, at: TimeDelta) -> Duration {
        let micros = Timescale::new(1_000_000).delta_ticks(at - self.now());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}
