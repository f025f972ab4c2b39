//! Enhanced RTMP from ffmpeg 9: every pushed frame is played, for all codecs, and unsupported codecs are reported.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::players;
use crate::support::{Encoder, Server, alone, encode, ffmpeg9, hashes, kept, shared, until};

pub(crate) const HEVC: &str = "-c:v libx265 -preset ultrafast \
     -x265-params log-level=none:keyint=30:min-keyint=30:scenecut=0:open-gop=0:bframes=2";
pub(crate) const AV1: &str = "-c:v libsvtav1 -preset 12 -g 30 -svtav1-params scd=0:keyint=30";
const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -keyint_min 30 -b:v 600k";
const AVC: &str = "-c:v libx264 -preset veryfast -g 30 -sc_threshold 0 -bf 2";
pub(crate) const AAC: &str = "-c:a aac -b:a 96k -ac 2";

/// Returns a clip of eight seconds with one video track and an audio track for each of `tones`, encoded once.
pub(crate) fn programme(name: &str, tones: &[&str], encoders: &str) -> PathBuf {
    programme_of(8, name, tones, encoders)
}

fn programme_of(seconds: u64, name: &str, tones: &[&str], encoders: &str) -> PathBuf {
    let mut arguments = "-f lavfi -i testsrc2=size=640x360:rate=30".to_owned();
    for tone in tones {
        arguments.push_str(&format!(" -f lavfi -i sine=frequency={tone}:sample_rate=48000"));
    }
    (0..=tones.len()).for_each(|input| arguments.push_str(&format!(" -map {input}")));
    arguments.push_str(&format!(" -t {seconds} -pix_fmt yuv420p {encoders} -f matroska"));
    kept(&format!("enhanced-{name}-{seconds}.mkv"), |draft| encode(ffmpeg9(), &arguments, draft))
}

/// Pushes a file as it is, in real time.
pub(crate) fn push(file: &Path, url: &str) -> Encoder {
    let file = file.to_str().expect("a UTF-8 path");
    let arguments =
        ["-hide_banner", "-nostdin", "-nostats", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "flv", url];
    Encoder::run(ffmpeg9(), &arguments)
}

/// Pushes a clip, and compares the decoded video frames and the packets of each audio track. `codecs` must be in
/// CODECS.
fn assert_carried(file: &Path, audio_tracks: usize, codecs: &[&str]) {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let mut encoder = push(file, &server.rtmp_url(&stream.key));
    let playback = server.playback(&stream);
    let renditions = playback.renditions();
    let multivariant = playback.answer().text();
    for codec in codecs {
        assert!(multivariant.contains(codec), "{codec} is not in {multivariant}");
    }
    let audio: Vec<_> = renditions.iter().filter(|rendition| rendition.kind == "audio").collect();
    // There is one variant per audio codec, so the video may be listed more than once.
    assert_eq!(audio.len(), audio_tracks, "{multivariant}");
    encoder.wait_for_success();
    for rendition in &renditions {
        let whole = rendition.wait_for("the end of the list", |list| list.ended);
        assert_eq!(whole.first, 0, "the window holds the whole clip");
        assert!(!whole.segments.iter().any(|segment| segment.discontinuity), "{}", whole.text);
    }

    let pushed = file.to_str().expect("a UTF-8 path");
    let video = ["-map", "0:v:0", "-fps_mode", "passthrough"];
    let played = server.playlist_url(&stream);
    assert_eq!(hashes(ffmpeg9(), &played, &video), hashes(ffmpeg9(), pushed, &video));
    for (track, rendition) in audio.iter().enumerate() {
        let played = format!("{}{}", server.base(), rendition.path);
        let selected = format!("0:a:{track}");
        let packets = hashes(ffmpeg9(), pushed, &["-map", &selected, "-c", "copy"]);
        assert_eq!(hashes(ffmpeg9(), &played, &["-map", "0:a:0", "-c", "copy"]), packets, "audio track {track}");
    }
}

#[test]
fn hevc_with_aac() {
    let file = programme("hevc-aac", &["440"], &format!("{HEVC} {AAC}"));
    assert_carried(&file, 1, &["hvc1.1.6.L63.90", "mp4a.40.2"]);
}

#[test]
fn av1_with_opus() {
    let file = programme("av1-opus", &["440"], &format!("{AV1} -c:a libopus -b:a 96k -ac 2"));
    assert_carried(&file, 1, &["av01.0.", "Opus"]);
}

#[test]
fn chromium_plays_av1_with_opus() {
    let seconds = players::seconds() + 30;
    let file = programme_of(seconds, "av1-opus", &["440"], &format!("{AV1} -c:a libopus -b:a 96k -ac 2"));
    let _machine = alone();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let _encoder = push(&file, &server.rtmp_url(&stream.key));
    server.playback(&stream).main().wait_for("three segments", |list| list.segments.len() >= 3);
    players::assert_plays_in_chromium("watch", &server.watch_url(&stream));
}

#[test]
fn vp9_with_flac() {
    let file = programme("vp9-flac", &["440"], &format!("{VP9} -c:a flac"));
    assert_carried(&file, 1, &["vp09.00.", "fLaC"]);
}

#[test]
fn avc_with_ac3() {
    let file = programme("avc-ac3", &["440"], &format!("{AVC} -c:a ac3 -b:a 192k -ac 2"));
    assert_carried(&file, 1, &["avc1.", "ac-3"]);
}

#[test]
fn several_audio_tracks() {
    let audio = "-c:a:0 aac -b:a:0 96k -ac:a:0 2 -c:a:1 aac -b:a:1 64k -ac:a:1 1 -c:a:2 eac3 -b:a:2 192k -ac:a:2 2";
    let file = programme("avc-multitrack", &["440", "660", "880"], &format!("{AVC} {audio}"));
    assert_carried(&file, 3, &["avc1.", "mp4a.40.2", "ec-3"]);
}

#[test]
fn an_unsupported_codec_is_reported() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let source = "-hide_banner -nostdin -nostats -re -f lavfi -i testsrc2=size=320x180:rate=30 -t 60";
    let url = server.rtmp_url(&stream.key);
    let arguments: Vec<_> = source.split(' ').chain("-c:v flv -f flv".split(' ')).chain([&*url]).collect();
    let mut encoder = Encoder::run(ffmpeg9(), &arguments);
    assert!(!encoder.wait().success(), "the encoder is disconnected");
    assert!(encoder.output().contains("Sorenson H.263"), "{}", encoder.output());
    until("the log message", || server.log().contains("video track 0 (Sorenson H.263) is left out").then_some(()));
}
