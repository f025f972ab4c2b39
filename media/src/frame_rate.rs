//! Frame rates: the rate that a header claims, the rate that timestamps show, and the usual ones.

use crate::time::{TimeDelta, Timescale, Timestamp};

/// Frames per second, as a fraction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameRate {
    /// Number of frames in [`FrameRate::seconds`].
    pub frames: u32,
    /// Number of seconds that [`FrameRate::frames`] last.
    pub seconds: u32,
}

/// Largest relative distance at which a measured rate is taken for the claimed rate or for a usual one.
///
/// Twelve frames with timestamps in milliseconds cannot distinguish 29.97 from 30.
const TOLERANCE: f64 = 0.025;
/// Lowest rate that is returned, in frames per second. Frames of a slower source are repeated.
const MIN_RATE: f64 = 1.0;
/// Rate that is assumed if nothing is known.
const DEFAULT: FrameRate = FrameRate::new(30, 1);

impl FrameRate {
    /// Rates that cameras and encoders use, in ascending order. A measured rate close to one of them means that one.
    pub const USUAL: [Self; 20] = [
        Self::new(5, 1),
        Self::new(15, 2),
        Self::new(8, 1),
        Self::new(10, 1),
        Self::new(12, 1),
        Self::new(25, 2),
        Self::new(15_000, 1_001),
        Self::new(15, 1),
        Self::new(20, 1),
        Self::new(24_000, 1_001),
        Self::new(24, 1),
        Self::new(25, 1),
        Self::new(30_000, 1_001),
        Self::new(30, 1),
        Self::new(48, 1),
        Self::new(50, 1),
        Self::new(60_000, 1_001),
        Self::new(60, 1),
        Self::new(100, 1),
        Self::new(120, 1),
    ];

    /// Creates the rate of `frames` in `seconds`; a zero is taken as one.
    pub const fn new(frames: u32, seconds: u32) -> Self {
        Self { frames: if frames == 0 { 1 } else { frames }, seconds: if seconds == 0 { 1 } else { seconds } }
    }

    /// Returns the frames per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// Returns the rate in thousandths of a frame per second, rounded to the nearest.
    pub fn millihertz(self) -> u32 {
        let (frames, seconds) = (u64::from(self.frames), u64::from(self.seconds));
        u32::try_from((frames * 1_000 + seconds / 2) / seconds).unwrap_or(u32::MAX)
    }

    /// Returns the rate that is left if one of `n` frames is kept.
    pub const fn divided(self, n: u32) -> Self {
        Self::new(self.frames, self.seconds.saturating_mul(n))
    }

    /// Returns the duration of `n` frames, rounded once: errors do not add up.
    pub fn span(self, n: i64) -> TimeDelta {
        Timescale::new(self.frames).delta(n.saturating_mul(i64::from(self.seconds)))
    }

    /// Returns the number of whole frames closest to `seconds`, at least one.
    pub fn frames_in(self, seconds: u32) -> u32 {
        let frames = (f64::from(seconds) * self.per_second()).round();
        (frames as u32).max(1)
    }
}

/// Estimates the frame rate of a contribution from its first frames.
#[derive(Debug, Default)]
pub struct FrameRateEstimator {
    seen: Vec<Timestamp>,
}

impl FrameRateEstimator {
    /// Number of frames after which the estimate is final.
    pub const ENOUGH: usize = 12;

    /// Adds the presentation time of the next frame, in any order.
    pub fn add(&mut self, pts: Timestamp) {
        if self.seen.len() < Self::ENOUGH {
            self.seen.push(pts);
        }
    }

    /// Returns whether [`FrameRateEstimator::ENOUGH`] frames were added.
    pub const fn is_settled(&self) -> bool {
        self.seen.len() >= Self::ENOUGH
    }

