//! Frame rates: what a header claims, what the pictures show, and the constant rate that comes out.

use media::{TimeDelta, Timescale, Timestamp};

/// Frames in a second, as a fraction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Frames.
    pub frames: u32,
    /// In so many seconds.
    pub seconds: u32,
}

/// Rates that cameras and encoders have; a measured one that is near one of them is that one.
const USUAL: [Rate; 16] = [
    Rate::new(10, 1),
    Rate::new(25, 2),
    Rate::new(15_000, 1_001),
    Rate::new(15, 1),
    Rate::new(20, 1),
    Rate::new(24_000, 1_001),
    Rate::new(24, 1),
    Rate::new(25, 1),
    Rate::new(30_000, 1_001),
    Rate::new(30, 1),
    Rate::new(48, 1),
    Rate::new(50, 1),
    Rate::new(60_000, 1_001),
    Rate::new(60, 1),
    Rate::new(100, 1),
    Rate::new(120, 1),
];
/// A measured rate is taken for the header's, or for a usual one, within this much of it: a moment's milliseconds cannot
/// tell 29.97 from 30.
const NEAR: f64 = 0.025;
/// Slower pictures than this are shown more than once.
const SLOWEST: f64 = 1.0;
/// Where nothing is known.
const FALLBACK: Rate = Rate::new(30, 1);

impl Rate {
    /// `frames` in `seconds`; zero is taken as one.
    pub const fn new(frames: u32, seconds: u32) -> Self {
        Self { frames: if frames == 0 { 1 } else { frames }, seconds: if seconds == 0 { 1 } else { seconds } }
    }

    /// Frames a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// One in `n` of the frames.
    pub const fn divided(self, n: u32) -> Self {
        Self::new(self.frames, self.seconds.saturating_mul(n))
    }

    /// The length of `n` frames, without the rounding of each adding up.
    pub fn span(self, n: i64) -> TimeDelta {
        Timescale::new(self.frames).delta(n.saturating_mul(i64::from(self.seconds)))
    }

    /// Whole frames closest to so many seconds, at least one.
    pub fn frames_in(self, seconds: u32) -> u32 {
        let frames = (f64::from(seconds) * self.per_second()).round();
        (frames as u32).max(1)
    }
}

/// Finds the rate of a contribution by its first pictures.
#[derive(Debug, Default)]
pub struct Estimator {
    seen: Vec<Timestamp>,
}

impl Estimator {
    /// Pictures looked at before the rate is settled.
    pub const ENOUGH: usize = 12;

    /// Another picture.
    pub fn add(&mut self, pts: Timestamp) {
        if self.seen.len() < Self::ENOUGH {
            self.seen.push(pts);
        }
    }

    /// Whether there were enough pictures.
    pub const fn is_settled(&self) -> bool {
        self.seen.len() >= Self::ENOUGH
    }

    /// The rate by all that is known so far, and what the header claims.
    pub fn rate(&self, claimed: Option<Rate>) -> Rate {
        let Some(measured) = self.measured() else { return claimed.unwrap_or(FALLBACK) };
        let near = |rate: &Rate| ((rate.per_second() - measured) / measured).abs();
        if let Some(claimed) = claimed.filter(|rate| near(rate) <= NEAR) {
            return claimed;
        }
        // Whole rates first among those that milliseconds cannot tell apart.
        let whole = USUAL.iter().filter(|rate| rate.seconds == 1 && near(rate) <= NEAR);
        let any = USUAL.iter().filter(|rate| near(rate) <= NEAR);
        let nearest = |a: &&Rate, b: &&Rate| near(a).total_cmp(&near(b));
        let usual = whole.min_by(nearest).or_else(|| any.min_by(nearest));
        usual.copied().unwrap_or_else(|| Rate::new(measured.max(SLOWEST).round() as u32, 1))
    }

    /// Frames a second by the middle distance between pictures, so that one gap or double counts for nothing; by the mean
    /// of those near it, so that a coarse clock does not either.
    fn measured(&self) -> Option<f64> {
        let mut seen = self.seen.clone();
        seen.sort_unstable();
        let mut gaps: Vec<_> = seen.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        gaps.retain(|gap| *gap > 0.0);
        gaps.sort_unstable_by(f64::total_cmp);
        let middle = *gaps.get(gaps.len() / 2)?;
        gaps.retain(|gap| (*gap - middle).abs() <= middle / 3.0);
        Some(gaps.len() as f64 / gaps.iter().sum::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(claimed: Option<Rate>, millis: impl Iterator<Item = i64>) -> Rate {
        let mut estimator = Estimator::default();
        for ms in millis.take(2 * Estimator::ENOUGH) {
            estimator.add(Timestamp::ZERO + TimeDelta::from_millis(ms));
        }
        assert!(estimator.is_settled());
        estimator.rate(claimed)
    }

    #[test]
    fn milliseconds_of_usual_rates() {
        for (fps, rate) in [(25.0, Rate::new(25, 1)), (30.0, Rate::new(30, 1)), (60.0, Rate::new(60, 1))] {
            assert_eq!(estimate(None, (0..).map(|n| (f64::from(n) * 1_000.0 / fps) as i64)), rate);
        }
        assert_eq!(estimate(None, (0..).map(|n| n * 80)), Rate::new(25, 2));
        assert_eq!(estimate(None, (0..).map(|n| n * 143)), Rate::new(7, 1));
    }

    #[test]
    fn the_header_tells_what_milliseconds_cannot() {
        let ntsc = Rate::new(30_000, 1_001);
        assert_eq!(estimate(Some(ntsc), (0..).map(|n| n * 100 / 3)), ntsc);
        // A header that lies is not believed.
        assert_eq!(estimate(Some(Rate::new(90_000, 1)), (0..).map(|n| n * 40)), Rate::new(25, 1));
    }

    #[test]
    fn a_gap_and_disorder_do_not_matter() {
        let pts = [0, 120, 40, 80, 160, 280, 200, 240, 2_000, 2_040, 2_080, 2_120, 2_160];
        assert_eq!(estimate(None, pts.into_iter()), Rate::new(25, 1));
    }

    #[test]
    fn nothing_known_is_thirty() {
        assert_eq!(Estimator::default().rate(None), Rate::new(30, 1));
        assert_eq!(Estimator::default().rate(Some(Rate::new(50, 1))), Rate::new(50, 1));
    }

    #[test]
    fn spans_do_not_drift() {
        let ntsc = Rate::new(30_000, 1_001);
        assert_eq!(ntsc.span(30_000), TimeDelta::from_secs(1_001));
        assert_eq!((ntsc.frames_in(2), Rate::new(25, 2).frames_in(1), Rate::new(1, 9).frames_in(1)), (60, 13, 1));
        assert_eq!(Rate::new(60, 1).divided(2).span(1), Rate::new(30, 1).span(1));
    }
}
