//! The laws hold, whatever happens to dependent renditions.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use common::check::{Rules, check};
use common::dependent::{SIZES, arriving, clip, ladder, without_dependents};
use common::source::{Fed, Video, audio, audio_track, dependent_track, on_dependent, other_video_track, video_track};
use media::LatencyMode::{Low, Reduced, Standard};
use media::Timestamp;
use packager::log::Event;
use proptest::prelude::*;

/// Treatment of a dependent rendition: how late it is, where it has gaps, when it is dropped and restored.
#[derive(Clone, Debug)]
struct Fate {
    late: i64,
    gaps: Vec<(i64, i64)>,
    dropped: Option<(usize, usize, bool)>,
}

fn fate() -> impl Strategy<Value = Fate> {
    let gaps = proptest::collection::vec((0i64..30_000, 30i64..12_000), 0..3);
    let dropped = proptest::option::of((0usize..4_000, 1usize..1_500, any::<bool>()));
    (0i64..5_500, gaps, dropped).prop_map(|(late, gaps, dropped)| Fate { late, gaps, dropped })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_laws_hold_whatever_happens_to_dependent_renditions(
        mode in prop_oneof![Just(Standard), Just(Reduced), Just(Low)],
        fates in proptest::collection::vec(fate(), 3),
        reorder: bool,
        rate in prop_oneof![Just((30u32, 1u32)), Just((30_000, 1_001)), Just((25, 1))],
        discontinuities in proptest::option::of(0usize..4_000),
        changes in proptest::option::of(0usize..4_000),
    ) {
        let video = clip(&Video { frames: rate.0, per: rate.1, reorder, length: 30_000, ..Video::default() }).make();
        let audio_frames = audio(48_000, 0, 30_000);
        let mut streams = vec![(0, video.clone()), (0, audio_frames)];
        for (n, fate) in (0..).zip(&fates) {
            let is_in_gap = |at: i64| fate.gaps.iter().any(|(from, long)| (*from..from + long).contains(&at));
            let mut frames = on_dependent(n, n as usize, &video);
            frames.retain(|frame| !is_in_gap((frame.dts - Timestamp::ZERO).as_millis()));
            streams.push((fate.late, frames));
        }
        let run = |with_dependents: bool| {
            let mut fed = if with_dependents { ladder(mode) } else { Fed::new(mode, &[video_track(), audio_track(48_000)]) };
            for (n, frame) in arriving(streams.clone()).into_iter().enumerate() {
                if discontinuities == Some(n) {
                    fed.discontinuity();
                }
                if changes == Some(n) {
                    fed.add_track(other_video_track());
                }
                for (r, fate) in (0..).zip(&fates) {
                    match fate.dropped {
                        Some((dropped, _, _)) if n == dropped => { fed.drop_rendition(r); }
                        Some((dropped, long, other)) if n == dropped + long && with_dependents => {
                            let (width, height) = SIZES[r as usize];
                            fed.add_rendition(r, dependent_track(r, width, if other { height - 16 } else { height }));
                        }
                        _ => {}
                    }
                }
                fed.push(vec![frame]);
            }
            fed.end();
            fed
        };
        let fed = run(true);
        check(&fed, Rules { lossless: false, full_parts: false, aligned: discontinuities.is_none() && changes.is_none() });
        let known = |fed: &Fed| fed.events.iter().find_map(|event| match event {
            Event::Targets(targets) => Some(*targets),
            _ => None,
        });
        let alone = run(false);
        if known(&alone) == known(&fed) {
            prop_assert_eq!(without_dependents(&fed.events), without_dependents(&alone.events), "dependent renditions change nothing for others");
        }
    }
}
