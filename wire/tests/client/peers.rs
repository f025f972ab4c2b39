//! Other programs as targets: ffmpeg and nginx with its RTMP module.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{Frame, Timestamp, Track};
use wire::Item;
use wire::flv::{VIDEO_TRACK, audio_track};
use wire::rtmp::client::{Config, Event, RANDOM_LEN, Session, Target};

use crate::flv_file;
use crate::support::{demux, file, of, only, packets};

/// Longest wait for another program.
const TIMEOUT: Duration = Duration::from_secs(20);
const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A process that is ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// Calls `attempt` until it returns a value.
fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < TIMEOUT, "{what} took too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns H.264 and AAC.
fn items() -> Vec<Item> {
    only(file("multitrack.flv"), |id| id == VIDEO_TRACK || id == audio_track(0))
}

fn frames(items: &[Item]) -> Vec<&Frame> {
    items.iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None }).collect()
}

/// Sends everything that the session has, with vectored writes.
fn flush(session: &mut Session, socket: &mut TcpStream) {
    for pieces in session.take_output().chunks(16) {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = socket.write_vectored(rest).expect("an open connection");
            IoSlice::advance_slices(&mut rest, written);
        }
    }
}

/// Publishes `items` at `address` and ends the publication.
fn publish(address: SocketAddr, items: &[Item]) {
    let mut socket = wait_for("the listener", || TcpStream::connect(address).ok());
    socket.set_read_timeout(Some(TIMEOUT)).expect("a valid time");
    let target = Target::parse(&format!("rtmp://{address}/app"), "key").expect("an address");
    let mut session = Session::new(Config::default(), target, [7; RANDOM_LEN]);
    let mut buffer = [0; 4_096];
    while !session.is_publishing() {
        flush(&mut session, &mut socket);
        let len = socket.read(&mut buffer).expect("an answer");
        assert!(len > 0, "the target closed the connection");
        session.input(&buffer[..len]).expect("a valid answer");
    }
    assert_eq!(session.poll(), Some(Event::Published));
    let tracks: Vec<Track> =
        items.iter().filter_map(|i| if let Item::Track(t) = i { Some(t.clone()) } else { None }).collect();
    session.announce(&tracks, Timestamp::ZERO).expect("H.264 and AAC");
    for frame in frames(items) {
        session.send(frame).expect("an announced track");
        flush(&mut session, &mut socket);
    }
    session.close();
    flush(&mut session, &mut socket);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    // Read to the end, so that nothing in flight is reset.
    while let Ok(1..) = socket.read(&mut buffer) {}
}

/// Adler-32 as ffmpeg's framecrc starts it, with zero.
fn adler(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((0u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

#[test]
fn ffmpeg_reads_the_same_frames() {
    let address = free_address();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-listen", "1", "-i", &format!("rtmp://{address}/app/key")]);
    command.args(["-map", "0", "-c", "copy", "-f", "framecrc", "-"]).stdin(Stdio::null()).stdout(Stdio::piped());
    // ffmpeg reports the end of the connection as an error.
    command.stderr(Stdio::null());
    let mut process = Process(command.spawn().expect("the program starts"));
    let items = items();
    publish(address, &items);
    let mut text = String::new();
    process.0.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert!(process.0.wait().expect("an exit").success(), "{text}");
    let mut received: Vec<(usize, u32)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        let crc = fields[5].trim_start_matches("0x");
        received.push((fields[4].parse().expect("a size"), u32::from_str_radix(crc, 16).expect("a checksum")));
    }
    let mut sent: Vec<_> = frames(&items).iter().map(|frame| (frame.payload.len(), adler(&frame.payload))).collect();
    received.sort_unstable();
    sent.sort_unstable();
    assert_eq!(received, sent, "{text}");
}

#[test]
fn nginx_records_the_same_frames() {
    let (address, folder) = (free_address(), tempfile::tempdir().expect("a folder"));
    let at = folder.path().display();
    let config = format!(
        "load_module {NGINX_MODULE};\ndaemon off; master_process off; pid {at}/pid; error_log {at}/error.log info;\n\
         events {{ }}\nrtmp {{ access_log off; server {{ listen {address}; application app {{ live on; record all; record_path {at}; }} }} }}\n"
    );
    let path = folder.path().join("nginx.conf");
    fs::write(&path, config).expect("a file");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(&path).arg("-e").arg(folder.path().join("error.log"));
    let process = Process(command.stdin(Stdio::null()).spawn().expect("the program starts"));
    let items = items();
    publish(address, &items);
    let recorded = || {
        let bytes = Bytes::from(fs::read(folder.path().join("key.flv")).ok()?);
        let recorded = demux(packets(&flv_file::parse(&bytes)));
        (frames(&recorded).len() >= frames(&items).len()).then_some(recorded)
    };
    let recorded = wait_for("the recording", recorded);
    drop(process);
    for id in [VIDEO_TRACK, audio_track(0)] {
        assert_eq!(of(&recorded, id), of(&items, id));
    }
}
