//! The durations that are frozen when the first segment is whole.

use media::{LatencyMode, TimeDelta};

use super::Config;
use crate::log::Targets;

/// Longest target duration: a GOP of twenty seconds is the longest that is carried whole.
const MAX_SECS: u32 = 20;
/// How much a GOP may jitter beyond whole seconds before the target duration grows by one.
const GOP_JITTER: TimeDelta = TimeDelta::from_millis(100);
/// Parts come close to this.
const PART: TimeDelta = TimeDelta::from_millis(200);
/// Parts stay below this wherever a single frame does not last longer.
const MAX_PART: TimeDelta = TimeDelta::from_millis(345);
/// Room between a part's nominal duration and PART-TARGET, for millisecond clocks.
const MIN_HEADROOM: TimeDelta = TimeDelta::from_millis(4);
const MAX_HEADROOM: TimeDelta = TimeDelta::from_millis(16);
/// Parts shorter than this share of PART-TARGET, in percent, make players stall; the standard says 85.
const MIN_PERCENT: i64 = 86;
/// Most frames tried for a part.
const MAX_FRAMES: i64 = 64;

/// How parts are made in all renditions of a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PartSizing {
    /// PART-TARGET: no part lasts longer.
    pub(super) target: TimeDelta,
    /// What a part of the pictures lasts, if sound is cut where they are: else each of its segments ends with a scrap of a
    /// part, and players that take a tenth of a second for nothing never ask for it.
    pub(super) grid: Option<TimeDelta>,
}

/// How a rendition's frames make parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PartRule {
    /// Frames in a part, as a rule; on a grid, at the most.
    pub(super) frames: usize,
    pub(super) parts: PartSizing,
}

/// What was seen of a track before the first segment closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameTiming {
    /// What a frame lasts on average.
    pub(super) frame: TimeDelta,
    /// How far single frames are off.
    pub(super) jitter: TimeDelta,
    /// It is a track of sound.
    pub(super) audio: bool,
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
    u32::try_from(secs).unwrap_or(MAX_SECS).min(MAX_SECS)
}

/// Freezes both durations; `paces` are those of the renditions that are there, the leader's first.
pub(super) fn targets(config: Config, gop: TimeDelta, timings: &[FrameTiming]) -> (Targets, Option<PartSizing>) {
    let parts = (config.mode == LatencyMode::Low).then(|| parts(timings));
    let part = parts.map(|parts| parts.target);
    (Targets { segment_secs: target_secs(config.mode, gop), part, pause: config.max_stall }, parts)
}

/// The part rule of a rendition: as many frames as fit in a part with their jitter, or for sound in a grid's step.
pub(super) fn part_rule(parts: PartSizing, frame: TimeDelta, audio: bool) -> PartRule {
    let frames = match parts.grid.filter(|_| audio) {
        Some(grid) => steps(grid, frame).1,
        // A millisecond of grace: a frame duration that was rounded up must not cost a frame.
        None => (parts.target - MIN_HEADROOM + TimeDelta::from_millis(1)).whole(frame).max(1),
    };
    PartRule { frames: usize::try_from(frames).unwrap_or(1), parts }
}

/// The fewest and the most frames between two lines of a grid.
fn steps(grid: TimeDelta, frame: TimeDelta) -> (i64, i64) {
    let fewest = grid.whole(frame);
    (fewest, if frame.times(fewest) < grid { fewest + 1 } else { fewest })
}

