//! Connections: protocols, TLS, limits, slow readers, malformed input, shutdown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use origin::{ALPN_PROTOCOLS, Config, RouteKind, TlsProvider};
use packager::log::{Payload, RenditionId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

use super::support::*;

type Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// Requests a path over HTTP/2.
async fn ask_h2(sender: &mut Sender, path: &str) -> http::Response<hyper::body::Incoming> {
    let request = Request::get(format!("http://test{path}")).body(Empty::new()).unwrap();
    sender.send_request(request).await.unwrap()
}

async fn fetch_h2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    paths: &[&str],
) -> Vec<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut answers = Vec::new();
    for path in paths {
        let answer = ask_h2(&mut sender, path).await;
        let status = answer.status();
        answers.push((status, answer.into_body().collect().await.unwrap().to_bytes()));
    }
    driver.abort();
    answers
}

const PATHS: [&str; 4] = ["/live.m3u8", "/live/b1/video-1.3.m4s", "/nobody.m3u8", "/api"];

fn check(answers: &[(StatusCode, Bytes)]) {
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 404, 200]);
    assert_eq!(answers[1].1, part_bytes(RenditionId::VIDEO, 1, 3));
    assert!(answers[3].1.starts_with(b"fallback /api true"));
}

#[tokio::test]
async fn http2_works_with_prior_knowledge() {
    let origin = TestOrigin::playing();
    check(&fetch_h2(TcpStream::connect(origin.address).await.unwrap(), &PATHS).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_streams_block_independently() {
    let origin = TestOrigin::playing();
    let io = TokioIo::new(TcpStream::connect(origin.address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driver = tokio::spawn(connection);
    let reload = |rendition: &str| {
        let uri = format!("http://test/live/b1/{rendition}.m3u8?_HLS_msn=2&_HLS_part=3");
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let mut sender = sender.clone();
        tokio::spawn(async move { sender.send_request(request).await.unwrap().status() })
    };
    let waiting = [reload("video"), reload("audio")];
    origin.await_blocked(2);
    origin.append(&parts(2, 3));
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 200);
    }
    driver.abort();
}

/// Returns a server certificate, and a client that trusts it.
fn tls(alpn: &[&[u8]]) -> (TlsProvider, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&ring)).with_safe_default_protocol_versions().unwrap();
    let mut server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    server.alpn_protocols = ALPN_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let server = Arc::new(server);
    (Arc::new(move || Arc::clone(&server)), TlsConnector::from(Arc::new(client)))
}

