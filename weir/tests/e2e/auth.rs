//! Encoders that are refused, and the reason that they receive.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::support::{Clip, Encoder, Server, clip, shared, until};

/// The text before the description of an RTMP `onStatus` error in the output of ffmpeg.
const SERVER_ERROR: &str = "Server error:";

/// Pushes, and expects to be refused with a reason that contains `word`.
fn assert_refused(url: &str, word: &str) {
    let mut encoder = Encoder::push_copy(&clip(&Clip::plain(8)), url);
    let status = encoder.wait();
    let output = encoder.output();
    assert!(!status.success(), "the encoder was admitted:\n{output}");
    let reason = output.split_once(SERVER_ERROR).unwrap_or_else(|| panic!("no reason given:\n{output}")).1;
    let reason = reason.lines().next().unwrap_or_default();
    assert!(reason.to_lowercase().contains(word), "the reason has no `{word}`: {reason}");
}

#[test]
fn an_unknown_key_is_refused_with_a_reason() {
    let _machine = shared();
    let server = Server::start();
    let key = "00000000-0000-0000-0000-000000000000";
    assert_refused(&server.rtmp_url(key), "key");
    assert!(!server.log().contains(key), "a stream key is in the log");
}

#[test]
fn a_disabled_stream_is_refused_with_a_reason_until_it_is_enabled() {
    let _machine = shared();
    let server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({}));
    api.put(&stream, "disable");
    assert_eq!(api.status(&stream), "disabled");
    assert_refused(&server.rtmp_url(&stream.key), "disabled");

    api.put(&stream, "enable");
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    api.wait_for(&stream, "active");
    assert!(!server.log().contains(&stream.key), "a stream key is in the log");
}

/// Returns pseudo-random bytes, the same in each run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Sends bytes, closes the sending side, and reads until the server closes the connection.
fn send(port: u16, bytes: &[u8]) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // The server may close the connection earlier, which is valid as well.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
}

/// Rounds of noise. Few, because an address that fails repeatedly has to wait longer each time.
const ROUNDS: u64 = 8;

#[test]
fn noise_on_every_port_does_not_disturb_the_programme() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    let main = server.playback(&stream).main();
    let before = main.wait_for("a segment", |list| !list.segments.is_empty());

    for seed in 0..ROUNDS {
        let mut bytes = noise(seed, 1 << (2 * seed + 3));
        send(server.http_port(), &bytes);
        // Starts with the version byte of RTMP, so that the handshake begins.
        bytes.insert(0, 3);
        send(server.rtmp_port(), &bytes);
    }
    let last = before.first + before.segments.len() as u64;
    main.wait_for("the programme to go on", |list| list.first + list.segments.len() as u64 > last + 1);
    assert!(!main.playlist().segments.iter().any(|segment| segment.discontinuity), "the programme was disturbed");
    assert!(!server.log().contains("panicked"), "something panicked:\n{}", server.log());
    drop(encoder);
}

#[test]
fn the_old_key_is_unknown_after_a_reset() {
    let _machine = shared();
    let server = Server::start();
    let api = server.api();
    let stream = api.create("low", json!({}));
    let fresh = api.reset_key(&stream);
    assert_ne!(fresh, stream.key);
    assert_refused(&server.rtmp_url(&stream.key), "key");
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&fresh));
    until("the stream to be active", || (api.status(&stream) == "active").then_some(()));
}
