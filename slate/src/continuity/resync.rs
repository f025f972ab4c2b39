//! Decides where on the output's timeline media belongs, and when its timestamp offset has to change.

use media::{TimeDelta, Timestamp};

use super::VIDEO_TIMEOUT;

/// Maximum distance of media ahead of the clock before it gets a new offset. Otherwise each burst would add to the
/// latency permanently.
pub(super) const MAX_LEAD: TimeDelta = TimeDelta::from_secs(1);
/// Media gets a new offset only once the output is no further ahead of the clock than this, so that the next change is
/// not due at once.
const MAX_RESYNC_LEAD: TimeDelta = TimeDelta::from_millis(500);
/// Interval at which late media is measured. Media that has gained less than [`MIN_GAIN`] on the output since the last
/// measurement gets a new offset.
const CATCH_UP: TimeDelta = TimeDelta::from_millis(500);
/// Minimum amount by which late media has to gain on the output in [`CATCH_UP`].
const MIN_GAIN: TimeDelta = TimeDelta::from_millis(250);
/// Maximum time for late media to catch up, however fast it gains on the output.
const MAX_CATCH_UP: TimeDelta = TimeDelta::from_secs(3);
/// Number of times that media becomes late, and the period in which they are counted. The last of them gives the media
/// a new offset at once, without time to catch up, because an encoder that sends in bursts is late again and again. The
/// new offset places its media after what is already presented, which keeps it ahead of the output from then on.
const LATE_BURSTS: (u32, TimeDelta) = (3, TimeDelta::from_secs(10));

/// Timestamp offset between media time and output time, and how late media is under it.
#[derive(Debug, Default)]
pub(super) struct Resync {
    /// `None` while media has no place: at the start, after [`Resync::reset`], and while the output is too far ahead of
    /// the clock for a new offset.
    offset: Option<TimeDelta>,
    late: Option<Late>,
    /// Number of times that media became late, and the start of the count. See [`LATE_BURSTS`].
    bursts: (u32, TimeDelta),
}

/// Media that is behind the output.
#[derive(Debug)]
struct Late {
    /// Time at which the media became late.
    since: TimeDelta,
    /// Arrival time of the newest late media.
    last_arrival: TimeDelta,
    /// Time of the last measurement, and how late the media was then.
    measured: (TimeDelta, TimeDelta),
}

/// Decision on a piece of media.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Present it at this time.
    At(Timestamp),
    /// Present it at this time, under a new offset.
    Resynced(Timestamp),
    /// Discard it, because it is behind the output by this much.
    Late(TimeDelta),
    /// Discard it, because the output is still too far ahead of the clock for a new offset.
    Early,
}

/// State of the output when a piece of media arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputPosition {
    /// Output time before which media is late.
    pub(super) oldest: Timestamp,
    /// Output time that media gets under a new offset.
    pub(super) next: Timestamp,
    /// Output time that the clock asks for.
    pub(super) clock: Timestamp,
    /// Current time of the clock.
    pub(super) now: TimeDelta,
    /// Maximum pause between two pieces of late media. After a longer one, the time to catch up starts again.
    pub(super) max_pause: TimeDelta,
}

impl Resync {
    /// Returns the timestamp offset in force.
    pub(super) fn offset(&self) -> Option<TimeDelta> {
        self.offset
    }

    /// Whether media arrives that is behind the output.
    pub(super) fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// Forgets the offset, so that the next media gets a new one.
    pub(super) fn reset(&mut self) {
        self.offset = None;
        self.late = None;
    }

    /// Sets the offset with which the output begins.
    pub(super) fn begin(&mut self, offset: TimeDelta) {
        self.offset = Some(offset);
    }

    /// Decides where media with timestamp `pts` belongs.
    pub(super) fn place(&mut self, pts: Timestamp, output: OutputPosition) -> Placement {
        if let Some(offset) = self.offset {
            let at = pts + offset;
            if at < output.oldest {
                let lateness = output.oldest - at;
                if !self.must_resync(lateness, output) {
                    return Placement::Late(lateness);
                }
            } else if at - output.clock <= MAX_LEAD {
                self.late = None;
                return Placement::At(at);
            }
            self.reset();
        }
        if output.next - output.clock > MAX_RESYNC_LEAD {
            return Placement::Early;
        }
        self.offset = Some(output.next - pts);
        Placement::Resynced(output.next)
    }

