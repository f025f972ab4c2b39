//! Several renditions of the same pictures: each begins its segments with the pictures that the leader begins with, and
//! none is in the way of the others.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use common::check::{Report, Rules, STRICT, check};
use common::source::{Fed, VIDEO, Video, audio, audio_track, mux, on_rung, other_video_track, rung_track, video_track};
use media::LatencyMode::{self, Low, Reduced, Standard};
use media::id::{BroadcastId, PlaybackId};
use media::{Access, Frame, Metadata, MetadataKind, TimeDelta, Timestamp};
use mp4_atom::Decode;
use packager::log::{Event, RenditionId};
use packager::playlist::{MediaOptions, MultivariantOptions};
use packager::uri::Query;
use packager::window::Window;
use proptest::prelude::*;

const LOSSY: Rules = Rules { lossless: false, ..STRICT };
const MODES: [LatencyMode; 3] = [Standard, Reduced, Low];
const SIZES: [(u32, u32); 3] = [(1920, 1080), (854, 480), (426, 240)];

fn rung(n: u32) -> RenditionId {
    RenditionId::dependent_video(n).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::ZERO + TimeDelta::from_millis(ms)
}

/// A leader of 1280x720 with sound, and three rungs.
fn ladder(mode: LatencyMode) -> Fed {
    let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
    for (n, (width, height)) in (0..).zip(SIZES) {
        fed.add_rendition(n, rung_track(n, width, height));
    }
    fed
}

/// A clip as the ladder's encoders make it of exact timestamps.
fn clip(video: &Video) -> Video {
    Video { millis: false, gops: vec![2_000], ..video.clone() }
}

/// Frames of the leader and the rungs in the order in which they come, when each is late by so many milliseconds.
fn arriving(streams: Vec<(i64, Vec<Frame>)>) -> Vec<Frame> {
    let late = |(late, frames): (i64, Vec<Frame>)| {
        frames.into_iter().map(move |frame| (frame.dts + TimeDelta::from_millis(late), frame))
    };
    let mut all: Vec<_> = streams.into_iter().flat_map(late).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, frame)| frame).collect()
}

fn within(frames: &[Frame], from: i64, to: i64) -> Vec<Frame> {
    frames.iter().filter(|frame| (at(from)..at(to)).contains(&frame.dts)).cloned().collect()
}

fn numbers(report: &Report, rendition: RenditionId) -> Vec<u64> {
    report.of(rendition).iter().map(|segment| segment.parts[0].msn).collect()
}

/// The segments of a rendition that begin with a gap, and those that are nothing else.
fn gaps(report: &Report, rendition: RenditionId) -> (Vec<u64>, Vec<u64>) {
    let segments = report.of(rendition);
    let first = segments.iter().filter(|s| s.parts[0].frames == 0).map(|s| s.parts[0].msn);
    let whole = segments.iter().filter(|s| s.samples.is_empty()).map(|s| s.parts[0].msn);
    (first.collect(), whole.collect())
}

fn window(events: &[Event]) -> Window {
    let mut window = Window::new();
    events.iter().for_each(|event| window.apply(event));
    window
}

fn multivariant(events: &[Event]) -> String {
    let (playback, broadcast): (PlaybackId, BroadcastId) = ("play".parse().unwrap(), "cast".parse().unwrap());
    let options = MultivariantOptions { playback: &playback, broadcast: &broadcast, query: Query::default() };
    window(events).multivariant_playlist().render(&options)
}

/// The video renditions in the order of the multivariant playlist.
fn variants(events: &[Event]) -> Vec<String> {
    let text = multivariant(events);
    let lines = text.lines().filter_map(|line| line.strip_prefix("play/cast/")?.strip_suffix(".m3u8"));
    lines.map(str::to_owned).collect()
}

