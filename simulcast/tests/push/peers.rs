//! Programs that nobody here wrote receive every frame.

use std::process::{Command, Stdio};

use media::{Frame, Kind, Track, TrackId};
use slate::Item;
use wire::rtmp::server::End;

use crate::media::{LARGE, Programme, SMALL};
use crate::programs::{Nginx, Process, free_address};
use crate::rig::{Rig, config, wait_for};
use crate::servers::{Behaviour, Server};

/// Adler-32 as ffmpeg's framecrc starts it, with zero.
fn adler(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((0u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

#[test]
fn nginx_sees_one_publication_through_a_reconnect_of_the_encoder() {
    let (nginx, rig, programme) = (Nginx::start(), Rig::new(config()), Programme::new(2));
    rig.add("nginx", &nginx.url());
    rig.push(&programme.tracks);
    rig.connected("nginx", 1);
    rig.push_paced(&["nginx"], &programme.frames);
    let expected = programme.expected();
    wait_for("all frames", || (rig.stats("nginx").frames == expected.len() as u64).then_some(()));
    let stats = rig.stats("nginx");
    assert_eq!((stats.dropped_frames, stats.connects, stats.failures, stats.queue_bytes), (0, 1, 0, 0));
    let payload: usize = expected.iter().map(|frame| frame.payload.len()).sum();
    assert!(stats.bytes > payload as u64, "{stats:?}");
    rig.finish();
    programme.assert_received(&nginx.recording(expected.len()), &expected);
    assert_eq!(rig.states("nginx"), ["starting", "broadcasting", "idle"]);
}

#[test]
fn ffmpeg_reads_the_same_frames() {
    let (address, rig, programme) = (free_address(), Rig::new(config()), Programme::new(1));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-listen", "1", "-i", &format!("rtmp://{address}/app/key")]);
    command.args(["-map", "0", "-c", "copy", "-f", "framecrc", "-"]).stdin(Stdio::null()).stdout(Stdio::piped());
    // ffmpeg reports the end of the connection as an error.
    let process = Process(command.stderr(Stdio::null()).spawn().expect("ffmpeg runs"));
    rig.add_at("ffmpeg", address);
    // The target is dialled after failures only while media comes.
    wait_for("a connection", || {
        programme.tracks.iter().for_each(|item| rig.simulcast.push(item));
        rig.push(&programme.frames[programme.frames.len() - 1..]);
        (rig.stats("ffmpeg").connects == 1).then_some(())
    });
    rig.push_paced(&["ffmpeg"], &programme.frames);
    rig.finish();
    let text = process.output();
    let mut received: Vec<(usize, u32)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        let crc = fields[5].trim_start_matches("0x");
        received.push((fields[4].parse().expect("a size"), u32::from_str_radix(crc, 16).expect("a checksum")));
    }
    let expected = programme.expected();
    let mut sent: Vec<_> = expected.iter().map(|frame| (frame.payload.len(), adler(&frame.payload))).collect();
    received.sort_unstable();
    sent.sort_unstable();
    assert_eq!(received, sent);
}

#[test]
fn a_target_that_is_added_and_removed_while_live() {
    let (nginx, rig, programme) = (Nginx::start(), Rig::new(config()), Programme::new(1));
    rig.push(&programme.tracks);
    let half = programme.frames.len() / 2;
    rig.push(&programme.frames[..half]);
    rig.add("nginx", &nginx.url());
    rig.connected("nginx", 1);
    rig.push_paced(&["nginx"], &programme.frames[half..]);
    rig.until("nginx", "broadcasting");
    assert!(rig.simulcast.remove(&"nginx".into()));
    assert!(!rig.simulcast.remove(&"nginx".into()));
    rig.until("nginx", "idle");
    let recording = nginx.recording(1);
    assert!(recording.first().is_some_and(|frame| frame.access.is_independent()), "{:?}", recording.first());
    assert_eq!(rig.states("nginx"), ["starting", "broadcasting", "idle"]);
    assert_eq!(rig.simulcast.stats().len(), 0);
}

#[test]
fn a_header_that_changes_is_sent_again() {
    let (rig, programme) = (Rig::new(config()), Programme::of(&[SMALL, LARGE]));
    let server = Server::start(&rig.runtime, Behaviour::Answers(vec![]));
    rig.add_at("server", server.address);
    rig.push(&programme.tracks);
    rig.connected("server", 1);
    rig.push_paced(&["server"], &programme.frames);
    rig.finish();
    assert_eq!(server.frames().len(), programme.expected().len());
    let resolutions: Vec<_> = server.tracks().iter().filter_map(|track| track.codec.resolution()).collect();
    assert_eq!(resolutions, [(320, 240), (480, 270)]);
    assert_eq!((server.connections(), server.ends()), (1, vec![End::Unpublished]));
}

#[test]
fn the_first_key_frame_is_sent_although_it_comes_before_the_connection() {
    let (rig, programme) = (Rig::new(config()), Programme::new(1));
    let server = Server::start(&rig.runtime, Behaviour::Answers(vec![]));
    rig.add_at("server", server.address);
    rig.push(&programme.tracks);
    // The task dials in another thread: from here on frames are queued.
    wait_for("a connection attempt", || (server.connections() == 1).then_some(()));
    rig.push_paced(&["server"], &programme.frames);
    rig.connected("server", 1);
    rig.finish();
    programme.assert_received(&server.frames(), &programme.expected());
}

#[test]
fn only_the_first_track_of_a_kind_is_sent_to_a_target_without_multitrack() {
    let (nginx, rig, programme) = (Nginx::start(), Rig::new(config()), Programme::new(1));
    let (audio, second) = (programme.track(Kind::Audio), TrackId(99));
    rig.add("nginx", &nginx.url());
    rig.push(&programme.tracks);
    for item in &programme.tracks {
        if let Item::Track(track) = item
            && track.id == audio
        {
            rig.push(&[Item::Track(Track { id: second, ..track.clone() })]);
        }
    }
    rig.connected("nginx", 1);
    for item in &programme.frames {
        rig.push_paced(&["nginx"], std::slice::from_ref(item));
        if let Item::Frame(frame) = item
            && frame.track == audio
        {
            rig.push(&[Item::Frame(Frame { track: second, ..frame.clone() })]);
        }
    }
    rig.finish();
    let expected = programme.expected();
    programme.assert_received(&nginx.recording(expected.len()), &expected);
    assert_eq!(rig.states("nginx"), ["starting", "broadcasting", "idle"]);
}
