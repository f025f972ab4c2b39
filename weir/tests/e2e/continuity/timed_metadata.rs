//! Timed metadata in an encoded programme: each rendition of the pictures tells it, when it was said.

use std::path::PathBuf;

use serde_json::json;

use super::{BACK, SLATES, encoded, grows};
use crate::encoder_change::Record;
use crate::support::{Encoder, Server, Told, encode, kept, shared, told, until};

const PACKET: usize = 188;
/// Where ffmpeg puts the map of its programme and the pictures, and where the words are put.
const MAP: u16 = 0x1000;
const PICTURES: u16 = 0x100;
const WORDS: u16 = 0x1f0;
const TICKS: u64 = 90_000;
/// Words of each encoder that are looked at, at the least.
const ENOUGH: usize = 3;
/// Rounding to a picture of 30 a second, in seconds.
const FRAME: f64 = 0.034;

/// Pictures of twelve seconds and a word with each 30th of them, as a transport stream.
fn clip() -> PathBuf {
    kept("words.ts", |draft| {
        let words = "-f lavfi -i testsrc2=size=640x360:rate=30 -t 12 -pix_fmt yuv420p -c:v libx264 -preset ultrafast \
                     -sc_threshold 0 -bf 0 -g 30 -f mpegts";
        encode("ffmpeg", words, draft);
        let stream = with_words(&std::fs::read(draft).expect("a transport stream"));
        std::fs::write(draft, stream).expect("a transport stream");
    })
}

fn with_words(stream: &[u8]) -> Vec<u8> {
    let (mut all, mut first, mut said) = (Vec::new(), None, 0);
    for packet in stream.chunks_exact(PACKET) {
        let (pid, starts) = (u16::from_be_bytes([packet[1] & 0x1f, packet[2]]), packet[1] & 0x40 != 0);
        match (pid, starts) {
            (MAP, true) => all.extend(map_with_words(packet)),
            (PICTURES, true) => {
                let pts = pts(packet);
                if pts >= *first.get_or_insert(pts) + said * TICKS {
                    all.extend(word(pts, said as u8));
                    said += 1;
                }
                all.extend_from_slice(packet);
            }
            _ => all.extend_from_slice(packet),
        }
    }
    all
}

/// The PTS of the PES packet that begins here.
fn pts(packet: &[u8]) -> u64 {
    let fields = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
    let bytes: Vec<_> = packet[fields + 9..fields + 14].iter().map(|byte| u64::from(*byte)).collect();
    (bytes[0] >> 1 & 7) << 30 | bytes[1] << 22 | (bytes[2] >> 1) << 15 | bytes[3] << 7 | bytes[4] >> 1
}

/// The programme map with one stream more: ID3 in PES packets.
fn map_with_words(packet: &[u8]) -> Vec<u8> {
    let section = &packet[5..];
    let length = usize::from(u16::from_be_bytes([section[1] & 0x0f, section[2]]));
    let mut section = section[..length - 1].to_vec();
    let [high, low] = WORDS.to_be_bytes();
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

/// A word as a packet of its own, dated `pts`.
fn word(pts: u64, number: u8) -> Vec<u8> {
    // ffmpeg takes five bytes away, for the header of a metadata access unit.
    let text = b"\0\0\0\0\0ID3\x04\0\0\0\0\0\x0cTIT2\0\0\0\x02\0\0\x03w";
    let [a, b, c] = [pts >> 29 & 0x0e | 0x21, pts >> 14 & 0xfffe | 1, pts << 1 & 0xfffe | 1];
    let mut pes = vec![0, 0, 1, 0xbd, 0, (8 + text.len()) as u8, 0x84, 0x80, 5, a as u8];
    pes.extend((b as u16).to_be_bytes());
    pes.extend((c as u16).to_be_bytes());
    pes.extend(text);
    let [high, low] = WORDS.to_be_bytes();
    let stuffing = PACKET - 5 - pes.len();
    let mut packet = vec![0x47, 0x40 | high, low, 0x30 | number & 0x0f, stuffing as u8, 0];
    packet.resize(5 + stuffing, 0xff);
    packet.extend(pes);
    packet
}

#[test]
fn words_are_told_in_every_rendition_of_the_pictures() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "reduced", json!({}));
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
            grows(&server, &stream, "slate_pictures_total", SLATES);
            encoder = push();
            grows(&server, &stream, "live_pictures_total", BACK);
        }
        until("words", || {
            records.iter_mut().for_each(Record::reload);
            let pictures = records.iter().filter(|record| record.rendition.kind == "video");
            all = pictures.map(words).collect();
            all.iter().all(|words| words.len() >= turn * ENOUGH).then_some(())
        });
    }
    assert_eq!(all.len(), 2, "two renditions of the pictures");
    let (one, other) = (&all[0], &all[1]);
    assert!(
        one.iter().zip(other).all(|(one, other)| one.id == other.id && (one.at - other.at).abs() < 0.001),
        "{all:?}"
    );
    assert!(one.windows(2).all(|pair| pair[1].id == pair[0].id + 1 && pair[1].at > pair[0].at), "{one:?}");
    // Between two encoders there is a gap, and where the machine is busy media is laid anew.
    let even = one.windows(2).filter(|pair| (pair[1].at - pair[0].at - 1.0).abs() <= FRAME).count();
    assert!(even * 2 > one.len(), "{one:?}");
}

/// What a rendition tells.
fn words(record: &Record) -> Vec<Told> {
    let bodies = record.segments.iter().map(|listed| record.rendition.fetch(&listed.segment.uri).body);
    bodies.flat_map(|body| told(&body)).collect()
}
