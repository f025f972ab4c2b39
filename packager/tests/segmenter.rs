//! The segmenter on whole broadcasts: every latency mode, GOP and frame rate, and programmes that misbehave.

mod common;

use common::check::{Rules, STRICT, check};
use common::source::{Video, package};
use media::LatencyMode::{Low, Reduced, Standard};
use packager::log::RenditionId;

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
fn announced_audio_that_never_comes_holds_nothing_up() {
    let mut fed = common::source::Fed::new(Low, &[common::source::video_track(), common::source::audio_track(48_000)]);
    fed.push(Video { length: 1_030, ..Video::default() }.make());
    assert!(fed.events.iter().any(|e| matches!(e, packager::log::Event::Segment(_))), "a GOP is a segment");
    check(fed.push(Video { start: 1_033, ..Video::default() }.make()).end(), Rules { lossless: false, ..STRICT });
}

#[test]
fn sound_that_is_ahead_of_reordered_pictures_keeps_the_target() {
    // A picture of a quarter of a second is what reordering delays the others by.
    let video = Video { frames: 4, per: 1, gops: vec![50, 3_951], reorder: true, length: 30_000, ..Video::default() };
    check(&package(Standard, Some(&video), Some(48_000)), STRICT);
}
