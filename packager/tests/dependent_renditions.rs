//! Several renditions of the same video: each begins its segments with the same frames as the reference, and delays no
//! other.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use common::check::{Rules, STRICT, check};
use common::dependent::{
    LOSSY, MODES, arriving, at, clip, dependent, gaps, ladder, multivariant, numbers, window, within,
    without_dependents,
};
use common::source::{
    Fed, VIDEO, Video, audio, audio_track, dependent_track, mux, on_dependent, other_video_track, video_track,
};
use media::LatencyMode::{Low, Standard};
use media::{Access, Frame, Metadata, MetadataKind, TimeDelta};
use mp4_atom::Decode;
use packager::log::{Event, RenditionId};

#[test]
fn dependent_renditions_have_exactly_the_boundaries_of_the_reference() {
    for mode in MODES {
        for (frames, per) in [(30, 1), (30_000, 1_001), (60_000, 1_001), (25, 1), (24_000, 1_001), (60, 1)] {
            for reorder in [false, true] {
                let video = clip(&Video { frames, per, reorder, ..Video::default() }).make();
                let mut fed = ladder(mode);
                let dependents = (0..3).map(|n| on_dependent(n, n as usize * 10, &video));
                fed.push(mux([audio(48_000, 0, 20_000), video.clone()].into_iter().chain(dependents)));
                let report = check(fed.end(), STRICT);
                assert_eq!(report.renditions().len(), 5);
                for n in 0..3 {
                    assert_eq!(numbers(&report, dependent(n)), numbers(&report, RenditionId::VIDEO));
                    assert_eq!(gaps(&report, dependent(n)).0, [], "{mode:?} {frames}/{per}");
                    assert_eq!(report.durations_ms(dependent(n)), report.durations_ms(RenditionId::VIDEO));
                }
            }
        }
    }
}

#[test]
fn a_dependent_rendition_may_lag_by_seconds_and_so_may_the_reference() {
    for mode in MODES {
        for late in [[0, 40, 90, 300], [0, 3_000, 1_200, 4_700], [350, 0, 0, 20], [2_500, 0, 2_500, 1]] {
            let video = clip(&Video { reorder: true, ..Video::default() }).make();
            let dependents = (0..3).map(|n| (late[n as usize + 1], on_dependent(n, 0, &video)));
            let all = [(0, audio(48_000, 0, 20_000)), (late[0], video.clone())].into_iter().chain(dependents).collect();
            let mut fed = ladder(mode);
            fed.push(arriving(all));
            let report = check(fed.end(), Rules { lossless: late[0] < 2_000, ..STRICT });
            for n in 0..3 {
                assert_eq!(gaps(&report, dependent(n)).0, [], "{mode:?} {late:?}");
                assert_eq!(numbers(&report, dependent(n)), numbers(&report, RenditionId::VIDEO));
            }
        }
    }
}

#[test]
fn the_reference_and_its_audio_do_not_depend_on_dependent_renditions() {
    for mode in MODES {
        let video = clip(&Video { reorder: true, length: 30_000, ..Video::default() }).make();
        let audio_frames = audio(48_000, 0, 30_000);
        let mut alone = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        alone.push(mux([audio_frames.clone(), video.clone()])).end();
        let mut fed = ladder(mode);
        let late = (2_000, on_dependent(0, 0, &video));
        let stops = (0, on_dependent(1, 0, &within(&video, 0, 7_300)));
        let returns = (0, on_dependent(2, 0, &[within(&video, 0, 4_100), within(&video, 17_000, 30_000)].concat()));
        fed.push(arriving(vec![(0, audio_frames), (0, video), late, stops, returns])).end();
        assert_eq!(without_dependents(&fed.events), without_dependents(&alone.events));
        check(&fed, LOSSY);
    }
}

