//! HEVC with two audio tracks over SRT: what is played is what was pushed, but for what was on its way at the end.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::enhanced_rtmp::{AAC, HEVC, programme};
use crate::support::{BOUND, Encoder, Playback, Server, ffmpeg9, hashes, shared, until_within};

/// Pictures that SRT may still hold when an encoder hangs up.
const ON_THE_WAY: usize = 45;
/// AAC frames.
const SOUNDS_ON_THE_WAY: usize = 75;
/// Pictures of the programmes.
const PICTURES: usize = 240;

/// Two audio renditions, named by their language where the encoder tells it, beside HEVC as it is.
fn assert_announced(playback: &Playback, languages: &[&str]) {
    let renditions = playback.renditions();
    let multivariant = playback.answer().text();
    assert!(multivariant.contains("hvc1.1.6.L"), "{multivariant}");
    assert!(multivariant.contains("mp4a.40.2"), "{multivariant}");
    assert_eq!(renditions.iter().filter(|rendition| rendition.kind == "audio").count(), 2, "{multivariant}");
    for language in languages {
        assert!(multivariant.contains(&format!("LANGUAGE=\"{language}\"")), "{multivariant}");
    }
}

/// Compares the pictures decoded, and the packets of each audio track, with the file that was pushed.
fn assert_carried(server: &Server, playback: &Playback, url: &str, file: &Path) {
    let renditions = playback.renditions();
    for rendition in &renditions {
        let whole = rendition.wait_for("the end of the list", |list| list.ended);
        assert_eq!(whole.first, 0, "the window holds the whole clip");
        assert!(!whole.segments.iter().any(|segment| segment.discontinuity), "{}", whole.text);
    }
    let file = file.to_str().expect("a UTF-8 path");
    let pictures = ["-map", "0:v:0", "-fps_mode", "passthrough"];
    let pushed = hashes(ffmpeg9(), file, &pictures);
    assert_eq!(pushed.len(), PICTURES);
    assert_common(&pushed, &hashes(ffmpeg9(), url, &pictures), ON_THE_WAY);
    let audio = renditions.iter().filter(|rendition| rendition.kind == "audio");
    for (track, rendition) in audio.enumerate() {
        let (played, selected) = (format!("{}{}", server.base(), rendition.path), format!("0:a:{track}"));
        let pushed = hashes(ffmpeg9(), file, &["-map", &selected, "-c", "copy"]);
        let played = hashes(ffmpeg9(), &played, &["-map", "0:a:0", "-c", "copy"]);
        assert_common(&pushed, &played, SOUNDS_ON_THE_WAY);
    }
}

/// All is the same but for the last frames. Among the last pictures some are away that come before others which are there:
/// they are sent in the order of decoding.
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
    let words = ["-re", "-i", source, "-map", "0", "-c", "copy", "-f", "mpegts", &url];
    let mut encoder = Encoder::ffmpeg(&words);
    let playback = server.playback(&stream);
    assert_announced(&playback, &["en", "de"]);
    encoder.wait_for_success();
    assert_carried(&server, &playback, &server.playlist_url(&stream), &file);
}

/// x265enc's pictures and avenc_aac's sound go into a file too.
#[test]
fn gstreamer_pushes_hevc_with_two_audio_tracks() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pushed.mp4");
    let sound = |tone: u32| {
        format!(
            "audiotestsrc is-live=true num-buffers=375 freq={tone} ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! \
             aacparse ! tee name=t{tone} t{tone}. ! queue ! mux. t{tone}. ! queue ! kept. "
        )
    };
    let mut encoder = Encoder::gst(&format!(
        "mpegtsmux name=mux alignment=7 ! srtsink uri=srt://127.0.0.1:{} streamid={} passphrase={} pbkeylen=16 \
         mp4mux name=kept ! filesink location={} \
         videotestsrc is-live=true num-buffers={PICTURES} pattern=ball ! \
         video/x-raw,width=320,height=180,framerate=30/1,format=I420 ! \
         x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=600 ! h265parse ! tee name=pictures \
         pictures. ! queue ! h265parse ! mux. pictures. ! queue ! h265parse ! kept. {} {}",
        server.srt_port(),
        stream.key,
        stream.srt_passphrase,
        file.display(),
        sound(440),
        sound(660)
    ));
    let playback = server.playback(&stream);
    assert_announced(&playback, &[]);
    let ended = until_within(BOUND + Duration::from_secs(20), "GStreamer to end", || encoder.exit_status());
    assert!(ended.success(), "{}", encoder.output());
    assert_carried(&server, &playback, &server.playlist_url(&stream), &file);
}
