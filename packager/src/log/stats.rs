//! Bit rates and frame rate of a rendition, measured on its published media.

use std::collections::VecDeque;

use media::{FrameRate, TimeDelta};

use super::{Part, SegmentEnd};

/// A rate snaps to one of [`FrameRate::USUAL`] within one part in this many. 29.97 and 30 differ by one in 1 000, and
/// the nearest is taken.
const SNAP: u32 = 250;
/// Newest segments that the peak is searched in: enough for 1.5 target durations of half-second segments.
const RECENT: usize = 32;

/// Percent added to the measured peak, by how long the rendition has lasted. Players read the multivariant playlist
/// once, most of them soon after the start. The estimate has to hold for later media, because `BANDWIDTH` must
/// not be exceeded.
const HEADROOM: [(TimeDelta, u64); 2] = [(TimeDelta::from_secs(20), 50), (TimeDelta::from_secs(60), 25)];
/// Percent added after the last step of [`HEADROOM`].
const LEAST_HEADROOM: u64 = 10;
/// A steady rate counts if it is above the average by more than this, in percent; otherwise the average is more exact.
const RATE_TOLERANCE: u32 = 3;
/// Sets of segments that count for the peak last 0.5 to 1.5 target durations, in percent, with room for rounding.
const PEAK_SETS: std::ops::RangeInclusive<i64> = 49..=151;

/// Totals of a rendition up to a point of the log: the source of `BANDWIDTH` and `FRAME-RATE`.
///
/// A segment's end carries them ([`SegmentEnd::stats`]), because a reader that joined late has not seen what they
/// count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RenditionStats {
    /// Bits of all closed segments that are not gaps.
    pub bits: u64,
    /// Duration of these segments.
    pub duration: TimeDelta,
    /// The highest bit rate of consecutive segments of about a target duration, in bits per second.
    pub peak: u64,
    /// Frames since the newest init section.
    pub frames: u64,
    /// Duration of these frames.
    pub frames_duration: TimeDelta,
    /// The highest steady rate since the newest init section, in frames per thousand seconds.
    pub steady_millihertz: u32,
}

impl RenditionStats {
    /// Restarts the frame rate at a new init section.
    pub(crate) fn format_changed(&mut self) {
        self.frames = 0;
        self.frames_duration = TimeDelta::ZERO;
        self.steady_millihertz = 0;
    }

    /// Counts the frames of a part.
    pub(crate) fn part(&mut self, part: &Part) {
        if part.frames > 0 {
            self.frames = self.frames.saturating_add(part.frames.into());
            self.frames_duration += part.duration;
        }
    }

    /// Peak segment bit rate so far (rfc8216bis §4.4.6.2), in bits per second.
    pub fn peak_bandwidth(&self) -> u64 {
        self.peak.max(self.average_bandwidth())
    }

    /// `BANDWIDTH`: the peak so far with headroom for what is to come, in bits per second.
    pub fn bandwidth(&self) -> u64 {
        let headroom = HEADROOM.into_iter().find(|(until, _)| self.duration < *until);
        let percent = 100 + headroom.map_or(LEAST_HEADROOM, |(_, percent)| percent);
        self.peak_bandwidth().saturating_mul(percent) / 100
    }

    /// Average bit rate so far, in bits per second.
    pub fn average_bandwidth(&self) -> u64 {
        rate(self.bits, self.duration)
    }

    /// Frames per thousand seconds, snapped to the usual rates: the highest rate that lasted, or the average if the
    /// rate did not change, because that is more exact.
    pub fn millihertz(&self) -> Option<u32> {
        let average = rate(self.frames.saturating_mul(1_000), self.frames_duration);
        let average = u32::try_from(average).ok().filter(|r| *r > 0)?;
        let varies = self.steady_millihertz > average.saturating_add(average / 100 * RATE_TOLERANCE);
        let measured = if varies { self.steady_millihertz } else { average };
        let nearest = FrameRate::USUAL.map(FrameRate::millihertz).into_iter().min_by_key(|r| r.abs_diff(measured))?;
        Some(if nearest.abs_diff(measured) <= nearest / SNAP { nearest } else { measured })
    }
}

