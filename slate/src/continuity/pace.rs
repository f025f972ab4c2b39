//! How the pictures of a contribution come.

use media::{TimeDelta, Timestamp};

use super::{HOLD, LONGEST_HOLD, PATIENCE};

/// When the last picture came, and how far apart the last ones are dated.
#[derive(Debug, Default)]
pub(super) struct Pace {
    came: Option<TimeDelta>,
    newest: Option<Timestamp>,
    intervals: (TimeDelta, TimeDelta),
}

impl Pace {
    /// Another contribution has another pace.
    pub(super) fn begin(&mut self) {
        *self = Self { came: self.came, ..Self::default() };
    }

    /// A picture dated `pts` came.
    pub(super) fn picture(&mut self, pts: Timestamp, now: TimeDelta) {
        self.came = Some(now);
        if let Some(newest) = self.newest.replace(pts) {
            self.intervals = ((pts - newest).max(TimeDelta::ZERO), self.intervals.0);
        }
    }

    /// Whether pictures stay away.
    pub(super) fn is_away(&self, now: TimeDelta) -> bool {
        self.came.is_none_or(|came| now - came >= PATIENCE)
    }

    /// How far apart pictures are; a single gap does not count.
    pub(super) fn interval(&self) -> TimeDelta {
        self.intervals.0.min(self.intervals.1)
    }

    /// For how long the last picture stands in for the next one.
    pub(super) fn hold(&self) -> TimeDelta {
        self.interval().times(2).clamp(HOLD, LONGEST_HOLD)
    }
}
