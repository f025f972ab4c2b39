//! Encoded programmes: renditions on one timeline, and viewers who never notice that the encoder was away.

mod audio_tracks;
mod av_sync;
mod network_outage;
mod overload;
pub(crate) mod slates;
mod source_passthrough;
mod timed_metadata;
mod video_joins;
pub(crate) mod viewers;

use serde_json::{Value, json};

use crate::encoder_change::{AV1, AVC, By, HEVC, Record, Turn};
use crate::support::{Encoder, Server, Stream, ffmpeg9, shared, until};

/// Segments of each encoder that are looked at.
const ENOUGH: usize = 2;
/// A frame at 30 frames a second, and what rounding adds.
const FRAME: f64 = 0.034;
/// Pictures of the slate after which it is taken for seen.
const SLATES: u64 = 45;
/// Live pictures after which an encoder is taken for back.
const BACK: u64 = 60;

const FIRST: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AVC, codec: "avc1." };
const LARGER: Turn = Turn { by: By::Srt, size: "1280x720", encoder: AVC, codec: "avc1." };
const OTHERS: [Turn; 3] = [
    LARGER,
    Turn { by: By::Rtmp, size: "640x360", encoder: AV1, codec: "av01." },
    Turn { by: By::Srt, size: "1280x720", encoder: HEVC, codec: "hvc1." },
];

/// A live stream that is encoded, with a slate for its gaps.
fn encoded(server: &Server, latency_mode: &str, more: Value) -> Stream {
    let mut settings = json!({
        "reconnect_window": 60,
        "use_slate_for_standard_latency": true,
        "new_asset_settings": { "video_quality": "plus" },
    });
    let fields = settings.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    server.api().create(latency_mode, settings)
}

/// A figure of the ladder.
fn figure(server: &Server, stream: &Stream, name: &str) -> u64 {
    let metrics = server.client().get("/metrics").text();
    let head = format!("weir_ladder_{name}{{live_stream=\"{}\"}} ", stream.id);
    metrics.lines().find_map(|line| line.strip_prefix(&head)).map_or(0, |value| value.parse().expect("a number"))
}

/// Waits until a counter of the ladder has grown by so much.
fn grows(server: &Server, stream: &Stream, name: &str, by: u64) {
    let before = figure(server, stream, name);
    until(&format!("{by} more of {name}"), || (figure(server, stream, name) >= before + by).then_some(()));
}

#[test]
fn renditions_share_one_timeline() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({}));
    let _encoder = Turn { by: By::Rtmp, ..LARGER }.push(&server, &stream);
    let playback = server.playback(&stream);
    let listed = until("all renditions", || {
        let text = playback.answer().text();
        (text.matches("#EXT-X-STREAM-INF").count() >= 3).then_some(text)
    });
    for size in ["1280x720", "852x480", "480x270"] {
        assert!(listed.contains(&format!("RESOLUTION={size}")), "{size} is not in {listed}");
    }
    let mut records: Vec<_> = playback.renditions().into_iter().map(Record::new).collect();
    assert_eq!(records.len(), 4, "{listed}");
    until("segments of all renditions", || {
        records.iter_mut().for_each(Record::reload);
        records.iter().all(|record| record.segments.len() > ENOUGH).then_some(())
    });
    let leader = records.iter().find(|record| record.rendition.kind == "video").expect("pictures");
    for record in &records {
        record.assert_continuous();
        let apart = apart(record, leader);
        let most = if record.rendition.kind == "video" { 0.001 } else { FRAME };
        assert!(apart.iter().all(|apart| *apart <= most), "{}: {apart:?}", record.rendition.path);
    }
}

/// How far from each other the segments of two renditions begin, in seconds. A rung that a busy machine sheds has gaps.
fn apart(one: &Record, other: &Record) -> Vec<f64> {
    let both = one.segments.iter().zip(&other.segments).filter(|(one, other)| !(one.segment.gap || other.segment.gap));
    both.map(|(one, other)| (one.start() - other.start()).abs()).collect()
}

/// Encoders vanish and come back as others; the playlists know nothing of it.
fn assert_nothing_breaks(latency_mode: &str) {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, latency_mode, json!({}));
    OTHERS.iter().for_each(|turn| drop(turn.file()));
    let mut encoder = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    let mut look = || records.iter_mut().for_each(Record::reload);
    for turn in &OTHERS {
        encoder.kill();
        look();
        grows(&server, &stream, "slate_pictures_total", SLATES);
        assert_eq!(server.api().status(&stream), "active");
        encoder = turn.push(&server, &stream);
        grows(&server, &stream, "live_pictures_total", BACK);
        look();
    }
    // A stopped encoder keeps its connection.
    encoder.freeze();
    grows(&server, &stream, "slate_pictures_total", SLATES);
    encoder.thaw();
    grows(&server, &stream, "live_pictures_total", BACK);
    look();
    for record in &records {
        assert_eq!(record.runs().len(), 1, "{} breaks", record.rendition.path);
        assert_eq!(record.segments[0].segment.map, record.segments.last().expect("a segment").segment.map);
        record.assert_continuous();
    }
}

#[test]
fn nothing_breaks_in_low() {
    assert_nothing_breaks("low");
}

#[test]
fn nothing_breaks_in_standard() {
    assert_nothing_breaks("standard");
}

#[test]
fn ffmpeg_plays_through_a_lost_encoder_to_the_end_in_each_mode() {
    let _machine = shared();
    let server = Server::start();
    let streams = ["low", "reduced", "standard"].map(|mode| encoded(&server, mode, json!({ "reconnect_window": 6 })));
    let push = |turn: &Turn| streams.each_ref().map(|stream| turn.push(&server, stream));
    let grow = |name: &str, by| streams.iter().for_each(|stream| grows(&server, stream, name, by));
    let mut first = push(&FIRST);
    let mut players = streams.each_ref().map(|stream| {
        server.playback(stream).main().wait_for("two segments", |list| list.segments.len() >= 2);
        // What a decoder complains of is an error here.
        let (head, url) = (["-v", "warning", "-xerror", "-i"], server.playlist_url(stream));
        Encoder::ffmpeg(&[&head[..], &[&url, "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-"]].concat())
    });
    grow("live_pictures_total", BACK);
    first.iter_mut().for_each(Encoder::kill);
    grow("slate_pictures_total", SLATES);
    let mut second = push(&Turn { by: By::Srt, ..FIRST });
    grow("live_pictures_total", BACK);
    second.iter_mut().for_each(Encoder::kill);
    for (stream, player) in streams.iter().zip(&mut players) {
        server.api().wait_for(stream, "idle");
        let ended = server.playback(stream).main().wait_for("the end of the list", |list| list.ended);
        assert!(!ended.segments.iter().any(|segment| segment.discontinuity), "{}", ended.text);
        player.wait_for_success();
        let output = player.output();
        let complaints: Vec<_> =
            output.lines().filter(|line| line.contains("error") || line.contains("Invalid")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

#[test]
fn flac_is_heard() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({}));
    let words = "-hide_banner -nostdin -nostats -re -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 \
                 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a flac -f flv";
    let words: Vec<_> = words.split_whitespace().collect();
    let _encoder = Encoder::run(ffmpeg9(), &[&words[..], &[&server.rtmp_url(&stream.key)]].concat());
    grows(&server, &stream, "live_pictures_total", BACK);
    assert_eq!(figure(&server, &stream, "decoders_replaced_total"), 0);
    // Sound that could not be decoded would be counted as silence.
    let silent = figure(&server, &stream, "silent_samples_total");
    assert!(silent < 24_000, "{silent} samples of silence in two seconds");
}
