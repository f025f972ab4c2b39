//! An RTMP publisher that sends the tags of an FLV file with any timestamps, at any time. ffmpeg would repair the
//! timestamps before it sends them; faulty encoders do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

const HANDSHAKE: usize = 1_536;
const CHUNK: usize = 65_536;
const SET_CHUNK_SIZE: u8 = 1;
const COMMAND: u8 = 20;
pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;

/// One FLV tag.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub kind: u8,
    /// Timestamp, in milliseconds.
    pub at: u32,
    /// Time of sending, in milliseconds from the start.
    pub sent_at: u32,
    pub body: Vec<u8>,
}

impl Tag {
    /// Returns true for a codec header, which is not part of the timeline.
    pub(crate) fn is_header(&self) -> bool {
        self.body.get(1) == Some(&0)
    }
}

/// Returns the tags of a file, each to be sent at its timestamp.
pub(crate) fn tags(file: &Path) -> Vec<Tag> {
    let bytes = std::fs::read(file).expect("the clip can be read");
    let mut rest = &bytes[13..];
    let mut found = Vec::new();
    while rest.len() > 15 {
        let size = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let at = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        if matches!(rest[0], AUDIO | VIDEO) && size > 1 {
            found.push(Tag { kind: rest[0], at, sent_at: at, body: rest[11..11 + size].to_vec() });
        }
        rest = &rest[11 + size + 4..];
    }
    found
}

/// Publishes the tags in the order of their [`Tag::sent_at`]: in real time if `paced`, else as fast as the server
/// reads.
pub(crate) fn publish(port: u16, key: &str, mut tags: Vec<Tag>, paced: bool) {
    tags.sort_by_key(|tag| tag.sent_at);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    handshake(&mut stream);
    command(&mut stream, 0, |body| {
        string(body, "connect");
        number(body, 1.0);
        body.push(3);
        for (name, value) in [("app", "app"), ("tcUrl", "rtmp://127.0.0.1/app"), ("type", "nonprivate")] {
            body.extend((name.len() as u16).to_be_bytes());
            body.extend(name.as_bytes());
            string(body, value);
        }
        body.extend([0, 0, 9]);
    });
    command(&mut stream, 0, |body| {
        string(body, "createStream");
        number(body, 2.0);
        body.push(5);
    });
    command(&mut stream, 1, |body| {
        string(body, "publish");
        number(body, 3.0);
        body.push(5);
        string(body, key);
        string(body, "live");
    });
    wait_for(&mut stream, b"NetStream.Publish.Start");
    let drain = drain(&stream);
    let began = Instant::now();
    for tag in tags {
        if paced {
            std::thread::sleep(
                (began + Duration::from_millis(tag.sent_at.into())).saturating_duration_since(Instant::now()),
            );
        }
        let csid = if tag.kind == AUDIO { 4 } else { 6 };
        if stream.write_all(&message(csid, tag.kind, tag.at, 1, &tag.body)).is_err() {
            // The server may end the contribution. The test checks what follows from that.
            break;
        }
    }
    // The server may have closed already.
    let _ = stream.write_all(&message(3, COMMAND, 0, 1, &{
        let mut body = Vec::new();
        string(&mut body, "deleteStream");
        number(&mut body, 4.0);
        body.push(5);
        number(&mut body, 1.0);
        body
    }));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    drain.join().expect("the responses are read to their end");
}

fn handshake(stream: &mut TcpStream) {
    let mut hello = vec![0; 1 + HANDSHAKE];
    hello[0] = 3;
    stream.write_all(&hello).expect("a handshake");
    let mut answer = vec![0; 1 + HANDSHAKE];
    stream.read_exact(&mut answer).expect("an answer");
    stream.write_all(&answer[1..]).expect("an echo");
    stream.read_exact(&mut answer[1..]).expect("the server's echo");
    stream.write_all(&message(2, SET_CHUNK_SIZE, 0, 0, &(CHUNK as u32).to_be_bytes())).expect("a chunk size");
}

fn command(stream: &mut TcpStream, message_stream: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    stream.write_all(&message(3, COMMAND, 0, message_stream, &body)).expect("a command");
}

fn wait_for(stream: &mut TcpStream, word: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let (mut received, mut buffer) = (Vec::new(), [0; 4_096]);
    while !received.windows(word.len()).any(|window| window == word) {
        let count = stream.read(&mut buffer).expect("the server answers");
        assert!(count > 0, "the server closed: {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&buffer[..count]);
    }
}

/// Reads and discards what the server sends, so that it never blocks.
fn drain(stream: &TcpStream) -> std::thread::JoinHandle<()> {
    let mut stream = stream.try_clone().expect("another handle");
    stream.set_read_timeout(None).expect("no timeout");
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    })
}

fn message(csid: u8, kind: u8, at: u32, message_stream: u32, body: &[u8]) -> Vec<u8> {
    let extended = at >= 0xff_ffff;
    let short = if extended { 0xff_ffff } else { at };
    let mut out = vec![csid];
    out.extend(&short.to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(kind);
    out.extend(message_stream.to_le_bytes());
    for (n, chunk) in body.chunks(CHUNK).enumerate() {
        if n > 0 {
            out.push(0xc0 | csid);
        }
        if extended {
            out.extend(at.to_be_bytes());
        }
        out.extend(chunk);
    }
    out
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.push(2);
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}

fn number(body: &mut Vec<u8>, value: f64) {
    body.push(0);
    body.extend(value.to_be_bytes());
}