#[test]
fn a_discontinuity_is_one_in_all_dependent_renditions() {
    for mode in MODES {
        let mut fed = ladder(mode);
        let first = clip(&Video { length: 7_300, ..Video::default() }).make();
        let second = clip(&Video { start: 9_000, length: 8_000, ..Video::default() }).make();
        // One of them was dropped before, another one is missing after the discontinuity.
        fed.push(mux([first.clone(), on_dependent(0, 0, &first), on_dependent(1, 0, &first), audio(48_000, 0, 7_300)]));
        fed.drop_rendition(2).discontinuity().add_track(other_video_track());
        fed.push(mux([second.clone(), on_dependent(0, 0, &second), audio(48_000, 9_000, 8_000)]));
        // The reference's header changes within the period, and those of the dependent renditions do not.
        fed.add_track(video_track());
        let third = clip(&Video { start: 17_000, length: 9_000, ..Video::default() }).make();
        fed.push(mux([third.clone(), on_dependent(0, 0, &third), audio(48_000, 17_003, 9_000)]));
        let report = check(fed.end(), LOSSY);
        let discontinuous = |id| -> Vec<u64> {
            let parts = report.of(id).into_iter().map(|s| &s.parts[0]);
            parts.filter(|part| part.discontinuity).map(|part| part.msn).collect()
        };
        assert_eq!(discontinuous(RenditionId::VIDEO).len(), 2);
        for id in [dependent(0), dependent(1), RenditionId::AUDIO] {
            assert_eq!(discontinuous(id), discontinuous(RenditionId::VIDEO), "{id:?}");
        }
        let window = window(&fed.events);
        let sequences = window.renditions().map(|r| r.listed().last().unwrap().discontinuity_sequence());
        assert_eq!(sequences.collect::<std::collections::BTreeSet<_>>().len(), 1);
    }
}

#[test]
fn a_rendition_without_a_key_frame_at_the_boundary_begins_with_its_first_one() {
    for mode in MODES {
        let video = clip(&Video { length: 21_000, ..Video::default() }).make();
        let mut apart = on_dependent(0, 0, &video);
        for frame in apart.iter_mut().filter(|frame| frame.dts > at(7_000)) {
            frame.access = Access::independent_if((frame.dts - at(500)).as_millis() % 2_000 == 0);
        }
        let mut fed = ladder(mode);
        fed.push(mux([video, apart, audio(48_000, 0, 21_000)]));
        let report = check(fed.end(), LOSSY);
        for segment in report.of(dependent(0)).iter().filter(|s| s.parts[0].start > at(1_000 + 7_500)) {
            let first = segment.parts.iter().find(|part| part.frames > 0).unwrap();
            assert!(segment.parts[0].frames == 0 && first.independent, "{mode:?}: {:?}", segment.parts[0]);
        }
        assert_eq!(numbers(&report, dependent(0)), numbers(&report, RenditionId::VIDEO));
    }
}

#[test]
fn encoders_may_reorder_differently_and_halve_the_frame_rate() {
    for mode in MODES {
        let video = clip(&Video { frames: 60, reorder: true, ..Video::default() }).make();
        let moved = |by: i64| {
            let mut frames = on_dependent(0, 0, &video);
            frames.iter_mut().for_each(|frame| frame.dts += TimeDelta::from_millis(by));
            frames
        };
        for by in [-70, -17, 9, 16] {
            let halved = clip(&Video { frames: 60, ..Video::default() }).make();
            let first = video[0].pts - halved[0].pts;
            let halved = halved.into_iter().step_by(2).map(|frame| Frame { pts: frame.pts + first, ..frame });
            let halved = on_dependent(1, 0, &halved.collect::<Vec<_>>());
            let mut fed = ladder(mode);
            fed.push(mux([video.clone(), moved(by), halved, audio(48_000, 0, 20_000)]));
            let report = check(fed.end(), Rules { aligned: false, full_parts: false, ..STRICT });
            for n in 0..2 {
                assert_eq!(numbers(&report, dependent(n)), numbers(&report, RenditionId::VIDEO));
                assert_eq!(gaps(&report, dependent(n)).0, [], "{mode:?} {by}");
            }
            let text = multivariant(&fed.events);
            assert_eq!((text.matches("FRAME-RATE=60.000").count(), text.matches("FRAME-RATE=30.000").count()), (2, 1));
        }
    }
}

#[test]
fn dependent_renditions_join_an_audio_programme_with_their_reference() {
    for mode in MODES {
        let video = clip(&Video { start: 8_100, length: 12_000, ..Video::default() }).make();
        let mut fed = Fed::new(mode, &[audio_track(48_000)]);
        fed.add_rendition(0, dependent_track(0, 640, 360)).push(audio(48_000, 0, 8_192));
        fed.add_track(video_track());
        fed.push(arriving(vec![(0, audio(48_000, 8_192, 12_000)), (0, on_dependent(0, 0, &video)), (200, video)]));
        let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
        assert_eq!(numbers(&report, dependent(0)), numbers(&report, RenditionId::VIDEO));
        assert!(report.of(dependent(0))[0].parts[0].discontinuity);
        assert_eq!(gaps(&report, dependent(0)).0, []);
    }
}

