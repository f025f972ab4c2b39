//! Encoders that connect, disconnect, reconnect or are replaced, and servers that are stopped or killed.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Clip, Encoder, MediaPlaylist, Server, clip, shared, until};

/// Documented time limit of the shutdown.
const DRAIN: Duration = Duration::from_secs(10);

fn end(list: &MediaPlaylist) -> u64 {
    list.first + list.segments.len() as u64
}

fn discontinuities(list: &MediaPlaylist) -> usize {
    list.segments.iter().filter(|segment| segment.discontinuity).count()
}

#[test]
fn a_second_publisher_replaces_the_first() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let file = clip(&Clip::plain(8));
    let mut first = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    main.wait_for("a segment", |list| !list.segments.is_empty());

    let mut second = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    let status = first.wait();
    assert!(!status.success(), "the first publisher was not disconnected with an error:\n{}", first.output());
    main.wait_for("the same playlist to continue after a discontinuity", |list| {
        discontinuities(list) == 1 && !list.ended
    });
    assert_eq!(server.api().status(&stream), "active");
    assert!(second.exit_status().is_none(), "the second publisher is gone:\n{}", second.output());
}

#[test]
fn a_publisher_that_stopped_sending_is_replaced() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let file = clip(&Clip::plain(8));
    let first = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    main.wait_for("a segment", |list| !list.segments.is_empty());
    first.freeze();

    let _second = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    let joined = main.wait_for("the discontinuity", |list| discontinuities(list) == 1);
    main.wait_for("the programme to go on", |list| end(list) > end(&joined) + 1);
}

#[test]
fn an_encoder_that_reconnects_in_time_continues_the_playlists() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 30 }));
    let file = clip(&Clip::plain(8));
    let mut first = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let before = main.wait_for("segments", |list| list.segments.len() >= 2);
    first.kill();

    let _second = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    let after = main
        .wait_for("the same playlist to continue", |list| discontinuities(list) >= 1 && end(list) > end(&before) + 3);
    assert!(!after.ended);
    assert_eq!(after.frozen(), before.frozen(), "targets are frozen over a reconnect");
    let kept = after.segments.iter().find(|segment| segment.number == before.first).expect("the window is long enough");
    assert_eq!(kept.uri, before.segments[0].uri, "published segments never change");
    let date_times: Vec<_> = after.segments.iter().filter_map(|segment| segment.date_time.clone()).collect();
    assert!(date_times.is_sorted(), "wall time does not go back: {date_times:?}");
    assert_eq!(server.api().status(&stream), "active");
}

#[test]
fn after_the_reconnect_window_the_broadcast_is_over() {
    let _machine = shared();
    let server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({ "reconnect_window": 1 }));
    let mut encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    main.wait_for("a segment", |list| !list.segments.is_empty());
    encoder.kill();
    main.wait_for("ENDLIST", |list| list.ended);
    api.wait_for(&stream, "idle");

    let _next = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    api.wait_for(&stream, "active");
    let fresh = until("the next broadcast", || {
        let list = server.playback(&stream).main().playlist();
        (!list.ended && !list.segments.is_empty()).then_some(list)
    });
    assert_eq!(discontinuities(&fresh), 0, "a new broadcast starts without a discontinuity");
    assert!(main.playlist().ended, "viewers of the last broadcast still see its end");
}

#[test]
fn complete_ends_the_broadcast_at_once() {
    let _machine = shared();
    let server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({ "reconnect_window": 1800 }));
    let mut encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    main.wait_for("a segment", |list| !list.segments.is_empty());
    api.put(&stream, "complete");
    main.wait_for("ENDLIST", |list| list.ended);
    api.wait_for(&stream, "idle");
    encoder.wait();
}

#[test]
fn disabling_a_live_stream_ends_it() {
    let _machine = shared();
    let server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({ "reconnect_window": 1800 }));
    let mut encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    main.wait_for("a segment", |list| !list.segments.is_empty());
    api.put(&stream, "disable");
    encoder.wait();
    main.wait_for("ENDLIST", |list| list.ended);
    assert_eq!(api.status(&stream), "disabled");
}

#[test]
fn deleting_a_live_stream_ends_and_removes_it() {
    let _machine = shared();
    let server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({}));
    let mut encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let playback = server.playback(&stream);
    playback.main().wait_for("a segment", |list| !list.segments.is_empty());
    api.delete(&stream);
    encoder.wait();
    assert_eq!(api.get(&stream).status, 404);
    until("the playback id to be unknown", || (playback.answer().status == 404).then_some(()));
}

#[test]
fn a_killed_server_restarts_with_its_live_streams() {
    let _machine = shared();
    let mut server = Server::start();
    let api = server.api();
    let live = api.create("low", json!({ "passthrough": "first" }));
    let disabled = api.create("standard", json!({ "passthrough": "second", "reconnect_window": 7 }));
    api.put(&disabled, "disable");
    let encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&live.key));
    server.playback(&live).main().wait_for("a segment", |list| !list.segments.is_empty());
    let before = api.get(&disabled).json();
    server.kill();
    drop(encoder);
    server.restart();

    assert_eq!(api.get(&disabled).json(), before);
    assert_eq!(api.get(&live).json()["data"]["stream_key"], json!(live.key));
    let _next = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&live.key));
    api.wait_for(&live, "active");
    server.playback(&live).main().wait_for("segments", |list| list.segments.len() >= 2 && !list.ended);
}

fn assert_shuts_down(signal: Signal) {
    let _machine = shared();
    let mut server = Server::start();
    let stream = server.api().create("low", json!({}));
    let mut encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let list = main.wait_for("a segment", |list| !list.segments.is_empty());
    // A request that waits for a future part must not delay the shutdown.
    let path = format!("{}?_HLS_msn={}&_HLS_part=1", main.path, end(&list) + 1);
    let client = server.client();
    let reader = std::thread::spawn(move || client.try_get(&path).is_some());

    let start = Instant::now();
    server.signal(signal);
    let status = until("the end of the server", || server.exit_status());
    assert!(start.elapsed() < DRAIN, "the shutdown took {:?}", start.elapsed());
    assert!(status.success(), "the server ended with {status}");
    encoder.wait();
    reader.join().expect("the request ended");
}

#[test]
fn sigterm_shuts_down() {
    assert_shuts_down(Signal::TERM);
}

#[test]
fn sigint_shuts_down() {
    assert_shuts_down(Signal::INT);
}
