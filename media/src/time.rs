//! Media time, exact for every rate in use.
//!
//! The whole program uses one unit, in [`Timestamp`] and [`TimeDelta`]: the *flick*, 1/705 600 000 s. Milliseconds
//! (RTMP), 90 kHz (MPEG-TS, video tracks) and all audio sample rates from 7 350 Hz to 192 kHz are whole numbers of
//! flicks. Converting between them loses nothing, and a signed 64-bit count lasts for 414 years.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::time::Duration;

/// Flicks per second.
const FLICKS_PER_SECOND: i64 = 705_600_000;

/// Timescale of conversions from and to [`Duration`].
const MICROS: Timescale = Timescale::new(1_000_000);

/// A position on a timeline, in flicks from the timeline's origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A signed distance between two [`Timestamp`]s, in flicks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimeDelta(i64);

/// Ticks per second of a transport or a track: 1 000 for RTMP, 90 000 for MPEG-TS, the sample rate for audio.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// Milliseconds, for RTMP and FLV.
    pub const MILLIS: Self = Self::new(1_000);
    /// The 90 kHz clock of MPEG systems, and the timescale of video tracks.
    pub const NINETY_KHZ: Self = Self::new(90_000);

    /// Creates a timescale; a zero is taken as one.
    pub const fn new(ticks_per_second: u32) -> Self {
        match NonZeroU32::new(ticks_per_second) {
            Some(n) => Self(n),
            None => Self(NonZeroU32::MIN),
        }
    }

    /// Returns the ticks per second.
    pub const fn ticks_per_second(self) -> u32 {
        self.0.get()
    }

    /// Returns the [`Timestamp`] that is `ticks` from the origin. Exact if the rate divides 705 600 000.
    pub fn timestamp(self, ticks: i64) -> Timestamp {
        Timestamp(self.ticks_to_flicks(ticks))
    }

    /// Returns the [`TimeDelta`] of `ticks`.
    pub fn delta(self, ticks: i64) -> TimeDelta {
        TimeDelta(self.ticks_to_flicks(ticks))
    }

    /// Returns `at` in ticks, rounded to the nearest.
    pub fn ticks(self, at: Timestamp) -> i64 {
        self.flicks_to_ticks(at.0)
    }

    /// Returns `delta` in ticks, rounded to the nearest.
    pub fn delta_ticks(self, delta: TimeDelta) -> i64 {
        self.flicks_to_ticks(delta.0)
    }

    fn ticks_to_flicks(self, ticks: i64) -> i64 {
        let rate = i64::from(self.0.get());
        if FLICKS_PER_SECOND % rate == 0 {
            return ticks.saturating_mul(FLICKS_PER_SECOND / rate);
        }
        saturate(div_round(i128::from(ticks) * i128::from(FLICKS_PER_SECOND), i128::from(rate)))
    }

    fn flicks_to_ticks(self, flicks: i64) -> i64 {
        saturate(div_round(i128::from(flicks) * i128::from(self.0.get()), i128::from(FLICKS_PER_SECOND)))
    }
}

fn div_round(n: i128, d: i128) -> i128 {
    (n + d / 2).div_euclid(d)
}

fn saturate(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

impl Timestamp {
    /// The origin of a timeline.
    pub const ZERO: Self = Self(0);

    /// Returns the position in flicks.
    pub const fn flicks(self) -> i64 {
        self.0
    }
}

impl TimeDelta {
    /// No distance.
    pub const ZERO: Self = Self(0);

    /// Creates a distance of whole milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(FLICKS_PER_SECOND / 1_000))
    }

    /// Creates a distance of whole seconds.
    pub const fn from_secs(s: i64) -> Self {
        Self(s.saturating_mul(FLICKS_PER_SECOND))
    }

    /// Converts a [`Duration`] of a real clock, rounded down to microseconds.
    pub fn from_duration(duration: Duration) -> Self {
        MICROS.delta(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }

    /// Converts to a [`Duration`] of a real clock, rounded to the nearest microsecond; zero if this distance is
    /// negative.
    pub fn to_duration(self) -> Duration {
        Duration::from_micros(u64::try_from(MICROS.delta_ticks(self)).unwrap_or(0))
    }

    /// Returns the distance in whole milliseconds, rounded towards zero.
    pub const fn as_millis(self) -> i64 {
        self.0 / (FLICKS_PER_SECOND / 1_000)
    }

    /// Returns the distance in seconds. For people and playlists only: arithmetic stays in flicks.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / FLICKS_PER_SECOND as f64
    }

    /// Returns the distance in flicks.
    pub const fn flicks(self) -> i64 {
        self.0
    }

    /// Returns the distance without its sign.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// Returns `n` times this distance.
    pub const fn times(self, n: i64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Returns this distance divided by `n`; unchanged if `n` is not positive.
    pub const fn part(self, n: i64) -> Self {
        if n <= 0 { self } else { Self(self.0 / n) }
    }

    /// Returns how many times another [`TimeDelta`] fits in this one; zero if `step` is not positive.
    pub const fn whole(self, step: Self) -> i64 {
        if step.0 <= 0 { 0 } else { self.0 / step.0 }
    }
}

impl Add<TimeDelta> for Timestamp {
    type Output = Self;
    fn add(self, rhs: TimeDelta) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign<TimeDelta> for Timestamp {
    fn add_assign(&mut self, rhs: TimeDelta) {
        *self = *self + rhs;
    }
}

impl Sub<TimeDelta> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: TimeDelta) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl Sub for Timestamp {
    type Output = TimeDelta;
    fn sub(self, rhs: Self) -> TimeDelta {
        TimeDelta(self.0.saturating_sub(rhs.0))
    }
}

impl Add for TimeDelta {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for TimeDelta {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Sub for TimeDelta {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl Neg for TimeDelta {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:.6}s", self.0 as f64 / FLICKS_PER_SECOND as f64)
    }
}

impl fmt::Debug for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.as_secs_f64())
    }
}