/// All but what is about rungs.
fn without_rungs(events: &[Event]) -> String {
    let about = |event: &&Event| match event {
        Event::Init(init) => !init.rendition.is_dependent_video(),
        Event::Part(part) => !part.rendition.is_dependent_video(),
        Event::Segment(end) => !end.rendition.is_dependent_video(),
        Event::Next(next) => !next.rendition.is_dependent_video(),
        Event::Withdrawn(_) => false,
        Event::Targets(_) | Event::Captions | Event::End => true,
    };
    events.iter().filter(about).map(|event| format!("{event:?}\n")).collect()
}

#[test]
fn rungs_are_cut_exactly_where_the_leader_is() {
    for mode in MODES {
        for (frames, per) in [(30, 1), (30_000, 1_001), (60_000, 1_001), (25, 1), (24_000, 1_001), (60, 1)] {
            for reorder in [false, true] {
                let video = clip(&Video { frames, per, reorder, ..Video::default() }).make();
                let mut fed = ladder(mode);
                let rungs = (0..3).map(|n| on_rung(n, n as usize * 10, &video));
                fed.push(mux([audio(48_000, 0, 20_000), video.clone()].into_iter().chain(rungs)));
                let report = check(fed.end(), STRICT);
                assert_eq!(report.renditions().len(), 5);
                for n in 0..3 {
                    assert_eq!(numbers(&report, rung(n)), numbers(&report, RenditionId::VIDEO));
                    assert_eq!(gaps(&report, rung(n)).0, [], "{mode:?} {frames}/{per}");
                    assert_eq!(report.durations_ms(rung(n)), report.durations_ms(RenditionId::VIDEO));
                }
            }
        }
    }
}

#[test]
fn a_rung_may_lag_by_seconds_and_the_leader_may_be_the_slow_one() {
    for mode in MODES {
        for late in [[0, 40, 90, 300], [0, 3_000, 1_200, 4_700], [350, 0, 0, 20], [2_500, 0, 2_500, 1]] {
            let video = clip(&Video { reorder: true, ..Video::default() }).make();
            let rungs = (0..3).map(|n| (late[n as usize + 1], on_rung(n, 0, &video)));
            let all = [(0, audio(48_000, 0, 20_000)), (late[0], video.clone())].into_iter().chain(rungs).collect();
            let mut fed = ladder(mode);
            fed.push(arriving(all));
            let report = check(fed.end(), Rules { lossless: late[0] < 2_000, ..STRICT });
            for n in 0..3 {
                assert_eq!(gaps(&report, rung(n)).0, [], "{mode:?} {late:?}");
                assert_eq!(numbers(&report, rung(n)), numbers(&report, RenditionId::VIDEO));
            }
        }
    }
}

#[test]
fn the_leader_and_its_sound_are_the_same_with_rungs_and_without() {
    for mode in MODES {
        let video = clip(&Video { reorder: true, length: 30_000, ..Video::default() }).make();
        let sound = audio(48_000, 0, 30_000);
        let mut alone = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        alone.push(mux([sound.clone(), video.clone()])).end();
        let mut fed = ladder(mode);
        let late = (2_000, on_rung(0, 0, &video));
        let stops = (0, on_rung(1, 0, &within(&video, 0, 7_300)));
        let returns = (0, on_rung(2, 0, &[within(&video, 0, 4_100), within(&video, 17_000, 30_000)].concat()));
        fed.push(arriving(vec![(0, sound), (0, video), late, stops, returns])).end();
        assert_eq!(without_rungs(&fed.events), without_rungs(&alone.events));
        check(&fed, LOSSY);
    }
}

