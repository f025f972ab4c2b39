//! The clock that the output is measured by, and goes on by when media stays away.

use media::{TimeDelta, Timestamp};

use super::VIDEO_TIMEOUT;
use super::ticks::FLICKS;

/// While the output goes on by the clock it keeps this far behind it, so that media which is back is not late at once.
pub(super) const CUSHION: TimeDelta = TimeDelta::from_millis(100);
/// Media may be this far behind the clock, or ahead of it, before the clock follows: an encoder's quartz is not ours.
const FOLLOW_BEHIND: TimeDelta = TimeDelta::from_millis(200);
const FOLLOW_AHEAD: TimeDelta = TimeDelta::from_millis(600);
/// The clock follows by this part of the time that passes, 250 parts of a million; quartz is off by less than 100.
const FOLLOW_PART: i64 = 4_096;
/// A step of following covers no more than this, so that a gap does not count as one.
const FOLLOW_STEP: TimeDelta = TimeDelta::from_millis(500);

/// Where the output should be.
#[derive(Debug)]
pub(super) struct Clock {
    /// Output time when the clock was zero.
    anchor: Timestamp,
    /// Media is away and the output goes on by the clock.
    leads: bool,
    followed: TimeDelta,
}

impl Clock {
    /// A clock by which it is `at` on the output's timeline `now`.
    pub(super) fn new(at: Timestamp, now: TimeDelta) -> Self {
        Self { anchor: at - now, leads: false, followed: now }
    }

    /// Where the output should be `now`.
    pub(super) fn at(&self, now: TimeDelta) -> Timestamp {
        self.anchor + now
    }

    /// When what belongs to `at` leaves without its media.
    pub(super) fn due(&self, at: Timestamp) -> TimeDelta {
        (at - self.anchor) + if self.leads { CUSHION } else { VIDEO_TIMEOUT }
    }

    /// Whether what belongs to `at` has to leave now; from then on the clock leads.
    pub(super) fn passes(&mut self, at: Timestamp, now: TimeDelta) -> bool {
        let passes = now >= self.due(at);
        self.leads |= passes;
        passes
    }

    /// Media is back: it leads.
    pub(super) fn yields(&mut self) {
        self.leads = false;
    }

    /// Goes a little with media that keeps ahead or behind; `position` is where it is now.
    pub(super) fn follow(&mut self, position: Timestamp, now: TimeDelta) {
        let step = FLICKS.delta((now - self.followed).min(FOLLOW_STEP).flicks() / FOLLOW_PART);
        self.followed = now;
        let ahead = position - self.at(now);
        if ahead > FOLLOW_AHEAD {
            self.anchor += step;
        } else if ahead < -FOLLOW_BEHIND {
            self.anchor = self.anchor - step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_patient_once_in_a_gap() {
        let ms = TimeDelta::from_millis;
        let mut clock = Clock::new(Timestamp::ZERO, ms(50));
        assert!(!clock.passes(Timestamp::ZERO, ms(349)));
        assert!(clock.passes(Timestamp::ZERO, ms(350)));
        assert!(clock.passes(Timestamp::ZERO + ms(200), ms(350)));
        assert!(!clock.passes(Timestamp::ZERO + ms(201), ms(350)));
        clock.yields();
        assert!(!clock.passes(Timestamp::ZERO + ms(201), ms(450)));
    }

    #[test]
    fn it_goes_with_a_quartz_that_is_off() {
        let mut clock = Clock::new(Timestamp::ZERO, TimeDelta::ZERO);
        let step = TimeDelta::from_millis(40);
        let mut position = Timestamp::ZERO;
        for n in 0..25 * 3_600 * 5 {
            position += step - FLICKS.delta(step.flicks() / 10_000);
            clock.follow(position, step.times(n));
        }
        assert!((position - clock.at(step.times(25 * 3_600 * 5))).abs() < VIDEO_TIMEOUT);
    }
}
