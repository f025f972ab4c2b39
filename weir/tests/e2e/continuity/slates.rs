//! Custom slate images: fetched and shown, and replaced by the built-in image if they cannot be fetched.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;

use serde_json::json;

use super::{FIRST, SLATE_FRAMES, transcoded, wait_for_growth};
use crate::support::{Server, Stream, shared, until};

/// Serves a red image once, and returns the address of the server.
pub(crate) fn serve_red_image() -> SocketAddr {
    let arguments = "-v error -f lavfi -i color=red:size=320x180 -frames:v 1 -f image2pipe -c:v png -";
    let png = Command::new("ffmpeg").args(arguments.split_whitespace()).output().expect("ffmpeg runs").stdout;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the fetch");
        let _request = stream.read(&mut [0; 4_096]).expect("a request");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", png.len());
        stream.write_all(&[head.as_bytes(), &png].concat()).expect("sending the response");
    });
    address
}

/// Returns the average red, green and blue of the newest video frame.
pub(crate) fn colour(server: &Server, stream: &Stream) -> Option<[u8; 3]> {
    let url = server.playlist_url(stream);
    let arguments =
        ["-v", "error", "-live_start_index", "-1", "-i", &url, "-map", "0:v:0", "-vf", "scale=1:1:flags=area"];
    let tail = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let run = Command::new("ffmpeg").args(arguments).args(tail).output().expect("ffmpeg runs");
    run.stdout.first_chunk().copied()
}

#[test]
fn a_custom_slate_is_fetched_and_shown() {
    let _machine = shared();
    let server = Server::start_with(&[("WEIR_SLATE_ALLOW_PRIVATE", "true")]);
    let url = format!("http://{}/slate.png", serve_red_image());
    let stream = transcoded(&server, "low", json!({ "reconnect_slate_url": url }));
    let mut encoder = FIRST.push(&server, &stream);
    let is_red = |[red, green, blue]: [u8; 3]| red > 200 && green < 60 && blue < 60;
    let live = until("a video frame", || colour(&server, &stream));
    assert!(!is_red(live), "{live:?} is live");
    encoder.kill();
    until("the slate", || colour(&server, &stream).filter(|colour| is_red(*colour)));
    let _back = FIRST.push(&server, &stream);
    until("live video", || colour(&server, &stream).filter(|colour| !is_red(*colour)));
}

#[test]
fn a_slate_that_cannot_be_fetched_is_reported_and_the_built_in_one_is_shown() {
    let _machine = shared();
    let server = Server::start();
    let url = format!("http://{}/slate.png?token=hush", serve_red_image());
    let stream = transcoded(&server, "low", json!({ "reconnect_slate_url": url }));
    let mut encoder = FIRST.push(&server, &stream);
    until("a warning", || server.log().contains("slate.allow_private").then_some(()));
    until("the event", || server.log().contains("video.live_stream.warning").then_some(()));
    assert!(!server.log().contains("hush"), "the URL may contain a secret");
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    encoder.kill();
    wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
}
