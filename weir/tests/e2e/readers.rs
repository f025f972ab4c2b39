//! HTTP clients that are early, late, slow, or want no parts.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::support::{Clip, Encoder, MediaPlaylist, Rendition, Server, clip, shared, until};

#[test]
fn idle_and_unknown_playback_ids_have_different_responses() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let idle = server.playback(&stream).answer();
    assert_eq!(idle.status, 412, "{}", idle.text());
    assert!(!idle.body.is_empty(), "the response has a reason");
    let unknown = server.client().get("/thisplaybackidisunknown.m3u8");
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert!(!unknown.body.is_empty(), "the response has a reason");
}

#[test]
fn low_latency_false_is_the_same_programme_without_parts() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let playback = server.playback(&stream);
    let with_parts = playback.main().wait_for("segments", |list| list.segments.len() >= 3);
    assert!(with_parts.part_target.is_some());

    let plain = playback.renditions_of(&format!("{}?low_latency=false", playback.path()));
    let plain = plain.iter().find(|rendition| rendition.kind == "video").expect("a video rendition");
    let list = plain.wait_for("segments", |list| list.segments.len() >= 3);
    for tag in ["#EXT-X-PART:", "#EXT-X-PART-INF", "#EXT-X-PRELOAD-HINT"] {
        assert!(!list.text.contains(tag), "{tag} in {}", list.text);
    }
    let number = list.segments[0].number;
    let twin = with_parts.segments.iter().find(|segment| segment.number == number).expect("the same segment");
    let bytes = |rendition: &Rendition, uri: &str| rendition.fetch(uri).body;
    assert_eq!(bytes(plain, &list.segments[0].uri), bytes(&playback.main(), &twin.uri));
}

#[test]
fn a_blocking_reload_waits_for_the_requested_part() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let list = main.wait_for("a segment", |list| !list.segments.is_empty());
    let next = list.first + list.segments.len() as u64 + 1;

    let answer = server.client().get(&format!("{}?_HLS_msn={next}&_HLS_part=0", main.path));
    assert_eq!(answer.status, 200);
    let reloaded = MediaPlaylist::parse(&answer.text());
    let (end, open) = (reloaded.first + reloaded.segments.len() as u64, reloaded.open_parts.len());
    assert!(end > next || (end == next && open > 0), "segment {next} has no part in {}", reloaded.text);

    let too_far = server.client().get(&format!("{}?_HLS_msn={}", main.path, next + 50));
    assert_eq!(too_far.status, 400, "{}", too_far.text());
}

#[test]
fn responses_can_be_cached_while_they_are_valid() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let list = main.wait_for("a segment", |list| !list.segments.is_empty());
    let segment = main.fetch(&list.segments[0].uri);
    let kept = segment.header("cache-control").expect("a segment has Cache-Control");
    assert!(kept.contains("immutable"), "{kept}");
    assert_eq!(segment.header("access-control-allow-origin"), Some("*"));
    let reload = server.client().get(&main.path);
    assert!(reload.header("cache-control").is_some(), "a playlist has Cache-Control");
    assert_eq!(reload.header("access-control-allow-origin"), Some("*"));
}

/// Requests far more than the socket buffers can hold, and reads nothing.
#[test]
fn a_client_that_does_not_read_is_disconnected_and_delays_no_other() {
    let _machine = shared();
    let server = Server::start_with(&[("WEIR_HTTP_WRITE_STALL", "2")]);
    let stream = server.api().create("low", json!({}));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let list = main.wait_for("a segment", |list| !list.segments.is_empty());

    let mut slow = TcpStream::connect(("127.0.0.1", server.http_port())).expect("the port is open");
    slow.set_nonblocking(true).expect("a nonblocking socket");
    let folder = &main.path[..main.path.rfind('/').expect("an absolute path") + 1];
    let uri = &list.segments[0].uri;
    let path = if uri.starts_with('/') { uri.clone() } else { format!("{folder}{uri}") };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("the slow client to be disconnected", || match slow.write_all(request.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Some(()),
        _ => slow.take_error().expect("the state of the socket").map(drop),
    });
    let before = main.playlist();
    main.wait_for("the programme to continue", |list| list.first + list.segments.len() as u64 > before.first + 1);
    assert!(!main.playlist().ended);
}
