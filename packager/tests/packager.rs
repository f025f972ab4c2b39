//! The packager on whole broadcasts: every latency mode, GOP and frame rate.

mod common;

use common::check::{Rules, STRICT, check};
use std::collections::HashMap;

use common::source::{Fed, Video, audio, audio_track, mux, package, video_track};
use media::LatencyMode::{Low, Reduced, Standard};
use media::{Access, Frame, TimeDelta, Timestamp};
use packager::log::{Event, RenditionId};
use packager::window::Window;

#[test]
fn gops_of_all_lengths_in_all_modes() {
    for mode in [Standard, Reduced, Low] {
        for gop in [500, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000] {
            for reorder in [false, true] {
                let video = Video { gops: vec![gop], reorder, length: (gop * 4).max(20_000), ..Video::default() };
                check(&package(mode, Some(&video), Some(48_000)), STRICT);
            }
        }
    }
}

#[test]
fn one_second_gops_make_two_second_segments_after_the_start() {
    let report = check(&package(Low, Some(&Video::default()), Some(48_000)), STRICT);
    let durations = report.durations_ms(RenditionId::VIDEO);
    assert_eq!(durations[..7], [1_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000]);
    assert_eq!(report.targets.unwrap().segment_secs, 2);
}

#[test]
fn irregular_gops_keep_the_frozen_target() {
    for mode in [Standard, Reduced, Low] {
        for gops in
            [vec![1_000, 7_000, 300, 2_500], vec![2_000, 20_000], vec![4_000, 500, 500, 9_000], vec![100, 6_000]]
        {
            let video = Video { gops, length: 45_000, ..Video::default() };
            check(&package(mode, Some(&video), Some(44_100)), STRICT);
        }
    }
}

#[test]
fn frame_rates_with_millisecond_jitter() {
    let rates =
        [(12, 1), (15, 1), (24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60, 1), (10, 1), (7, 1), (5, 1)];
    for (frames, per) in rates {
        for millis in [true, false] {
            for rate in [48_000, 44_100] {
                let video = Video { frames, per, millis, gops: vec![2_000], ..Video::default() };
                check(&package(Low, Some(&video), Some(rate)), STRICT);
            }
        }
    }
}

#[test]
fn slower_than_three_frames_a_second() {
    let video = Video { frames: 2, gops: vec![2_000], ..Video::default() };
    check(&package(Low, Some(&video), Some(48_000)), STRICT);
    check(&package(Standard, Some(&video), None), STRICT);
}

#[test]
fn audio_only_and_video_only() {
    for mode in [Standard, Reduced, Low] {
        for rate in [48_000, 44_100, 22_050] {
            let report = check(&package(mode, None, Some(rate)), STRICT);
            assert!(report.of(RenditionId::VIDEO).is_empty());
        }
        let report = check(&package(mode, Some(&Video { reorder: true, ..Video::default() }), None), STRICT);
        assert!(report.of(RenditionId::AUDIO).is_empty());
    }
}

#[test]
fn announced_audio_that_never_comes_delays_nothing() {
    let mut fed = common::source::Fed::new(Low, &[common::source::video_track(), common::source::audio_track(48_000)]);
    fed.push(Video { length: 1_030, ..Video::default() }.make());
    assert!(fed.events.iter().any(|e| matches!(e, packager::log::Event::Segment(_))), "a GOP is a segment");
    check(fed.push(Video { start: 1_033, ..Video::default() }.make()).end(), Rules { lossless: false, ..STRICT });
}

#[test]
fn audio_ahead_of_reordered_video_keeps_the_target() {
    // Reordering delays the other frames by one frame of a quarter of a second.
    let video = Video { frames: 4, per: 1, gops: vec![50, 3_951], reorder: true, length: 30_000, ..Video::default() };
    check(&package(Standard, Some(&video), Some(48_000)), STRICT);
}

/// Frames at several rates one after another, each for this long, with a key frame every `gop` milliseconds.
fn rates(rates: &[(i64, i64)], gop: i64) -> Vec<Frame> {
    let (mut frames, mut now, mut next_key) = (Video { length: 60_000, frames: 60, ..Video::default() }.make(), 0, 0);
    let times = rates.iter().flat_map(|(rate, lasts)| (0..rate * lasts / 1_000).map(move |_| 1_000 / *rate));
    let mut made = Vec::new();
    for (step, frame) in times.zip(frames.drain(..)) {
        let at = Timestamp::ZERO + TimeDelta::from_millis(now);
        let key = now >= next_key;
        next_key += if key { gop } else { 0 };
        made.push(Frame { dts: at, pts: at, access: Access::independent_if(key), ..frame });
        now += step;
    }
    made
}

