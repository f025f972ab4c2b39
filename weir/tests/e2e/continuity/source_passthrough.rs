//! The encoder's own frames as the largest rendition: never encoded twice, and gaps that nobody can tell from it.

use serde_json::json;

use super::{BACK, ENOUGH, LARGER, SLATES, apart, encoded, grows};
use crate::encoder_change::{AV1, AVC, By, Record, Turn};
use crate::players::{assert_content, seconds, watch};
use crate::support::{Server, Stream, alone, shared, until, video_hashes};

/// Frames of the source in a row that are looked for, bit for bit.
const IN_A_ROW: usize = 45;
/// Frames of the source after which it is taken for back.
const PASSED: u64 = 45;

const FIRST: Turn = Turn { by: By::Rtmp, ..LARGER };
const SMALLER: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AVC, codec: "avc1." };
const OTHER: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AV1, codec: "av01." };

fn server() -> Server {
    Server::start_with(&[("WEIR_LADDER_SOURCE", "true")])
}

/// Waits until the source's own frames are passed on.
fn passes(server: &Server, stream: &Stream) {
    grows(server, stream, "source_frames_total", PASSED);
}

/// Decodes all that was listed of a rendition; gives the hash of each picture.
fn pictures(record: &Record, name: &str) -> Vec<String> {
    let first = &record.segments[0].segment;
    let mut bytes = record.rendition.fetch(&first.map).body;
    for listed in &record.segments {
        bytes.extend(record.rendition.fetch(&listed.segment.uri).body);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("the pictures are written");
    video_hashes(&path.display().to_string())
}

/// The most pictures in a row that are those of the clip, which begins anew behind its end.
fn in_a_row(pictures: &[String], clip: &[String]) -> usize {
    let follows = |one: &String, next: &String| {
        let turn = clip.iter().zip(clip.iter().cycle().skip(1));
        turn.into_iter().any(|pair| pair == (one, next))
    };
    let (mut most, mut run) = (0, 0);
    for pair in pictures.windows(2) {
        run = if follows(&pair[0], &pair[1]) { run + 1 } else { 0 };
        most = most.max(run);
    }
    most
}

#[test]
fn the_largest_rendition_is_the_sources_own() {
    let _machine = shared();
    let server = server();
    let stream = encoded(&server, "low", json!({}));
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
    let leader = records.iter().find(|record| record.rendition.kind == "video").expect("pictures");
    for record in records.iter().filter(|record| record.rendition.kind != "audio") {
        record.assert_continuous();
        let apart = apart(record, leader);
        assert!(apart.iter().all(|apart| *apart <= 0.001), "{}: {apart:?}", record.rendition.path);
    }
    let (shown, clip) = (pictures(leader, "leader.mp4"), video_hashes(&FIRST.file().display().to_string()));
    let row = in_a_row(&shown, &clip);
    assert!(row >= IN_A_ROW, "{row} of {} pictures in a row are the encoder's own", shown.len());
}

#[test]
fn nothing_breaks_beside_the_source() {
    let _machine = shared();
    let server = server();
    let stream = encoded(&server, "low", json!({}));
    drop(SMALLER.file());
    let mut encoder = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    passes(&server, &stream);
    encoder.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    // The same by another protocol is passed on again; one of another size is encoded.
    let mut encoder = LARGER.push(&server, &stream);
    passes(&server, &stream);
    records.iter_mut().for_each(Record::reload);
    encoder.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    let _encoder = SMALLER.push(&server, &stream);
    grows(&server, &stream, "live_pictures_total", BACK);
    records.iter_mut().for_each(Record::reload);
    for record in &records {
        assert_eq!(record.runs().len(), 1, "{} breaks", record.rendition.path);
        assert_eq!(record.segments[0].segment.map, record.segments.last().expect("a segment").segment.map);
        record.assert_continuous();
    }
    // A decoder that complains fails this.
    let leader = records.iter().find(|record| record.rendition.kind == "video").expect("pictures");
    let (shown, clip) = (pictures(leader, "leader.mp4"), video_hashes(&FIRST.file().display().to_string()));
    assert!(in_a_row(&shown, &clip) >= IN_A_ROW, "{} pictures", shown.len());
}

#[test]
fn a_source_of_another_codec_is_a_rendition_of_its_own() {
    let _machine = shared();
    let server = server();
    let stream = encoded(&server, "reduced", json!({}));
    let mut encoder = OTHER.push(&server, &stream);
    let playback = server.playback(&stream);
    let lists = |there: bool| {
        until("the source's rendition to come or go", || {
            let text = playback.answer().text();
            (text.contains("avc1.") && text.contains(OTHER.codec) == there).then_some(text)
        })
    };
    let listed = lists(true);
    let rendition = playback.renditions().into_iter().find(|rendition| rendition.path.contains("video3"));
    let mut source = Record::new(rendition.unwrap_or_else(|| panic!("no third rendition: {listed}")));
    until("segments of the source", || {
        source.reload();
        (source.segments.len() > 2 * ENOUGH).then_some(())
    });
    let (shown, clip) = (pictures(&source, "source.mp4"), video_hashes(&OTHER.file().display().to_string()));
    assert!(in_a_row(&shown, &clip) >= IN_A_ROW, "{} pictures", shown.len());
    lists(true);
    encoder.kill();
    lists(false);
    let _encoder = OTHER.push(&server, &stream);
    lists(true);
    passes(&server, &stream);
}

/// An encoder is killed, `back` goes on, and after it another one of another size.
fn assert_hls_js_plays_through(latency_mode: &str, first: &Turn, back: &Turn) {
    let _machine = alone();
    let server = server();
    let stream = encoded(&server, latency_mode, json!({}));
    drop(SMALLER.file());
    let mut first = first.push(&server, &stream);
    server.playback(&stream).main().wait_for("three segments", |list| list.segments.len() >= 3);
    let mut player = watch(&server, &stream, seconds() + 10, &[]);
    first.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    let mut second = back.push(&server, &stream);
    passes(&server, &stream);
    second.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    let _third = SMALLER.push(&server, &stream);
    grows(&server, &stream, "live_pictures_total", BACK);
    assert_content(&mut player);
}

#[test]
fn hls_js_plays_through_a_gap_of_the_source() {
    assert_hls_js_plays_through("low", &FIRST, &LARGER);
}

#[test]
fn hls_js_plays_through_a_gap_of_a_source_of_another_codec() {
    assert_hls_js_plays_through("standard", &OTHER, &OTHER);
}
