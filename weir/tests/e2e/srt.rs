//! SRT from common programs: their streams play, and unauthorized encoders are refused.

use serde_json::json;

use crate::publish::assert_plays;
use crate::support::{Clip, Encoder, Server, clip, prometheus, shared, until};

/// Output of ffmpeg when a listener refuses it.
const REFUSED: &str = "Input/output error";

/// Pushes a clip in a loop as a transport stream.
fn push(url: &str, more: &[&str]) -> Encoder {
    let file = clip(&Clip::plain(8));
    let file = file.to_str().expect("a UTF-8 path");
    let source = ["-re", "-stream_loop", "-1", "-i", file, "-c", "copy"];
    Encoder::ffmpeg(&[&source, more, &["-f", "mpegts", url]].concat())
}

#[test]
fn ffmpeg_pushes_a_transport_stream() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = push(&server.srt_url(&stream), &[]);
    assert_plays(&server, &stream, &["audio", "video"]);
    let metrics = until("metrics of the link", || {
        let text = server.client().get("/metrics").text();
        text.contains("weir_srt_round_trip_seconds{live_stream=").then_some(text)
    });
    assert!(metrics.contains("weir_srt_dropped_packets_total{live_stream="), "{metrics}");
    prometheus::assert_clean(&metrics);
    let log = server.log();
    assert!(!log.contains(&stream.key) && !log.contains(&stream.srt_passphrase), "a secret is in the log");
}

#[test]
fn ffmpeg_may_use_longer_keys_and_the_access_control_syntax() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let url = format!(
        "srt://127.0.0.1:{}?streamid=%23!::r={},m=publish&passphrase={}&pbkeylen=32&latency=300000",
        server.srt_port(),
        stream.key,
        stream.srt_passphrase
    );
    let _encoder = push(&url, &[]);
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn gstreamer_pushes_a_transport_stream() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::gst(&format!(
        "mpegtsmux name=mux alignment=7 ! srtsink uri=srt://127.0.0.1:{} streamid={} passphrase={} pbkeylen=16 \
         videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=30/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=800 ! h264parse ! queue ! mux. \
         audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue ! mux.",
        server.srt_port(),
        stream.key,
        stream.srt_passphrase
    ));
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn srt_live_transmit_relays_a_transport_stream() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let (_relay, port) = Encoder::srt_relay(&[], &server.srt_url(&stream));
    let _encoder = push(&format!("udp://127.0.0.1:{port}?pkt_size=1316"), &[]);
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn no_passphrase_is_needed_without_encryption() {
    let _machine = shared();
    let server = Server::start_with(&[("WEIR_SRT_ENCRYPTION", "false")]);
    let stream = server.api().create("low", json!({}));
    let _encoder = push(&format!("srt://127.0.0.1:{}?streamid={}", server.srt_port(), stream.key), &[]);
    assert_plays(&server, &stream, &["audio", "video"]);
}

#[test]
fn unauthorized_encoders_are_refused_and_the_owner_is_admitted() {
    let _machine = shared();
    let server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({}));
    let disabled = api.create("low", json!({}));
    api.put(&disabled, "disable");
    let base = format!("srt://127.0.0.1:{}", server.srt_port());
    let wrong = [
        format!("{base}?streamid={}&passphrase=not-the-passphrase", stream.key),
        format!("{base}?streamid={}", stream.key),
        format!("{base}?streamid=unknown&passphrase={}", stream.srt_passphrase),
        server.srt_url(&disabled),
    ];
    for url in wrong {
        let mut encoder = push(&url, &[]);
        let status = encoder.wait();
        assert!(!status.success() && encoder.output().contains(REFUSED), "admitted:\n{}", encoder.output());
    }
    let counted = |reason: &str, count: u32| {
        let line = format!("weir_ingest_refusals_total{{reason=\"{reason}\"}} {count}");
        until(&line, || server.client().get("/metrics").text().contains(&line).then_some(()));
    };
    counted("unknown_key", 1);
    counted("disabled", 1);
    counted("passphrase", 2);
    let _encoder = push(&server.srt_url(&stream), &[]);
    api.wait_for(&stream, "active");
}

#[test]
fn an_encoder_may_reconnect_over_another_protocol() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 30 }));
    let mut first = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let before = main.wait_for("segments", |list| list.segments.len() >= 2);
    first.kill();
    let _second = push(&server.srt_url(&stream), &[]);
    let last = before.first + before.segments.len() as u64;
    let after = main.wait_for("the programme to continue", |list| list.first + list.segments.len() as u64 > last + 3);
    assert!(after.segments.iter().any(|segment| segment.discontinuity), "the change is signalled");
}

#[test]
fn several_audio_tracks_are_accepted() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = push(&server.srt_url(&stream), &["-map", "0:v", "-map", "0:a", "-map", "0:a"]);
    let renditions = server.playback(&stream).renditions();
    assert!(renditions.iter().any(|rendition| rendition.kind == "video"));
    assert!(renditions.iter().any(|rendition| rendition.kind == "audio"));
    for rendition in &renditions {
        rendition.wait_for("segments", |list| list.segments.len() >= 2);
    }
}
