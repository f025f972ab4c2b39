//! Bit rates and frame rate, measured on what was published.

use media::TimeDelta;

use crate::log::{Part, SegmentEnd};

/// Rates in thousandths of a hertz that cameras and encoders mean when they come close to them.
const USUAL_RATES: [u32; 17] = [
    5_000, 7_500, 8_000, 10_000, 12_000, 12_500, 15_000, 20_000, 23_976, 24_000, 25_000, 29_970, 30_000, 50_000,
    59_940, 60_000, 120_000,
];
/// How close: one part in this many. 29.97 and 30 differ by one in 1 000, and the nearest wins.
const SNAP: u32 = 250;
/// Newest segments that peak windows are made of; 1.5 target durations of half-second segments fit well.
const RECENT: usize = 32;

/// Percent added to the measured peak, by how long the rendition has lasted. Players read the multivariant playlist once, most
/// of them soon after the start, and their estimate has to hold for what comes later: `BANDWIDTH` must not be exceeded.
const HEADROOM: [(TimeDelta, u64); 2] = [(TimeDelta::from_secs(20), 50), (TimeDelta::from_secs(60), 25)];
/// The same from then on.
const LEAST_HEADROOM: u64 = 10;
/// A steady rate counts where it is above the average by more than this, in percent: else the average is more exact.
const RATE_TOLERANCE: u32 = 3;
/// Sets of segments that count for the peak last 0.5 to 1.5 target durations, in percent, with room for rounding.
const PEAK_SETS: std::ops::RangeInclusive<i64> = 49..=151;

/// Running sums over a rendition.
#[derive(Clone, Debug, Default)]
pub(super) struct Measure {
    bits: u64,
    duration: TimeDelta,
    peak: u64,
    recent: Vec<(u64, TimeDelta)>,
    frames: u64,
    frames_duration: TimeDelta,
    /// The highest rate that lasted, in frames per thousand seconds.
    steady: u32,
}

impl Measure {
    /// A new init section: another frame rate may begin.
    pub(super) fn format_changed(&mut self) {
        self.frames = 0;
        self.frames_duration = TimeDelta::ZERO;
        self.steady = 0;
    }

    pub(super) fn part(&mut self, part: &Part) {
        if part.frames > 0 {
            self.frames += u64::from(part.frames);
            self.frames_duration += part.duration;
        }
    }

    /// A segment was closed. The peak is taken over runs of segments of 0.5 to 1.5 target durations.
    pub(super) fn segment(&mut self, bytes: u64, end: &SegmentEnd, target_secs: u32) {
        self.steady = self.steady.max(end.millihertz.unwrap_or(0));
        self.bits += bytes * 8;
        self.duration += end.duration;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push((bytes * 8, end.duration));
        let percent = TimeDelta::from_millis(10).times(target_secs.into()).flicks().max(1);
        let (mut bits, mut length) = (0, TimeDelta::ZERO);
        for (more, longer) in self.recent.iter().rev() {
            bits += more;
            length += *longer;
            let share = length.flicks() / percent;
            if share > *PEAK_SETS.end() {
                break;
            }
            if PEAK_SETS.contains(&share) {
                self.peak = self.peak.max(rate(bits, length));
            }
        }
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.max(self.average())
    }

    pub(super) fn bandwidth(&self) -> u64 {
        let headroom = HEADROOM.into_iter().find(|(until, _)| self.duration < *until);
        self.peak() * (100 + headroom.map_or(LEAST_HEADROOM, |(_, percent)| percent)) / 100
    }

    pub(super) fn average(&self) -> u64 {
        rate(self.bits, self.duration)
    }

    /// The highest rate that lasted; where the rate did not change that is the average, which is more exact.
    pub(super) fn millihertz(&self) -> Option<u32> {
        let average = u32::try_from(rate(self.frames * 1_000, self.frames_duration)).ok().filter(|r| *r > 0)?;
        let varies = self.steady > average.saturating_add(average / 100 * RATE_TOLERANCE);
        let measured = if varies { self.steady } else { average };
        let nearest = USUAL_RATES.into_iter().min_by_key(|r| r.abs_diff(measured))?;
        Some(if nearest.abs_diff(measured) <= nearest / SNAP { nearest } else { measured })
    }
}

/// `amount` in a second, rounded up: a bandwidth must not be exceeded.
fn rate(amount: u64, over: TimeDelta) -> u64 {
    let flicks = u128::try_from(over.flicks()).unwrap_or(0);
    let second = u128::try_from(TimeDelta::from_secs(1).flicks()).unwrap_or(0);
    if flicks == 0 { 0 } else { u64::try_from((u128::from(amount) * second).div_ceil(flicks)).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::RenditionId;

    fn segment(measure: &mut Measure, bytes: u64, millis: i64) {
        let (rendition, duration) = (RenditionId::VIDEO, TimeDelta::from_millis(millis));
        measure.segment(bytes, &SegmentEnd { rendition, msn: 0, duration, millihertz: None }, 2);
    }

    #[test]
    fn the_peak_ignores_segments_too_short_to_count() {
        let mut measure = Measure::default();
        segment(&mut measure, 1_000_000, 200);
        segment(&mut measure, 250_000, 2_000);
        assert_eq!(measure.peak(), 10_000_000 * 1_000 / 2_200 + 1);
        segment(&mut measure, 2_000_000, 2_000);
        assert_eq!(measure.peak(), 8_000_000);
    }

    #[test]
    fn bandwidth_leaves_room_above_the_peak_most_of_it_at_first() {
        let mut measure = Measure::default();
        for n in 0..60 {
            segment(&mut measure, 250_000, 2_000);
            let percent = if n < 9 {
                150
            } else if n < 29 {
                125
            } else {
                110
            };
            assert_eq!(measure.bandwidth(), 10_000 * percent, "after {n} segments");
        }
        assert_eq!(measure.average(), 1_000_000);
    }

    #[test]
    fn the_frame_rate_is_the_highest_that_lasted() {
        let part =
            |frames, millis| Measure { frames, frames_duration: TimeDelta::from_millis(millis), ..Measure::default() };
        let varies = Measure { steady: 29_970, ..part(100, 10_000) };
        assert_eq!(varies.millihertz(), Some(29_970));
        let steady = Measure { steady: 30_200, ..part(300, 10_000) };
        assert_eq!(steady.millihertz(), Some(30_000));
    }

    #[test]
    fn rates_snap_to_the_nearest_usual_one() {
        let measured = |frames, millis| {
            let measure = Measure { frames, frames_duration: TimeDelta::from_millis(millis), ..Measure::default() };
            measure.millihertz()
        };
        assert_eq!(measured(30, 1_001), Some(29_970));
        assert_eq!(measured(30, 1_000), Some(30_000));
        assert_eq!(measured(17, 1_000), Some(17_000));
        assert_eq!(measured(0, 0), None);
    }
}