#[test]
fn a_reference_that_stops_gives_gaps_to_dependent_renditions_and_all_return() {
    for mode in MODES {
        let video = clip(&Video { length: 40_000, ..Video::default() }).make();
        let mut fed = ladder(mode);
        let kept = [within(&video, 0, 9_100), within(&video, 20_000, 40_000)].concat();
        fed.push(mux([kept, on_dependent(0, 0, &video), audio(48_000, 0, 40_000)]));
        let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
        assert_eq!(numbers(&report, dependent(0)), numbers(&report, RenditionId::VIDEO));
        let last = report.of(dependent(0)).into_iter().rev().nth(2).unwrap();
        assert!(last.parts[0].frames > 0, "it has returned");
    }
}

#[test]
fn frames_of_a_dependent_rendition_are_shared_not_copied() {
    let video = clip(&Video { length: 6_000, ..Video::default() }).make();
    let coded = on_dependent(0, 1_000, &video);
    let memory: std::collections::HashSet<_> = coded.iter().map(|frame| frame.payload.as_ptr()).collect();
    let mut fed = ladder(Low);
    fed.push(mux([video, coded]));
    for event in &fed.events {
        let Event::Part(part) = event else { continue };
        let large = part.data.pieces().iter().filter(|_| part.rendition == dependent(0)).skip(1);
        assert!(large.into_iter().all(|piece| memory.contains(&piece.as_ptr())));
    }
}

#[test]
fn invalid_dependent_renditions_are_ignored() {
    let mut fed = Fed::new(Low, &[video_track()]);
    fed.add_rendition(RenditionId::MAX_DEPENDENT_VIDEO, dependent_track(0, 640, 360))
        .add_rendition(0, audio_track(48_000));
    fed.drop_rendition(0).drop_rendition(99);
    let video = clip(&Video { length: 6_000, ..Video::default() }).make();
    fed.push(mux([video.clone(), on_dependent(0, 0, &video)]));
    assert_eq!(check(fed.end(), LOSSY).renditions(), [RenditionId::VIDEO]);
}

#[test]
fn metadata_is_in_every_video_rendition_once() {
    for mode in [Low, Standard] {
        let mut fed = ladder(mode);
        let video = clip(&Video::default()).make();
        let stops = [within(&video, 0, 6_000), within(&video, 14_000, 20_000)].concat();
        let streams = vec![
            (0, audio(48_000, 0, 20_000)),
            (0, video.clone()),
            (700, on_dependent(0, 0, &video)),
            (0, on_dependent(1, 0, &video)),
            (300, on_dependent(2, 0, &stops)),
        ];
        let mut times = (1..19).map(|second| at(second * 1_000 + 500)).peekable();
        for frame in arriving(streams) {
            while let Some(pts) = times.next_if(|pts| frame.track == VIDEO && frame.dts >= *pts) {
                let payload = bytes::Bytes::from_static(b"ID3");
                fed.packager.metadata(Metadata { kind: MetadataKind::Id3, pts, payload });
            }
            fed.push(vec![frame]);
        }
        fed.end();
        let metadata_of = |rendition| {
            let parts = fed.events.iter().filter_map(|event| match event {
                Event::Part(part) if part.rendition == rendition => Some(part.data.pieces().concat()),
                _ => None,
            });
            let numbers = |bytes: Vec<u8>| {
                let (mut rest, mut numbers) = (bytes.as_slice(), Vec::new());
                while rest.get(4..8) == Some(b"emsg") {
                    numbers.push(mp4_atom::Emsg::decode(&mut rest).unwrap().id);
                }
                numbers
            };
            parts.flat_map(numbers).collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..18).collect();
        assert_eq!(
            [metadata_of(RenditionId::VIDEO), metadata_of(dependent(0)), metadata_of(dependent(1))],
            [all.clone(), all.clone(), all]
        );
        // Its viewers got the metadata of its absence from another rendition.
        let last = metadata_of(dependent(2));
        assert!(last.starts_with(&[0, 1, 2]) && last.ends_with(&[15, 16, 17]), "{mode:?}: {last:?}");
        assert!(!last.iter().any(|number| (5..13).contains(number)), "{mode:?}: {last:?}");
        assert!(metadata_of(RenditionId::AUDIO).is_empty());
    }
}
