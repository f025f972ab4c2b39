//! Contributions without media that can be played. Each is ended after a while, and log and metrics report the reason.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::malformed_input::publisher::{AUDIO, Tag, VIDEO, publish, tags};
use crate::support::{Clip, Encoder, Server, clip, shared, until, until_within};

/// More than the 10 s that a first frame may take, and more than the shortest `max_continuous_duration` of the API.
const TIMEOUT: Duration = Duration::from_secs(120);

fn wait_for_refusal(server: &Server, reason: &str, message: &str) {
    let line = format!("weir_ingest_refusals_total{{reason=\"{reason}\"}} 1");
    until_within(TIMEOUT, &line, || server.client().get("/metrics").text().contains(&line).then_some(()));
    until(message, || server.log().contains(message).then_some(()));
}

/// Waits until no encoder is connected.
fn wait_for_disconnect(server: &Server) {
    until("the connection to be gone", || {
        server.client().get("/metrics").text().contains("weir_ingest_connections 0").then_some(())
    });
}

#[test]
fn a_transport_stream_with_unsupported_codecs_is_ended_and_the_log_names_them() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let url = server.srt_url(&stream);
    let arguments = "-re -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000 -t 120 \
                 -c:v mpeg2video -g 25 -c:a mp2 -f mpegts";
    let arguments: Vec<_> = arguments.split_whitespace().chain([&*url]).collect();
    let mut encoder = Encoder::ffmpeg(&arguments);
    wait_for_refusal(
        &server,
        "unsupported",
        "none of its tracks can be carried: the stream with PID 256 (MPEG-2 video)",
    );
    assert!(server.log().contains("(MPEG-1 audio, as MP2 or MP3) is left out"), "{}", server.log());
    assert!(!encoder.wait().success(), "the encoder is disconnected");
    wait_for_disconnect(&server);
}

#[test]
fn a_transport_stream_without_a_programme_is_ended() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let (_relay, port) = Encoder::srt_relay(&[], &server.srt_url(&stream));
    let done = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let (done, socket) = (Arc::clone(&done), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        move || {
            let packet = [&[0x47, 0x1f, 0xff, 0x10][..], &[0xff; 184]].concat();
            while !done.load(Ordering::Relaxed) {
                // Fails while the relay does not listen yet.
                let _ = socket.send_to(&packet.repeat(7), ("127.0.0.1", port));
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    wait_for_refusal(&server, "no_media", "no frame came: its transport stream has no programme: there is no PAT");
    done.store(true, Ordering::Relaxed);
    sender.join().expect("the sender ends");
}

#[test]
fn headers_without_a_frame_are_ended() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let headers: Vec<Tag> = tags(&clip(&Clip::plain(8))).into_iter().filter(Tag::is_header).collect();
    let again = |n: u32| headers.iter().map(move |tag| Tag { at: n * 250, sent_at: n * 250, ..tag.clone() });
    let (port, key) = (server.rtmp_port(), stream.key);
    let all = (0..120).flat_map(again).collect();
    let publisher = thread::spawn(move || publish(port, &key, all, true));
    wait_for_refusal(&server, "no_media", "no frame came: it sends neither video nor audio");
    wait_for_disconnect(&server);
    publisher.join().expect("the publisher ends");
}

/// A timeout that is short enough for a test.
const SHORT_TIMEOUT: [(&str, &str); 1] = [("WEIR_INGEST_MEDIA_TIMEOUT", "3")];

#[test]
fn an_srt_caller_that_sends_nothing_is_ended() {
    let _machine = shared();
    let server = Server::start_with(&SHORT_TIMEOUT);
    let stream = server.api().create("low", json!({}));
    let _relay = Encoder::srt_relay(&["-a:no"], &server.srt_url(&stream));
    wait_for_refusal(&server, "timeout", "nothing was received for too long");
}

#[test]
fn an_rtmp_encoder_that_stops_sending_is_ended() {
    let _machine = shared();
    let server = Server::start_with(&SHORT_TIMEOUT);
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    main.wait_for("a segment", |list| !list.segments.is_empty());
    encoder.freeze();
    wait_for_refusal(&server, "timeout", "nothing was received for too long");
    main.wait_for("the end of the list", |list| list.ended);
    wait_for_disconnect(&server);
}

/// Frames, and then only headers: data still arrives, but no media.
#[test]
fn an_rtmp_encoder_whose_media_stops_is_ended() {
    let _machine = shared();
    let server = Server::start_with(&SHORT_TIMEOUT);
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let mut all = tags(&clip(&Clip::plain(8)));
    let headers: Vec<Tag> = all.iter().filter(|tag| tag.is_header()).cloned().collect();
    all.retain(|tag| tag.at < 4_000);
    let again = |n: u32| headers.iter().map(move |tag| Tag { at: 4_000, sent_at: 4_000 + n * 250, ..tag.clone() });
    all.extend((0..80).flat_map(again));
    assert!(all.iter().any(|tag| tag.kind == VIDEO) && all.iter().any(|tag| tag.kind == AUDIO));
    let (port, key) = (server.rtmp_port(), stream.key.clone());
    let publisher = thread::spawn(move || publish(port, &key, all, true));
    wait_for_refusal(&server, "timeout", "no audio and no video came for too long");
    server.playback(&stream).main().wait_for("the end of the list", |list| list.ended);
    publisher.join().expect("the publisher ends");
}

/// The shortest `max_continuous_duration` of the API is a minute.
#[test]
fn max_continuous_duration_ends_a_contribution() {
    let _machine = shared();
    let server = Server::start();
    let more = json!({ "reconnect_window": 60, "max_continuous_duration": 60 });
    let stream = server.api().create("low", more);
    let mut encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let list = until_within(TIMEOUT, "the end of the list", || Some(main.playlist()).filter(|list| list.ended));
    assert!(!list.segments.iter().any(|segment| segment.discontinuity), "{}", list.text);
    until("the reason", || server.log().contains("reached its longest continuous duration").then_some(()));
    encoder.wait();
    wait_for_disconnect(&server);
}
