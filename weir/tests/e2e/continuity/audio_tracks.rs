//! Several audio tracks in a transcoded programme. Each is a rendition, and stays the same rendition over encoder
//! changes.

use std::process::Command;

use serde_json::json;

use super::{LIVE_FRAMES, SLATE_FRAMES, transcoded, wait_for_growth};
use crate::encoder_change::Record;
use crate::support::{Encoder, Rendition, Segment, Server, ffmpeg9, shared, until};

/// Tolerance of the measured pitch, in Hz.
const PITCH_TOLERANCE: f64 = 15.0;
/// Samples of one measurement.
const BLOCK: usize = 4_800;

/// Pushes video and one audio track for each pitch, with its language tag.
fn push(url: &str, tones: &[(u32, &str)]) -> Encoder {
    // The static build of ffmpeg lacks SRT, and Debian's lacks multitrack RTMP.
    let (program, format) = if url.starts_with("srt") { ("ffmpeg", "mpegts") } else { (ffmpeg9(), "flv") };
    let mut arguments = "-hide_banner -nostdin -nostats -re -f lavfi -i testsrc2=size=320x180:rate=30".to_owned();
    let mut maps = " -map 0".to_owned();
    for (n, (pitch, language)) in tones.iter().enumerate() {
        arguments.push_str(&format!(" -re -f lavfi -i sine=frequency={pitch}:sample_rate=48000"));
        maps.push_str(&format!(" -map {} -metadata:s:a:{n} language={language}", n + 1));
    }
    arguments.push_str(&maps);
    arguments
        .push_str(&format!(" -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a aac -ac 2 -f {format} {url}"));
    Encoder::run(program, &arguments.split_whitespace().collect::<Vec<_>>())
}

/// Returns the pitch of most of a segment, in Hz: half the number of sign changes per second.
fn pitch(rendition: &Rendition, segment: &Segment) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("audio.mp4");
    let bytes = [rendition.fetch(&segment.map).body, rendition.fetch(&segment.uri).body].concat();
    std::fs::write(&file, bytes).expect("a file");
    let arguments = ["-hide_banner", "-nostdin", "-loglevel", "error", "-i", file.to_str().expect("a UTF-8 path")];
    let run =
        Command::new("ffmpeg").args(arguments).args(["-ac", "1", "-f", "s16le", "-"]).output().expect("ffmpeg runs");
    assert!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
    let samples: Vec<_> = run.stdout.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]) >= 0).collect();
    let changes = |block: &[bool]| block.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let mut counts: Vec<_> = samples.chunks_exact(BLOCK).map(changes).collect();
    counts.sort_unstable();
    counts[counts.len() / 2] as f64 * 24_000.0 / BLOCK as f64
}

#[test]
fn every_audio_track_stays_one_rendition() {
    let _machine = shared();
    let server = Server::start();
    let stream = transcoded(&server, "low", json!({ "new_asset_settings": { "video_quality": "premium" } }));
    let (srt, rtmp) = (server.srt_url(&stream), server.rtmp_url(&stream.key));
    let turns: [(&str, &[(u32, &str)]); 3] = [
        (&srt, &[(440, "eng"), (880, "deu")]),
        // Tracks are matched by language, and in the last turn by position. Here one more track joins.
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
    let audio: Vec<_> = renditions.iter().filter(|rendition| rendition.kind == "audio").collect();
    assert_eq!(audio.len(), 4, "{listed}");
    let mut records: Vec<_> = renditions.iter().cloned().map(Record::new).collect();
    for (n, (url, tones)) in turns.iter().enumerate() {
        if n > 0 {
            encoder.kill();
            wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
            encoder = push(url, tones);
        }
        wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
        let next = audio[0].playlist().segments.last().map_or(0, |segment| segment.number) + 2;
        let is_next = |segment: &&Segment| segment.number == next;
        // The English and the German track, and then both at the lower bit rate.
        for (rendition, expected) in audio.iter().zip([440.0, 880.0, 440.0, 880.0]) {
            let list = rendition.wait_for("the segment", |list| list.segments.iter().any(|segment| is_next(&segment)));
            let measured = pitch(rendition, list.segments.iter().find(is_next).expect("the segment"));
            assert!((measured - expected).abs() <= PITCH_TOLERANCE, "turn {n}: {measured} Hz instead of {expected}");
        }
        records.iter_mut().for_each(Record::reload);
        if tones.len() > 2 {
            let named = |text: &str| text.matches("NAME=\"French\",LANGUAGE=\"fr\",DEFAULT=NO").count() == 2;
            until("a third audio rendition", || named(&playback.answer().text()).then_some(()));
            let third = playback.renditions().into_iter().filter(|rendition| rendition.kind == "audio").nth(2);
            let third = third.expect("a third audio rendition");
            let list = third.wait_for("two segments", |list| list.segments.len() >= 2);
            let measured = pitch(&third, &list.segments[1]);
            assert!((measured - 660.0).abs() <= PITCH_TOLERANCE, "{measured} Hz instead of 660");
        }
    }
    for record in &records {
        assert_eq!(record.periods().len(), 1, "{} has a discontinuity", record.rendition.path);
        record.assert_continuous();
    }
}
