//! The least delay between media timestamps and their arrival.

use crate::time::{TimeDelta, Timestamp};

/// Media flow that the least delay is taken from: between one and two times this much.
const WINDOW: TimeDelta = TimeDelta::from_secs(5);
/// Longest pause between two frames that counts as flow. A stalled network says nothing new about the delay, so the
/// window does not advance meanwhile.
const MAX_STEP: TimeDelta = TimeDelta::from_millis(200);

/// Measures how late media is, compared with the media that had the least delay.
///
/// All media of a contribution takes the same path. The frames with the least delay therefore show how its clock
/// relates to the clock of arrival, and media that arrives later than that was held up. The window follows clocks that
/// drift, and networks whose delay grows permanently. The clock of arrival is the distance from any fixed instant.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastDelay {
    current: Option<TimeDelta>,
    previous: Option<TimeDelta>,
    flow: TimeDelta,
    last: Option<TimeDelta>,
}

impl LeastDelay {
    /// Records media with timestamp `at` that arrives at `now`.
    pub fn note(&mut self, at: Timestamp, now: TimeDelta) {
        let step = self.last.map_or(TimeDelta::ZERO, |last| now - last);
        self.last = Some(now);
        self.flow += step.clamp(TimeDelta::ZERO, MAX_STEP);
        if self.flow >= WINDOW {
            self.flow = TimeDelta::ZERO;
            self.previous = self.current.take();
        }
        let delay = now - (at - Timestamp::ZERO);
        self.current = Some(self.current.map_or(delay, |least| least.min(delay)));
    }

    /// Returns arrival time minus media time for the media with the least delay; `None` before any media.
    pub fn least(&self) -> Option<TimeDelta> {
        self.current.into_iter().chain(self.previous).min()
    }

    /// Returns how much later media with timestamp `at` is, if it arrives at `now`, than the media with the least
    /// delay. Negative if it is early.
    pub fn lateness(&self, at: Timestamp, now: TimeDelta) -> TimeDelta {
        self.least().map_or(TimeDelta::ZERO, |least| now - (at - Timestamp::ZERO) - least)
    }

    /// Returns the media time that is live at `now`; `None` before any media. See [`LeastDelay::least`].
    pub fn live(&self, now: TimeDelta) -> Option<Timestamp> {
        Some(Timestamp::ZERO + (now - self.least()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: i64) -> TimeDelta {
        TimeDelta::from_millis(n)
    }

    /// Records media with timestamps between `from` and `to`, each `late` milliseconds late.
    fn flow(delay: &mut LeastDelay, from: i64, to: i64, late: i64) {
        (from..to).step_by(40).for_each(|at| delay.note(Timestamp::ZERO + ms(at), ms(at + late)));
    }

    #[test]
    fn a_backlog_is_late_and_a_network_that_slows_down_for_good_is_not() {
        let mut delay = LeastDelay::default();
        assert_eq!((delay.least(), delay.lateness(Timestamp::ZERO, ms(7))), (None, ms(0)));
        flow(&mut delay, 0, 4_000, 50);
        // The network stalls for 20 s, then everything arrives at once.
        (4_000..24_000).step_by(40).for_each(|at| delay.note(Timestamp::ZERO + ms(at), ms(24_050)));
        assert_eq!(delay.lateness(Timestamp::ZERO + ms(4_000), ms(24_050)), ms(20_000));
        assert_eq!(delay.live(ms(24_050)), Some(Timestamp::ZERO + ms(24_000)));
        flow(&mut delay, 24_000, 35_000, 900);
        assert_eq!(delay.least(), Some(ms(900)));
    }

    #[test]
    fn a_burst_at_the_start_shows_that_the_first_media_was_late() {
        let mut delay = LeastDelay::default();
        (0..500).step_by(40).for_each(|at| delay.note(Timestamp::ZERO + ms(at), ms(0)));
        assert_eq!(delay.least(), Some(ms(-480)));
        assert_eq!(delay.lateness(Timestamp::ZERO, ms(0)), ms(480));
    }
}
