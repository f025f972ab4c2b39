//! Timed metadata in a transcoded programme: each video rendition carries it, at its original time.

use std::path::PathBuf;

use serde_json::json;

use super::{LIVE_FRAMES, SLATE_FRAMES, transcoded, wait_for_growth};
use crate::encoder_change::Record;
use crate::support::{Encoder, EventMessage, Server, encode, event_messages, kept, shared, until};

const PACKET: usize = 188;
/// PID of the program map table in streams of ffmpeg.
const PMT: u16 = 0x1000;
/// PID of the video in streams of ffmpeg.
const VIDEO: u16 = 0x100;
/// PID of the metadata that the test adds.
const METADATA: u16 = 0x1f0;
const TICKS: u64 = 90_000;
/// Minimum number of messages of each encoder.
const ENOUGH: usize = 3;
/// Rounding to a frame at 30 frames a second, in seconds.
const FRAME: f64 = 0.034;

/// Returns a transport stream of twelve seconds of video, with a metadata message every second.
fn clip() -> PathBuf {
    kept("metadata.ts", |draft| {
        let arguments = "-f lavfi -i testsrc2=size=640x360:rate=30 -t 12 -pix_fmt yuv420p -c:v libx264 -preset ultrafast \
                     -sc_threshold 0 -bf 0 -g 30 -f mpegts";
        encode("ffmpeg", arguments, draft);
        let stream = with_metadata(&std::fs::read(draft).expect("a transport stream"));
        std::fs::write(draft, stream).expect("a transport stream");
    })
}

fn with_metadata(stream: &[u8]) -> Vec<u8> {
    let (mut all, mut first, mut count) = (Vec::new(), None, 0);
    for packet in stream.chunks_exact(PACKET) {
        let (pid, starts) = (u16::from_be_bytes([packet[1] & 0x1f, packet[2]]), packet[1] & 0x40 != 0);
        match (pid, starts) {
            (PMT, true) => all.extend(pmt_with_metadata(packet)),
            (VIDEO, true) => {
                let pts = pts(packet);
                if pts >= *first.get_or_insert(pts) + count * TICKS {
                    all.extend(message(pts, count as u8));
                    count += 1;
                }
                all.extend_from_slice(packet);
            }
            _ => all.extend_from_slice(packet),
        }
    }
    all
}

/// Returns the PTS of the PES packet that begins in this packet.
fn pts(packet: &[u8]) -> u64 {
    let fields = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
    let bytes: Vec<_> = packet[fields + 9..fields + 14].iter().map(|byte| u64::from(*byte)).collect();
    (bytes[0] >> 1 & 7) << 30 | bytes[1] << 22 | (bytes[2] >> 1) << 15 | bytes[3] << 7 | bytes[4] >> 1
}

/// Adds one stream to the program map table: ID3 in PES packets.
fn pmt_with_metadata(packet: &[u8]) -> Vec<u8> {
    let section = &packet[5..];
    let length = usize::from(u16::from_be_bytes([section[1] & 0x0f, section[2]]));
    let mut section = section[..length - 1].to_vec();
    let [high, low] = METADATA.to_be_bytes();
    section.extend([0x15, 0xe0 | high, low, 0xf0, 6, 0x05, 4, b'I', b'D', b'3', b' ']);
    section[2] = u8::try_from(section.len() + 4 - 3).expect("a short section");
    let crc = section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    });
    section.extend(crc.to_be_bytes());
    let mut all = [&packet[..5], &section].concat();
    all.resize(PACKET, 0xff);
    all
}

/// Returns a packet with an ID3 message at `pts`.
fn message(pts: u64, number: u8) -> Vec<u8> {
    // ffmpeg removes five bytes, as the header of a metadata access unit.
    let text = b"\0\0\0\0\0ID3\x04\0\0\0\0\0\x0cTIT2\0\0\0\x02\0\0\x03w";
    let [a, b, c] = [pts >> 29 & 0x0e | 0x21, pts >> 14 & 0xfffe | 1, pts << 1 & 0xfffe | 1];
    let mut pes = vec![0, 0, 1, 0xbd, 0, (8 + text.len()) as u8, 0x84, 0x80, 5, a as u8];
    pes.extend((b as u16).to_be_bytes());
    pes.extend((c as u16).to_be_bytes());
    pes.extend(text);
    let [high, low] = METADATA.to_be_bytes();
    let stuffing = PACKET - 5 - pes.len();
    let mut packet = vec![0x47, 0x40 | high, low, 0x30 | number & 0x0f, stuffing as u8, 0];
    packet.resize(5 + stuffing, 0xff);
    packet.extend(pes);
    packet
}

#[test]
fn every_video_rendition_carries_the_metadata() {
    let _machine = shared();
    let server = Server::start();
    let stream = transcoded(&server, "reduced", json!({}));
    let push = || {
        let (file, url) = (clip(), server.srt_url(&stream));
        let file = file.to_str().expect("a UTF-8 path");
        Encoder::ffmpeg(&["-re", "-i", file, "-map", "0", "-c", "copy", "-f", "mpegts", &url])
    };
    let mut encoder = push();
    let playback = server.playback(&stream);
    let mut records: Vec<_> = playback.renditions().into_iter().map(Record::new).collect();
    let mut all = Vec::new();
    for turn in 1..=2 {
        if turn > 1 {
            encoder.kill();
            wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
            encoder = push();
            wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
        }
        until("messages", || {
            records.iter_mut().for_each(Record::reload);
            let video = records.iter().filter(|record| record.rendition.kind == "video");
            all = video.map(messages).collect();
            all.iter().all(|messages| messages.len() >= turn * ENOUGH).then_some(())
        });
    }
    assert_eq!(all.len(), 2, "two video renditions");
    let (one, other) = (&all[0], &all[1]);
    assert!(
        one.iter().zip(other).all(|(one, other)| one.id == other.id && (one.at - other.at).abs() < 0.001),
        "{all:?}"
    );
    assert!(one.windows(2).all(|pair| pair[1].id == pair[0].id + 1 && pair[1].at > pair[0].at), "{one:?}");
    // Intervals differ at the gap between the encoders, and where a busy machine rebases the media.
    let even = one.windows(2).filter(|pair| (pair[1].at - pair[0].at - 1.0).abs() <= FRAME).count();
    assert!(even * 2 > one.len(), "{one:?}");
}

/// Returns the metadata messages of a rendition.
fn messages(record: &Record) -> Vec<EventMessage> {
    let bodies = record.segments.iter().map(|listed| record.rendition.fetch(&listed.segment.uri).body);
    bodies.flat_map(|body| event_messages(&body)).collect()
}
