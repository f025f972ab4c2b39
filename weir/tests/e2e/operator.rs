//! Responses of a server to its operator, and to clients that only know its address.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Client, Clip, Encoder, OPEN_FILES, Server, clip, prometheus, shared, until};

/// Sends a request unchanged, and returns everything until the server closes the connection.
fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.http_port())).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a response in UTF-8");
    answer
}

#[test]
fn a_live_server_answers_all_kinds_of_requests_and_ends_a_deleted_stream() {
    let _machine = shared();
    let server = Server::start();
    let stream =
        server.api().create("low", json!({ "playback_policies": ["public"], "meta": { "title": "Tea <&> talk" } }));
    let encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    let client = server.client();

    prometheus::assert_clean(&client.get("/metrics").text());
    assert!(client.get("/").text().contains("/openapi.json"));
    assert!(client.get(&format!("/watch/{}", stream.playback_id)).text().contains("<h1>Tea &lt;&amp;&gt; talk</h1>"));
    let page = client.get("/watch/unknown");
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));

    let signed = server.api().create("low", json!({ "playback_policies": ["signed"] }));
    let refused = client.get(&format!("/{}.m3u8", signed.playback_id));
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("needs a token"), "{}", refused.text());

    let path = format!("/{}.m3u8", stream.playback_id);
    for (target, host, status) in [
        (format!("http://cdn.example{path}"), "Host: cdn.example\r\n", "200"),
        (path.clone(), "", "400"),
        (path, "Host: a\r\nHost: b\r\n", "400"),
    ] {
        let answer = raw(&server, &format!("GET {target} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target} {host:?}: {answer}");
    }

    server.api().delete(&stream);
    until("the encoder to be disconnected", || {
        client.get("/metrics").text().contains("weir_ingest_connections 0").then_some(())
    });
    drop(encoder);
    let log = server.log();
    assert!(!log.contains(" ERROR "), "{log}");
}

#[test]
fn token_guesses_are_slowed_down_and_cross_site_forms_refused() {
    let _machine = shared();
    let server = Server::start();
    let form = raw(
        &server,
        "POST /video/v1/live-streams HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ZTJlLXRva2VuOmUyZS1zZWNyZXQ=\r\n\
         Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    );
    assert!(form.starts_with("HTTP/1.1 415") && form.contains("application/json"), "{form}");
    let guess = Client::new(server.base(), Some("Basic ZTJlLXRva2VuOndyb25n".to_owned()));
    let ask = || -> Answer { guess.get("/system/v1/whoami") };
    let statuses: Vec<_> = (0..3).map(|_| ask().status).collect();
    assert_eq!(statuses, [401, 401, 401]);
    let slowed = ask();
    assert_eq!((slowed.status, slowed.header("retry-after")), (429, Some("1")));
    until("the right token to be accepted again", || {
        let right = Client::new(server.base(), Some("Basic ZTJlLXRva2VuOmUyZS1zZWNyZXQ=".to_owned()));
        (right.get("/system/v1/whoami").status == 200).then_some(())
    });
}

/// A limit that leaves room for about 32 viewers.
const FEW_FILES: u64 = 300;

#[test]
fn viewers_never_crowd_out_encoders_and_the_api() {
    let _machine = shared();
    let server = Server::start_with(&[(OPEN_FILES, &FEW_FILES.to_string())]);
    assert!(server.log().contains("the limit of open files is 300"), "{}", server.log());
    let stream = server.api().create("low", json!({}));
    let request = format!("GET /{}.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", stream.playback_id);
    // More than the limit of open files. Each sends a request, so that the server has accepted it, and stays connected.
    let viewers: Vec<_> = (0..2 * FEW_FILES)
        .map(|_| {
            let mut viewer =
                TcpStream::connect(("127.0.0.1", server.http_port())).expect("the kernel's queue has room");
            viewer.write_all(request.as_bytes()).expect("a request");
            viewer
        })
        .collect();
    let file = clip(&Clip::plain(8));
    let _encoder = Encoder::push_loop(&file, &server.rtmp_url(&stream.key));
    server.api().wait_for(&stream, "active");
    assert_eq!(server.client().get("/healthz").status, 200);
    drop(viewers);
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}