    /// Returns the estimate from the frames so far and the rate that the header claims.
    ///
    /// The claimed rate counts if the frames confirm it. Otherwise the nearest of [`FrameRate::USUAL`] does, or else
    /// the measured rate rounded to whole frames per second.
    pub fn rate(&self, claimed: Option<FrameRate>) -> FrameRate {
        let Some(measured) = self.measured() else { return claimed.unwrap_or(DEFAULT) };
        let error = |rate: &FrameRate| ((rate.per_second() - measured) / measured).abs();
        if let Some(claimed) = claimed.filter(|rate| error(rate) <= TOLERANCE) {
            return claimed;
        }
        // Whole rates come first, because timestamps in milliseconds cannot distinguish 30 from 29.97.
        let whole = FrameRate::USUAL.iter().filter(|rate| rate.seconds == 1 && error(rate) <= TOLERANCE);
        let any = FrameRate::USUAL.iter().filter(|rate| error(rate) <= TOLERANCE);
        let nearest = |a: &&FrameRate, b: &&FrameRate| error(a).total_cmp(&error(b));
        let usual = whole.min_by(nearest).or_else(|| any.min_by(nearest));
        usual.copied().unwrap_or_else(|| FrameRate::new(measured.max(MIN_RATE).round() as u32, 1))
    }

    /// Returns the measured frames per second; `None` before two frames of different times.
    ///
    /// The median distance between frames comes first, so that one gap or repeated frame does not count. The mean of
    /// the distances near it follows, so that a coarse clock does not count either.
    fn measured(&self) -> Option<f64> {
        let mut seen = self.seen.clone();
        seen.sort_unstable();
        let mut distances: Vec<_> = seen.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        distances.retain(|distance| *distance > 0.0);
        distances.sort_unstable_by(f64::total_cmp);
        let median = *distances.get(distances.len() / 2)?;
        distances.retain(|distance| (*distance - median).abs() <= median / 3.0);
        Some(distances.len() as f64 / distances.iter().sum::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(claimed: Option<FrameRate>, millis: impl Iterator<Item = i64>) -> FrameRate {
        let mut estimator = FrameRateEstimator::default();
        for ms in millis.take(2 * FrameRateEstimator::ENOUGH) {
            estimator.add(Timestamp::ZERO + TimeDelta::from_millis(ms));
        }
        assert!(estimator.is_settled());
        estimator.rate(claimed)
    }

    #[test]
    fn the_usual_rates_are_ascending() {
        assert!(FrameRate::USUAL.windows(2).all(|pair| pair[0].per_second() < pair[1].per_second()));
        let millihertz = [FrameRate::new(30_000, 1_001), FrameRate::new(25, 2)].map(FrameRate::millihertz);
        assert_eq!(millihertz, [29_970, 12_500]);
    }

    #[test]
    fn millisecond_timestamps_give_usual_rates() {
        for (fps, rate) in [(25.0, FrameRate::new(25, 1)), (30.0, FrameRate::new(30, 1)), (60.0, FrameRate::new(60, 1))]
        {
            assert_eq!(estimate(None, (0..).map(|n| (f64::from(n) * 1_000.0 / fps) as i64)), rate);
        }
        assert_eq!(estimate(None, (0..).map(|n| n * 80)), FrameRate::new(25, 2));
        assert_eq!(estimate(None, (0..).map(|n| n * 143)), FrameRate::new(7, 1));
    }

    #[test]
    fn the_header_decides_between_rates_that_milliseconds_cannot_distinguish() {
        let ntsc = FrameRate::new(30_000, 1_001);
        assert_eq!(estimate(Some(ntsc), (0..).map(|n| n * 100 / 3)), ntsc);
        // A header that contradicts the frames is ignored.
        assert_eq!(estimate(Some(FrameRate::new(90_000, 1)), (0..).map(|n| n * 40)), FrameRate::new(25, 1));
    }

    #[test]
    fn a_gap_and_disorder_do_not_matter() {
        let pts = [0, 120, 40, 80, 160, 280, 200, 240, 2_000, 2_040, 2_080, 2_120, 2_160];
        assert_eq!(estimate(None, pts.into_iter()), FrameRate::new(25, 1));
    }

    #[test]
    fn the_default_is_thirty() {
        assert_eq!(FrameRateEstimator::default().rate(None), FrameRate::new(30, 1));
        assert_eq!(FrameRateEstimator::default().rate(Some(FrameRate::new(50, 1))), FrameRate::new(50, 1));
    }

    #[test]
    fn spans_do_not_drift() {
        let ntsc = FrameRate::new(30_000, 1_001);
        assert_eq!(ntsc.span(30_000), TimeDelta::from_secs(1_001));
        let frames = [ntsc.frames_in(2), FrameRate::new(25, 2).frames_in(1), FrameRate::new(1, 9).frames_in(1)];
        assert_eq!(frames, [60, 13, 1]);
        assert_eq!(FrameRate::new(60, 1).divided(2).span(1), FrameRate::new(30, 1).span(1));
    }
}