/// The newest segments of a rendition, which the peak bit rate is searched in.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentSegments(VecDeque<(u64, TimeDelta)>);

impl RecentSegments {
    /// Counts a closed segment of `bytes` in `stats`. The peak is taken over consecutive segments of 0.5 to 1.5 target
    /// durations that end with this one.
    pub(super) fn count(&self, stats: &mut RenditionStats, bytes: u64, end: &SegmentEnd, target_secs: u32) {
        stats.steady_millihertz = stats.steady_millihertz.max(end.millihertz.unwrap_or(0));
        let new = (bytes.saturating_mul(8), end.duration);
        stats.bits = stats.bits.saturating_add(new.0);
        stats.duration += new.1;
        let percent = TimeDelta::from_millis(10).times(target_secs.into()).flicks().max(1);
        let (mut bits, mut length) = (0u64, TimeDelta::ZERO);
        for (more, longer) in std::iter::once(&new).chain(self.0.iter().rev().take(RECENT - 1)) {
            bits = bits.saturating_add(*more);
            length += *longer;
            let share = length.flicks() / percent;
            if share > *PEAK_SETS.end() {
                break;
            }
            if PEAK_SETS.contains(&share) {
                stats.peak = stats.peak.max(rate(bits, length));
            }
        }
    }

    /// Remembers a closed segment.
    pub(super) fn push(&mut self, bytes: u64, duration: TimeDelta) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back((bytes.saturating_mul(8), duration));
    }
}

/// `amount` per second, rounded up because a bandwidth must not be exceeded.
fn rate(amount: u64, over: TimeDelta) -> u64 {
    let flicks = u128::try_from(over.flicks()).unwrap_or(0);
    let second = u128::try_from(TimeDelta::from_secs(1).flicks()).unwrap_or(0);
    if flicks == 0 { 0 } else { u64::try_from((u128::from(amount) * second).div_ceil(flicks)).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::RenditionId;

    fn segment((stats, recent): &mut (RenditionStats, RecentSegments), bytes: u64, millis: i64) {
        let duration = TimeDelta::from_millis(millis);
        recent.count(stats, bytes, &SegmentEnd::new(RenditionId::VIDEO, 0, duration), 2);
        recent.push(bytes, duration);
    }

    #[test]
    fn the_peak_ignores_segments_too_short_to_count() {
        let mut measured = Default::default();
        segment(&mut measured, 1_000_000, 200);
        segment(&mut measured, 250_000, 2_000);
        assert_eq!(measured.0.peak_bandwidth(), 10_000_000 * 1_000 / 2_200 + 1);
        segment(&mut measured, 2_000_000, 2_000);
        assert_eq!(measured.0.peak_bandwidth(), 8_000_000);
    }

    #[test]
    fn bandwidth_leaves_headroom_above_the_peak_most_of_it_at_first() {
        let mut measured = Default::default();
        for n in 0..60 {
            segment(&mut measured, 250_000, 2_000);
            let percent = if n < 9 {
                150
            } else if n < 29 {
                125
            } else {
                110
            };
            assert_eq!(measured.0.bandwidth(), 10_000 * percent, "after {n} segments");
        }
        assert_eq!(measured.0.average_bandwidth(), 1_000_000);
    }

    fn frames(frames: u64, millis: i64) -> RenditionStats {
        RenditionStats { frames, frames_duration: TimeDelta::from_millis(millis), ..RenditionStats::default() }
    }

    #[test]
    fn the_frame_rate_is_the_highest_that_lasted() {
        let varies = RenditionStats { steady_millihertz: 29_970, ..frames(100, 10_000) };
        assert_eq!(varies.millihertz(), Some(29_970));
        let steady = RenditionStats { steady_millihertz: 30_200, ..frames(300, 10_000) };
        assert_eq!(steady.millihertz(), Some(30_000));
    }

    #[test]
    fn rates_snap_to_the_nearest_usual_one() {
        let measured = |count, millis| frames(count, millis).millihertz();
        assert_eq!(measured(30, 1_001), Some(29_970));
        assert_eq!(measured(30, 1_000), Some(30_000));
        assert_eq!(measured(17, 1_000), Some(17_000));
        assert_eq!(measured(0, 0), None);
    }
}
