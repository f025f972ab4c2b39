//! Several audio tracks: each is a rendition of its own, aligned with the first, and delays no other.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use common::check::{Report, Rules, STRICT, check};
use common::source::{
    Fed, Video, audio, audio_track, audio_track_in, dependent_track, mux, on_dependent, on_track, package, video_track,
};
use media::LatencyMode::{self, Low, Reduced, Standard};
use media::id::{BroadcastId, PlaybackId};
use media::{Frame, Kind, TimeDelta, Timestamp, Track};
use packager::log::{Event, RenditionId};
use packager::playlist::MultivariantOptions;
use packager::uri::Query;
use packager::window::Window;

const LOSSY: Rules = Rules { lossless: false, ..STRICT };
const MODES: [LatencyMode; 3] = [Standard, Reduced, Low];

fn rendition(n: usize) -> RenditionId {
    RenditionId::audio(n).unwrap()
}

/// Video and two audio tracks, of 20 s.
fn three(mode: LatencyMode) -> Fed {
    Fed::new(mode, &[video_track(), audio_track_in(0, 48_000, b"eng"), audio_track_in(1, 44_100, b"fra")])
}

fn before(frames: Vec<Frame>, ms: i64) -> Vec<Frame> {
    let end = Timestamp::ZERO + TimeDelta::from_millis(ms);
    frames.into_iter().filter(|frame| frame.dts < end).collect()
}

fn numbers(report: &Report, rendition: RenditionId) -> Vec<u64> {
    report.of(rendition).iter().map(|segment| segment.parts[0].msn).collect()
}

fn gaps(report: &Report, rendition: RenditionId) -> usize {
    report.of(rendition).iter().flat_map(|s| &s.parts).filter(|p| p.frames == 0).count()
}

fn multivariant(fed: &Fed) -> String {
    let mut window = Window::new();
    fed.events.iter().for_each(|event| window.apply(event));
    let (playback, broadcast): (PlaybackId, BroadcastId) = ("play".parse().unwrap(), "cast".parse().unwrap());
    let options = MultivariantOptions { playback: &playback, broadcast: &broadcast, query: Query::default() };
    window.multivariant_playlist().render(&options)
}

#[test]
fn every_track_is_a_rendition_and_all_are_aligned() {
    for mode in MODES {
        for gops in [vec![1_000], vec![2_500, 700], vec![5_000]] {
            let mut fed = three(mode);
            fed.add_track(Track { id: common::source::audio_id(2), ..audio_track(22_050) });
            let second = on_track(1, audio(44_100, 0, 20_000));
            let third = on_track(2, audio(22_050, 0, 20_000));
            let video = Video { gops, reorder: true, ..Video::default() };
            fed.push(mux([video.make(), audio(48_000, 0, 20_000), second, third]));
            let report = check(fed.end(), STRICT);
            assert_eq!(report.renditions(), [RenditionId::VIDEO, rendition(0), rendition(1), rendition(2)]);
            for n in 0..3 {
                assert_eq!(numbers(&report, RenditionId::VIDEO), numbers(&report, rendition(n)));
            }
        }
    }
}

#[test]
fn tracks_beyond_the_maximum_are_ignored() {
    let mut fed = Fed::new(Low, &[video_track()]);
    for n in 0..12 {
        fed.add_track(Track { id: common::source::audio_id(n), ..audio_track(48_000) });
    }
    let audio_frames = (0..12).map(|n| on_track(n, audio(48_000, 0, 4_000)));
    fed.push(mux(std::iter::once(Video { length: 4_000, ..Video::default() }.make()).chain(audio_frames)));
    let report = check(fed.end(), STRICT);
    assert_eq!(report.renditions().len(), 9);
}

