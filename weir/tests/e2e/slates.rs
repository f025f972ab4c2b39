//! Slates in passthrough. While the encoder is disconnected, a clip in its codecs follows after a discontinuity, and
//! the programme continues after another discontinuity.

use serde_json::{Value, json};

use crate::continuity::slates::{colour, serve_red_image};
use crate::continuity::viewers::{Viewers, three_segments};
use crate::encoder_change::{AVC, By, HEVC, Record, Turn};
use crate::support::{Encoder, Server, Stream, alone, shared, until};

const FIRST: Turn = Turn { by: By::Rtmp, size: "640x360", encoder: AVC, codec: "avc1." };
const OTHER: Turn = Turn { by: By::Srt, size: "1280x720", encoder: HEVC, codec: "hvc1." };
/// Video frames of the slate after which a test goes on.
const SLATE_FRAMES: u64 = 45;
/// Maximum gap between two periods, from rounding and one frame, in seconds.
const MAX_GAP: f64 = 0.1;

/// Creates a passthrough live stream with a red slate.
fn passthrough(latency_mode: &str, more: Value) -> (Server, Stream) {
    let server = Server::start_with(&[("WEIR_SLATE_ALLOW_PRIVATE", "true")]);
    let mut settings = json!({
        "reconnect_window": 60,
        "use_slate_for_standard_latency": true,
        "reconnect_slate_url": format!("http://{}/slate.png", serve_red_image()),
    });
    let fields = settings.as_object_mut().expect("an object");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    let stream = server.api().create(latency_mode, settings);
    (server, stream)
}

/// Returns the number of video frames of the slate so far.
fn slate_frames(server: &Server, stream: &Stream) -> u64 {
    let metrics = server.client().get("/metrics").text();
    let head = format!("weir_stream_slate_pictures_total{{live_stream=\"{}\"}} ", stream.id);
    metrics.lines().find_map(|line| line.strip_prefix(&head)).map_or(0, |value| value.parse().expect("a number"))
}

/// Waits until the slate has been shown for a while.
fn wait_for_slate(server: &Server, stream: &Stream) {
    let before = slate_frames(server, stream);
    until("the slate", || (slate_frames(server, stream) >= before + SLATE_FRAMES).then_some(()));
}

/// Waits until `n` slate clips have been rendered.
fn wait_for_clip(server: &Server, n: usize) {
    until("the clip", || (server.log().matches("the slate is ready").count() >= n).then_some(()));
}

/// Checks that all renditions have the same discontinuities and that nothing is missing between their periods.
fn assert_complete(records: &[Record], periods: usize) {
    let discontinuities = |record: &Record| -> Vec<u64> {
        record.periods().iter().skip(1).map(|period| period[0].segment.number).collect()
    };
    for record in records {
        record.assert_continuous();
        assert_eq!(discontinuities(record), discontinuities(&records[0]), "{}", record.rendition.path);
        assert_eq!(record.periods().len(), periods, "{}: {:?}", record.rendition.path, discontinuities(record));
        let all = &record.segments;
        for (one, next) in all.iter().zip(all.iter().skip(1)) {
            assert!(!one.segment.gap, "{} is a gap", one.segment.uri);
            let gap = next.start() - one.start() - one.segment.duration;
            assert!(gap.abs() < MAX_GAP, "{} and {} are {gap} s apart", one.segment.uri, next.segment.uri);
        }
    }
}

fn assert_filled(latency_mode: &str) {
    let _machine = shared();
    let (server, stream) = passthrough(latency_mode, json!({}));
    drop(OTHER.file());
    let mut first = FIRST.push(&server, &stream);
    let playback = server.playback(&stream);
    let mut records: Vec<_> = playback.renditions().into_iter().map(Record::new).collect();
    let mut reload = || records.iter_mut().for_each(Record::reload);
    let is_red = |[red, green, blue]: [u8; 3]| red > 200 && green < 60 && blue < 60;
    let wait_for_colour = |red: bool| {
        until("the colour of the video", || colour(&server, &stream).filter(|colour| is_red(*colour) == red))
    };
    wait_for_colour(false);
    wait_for_clip(&server, 1);
    first.kill();
    wait_for_colour(true);
    assert_eq!(server.api().status(&stream), "active");
    assert!(playback.answer().text().contains("RESOLUTION=640x360"));
    reload();
    // From here on the slate has the codec and size of the new encoder.
    let second = OTHER.push(&server, &stream);
    wait_for_colour(false);
    reload();
    wait_for_clip(&server, 2);
    second.freeze();
    wait_for_colour(true);
    let multivariant = playback.answer().text();
    assert!(multivariant.contains("RESOLUTION=1280x720") && multivariant.contains("hvc1."), "{multivariant}");
    reload();
    second.thaw();
    wait_for_colour(false);
    until("the last period in all renditions", || {
        records.iter_mut().for_each(Record::reload);
        records.iter().all(|record| record.periods().len() >= 5).then_some(())
    });
    assert_complete(&records, 5);
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
    let (server, stream) = passthrough("low", json!({ "reconnect_window": 5 }));
    let mut encoder = FIRST.push(&server, &stream);
    let main = server.playback(&stream).main();
    let url = server.playlist_url(&stream);
    main.wait_for("a segment", |list| !list.segments.is_empty());
    wait_for_clip(&server, 1);
    let mut player = Encoder::ffmpeg(&["-v", "warning", "-xerror", "-i", &url, "-f", "null", "-"]);
    encoder.kill();
    wait_for_slate(&server, &stream);
    server.api().wait_for(&stream, "idle");
    let ended = main.wait_for("the end of the list", |list| list.ended);
    assert_eq!(ended.segments.iter().filter(|segment| segment.discontinuity).count(), 1, "{}", ended.text);
    player.wait_for_success();
}

#[test]
fn an_audio_programme_continues_in_silence() {
    let _machine = shared();
    let (server, stream) = passthrough("low", json!({ "audio_only": true }));
    let mut encoder = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    let mut wait_for_period = |n: usize| {
        until("the next period", || {
            records.iter_mut().for_each(Record::reload);
            records.iter().all(|record| record.periods().get(n).is_some_and(|period| period.len() > 1)).then_some(())
        });
    };
    wait_for_period(0);
    encoder.kill();
    wait_for_period(1);
    let _back = FIRST.push(&server, &stream);
    wait_for_period(2);
    assert_complete(&records, 3);
}

#[test]
fn hls_js_plays_through_slates() {
    let _machine = alone();
    let (server, stream) = passthrough("low", json!({}));
    let mut first = FIRST.push(&server, &stream);
    three_segments(&server, &stream);
    wait_for_clip(&server, 1);
    let steps = ["live", "slate", "live", "slate", "live"].map(|what| json!({ "sees": what }));
    let viewers = Viewers::start(&server, &[(&stream, steps.into_iter().collect())]);
    first.kill();
    wait_for_slate(&server, &stream);
    let second = FIRST.push(&server, &stream);
    server.playback(&stream).main().wait_for("the programme to go on", |list| {
        let mut periods = list.segments.chunk_by(|_, next| !next.discontinuity);
        periods.nth(2).is_some_and(|period| period.len() > 1)
    });
    second.freeze();
    wait_for_slate(&server, &stream);
    second.thaw();
    viewers.assert_success();
}
