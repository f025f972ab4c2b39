//! Programmes that are passed through: while their encoder is away a slate is shown, as a clip in their own codecs behind
//! a discontinuity, and they go on behind another one.

use serde_json::{Value, json};

use crate::continuity::slates::{colour, red_picture};
use crate::continuity::viewers::{Viewers, three_segments};
use crate::encoder_change::{AVC, By, HEVC, Record, Turn};
use crate::support::{Encoder, Server, Stream, alone, shared, until};

const FIRST: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AVC, codec: "avc1." };
const OTHER: Turn = Turn { by: By::Srt, size: "1280x720", encoder: HEVC, codec: "hvc1." };
/// Pictures of the slate after which it is taken for seen.
const SLATES: u64 = 45;
/// One run may end this long before the next begins: what rounding and a picture make, in seconds.
const SEAM: f64 = 0.1;

/// A live stream that is passed through, with a red slate.
fn passed_through(latency_mode: &str, more: Value) -> (Server, Stream) {
    let server = Server::start_with(&[("WEIR_SLATE_ALLOW_PRIVATE", "true")]);
    let mut settings = json!({
        "reconnect_window": 60,
        "use_slate_for_standard_latency": true,
        "reconnect_slate_url": format!("http://{}/slate.png", red_picture()),
    });
    let fields = settings.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    let stream = server.api().create(latency_mode, settings);
    (server, stream)
}

/// Pictures of the slate so far.
fn slates(server: &Server, stream: &Stream) -> u64 {
    let metrics = server.client().get("/metrics").text();
    let head = format!("weir_stream_slate_pictures_total{{live_stream=\"{}\"}} ", stream.id);
    metrics.lines().find_map(|line| line.strip_prefix(&head)).map_or(0, |value| value.parse().expect("a number"))
}

/// Waits until the slate has been on for a while.
fn slate_is_on(server: &Server, stream: &Stream) {
    let before = slates(server, stream);
    until("the slate", || (slates(server, stream) >= before + SLATES).then_some(()));
}

/// Waits until the clip of the `n`th kind of pictures is made.
fn clip_is_made(server: &Server, n: usize) {
    until("the clip", || (server.log().matches("the slate is ready").count() >= n).then_some(()));
}

/// Discontinuities are in all renditions at the same numbers, and nothing is missing between their runs.
fn assert_whole(records: &[Record], runs: usize) {
    let breaks =
        |record: &Record| -> Vec<u64> { record.runs().iter().skip(1).map(|run| run[0].segment.number).collect() };
    for record in records {
        record.assert_continuous();
        assert_eq!(breaks(record), breaks(&records[0]), "{}", record.rendition.path);
        assert_eq!(record.runs().len(), runs, "{}: {:?}", record.rendition.path, breaks(record));
        let all = &record.segments;
        for (one, next) in all.iter().zip(all.iter().skip(1)) {
            assert!(!one.segment.gap, "{} is a gap", one.segment.uri);
            let hole = next.start() - one.start() - one.segment.duration;
            assert!(hole.abs() < SEAM, "{} and {} are {hole} s apart", one.segment.uri, next.segment.uri);
        }
    }
}

fn assert_filled(latency_mode: &str) {
    let _machine = shared();
    let (server, stream) = passed_through(latency_mode, json!({}));
    drop(OTHER.file());
    let mut first = FIRST.push(&server, &stream);
    let playback = server.playback(&stream);
    let mut records: Vec<_> = playback.renditions().into_iter().map(Record::new).collect();
    let mut look = || records.iter_mut().for_each(Record::reload);
    let is_red = |[red, green, blue]: [u8; 3]| red > 200 && green < 60 && blue < 60;
    let sees = |red: bool| until("the picture", || colour(&server, &stream).filter(|colour| is_red(*colour) == red));
    sees(false);
    clip_is_made(&server, 1);
    first.kill();
    sees(true);
    assert_eq!(server.api().status(&stream), "active");
    assert!(playback.answer().text().contains("RESOLUTION=640x360"));
    look();
    // Another codec and size: so is the slate from then on.
    let second = OTHER.push(&server, &stream);
    sees(false);
    look();
    clip_is_made(&server, 2);
    second.freeze();
    sees(true);
    let multivariant = playback.answer().text();
    assert!(multivariant.contains("RESOLUTION=1280x720") && multivariant.contains("hvc1."), "{multivariant}");
    look();
    second.thaw();
    sees(false);
    until("the last run in all renditions", || {
        records.iter_mut().for_each(Record::reload);
        records.iter().all(|record| record.runs().len() >= 5).then_some(())
    });
    assert_whole(&records, 5);
}

#[test]
fn gaps_are_filled_in_low() {
    assert_filled("low");
}

#[test]
fn gaps_are_filled_in_standard() {
    assert_filled("standard");
}

#[test]
fn the_slate_ends_with_the_reconnect_window() {
    let _machine = shared();
    let (server, stream) = passed_through("low", json!({ "reconnect_window": 5 }));
    let mut encoder = FIRST.push(&server, &stream);
    let main = server.playback(&stream).main();
    let url = server.playlist_url(&stream);
    main.wait_for("a segment", |list| !list.segments.is_empty());
    clip_is_made(&server, 1);
    let mut player = Encoder::ffmpeg(&["-v", "warning", "-xerror", "-i", &url, "-f", "null", "-"]);
    encoder.kill();
    slate_is_on(&server, &stream);
    server.api().wait_for(&stream, "idle");
    let ended = main.wait_for("the end of the list", |list| list.ended);
    assert_eq!(ended.segments.iter().filter(|segment| segment.discontinuity).count(), 1, "{}", ended.text);
    player.wait_for_success();
}

#[test]
fn sound_alone_goes_on_in_silence() {
    let _machine = shared();
    let (server, stream) = passed_through("low", json!({ "audio_only": true }));
    let mut encoder = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    let mut run = |n: usize| {
        until("the next run", || {
            records.iter_mut().for_each(Record::reload);
            records.iter().all(|record| record.runs().get(n).is_some_and(|run| run.len() > 1)).then_some(())
        });
    };
    run(0);
    encoder.kill();
    run(1);
    let _back = FIRST.push(&server, &stream);
    run(2);
    assert_whole(&records, 3);
}

#[test]
fn hls_js_plays_through_slates() {
    let _machine = alone();
    let (server, stream) = passed_through("low", json!({}));
    let mut first = FIRST.push(&server, &stream);
    three_segments(&server, &stream);
    clip_is_made(&server, 1);
    let steps = ["live", "slate", "live", "slate", "live"].map(|what| json!({ "sees": what }));
    let viewers = Viewers::start(&server, &[(&stream, steps.into_iter().collect())]);
    first.kill();
    slate_is_on(&server, &stream);
    let second = FIRST.push(&server, &stream);
    server.playback(&stream).main().wait_for("the programme to go on", |list| {
        let mut runs = list.segments.chunk_by(|_, next| !next.discontinuity);
        runs.nth(2).is_some_and(|run| run.len() > 1)
    });
    second.freeze();
    slate_is_on(&server, &stream);
    second.thaw();
    viewers.assert_content();
}