#[test]
fn a_track_that_comes_late_stops_or_never_comes_delays_no_other() {
    for mode in MODES {
        for (from, to) in [(0, 8_300), (9_400, 20_000), (0, 0)] {
            let mut fed = three(mode);
            let second = on_track(1, audio(44_100, from, to - from));
            fed.push(mux([Video::default().make(), audio(48_000, 0, 20_000), second]));
            let newest = |id| {
                fed.events.iter().rev().find_map(|event| match event {
                    Event::Part(part) if part.rendition == id => Some(part.msn),
                    _ => None,
                })
            };
            assert!(newest(rendition(0)) >= newest(RenditionId::VIDEO).map(|msn| msn - 1));
            let report = check(fed.end(), LOSSY);
            assert_eq!(gaps(&report, rendition(0)), 0);
            assert_eq!(gaps(&report, rendition(1)) > 0, to == 8_300);
            let expected = numbers(&report, RenditionId::VIDEO);
            assert!(numbers(&report, rendition(1)).is_empty() == (to == 0));
            assert!(expected.ends_with(&numbers(&report, rendition(1))));
        }
    }
}

#[test]
fn two_audio_tracks_without_video() {
    for mode in MODES {
        for end in [20_000, 6_100] {
            let tracks = [audio_track_in(0, 48_000, b"eng"), audio_track_in(1, 44_100, b"fra")];
            let mut fed = Fed::new(mode, &tracks);
            fed.push(mux([before(audio(48_000, 0, 20_000), end), on_track(1, audio(44_100, 0, 20_000))]));
            let report = check(fed.end(), LOSSY);
            assert_eq!(numbers(&report, rendition(0)), numbers(&report, rendition(1)));
            assert_eq!(gaps(&report, rendition(1)), 0);
            let text = multivariant(&fed);
            assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 1);
            assert_eq!(text.matches("TYPE=AUDIO").count(), 2);
            assert_eq!(text.matches("URI=\"play/cast/audio2.m3u8\"").count(), 1);
        }
    }
}

#[test]
fn the_next_contribution_finds_its_languages_again() {
    let mut fed = three(Low);
    let second = on_track(1, audio(44_100, 0, 5_000));
    fed.push(mux([Video { length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000), second]));
    fed.discontinuity();
    // Another transport numbers its tracks differently, and in another order.
    fed.add_track(video_track())
        .add_track(audio_track_in(0, 44_100, b"fra"))
        .add_track(audio_track_in(7, 48_000, b"eng"));
    let french = audio(44_100, 6_000, 5_000);
    let english = on_track(7, audio(48_000, 6_000, 5_000));
    fed.push(mux([Video { start: 6_000, length: 5_000, ..Video::default() }.make(), french, english]));
    let report = check(fed.end(), LOSSY);
    assert_eq!(report.renditions().len(), 3);
    let inits = fed.events.iter().filter(|event| matches!(event, Event::Init(_))).count();
    assert_eq!(inits, 3, "the same languages need no new init sections");
    assert_eq!(gaps(&report, rendition(0)) + gaps(&report, rendition(1)), 0);
}

/// MPEG-TS signals the audio codec where the audio begins, which is often after the first video frames.
#[test]
fn audio_announced_after_the_first_video_of_a_contribution_adds_no_discontinuity() {
    for mode in MODES {
        let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        fed.push(mux([Video { length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000)]));
        fed.discontinuity().add_track(video_track());
        let late_video = Video { start: 6_000, length: 5_000, ..Video::default() }.make();
        let (early, rest): (Vec<_>, Vec<_>) =
            late_video.into_iter().partition(|frame| frame.dts < Timestamp::ZERO + TimeDelta::from_millis(6_400));
        fed.push(early).add_track(audio_track(44_100));
        fed.push(mux([rest, audio(44_100, 6_000, 5_000)]));
        let report = check(fed.end(), LOSSY);
        for rendition in [RenditionId::VIDEO, rendition(0)] {
            let discontinuities =
                report.of(rendition).iter().flat_map(|s| &s.parts).filter(|part| part.discontinuity).count();
            assert_eq!((discontinuities, gaps(&report, rendition)), (1, 0), "{rendition:?} in {mode:?}");
        }
    }
}