    /// Whether media that is late by `lateness` has had its time to catch up.
    fn must_resync(&mut self, lateness: TimeDelta, output: OutputPosition) -> bool {
        let now = output.now;
        let max_pause = output.max_pause.max(VIDEO_TIMEOUT.times(2));
        let Some(mut late) = self.late.take().filter(|late| now - late.last_arrival <= max_pause) else {
            self.late = Some(Late { since: now, last_arrival: now, measured: (now, lateness) });
            return self.is_repeated_burst(lateness, now);
        };
        late.last_arrival = now;
        if now - late.measured.0 >= CATCH_UP {
            let gained = late.measured.1 - lateness;
            if gained < MIN_GAIN || now - late.since >= MAX_CATCH_UP {
                return true;
            }
            late.measured = (now, lateness);
        }
        self.late = Some(late);
        false
    }

    /// Counts that media became late once more. Returns whether it gets a new offset now, because this has happened as
    /// often as [`LATE_BURSTS`] says.
    ///
    /// Media that is late by more than [`MAX_RESYNC_LEAD`] gets none, because the new offset would put the media after
    /// the burst too far ahead of the clock.
    fn is_repeated_burst(&mut self, lateness: TimeDelta, now: TimeDelta) -> bool {
        if now - self.bursts.1 > LATE_BURSTS.1 || self.bursts.0 == 0 {
            self.bursts = (0, now);
        }
        self.bursts.0 = self.bursts.0.saturating_add(1);
        let repeated = self.bursts.0 >= LATE_BURSTS.0 && lateness <= MAX_RESYNC_LEAD;
        if repeated {
            self.bursts.0 = 0;
        }
        repeated
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

    /// The output at `now`, exactly where the clock asks for it.
    fn output_at(now: i64) -> OutputPosition {
        OutputPosition { oldest: at(now), next: at(now), clock: at(now), now: ms(now), max_pause: ms(40) }
    }

    fn begun() -> Resync {
        let mut resync = Resync::default();
        resync.begin(TimeDelta::ZERO);
        resync
    }

    #[test]
    fn media_that_stays_behind_gets_a_new_offset() {
        let mut resync = begun();
        for now in (10_000..10_500).step_by(20) {
            assert_eq!(resync.place(at(now - 3_000), output_at(now)), Placement::Late(ms(3_000)));
        }
        assert_eq!(resync.place(at(7_500), output_at(10_500)), Placement::Resynced(at(10_500)));
        assert_eq!(resync.place(at(7_520), output_at(10_520)), Placement::At(at(10_520)));
    }

    #[test]
    fn media_that_catches_up_keeps_its_offset() {
        let mut resync = begun();
        for step in 0..100 {
            let now = 10_000 + step * 20;
            // Three times as fast as the clock: 4 s are made good in 2 s.
            assert!(matches!(resync.place(at(6_000 + step * 60), output_at(now)), Placement::Late(_)), "{now}");
        }
        assert_eq!(resync.place(at(12_000), output_at(12_000)), Placement::At(at(12_000)));
        assert!(!resync.is_late());
    }

    #[test]
    fn media_that_runs_ahead_waits_for_the_clock() {
        let mut resync = begun();
        let ahead = OutputPosition { oldest: at(11_000), next: at(11_000), ..output_at(10_000) };
        assert_eq!(resync.place(at(11_000), ahead), Placement::At(at(11_000)));
        assert_eq!(resync.place(at(11_040), ahead), Placement::Early);
        let waited = OutputPosition { clock: at(10_500), now: ms(10_500), ..ahead };
        assert_eq!(resync.place(at(20_000), waited), Placement::Resynced(at(11_000)));
    }

    #[test]
    fn media_in_bursts_is_placed_ahead() {
        let mut resync = begun();
        assert_eq!(resync.place(at(9_600), output_at(10_000)), Placement::Late(ms(400)));
        assert_eq!(resync.place(at(10_000), output_at(10_000)), Placement::At(at(10_000)));
        assert_eq!(resync.place(at(11_600), output_at(12_000)), Placement::Late(ms(400)));
        assert_eq!(resync.place(at(12_000), output_at(12_000)), Placement::At(at(12_000)));
        assert_eq!(resync.place(at(13_600), output_at(14_000)), Placement::Resynced(at(14_000)));
    }
}
