//! The live window: the segments it lists and keeps, and its answers to blocked requests.

mod common;

use common::source::{Fed, Video, audio, audio_track, mux, other_video_track, package, video_track};
use media::LatencyMode::{Low, Reduced, Standard};
use media::TimeDelta;
use packager::log::{Event, RenditionId};
use packager::playlist::MediaOptions;
use packager::window::{Progress, Window};

const VIDEO: RenditionId = RenditionId::VIDEO;
const AUDIO: RenditionId = RenditionId::AUDIO;

fn window_of(events: &[Event]) -> Window {
    let mut window = Window::new();
    events.iter().for_each(|event| window.apply(event));
    window
}

fn listed(window: &Window, rendition: RenditionId) -> Vec<u64> {
    window
        .rendition(rendition)
        .into_iter()
        .flat_map(|r| r.listed())
        .filter(|s| s.is_closed())
        .map(|s| s.msn())
        .collect()
}

#[test]
fn lists_thirty_seconds_and_keeps_a_third_more() {
    let fed = package(Reduced, Some(&Video { length: 90_000, ..Video::default() }), Some(48_000));
    let mut window = Window::new();
    for event in &fed.events {
        window.apply(event);
        let Some(video) = window.rendition(VIDEO) else { continue };
        let total = video.listed().fold(TimeDelta::ZERO, |sum, s| sum + s.duration());
        assert!(total < TimeDelta::from_secs(34), "{total:?}");
    }
    assert_eq!(listed(&window, VIDEO), (30..46).collect::<Vec<_>>());
    assert!(window.segment(VIDEO, 25).is_some() && window.segment(VIDEO, 24).is_none());
    let held: u64 =
        (25..46).flat_map(|msn| [VIDEO, AUDIO].map(|r| window.segment(r, msn).map_or(0, |s| s.len()))).sum();
    let inits: usize = [VIDEO, AUDIO].map(|r| window.init(r, 0).unwrap().bytes.len()).iter().sum();
    assert_eq!(window.bytes(), held + inits as u64);
}

#[test]
fn lists_three_target_durations_of_long_gops() {
    let video = Video { gops: vec![20_000], length: 200_000, ..Video::default() };
    let window = window_of(&package(Standard, Some(&video), None).events);
    assert_eq!(window.targets().unwrap().segment_secs, 20);
    assert_eq!(listed(&window, VIDEO).len(), 3);
}

#[test]
fn is_playable_once_each_rendition_has_two_segments() {
    for (mode, millis) in [(Standard, 5_000), (Reduced, 3_000), (Low, 3_000)] {
        let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        let length = millis + 250;
        fed.push(mux([Video { length, ..Video::default() }.make(), audio(48_000, 0, length)]));
        let mut window = Window::new();
        for event in &fed.events {
            let whole = |r| window.rendition(r).map_or(0, |r| r.listed().filter(|s| s.is_closed()).count());
            assert_eq!(window.is_playable(), whole(VIDEO) >= 2 && whole(AUDIO) >= 2);
            window.apply(event);
        }
        assert!(window.is_playable(), "one GOP, a segment as long as all, and a frame are enough");
        let listed = window.rendition(VIDEO).unwrap().listed().filter(|s| s.is_closed());
        let listed = listed.fold(TimeDelta::ZERO, |sum, s| sum + s.duration());
        let next = TimeDelta::from_secs(window.targets().unwrap().segment_secs.into());
        assert_eq!(listed.as_millis(), millis);
        assert!(listed >= next + TimeDelta::from_millis(900), "more than the next segment takes");
        assert!(window.media_playlist(VIDEO).map(|list| list.render(&MediaOptions::default())).is_some());
    }
}

#[test]
fn a_broadcast_that_ended_early_is_playable_with_one_segment() {
    for mode in [Standard, Reduced, Low] {
        let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        fed.push(mux([Video { length: 700, ..Video::default() }.make(), audio(48_000, 0, 700)]));
        assert!(!window_of(&fed.events).is_playable());
        assert!(window_of(&fed.end().events).is_playable());
        assert!(!window_of(&Fed::new(mode, &[video_track()]).end().events).is_playable(), "nothing came");
    }
}

/// Players that go back three segments from the end of the list find more there than the next one takes.
#[test]
fn three_segments_last_longer_than_the_next_one_from_the_start() {
    for mode in [Standard, Reduced, Low] {
        for gop in [500, 1_000, 2_000, 2_500] {
            let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
            let video = Video { length: 30_000, gops: vec![gop], ..Video::default() };
            fed.push(mux([video.make(), audio(48_000, 0, 30_000)]));
            let window = window_of(&fed.events);
            let all: Vec<_> =
                window.rendition(VIDEO).unwrap().listed().filter(|s| s.is_closed()).map(|s| s.duration()).collect();
            for (n, next) in all.iter().enumerate().skip(2) {
                let had = all[n.saturating_sub(3)..n].iter().fold(TimeDelta::ZERO, |sum, d| sum + *d);
                assert!(had >= *next + TimeDelta::from_millis(900), "{mode:?} {gop}: {all:?}");
            }
        }
    }
}

