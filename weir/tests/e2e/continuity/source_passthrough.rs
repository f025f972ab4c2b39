//! Source passthrough: the encoder's own frames are the largest rendition, not transcoded, and its gaps are filled
//! without a discontinuity.

use serde_json::json;

use super::{ENOUGH, LARGER, LIVE_FRAMES, SLATE_FRAMES, offsets, transcoded, wait_for_growth};
use crate::encoder_change::{AV1, AVC, By, Record, Turn};
use crate::players::{assert_success, seconds, watch};
use crate::support::{Server, Stream, alone, shared, until, video_hashes};

/// Minimum number of consecutive frames that are identical to the source.
const IDENTICAL_FRAMES: usize = 45;
/// Frames of the source after which passthrough counts as restored.
const SOURCE_FRAMES: u64 = 45;

const FIRST: Turn = Turn { by: By::Rtmp, ..LARGER };
const SMALLER: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AVC, codec: "avc1." };
const OTHER: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AV1, codec: "av01." };

fn server() -> Server {
    Server::start_with(&[("WEIR_LADDER_SOURCE", "true")])
}

/// Waits until frames of the source are passed through.
fn wait_for_passthrough(server: &Server, stream: &Stream) {
    wait_for_growth(server, stream, "source_frames_total", SOURCE_FRAMES);
}

/// Decodes all listed segments of a rendition, and returns the hash of each video frame.
fn decoded_frames(record: &Record, name: &str) -> Vec<String> {
    let first = &record.segments[0].segment;
    let mut bytes = record.rendition.fetch(&first.map).body;
    for listed in &record.segments {
        bytes.extend(record.rendition.fetch(&listed.segment.uri).body);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("writing the segments");
    video_hashes(&path.display().to_string())
}

/// Returns the maximum number of consecutive frames that follow each other in the clip, which is looped.
fn longest_match(frames: &[String], clip: &[String]) -> usize {
    let follows = |one: &String, next: &String| {
        let mut pairs = clip.iter().zip(clip.iter().cycle().skip(1));
        pairs.any(|pair| pair == (one, next))
    };
    let (mut longest, mut current) = (0, 0);
    for pair in frames.windows(2) {
        current = if follows(&pair[0], &pair[1]) { current + 1 } else { 0 };
        longest = longest.max(current);
    }
    longest
}

#[test]
fn the_largest_rendition_is_the_source() {
    let _machine = shared();
    let server = server();
    let stream = transcoded(&server, "low", json!({}));
    let _encoder = FIRST.push(&server, &stream);
    let playback = server.playback(&stream);
    let listed = until("all renditions", || {
        let text = playback.answer().text();
        (text.matches("#EXT-X-STREAM-INF").count() >= 3).then_some(text)
    });
    let mut records: Vec<_> = playback.renditions().into_iter().map(Record::new).collect();
    assert_eq!(records.len(), 4, "{listed}");
    until("segments of all renditions", || {
        records.iter_mut().for_each(Record::reload);
        records.iter().all(|record| record.segments.len() > ENOUGH).then_some(())
    });
    let reference = records.iter().find(|record| record.rendition.kind == "video").expect("a video rendition");
    for record in records.iter().filter(|record| record.rendition.kind != "audio") {
        record.assert_continuous();
        let offsets = offsets(record, reference);
        assert!(offsets.iter().all(|offset| *offset <= 0.001), "{}: {offsets:?}", record.rendition.path);
    }
    let (played, clip) =
        (decoded_frames(reference, "reference.mp4"), video_hashes(&FIRST.file().display().to_string()));
    let longest = longest_match(&played, &clip);
    assert!(longest >= IDENTICAL_FRAMES, "only {longest} of {} consecutive frames are the encoder's own", played.len());
}

#[test]
fn encoder_changes_leave_no_discontinuity() {
    let _machine = shared();
    let server = server();
    let stream = transcoded(&server, "low", json!({}));
    drop(SMALLER.file());
    let mut encoder = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    wait_for_passthrough(&server, &stream);
    encoder.kill();
    wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
    // The same video over another protocol is passed through again. Video of another size is transcoded.
    let mut encoder = LARGER.push(&server, &stream);
    wait_for_passthrough(&server, &stream);
    records.iter_mut().for_each(Record::reload);
    encoder.kill();
    wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
    let _encoder = SMALLER.push(&server, &stream);
    wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    records.iter_mut().for_each(Record::reload);
    for record in &records {
        assert_eq!(record.periods().len(), 1, "{} has a discontinuity", record.rendition.path);
        assert_eq!(record.segments[0].segment.map, record.segments.last().expect("a segment").segment.map);
        record.assert_continuous();
    }
    // Fails on any complaint of the decoder.
    let reference = records.iter().find(|record| record.rendition.kind == "video").expect("a video rendition");
    let (played, clip) =
        (decoded_frames(reference, "reference.mp4"), video_hashes(&FIRST.file().display().to_string()));
    assert!(longest_match(&played, &clip) >= IDENTICAL_FRAMES, "{} frames", played.len());
}

#[test]
fn a_source_of_another_codec_is_an_additional_rendition() {
    let _machine = shared();
    let server = server();
    let stream = transcoded(&server, "reduced", json!({}));
    let mut encoder = OTHER.push(&server, &stream);
    let playback = server.playback(&stream);
    let wait_for_source = |listed: bool| {
        until("the rendition of the source to appear or disappear", || {
            let text = playback.answer().text();
            (text.contains("avc1.") && text.contains(OTHER.codec) == listed).then_some(text)
        })
    };
    let listed = wait_for_source(true);
    let rendition = playback.renditions().into_iter().find(|rendition| rendition.path.contains("video3"));
    let mut source = Record::new(rendition.unwrap_or_else(|| panic!("no third rendition: {listed}")));
    until("segments of the source", || {
        source.reload();
        (source.segments.len() > 2 * ENOUGH).then_some(())
    });
    let (played, clip) = (decoded_frames(&source, "source.mp4"), video_hashes(&OTHER.file().display().to_string()));
    assert!(longest_match(&played, &clip) >= IDENTICAL_FRAMES, "{} frames", played.len());
    wait_for_source(true);
    encoder.kill();
    wait_for_source(false);
    let _encoder = OTHER.push(&server, &stream);
    wait_for_source(true);
    wait_for_passthrough(&server, &stream);
}

/// Kills an encoder, continues with `back`, and after that with one of another size.
fn assert_hls_js_plays_through(latency_mode: &str, first: &Turn, back: &Turn) {
    let _machine = alone();
    let server = server();
    let stream = transcoded(&server, latency_mode, json!({}));
    drop(SMALLER.file());
    let mut first = first.push(&server, &stream);
    server.playback(&stream).main().wait_for("three segments", |list| list.segments.len() >= 3);
    let mut player = watch(&server, &stream, seconds() + 10, &[]);
    first.kill();
    wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
    let mut second = back.push(&server, &stream);
    wait_for_passthrough(&server, &stream);
    second.kill();
    wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
    let _third = SMALLER.push(&server, &stream);
    wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    assert_success(&mut player);
}

#[test]
fn hls_js_plays_through_a_gap_of_the_source() {
    assert_hls_js_plays_through("low", &FIRST, &LARGER);
}

#[test]
fn hls_js_plays_through_a_gap_of_a_source_of_another_codec() {
    assert_hls_js_plays_through("standard", &OTHER, &OTHER);
}
