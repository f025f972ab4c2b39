//! Dependent renditions that come late, stop, or are dropped and restored.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use common::check::{Rules, check};
use common::dependent::{LOSSY, MODES, clip, dependent, gaps, ladder, numbers, variants, window, within};
use common::source::{Fed, Video, audio, audio_track, dependent_track, mux, on_dependent, video_track};
use media::LatencyMode::Low;
use media::TimeDelta;
use packager::log::{Event, RenditionId};
use packager::playlist::MediaOptions;

#[test]
fn a_rendition_that_stops_has_whole_gaps_and_returns_at_a_boundary() {
    for mode in MODES {
        for (from, to) in [(2_803, 3_838), (7_300, 9_000), (7_300, 18_900), (8_000, 16_000), (6_000, 40_000)] {
            let video = clip(&Video { length: 30_000, ..Video::default() }).make();
            let kept = [within(&video, 0, from), within(&video, to, 30_000)].concat();
            let mut fed = ladder(mode);
            let others = (1..3).map(|n| on_dependent(n, 0, &video));
            fed.push(mux([video.clone(), audio(48_000, 0, 30_000), on_dependent(0, 0, &kept)]
                .into_iter()
                .chain(others)));
            let newest = |id| {
                let parts = fed.events.iter().rev().filter_map(|event| match event {
                    Event::Part(part) => Some(part),
                    _ => None,
                });
                parts.clone().find(|part| part.rendition == id).map(|part| part.start + part.duration)
            };
            let behind = newest(RenditionId::VIDEO).unwrap() - newest(dependent(0)).unwrap();
            assert!(behind < TimeDelta::from_secs(11), "gaps do not wait forever: {behind:?}");
            let report = check(fed.end(), LOSSY);
            assert_eq!(numbers(&report, dependent(0)), numbers(&report, RenditionId::VIDEO));
            assert_eq!(gaps(&report, dependent(1)).0, []);
            if to - from > 6_000 {
                let (first, whole) = gaps(&report, dependent(0));
                assert!(!whole.is_empty());
                assert_eq!(first, whole, "it returns with a segment, not within one");
            }
        }
    }
}

#[test]
fn a_rendition_that_comes_late_begins_at_a_boundary_and_delays_no_other() {
    for mode in MODES {
        for from in [500, 6_000, 9_700] {
            let video = clip(&Video::default()).make();
            let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
            fed.push(within(&mux([video.clone(), audio(48_000, 0, 20_000)]), 0, 7_000));
            assert!(window(&fed.events).is_playable());
            fed.add_rendition(0, dependent_track(0, 640, 360));
            let rest =
                mux([video.clone(), audio(48_000, 0, 20_000), on_dependent(0, 0, &within(&video, from, 20_000))]);
            fed.push(within(&rest, 7_000, 20_000));
            let report = check(fed.end(), LOSSY);
            let first = report.of(dependent(0))[0];
            assert!(first.parts[0].independent && first.parts[0].msn > 0 && !first.parts[0].discontinuity);
            assert_eq!(gaps(&report, dependent(0)).0, []);
            assert!(numbers(&report, RenditionId::VIDEO).ends_with(&numbers(&report, dependent(0))));
            assert_eq!(variants(&fed.events)[..2], ["video", "video2"]);
        }
    }
}

#[test]
fn a_dropped_rendition_is_not_listed_has_gaps_at_once_and_returns_at_a_boundary() {
    for mode in MODES {
        for (dropped, back, other) in [(7_300, 13_100, false), (8_000, 14_000, true), (9_900, 10_100, true)] {
            let video = clip(&Video { length: 30_000, ..Video::default() }).make();
            let all = |from, to| {
                let video = within(&video, from, to);
                let mut streams = vec![video.clone(), on_dependent(1, 0, &video), on_dependent(2, 0, &video)];
                streams.push(within(&audio(48_000, 0, 30_000), from, to));
                if to <= dropped || from >= back {
                    streams.push(on_dependent(0, 0, &video));
                }
                mux(streams)
            };
            let mut fed = ladder(mode);
            fed.push(all(0, dropped));
            assert!(variants(&fed.events).contains(&"video2".to_owned()));
            fed.drop_rendition(0).drop_rendition(0);
            assert!(!variants(&fed.events).contains(&"video2".to_owned()));
            fed.push(all(dropped, back));
            assert!(!variants(&fed.events).contains(&"video2".to_owned()));
            let there = |id| window(&fed.events).progress(id).unwrap().msn;
            assert!(there(dependent(0)) >= there(RenditionId::VIDEO), "its gaps keep up");
            let track = if other { dependent_track(0, 1600, 900) } else { dependent_track(0, 1920, 1080) };
            fed.add_rendition(0, track);
            assert!(!variants(&fed.events).contains(&"video2".to_owned()), "not before a segment is whole");
            fed.push(all(back, 30_000));
            assert!(variants(&fed.events).contains(&"video2".to_owned()));
            let text = window(&fed.events)
                .media_playlist(dependent(0))
                .map(|list| list.render(&MediaOptions::default()))
                .unwrap();
            assert_eq!(text.matches("#EXT-X-MAP").count(), if other { 2 } else { 1 }, "{text}");
            assert!(text.contains("#EXT-X-GAP\n") && text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{text}");
            assert!(!text.contains("#EXT-X-DISCONTINUITY"), "{text}");
            let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
            assert_eq!(numbers(&report, dependent(0)), numbers(&report, RenditionId::VIDEO));
            let returned = report.of(dependent(0)).into_iter().rfind(|s| s.parts[0].init == 1);
            assert_eq!(returned.is_some(), other);
            assert!(returned.is_none_or(|s| s.parts[0].independent));
            if dropped == 8_000 {
                let (first, whole) = gaps(&report, dependent(0));
                assert_eq!(first, whole, "it was dropped between segments: no segment is incomplete");
            }
        }
    }
}

#[test]
fn gap_parts_of_a_dropped_rendition_keep_up_with_the_reference() {
    let video = clip(&Video::default()).make();
    let mut fed = ladder(Low);
    fed.push(mux([within(&video, 0, 9_000), on_dependent(0, 0, &within(&video, 0, 9_000))])).drop_rendition(0);
    for frame in within(&video, 9_000, 15_000) {
        fed.push(vec![frame]);
        let ends = |id| {
            fed.events.iter().rev().find_map(|event| match event {
                Event::Part(part) if part.rendition == id => Some(part.start + part.duration),
                _ => None,
            })
        };
        let behind = ends(RenditionId::VIDEO).unwrap() - ends(dependent(0)).unwrap();
        assert!(behind.abs() < TimeDelta::from_millis(500), "{behind:?}");
    }
    check(fed.end(), Rules { full_parts: false, ..LOSSY });
}