/// Wall-clock time, in milliseconds since the Unix epoch. It is an argument: only the crates that do I/O read a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallTime(i64);

impl WallTime {
    /// Creates the time `ms` milliseconds after the Unix epoch.
    pub const fn from_unix_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Returns this time plus a [`TimeDelta`], to the millisecond.
    pub const fn shifted(self, by: TimeDelta) -> Self {
        Self(self.0.saturating_add(by.as_millis()))
    }

    /// Returns the [`TimeDelta`] since `earlier`.
    pub const fn since(self, earlier: Self) -> TimeDelta {
        TimeDelta::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Formats as ISO 8601 in UTC with milliseconds, for `EXT-X-PROGRAM-DATE-TIME`: `2026-11-21T07:52:03.120Z`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (y, m, d) = civil_from_days(days);
        let s = ms / 1_000;
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:03}Z", s / 3_600, s / 60 % 60, s % 60, ms % 1_000)
    }
}

/// Returns the proleptic Gregorian date of a day counted from the Unix epoch. Years are counted from March, so that
/// leap days come last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates_in_use_are_exact() {
        for rate in [
            1_000, 90_000, 7_350, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000,
            88_200, 96_000, 192_000,
        ] {
            assert_eq!(FLICKS_PER_SECOND % i64::from(rate), 0, "{rate} Hz");
            let scale = Timescale::new(u32::try_from(rate).unwrap());
            assert_eq!(scale.ticks(scale.timestamp(123_456_789)), 123_456_789);
        }
    }

    #[test]
    fn ticks_round_to_the_nearest() {
        let at = Timescale::new(48_000).timestamp(1_024);
        assert_eq!(Timescale::MILLIS.ticks(at), 21);
        assert_eq!(Timescale::MILLIS.ticks(Timestamp::ZERO - TimeDelta(352_801)), -1);
    }

    #[test]
    fn durations_convert_to_the_microsecond() {
        let duration = Duration::from_micros(1_234_567);
        assert_eq!(TimeDelta::from_duration(duration).to_duration(), duration);
        assert_eq!(TimeDelta::from_duration(Duration::from_secs(7)), TimeDelta::from_secs(7));
        assert_eq!(TimeDelta::from_millis(-1).to_duration(), Duration::ZERO);
    }

    #[test]
    fn wall_time_prints_iso_8601() {
        assert_eq!(WallTime::from_unix_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(WallTime::from_unix_millis(1_709_210_096_789).to_string(), "2024-02-29T12:34:56.789Z");
        assert_eq!(WallTime::from_unix_millis(4_102_444_799_999).to_string(), "2099-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn any_rate_comes_back(rate in 1u32..1_000_000, ticks in -1_000_000_000i64..1_000_000_000) {
            let scale = Timescale::new(rate);
            prop_assert_eq!(scale.ticks(scale.timestamp(ticks)), ticks);
        }

        #[test]
        fn arithmetic_saturates(a in any::<i64>(), b in any::<i64>()) {
            let _ = (Timestamp(a) + TimeDelta(b), Timestamp(a) - Timestamp(b), Timestamp(a) - TimeDelta(b));
            let _ = (Timescale::new(7).ticks(Timestamp(a)), Timescale::new(1).timestamp(b), -TimeDelta(a));
        }
    }
}