/// The longest wait of the viewers for the next part, on the timeline of the frames that are sent.
fn longest_wait(fed: &mut Fed, frames: Vec<Frame>, rendition: RenditionId) -> TimeDelta {
    let (mut last, mut longest, mut known) = (None, TimeDelta::ZERO, fed.events.len());
    for frame in frames {
        let now = frame.dts;
        fed.push(vec![frame]);
        let new = |event: &Event| matches!(event, Event::Part(part) if part.rendition == rendition);
        if fed.events[known..].iter().any(new) {
            longest = last.replace(now).map_or(longest, |last| longest.max(now - last));
        }
        known = fed.events.len();
    }
    longest
}

#[test]
fn a_rate_that_jumps_keeps_parts_full_and_in_time() {
    let jumps: [&[(i64, i64)]; 5] = [
        &[(30, 2_000), (10, 2_000), (2, 2_000), (30, 2_000), (2, 4_000), (30, 2_000)],
        &[(30, 4_000), (1, 6_000), (60, 3_000), (1, 3_000)],
        &[(60, 4_000), (5, 4_000), (60, 4_000)],
        &[(60, 4_000), (3, 4_000), (25, 4_000)],
        &[(30, 4_000), (7, 4_000), (4, 4_000), (24, 4_000)],
    ];
    for mode in [Low, Reduced, Standard] {
        for (jumps, gop) in jumps.iter().flat_map(|jumps| [1_000, 2_000].map(|gop| (jumps, gop))) {
            let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
            let video = rates(jumps, gop);
            // Whole milliseconds: 60 and 30 a second are a little more.
            let lasts = jumps.iter().map(|(rate, lasts)| rate * lasts / 1_000 * (1_000 / rate)).sum();
            let (early, late): (Vec<_>, Vec<_>) = mux([video.clone(), audio(48_000, 0, lasts)])
                .into_iter()
                .partition(|frame| frame.dts < Timestamp::ZERO + TimeDelta::from_millis(3_000));
            fed.push(early);
            let longest = longest_wait(&mut fed, late, RenditionId::VIDEO);
            assert!(mode != Low || longest < TimeDelta::from_millis(450), "{jumps:?}: {longest:?}");
            let report = check(fed.end(), Rules { aligned: false, ..STRICT });
            let end = report.of(RenditionId::VIDEO).iter().fold(TimeDelta::ZERO, |sum, s| sum + s.duration);
            // The intended duration of the last frame cannot be known.
            let off = (end - TimeDelta::from_millis(lasts)).abs();
            assert!(off < TimeDelta::from_millis(if mode == Low { 300 } else { 1_000 }), "{mode:?} {jumps:?} {end:?}");
            let gaps = report.of(RenditionId::VIDEO).iter().flat_map(|s| &s.parts).filter(|p| p.frames == 0).count();
            assert_eq!(gaps, 0, "{mode:?} {jumps:?}");
            let presented: Vec<_> =
                report.of(RenditionId::VIDEO).iter().flat_map(|s| &s.samples).map(|s| s.pts).collect();
            assert!(presented.is_sorted_by(|one, next| one < next), "{mode:?} {jumps:?}: a frame goes back in time");
            let mut window = Window::new();
            fed.events.iter().for_each(|event| window.apply(event));
            let fastest = jumps.iter().map(|(rate, _)| *rate as u32 * 1_000).max().unwrap();
            let rate = window.rendition(RenditionId::VIDEO).unwrap().stats().millihertz().unwrap();
            assert!((fastest..fastest + fastest / 20).contains(&rate), "{mode:?} {jumps:?}: {rate}");
        }
    }
}

#[test]
fn playlists_hint_at_parts_that_come() {
    for gops in
        [vec![1_000], vec![1_000, 3_700, 500, 6_000, 2_300, 800], vec![2_000, 700, 2_000, 2_000, 300], vec![4_000]]
    {
        for frames in [30, 25, 60] {
            for reorder in [false, true] {
                let mut fed = Fed::new(Low, &[video_track(), audio_track(48_000)]);
                let video = Video { gops: gops.clone(), frames, reorder, length: 40_000, ..Video::default() };
                let (mut window, mut wrong, mut hints) = (Window::new(), Vec::new(), HashMap::new());
                for frame in mux([video.make(), audio(48_000, 0, 40_000)]) {
                    let known = fed.events.len();
                    fed.push(vec![frame]);
                    fed.events[known..].iter().for_each(|event| window.apply(event));
                    for rendition in window.renditions().filter(|r| r.listed().any(|s| s.is_closed())) {
                        let now = (rendition.hint().msn, rendition.hint().parts);
                        let before = hints.insert(rendition.id(), now).filter(|before| *before != now);
                        let never = |(msn, index): &(u64, u32)| window.part(rendition.id(), *msn, *index).is_none();
                        wrong.extend(before.filter(never).map(|part| (rendition.id(), part)));
                    }
                }
                assert!(wrong.is_empty(), "{gops:?} at {frames}, {reorder}: {wrong:?}");
            }
        }
    }
}