#[test]
fn a_rung_that_drops_out_has_whole_gaps_and_returns_on_a_cut() {
    for mode in MODES {
        for (from, to) in [(2_803, 3_838), (7_300, 9_000), (7_300, 18_900), (8_000, 16_000), (6_000, 40_000)] {
            let video = clip(&Video { length: 30_000, ..Video::default() }).make();
            let kept = [within(&video, 0, from), within(&video, to, 30_000)].concat();
            let mut fed = ladder(mode);
            let others = (1..3).map(|n| on_rung(n, 0, &video));
            fed.push(mux([video.clone(), audio(48_000, 0, 30_000), on_rung(0, 0, &kept)].into_iter().chain(others)));
            let newest = |id| {
                let parts = fed.events.iter().rev().filter_map(|event| match event {
                    Event::Part(part) => Some(part),
                    _ => None,
                });
                parts.clone().find(|part| part.rendition == id).map(|part| part.start + part.duration)
            };
            let behind = newest(RenditionId::VIDEO).unwrap() - newest(rung(0)).unwrap();
            assert!(behind < TimeDelta::from_secs(11), "gaps do not wait for ever: {behind:?}");
            let report = check(fed.end(), LOSSY);
            assert_eq!(numbers(&report, rung(0)), numbers(&report, RenditionId::VIDEO));
            assert_eq!(gaps(&report, rung(1)).0, []);
            if to - from > 6_000 {
                let (first, whole) = gaps(&report, rung(0));
                assert!(!whole.is_empty());
                assert_eq!(first, whole, "it returns with a segment, not within one");
            }
        }
    }
}

#[test]
fn a_rung_that_comes_late_begins_on_a_cut_and_delays_nothing() {
    for mode in MODES {
        for from in [500, 6_000, 9_700] {
            let video = clip(&Video::default()).make();
            let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
            fed.push(within(&mux([video.clone(), audio(48_000, 0, 20_000)]), 0, 7_000));
            assert!(window(&fed.events).is_playable());
            fed.add_rendition(0, rung_track(0, 640, 360));
            let rest = mux([video.clone(), audio(48_000, 0, 20_000), on_rung(0, 0, &within(&video, from, 20_000))]);
            fed.push(within(&rest, 7_000, 20_000));
            let report = check(fed.end(), LOSSY);
            let first = report.of(rung(0))[0];
            assert!(first.parts[0].independent && first.parts[0].msn > 0 && !first.parts[0].discontinuity);
            assert_eq!(gaps(&report, rung(0)).0, []);
            assert!(numbers(&report, RenditionId::VIDEO).ends_with(&numbers(&report, rung(0))));
            assert_eq!(variants(&fed.events)[..2], ["video", "video2"]);
        }
    }
}

#[test]
fn the_first_playlist_waits_for_the_rungs_but_not_without_end() {
    for mode in MODES {
        let video = clip(&Video::default()).make();
        let mut fed = ladder(mode);
        let rungs = [(100, on_rung(0, 0, &video)), (1_500, on_rung(1, 0, &video))];
        let playable = |fed: &mut Fed, frames: Vec<Frame>| {
            frames.into_iter().find_map(|frame| {
                let dts = frame.dts;
                fed.push(vec![frame]);
                window(&fed.events).is_playable().then_some(dts)
            })
        };
        let frames = arriving([(0, video.clone()), (0, audio(48_000, 0, 20_000))].into_iter().chain(rungs).collect());
        let since = playable(&mut fed, frames).unwrap() - Timestamp::ZERO;
        assert!(since >= TimeDelta::from_secs(6), "the third rung never came: {since:?}");
        assert!(since < TimeDelta::from_millis(10_100), "but it is not needed: {since:?}");
        let listed = variants(&fed.events);
        assert_eq!(listed.len(), 3, "{listed:?}");
    }
}

