//! The clock that paces the output, and drives it while media is absent.

use media::{TimeDelta, Timestamp};

use super::VIDEO_TIMEOUT;

/// Distance that the output keeps behind the clock while the clock drives it, so that media which returns is not late at
/// once.
pub(super) const CLOCK_MARGIN: TimeDelta = TimeDelta::from_millis(100);
/// Tolerated distance of media behind or ahead of the clock before [`Clock::correct_drift`] adjusts the clock, because the
/// encoder's oscillator is not ours.
const MAX_LAG: TimeDelta = TimeDelta::from_millis(200);
const MAX_LEAD: TimeDelta = TimeDelta::from_millis(600);
/// Fraction of the elapsed time by which the clock is adjusted: about 250 parts per million. Oscillators are off by less
/// than 100.
const ADJUST_PART: i64 = 4_096;
/// Maximum elapsed time that one adjustment covers, so that a gap does not count as one.
const MAX_ADJUST_STEP: TimeDelta = TimeDelta::from_millis(500);

/// Maps the clock to the output's timeline.
#[derive(Debug)]
pub(super) struct Clock {
    /// Output time when the clock was zero.
    anchor: Timestamp,
    /// Whether media is absent and the clock drives the output.
    drives: bool,
    adjusted_at: TimeDelta,
}

impl Clock {
    /// Creates a clock that is at output time `at` when the time is `now`.
    pub(super) fn new(at: Timestamp, now: TimeDelta) -> Self {
        Self { anchor: at - now, drives: false, adjusted_at: now }
    }

    /// Returns the output time that corresponds to `now`.
    pub(super) fn at(&self, now: TimeDelta) -> Timestamp {
        self.anchor + now
    }

    /// Returns when output for `at` is produced without its media.
    pub(super) fn due(&self, at: Timestamp) -> TimeDelta {
        (at - self.anchor) + if self.drives { CLOCK_MARGIN } else { VIDEO_TIMEOUT }
    }

    /// Whether output for `at` must be produced now, see [`Clock::due`]. From then on the clock drives the output.
    pub(super) fn expires(&mut self, at: Timestamp, now: TimeDelta) -> bool {
        let expires = now >= self.due(at);
        self.drives |= expires;
        expires
    }

    /// Lets the media drive the output again, because it has returned.
    pub(super) fn follow_media(&mut self) {
        self.drives = false;
    }

    /// Adjusts the clock a little towards media that stays ahead or behind. `position` is where the media is now.
    pub(super) fn correct_drift(&mut self, position: Timestamp, now: TimeDelta) {
        let step = (now - self.adjusted_at).min(MAX_ADJUST_STEP).part(ADJUST_PART);
        self.adjusted_at = now;
        let ahead = position - self.at(now);
        if ahead > MAX_LEAD {
            self.anchor += step;
        } else if ahead < -MAX_LAG {
            self.anchor = self.anchor - step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_applies_once_in_a_gap() {
        let ms = TimeDelta::from_millis;
        let mut clock = Clock::new(Timestamp::ZERO, ms(50));
        assert!(!clock.expires(Timestamp::ZERO, ms(349)));
        assert!(clock.expires(Timestamp::ZERO, ms(350)));
        assert!(clock.expires(Timestamp::ZERO + ms(200), ms(350)));
        assert!(!clock.expires(Timestamp::ZERO + ms(201), ms(350)));
        clock.follow_media();
        assert!(!clock.expires(Timestamp::ZERO + ms(201), ms(450)));
    }

    #[test]
    fn the_clock_follows_an_oscillator_that_is_off() {
        let mut clock = Clock::new(Timestamp::ZERO, TimeDelta::ZERO);
        let step = TimeDelta::from_millis(40);
        let mut position = Timestamp::ZERO;
        for n in 0..25 * 3_600 * 5 {
            position += step - step.part(10_000);
            clock.correct_drift(position, step.times(n));
        }
        assert!((position - clock.at(step.times(25 * 3_600 * 5))).abs() < VIDEO_TIMEOUT);
    }
}
