//! Several sounds in an encoded programme: each is a rendition of its own, and stays one whoever sends it.

use std::process::Command;

use serde_json::json;

use super::{BACK, SLATES, encoded, grows};
use crate::encoder_change::Record;
use crate::support::{Encoder, Rendition, Segment, Server, ffmpeg9, shared, until};

/// Pitches may be told wrong by so much, in Hz.
const OFF: f64 = 15.0;
/// Samples that are listened to at once.
const PART: usize = 4_800;

/// Pushes pictures and tones of these pitches, each in a language where one is told.
fn push(url: &str, tones: &[(u32, &str)]) -> Encoder {
    // The static build has no SRT, and Debian's no tracks in RTMP.
    let (program, format) = if url.starts_with("srt") { ("ffmpeg", "mpegts") } else { (ffmpeg9(), "flv") };
    let mut words = "-hide_banner -nostdin -nostats -re -f lavfi -i testsrc2=size=320x180:rate=30".to_owned();
    let mut maps = " -map 0".to_owned();
    for (n, (pitch, language)) in tones.iter().enumerate() {
        words.push_str(&format!(" -re -f lavfi -i sine=frequency={pitch}:sample_rate=48000"));
        maps.push_str(&format!(" -map {} -metadata:s:a:{n} language={language}", n + 1));
    }
    words.push_str(&maps);
    words.push_str(&format!(" -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a aac -ac 2 -f {format} {url}"));
    Encoder::run(program, &words.split_whitespace().collect::<Vec<_>>())
}

/// How high the tone of most of a segment is, in Hz: half as many times a second as it changes its sign.
fn pitch(sound: &Rendition, segment: &Segment) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("sound.mp4");
    let bytes = [sound.fetch(&segment.map).body, sound.fetch(&segment.uri).body].concat();
    std::fs::write(&file, bytes).expect("a file");
    let words = ["-hide_banner", "-nostdin", "-loglevel", "error", "-i", file.to_str().expect("a UTF-8 path")];
    let run = Command::new("ffmpeg").args(words).args(["-ac", "1", "-f", "s16le", "-"]).output().expect("ffmpeg runs");
    assert!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
    let samples: Vec<_> = run.stdout.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]) >= 0).collect();
    let changes = |part: &[bool]| part.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let mut heard: Vec<_> = samples.chunks_exact(PART).map(changes).collect();
    heard.sort_unstable();
    heard[heard.len() / 2] as f64 * 24_000.0 / PART as f64
}

#[test]
fn every_sound_is_a_rendition_and_stays_one() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({ "new_asset_settings": { "video_quality": "premium" } }));
    let (srt, rtmp) = (server.srt_url(&stream), server.rtmp_url(&stream.key));
    let turns: [(&str, &[(u32, &str)]); 3] = [
        (&srt, &[(440, "eng"), (880, "deu")]),
        // Its languages tell which is which, and then their places do. One more joins them.
        (&srt, &[(880, "deu"), (440, "eng"), (660, "fra")]),
        (&rtmp, &[(440, "und"), (880, "und")]),
    ];
    let mut encoder = push(turns[0].0, turns[0].1);
    let playback = server.playback(&stream);
    let renditions = playback.renditions();
    let listed = playback.answer().text();
    for group in ["audio", "audio-1"] {
        let english = format!("GROUP-ID=\"{group}\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES");
        let german = format!("GROUP-ID=\"{group}\",NAME=\"German\",LANGUAGE=\"de\",DEFAULT=NO");
        assert!(listed.contains(&english) && listed.contains(&german), "{listed}");
    }
    let sounds: Vec<_> = renditions.iter().filter(|rendition| rendition.kind == "audio").collect();
    assert_eq!(sounds.len(), 4, "{listed}");
    let mut records: Vec<_> = renditions.iter().cloned().map(Record::new).collect();
    for (n, (url, tones)) in turns.iter().enumerate() {
        if n > 0 {
            encoder.kill();
            grows(&server, &stream, "slate_pictures_total", SLATES);
            encoder = push(url, tones);
        }
        grows(&server, &stream, "live_pictures_total", BACK);
        let next = sounds[0].playlist().segments.last().map_or(0, |segment| segment.number) + 2;
        let there = |segment: &&Segment| segment.number == next;
        // The English and the German one, and both with fewer bits.
        for (sound, wanted) in sounds.iter().zip([440.0, 880.0, 440.0, 880.0]) {
            let list = sound.wait_for("a segment of it", |list| list.segments.iter().any(|segment| there(&segment)));
            let heard = pitch(sound, list.segments.iter().find(there).expect("the segment"));
            assert!((heard - wanted).abs() <= OFF, "turn {n}: {heard} Hz in the place of {wanted}");
        }
        records.iter_mut().for_each(Record::reload);
        if tones.len() > 2 {
            let named = |text: &str| text.matches("NAME=\"French\",LANGUAGE=\"fr\",DEFAULT=NO").count() == 2;
            until("a third sound", || named(&playback.answer().text()).then_some(()));
            let third = playback.renditions().into_iter().filter(|rendition| rendition.kind == "audio").nth(2);
            let third = third.expect("a third sound");
            let list = third.wait_for("two segments", |list| list.segments.len() >= 2);
            let heard = pitch(&third, &list.segments[1]);
            assert!((heard - 660.0).abs() <= OFF, "{heard} Hz in the place of 660");
        }
    }
    for record in &records {
        assert_eq!(record.runs().len(), 1, "{} breaks", record.rendition.path);
        record.assert_continuous();
    }
}
