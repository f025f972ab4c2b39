//! Init sections, segments, parts, preload hints, ranges.

use packager::log::RenditionId;

use super::support::*;

fn segment_bytes(msn: u64) -> Vec<u8> {
    (0..PARTS).flat_map(|index| part_bytes(RenditionId::VIDEO, msn, index)).collect()
}

#[test]
fn a_segment_is_the_concatenation_of_its_parts() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    let segment = client.get("/live/b1/video-1.m4s");
    assert_eq!((segment.status, segment.header("content-type")), (200, "video/mp4"));
    assert_eq!(segment.header("cache-control"), "public, max-age=31536000, immutable");
    let parts: Vec<u8> =
        (0..PARTS).flat_map(|index| client.get(&format!("/live/b1/video-1.{index}.m4s")).body).collect();
    assert_eq!(segment.body, parts);
    assert_eq!(segment.body, segment_bytes(1));
    let audio = client.get("/live/b1/audio-2.0.m4s");
    assert_eq!((audio.body, audio.status), (part_bytes(RenditionId::AUDIO, 2, 0), 200));
    assert_eq!(client.get("/live/b1/audio-init-0.mp4").header("content-type"), "audio/mp4");
}

#[test]
fn media_outside_the_window_gets_404() {
    let origin = TestOrigin::playing();
    for path in [
        "/live/b1/video-2.m4s",
        "/live/b1/video-3.m4s",
        "/live/b1/video-2.4.m4s",
        "/live/b1/video-3.0.m4s",
        "/live/b1/video-1.5.m4s",
        "/live/b1/video-init-1.mp4",
        "/live/b2/video-1.m4s",
    ] {
        let answer = origin.get(path);
        assert_eq!((answer.status, answer.header("cache-control")), (404, "public, max-age=1"), "{path}");
    }
}

#[test]
fn a_request_for_the_hinted_part_waits_for_it() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    client.send("GET", "/live/b1/video-2.3.m4s", "Range: bytes=0-3\r\n");
    origin.await_blocked(1);
    origin.append(&parts(2, 3));
    let answer = client.receive(true);
    assert_eq!((answer.status, answer.text()), (206, "moof"));
}

#[test]
fn a_hint_that_turned_out_wrong_gets_404() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    client.send("GET", "/live/b1/video-2.3.m4s", "");
    origin.await_blocked(1);
    origin.append(&close(2));
    assert_eq!(client.receive(true).status, 404);
    client.send("GET", "/live/b1/video-3.0.m4s", "");
    origin.await_blocked(1);
    origin.append(&parts(3, 0));
    assert_eq!(client.receive(true).status, 200, "the next segment's first part is the hint now");
}

#[test]
fn only_single_ranges_are_served() {
    let origin = TestOrigin::playing();
    let whole = segment_bytes(1);
    let total = whole.len();
    let mut client = origin.client();
    let mut ranged = |range: &str| client.get_with("/live/b1/video-1.m4s", &format!("Range: {range}\r\n"));
    let middle = ranged("bytes=5-130");
    assert_eq!((middle.status, middle.header("content-range")), (206, format!("bytes 5-130/{total}").as_str()));
    assert_eq!(middle.body, whole[5..=130]);
    assert_eq!(ranged("bytes=500-").body, whole[500..]);
    assert_eq!(ranged("bytes=-9").body, whole[total - 9..]);
    let beyond = ranged(&format!("bytes={total}-"));
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{total}").as_str()));
    let several = ranged("bytes=0-1,3-4");
    assert_eq!((several.status, several.body.len()), (200, total));
}

#[test]
fn known_media_gets_304() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    let tag = client.get("/live/b1/video-1.m4s").header("etag").to_owned();
    let again = client.get_with("/live/b1/video-1.m4s", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(again.status, 304);
    let range = "Range: bytes=0-3\r\n";
    let same = client.get_with("/live/b1/video-1.m4s", &format!("{range}If-Range: {tag}\r\n"));
    assert_eq!(same.status, 206);
    assert_eq!(client.get_with("/live/b1/video-1.m4s", &format!("{range}If-Range: \"x\"\r\n")).status, 200);
}

#[test]
fn cross_origin_requests_are_allowed() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    client.send(
        "OPTIONS",
        "/live/b1/video-1.m4s",
        "Origin: http://elsewhere\r\nAccess-Control-Request-Method: GET\r\n",
    );
    let preflight = client.receive(true);
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, "*"));
    assert_eq!(preflight.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    let media = client.get("/live/b1/video-1.m4s");
    assert!(media.header("access-control-expose-headers").contains("Content-Range"));
    client.send("POST", "/live.m3u8", "Content-Length: 0\r\n");
    assert_eq!(client.receive(true).status, 405);
}

#[test]
fn the_watch_page_and_its_files_are_served() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    let page = client.get("/watch/live");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").contains("script-src 'self'"));
    assert!(page.text().contains("data-playback-id=\"live\""));
    let assets: Vec<&str> = page.text().split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let file = client.get_with(asset, "Accept-Encoding: gzip\r\n");
        assert_eq!((file.status, file.body.is_empty()), (200, false), "{asset}");
        assert!(file.header("cache-control").contains("immutable"));
    }
    assert_eq!(client.get("/watch/a%22b").status, 404);
}
