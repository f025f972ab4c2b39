//! The 90 kHz clock of 33 bits, which wraps every 26.5 hours.

use media::{Timescale, Timestamp};

/// Bits of a timestamp.
const BITS: u32 = 33;
/// Timescale of programme clock references.
const SYSTEM_CLOCK: Timescale = Timescale::new(27_000_000);
/// Ticks of [`SYSTEM_CLOCK`] in one tick of 90 kHz.
const SYSTEM_TICKS: u64 = 300;

/// Unwraps the 33-bit timestamps of one programme.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    last: Option<i64>,
}

impl Clock {
    /// Returns the unwrapped time of `ticks`: the one nearest to the previous time, so that a step back is not a wrap.
    ///
    /// The first time is taken as it is. All streams of a programme share the clock.
    pub(super) fn unwrap(&mut self, ticks: u64) -> Timestamp {
        let whole = self.ticks_near(ticks);
        self.last = Some(whole);
        Timescale::NINETY_KHZ.timestamp(whole)
    }

    /// Returns the unwrapped time of `ticks` as [`Clock::unwrap`] does, but does not remember it.
    pub(super) fn near(&self, ticks: u64) -> Timestamp {
        Timescale::NINETY_KHZ.timestamp(self.ticks_near(ticks))
    }

    /// Returns the unwrapped time of a programme clock reference of 27 MHz.
    pub(super) fn reference(&self, ticks: u64) -> Timestamp {
        let whole = self.ticks_near(ticks / SYSTEM_TICKS);
        let rest = (ticks % SYSTEM_TICKS).cast_signed();
        Timescale::NINETY_KHZ.timestamp(whole) + SYSTEM_CLOCK.delta(rest)
    }

    fn ticks_near(&self, ticks: u64) -> i64 {
        let Some(last) = self.last else { return ticks.cast_signed() };
        // The low 33 bits of the difference, as a signed number, are the shortest distance.
        let way = ticks.wrapping_sub(last.cast_unsigned()) << (u64::BITS - BITS);
        last.saturating_add(way.cast_signed() >> (u64::BITS - BITS))
    }

    /// Returns the latest time.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last.map(|ticks| Timescale::NINETY_KHZ.timestamp(ticks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WRAP: i64 = 1 << BITS;

    #[test]
    fn wraps_forward_and_steps_back() {
        let mut clock = Clock::default();
        let times = [WRAP - 100, WRAP - 50, WRAP - 75, 20, WRAP - 1, 40];
        let whole = times.map(|ticks| Timescale::NINETY_KHZ.ticks(clock.unwrap(ticks.cast_unsigned())));
        assert_eq!(whole, [WRAP - 100, WRAP - 50, WRAP - 75, WRAP + 20, WRAP - 1, WRAP + 40]);
    }

    proptest! {
        #[test]
        fn any_walk_of_less_than_half_the_range_is_followed(
            start in 0..WRAP,
            steps in prop::collection::vec(1 - WRAP / 2..WRAP / 2, 0..50),
        ) {
            let mut clock = Clock::default();
            let mut at = start;
            clock.unwrap(start.cast_unsigned());
            for step in steps {
                at += step;
                let ticks = at.rem_euclid(WRAP).cast_unsigned();
                prop_assert_eq!(Timescale::NINETY_KHZ.ticks(clock.unwrap(ticks)), at);
            }
        }
    }
}
