//! The durations that are frozen when the first segment is whole.

use media::{LatencyMode, TimeDelta};

use crate::log::Targets;

/// Longest target duration: a GOP of twenty seconds is the longest that is carried whole.
const LONGEST_SECS: u32 = 20;
/// How much a GOP may jitter beyond whole seconds before the target duration grows by one.
const GOP_JITTER: TimeDelta = TimeDelta::from_millis(100);
/// Parts come close to this.
const PART: TimeDelta = TimeDelta::from_millis(200);
/// Parts stay below this wherever a single frame does not last longer.
const LONGEST_PART: TimeDelta = TimeDelta::from_millis(345);
/// Room between a part's nominal duration and PART-TARGET, for millisecond clocks.
const LEAST_HEADROOM: TimeDelta = TimeDelta::from_millis(4);
const MOST_HEADROOM: TimeDelta = TimeDelta::from_millis(16);
/// Parts shorter than this share of PART-TARGET, in percent, make players stall; the standard says 85.
const LEAST_PERCENT: i64 = 86;
/// Most frames tried for a part.
const MOST_FRAMES: i64 = 64;

/// How a rendition's frames make parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PartRule {
    /// Frames in a part, as a rule.
    pub(super) frames: usize,
    /// No part lasts longer.
    pub(super) longest: TimeDelta,
}

/// What was seen of a track before the first segment closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// What a frame lasts on average.
    pub(super) frame: TimeDelta,
    /// How far single frames are off.
    pub(super) jitter: TimeDelta,
}

/// The segment duration a mode aims at.
pub(super) const fn segment_target(mode: LatencyMode) -> TimeDelta {
    match mode {
        LatencyMode::Standard => TimeDelta::from_secs(4),
        LatencyMode::Reduced | LatencyMode::Low => TimeDelta::from_secs(2),
    }
}

/// Freezes the target duration: the mode's, or what whole GOPs need.
pub(super) fn target_secs(mode: LatencyMode, gop: TimeDelta) -> u32 {
    let target = segment_target(mode);
    let mut segment = gop;
    while segment < target - GOP_JITTER && gop > TimeDelta::ZERO {
        segment += gop;
    }
    let jittered = (segment - GOP_JITTER).max(target);
    let secs = (jittered.as_millis() + 999) / 1_000;
    u32::try_from(secs).unwrap_or(LONGEST_SECS).min(LONGEST_SECS)
}

/// Freezes both durations; `paces` are those of the renditions that are there.
pub(super) fn targets(mode: LatencyMode, gop: TimeDelta, paces: &[Pace]) -> Targets {
    let part = (mode == LatencyMode::Low).then(|| part_target(paces));
    Targets { segment_secs: target_secs(mode, gop), part }
}

/// The part rule of a rendition under a frozen PART-TARGET: as many frames as fit in it with their jitter.
pub(super) fn part_rule(part_target: TimeDelta, frame: TimeDelta) -> PartRule {
    // A millisecond of grace: a frame duration that was rounded up must not cost a frame.
    let room = part_target - LEAST_HEADROOM + TimeDelta::from_millis(1);
    let frames = room.whole(frame).max(1);
    PartRule { frames: usize::try_from(frames).unwrap_or(1), longest: part_target }
}

/// Chooses PART-TARGET: the longest of the renditions' parts and some headroom. Of the choices that leave each rendition
/// at 85 % of it or more, the one closest to 0.2 s; where there is none, the one that comes nearest to that.
fn part_target(paces: &[Pace]) -> TimeDelta {
    let headroom =
        paces.iter().map(|p| p.jitter.times(2)).max().unwrap_or_default().clamp(LEAST_HEADROOM, MOST_HEADROOM);
    let longest_frame = paces.iter().map(|p| p.frame).max().unwrap_or(PART);
    let limit = LONGEST_PART.max(longest_frame + headroom);
    let candidates = paces.iter().flat_map(|pace| {
        let multiples = (1..=MOST_FRAMES).map(|n| ceil_millis(pace.frame.times(n) + headroom));
        multiples.filter(|target| *target >= longest_frame && *target <= limit)
    });
    let rank = |target: &TimeDelta| {
        let worst = paces.iter().map(|pace| {
            let rule = part_rule(*target, pace.frame);
            let frames = i64::try_from(rule.frames).unwrap_or(1);
            (pace.frame.times(frames) - headroom).as_millis() * 100 / target.as_millis().max(1)
        });
        let worst = worst.min().unwrap_or(0).min(LEAST_PERCENT);
        (-worst, (*target - headroom - PART).abs())
    };
    candidates.min_by_key(rank).unwrap_or(limit)
}

fn ceil_millis(delta: TimeDelta) -> TimeDelta {
    TimeDelta::from_millis((delta + TimeDelta::from_millis(1)).as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Timescale;

    fn pace(num: u32, den: i64, jitter: i64) -> Pace {
        Pace { frame: Timescale::new(num).delta(den), jitter: TimeDelta::from_millis(jitter) }
    }

    #[test]
    fn target_durations_hold_whole_gops() {
        let secs = |mode, ms| target_secs(mode, TimeDelta::from_millis(ms));
        use LatencyMode::{Low, Standard};
        let low = [500, 1_000, 1_001, 1_500, 2_000, 3_000, 5_004, 20_000, 90_000].map(|gop| secs(Low, gop));
        assert_eq!(low, [2, 2, 2, 3, 2, 3, 5, 20, 20]);
        assert_eq!([500, 2_000, 3_000, 4_000, 10_000].map(|gop| secs(Standard, gop)), [4, 4, 6, 4, 10]);
    }

    #[test]
    fn parts_of_all_renditions_fit_one_target() {
        let audios = [(48_000, 1_024), (44_100, 1_024), (22_050, 1_024), (48_000, 960), (32_000, 1_024)];
        for (rate, den) in
            [(24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60, 1), (15, 1), (12, 1), (10, 1), (7, 1)]
        {
            for (samples, frame) in audios {
                let paces = [pace(rate, den, 1), pace(samples, frame, 0)];
                let target = part_target(&paces);
                assert!(target <= TimeDelta::from_millis(350), "{rate}/{den}: {target:?}");
                for p in paces {
                    let rule = part_rule(target, p.frame);
                    let part = p.frame.times(rule.frames as i64);
                    assert!(part <= target, "{rate}/{den} {samples}: {part:?} of {target:?}");
                    assert!(
                        part.flicks() * 100 >= target.flicks() * 85,
                        "{rate}/{den} {samples}: {part:?} of {target:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn usual_streams_get_a_fifth_of_a_second() {
        for rate in [24, 25, 30, 50, 60] {
            let target = part_target(&[pace(rate, 1, 1), pace(48_000, 1_024, 0)]);
            assert!((200..=215).contains(&target.as_millis()), "{rate}: {target:?}");
        }
    }

    #[test]
    fn slow_frames_are_parts_of_their_own() {
        let target = part_target(&[pace(2, 1, 0)]);
        assert!(target >= TimeDelta::from_millis(500) && target <= TimeDelta::from_millis(520));
        assert_eq!(part_rule(target, TimeDelta::from_millis(500)).frames, 1);
    }
}
