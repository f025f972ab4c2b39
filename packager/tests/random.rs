//! Any GOP, any frame durations: the laws hold.

mod common;

use common::check::{Rules, STRICT, check};
use common::source::{Fed, Video, audio, audio_track, mux, package, video_track};
use media::{Access, LatencyMode, TimeDelta, Timestamp};
use proptest::prelude::*;

fn mode() -> impl Strategy<Value = LatencyMode> {
    prop_oneof![Just(LatencyMode::Standard), Just(LatencyMode::Reduced), Just(LatencyMode::Low)]
}

/// A segment that ended 24 ticks after its last part, with a GOP of 26 frames to repeat in them.
#[test]
fn a_gop_is_not_repeated_without_a_tick_for_each_frame() {
    let steps = [
        304, 223, 326, 265, 171, 80, 56, 108, 144, 290, 220, 241, 335, 218, 91, 119, 158, 213, 389, 364, 347, 308, 147,
        160, 63, 309, 249, 321, 272, 31, 384, 211, 215, 22, 36, 190, 304, 21, 185, 229, 62, 316, 173, 106, 246, 14, 32,
        365, 372, 166, 333, 353, 216,
    ];
    let fed = feed_steps(LatencyMode::Low, 26, &steps);
    check(&fed, Rules { full_parts: false, aligned: false, ..STRICT });
}

/// A programme whose video frames are `steps` milliseconds apart, every `gop`th of them a key frame.
fn feed_steps(mode: LatencyMode, gop: usize, steps: &[i64]) -> Fed {
    let mut frames = Video { length: 15_000, ..Video::default() }.make();
    frames.truncate(steps.len());
    let mut now = 0;
    for (n, (frame, step)) in frames.iter_mut().zip(steps).enumerate() {
        frame.dts = Timestamp::ZERO + TimeDelta::from_millis(now);
        frame.pts = frame.dts;
        frame.access = Access::independent_if(n % gop == 0);
        now += step;
    }
    let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
    fed.push(mux([frames, audio(48_000, 0, now)])).end();
    fed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn irregular_gops(
        mode in mode(),
        gops in proptest::collection::vec(50i64..12_000, 1..6),
        frames in 3u32..61,
        reorder: bool,
        millis: bool,
    ) {
        let video = Video { frames, per: 1, gops, reorder, millis, length: 30_000, ..Video::default() };
        check(&package(mode, Some(&video), Some(48_000)), STRICT);
    }

    #[test]
    fn variable_frame_durations(
        mode in mode(),
        // No more than twenty seconds of the longest steps: a contribution with more is rejected.
        gop in 1usize..50,
        steps in proptest::collection::vec(1i64..400, 50..300),
    ) {
        check(&feed_steps(mode, gop, &steps), Rules { full_parts: false, aligned: false, ..STRICT });
    }

    #[test]
    fn any_gaps_and_discontinuities(
        mode in mode(),
        gaps in proptest::collection::vec((any::<bool>(), 0i64..40_000, 100i64..15_000), 0..4),
        discontinuities in proptest::collection::vec(0usize..2_000, 0..3),
    ) {
        let outside = |audio: bool| {
            let gaps = gaps.clone();
            move |f: &media::Frame| {
                let at = (f.dts - Timestamp::ZERO).as_millis();
                !gaps.iter().any(|(a, from, len)| *a == audio && (*from..from + len).contains(&at))
            }
        };
        let video: Vec<_> = Video { length: 40_000, ..Video::default() }.make().into_iter().filter(outside(false)).collect();
        let audio_frames: Vec<_> = audio(48_000, 0, 40_000).into_iter().filter(outside(true)).collect();
        let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        for (n, frame) in mux([video, audio_frames]).into_iter().enumerate() {
            if discontinuities.contains(&n) {
                fed.discontinuity();
            }
            fed.push(vec![frame]);
        }
        fed.end();
        if fed.events.len() > 1 {
            check(&fed, Rules { lossless: false, full_parts: false, aligned: false });
        }
    }
}
