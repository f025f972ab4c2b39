//! Playlists: the first answer, blocking reload, validators, compression.

use std::io::Read;

use packager::log::{Event, RenditionId};
use packager::uri::File;

use super::support::*;

const VIDEO: &str = "/live/b1/video.m3u8";

#[test]
fn unknown_and_idle_are_told_apart_at_once() {
    let stage = Stage::new();
    let unknown = stage.get("/nobody.m3u8");
    assert_eq!((unknown.status, unknown.header("content-type")), (404, "application/json"));
    assert!(unknown.text().starts_with(r#"{"error":{"type":"not_found","messages":["#));
    let idle = stage.get("/idle.m3u8");
    assert_eq!(idle.status, 412);
    assert!(idle.text().contains("Start the encoder"));
    assert_eq!(idle.header("cache-control"), "public, max-age=1");
    assert_eq!(idle.header("access-control-allow-origin"), "*");
}

#[test]
fn the_first_answers_wait_for_two_whole_segments() {
    let stage = Stage::new();
    stage.broadcast.append(&opening());
    let (mut multivariant, mut media) = (stage.client(), stage.client());
    multivariant.send("GET", "/live.m3u8", "");
    media.send("GET", VIDEO, "");
    stage.await_blocked(2);
    (0..PARTS).for_each(|index| stage.broadcast.append(&parts(0, index)));
    stage.await_blocked(2);
    stage.broadcast.append(&close(0));
    stage.await_blocked(2);
    stage.broadcast.append(&segment(1));
    let answer = multivariant.receive(true);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/vnd.apple.mpegurl"));
    assert!(answer.text().contains("live/b1/video.m3u8"), "{}", answer.text());
    assert_eq!(media.receive(true).status, 200);
    stage.await_blocked(0);
}

#[test]
fn the_first_answer_is_not_waited_for_without_end() {
    let first_answer = std::time::Duration::from_millis(100);
    let stage = Stage::with(origin::Config { first_answer, ..config() }, None);
    let answer = stage.get("/live.m3u8");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert!(answer.text().contains("keyframes"));
}

#[test]
fn a_broadcast_that_ends_before_it_is_playable_is_not_found() {
    let stage = Stage::new();
    let mut client = stage.client();
    client.send("GET", "/live.m3u8", "");
    stage.await_blocked(1);
    stage.broadcast.end();
    assert_eq!(client.receive(true).status, 404);
}

#[test]
fn parts_are_left_out_for_those_who_do_not_want_them() {
    let stage = Stage::playing();
    assert!(stage.get(VIDEO).text().contains("#EXT-X-PART:"));
    assert!(!stage.get("/live/b1/video.m3u8?low_latency=false").text().contains("#EXT-X-PART"));
    let multivariant = stage.get("/live.m3u8?low_latency=false");
    assert!(multivariant.text().contains("video.m3u8?low_latency=false"), "{}", multivariant.text());
}

#[test]
fn a_player_starts_from_the_next_part_unless_it_is_late() {
    let stage = Stage::playing();
    let mut client = stage.client();
    client.send("GET", VIDEO, "");
    stage.await_blocked(1);
    stage.broadcast.append(&parts(2, 3));
    let lists_part_3 =
        |text: &str| text.lines().any(|line| line.starts_with("#EXT-X-PART:") && line.contains("-2.3.m4s"));
    assert!(lists_part_3(client.receive(true).text()));
    // No further part comes, and HEAD waits for none.
    assert!(lists_part_3(stage.get(VIDEO).text()));
    client.send("HEAD", VIDEO, "");
    assert_eq!(client.receive(false).status, 200);
}

#[test]
fn a_blocking_reload_is_released_by_its_part_and_by_nothing_before() {
    let stage = Stage::playing();
    let mut clients: Vec<_> = (0..4).map(|_| stage.client()).collect();
    for client in &mut clients {
        client.send("GET", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=4", "");
    }
    stage.await_blocked(4);
    let renders = stage.broadcast.stats().renders;
    stage.broadcast.append(&parts(2, 3));
    stage.await_blocked(4);
    stage.broadcast.append(&parts(2, 4));
    for client in &mut clients {
        let answer = client.receive(true);
        assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=6"));
        assert!(answer.text().contains("video-2.4.m4s"));
    }
    assert_eq!(stage.broadcast.stats().renders, renders + 1, "one rendering serves all");
}

#[test]
fn a_reload_that_finds_what_it_asks_for_is_not_kept() {
    let stage = Stage::playing();
    for directives in ["_HLS_msn=1&_HLS_part=0", "_HLS_msn=1", "_HLS_msn=2&_HLS_part=2"] {
        let answer = stage.get(&format!("{VIDEO}?{directives}"));
        assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=0"), "{directives}");
    }
}

#[test]
fn readers_of_a_rung_that_is_shed_are_sent_to_another_one() {
    let stage = Stage::playing();
    let rung = RenditionId::dependent_video(0).unwrap();
    let all = |msn| (0..PARTS).map(move |index| part(rung, msn, index)).chain([close_of(rung, msn)]);
    let events: Vec<_> = [Event::Init(init(rung))].into_iter().chain((0..2).flat_map(all)).collect();
    stage.broadcast.append(&events);
    let path = format!("/live/b1/{}", File::Playlist(rung));
    let mut waits = stage.client();
    waits.send("GET", &format!("{path}?_HLS_msn=2&_HLS_part=0"), "");
    stage.await_blocked(1);
    stage.broadcast.append(&[Event::Withdrawn(rung), gap(rung, 2, 0)]);
    assert_eq!(waits.receive(true).status, 404);
    assert_eq!(stage.get(&format!("{path}?_HLS_msn=1")).status, 404);
    // Those who do not wait see its gaps.
    assert_eq!(stage.get(&path).status, 200);
    stage.broadcast.append(&[part(rung, 2, 1)]);
    assert_eq!(stage.get(&format!("{path}?_HLS_msn=2&_HLS_part=1")).status, 200);
}

#[test]
fn a_part_past_the_end_of_its_segment_is_the_next_ones_first() {
    let stage = Stage::playing();
    let mut client = stage.client();
    client.send("GET", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=3", "");
    stage.await_blocked(1);
    stage.broadcast.append(&close(2));
    let mut late = stage.client();
    late.send("GET", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=9", "");
    stage.await_blocked(2);
    stage.broadcast.append(&parts(3, 0));
    for mut client in [client, late] {
        assert!(client.receive(true).text().contains("video-3.0.m4s"));
    }
}

#[test]
fn a_whole_segment_can_be_waited_for_with_and_without_parts() {
    let stage = Stage::playing();
    let (mut with, mut without) = (stage.client(), stage.client());
    with.send("GET", "/live/b1/video.m3u8?_HLS_msn=2", "");
    without.send("GET", "/live/b1/video.m3u8?low_latency=false&_HLS_msn=2&_HLS_part=3", "");
    stage.await_blocked(2);
    stage.broadcast.append(&parts(2, 3));
    stage.await_blocked(2);
    stage.broadcast.append(&close(2));
    for mut client in [with, without] {
        assert!(client.receive(true).text().contains("video-2.m4s"));
    }
}

#[test]
fn what_is_there_already_is_answered_at_once() {
    let stage = Stage::playing();
    for query in
        ["_HLS_msn=0", "_HLS_msn=1&_HLS_part=4", "_HLS_msn=2&_HLS_part=2", "_HLS_msn=2&_HLS_part=0&_HLS_skip=v2"]
    {
        assert_eq!(stage.get(&format!("{VIDEO}?{query}")).status, 200, "{query}");
    }
}

#[test]
fn directives_that_cannot_be_followed_are_refused() {
    let stage = Stage::playing();
    for query in [
        "_HLS_part=1",
        "_HLS_msn=x",
        "_HLS_msn=2&_HLS_part=x",
        "_HLS_skip=maybe",
        "_HLS_msn=4",
        "_HLS_msn=18446744073709551615",
        "_HLS_msn=2&_HLS_part=40",
        "_HLS_msn=3&_HLS_part=4000000000",
    ] {
        let answer = stage.get(&format!("{VIDEO}?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains("invalid_parameters"));
    }
}

#[test]
fn a_reload_gives_up_after_three_target_durations() {
    let stage = Stage::playing();
    let answer = stage.get("/live/b1/video.m3u8?_HLS_msn=3");
    assert_eq!((answer.status, answer.header("cache-control")), (503, "no-store"));
    assert!(answer.text().contains("three target durations"));
    stage.await_blocked(0);
}

#[test]
fn the_end_releases_everybody_and_stays() {
    let stage = Stage::playing();
    let (mut reload, mut hint) = (stage.client(), stage.client());
    reload.send("GET", "/live/b1/video.m3u8?_HLS_msn=3", "");
    hint.send("GET", "/live/b1/video-2.3.m4s", "");
    stage.await_blocked(2);
    stage.broadcast.end();
    assert!(reload.receive(true).text().contains("#EXT-X-ENDLIST"));
    assert_eq!(hint.receive(true).status, 404);
    let after = stage.get("/live/b1/video.m3u8?_HLS_msn=9");
    assert_eq!((after.status, after.header("cache-control")), (200, "public, max-age=86400"));
    assert!(after.text().contains("#EXT-X-ENDLIST"));
}

#[test]
fn a_playlist_that_is_known_is_not_sent_again() {
    let stage = Stage::playing();
    let first = stage.get(VIDEO);
    let tag = first.header("etag").to_owned();
    let again = stage.client().get_with(VIDEO, &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.header("etag")), (304, tag.as_str()));
    stage.broadcast.append(&parts(2, 3));
    assert_eq!(stage.client().get_with(VIDEO, &format!("If-None-Match: {tag}\r\n")).status, 200);
}

#[test]
fn playlists_are_compressed_for_those_who_ask() {
    let stage = Stage::playing();
    let plain = stage.get(VIDEO);
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let zipped = stage.client().get_with(VIDEO, "Accept-Encoding: br, gzip\r\n");
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
}

#[test]
fn head_has_the_length_and_no_body() {
    let stage = Stage::playing();
    let length = stage.get(VIDEO).body.len();
    let mut client = stage.client();
    client.send("HEAD", VIDEO, "");
    let head = client.receive(false);
    assert_eq!((head.status, head.header("content-length")), (200, length.to_string().as_str()));
    assert_eq!(client.get(VIDEO).body.len(), length, "the connection goes on");
}

#[test]
fn a_playlist_of_another_broadcast_or_rendition_is_not_found() {
    let stage = Stage::playing();
    for path in ["/live/b2/video.m3u8", "/live/b1/rendition7.m3u8", "/idle/b1/video.m3u8", "/nobody/b1/video.m3u8"] {
        let expected = if path.starts_with("/idle") { 412 } else { 404 };
        assert_eq!(stage.get(path).status, expected, "{path}");
    }
}