/// Chooses how parts are made: with the sound on the grid of the pictures if all its parts are long enough for players
/// then, else each rendition for itself.
fn parts(timings: &[FrameTiming]) -> PartSizing {
    let headroom =
        timings.iter().map(|p| p.jitter.times(2)).max().unwrap_or_default().clamp(MIN_HEADROOM, MAX_HEADROOM);
    let longest_frame = timings.iter().map(|p| p.frame).max().unwrap_or(PART);
    let limit = MAX_PART.max(longest_frame + headroom);
    let leader = timings.first().filter(|leader| !leader.audio && timings.iter().any(|timing| timing.audio));
    let on_grid = leader.into_iter().flat_map(|leader| (1..=MAX_FRAMES).map(|n| leader.frame.times(n))).map(|grid| {
        let lasts = |p: &FrameTiming| if p.audio { p.frame.times(steps(grid, p.frame).1) } else { grid };
        let longest = timings.iter().map(lasts).max().unwrap_or(grid);
        PartSizing { target: ceil_millis(longest + headroom), grid: Some(grid) }
    });
    let alone = timings.iter().flat_map(|timing| (1..=MAX_FRAMES).map(|n| timing.frame.times(n)));
    let alone = alone.map(|part| PartSizing { target: ceil_millis(part + headroom), grid: None });
    let rank = |parts: &PartSizing| {
        let worst =
            timings.iter().map(|timing| shortest(timing, *parts, headroom).as_millis() * 100).min().unwrap_or(0);
        let worst = (worst / parts.target.as_millis().max(1)).min(MIN_PERCENT);
        (-worst, parts.grid.is_none(), (parts.grid.unwrap_or(parts.target - headroom) - PART).abs())
    };
    let fits = |parts: &PartSizing| parts.target >= longest_frame && parts.target <= limit;
    on_grid.chain(alone).filter(fits).min_by_key(rank).unwrap_or(PartSizing { target: limit, grid: None })
}

/// The shortest part of a rendition in the middle of a segment.
fn shortest(timing: &FrameTiming, parts: PartSizing, headroom: TimeDelta) -> TimeDelta {
    match parts.grid.filter(|_| timing.audio) {
        Some(grid) => timing.frame.times(steps(grid, timing.frame).0),
        None => {
            let frames = part_rule(parts, timing.frame, timing.audio).frames;
            timing.frame.times(i64::try_from(frames).unwrap_or(1)) - headroom
        }
    }
}

fn ceil_millis(delta: TimeDelta) -> TimeDelta {
    TimeDelta::from_millis((delta + TimeDelta::from_millis(1)).as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Timescale;

    fn video(num: u32, den: i64, jitter: i64) -> FrameTiming {
        FrameTiming { frame: Timescale::new(num).delta(den), jitter: TimeDelta::from_millis(jitter), audio: false }
    }

    fn audio(num: u32, den: i64) -> FrameTiming {
        FrameTiming { frame: Timescale::new(num).delta(den), jitter: TimeDelta::ZERO, audio: true }
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
        let audios =
            [(48_000, 1_024), (44_100, 1_024), (22_050, 1_024), (48_000, 960), (32_000, 1_024), (48_000, 1_536)];
        for (rate, den) in
            [(24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60, 1), (15, 1), (12, 1), (10, 1), (7, 1)]
        {
            for (samples, frame) in audios {
                let timings = [video(rate, den, 1), audio(samples, frame)];
                let parts = parts(&timings);
                let target = parts.target;
                assert!(target <= TimeDelta::from_millis(350), "{rate}/{den}: {target:?}");
                for p in timings {
                    let rule = part_rule(parts, p.frame, p.audio);
                    let (most, least) = (p.frame.times(rule.frames as i64), shortest(&p, parts, TimeDelta::ZERO));
                    assert!(most <= target, "{rate}/{den} {samples}: {most:?} of {target:?}");
                    assert!(
                        least.flicks() * 100 >= target.flicks() * 85,
                        "{rate}/{den} {samples}: {least:?} of {target:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn usual_streams_get_a_fifth_of_a_second_on_one_grid() {
        for rate in [24, 25, 30, 50, 60] {
            let parts = parts(&[video(rate, 1, 1), audio(48_000, 1_024)]);
            assert!((200..=235).contains(&parts.target.as_millis()), "{rate}: {parts:?}");
            assert!(parts.grid.is_some());
            assert_eq!(part_rule(parts, Timescale::new(rate).delta(1), false).frames as u32, (rate + 2) / 5, "{rate}");
        }
    }

    #[test]
    fn slow_frames_are_parts_of_their_own() {
        let parts = parts(&[video(2, 1, 0)]);
        assert!(parts.target >= TimeDelta::from_millis(500) && parts.target <= TimeDelta::from_millis(520));
        assert_eq!(part_rule(parts, TimeDelta::from_millis(500), false).frames, 1);
    }
}
