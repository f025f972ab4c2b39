//! The grid that pictures stand on, exact for every frame rate.

use media::{TimeDelta, Timescale, Timestamp};

/// One flick, the unit of media time.
pub(super) const FLICKS: Timescale = Timescale::new(FLICKS_PER_SECOND);
const FLICKS_PER_SECOND: u32 = 705_600_000;
/// A picture this part of a tick later than a tick is still that tick's: transports round to milliseconds.
const TOLERANCE_PART: i64 = 4;

/// Ticks of a constant rate from an origin on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    origin: Timestamp,
    /// Flicks of `rate` ticks.
    flicks: i128,
    rate: i128,
}

impl Ticks {
    /// `fps.0 / fps.1` ticks a second; zeros are taken as ones.
    pub(super) fn new(fps: (u32, u32), origin: Timestamp) -> Self {
        let flicks = i128::from(fps.1.max(1)) * i128::from(FLICKS_PER_SECOND);
        Self { origin, flicks, rate: i128::from(fps.0.max(1)) }
    }

    /// When tick `n` is, to the nearest flick: nothing adds up.
    pub(super) fn at(&self, n: i64) -> Timestamp {
        let flicks = (i128::from(n) * self.flicks + self.rate / 2).div_euclid(self.rate);
        self.origin + FLICKS.delta(i64::try_from(flicks).unwrap_or(i64::MAX))
    }

    /// The distance of two ticks.
    pub(super) fn length(&self) -> TimeDelta {
        self.at(1) - self.origin
    }

    /// How far a picture may be off a tick and is still that tick's.
    pub(super) fn tolerance(&self) -> TimeDelta {
        FLICKS.delta(self.length().flicks() / TOLERANCE_PART)
    }

    /// The first tick that is later than what tick a picture at `at` belongs to.
    pub(super) fn after(&self, at: Timestamp) -> i64 {
        let off = i128::from((at + self.tolerance() - self.origin).flicks());
        i64::try_from((off * self.rate).div_euclid(self.flicks)).unwrap_or(i64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_exact_for_a_day() {
        for (fps, ticks) in [((30_000, 1_001), 2_589_411), ((25, 1), 2_160_000), ((60_000, 1_001), 5_178_822)] {
            let grid = Ticks::new(fps, Timestamp::ZERO);
            let exact = i128::from(ticks) * i128::from(fps.1) * i128::from(FLICKS_PER_SECOND) / i128::from(fps.0);
            assert!((i128::from(grid.at(ticks).flicks()) - exact).abs() <= 1);
            assert_eq!(grid.after(grid.at(ticks)), ticks + 1);
        }
    }

    #[test]
    fn a_rate_that_is_no_whole_number_of_flicks_does_not_add_up() {
        let grid = Ticks::new((11, 1), Timestamp::ZERO);
        assert_eq!(grid.at(11 * 86_400), Timestamp::ZERO + TimeDelta::from_secs(86_400));
        assert!((0..1_000).all(|n| ((grid.at(n + 1) - grid.at(n)).flicks() - 64_145_454).abs() <= 1));
    }

    #[test]
    fn milliseconds_find_their_tick() {
        let grid = Ticks::new((30, 1), Timestamp::ZERO);
        for n in 0..3_000 {
            let millis = Timescale::MILLIS.timestamp(n * 1_000 / 30);
            assert_eq!(grid.after(millis), n + 1);
        }
        assert_eq!(grid.after(Timescale::MILLIS.timestamp(17)), 1);
    }
}
