//! Decides where on the output's timeline media belongs, and when that has to be decided anew.

use media::{TimeDelta, Timestamp};

use super::VIDEO_TIMEOUT;

/// Media this far ahead of the clock moves: else each burst would add to the latency for good.
pub(super) const LEAD: TimeDelta = TimeDelta::from_secs(1);
/// Media that moves waits until the output is no further ahead of the clock than this, so that it need not move again.
const LEAD_LEFT: TimeDelta = TimeDelta::from_millis(500);
/// Media that is late has so long to catch up, and again so long whenever it has gained half of it.
const CATCH_UP: TimeDelta = TimeDelta::from_millis(500);
const GAIN: TimeDelta = TimeDelta::from_millis(250);
/// However fast it catches up, it has no longer than this.
const MAX_CATCH_UP: TimeDelta = TimeDelta::from_secs(3);
/// An encoder that sends in bursts is late again and again: the third time in this long it is laid behind what is out,
/// which keeps it ahead from then on.
const BURSTS: (u32, TimeDelta) = (3, TimeDelta::from_secs(10));

/// The shift between media time and output time, and how media fares under it.
#[derive(Debug, Default)]
pub(super) struct Rejoin {
    /// `None` while media has no place: at the start, behind a break, and while it is too far ahead.
    shift: Option<TimeDelta>,
    late: Option<Late>,
    /// How often media became late, and since when that is counted.
    bursts: (u32, TimeDelta),
}

/// Media that is behind what is out.
#[derive(Debug)]
struct Late {
    since: TimeDelta,
    newest: TimeDelta,
    /// When it was looked at, and how late media was then.
    looked: (TimeDelta, TimeDelta),
}

/// What to do with a piece of media.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It belongs here.
    At(Timestamp),
    /// It belongs here, by a new shift.
    Anew(Timestamp),
    /// Its time is past, by so much.
    Late(TimeDelta),
    /// Its time is too far ahead.
    Early,
}

/// What is out when a piece of media comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Media that is dated before this is late.
    pub(super) oldest: Timestamp,
    /// Where media is laid if it is laid anew.
    pub(super) next: Timestamp,
    /// Where the output should be by the clock.
    pub(super) clock: Timestamp,
    /// The clock.
    pub(super) now: TimeDelta,
    /// Media that is this far from the one before it is not the same run.
    pub(super) apart: TimeDelta,
}

impl Rejoin {
    /// The shift in force.
    pub(super) fn shift(&self) -> Option<TimeDelta> {
        self.shift
    }

    /// Whether media is there that is behind what is out.
    pub(super) fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// The next media is laid anew.
    pub(super) fn unsettle(&mut self) {
        self.shift = None;
        self.late = None;
    }

    /// The output begins, so much later than the media is dated.
    pub(super) fn begin(&mut self, shift: TimeDelta) {
        self.shift = Some(shift);
    }

    /// Finds the place of media that is dated `pts`.
    pub(super) fn place(&mut self, pts: Timestamp, out: Standing) -> Place {
        if let Some(shift) = self.shift {
            let at = pts + shift;
            if at < out.oldest {
                let lateness = out.oldest - at;
                if !self.gives_up(lateness, out) {
                    return Place::Late(lateness);
                }
            } else if at - out.clock <= LEAD {
                self.late = None;
                return Place::At(at);
            }
            self.unsettle();
        }
        if out.next - out.clock > LEAD_LEFT {
            return Place::Early;
        }
        self.shift = Some(out.next - pts);
        Place::Anew(out.next)
    }

    /// Whether media that is late by `lateness` is not worth waiting for any longer.
    fn gives_up(&mut self, lateness: TimeDelta, out: Standing) -> bool {
        let now = out.now;
        let run = self.late.take().filter(|late| now - late.newest <= out.apart.max(VIDEO_TIMEOUT.times(2)));
        let Some(mut late) = run else {
            self.late = Some(Late { since: now, newest: now, looked: (now, lateness) });
            return self.is_burst(lateness, now);
        };
        late.newest = now;
        if now - late.looked.0 >= CATCH_UP {
            let gained = late.looked.1 - lateness;
            if gained < GAIN || now - late.since >= MAX_CATCH_UP {
                return true;
            }
            late.looked = (now, lateness);
        }
        self.late = Some(late);
        false
    }

    fn is_burst(&mut self, lateness: TimeDelta, now: TimeDelta) -> bool {
        if now - self.bursts.1 > BURSTS.1 || self.bursts.0 == 0 {
            self.bursts = (0, now);
        }
        self.bursts.0 = self.bursts.0.saturating_add(1);
        let again = self.bursts.0 >= BURSTS.0 && lateness <= LEAD_LEFT;
        if again {
            self.bursts.0 = 0;
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: i64) -> TimeDelta {
        TimeDelta::from_millis(n)
    }

    fn at(n: i64) -> Timestamp {
        Timestamp::ZERO + ms(n)
    }

    /// The output is at `now`, as the clock is.
    fn standing(now: i64) -> Standing {
        Standing { oldest: at(now), next: at(now), clock: at(now), now: ms(now), apart: ms(40) }
    }

    fn begun() -> Rejoin {
        let mut rejoin = Rejoin::default();
        rejoin.begin(TimeDelta::ZERO);
        rejoin
    }

    #[test]
    fn what_stays_behind_is_laid_anew() {
        let mut rejoin = begun();
        for now in (10_000..10_500).step_by(20) {
            assert_eq!(rejoin.place(at(now - 3_000), standing(now)), Place::Late(ms(3_000)));
        }
        assert_eq!(rejoin.place(at(7_500), standing(10_500)), Place::Anew(at(10_500)));
        assert_eq!(rejoin.place(at(7_520), standing(10_520)), Place::At(at(10_520)));
    }

    #[test]
    fn what_catches_up_is_waited_for() {
        let mut rejoin = begun();
        for step in 0..100 {
            let now = 10_000 + step * 20;
            // Three times as fast as the clock: 4 s are made good in 2 s.
            assert!(matches!(rejoin.place(at(6_000 + step * 60), standing(now)), Place::Late(_)), "{now}");
        }
        assert_eq!(rejoin.place(at(12_000), standing(12_000)), Place::At(at(12_000)));
        assert!(!rejoin.is_late());
    }

    #[test]
    fn what_runs_ahead_waits_for_the_clock() {
        let mut rejoin = begun();
        let ahead = Standing { oldest: at(11_000), next: at(11_000), ..standing(10_000) };
        assert_eq!(rejoin.place(at(11_000), ahead), Place::At(at(11_000)));
        assert_eq!(rejoin.place(at(11_040), ahead), Place::Early);
        let waited = Standing { clock: at(10_500), now: ms(10_500), ..ahead };
        assert_eq!(rejoin.place(at(20_000), waited), Place::Anew(at(11_000)));
    }

    #[test]
    fn what_comes_in_bursts_gets_ahead() {
        let mut rejoin = begun();
        assert_eq!(rejoin.place(at(9_600), standing(10_000)), Place::Late(ms(400)));
        assert_eq!(rejoin.place(at(10_000), standing(10_000)), Place::At(at(10_000)));
        assert_eq!(rejoin.place(at(11_600), standing(12_000)), Place::Late(ms(400)));
        assert_eq!(rejoin.place(at(12_000), standing(12_000)), Place::At(at(12_000)));
        assert_eq!(rejoin.place(at(13_600), standing(14_000)), Place::Anew(at(14_000)));
    }
}