#[test]
fn blocking_reloads_wait_for_the_requested_part() {
    let mut fed = Fed::new(Low, &[video_track()]);
    fed.push(Video { length: 8_450, ..Video::default() }.make());
    let window = window_of(&fed.events);
    assert_eq!(window.progress(VIDEO), Some(Progress { msn: 4, parts: 7 }));
    let contains = |msn, part| window.contains(VIDEO, msn, part);
    assert!(contains(3, None) && !contains(4, None));
    assert!(contains(4, Some(6)) && !contains(4, Some(7)) && !contains(5, Some(0)));
    assert!(contains(3, Some(19)), "past the end of segment 3 means the first part of segment 4");
    assert!(!window.contains(AUDIO, 0, None));
    assert!(window.hints_at(VIDEO, 4, 7) && !window.hints_at(VIDEO, 4, 6) && !window.hints_at(VIDEO, 5, 0));
    assert!(!window_of(&fed.end().events).hints_at(VIDEO, 4, 7));
}

#[test]
fn a_part_past_a_closed_segment_waits_for_the_next_segments_first() {
    let mut fed = Fed::new(Low, &[video_track()]);
    fed.push(Video { length: 7_020, ..Video::default() }.make());
    let window = window_of(&fed.events);
    assert_eq!(window.progress(VIDEO), Some(Progress { msn: 4, parts: 0 }));
    assert!(window.contains(VIDEO, 3, None) && window.contains(VIDEO, 3, Some(9)));
    assert!(!window.contains(VIDEO, 3, Some(10)));
}

#[test]
fn init_sections_go_with_their_last_segment() {
    let mut fed = Fed::new(Reduced, &[video_track()]);
    fed.push(Video { length: 10_000, ..Video::default() }.make());
    fed.add_track(other_video_track());
    fed.push(Video { start: 10_000, length: 90_000, ..Video::default() }.make());
    let window = window_of(&fed.events);
    assert!(window.init(VIDEO, 0).is_none() && window.init(VIDEO, 1).is_some());
    let text = window.media_playlist(VIDEO).map(|list| list.render(&MediaOptions::default())).unwrap();
    assert!(text.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n") && !text.contains("#EXT-X-DISCONTINUITY\n"));
}

#[test]
fn a_late_rendition_counts_the_discontinuities_before_it() {
    let mut fed = Fed::new(Low, &[video_track()]);
    fed.push(Video { length: 5_000, ..Video::default() }.make()).discontinuity();
    fed.add_track(audio_track(48_000));
    fed.push(Video { start: 6_000, length: 4_000, ..Video::default() }.make());
    fed.push(mux([Video { start: 10_000, length: 6_000, ..Video::default() }.make(), audio(48_000, 10_000, 6_000)]));
    let window = window_of(&fed.events);
    let text = window.media_playlist(AUDIO).map(|list| list.render(&MediaOptions::default())).unwrap();
    assert!(text.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{text}");
}

#[test]
fn a_late_rendition_does_not_shorten_the_list_of_the_others() {
    for late in 31..36 {
        let mut fed = Fed::new(Low, &[video_track(), audio_track(48_000)]);
        fed.push(mux([Video { length: 60_000, ..Video::default() }.make(), audio(48_000, late * 1_000, 20_000)]));
        let mut window = Window::new();
        for event in &fed.events {
            window.apply(event);
            let Some(video) = window.rendition(VIDEO) else { continue };
            let total = video.listed().fold(TimeDelta::ZERO, |sum, s| sum + s.duration());
            let full = video.listed().next().is_none_or(|s| s.msn() == 0) || total >= TimeDelta::from_secs(30);
            assert!(full, "{total:?} are listed with audio from {late} s on");
        }
    }
}

#[test]
fn gaps_are_signalled() {
    let mut fed = Fed::new(Low, &[video_track(), audio_track(48_000)]);
    fed.push(mux([Video::default().make(), audio(48_000, 0, 8_300)]));
    let window = window_of(&fed.events);
    let text = window.media_playlist(AUDIO).map(|list| list.render(&MediaOptions::default())).unwrap();
    assert!(text.contains("#EXT-X-GAP\n#EXTINF:") && text.contains(",GAP=YES\n"));
}

#[test]
fn a_regular_stream_keeps_its_hints() {
    let fed = package(Low, Some(&Video { length: 20_000, ..Video::default() }), Some(48_000));
    let mut window = Window::new();
    let mut wrong = Vec::new();
    for event in &fed.events {
        if let Event::Part(part) = event
            && let Some(hint) =
                window.rendition(part.rendition).filter(|r| r.listed().any(|s| s.is_closed())).map(|r| r.hint())
            && (hint.msn, hint.parts) != (part.msn, part.index)
        {
            wrong.push((part.rendition, part.msn, part.index));
        }
        window.apply(event);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
