//! The planner alone: key frames in, boundaries out.

use super::*;
use bytes::Bytes;
use media::{TrackId, WallTime};
use proptest::prelude::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::ZERO + TimeDelta::from_millis(ms)
}

fn frame(ms: i64, is_key_frame: bool) -> Frame {
    let access = Access::independent_if(is_key_frame);
    Frame { track: TrackId(1), dts: at(ms), pts: at(ms), access, payload: Bytes::new() }
}

fn planner(mode: LatencyMode, target_secs: u32) -> BoundaryPlanner {
    let mut planner = BoundaryPlanner::new(mode);
    let (dts, wall) = (at(0), WallTime::default());
    planner.begin_period(PeriodStart { reference_kind: Kind::Video, dts, pts: dts, wall, msn: 0, is_first: true });
    planner.set_target_duration(target_secs);
    planner
}

/// Feeds frames of 40 ms with key frames at `keys`, and returns the boundaries in milliseconds.
fn plan(planner: &mut BoundaryPlanner, keys: &[i64], end: i64) -> Vec<i64> {
    let (mut boundaries, frame_duration) = (Vec::new(), TimeDelta::from_millis(40));
    for ms in (0..end).step_by(40) {
        let frame = frame(ms, keys.contains(&ms));
        planner.note_video(&frame, frame.pts);
        let limit = planner.max_length(ROUNDING);
        loop {
            let segment_start = planner.boundaries.newest_start();
            let video = VideoPosition { segment_start, frame_duration, reorder_delay: TimeDelta::ZERO };
            let Some((_, boundary)) = planner.end_overlong(&frame, video, limit) else { break };
            boundaries.push(boundary);
        }
        if frame.access != Access::Dependent {
            boundaries.extend(planner.end_at_key_frame(frame.pts, true, false));
        }
    }
    boundaries.into_iter().map(|boundary| (boundary.at - Timestamp::ZERO).as_millis()).collect()
}

#[test]
fn a_short_first_segment_and_then_whole_gops() {
    let keys: Vec<_> = (0..20).map(|n| n * 1_000).collect();
    assert_eq!(plan(&mut planner(LatencyMode::Low, 2), &keys, 8_000), [1_000, 3_000, 5_000, 7_000]);
    assert_eq!(plan(&mut planner(LatencyMode::Standard, 4), &keys, 10_000), [1_000, 5_000, 9_000]);
}

#[test]
fn regular_key_frames_predict_the_end() {
    let mut planner = planner(LatencyMode::Low, 2);
    plan(&mut planner, &[0, 1_000, 2_000], 2_040);
    assert_eq!(planner.expected_end(0), ExpectedEnd::At(at(1_000)), "decided");
    assert_eq!(planner.expected_end(1), ExpectedEnd::At(at(3_000)), "predicted");
    assert_eq!(planner.expected_end(2), ExpectedEnd::Unknown);
    plan(&mut planner, &[2_400], 2_440);
    assert_eq!(planner.expected_end(1), ExpectedEnd::Unknown, "irregular");
}

#[test]
fn no_boundary_where_audio_has_passed() {
    let mut planner = planner(LatencyMode::Low, 2);
    planner.period.newest_audio = Some(at(1_000));
    assert!(planner.end_at_key_frame(at(1_000), true, false).is_none());
    assert!(planner.end_at_key_frame(at(1_040), true, false).is_some());
}

#[test]
fn gaps_are_divided() {
    let mut planner = planner(LatencyMode::Low, 2);
    planner.split_gap(at(10_000));
    assert_eq!((planner.boundaries.newest_msn(), planner.boundaries.newest_start()), (4, at(9_200)));
}

proptest! {
    #[test]
    fn no_segment_is_longer_than_its_limit(
        gops in proptest::collection::vec(1i64..600, 1..40),
        target in 2u32..21,
        low: bool,
    ) {
        let mode = if low { LatencyMode::Low } else { LatencyMode::Standard };
        let keys: Vec<_> = gops.iter().scan(0, |at, gop| Some(std::mem::replace(at, *at + gop * 40))).collect();
        let end = gops.iter().sum::<i64>() * 40;
        let boundaries = plan(&mut planner(mode, target), &keys, end.min(120_000));
        let starts = std::iter::once(0).chain(boundaries.iter().copied());
        for (start, end) in starts.zip(&boundaries) {
            prop_assert!(*end > start && end - start <= i64::from(target) * 1_000 + 300, "{start} to {end}");
        }
    }
}
