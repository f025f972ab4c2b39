//! Every frame that was pushed is played, and the playlists are correct (laws 1 to 3).

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{
    Clip, Encoder, MediaPlaylist, Rendition, Segment, Server, audio_hashes, clip, fragments, shared, timescale,
    video_hashes,
};

/// EXTINF has only a few decimals. Rounding errors are smaller than this, in seconds.
const EXTINF_ROUNDING: f64 = 0.002;

/// Pushes a clip, waits for the end of the broadcast, and compares all pushed frames with all played frames.
fn assert_same_frames(source: Clip, latency_mode: &str) {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create(latency_mode, json!({ "reconnect_window": 0 }));
    let file = clip(&source);
    let mut encoder = Encoder::push_copy(&file, &server.rtmp_url(&stream.key));
    let renditions = server.playback(&stream).renditions();
    let before: Vec<_> = renditions.iter().map(|rendition| rendition.playlist().frozen()).collect();
    encoder.wait_for_success();

    for (rendition, frozen) in renditions.iter().zip(before) {
        let whole = rendition.wait_for("the end of the list", |list| list.ended);
        assert_eq!(whole.first, 0, "the window holds the whole clip");
        assert_eq!(whole.frozen().0, frozen.0, "TARGETDURATION is frozen");
        for segment in &whole.segments {
            assert!(segment.duration.round() <= whole.target_duration, "{} s: {}", segment.duration, whole.text);
        }
        assert_continuous(rendition, &whole);
    }
    let (pushed, played) = (file.display().to_string(), server.playlist_url(&stream));
    if source.video {
        assert_eq!(video_hashes(&played), video_hashes(&pushed));
    }
    if source.audio {
        assert_eq!(audio_hashes(&played), audio_hashes(&pushed));
    }
}

/// Checks that `tfdt(n+1) = tfdt(n) + duration(n)` in all segments, and that each is as long as its EXTINF.
fn assert_continuous(rendition: &Rendition, list: &MediaPlaylist) {
    let mut scales = BTreeMap::new();
    let mut next = None;
    for segment in &list.segments {
        let scale = *scales
            .entry(segment.map.clone())
            .or_insert_with(|| f64::from(timescale(&rendition.fetch(&segment.map).body)));
        if segment.discontinuity {
            next = None;
        }
        let found = fragments(&rendition.fetch(&segment.uri).body);
        assert!(!found.is_empty(), "{} has no fragment", segment.uri);
        for fragment in &found {
            assert!(fragment.samples > 0);
            if let Some(next) = next {
                assert_eq!(fragment.decode_time, next, "gap or overlap in {}", segment.uri);
            }
            next = Some(fragment.decode_time + fragment.duration);
        }
        let seconds = found.iter().map(|fragment| fragment.duration).sum::<u64>() as f64 / scale;
        assert!((seconds - segment.duration).abs() < EXTINF_ROUNDING, "EXTINF {} but {seconds} s", segment.duration);
    }
}

#[test]
fn every_frame_is_played_in_low() {
    assert_same_frames(Clip::plain(10), "low");
}

#[test]
fn every_frame_is_played_in_standard() {
    assert_same_frames(Clip::plain(10), "standard");
}

#[test]
fn every_frame_is_played_with_b_frames() {
    assert_same_frames(Clip { b_frames: 3, ..Clip::plain(10) }, "low");
}

#[test]
fn every_frame_is_played_without_audio() {
    assert_same_frames(Clip { audio: false, ..Clip::plain(8) }, "low");
}

#[test]
fn every_frame_is_played_without_video() {
    assert_same_frames(Clip { video: false, ..Clip::plain(8) }, "low");
}

#[test]
fn irregular_keyframes_keep_the_targets_frozen() {
    assert_same_frames(Clip { gop: 600, keyframes: Some("0,0.5,1.5,1.9,6,6.5,12"), ..Clip::plain(14) }, "low");
}

