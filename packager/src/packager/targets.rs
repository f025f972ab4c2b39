//! The durations that are frozen when the first segment is complete.

use media::{LatencyMode, TimeDelta};

use super::Config;
use crate::log::Targets;

/// Longest target duration: the longest GOP that is carried whole has twenty seconds.
const MAX_SECS: u32 = 20;
/// Most that a GOP may exceed whole seconds before the target duration grows by one.
const GOP_JITTER: TimeDelta = TimeDelta::from_millis(100);
/// Duration that parts should come close to.
const PART: TimeDelta = TimeDelta::from_millis(200);
/// Longest PART-TARGET, unless a single frame lasts longer.
const MAX_PART: TimeDelta = TimeDelta::from_millis(345);
/// Least difference between a part's nominal duration and PART-TARGET, for millisecond clocks.
const MIN_HEADROOM: TimeDelta = TimeDelta::from_millis(4);
/// Largest difference between a part's nominal duration and PART-TARGET.
const MAX_HEADROOM: TimeDelta = TimeDelta::from_millis(16);
/// Least duration of a part, in percent of PART-TARGET. Players stall with shorter parts; the standard says 85.
const MIN_PERCENT: i64 = 86;
/// Most frames that are tried for a part.
const MAX_FRAMES: i64 = 64;

/// Size of the parts in all renditions of a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PartSizing {
    /// PART-TARGET, which no part exceeds.
    pub(super) target: TimeDelta,
    /// Duration of a video part, if audio parts end where video parts do. Otherwise each audio segment ends with a short
    /// remainder of a part, and players that treat a tenth of a second as nothing never request it.
    pub(super) grid: Option<TimeDelta>,
}

/// Rule by which a rendition's frames make parts of a [`PartSizing`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PartRule {
    /// Usual number of frames in a part; on a grid, the most.
    pub(super) frames: usize,
    pub(super) sizing: PartSizing,
}

/// Frame timing of a track in the first segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameTiming {
    /// Average duration of a frame.
    pub(super) frame: TimeDelta,
    /// Largest deviation of a single frame.
    pub(super) jitter: TimeDelta,
    pub(super) is_audio: bool,
}

impl FrameTiming {
    /// Timing of a track whose frames all last equally long.
    pub(super) const fn exact(frame: TimeDelta, is_audio: bool) -> Self {
        Self { frame, jitter: TimeDelta::ZERO, is_audio }
    }
}

/// Returns the segment duration that a mode aims at.
pub(super) const fn segment_target(mode: LatencyMode) -> TimeDelta {
    match mode {
        LatencyMode::Standard => TimeDelta::from_secs(4),
        LatencyMode::Reduced | LatencyMode::Low => TimeDelta::from_secs(2),
    }
}

/// Freezes both durations. `timings` are those of the present renditions, the reference's first.
pub(super) fn freeze(config: Config, gop: TimeDelta, timings: &[FrameTiming]) -> (Targets, Option<PartSizing>) {
    let sizing = (config.mode == LatencyMode::Low).then(|| part_sizing(timings));
    let targets = Targets {
        segment_secs: target_secs(config.mode, gop),
        part: sizing.map(|sizing| sizing.target),
        part_grid: sizing.and_then(|sizing| sizing.grid),
        max_stall: config.max_stall,
    };
    (targets, sizing)
}

/// Returns the target duration: the mode's, or as much as whole GOPs need.
fn target_secs(mode: LatencyMode, gop: TimeDelta) -> u32 {
    let target = segment_target(mode);
    let mut segment = gop;
    while segment < target - GOP_JITTER && gop > TimeDelta::ZERO {
        segment += gop;
    }
    let jittered = (segment - GOP_JITTER).max(target);
    let secs = (jittered.as_millis() + 999) / 1_000;
    u32::try_from(secs).unwrap_or(MAX_SECS).min(MAX_SECS)
}

/// Returns the part rule of a rendition: as many frames as fit in a part with their jitter, or for audio in a step of the
/// grid.
pub(super) fn part_rule(sizing: PartSizing, frame: TimeDelta, is_audio: bool) -> PartRule {
    let frames = match sizing.grid.filter(|_| is_audio) {
        Some(grid) => steps(grid, frame).1,
        // With a millisecond of tolerance, because a frame duration that was rounded up must not cost a frame.
        None => (sizing.target - MIN_HEADROOM + TimeDelta::from_millis(1)).whole(frame).max(1),
    };
    PartRule { frames: usize::try_from(frames).unwrap_or(1), sizing }
}

