//! Transcoded programmes: all renditions share one timeline, and viewers do not notice that the encoder was
//! disconnected.

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

/// Segments of each encoder to check.
const ENOUGH: usize = 2;
/// Duration of a frame at 30 frames a second plus rounding, in seconds.
const FRAME: f64 = 0.034;
/// Video frames of the slate after which a test goes on.
const SLATE_FRAMES: u64 = 45;
/// Live video frames after which an encoder counts as back.
const LIVE_FRAMES: u64 = 60;

const FIRST: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AVC, codec: "avc1." };
const LARGER: Turn = Turn { by: By::Srt, size: "1280x720", encoder: AVC, codec: "avc1." };
const OTHERS: [Turn; 3] = [
    LARGER,
    Turn { by: By::Rtmp, size: "640x360", encoder: AV1, codec: "av01." },
    Turn { by: By::Srt, size: "1280x720", encoder: HEVC, codec: "hvc1." },
];

/// Creates a live stream that is transcoded and has a slate.
fn transcoded(server: &Server, latency_mode: &str, more: Value) -> Stream {
    let mut settings = json!({
        "reconnect_window": 60,
        "use_slate_for_standard_latency": true,
        "new_asset_settings": { "video_quality": "plus" },
    });
    let fields = settings.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    server.api().create(latency_mode, settings)
}

/// Returns a metric of the ladder.
fn ladder_metric(server: &Server, stream: &Stream, name: &str) -> u64 {
    let metrics = server.client().get("/metrics").text();
    let head = format!("weir_ladder_{name}{{live_stream=\"{}\"}} ", stream.id);
    metrics.lines().find_map(|line| line.strip_prefix(&head)).map_or(0, |value| value.parse().expect("a number"))
}

/// Waits until a counter of the ladder has grown by `by`.
fn wait_for_growth(server: &Server, stream: &Stream, name: &str, by: u64) {
    let before = ladder_metric(server, stream, name);
    until(&format!("{by} more of {name}"), || (ladder_metric(server, stream, name) >= before + by).then_some(()));
}

#[test]
fn renditions_share_one_timeline() {
    let _machine = shared();
    let server = Server::start();
    let stream = transcoded(&server, "low", json!({}));
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
    let reference = records.iter().find(|record| record.rendition.kind == "video").expect("a video rendition");
    for record in &records {
        record.assert_continuous();
        let offsets = offsets(record, reference);
        let max = if record.rendition.kind == "video" { 0.001 } else { FRAME };
        assert!(offsets.iter().all(|offset| *offset <= max), "{}: {offsets:?}", record.rendition.path);
    }
}

/// Returns the distances between the starts of segments of two renditions, in seconds. Skips gaps, because a busy
/// machine may shed a rendition.
fn offsets(one: &Record, other: &Record) -> Vec<f64> {
    let both = one.segments.iter().zip(&other.segments).filter(|(one, other)| !(one.segment.gap || other.segment.gap));
    both.map(|(one, other)| (one.start() - other.start()).abs()).collect()
}

/// Checks that playlists have no discontinuity while encoders disappear and others take their place.
fn assert_continuity(latency_mode: &str) {
    let _machine = shared();
    let server = Server::start();
    let stream = transcoded(&server, latency_mode, json!({}));
    OTHERS.iter().for_each(|turn| drop(turn.file()));
    let mut encoder = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    let mut reload = || records.iter_mut().for_each(Record::reload);
    for turn in &OTHERS {
        encoder.kill();
        reload();
        wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
        assert_eq!(server.api().status(&stream), "active");
        encoder = turn.push(&server, &stream);
        wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
        reload();
    }
    // A stopped encoder keeps its connection open.
    encoder.freeze();
    wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
    encoder.thaw();
    wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    reload();
    for record in &records {
        assert_eq!(record.periods().len(), 1, "{} has a discontinuity", record.rendition.path);
        assert_eq!(record.segments[0].segment.map, record.segments.last().expect("a segment").segment.map);
        record.assert_continuous();
    }
}

#[test]
fn encoder_changes_leave_no_discontinuity_in_low() {
    assert_continuity("low");
}

#[test]
fn encoder_changes_leave_no_discontinuity_in_standard() {
    assert_continuity("standard");
}

#[test]
fn ffmpeg_plays_through_a_lost_encoder_to_the_end_in_each_mode() {
    let _machine = shared();
    let server = Server::start();
    let streams =
        ["low", "reduced", "standard"].map(|mode| transcoded(&server, mode, json!({ "reconnect_window": 6 })));
    let push = |turn: &Turn| streams.each_ref().map(|stream| turn.push(&server, stream));
    let wait_for_all = |name: &str, by| streams.iter().for_each(|stream| wait_for_growth(&server, stream, name, by));
    let mut first = push(&FIRST);
    let mut players = streams.each_ref().map(|stream| {
        server.playback(stream).main().wait_for("two segments", |list| list.segments.len() >= 2);
        // Any warning of the decoder is an error here.
        let (head, url) = (["-v", "warning", "-xerror", "-i"], server.playlist_url(stream));
        Encoder::ffmpeg(&[&head[..], &[&url, "-map", "0:v:0", "-map", "0:a:0", "-f", "null", "-"]].concat())
    });
    wait_for_all("live_pictures_total", LIVE_FRAMES);
    first.iter_mut().for_each(Encoder::kill);
    wait_for_all("slate_pictures_total", SLATE_FRAMES);
    let mut second = push(&Turn { by: By::Srt, ..FIRST });
    wait_for_all("live_pictures_total", LIVE_FRAMES);
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
fn flac_is_decoded() {
    let _machine = shared();
    let server = Server::start();
    let stream = transcoded(&server, "low", json!({}));
    let arguments = "-hide_banner -nostdin -nostats -re -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 \
                 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a flac -f flv";
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let _encoder = Encoder::run(ffmpeg9(), &[&arguments[..], &[&server.rtmp_url(&stream.key)]].concat());
    wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    assert_eq!(ladder_metric(&server, &stream, "decoders_replaced_total"), 0);
    // Audio that could not be decoded would be counted as silence.
    let silent = ladder_metric(&server, &stream, "silent_samples_total");
    assert!(silent < 24_000, "{silent} samples of silence in two seconds");
}
