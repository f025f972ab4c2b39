//! Playlists: the first answer, blocking reload, validators, compression.

use std::io::Read;

use packager::log::{Event, RenditionId};
use packager::uri::File;

use super::support::*;

const VIDEO: &str = "/live/b1/video.m3u8";

#[test]
fn unknown_and_idle_playback_ids_get_different_statuses_immediately() {
    let origin = TestOrigin::new();
    let unknown = origin.get("/nobody.m3u8");
    assert_eq!((unknown.status, unknown.header("content-type")), (404, "application/json"));
    assert!(unknown.text().starts_with(r#"{"error":{"type":"not_found","messages":["#));
    let idle = origin.get("/idle.m3u8");
    assert_eq!(idle.status, 412);
    assert!(idle.text().contains("Start the encoder"));
    assert_eq!(idle.header("cache-control"), "public, max-age=1");
    assert_eq!(idle.header("access-control-allow-origin"), "*");
}

#[test]
fn the_first_answers_wait_for_two_whole_segments() {
    let origin = TestOrigin::new();
    origin.append(&opening());
    let (mut multivariant, mut media) = (origin.client(), origin.client());
    multivariant.send("GET", "/live.m3u8", "");
    media.send("GET", VIDEO, "");
    origin.await_blocked(2);
    (0..PARTS).for_each(|index| origin.append(&parts(0, index)));
    origin.await_blocked(2);
    origin.append(&close(0));
    origin.await_blocked(2);
    origin.append(&segment(1));
    let answer = multivariant.receive(true);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/vnd.apple.mpegurl"));
    assert!(answer.text().contains("live/b1/video.m3u8"), "{}", answer.text());
    assert_eq!(media.receive(true).status, 200);
    origin.await_blocked(0);
}

#[test]
fn the_first_answer_has_a_timeout() {
    let first_answer = std::time::Duration::from_millis(100);
    let origin = TestOrigin::with(origin::Config { first_answer, ..config() }, None);
    let answer = origin.get("/live.m3u8");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert!(answer.text().contains("keyframes"));
}

#[test]
fn a_broadcast_that_ends_before_it_is_playable_gets_404() {
    let origin = TestOrigin::new();
    let mut client = origin.client();
    client.send("GET", "/live.m3u8", "");
    origin.await_blocked(1);
    origin.append(&[Event::End]);
    assert_eq!(client.receive(true).status, 404);
}

#[test]
fn parts_are_left_out_on_request() {
    let origin = TestOrigin::playing();
    assert!(origin.get(VIDEO).text().contains("#EXT-X-PART:"));
    assert!(!origin.get("/live/b1/video.m3u8?low_latency=false").text().contains("#EXT-X-PART"));
    let multivariant = origin.get("/live.m3u8?low_latency=false");
    assert!(multivariant.text().contains("video.m3u8?low_latency=false"), "{}", multivariant.text());
}

#[test]
fn a_first_playlist_waits_for_the_next_part_for_one_part_target() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    client.send("GET", VIDEO, "");
    origin.await_blocked(1);
    origin.append(&parts(2, 3));
    let lists_part_3 =
        |text: &str| text.lines().any(|line| line.starts_with("#EXT-X-PART:") && line.contains("-2.3.m4s"));
    assert!(lists_part_3(client.receive(true).text()));
    // No further part arrives, and HEAD does not wait for one.
    assert!(lists_part_3(origin.get(VIDEO).text()));
    client.send("HEAD", VIDEO, "");
    assert_eq!(client.receive(false).status, 200);
}

/// Video.js 8.24 starts without frozen video only if one of its playlists contains two new parts.
#[test]
fn a_reload_of_video_js_gets_two_new_parts_if_the_second_comes_in_time() {
    let origin = TestOrigin::playing();
    let ask = |part: u32| format!("/live/b1/video.m3u8?_HLS_skip=YES&_HLS_msn=2&_HLS_part={part}");
    let newest = |text: &str| {
        let parts = text.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
        parts.filter_map(|line| line.split("-2.").nth(1)?.split('.').next()?.parse::<u32>().ok()).max()
    };
    origin.append(&parts(2, 3));
    let mut client = origin.client();
    client.send("GET", &ask(3), "");
    origin.await_blocked(1);
    origin.append(&parts(2, 4));
    let answer = client.receive(true);
    assert_eq!((newest(answer.text()), answer.status), (Some(4), 200));
    assert_eq!(answer.header("cache-control"), origin.get(VIDEO).header("cache-control"));
    // The order of the directives in the specification, and parts that are not the newest ones.
    let sorted = origin.get("/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=4&_HLS_skip=YES");
    assert_eq!(newest(sorted.text()), Some(4));
    assert_eq!(newest(origin.get(&ask(3)).text()), Some(4));
    // No further part arrives within one part target.
    assert_eq!(newest(origin.get(&ask(4)).text()), Some(4));
}

#[test]
fn a_blocking_reload_is_released_by_its_part_and_not_earlier() {
    let origin = TestOrigin::playing();
    let mut clients: Vec<_> = (0..4).map(|_| origin.client()).collect();
    for client in &mut clients {
        client.send("GET", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=4", "");
    }
    origin.await_blocked(4);
    let renders = origin.broadcast.stats().renders;
    origin.append(&parts(2, 3));
    origin.await_blocked(4);
    origin.append(&parts(2, 4));
    for client in &mut clients {
        let answer = client.receive(true);
        assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=6"));
        assert!(answer.text().contains("video-2.4.m4s"));
    }
    assert_eq!(origin.broadcast.stats().renders, renders + 1, "one rendering serves all");
}

#[test]
fn a_reload_that_did_not_block_is_not_cached() {
    let origin = TestOrigin::playing();
    for directives in ["_HLS_msn=1&_HLS_part=0", "_HLS_msn=1", "_HLS_msn=2&_HLS_part=2"] {
        let answer = origin.get(&format!("{VIDEO}?{directives}"));
        assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=0"), "{directives}");
    }
}

#[test]
fn readers_of_a_withdrawn_rendition_get_404_so_that_they_switch() {
    let origin = TestOrigin::playing();
    let rendition = RenditionId::dependent_video(0).unwrap();
    let all = |msn| (0..PARTS).map(move |index| part(rendition, msn, index)).chain([close_of(rendition, msn)]);
    let events: Vec<_> = [Event::Init(init(rendition))].into_iter().chain((0..2).flat_map(all)).collect();
    origin.append(&events);
    let path = format!("/live/b1/{}", File::Playlist(rendition));
    let mut waits = origin.client();
    waits.send("GET", &format!("{path}?_HLS_msn=2&_HLS_part=0"), "");
    origin.await_blocked(1);
    origin.append(&[Event::Withdrawn(rendition), gap(rendition, 2, 0)]);
    assert_eq!(waits.receive(true).status, 404);
    assert_eq!(origin.get(&format!("{path}?_HLS_msn=1")).status, 404);
    // A plain request still gets the playlist with its gaps.
    assert_eq!(origin.get(&path).status, 200);
    origin.append(&[part(rendition, 2, 1)]);
    assert_eq!(origin.get(&format!("{path}?_HLS_msn=2&_HLS_part=1")).status, 200);
}

#[test]
fn a_part_past_the_end_of_its_segment_means_the_first_of_the_next() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    client.send("GET", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=3", "");
    origin.await_blocked(1);
    origin.append(&close(2));
    let mut late = origin.client();
    late.send("GET", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=9", "");
    origin.await_blocked(2);
    origin.append(&parts(3, 0));
    for mut client in [client, late] {
        assert!(client.receive(true).text().contains("video-3.0.m4s"));
    }
}

#[test]
fn a_reload_can_wait_for_a_whole_segment_with_and_without_parts() {
    let origin = TestOrigin::playing();
    let (mut with, mut without) = (origin.client(), origin.client());
    with.send("GET", "/live/b1/video.m3u8?_HLS_msn=2", "");
    without.send("GET", "/live/b1/video.m3u8?low_latency=false&_HLS_msn=2&_HLS_part=3", "");
    origin.await_blocked(2);
    origin.append(&parts(2, 3));
    origin.await_blocked(2);
    origin.append(&close(2));
    for mut client in [with, without] {
        assert!(client.receive(true).text().contains("video-2.m4s"));
    }
}

#[test]
fn a_reload_for_available_media_is_answered_immediately() {
    let origin = TestOrigin::playing();
    for query in
        ["_HLS_msn=0", "_HLS_msn=1&_HLS_part=4", "_HLS_msn=2&_HLS_part=2", "_HLS_msn=2&_HLS_part=0&_HLS_skip=v2"]
    {
        assert_eq!(origin.get(&format!("{VIDEO}?{query}")).status, 200, "{query}");
    }
}

#[test]
fn invalid_directives_get_400() {
    let origin = TestOrigin::playing();
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
        let answer = origin.get(&format!("{VIDEO}?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains("invalid_parameters"));
    }
}

#[test]
fn a_reload_times_out_after_three_target_durations() {
    let origin = TestOrigin::playing();
    let answer = origin.get("/live/b1/video.m3u8?_HLS_msn=3");
    assert_eq!((answer.status, answer.header("cache-control")), (503, "no-store"));
    assert!(answer.text().contains("three target durations"));
    origin.await_blocked(0);
}

#[test]
fn the_end_releases_all_readers_and_is_permanent() {
    let origin = TestOrigin::playing();
    let (mut reload, mut hint) = (origin.client(), origin.client());
    reload.send("GET", "/live/b1/video.m3u8?_HLS_msn=3", "");
    hint.send("GET", "/live/b1/video-2.3.m4s", "");
    origin.await_blocked(2);
    origin.append(&[Event::End]);
    assert!(reload.receive(true).text().contains("#EXT-X-ENDLIST"));
    assert_eq!(hint.receive(true).status, 404);
    let after = origin.get("/live/b1/video.m3u8?_HLS_msn=9");
    assert_eq!((after.status, after.header("cache-control")), (200, "public, max-age=86400"));
    assert!(after.text().contains("#EXT-X-ENDLIST"));
}

#[test]
fn a_known_playlist_gets_304() {
    let origin = TestOrigin::playing();
    let first = origin.get(VIDEO);
    let tag = first.header("etag").to_owned();
    let again = origin.client().get_with(VIDEO, &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.header("etag")), (304, tag.as_str()));
    origin.append(&parts(2, 3));
    assert_eq!(origin.client().get_with(VIDEO, &format!("If-None-Match: {tag}\r\n")).status, 200);
}

#[test]
fn playlists_are_compressed_on_request() {
    let origin = TestOrigin::playing();
    let plain = origin.get(VIDEO);
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let zipped = origin.client().get_with(VIDEO, "Accept-Encoding: br, gzip\r\n");
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
}

#[test]
fn head_gets_the_length_without_a_body() {
    let origin = TestOrigin::playing();
    let length = origin.get(VIDEO).body.len();
    let mut client = origin.client();
    client.send("HEAD", VIDEO, "");
    let head = client.receive(false);
    assert_eq!((head.status, head.header("content-length")), (200, length.to_string().as_str()));
    assert_eq!(client.get(VIDEO).body.len(), length, "the connection stays open");
}

#[test]
fn a_playlist_of_an_unknown_broadcast_or_rendition_gets_404() {
    let origin = TestOrigin::playing();
    for path in ["/live/b2/video.m3u8", "/live/b1/rendition7.m3u8", "/idle/b1/video.m3u8", "/nobody/b1/video.m3u8"] {
        let expected = if path.starts_with("/idle") { 412 } else { 404 };
        assert_eq!(origin.get(path).status, expected, "{path}");
    }
}