#[tokio::test]
async fn tls_offers_both_protocols() {
    for (offer, expected) in [(b"h2".as_slice(), b"h2".as_slice()), (b"http/1.1", b"http/1.1")] {
        let (provider, connector) = tls(&[offer]);
        let origin = TestOrigin::with(config(), Some(provider));
        origin.append(&opening());
        (0..2).for_each(|msn| origin.append(&segment(msn)));
        let stream = TcpStream::connect(origin.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(expected));
        if expected == b"h2" {
            check(&fetch_h2(stream, &PATHS).await);
            continue;
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/live.m3u8").header("host", "test").body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    }
}

#[test]
fn other_paths_reach_the_fallback_with_their_bodies() {
    let origin = TestOrigin::new();
    let mut client = origin.client();
    client.send_raw("POST /video/v1/live-streams HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!(client.receive(true).text(), "fallback /video/v1/live-streams true {}");
    assert_eq!(client.get("/healthz").text(), "fallback /healthz true ");
    assert_eq!(origin.server.stats().requests(RouteKind::Fallback, 2), 2);
}

#[test]
fn malformed_requests_get_a_cheap_refusal() {
    let origin = TestOrigin::playing();
    for path in
        ["/../../etc/passwd.m3u8", "/%00.m3u8", "/live/b1/video-999999999999999999999.m4s", "/assets/x", "/watch/"]
    {
        assert_eq!(origin.get(path).status, 404, "{path}");
    }
    for raw in ["\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRX * HTTP/2.0\r\n\r\n"] {
        let mut client = origin.client();
        client.send_raw(raw);
        assert_eq!(client.receive(true).status, 400, "{raw:?}");
        assert!(client.is_closed());
    }
    let mut half = origin.client();
    half.send_raw("PR");
    half.send_raw("OPFIND /api HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(half.receive(true).status, 200, "a method that begins like the HTTP/2 preface is served");
    let mut long = origin.client();
    long.send_raw(&format!("GET /live.m3u8?{} HTTP/1.1\r\nHost: test\r\n", "x".repeat(15_000)));
    long.send_raw(&format!("X: {}\r\n\r\n", "x".repeat(8_000)));
    assert_eq!(long.receive(true).status, 431);
    assert_eq!(origin.get("/live.m3u8").status, 200, "other connections are still served");
}

#[test]
fn a_stalled_reader_is_disconnected_and_others_are_not() {
    let origin = TestOrigin::with(Config { write_stall: Duration::from_millis(200), ..config() }, None);
    origin.append(&opening());
    origin.append(&segment(0));
    let megabyte = Bytes::from(vec![7; 1 << 20]);
    let big = Payload::new(vec![megabyte; 64]);
    origin.append(&[part_with(RenditionId::VIDEO, 1, 0, big)]);
    let mut slow = origin.client();
    slow.send("GET", "/live/b1/video-1.0.m4s", "");
    eventually(|| origin.server.stats().stall_closes() == 1);
    eventually(|| origin.server.stats().open_connections() == 0);
    let mut other = origin.client();
    assert_eq!(other.get("/live/b1/video-1.0.m4s").body.len(), 64 << 20);
    drop(slow);
    assert_eq!(origin.server.stats().stall_closes(), 1);
}

/// Creates an origin that disconnects a reader without progress after `write_stall`, with a part of eight megabytes.
fn with_write_stall(write_stall: Duration) -> TestOrigin {
    let origin = TestOrigin::with(Config { write_stall, ..config() }, None);
    origin.append(&opening());
    origin.append(&segment(0));
    let megabyte = Bytes::from(vec![7; 1 << 20]);
    origin.append(&[part_with(RenditionId::VIDEO, 1, 0, Payload::new(vec![megabyte; 8]))]);
    origin
}

/// Connects a client with this flow-control window for each stream, which sends PING frames all the time.
async fn pinging_h2(origin: &TestOrigin, window: u32) -> Sender {
    let io = TokioIo::new(TcpStream::connect(origin.address).await.unwrap());
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window).adaptive_window(false);
    client.timer(TokioTimer::new()).keep_alive_interval(Duration::from_millis(20)).keep_alive_timeout(TIMEOUT);
    let (sender, connection) = client.handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_reader_that_only_pings_is_disconnected() {
    let origin = with_write_stall(Duration::from_millis(200));
    let mut sender = pinging_h2(&origin, 1 << 16).await;
    let answer = ask_h2(&mut sender, "/live/b1/video-1.0.m4s").await;
    eventually(|| origin.server.stats().stall_closes() == 1);
    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_that_accepts_no_fallback_answer_is_disconnected() {
    for window in [0, 5] {
        let origin = with_write_stall(Duration::from_millis(200));
        let mut sender = pinging_h2(&origin, window).await;
        let answer = ask_h2(&mut sender, "/api").await;
        eventually(|| origin.server.stats().stall_closes() == 1);
        assert!(answer.into_body().collect().await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_http2_reader_is_served_to_the_end() {
    let origin = with_write_stall(Duration::from_secs(2));
    let mut sender = pinging_h2(&origin, 1 << 20).await;
    let mut body = ask_h2(&mut sender, "/live/b1/video-1.0.m4s").await.into_body();
    let mut received = 0;
    let mut pause_at = 1 << 20;
    // Pauses that together are longer than the limit, and alone are shorter.
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().unwrap().len();
        if received >= pause_at {
            pause_at += 1 << 20;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    assert_eq!(received, 8 << 20);
    assert_eq!(origin.server.stats().stall_closes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_http2_connection_is_closed_after_one_request() {
    let origin = TestOrigin::with(Config { workers: 1, max_connections: 1, spare_connections: 0, ..config() }, None);
    let mut viewer = origin.client();
    assert_eq!(viewer.get("/idle.m3u8").status, 412);
    for (path, status) in [("/idle.m3u8", 503), ("/api", 200)] {
        let io = TokioIo::new(TcpStream::connect(origin.address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let driver = tokio::spawn(connection);
        let answer = ask_h2(&mut sender, path).await;
        assert_eq!(answer.status().as_u16(), status);
        answer.into_body().collect().await.unwrap();
        driver.await.unwrap().unwrap();
        eventually(|| origin.server.stats().open_connections() == 1);
    }
}

#[test]
fn connections_without_a_request_time_out() {
    let short = Duration::from_millis(100);
    let origin = TestOrigin::with(Config { header_timeout: short, idle_timeout: short, ..config() }, None);
    origin.append(&opening());
    (0..2).for_each(|msn| origin.append(&segment(msn)));
    let (mut silent, mut half, mut kept) = (origin.client(), origin.client(), origin.client());
    half.send_raw("GET /live.m3u8 HTTP/1.1\r\nHo");
    assert_eq!(kept.get("/live.m3u8").status, 200);
    assert!(silent.is_closed() && half.is_closed() && kept.is_closed());
    assert_eq!(origin.server.stats().timeout_closes(), 3);
    let mut blocked = origin.client();
    blocked.send("GET", "/live/b1/video.m3u8?_HLS_msn=2", "");
    assert_eq!(blocked.receive(true).status, 503, "a blocked reader is not idle");
}

#[test]
fn requests_pipelined_after_a_blocked_one_are_answered_in_order() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send_raw(&request("/idle.m3u8"));
    client.send_raw(&(request("/live/b1/video-2.3.m4s") + &request("/nobody.m3u8")));
    origin.await_blocked(1);
    client.send_raw(&request("/live/b1/video-2.4.m4s"));
    origin.append(&parts(2, 3));
    assert_eq!(client.receive(true).status, 412);
    assert_eq!(client.receive(true).body, part_bytes(RenditionId::VIDEO, 2, 3));
    assert_eq!(client.receive(true).status, 404);
    origin.await_blocked(1);
    origin.append(&parts(2, 4));
    assert_eq!(client.receive(true).body, part_bytes(RenditionId::VIDEO, 2, 4));
}

#[test]
fn a_blocked_request_keeps_its_connection_semantics() {
    let origin = TestOrigin::playing();
    let (mut closing, mut old, mut head) = (origin.client(), origin.client(), origin.client());
    let path = "/live/b1/video.m3u8?_HLS_msn=2&_HLS_part=3";
    closing.send("GET", path, "Connection: close\r\n");
    old.send_raw(&format!("GET {path} HTTP/1.0\r\n\r\n"));
    head.send("HEAD", path, "");
    origin.await_blocked(3);
    origin.append(&parts(2, 3));
    assert_eq!((closing.receive(true).status, old.receive(true).status), (200, 200));
    assert!(closing.is_closed() && old.is_closed());
    assert!(head.receive(false).header("content-length").parse::<u64>().unwrap() > 0);
    assert_eq!(head.get("/idle.m3u8").status, 412);
}

#[test]
fn a_reader_that_disconnects_is_forgotten() {
    let origin = TestOrigin::playing();
    let mut client = origin.client();
    client.send("GET", "/live/b1/video.m3u8?_HLS_msn=3", "");
    origin.await_blocked(1);
    drop(client);
    origin.await_blocked(0);
    eventually(|| origin.server.stats().open_connections() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_blocked_readers_and_closes_idle_connections() {
    let origin = TestOrigin::playing();
    let (mut blocked, mut idle) = (origin.client(), origin.client());
    assert_eq!(idle.get("/live.m3u8").status, 200);
    blocked.send("GET", "/live/b1/video.m3u8?_HLS_msn=3", "");
    origin.await_blocked(1);
    origin.stop.cancel();
    let answer = blocked.receive(true);
    assert_eq!((answer.status, answer.header("connection")), (503, "close"));
    assert!(idle.is_closed() && blocked.is_closed());
    tokio::time::timeout(TIMEOUT, origin.server.stopped()).await.unwrap();
    assert!(std::net::TcpStream::connect(origin.address).is_err());
    assert_eq!(origin.server.stats().open_connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_a_slow_reader_only_for_the_drain_time() {
    let origin = TestOrigin::with(Config { drain: Duration::from_millis(100), ..config() }, None);
    origin.append(&opening());
    origin.append(&segment(0));
    let big = Payload::new(vec![Bytes::from(vec![7; 1 << 20]); 64]);
    origin.append(&[part_with(RenditionId::VIDEO, 1, 0, big)]);
    let mut slow = origin.client();
    slow.send("GET", "/live/b1/video-1.0.m4s", "");
    eventually(|| origin.server.stats().requests(RouteKind::Part, 2) == 1);
    origin.stop.cancel();
    tokio::time::timeout(TIMEOUT, origin.server.stopped()).await.unwrap();
}
