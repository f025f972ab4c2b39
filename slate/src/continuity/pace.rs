//! How the pictures and the sound of a contribution come.

use media::{TimeDelta, Timestamp};

use super::{HOLD, MAX_HOLD, VIDEO_TIMEOUT};

/// Sound that comes after such a pause came in a burst; after a longer one it was away.
const BURST: TimeDelta = TimeDelta::from_millis(50);
const MAX_BURST: TimeDelta = TimeDelta::from_secs(1);
/// Bursts may be so much later than usual.
const JITTER: TimeDelta = TimeDelta::from_millis(100);
/// Sound in bursts is waited for no longer than this: players have not more in hand.
const MAX_PATIENCE: TimeDelta = TimeDelta::from_millis(600);

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
        self.came.is_none_or(|came| now - came >= VIDEO_TIMEOUT)
    }

    /// How far apart pictures are; a single gap does not count.
    pub(super) fn interval(&self) -> TimeDelta {
        self.intervals.0.min(self.intervals.1)
    }

    /// For how long the last picture stands in for the next one.
    pub(super) fn hold(&self) -> TimeDelta {
        self.interval().times(2).clamp(HOLD, MAX_HOLD)
    }
}

/// When the last sound came, and how long the last pauses in front of it were. Transport streams carry sound in packets of
/// up to half a second: FFmpeg fills 2,930 bytes, or waits for 0.35 s.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    came: Option<TimeDelta>,
    pauses: (TimeDelta, TimeDelta),
}

impl Bursts {
    /// Sound came.
    pub(super) fn sound(&mut self, now: TimeDelta) {
        let pause = now - self.came.replace(now).unwrap_or(now);
        if pause >= BURST && pause <= MAX_BURST {
            self.pauses = (pause, self.pauses.0);
        }
    }

    /// Whether more is to be expected: not if none came yet, nor for longer than a burst is late at the most.
    pub(super) fn goes_on(&self, now: TimeDelta) -> bool {
        self.came.is_some_and(|came| now - came <= MAX_BURST)
    }

    /// How long it is waited for; a single pause does not count.
    pub(super) fn gap_timeout(&self) -> TimeDelta {
        let usual = self.pauses.0.min(self.pauses.1);
        (usual + JITTER).clamp(VIDEO_TIMEOUT, MAX_PATIENCE)
    }
}
