//! The ticks of a constant frame rate, exact for every rate.

use crate::frame_rate::FrameRate;
use crate::time::{TimeDelta, Timescale, Timestamp};

/// Divisor of the tick duration that gives [`TickGrid::tolerance`]: transports round timestamps to milliseconds.
const TOLERANCE_PART: i64 = 4;

/// The presentation times of a constant frame rate: tick `n` is `n` frame durations after the origin.
#[derive(Clone, Copy, Debug)]
pub struct TickGrid {
    /// Time of tick 0.
    pub origin: Timestamp,
    /// Ticks per second.
    pub rate: FrameRate,
}

impl TickGrid {
    /// Creates a grid of `rate` whose tick 0 is at `origin`.
    pub const fn new(rate: FrameRate, origin: Timestamp) -> Self {
        Self { origin, rate }
    }

    /// Returns the time of tick `n`, rounded once: errors do not add up.
    pub fn at(&self, n: i64) -> Timestamp {
        self.origin + self.rate.span(n)
    }

    /// Returns the duration of one tick.
    pub fn tick(&self) -> TimeDelta {
        self.rate.span(1)
    }

    /// Returns how much earlier than a tick a frame may be and still belong to that tick: a quarter of a tick.
    pub fn tolerance(&self) -> TimeDelta {
        self.tick().part(TOLERANCE_PART)
    }

    /// Returns the number of the tick nearest to `at`.
    pub fn index(&self, at: Timestamp) -> i64 {
        let (seconds, parts) = (i64::from(self.rate.seconds), Timescale::new(self.rate.frames));
        (parts.delta_ticks(at - self.origin) + seconds / 2).div_euclid(seconds)
    }

    /// Returns the number of the first tick after the one that a frame at `at` belongs to, within
    /// [`TickGrid::tolerance`].
    pub fn next_after(&self, at: Timestamp) -> i64 {
        let distance = i128::from((at + self.tolerance() - self.origin).flicks());
        let seconds = i128::from(self.rate.seconds) * i128::from(TimeDelta::from_secs(1).flicks());
        let ticks = (distance * i128::from(self.rate.frames)).div_euclid(seconds);
        i64::try_from(ticks).unwrap_or(i64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(frames: u32, seconds: u32) -> TickGrid {
        TickGrid::new(FrameRate::new(frames, seconds), Timestamp::ZERO)
    }

    #[test]
    fn ticks_are_found_again() {
        for (frames, seconds) in [(30_000, 1_001), (25, 1), (25, 2), (60, 1)] {
            let grid = TickGrid::new(FrameRate::new(frames, seconds), Timescale::MILLIS.timestamp(10_033));
            let slip = Timescale::new(705_600_000).delta(3);
            for n in [-2, -1, 0, 1, 2, 1_000_003] {
                let at = grid.at(n);
                assert_eq!([grid.index(at - slip), grid.index(at), grid.index(at + slip)], [n; 3]);
            }
        }
    }

    #[test]
    fn rates_are_exact_for_a_day() {
        let second = i128::from(TimeDelta::from_secs(1).flicks());
        for (frames, seconds, ticks) in [(30_000, 1_001, 2_589_411), (25, 1, 2_160_000), (60_000, 1_001, 5_178_822)] {
            let grid = grid(frames, seconds);
            let exact = i128::from(ticks) * i128::from(seconds) * second / i128::from(frames);
            assert!((i128::from((grid.at(ticks) - Timestamp::ZERO).flicks()) - exact).abs() <= 1);
            assert_eq!(grid.next_after(grid.at(ticks)), ticks + 1);
        }
    }

    #[test]
    fn a_tick_that_is_no_whole_number_of_flicks_does_not_add_up() {
        let grid = grid(11, 1);
        assert_eq!(grid.at(11 * 86_400), Timestamp::ZERO + TimeDelta::from_secs(86_400));
        assert!((0..1_000).all(|n| ((grid.at(n + 1) - grid.at(n)).flicks() - 64_145_454).abs() <= 1));
    }

    #[test]
    fn millisecond_timestamps_find_their_tick() {
        let grid = grid(30, 1);
        for n in 0..3_000 {
            let millis = Timescale::MILLIS.timestamp(n * 1_000 / 30);
            assert_eq!(grid.next_after(millis), n + 1);
        }
        assert_eq!(grid.next_after(Timescale::MILLIS.timestamp(17)), 1);
    }
}