/// Returns the fewest and the most frames between two lines of a grid.
fn steps(grid: TimeDelta, frame: TimeDelta) -> (i64, i64) {
    let fewest = grid.whole(frame);
    (fewest, if frame.times(fewest) < grid { fewest + 1 } else { fewest })
}

/// Chooses how parts are made: with the audio on the grid of the video if all audio parts are long enough for players
/// then, otherwise separately for each rendition.
fn part_sizing(timings: &[FrameTiming]) -> PartSizing {
    let jitter = timings.iter().map(|timing| timing.jitter.times(2)).max().unwrap_or_default();
    let headroom = jitter.clamp(MIN_HEADROOM, MAX_HEADROOM);
    let longest_frame = timings.iter().map(|timing| timing.frame).max().unwrap_or(PART);
    let limit = MAX_PART.max(longest_frame + headroom);
    let has_audio = timings.iter().any(|timing| timing.is_audio);
    let video = timings.first().filter(|reference| !reference.is_audio && has_audio);
    let grids = video.into_iter().flat_map(|video| (1..=MAX_FRAMES).map(|n| video.frame.times(n)));
    let on_grid = grids.map(|grid| {
        let duration = |timing: &FrameTiming| match timing.is_audio {
            true => timing.frame.times(steps(grid, timing.frame).1),
            false => grid,
        };
        let longest = timings.iter().map(duration).max().unwrap_or(grid);
        PartSizing { target: ceil_millis(longest + headroom), grid: Some(grid) }
    });
    let durations = timings.iter().flat_map(|timing| (1..=MAX_FRAMES).map(|n| timing.frame.times(n)));
    let separate = durations.map(|part| PartSizing { target: ceil_millis(part + headroom), grid: None });
    let rank = |sizing: &PartSizing| {
        let percents = timings.iter().map(|timing| shortest(timing, *sizing, headroom).as_millis() * 100);
        let worst = percents.min().unwrap_or(0) / sizing.target.as_millis().max(1);
        let distance = (sizing.grid.unwrap_or(sizing.target - headroom) - PART).abs();
        (-worst.min(MIN_PERCENT), sizing.grid.is_none(), distance)
    };
    let fits = |sizing: &PartSizing| sizing.target >= longest_frame && sizing.target <= limit;
    on_grid.chain(separate).filter(fits).min_by_key(rank).unwrap_or(PartSizing { target: limit, grid: None })
}

/// Returns the duration of a rendition's shortest part in the middle of a segment.
fn shortest(timing: &FrameTiming, sizing: PartSizing, headroom: TimeDelta) -> TimeDelta {
    match sizing.grid.filter(|_| timing.is_audio) {
        Some(grid) => timing.frame.times(steps(grid, timing.frame).0),
        None => {
            let frames = part_rule(sizing, timing.frame, timing.is_audio).frames;
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
        let jitter = TimeDelta::from_millis(jitter);
        FrameTiming { frame: Timescale::new(num).delta(den), jitter, is_audio: false }
    }

    fn audio(num: u32, den: i64) -> FrameTiming {
        FrameTiming::exact(Timescale::new(num).delta(den), true)
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
                let sizing = part_sizing(&timings);
                let target = sizing.target;
                assert!(target <= TimeDelta::from_millis(350), "{rate}/{den}: {target:?}");
                for timing in timings {
                    let rule = part_rule(sizing, timing.frame, timing.is_audio);
                    let most = timing.frame.times(rule.frames as i64);
                    let least = shortest(&timing, sizing, TimeDelta::ZERO);
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
            let sizing = part_sizing(&[video(rate, 1, 1), audio(48_000, 1_024)]);
            assert!((200..=235).contains(&sizing.target.as_millis()), "{rate}: {sizing:?}");
            assert!(sizing.grid.is_some());
            let rule = part_rule(sizing, Timescale::new(rate).delta(1), false);
            assert_eq!(rule.frames as u32, (rate + 2) / 5, "{rate}");
        }
    }

    #[test]
    fn slow_frames_are_parts_of_their_own() {
        let sizing = part_sizing(&[video(2, 1, 0)]);
        assert!(sizing.target >= TimeDelta::from_millis(500) && sizing.target <= TimeDelta::from_millis(520));
        assert_eq!(part_rule(sizing, TimeDelta::from_millis(500), false).frames, 1);
    }
}