#[test]
fn a_shed_rung_is_not_listed_has_gaps_at_once_and_returns_on_a_cut() {
    for mode in MODES {
        for (shed, back, other) in [(7_300, 13_100, false), (8_000, 14_000, true), (9_900, 10_100, true)] {
            let video = clip(&Video { length: 30_000, ..Video::default() }).make();
            let all = |from, to| {
                let video = within(&video, from, to);
                let mut streams = vec![video.clone(), on_rung(1, 0, &video), on_rung(2, 0, &video)];
                streams.push(within(&audio(48_000, 0, 30_000), from, to));
                if to <= shed || from >= back {
                    streams.push(on_rung(0, 0, &video));
                }
                mux(streams)
            };
            let mut fed = ladder(mode);
            fed.push(all(0, shed));
            assert!(variants(&fed.events).contains(&"video2".to_owned()));
            fed.drop_rendition(0).drop_rendition(0);
            assert!(!variants(&fed.events).contains(&"video2".to_owned()));
            fed.push(all(shed, back));
            assert!(!variants(&fed.events).contains(&"video2".to_owned()));
            let there = |id| window(&fed.events).progress(id).unwrap().msn;
            assert!(there(rung(0)) >= there(RenditionId::VIDEO), "its gaps keep up");
            let track = if other { rung_track(0, 1600, 900) } else { rung_track(0, 1920, 1080) };
            fed.add_rendition(0, track);
            assert!(!variants(&fed.events).contains(&"video2".to_owned()), "not before a segment is whole");
            fed.push(all(back, 30_000));
            assert!(variants(&fed.events).contains(&"video2".to_owned()));
            let text =
                window(&fed.events).media_playlist(rung(0)).map(|list| list.render(&MediaOptions::default())).unwrap();
            assert_eq!(text.matches("#EXT-X-MAP").count(), if other { 2 } else { 1 }, "{text}");
            assert!(text.contains("#EXT-X-GAP\n") && text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{text}");
            assert!(!text.contains("#EXT-X-DISCONTINUITY"), "{text}");
            let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
            assert_eq!(numbers(&report, rung(0)), numbers(&report, RenditionId::VIDEO));
            let returned = report.of(rung(0)).into_iter().rfind(|s| s.parts[0].init == 1);
            assert_eq!(returned.is_some(), other);
            assert!(returned.is_none_or(|s| s.parts[0].independent));
            if shed == 8_000 {
                let (first, whole) = gaps(&report, rung(0));
                assert_eq!(first, whole, "it was shed between segments: no segment is torn");
            }
        }
    }
}

#[test]
fn gap_parts_of_a_shed_rung_come_as_fast_as_the_leaders_parts() {
    let video = clip(&Video::default()).make();
    let mut fed = ladder(Low);
    fed.push(mux([within(&video, 0, 9_000), on_rung(0, 0, &within(&video, 0, 9_000))])).drop_rendition(0);
    for frame in within(&video, 9_000, 15_000) {
        fed.push(vec![frame]);
        let ends = |id| {
            fed.events.iter().rev().find_map(|event| match event {
                Event::Part(part) if part.rendition == id => Some(part.start + part.duration),
                _ => None,
            })
        };
        let behind = ends(RenditionId::VIDEO).unwrap() - ends(rung(0)).unwrap();
        assert!(behind.abs() < TimeDelta::from_millis(500), "{behind:?}");
    }
    check(fed.end(), Rules { full_parts: false, ..LOSSY });
}

/// hls.js 1.7 reads `LAST-PART=0` as if it were not there, and asks for a part that comes up to a segment later: whoever
/// changes levels in that moment stands still.
#[test]
fn no_report_names_the_first_part_of_a_segment() {
    let video = clip(&Video::default()).make();
    let mut fed = ladder(Low);
    fed.push(mux([within(&video, 0, 12_000), on_rung(0, 0, &within(&video, 0, 12_000))]));
    let (mut window, mut seen) = (Window::new(), 0);
    for event in &fed.events {
        window.apply(event);
        if !window.is_playable() {
            continue;
        }
        let Some(list) = window.media_playlist(rung(0)).map(|list| list.render(&MediaOptions::default())) else {
            continue;
        };
        let report = list.lines().find_map(|line| line.split_once("URI=\"video.m3u8\",LAST-MSN=")).unwrap().1;
        let (msn, part) = report.split_once(",LAST-PART=").unwrap();
        let (msn, part) = (msn.parse().unwrap(), part.parse().unwrap());
        assert!(part > 0 && window.part(RenditionId::VIDEO, msn, part).is_some(), "{report}");
        seen += 1;
    }
    assert!(seen > 50);
}

#[test]
fn a_break_is_a_break_in_all_rungs() {
    for mode in MODES {
        let mut fed = ladder(mode);
        let first = clip(&Video { length: 7_300, ..Video::default() }).make();
        let second = clip(&Video { start: 9_000, length: 8_000, ..Video::default() }).make();
        // One of them was shed before, another one is missing behind the break.
        fed.push(mux([first.clone(), on_rung(0, 0, &first), on_rung(1, 0, &first), audio(48_000, 0, 7_300)]));
        fed.drop_rendition(2).discontinuity().add_track(other_video_track());
        fed.push(mux([second.clone(), on_rung(0, 0, &second), audio(48_000, 9_000, 8_000)]));
        // The leader's header changes in mid-run, and those of the rungs do not.
        fed.add_track(video_track());
        let third = clip(&Video { start: 17_000, length: 9_000, ..Video::default() }).make();
        fed.push(mux([third.clone(), on_rung(0, 0, &third), audio(48_000, 17_003, 9_000)]));
        let report = check(fed.end(), LOSSY);
        let broken = |id| -> Vec<u64> {
            let parts = report.of(id).into_iter().map(|s| &s.parts[0]);
            parts.filter(|part| part.discontinuity).map(|part| part.msn).collect()
        };
        assert_eq!(broken(RenditionId::VIDEO).len(), 2);
        for id in [rung(0), rung(1), RenditionId::AUDIO] {
            assert_eq!(broken(id), broken(RenditionId::VIDEO), "{id:?}");
        }
        let window = window(&fed.events);
        let sequences = window.renditions().map(|r| r.listed().last().unwrap().discontinuity_sequence());
        assert_eq!(sequences.collect::<std::collections::BTreeSet<_>>().len(), 1);
    }
}

#[test]
fn a_rung_without_a_key_frame_at_the_cut_begins_with_its_first_one() {
    for mode in MODES {
        let video = clip(&Video { length: 21_000, ..Video::default() }).make();
        let mut apart = on_rung(0, 0, &video);
        for frame in apart.iter_mut().filter(|frame| frame.dts > at(7_000)) {
            frame.access = Access::independent_if((frame.dts - at(500)).as_millis() % 2_000 == 0);
        }
        let mut fed = ladder(mode);
        fed.push(mux([video, apart, audio(48_000, 0, 21_000)]));
        let report = check(fed.end(), LOSSY);
        for segment in report.of(rung(0)).iter().filter(|s| s.parts[0].start > at(1_000 + 7_500)) {
            let shown = segment.parts.iter().find(|part| part.frames > 0).unwrap();
            assert!(segment.parts[0].frames == 0 && shown.independent, "{mode:?}: {:?}", segment.parts[0]);
        }
        assert_eq!(numbers(&report, rung(0)), numbers(&report, RenditionId::VIDEO));
    }
}

#[test]
fn encoders_may_reorder_differently_and_show_fewer_pictures() {
    for mode in MODES {
        let video = clip(&Video { frames: 60, reorder: true, ..Video::default() }).make();
        let moved = |by: i64| {
            let mut frames = on_rung(0, 0, &video);
            frames.iter_mut().for_each(|frame| frame.dts += TimeDelta::from_millis(by));
            frames
        };
        for by in [-70, -17, 9, 16] {
            let halved = clip(&Video { frames: 60, ..Video::default() }).make();
            let first = video[0].pts - halved[0].pts;
            let halved = halved.into_iter().step_by(2).map(|frame| Frame { pts: frame.pts + first, ..frame });
            let halved = on_rung(1, 0, &halved.collect::<Vec<_>>());
            let mut fed = ladder(mode);
            fed.push(mux([video.clone(), moved(by), halved, audio(48_000, 0, 20_000)]));
            let report = check(fed.end(), Rules { aligned: false, full_parts: false, ..STRICT });
            for n in 0..2 {
                assert_eq!(numbers(&report, rung(n)), numbers(&report, RenditionId::VIDEO));
                assert_eq!(gaps(&report, rung(n)).0, [], "{mode:?} {by}");
            }
            let text = multivariant(&fed.events);
            assert_eq!((text.matches("FRAME-RATE=60.000").count(), text.matches("FRAME-RATE=30.000").count()), (2, 1));
        }
    }
}

#[test]
fn rungs_join_a_programme_of_sound_with_their_leader() {
    for mode in MODES {
        let video = clip(&Video { start: 8_100, length: 12_000, ..Video::default() }).make();
        let mut fed = Fed::new(mode, &[audio_track(48_000)]);
        fed.add_rendition(0, rung_track(0, 640, 360)).push(audio(48_000, 0, 8_192));
        fed.add_track(video_track());
        fed.push(arriving(vec![(0, audio(48_000, 8_192, 12_000)), (0, on_rung(0, 0, &video)), (200, video)]));
        let report = check(fed.end(), Rules { full_parts: false, ..LOSSY });
        assert_eq!(numbers(&report, rung(0)), numbers(&report, RenditionId::VIDEO));
        assert!(report.of(rung(0))[0].parts[0].discontinuity);
        assert_eq!(gaps(&report, rung(0)).0, []);
    }
}

#[test]
fn a_leader_that_stops_gives_gaps_to_its_rungs_too_and_all_return() {
    for mode in MODES {
        let video = clip(&Video { length: 40_000, ..Video::default() }).make();
        let mut fed = ladder(mode);
        let kept = [within(&video, 0, 9_100), within(&video, 20_000, 40_000)].concat();
        fed.push(mux([kept, on_rung(0, 0, &video), audio(48_000, 0, 40_000)]));
        let report = check(fed.end(), Rules { full_parts: false, aligned: false, ..LOSSY });
        assert_eq!(numbers(&report, rung(0)), numbers(&report, RenditionId::VIDEO));
        let last = report.of(rung(0)).into_iter().rev().nth(2).unwrap();
        assert!(last.parts[0].frames > 0, "it has returned");
    }
}

#[test]
fn frames_of_a_rung_are_shared_not_copied() {
    let video = clip(&Video { length: 6_000, ..Video::default() }).make();
    let coded = on_rung(0, 1_000, &video);
    let memory: std::collections::HashSet<_> = coded.iter().map(|frame| frame.payload.as_ptr()).collect();
    let mut fed = ladder(Low);
    fed.push(mux([video, coded]));
    for event in &fed.events {
        let Event::Part(part) = event else { continue };
        let large = part.data.pieces().iter().filter(|_| part.rendition == rung(0)).skip(1);
        assert!(large.into_iter().all(|piece| memory.contains(&piece.as_ptr())));
    }
}

#[test]
fn what_is_no_rung_is_ignored() {
    let mut fed = Fed::new(Low, &[video_track()]);
    fed.add_rendition(RenditionId::MAX_DEPENDENT_VIDEO, rung_track(0, 640, 360)).add_rendition(0, audio_track(48_000));
    fed.drop_rendition(0).drop_rendition(99);
    let video = clip(&Video { length: 6_000, ..Video::default() }).make();
    fed.push(mux([video.clone(), on_rung(0, 0, &video)]));
    assert_eq!(check(fed.end(), LOSSY).renditions(), [RenditionId::VIDEO]);
}

#[test]
fn the_multivariant_playlist_begins_with_a_good_start_and_goes_down() {
    let video = clip(&Video { frames: 30_000, per: 1_001, ..Video::default() }).make();
    let mut fed = Fed::new(Low, &[video_track(), audio_track(48_000)]);
    let sizes = [(1920, 1080, 4_000), (960, 540, 600), (640, 360, 300), (426, 240, 100)];
    let mut streams = vec![video.clone(), audio(48_000, 0, 20_000)];
    for (n, (width, height, more)) in (0..).zip(sizes) {
        fed.add_rendition(n, rung_track(n, width, height));
        streams.push(on_rung(n, more, &video));
    }
    fed.push(mux(streams));
    let text = multivariant(&fed.events);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("#EXTM3U") && !line.contains("VERSION")).collect();
    let resolutions: Vec<_> =
        lines.iter().filter_map(|line| line.split("RESOLUTION=").nth(1)?.split(',').next()).collect();
    // The leader of 1280x720 was given the smallest frames, so it is the last but for the start.
    assert_eq!(resolutions, ["1280x720", "1920x1080", "960x540", "640x360", "426x240"]);
    assert_eq!(text.matches("#EXT-X-MEDIA:TYPE=AUDIO").count(), 1);
    assert_eq!(text.matches(",FRAME-RATE=29.970,AUDIO=\"audio\"").count(), 5, "{text}");
    assert!(text.contains("CODECS=\"avc1.42C01E,mp4a.40.2\",RESOLUTION=640x360"), "{text}");
    let rate = |size: &str, name: &str| -> u64 {
        let line = lines.iter().find(|line| line.contains(size)).unwrap();
        line.split([':', ',']).find_map(|field| field.strip_prefix(name)).unwrap().parse().unwrap()
    };
    // 4 kB 30 times a second and a few bytes of boxes and sound.
    let (peak, average) = (rate("1920x1080", "BANDWIDTH="), rate("1920x1080", "AVERAGE-BANDWIDTH="));
    assert!(
        (960_000..1_050_000).contains(&average) && (average..average * 3 / 2 + 30_000).contains(&peak),
        "{peak} {average}"
    );
    let uris: Vec<_> = lines.iter().filter(|line| line.starts_with("play/")).collect();
    assert_eq!(uris.len(), 5);
    let list = window(&fed.events).media_playlist(rung(1)).map(|list| list.render(&MediaOptions::default())).unwrap();
    assert!(list.contains("#EXT-X-MAP:URI=\"video3-init-0.mp4\""), "{list}");
    assert_eq!(list.matches("#EXT-X-RENDITION-REPORT:URI=").count(), 5, "{list}");
    assert!(list.contains("#EXT-X-RENDITION-REPORT:URI=\"video.m3u8\",LAST-MSN="), "{list}");
    assert!(list.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"video3-"), "{list}");
}

