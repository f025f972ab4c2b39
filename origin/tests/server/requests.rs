//! Requests in all their forms, and the caching of refusals.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use origin::{Config, RouteKind};

use super::support::*;

/// Returns status, headers and body of the answer to a request over HTTP/2 with the given header fields.
async fn over_h2(
    origin: &TestOrigin,
    method: Method,
    uri: &str,
    fields: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Bytes) {
    let io = TokioIo::new(tokio::net::TcpStream::connect(origin.address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driver = tokio::spawn(connection);
    let request =
        fields.iter().fold(Request::builder().method(method).uri(uri), |r, (name, text)| r.header(*name, *text));
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    driver.abort();
    (parts.status, parts.headers, bytes)
}

#[test]
fn a_target_in_absolute_form_is_served_like_one_in_origin_form() {
    let origin = TestOrigin::playing();
    for path in
        ["/live.m3u8", "/live/b1/video-1.m4s", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=2", "/watch/live", "/api"]
    {
        let plain = origin.get(path);
        assert_eq!(plain.status, 200, "{path}");
        for scheme in ["http", "HTTP", "https"] {
            let target = format!("{scheme}://cdn.example:8080{path}");
            assert_eq!(origin.get(&target).body, plain.body, "{target}");
            // hyper parses a request that is not plain.
            let mut other = origin.client();
            assert_eq!(other.get_with(&target, "Connection: close\r\n").body, plain.body, "{target}");
        }
    }
    let mut kept = origin.client();
    assert_eq!(kept.get("http://cdn.example/live.m3u8").status, 200);
    assert_eq!(kept.get("/live.m3u8").status, 200, "the connection stays open");
    assert_eq!(origin.get("http://cdn.example").text(), "fallback / true ");
}

#[test]
fn a_request_must_name_its_host_exactly_once() {
    let origin = TestOrigin::playing();
    for path in ["/live.m3u8", "/live/b1/video-1.m4s", "/watch/live", "/api", "http://test/live.m3u8"] {
        for hosts in [
            "",
            "Host: test\r\nHost: test\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host:\r\n",
            "Host: a b\r\n",
            "Host: u@a\r\n",
        ] {
            let mut client = origin.client();
            client.send_raw(&format!("GET {path} HTTP/1.1\r\n{hosts}\r\n"));
            let answer = client.receive(true);
            assert_eq!((answer.status, answer.header("cache-control")), (400, "no-store"), "{path} {hosts:?}");
            assert!(answer.text().contains("Host"), "{}", answer.text());
            assert!(client.is_closed());
        }
        let mut old = origin.client();
        old.send_raw(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(old.receive(true).status, 200, "HTTP/1.0 knows no Host: {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_request_must_name_one_host() {
    let origin = TestOrigin::playing();
    let status = async |uri: &str, fields: &[(&str, &str)]| over_h2(&origin, Method::GET, uri, fields).await.0.as_u16();
    for path in ["/live.m3u8", "/api"] {
        let uri = format!("http://test{path}");
        assert_eq!(status(&uri, &[]).await, 200);
        assert_eq!(status(&uri, &[("host", "TEST")]).await, 200);
        assert_eq!(status(&uri, &[("host", "other")]).await, 400);
        assert_eq!(status(&uri, &[("host", "test"), ("host", "test")]).await, 400);
    }
}

/// Refused requests of a playing origin: path, header fields, and status.
const REFUSED: [(&str, &str, u16); 12] = [
    ("/live/b1/video-1.m4s", "Range: bytes=99999999-\r\n", 416),
    ("/live/b1/video-1.2.m4s", "Range: bytes=-0\r\n", 416),
    ("/live/b1/video-init-0.mp4", "Range: bytes=99999999-\r\n", 416),
    ("/live/b1/video-9.m4s", "", 404),
    ("/live/b1/video-9.m4s", "Range: bytes=0-1\r\n", 404),
    ("/live/b9/video.m3u8", "", 404),
    ("/nobody.m3u8", "", 404),
    ("/watch/nobody", "", 404),
    ("/signed.m3u8", "", 403),
    ("/idle.m3u8", "", 412),
    ("/live/b1/video.m3u8?_HLS_msn=x", "", 400),
    ("/live/b1/video.m3u8?_HLS_msn=99", "", 400),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_is_cached_for_longer_than_a_second() {
    let origin = TestOrigin::playing();
    let brief = |keep: &str| matches!(keep, "no-store" | "public, max-age=1");
    for (path, fields, status) in REFUSED {
        let answer = origin.client().get_with(path, fields);
        let keep = answer.header("cache-control");
        assert_eq!(answer.status, status, "{path}");
        assert!(brief(keep) && answer.header("etag").is_empty(), "{path}: {keep}");
        if status == 416 {
            assert!(answer.header("content-range").starts_with("bytes */"), "{path}");
            assert_eq!((keep, answer.body.len()), ("no-store", 0));
        }
        let fields: Vec<_> = fields.trim_end().split_once(": ").into_iter().collect();
        let (over_h2_status, headers, _) = over_h2(&origin, Method::GET, &format!("http://test{path}"), &fields).await;
        assert_eq!((over_h2_status.as_u16(), headers["cache-control"].to_str().unwrap()), (status, keep), "{path}");
    }
    let mut client = origin.client();
    client.send("POST", "/live.m3u8", "Content-Length: 0\r\n");
    let answer = client.receive(true);
    assert_eq!((answer.status, answer.header("cache-control")), (405, "no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_gets_the_headers_of_get_without_the_body() {
    let origin = TestOrigin::playing();
    let paths = [
        "/live.m3u8",
        "/live/b1/video.m3u8",
        "/live/b1/video-1.m4s",
        "/watch/live",
        "/watch/nobody",
        "/nobody.m3u8",
        "/api",
    ];
    for path in paths {
        let get = origin.get(path);
        let mut client = origin.client();
        client.send("HEAD", path, "");
        let head = client.receive(false);
        assert_eq!((head.status, head.header("content-length")), (get.status, get.header("content-length")), "{path}");
        for name in ["content-type", "cache-control", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
        client.send("GET", "/idle.m3u8", "");
        assert_eq!(client.receive(true).status, 412, "no byte of a body precedes the next answer: {path}");
        let (status, headers, body) = over_h2(&origin, Method::HEAD, &format!("http://test{path}"), &[]).await;
        assert_eq!((status.as_u16(), body.len()), (get.status, 0), "{path}");
        assert_eq!(headers["content-length"].to_str().unwrap(), get.header("content-length"), "{path}");
    }
}

#[test]
fn a_protected_playback_id_explains_what_it_needs() {
    let origin = TestOrigin::playing();
    for path in ["/signed.m3u8", "/signed/b1/video.m3u8", "/signed/b1/video-1.m4s"] {
        let answer = origin.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (403, "application/json"), "{path}");
        assert!(answer.text().contains("needs a token") && answer.text().contains("not supported yet"), "{path}");
    }
    let page = origin.get("/watch/signed");
    assert_eq!((page.status, page.header("content-type")), (403, "text/html; charset=utf-8"));
    assert!(page.text().contains("needs a token"), "{}", page.text());
}

#[test]
fn the_watch_page_shows_the_title_and_gets_404_for_an_unknown_id() {
    let origin = TestOrigin::playing();
    let page = origin.get("/watch/live");
    assert!(
        page.text().contains("<title>Tea &amp; &lt;b&gt;{{playback_id}}&lt;/b&gt; · Weir</title>"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("<h1>Tea &amp; &lt;b&gt;{{playback_id}}&lt;/b&gt;</h1>"));
    assert!(origin.get("/watch/idle").text().contains("<title>Live · Weir</title>"));
    for path in ["/watch/nobody", "/watch/", "/watch/a/b", "/watch/a%20b"] {
        let page = origin.get(path);
        assert_eq!((page.status, page.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        assert!(page.text().contains("There is no stream here"), "{path}");
    }
}

#[test]
fn the_fallback_is_reachable_at_the_maximum_of_viewers() {
    let origin = TestOrigin::with(Config { workers: 2, max_connections: 2, spare_connections: 0, ..config() }, None);
    let mut viewers = [origin.client(), origin.client()];
    for viewer in &mut viewers {
        assert_eq!(viewer.get("/idle.m3u8").status, 412);
    }
    let mut further = origin.client();
    let answer = further.get("/idle.m3u8");
    assert_eq!((answer.status, answer.header("retry-after"), answer.header("cache-control")), (503, "1", "no-store"));
    assert!(further.is_closed(), "a spare permit is returned immediately");
    let mut api = origin.client();
    assert_eq!(api.get("/api").status, 200);
    assert!(api.is_closed());
    let [left, _right] = viewers;
    drop(left);
    eventually(|| origin.server.stats().open_connections() == 1);
    assert_eq!(origin.get("/idle.m3u8").status, 412, "a free viewer permit is used again");
}

#[test]
fn a_request_refused_at_the_maximum_of_viewers_is_counted_by_its_route() {
    let origin = TestOrigin::with(Config { workers: 1, max_connections: 0, spare_connections: 0, ..config() }, None);
    let routes = [
        ("/live.m3u8", RouteKind::Multivariant),
        ("/live/b1/video.m3u8", RouteKind::Playlist),
        ("/live/b1/video-1.m4s", RouteKind::Segment),
        ("/live/b1/video-1.3.m4s", RouteKind::Part),
        ("/watch/live", RouteKind::Watch),
        ("/%00.m3u8", RouteKind::Unknown),
    ];
    for (path, kind) in routes {
        assert_eq!(origin.get(path).status, 503, "{path}");
        assert_eq!(origin.server.stats().requests(kind, 5), 1, "{path}");
    }
}

#[test]
fn a_connection_waits_in_the_kernel_when_no_permit_is_free() {
    let config = Config { workers: 1, max_connections: 1, spare_connections: 0, ..config() };
    let origin = TestOrigin::with(config, None);
    let mut first = origin.client();
    assert_eq!(first.get("/idle.m3u8").status, 412);
    // Holds the spare permit and sends no request.
    let silent = origin.client();
    eventually(|| origin.server.stats().accepted_connections() == 2);
    let mut waiting = origin.client();
    waiting.send("GET", "/api", "");
    assert_eq!(first.get("/idle.m3u8").status, 412);
    assert_eq!(origin.server.stats().accepted_connections(), 2);
    drop(silent);
    assert_eq!(waiting.receive(true).status, 200);
}
