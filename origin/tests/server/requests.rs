//! What a request may look like, and what caches may keep of the answers that say no.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use origin::Config;

use super::support::*;

/// Status, fields and body of one answer over HTTP/2, which a request with these fields got.
async fn over_h2(stage: &Stage, method: Method, uri: &str, fields: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let io = TokioIo::new(tokio::net::TcpStream::connect(stage.address).await.unwrap());
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
fn absolute_form_is_served_like_origin_form() {
    let stage = Stage::playing();
    for path in
        ["/live.m3u8", "/live/b1/video-1.m4s", "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=2", "/watch/live", "/api"]
    {
        let plain = stage.get(path);
        assert_eq!(plain.status, 200, "{path}");
        for scheme in ["http", "HTTP", "https"] {
            let target = format!("{scheme}://cdn.example:8080{path}");
            assert_eq!(stage.get(&target).body, plain.body, "{target}");
            // What is out of the ordinary goes another way.
            let mut other = stage.client();
            assert_eq!(other.get_with(&target, "Connection: close\r\n").body, plain.body, "{target}");
        }
    }
    let mut kept = stage.client();
    assert_eq!(kept.get("http://cdn.example/live.m3u8").status, 200);
    assert_eq!(kept.get("/live.m3u8").status, 200, "the connection goes on");
    assert_eq!(stage.get("http://cdn.example").text(), "fallback / true ");
}

#[test]
fn a_host_is_named_once() {
    let stage = Stage::playing();
    for path in ["/live.m3u8", "/live/b1/video-1.m4s", "/watch/live", "/api", "http://test/live.m3u8"] {
        for hosts in [
            "",
            "Host: test\r\nHost: test\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host:\r\n",
            "Host: a b\r\n",
            "Host: u@a\r\n",
        ] {
            let mut client = stage.client();
            client.send_raw(&format!("GET {path} HTTP/1.1\r\n{hosts}\r\n"));
            let answer = client.receive(true);
            assert_eq!((answer.status, answer.header("cache-control")), (400, "no-store"), "{path} {hosts:?}");
            assert!(answer.text().contains("Host"), "{}", answer.text());
            assert!(client.is_closed());
        }
        let mut old = stage.client();
        old.send_raw(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(old.receive(true).status, 200, "HTTP/1.0 knows no Host: {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_names_its_host_once_too() {
    let stage = Stage::playing();
    let status = async |uri: &str, fields: &[(&str, &str)]| over_h2(&stage, Method::GET, uri, fields).await.0.as_u16();
    for path in ["/live.m3u8", "/api"] {
        let uri = format!("http://test{path}");
        assert_eq!(status(&uri, &[]).await, 200);
        assert_eq!(status(&uri, &[("host", "TEST")]).await, 200);
        assert_eq!(status(&uri, &[("host", "other")]).await, 400);
        assert_eq!(status(&uri, &[("host", "test"), ("host", "test")]).await, 400);
    }
}

/// Requests that are refused: the path, fields, and the status. All are of a stage that plays.
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
async fn no_refusal_is_kept_for_longer_than_a_second() {
    let stage = Stage::playing();
    let brief = |keep: &str| matches!(keep, "no-store" | "public, max-age=1");
    for (path, fields, status) in REFUSED {
        let answer = stage.client().get_with(path, fields);
        let keep = answer.header("cache-control");
        assert_eq!(answer.status, status, "{path}");
        assert!(brief(keep) && answer.header("etag").is_empty(), "{path}: {keep}");
        if status == 416 {
            assert!(answer.header("content-range").starts_with("bytes */"), "{path}");
            assert_eq!((keep, answer.body.len()), ("no-store", 0));
        }
        let fields: Vec<_> = fields.trim_end().split_once(": ").into_iter().collect();
        let (over_h2_status, headers, _) = over_h2(&stage, Method::GET, &format!("http://test{path}"), &fields).await;
        assert_eq!((over_h2_status.as_u16(), headers["cache-control"].to_str().unwrap()), (status, keep), "{path}");
    }
    let mut client = stage.client();
    client.send("POST", "/live.m3u8", "Content-Length: 0\r\n");
    let answer = client.receive(true);
    assert_eq!((answer.status, answer.header("cache-control")), (405, "no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_that_of_get_without_the_body() {
    let stage = Stage::playing();
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
        let get = stage.get(path);
        let mut client = stage.client();
        client.send("HEAD", path, "");
        let head = client.receive(false);
        assert_eq!((head.status, head.header("content-length")), (get.status, get.header("content-length")), "{path}");
        for name in ["content-type", "cache-control", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
        client.send("GET", "/idle.m3u8", "");
        assert_eq!(client.receive(true).status, 412, "nothing of a body is in the way: {path}");
        let (status, headers, body) = over_h2(&stage, Method::HEAD, &format!("http://test{path}"), &[]).await;
        assert_eq!((status.as_u16(), body.len()), (get.status, 0), "{path}");
        assert_eq!(headers["content-length"].to_str().unwrap(), get.header("content-length"), "{path}");
    }
}

#[test]
fn a_playback_id_that_is_not_public_says_what_it_needs() {
    let stage = Stage::playing();
    for path in ["/signed.m3u8", "/signed/b1/video.m3u8", "/signed/b1/video-1.m4s"] {
        let answer = stage.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (403, "application/json"), "{path}");
        assert!(answer.text().contains("needs a token") && answer.text().contains("not supported yet"), "{path}");
    }
    let page = stage.get("/watch/signed");
    assert_eq!((page.status, page.header("content-type")), (403, "text/html; charset=utf-8"));
    assert!(page.text().contains("needs a token"), "{}", page.text());
}

#[test]
fn the_watch_page_has_the_title_and_is_not_there_for_an_unknown_id() {
    let stage = Stage::playing();
    let page = stage.get("/watch/live");
    assert!(
        page.text().contains("<title>Tea &amp; &lt;b&gt;{{playback_id}}&lt;/b&gt; · Weir</title>"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("<h1>Tea &amp; &lt;b&gt;{{playback_id}}&lt;/b&gt;</h1>"));
    assert!(stage.get("/watch/idle").text().contains("<title>Live · Weir</title>"));
    for path in ["/watch/nobody", "/watch/", "/watch/a/b", "/watch/a%20b"] {
        let page = stage.get(path);
        assert_eq!((page.status, page.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        assert!(page.text().contains("There is no stream here"), "{path}");
    }
}

#[test]
fn viewers_never_shut_out_the_fallback() {
    let stage = Stage::with(Config { workers: 2, max_connections: 2, spare_connections: 0, ..config() }, None);
    let mut viewers = [stage.client(), stage.client()];
    for viewer in &mut viewers {
        assert_eq!(viewer.get("/idle.m3u8").status, 412);
    }
    let mut further = stage.client();
    let answer = further.get("/idle.m3u8");
    assert_eq!((answer.status, answer.header("retry-after"), answer.header("cache-control")), (503, "1", "no-store"));
    assert!(further.is_closed(), "a place that is not a viewer's is given back at once");
    let mut api = stage.client();
    assert_eq!(api.get("/api").status, 200);
    assert!(api.is_closed());
    let [left, _right] = viewers;
    drop(left);
    eventually(|| stage.server.stats().open_connections() == 1);
    assert_eq!(stage.get("/idle.m3u8").status, 412, "a viewer's place that is free is taken again");
}

#[test]
fn beyond_all_places_a_connection_waits_its_turn() {
    let config = Config { workers: 1, max_connections: 1, spare_connections: 0, ..config() };
    let stage = Stage::with(config, None);
    let mut first = stage.client();
    assert_eq!(first.get("/idle.m3u8").status, 412);
    // It holds the spare place, and asks nothing.
    let silent = stage.client();
    eventually(|| stage.server.stats().accepted_connections() == 2);
    let mut waiting = stage.client();
    waiting.send("GET", "/api", "");
    assert_eq!(first.get("/idle.m3u8").status, 412);
    assert_eq!(stage.server.stats().accepted_connections(), 2);
    drop(silent);
    assert_eq!(waiting.receive(true).status, 200);
}