#[test]
fn a_changed_track_changes_its_own_rendition_only() {
    for mode in MODES {
        let mut fed = three(mode);
        let second = on_track(1, audio(44_100, 0, 6_500));
        fed.push(mux([Video { length: 6_500, ..Video::default() }.make(), audio(48_000, 0, 6_500), second]));
        fed.add_track(audio_track_in(1, 48_000, b"fra"));
        let rest = Video { start: 6_500, length: 6_000, ..Video::default() }.make();
        fed.push(mux([rest, audio(48_000, 6_506, 6_000), on_track(1, audio(48_000, 6_506, 6_000))]));
        let report = check(fed.end(), Rules { aligned: false, ..LOSSY });
        let inits = |rendition| {
            let all = fed.events.iter().filter(|e| matches!(e, Event::Init(init) if init.rendition == rendition));
            all.count()
        };
        assert_eq!([inits(RenditionId::VIDEO), inits(rendition(0)), inits(rendition(1))], [1, 1, 2]);
        assert_eq!(numbers(&report, RenditionId::VIDEO), numbers(&report, rendition(1)));
    }
}

#[test]
fn names_are_unique_and_the_first_track_is_the_default() {
    let mut fed = three(Low);
    fed.add_track(audio_track_in(2, 48_000, b"eng"));
    fed.add_track(Track { id: common::source::audio_id(3), ..audio_track(48_000) });
    let audio_frames = [(0, 48_000), (1, 44_100), (2, 48_000), (3, 48_000)];
    let audio_frames = audio_frames.map(|(n, rate)| on_track(n, audio(rate, 0, 5_000)));
    fed.push(mux(std::iter::once(Video { length: 5_000, ..Video::default() }.make()).chain(audio_frames)));
    let text = multivariant(&fed);
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("#EXT-X-MEDIA")).collect();
    let start = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=";
    let wanted = [
        "\"English\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"play/cast/audio.m3u8\"",
        "\"French\",LANGUAGE=\"fr\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"play/cast/audio2.m3u8\"",
        "\"English 3\",LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=NO,CHANNELS=\"2\",URI=\"play/cast/audio3.m3u8\"",
        "\"Audio 4\",DEFAULT=NO,AUTOSELECT=NO,CHANNELS=\"2\",URI=\"play/cast/audio4.m3u8\"",
    ];
    assert_eq!(lines, wanted.map(|rest| format!("{start}{rest}")));
}

#[test]
fn a_lower_audio_tier_goes_with_the_small_video() {
    let poorer = Track { tier: 1, ..audio_track_in(1, 48_000, b"eng") };
    let mut fed = Fed::new(Low, &[video_track(), audio_track_in(0, 48_000, b"eng"), poorer]);
    fed.add_rendition(0, dependent_track(0, 1_920, 1_080));
    let video = Video { millis: false, gops: vec![2_000], length: 8_000, ..Video::default() }.make();
    let audio_frames = [audio(48_000, 0, 8_000), on_track(1, audio(48_000, 0, 8_000))];
    fed.push(mux(audio_frames.into_iter().chain([video.clone(), on_dependent(0, 8_000, &video)])));
    let text = multivariant(&fed);
    let media: Vec<_> = text.lines().filter(|line| line.starts_with("#EXT-X-MEDIA")).collect();
    let rest = "NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"play/cast/audio";
    assert_eq!(media.len(), 2, "{text}");
    assert!(media[0].contains(&format!("GROUP-ID=\"audio\",{rest}.m3u8\"")), "{text}");
    assert!(media[1].contains(&format!("GROUP-ID=\"audio-1\",{rest}2.m3u8\"")), "{text}");
    let variants: Vec<_> = text.lines().filter(|line| line.starts_with("#EXT-X-STREAM-INF")).collect();
    assert_eq!(variants.len(), 2, "{text}");
    let group = |size: &str| {
        let variant = variants.iter().find(|variant| variant.contains(size)).unwrap();
        variant.split("AUDIO=").nth(1).unwrap().to_owned()
    };
    assert_eq!(
        [group("1920x1080"), group("1280x720")],
        ["\"audio\",CLOSED-CAPTIONS=NONE", "\"audio-1\",CLOSED-CAPTIONS=NONE"]
    );
}

