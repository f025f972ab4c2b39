//! Slates of the owner's: fetched, shown, and done without where they cannot be had.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;

use serde_json::json;

use super::{FIRST, SLATES, encoded, grows};
use crate::support::{Server, Stream, shared, until};

/// A server of one picture, all red, and where it is.
pub(crate) fn red_picture() -> SocketAddr {
    let words = "-v error -f lavfi -i color=red:size=320x180 -frames:v 1 -f image2pipe -c:v png -";
    let png = Command::new("ffmpeg").args(words.split_whitespace()).output().expect("ffmpeg runs").stdout;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the fetch");
        let _request = stream.read(&mut [0; 4_096]).expect("a request");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", png.len());
        stream.write_all(&[head.as_bytes(), &png].concat()).expect("the answer is taken");
    });
    address
}

/// Red, green and blue of the newest picture, on average.
pub(crate) fn colour(server: &Server, stream: &Stream) -> Option<[u8; 3]> {
    let url = server.playlist_url(stream);
    let words = ["-v", "error", "-live_start_index", "-1", "-i", &url, "-map", "0:v:0", "-vf", "scale=1:1:flags=area"];
    let tail = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let run = Command::new("ffmpeg").args(words).args(tail).output().expect("ffmpeg runs");
    run.stdout.first_chunk().copied()
}

#[test]
fn a_slate_of_the_owners_is_fetched_and_shown() {
    let _machine = shared();
    let server = Server::start_with(&[("WEIR_SLATE_ALLOW_PRIVATE", "true")]);
    let url = format!("http://{}/slate.png", red_picture());
    let stream = encoded(&server, "low", json!({ "reconnect_slate_url": url }));
    let mut encoder = FIRST.push(&server, &stream);
    let is_red = |[red, green, blue]: [u8; 3]| red > 200 && green < 60 && blue < 60;
    let live = until("a picture", || colour(&server, &stream));
    assert!(!is_red(live), "{live:?} is live");
    encoder.kill();
    until("the slate", || colour(&server, &stream).filter(|colour| is_red(*colour)));
    let _back = FIRST.push(&server, &stream);
    until("the live picture", || colour(&server, &stream).filter(|colour| !is_red(*colour)));
}

#[test]
fn a_slate_that_cannot_be_had_is_told_and_ours_is_shown() {
    let _machine = shared();
    let server = Server::start();
    let url = format!("http://{}/slate.png?token=hush", red_picture());
    let stream = encoded(&server, "low", json!({ "reconnect_slate_url": url }));
    let mut encoder = FIRST.push(&server, &stream);
    until("a warning", || server.log().contains("slate.allow_private").then_some(()));
    until("the event", || server.log().contains("video.live_stream.warning").then_some(()));
    assert!(!server.log().contains("hush"), "the address may hold a secret");
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    encoder.kill();
    grows(&server, &stream, "slate_pictures_total", SLATES);
}
