//! Bit rates and frame rate, measured on what was published.

use media::TimeDelta;

use crate::log::Part;

/// Rates in thousandths of a hertz that cameras and encoders mean when they come close to them.
const USUAL_RATES: [u32; 17] = [
    5_000, 7_500, 8_000, 10_000, 12_000, 12_500, 15_000, 20_000, 23_976, 24_000, 25_000, 29_970, 30_000, 50_000,
    59_940, 60_000, 120_000,
];
/// How close: one part in this many. 29.97 and 30 differ by one in 1 000, and the nearest wins.
const SNAP: u32 = 250;
/// Newest segments that peak windows are made of; 1.5 target durations of half-second segments fit well.
const RECENT: usize = 32;

/// Running sums over a rendition.
#[derive(Clone, Debug, Default)]
pub(super) struct Measure {
    bits: u64,
    duration: TimeDelta,
    peak: u64,
    recent: Vec<(u64, TimeDelta)>,
    frames: u64,
    frames_duration: TimeDelta,
}

impl Measure {
    /// A new init section: another frame rate may begin.
    pub(super) fn format_changed(&mut self) {
        self.frames = 0;
        self.frames_duration = TimeDelta::ZERO;
    }

    pub(super) fn part(&mut self, part: &Part) {
        if part.frames > 0 {
            self.frames += u64::from(part.frames);
            self.frames_duration += part.duration;
        }
    }

    /// A segment was closed. The peak is taken over runs of segments of 0.5 to 1.5 target durations.
    pub(super) fn segment(&mut self, bytes: u64, duration: TimeDelta, target_secs: u32) {
        self.bits += bytes * 8;
        self.duration += duration;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push((bytes * 8, duration));
        let target = TimeDelta::from_secs(target_secs.into()).as_millis();
        let (mut bits, mut length) = (0, TimeDelta::ZERO);
        for (more, longer) in self.recent.iter().rev() {
            bits += more;
            length += *longer;
            if length.as_millis() * 2 > target * 3 {
                break;
            }
            if length.as_millis() * 2 >= target {
                self.peak = self.peak.max(rate(bits, length));
            }
        }
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.max(self.average())
    }

    pub(super) fn average(&self) -> u64 {
        rate(self.bits, self.duration)
    }

    pub(super) fn millihertz(&self) -> Option<u32> {
        let measured = u32::try_from(rate(self.frames * 1_000, self.frames_duration)).ok().filter(|r| *r > 0)?;
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

    #[test]
    fn the_peak_ignores_segments_too_short_to_count() {
        let mut measure = Measure::default();
        measure.segment(1_000_000, TimeDelta::from_millis(200), 2);
        measure.segment(250_000, TimeDelta::from_secs(2), 2);
        assert_eq!(measure.peak(), 10_000_000 * 1_000 / 2_200 + 1);
        measure.segment(2_000_000, TimeDelta::from_secs(2), 2);
        assert_eq!(measure.peak(), 8_000_000);
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