#[test]
fn each_tier_has_the_same_names_in_the_same_order() {
    // As a ladder announces them, the third one after the rest: the audio tracks, and from eight on their lower tiers.
    let languages = [b"eng", b"und", b"und"];
    let track = |n: u32| {
        let (language, tier) = ((n % 8) as usize, (n / 8) as u8);
        Track { tier, ..audio_track_in(n, 48_000, languages[language]) }
    };
    let mut fed = Fed::new(Low, &[video_track()]);
    for n in [0, 1, 8, 9, 2, 10] {
        fed.add_track(track(n));
    }
    let audio_frames = [0, 1, 8, 9, 2, 10].map(|n| on_track(n, audio(48_000, 0, 5_000)));
    fed.push(mux(std::iter::once(Video { length: 5_000, ..Video::default() }.make()).chain(audio_frames)));
    let text = multivariant(&fed);
    let named = |group: &str| -> Vec<_> {
        let of_group = text.lines().filter(|line| line.contains(&format!("GROUP-ID=\"{group}\"")));
        of_group.filter_map(|line| line.split("NAME=").nth(1)?.split('"').nth(1)).map(str::to_owned).collect()
    };
    assert_eq!(named("audio"), ["English", "Audio 2", "Audio 5"], "{text}");
    assert_eq!(named("audio-1"), named("audio"), "{text}");
}

#[test]
fn the_first_track_of_the_contribution_is_the_default_though_another_came_first() {
    let mut fed = Fed::new(Low, &[video_track(), audio_track_in(1, 44_100, b"fra"), audio_track_in(0, 48_000, b"eng")]);
    let second = on_track(1, audio(44_100, 0, 5_000));
    fed.push(mux([Video { length: 5_000, ..Video::default() }.make(), audio(48_000, 0, 5_000), second]));
    let text = multivariant(&fed);
    let names: Vec<_> = text.lines().filter_map(|line| line.split("NAME=").nth(1)?.split(',').next()).collect();
    assert_eq!(names, ["\"English\"", "\"French\""]);
    assert!(text.contains("NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES"), "{text}");
}

#[test]
fn formats_have_the_language() {
    let mut fed = three(Low);
    let second = on_track(1, audio(44_100, 0, 2_000));
    fed.push(mux([Video { length: 2_000, ..Video::default() }.make(), audio(48_000, 0, 2_000), second]));
    let languages = fed.events.iter().filter_map(|event| match event {
        Event::Init(init) if init.format.kind == Kind::Audio => {
            Some(init.format.language.map(|l| l.as_str().to_owned()))
        }
        _ => None,
    });
    assert_eq!(languages.collect::<Vec<_>>(), [Some("eng".to_owned()), Some("fra".to_owned())]);
}

/// hls.js never requests the last part of a segment that it takes as complete: one of less than a tenth of a second, or
/// one that a playlist lists together with the end of the segment while the part before is still loading.
#[test]
fn audio_has_as_many_parts_as_video_and_segment_ends_come_with_the_next_part() {
    for rate in [48_000, 44_100] {
        for (frames, per) in [(30, 1), (25, 1), (60, 1), (30_000, 1_001)] {
            let video = Video { frames, per, gops: vec![2_000], ..Video::default() };
            let fed = package(Low, Some(&video), Some(rate));
            let report = check(&fed, STRICT);
            let video = report.of(RenditionId::VIDEO);
            for (video, audio) in video.iter().zip(report.of(rendition(0))).skip(1).take(6) {
                assert_eq!(audio.parts.len(), video.parts.len(), "{frames}/{per} at {rate}");
                assert!(audio.parts.iter().all(|part| part.duration > TimeDelta::from_millis(150)));
            }
            let is_end = |event: &Event| matches!(event, Event::Segment(end) if end.rendition == rendition(0));
            let is_part = |event: &Event| matches!(event, Event::Part(part) if part.rendition == rendition(0));
            let ends: Vec<_> = fed.events.windows(2).filter(|pair| is_end(&pair[0])).skip(1).collect();
            assert!(
                ends.len() >= 6 && ends.iter().rev().skip(1).all(|pair| is_part(&pair[1])),
                "{frames}/{per} at {rate}"
            );
        }
    }
}
