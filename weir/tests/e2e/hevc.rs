//! HEVC with two audio tracks over SRT. Every pushed frame is played, except for those in transit at the end.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::enhanced_rtmp::{AAC, HEVC, programme};
use crate::support::{BOUND, Encoder, Playback, Server, ffmpeg9, hashes, shared, until_within};

/// Video frames that SRT may still buffer when an encoder disconnects.
const MAX_LOST_VIDEO: usize = 45;
/// AAC frames that SRT may still buffer when an encoder disconnects.
const MAX_LOST_AUDIO: usize = 75;
/// Video frames of the programmes.
const FRAMES: usize = 240;

/// Checks that HEVC and two audio renditions are listed, and that those are named by language if the encoder signals
/// it.
fn assert_listed(playback: &Playback, languages: &[&str]) {
    let renditions = playback.renditions();
    let multivariant = playback.answer().text();
    assert!(multivariant.contains("hvc1.1.6.L"), "{multivariant}");
    assert!(multivariant.contains("mp4a.40.2"), "{multivariant}");
    assert_eq!(renditions.iter().filter(|rendition| rendition.kind == "audio").count(), 2, "{multivariant}");
    for language in languages {
        assert!(multivariant.contains(&format!("LANGUAGE=\"{language}\"")), "{multivariant}");
    }
}

/// Compares the decoded video frames, and the packets of each audio track, with those of the pushed file.
fn assert_carried(server: &Server, playback: &Playback, url: &str, file: &Path) {
    let renditions = playback.renditions();
    for rendition in &renditions {
        let whole = rendition.wait_for("the end of the list", |list| list.ended);
        assert_eq!(whole.first, 0, "the window holds the whole clip");
        assert!(!whole.segments.iter().any(|segment| segment.discontinuity), "{}", whole.text);
    }
    let file = file.to_str().expect("a UTF-8 path");
    let video = ["-map", "0:v:0", "-fps_mode", "passthrough"];
    let pushed = hashes(ffmpeg9(), file, &video);
    assert_eq!(pushed.len(), FRAMES);
    assert_common(&pushed, &hashes(ffmpeg9(), url, &video), MAX_LOST_VIDEO);
    let audio = renditions.iter().filter(|rendition| rendition.kind == "audio");
    for (track, rendition) in audio.enumerate() {
        let (played, selected) = (format!("{}{}", server.base(), rendition.path), format!("0:a:{track}"));
        let pushed = hashes(ffmpeg9(), file, &["-map", &selected, "-c", "copy"]);
        let played = hashes(ffmpeg9(), &played, &["-map", "0:a:0", "-c", "copy"]);
        assert_common(&pushed, &played, MAX_LOST_AUDIO);
    }
}

/// Checks that all frames are the same, except for the last ones. Frames are sent in decode order, so a missing frame
/// may precede one that was received.
fn assert_common(pushed: &[String], played: &[String], missing: usize) {
    let common = played.iter().zip(pushed).take_while(|(one, other)| one == other).count();
    assert!(common + missing >= pushed.len(), "{common} frames of {} are the same", pushed.len());
}

#[test]
fn ffmpeg_pushes_hevc_with_two_audio_tracks() {
    let _machine = shared();
    let languages = "-metadata:s:a:0 language=eng -metadata:s:a:1 language=deu";
    let file = programme("hevc-two-languages", &["440", "660"], &format!("{HEVC} {AAC} {languages}"));
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let (source, url) = (file.to_str().expect("a UTF-8 path"), server.srt_url(&stream));
    let arguments = ["-re", "-i", source, "-map", "0", "-c", "copy", "-f", "mpegts", &url];
    let mut encoder = Encoder::ffmpeg(&arguments);
    let playback = server.playback(&stream);
    assert_listed(&playback, &["en", "de"]);
    encoder.wait_for_success();
    assert_carried(&server, &playback, &server.playlist_url(&stream), &file);
}

/// The pipeline also writes the output of x265enc and avenc_aac to a file.
#[test]
fn gstreamer_pushes_hevc_with_two_audio_tracks() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pushed.mp4");
    let audio = |tone: u32| {
        format!(
            "audiotestsrc is-live=true num-buffers=375 freq={tone} ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! \
             aacparse ! tee name=t{tone} t{tone}. ! queue ! mux. t{tone}. ! queue ! kept. "
        )
    };
    let mut encoder = Encoder::gst(&format!(
        "mpegtsmux name=mux alignment=7 ! srtsink uri=srt://127.0.0.1:{} streamid={} passphrase={} pbkeylen=16 \
         mp4mux name=kept ! filesink location={} \
         videotestsrc is-live=true num-buffers={FRAMES} pattern=ball ! \
         video/x-raw,width=320,height=180,framerate=30/1,format=I420 ! \
         x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=600 ! h265parse ! tee name=video \
         video. ! queue ! h265parse ! mux. video. ! queue ! h265parse ! kept. {} {}",
        server.srt_port(),
        stream.key,
        stream.srt_passphrase,
        file.display(),
        audio(440),
        audio(660)
    ));
    let playback = server.playback(&stream);
    assert_listed(&playback, &[]);
    let ended = until_within(BOUND + Duration::from_secs(20), "GStreamer to end", || encoder.exit_status());
    assert!(ended.success(), "{}", encoder.output());
    assert_carried(&server, &playback, &server.playlist_url(&stream), &file);
}