#[test]
fn irregular_keyframes_keep_the_targets_frozen_without_parts() {
    assert_same_frames(Clip { gop: 600, keyframes: Some("0,0.5,1.5,1.9,6,6.5,12"), ..Clip::plain(14) }, "reduced");
}

/// Fetches the parts of complete segments and compares them with the segments.
#[test]
fn parts_concatenated_are_the_segment() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    for rendition in server.playback(&stream).renditions() {
        let first = rendition.wait_for("a segment with its parts", |list| segments_with_parts(list) > 0);
        let list = rendition.wait_for("more of them", |list| segments_with_parts(list) > 2);
        assert_eq!(first.frozen(), list.frozen(), "targets are frozen");
        let part_target = list.part_target.expect("PART-INF");
        for segment in list.segments.iter().filter(|segment| !segment.parts.is_empty()) {
            let parts: Vec<_> = segment.parts.iter().map(|part| rendition.fetch(&part.uri).body).collect();
            let whole = rendition.fetch(&segment.uri).body;
            assert_eq!(parts.concat(), whole, "{}", segment.uri);
            assert_eq!(rendition.fetch(&segment.uri).body, whole, "a segment never changes");
            for part in &segment.parts {
                assert!(part.duration <= part_target + EXTINF_ROUNDING, "{part:?}");
            }
            // rfc8216bis: all but the last part of a segment are at least 85 % of the target.
            for part in &segment.parts[..segment.parts.len() - 1] {
                assert!(part.duration >= 0.85 * part_target - EXTINF_ROUNDING, "{part:?} of target {part_target}");
            }
            let sum: f64 = segment.parts.iter().map(|part| part.duration).sum();
            let rounding = EXTINF_ROUNDING * segment.parts.len() as f64;
            assert!((sum - segment.duration).abs() < rounding, "parts last {sum} s, EXTINF {}", segment.duration);
            assert!(segment.parts[0].independent, "a segment starts with an independent part");
            let date_time = segment.date_time.as_deref();
            assert!(
                date_time.is_some_and(|text| text.contains('T')),
                "a segment has a PROGRAM-DATE-TIME: {date_time:?}"
            );
        }
        assert_continuous(&rendition, &list);
        assert!(list.open_parts.len() <= 12, "the open segment is bounded");
    }
}

fn segments_with_parts(list: &MediaPlaylist) -> usize {
    list.segments.iter().filter(|segment| !segment.parts.is_empty()).count()
}

/// Law 1: segments with the same sequence number start at the same programme time in each rendition.
#[test]
fn audio_and_video_segments_start_together() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let starts: Vec<BTreeMap<u64, f64>> = server
        .playback(&stream)
        .renditions()
        .iter()
        .map(|rendition| segment_starts(rendition, &rendition.wait_for("segments", |list| list.segments.len() >= 4)))
        .collect();
    let [one, other] = starts.as_slice() else { panic!("two renditions, not {}", starts.len()) };
    let common: Vec<_> = one.iter().filter_map(|(number, start)| Some((number, start, other.get(number)?))).collect();
    assert!(common.len() >= 3, "{starts:?}");
    for (number, start, twin) in common {
        // One video frame at 30 frames a second: the longer of the two kinds of frame.
        assert!(
            (start - twin).abs() <= 1.0 / 30.0 + EXTINF_ROUNDING,
            "segment {number} starts at {start} and at {twin}"
        );
    }
}

fn segment_starts(rendition: &Rendition, list: &MediaPlaylist) -> BTreeMap<u64, f64> {
    let start = |segment: &Segment| {
        let scale = f64::from(timescale(&rendition.fetch(&segment.map).body));
        let found = fragments(&rendition.fetch(&segment.uri).body);
        found.first().expect("a fragment").decode_time as f64 / scale
    };
    list.segments.iter().map(|segment| (segment.number, start(segment))).collect()
}
