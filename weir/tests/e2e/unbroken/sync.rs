//! Pictures and sound stay together however often the encoder returns, and whatever its clock says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{BACK, SLATES, encoded, grows};
use crate::support::{Encoder, Server, Stream, shared};

/// Pictures and sound of one moment are together when they are no further apart, in seconds.
const TOGETHER: f64 = 0.040;
/// Beeps are a second apart; where they are further there was a gap.
const GAP: f64 = 1.5;
/// Beeps of each encoder that are looked at, at the least.
const ENOUGH: usize = 3;

/// White for a tenth of each second, and a tone with it.
fn flashes() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clips");
    std::fs::create_dir_all(&folder).expect("a folder for clips");
    let path = folder.join("flashes.mkv");
    if !path.exists() {
        let draft = path.with_extension("draft");
        let on = "between(mod(T\\,1)\\,0.499\\,0.599)";
        let words = format!(
            "-hide_banner -nostdin -loglevel error -y -f lavfi -i \
             color=black:size=320x180:rate=30,geq=lum=16+219*{on}:cb=128:cr=128 -f lavfi -i aevalsrc=0.5*sin(2764*t)*{}:s=48000 -t 20 \
             -pix_fmt yuv420p -c:v libx264 -preset ultrafast -sc_threshold 0 -bf 0 -g 30 -c:a aac -b:a 96k -ac 2 -f matroska",
            on.replace('T', "t"),
        );
        let run = Command::new("ffmpeg").args(words.split_whitespace()).arg(&draft).output().expect("ffmpeg runs");
        assert!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
        std::fs::rename(&draft, &path).expect("the clip gets its name");
    }
    path
}

/// Pushes the flashes with a clock that begins at `offset` seconds.
fn push(format: &str, url: &str, offset: &str) -> Encoder {
    let file = flashes();
    let file = file.to_str().expect("a UTF-8 path");
    Encoder::ffmpeg(&["-re", "-i", file, "-c", "copy", "-output_ts_offset", offset, "-f", format, url])
}

/// Plays the stream to its end, and says when it is black and when silent.
fn listen(server: &Server, stream: &Stream) -> Encoder {
    let url = server.playlist_url(stream);
    let filters = ["-vf", "blackdetect=d=0.1:pix_th=0.5:pic_th=0.9", "-af", "silencedetect=noise=-20dB:d=0.1"];
    let head = ["-i", &url, "-map", "0:v:0", "-map", "0:a:0"];
    Encoder::ffmpeg(&[&head[..], &filters, &["-f", "null", "-"]].concat())
}

/// The numbers that follow `name` in what was said.
fn times(said: &str, name: &str) -> Vec<f64> {
    let number = |text: &str| text.trim_start().split([' ', '\n']).next().and_then(|word| word.parse().ok());
    said.split(name).skip(1).filter_map(number).collect()
}

#[test]
fn pictures_and_sound_stay_together_over_returns() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "reduced", json!({ "reconnect_window": 6 }));
    let (rtmp, srt) = (server.rtmp_url(&stream.key), server.srt_url(&stream));
    let mut encoder = push("flv", &rtmp, "0");
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    let mut player = listen(&server, &stream);
    grows(&server, &stream, "live_pictures_total", 2 * BACK);
    for (format, url, offset) in [("mpegts", &srt, "0"), ("flv", &rtmp, "3600"), ("mpegts", &srt, "95443")] {
        encoder.kill();
        grows(&server, &stream, "slate_pictures_total", SLATES);
        encoder = push(format, url, offset);
        grows(&server, &stream, "live_pictures_total", 3 * BACK);
    }
    encoder.kill();
    player.wait_for_success();
    let said = player.output();
    let (flashes, mut beeps) = (times(&said, "black_end:"), times(&said, "silence_end:"));
    // The last silence ends with the programme.
    beeps.pop();
    let encoders: Vec<_> = beeps.chunk_by(|one, next| next - one < GAP).collect();
    assert_eq!(encoders.len(), 4, "{flashes:?}, {beeps:?}");
    for beeps in encoders {
        // The encoder may be killed within the last one.
        let whole = &beeps[..beeps.len() - 1];
        assert!(whole.len() >= ENOUGH, "{beeps:?}");
        for beep in whole {
            let off = flashes.iter().map(|flash| (flash - beep).abs()).fold(f64::INFINITY, f64::min);
            assert!(off <= TOGETHER, "the beep at {beep} is {off} s from a flash: {flashes:?}, {beeps:?}");
        }
    }
}