#[test]
fn where_no_rendition_is_small_enough_players_begin_with_the_smallest() {
    let video = clip(&Video { length: 9_000, ..Video::default() }).make();
    let leader = media::Track { id: VIDEO, ..rung_track(7, 3840, 2160) };
    let mut fed = Fed::new(Reduced, &[leader]);
    fed.add_rendition(0, rung_track(0, 2560, 1440)).add_rendition(1, rung_track(1, 1080, 1920));
    fed.push(mux([on_same(&video), on_rung(0, 500, &video), on_rung(1, 200, &video)]));
    assert_eq!(variants(&fed.events), ["video3", "video", "video2"]);
}

/// The leader's pictures, larger than the others.
fn on_same(frames: &[Frame]) -> Vec<Frame> {
    on_rung(0, 900, frames).into_iter().map(|frame| Frame { track: VIDEO, ..frame }).collect()
}

#[test]
fn metadata_is_told_in_every_rendition_of_the_pictures_once() {
    for mode in [Low, Standard] {
        let mut fed = ladder(mode);
        let video = clip(&Video::default()).make();
        let stops = [within(&video, 0, 6_000), within(&video, 14_000, 20_000)].concat();
        let streams = vec![
            (0, audio(48_000, 0, 20_000)),
            (0, video.clone()),
            (700, on_rung(0, 0, &video)),
            (0, on_rung(1, 0, &video)),
            (300, on_rung(2, 0, &stops)),
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
        let told = |rendition| {
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
        assert_eq!([told(RenditionId::VIDEO), told(rung(0)), told(rung(1))], [all.clone(), all.clone(), all]);
        // What was told while it was away was told to its viewers by another one.
        let last = told(rung(2));
        assert!(last.starts_with(&[0, 1, 2]) && last.ends_with(&[15, 16, 17]), "{mode:?}: {last:?}");
        assert!(!last.iter().any(|number| (5..13).contains(number)), "{mode:?}: {last:?}");
        assert!(told(RenditionId::AUDIO).is_empty());
    }
}

/// What happens to a rung: how late it is, where it has holes, when it is shed and brought back.
#[derive(Clone, Debug)]
struct Fate {
    late: i64,
    holes: Vec<(i64, i64)>,
    shed: Option<(usize, usize, bool)>,
}

fn fate() -> impl Strategy<Value = Fate> {
    let holes = proptest::collection::vec((0i64..30_000, 30i64..12_000), 0..3);
    let shed = proptest::option::of((0usize..4_000, 1usize..1_500, any::<bool>()));
    (0i64..5_500, holes, shed).prop_map(|(late, holes, shed)| Fate { late, holes, shed })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_becomes_of_rungs_the_laws_hold(
        mode in prop_oneof![Just(Standard), Just(Reduced), Just(Low)],
        fates in proptest::collection::vec(fate(), 3),
        reorder: bool,
        rate in prop_oneof![Just((30u32, 1u32)), Just((30_000, 1_001)), Just((25, 1))],
        breaks in proptest::option::of(0usize..4_000),
        changes in proptest::option::of(0usize..4_000),
    ) {
        let video = clip(&Video { frames: rate.0, per: rate.1, reorder, length: 30_000, ..Video::default() }).make();
        let sound = audio(48_000, 0, 30_000);
        let mut streams = vec![(0, video.clone()), (0, sound)];
        for (n, fate) in (0..).zip(&fates) {
            let hole = |at: i64| fate.holes.iter().any(|(from, long)| (*from..from + long).contains(&at));
            let mut frames = on_rung(n, n as usize, &video);
            frames.retain(|frame| !hole((frame.dts - Timestamp::ZERO).as_millis()));
            streams.push((fate.late, frames));
        }
        let run = |with_rungs: bool| {
            let mut fed = if with_rungs { ladder(mode) } else { Fed::new(mode, &[video_track(), audio_track(48_000)]) };
            for (n, frame) in arriving(streams.clone()).into_iter().enumerate() {
                if breaks == Some(n) {
                    fed.discontinuity();
                }
                if changes == Some(n) {
                    fed.add_track(other_video_track());
                }
                for (r, fate) in (0..).zip(&fates) {
                    match fate.shed {
                        Some((shed, _, _)) if n == shed => { fed.drop_rendition(r); }
                        Some((shed, long, other)) if n == shed + long && with_rungs => {
                            let (width, height) = SIZES[r as usize];
                            fed.add_rendition(r, rung_track(r, width, if other { height - 16 } else { height }));
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
        check(&fed, Rules { lossless: false, full_parts: false, aligned: breaks.is_none() && changes.is_none() });
        let known = |fed: &Fed| fed.events.iter().find_map(|event| match event {
            Event::Targets(targets) => Some(*targets),
            _ => None,
        });
        let alone = run(false);
        if known(&alone) == known(&fed) {
            prop_assert_eq!(without_rungs(&fed.events), without_rungs(&alone.events), "rungs change nothing for others");
        }
    }
}
