//! Pictures and sound stay together however often the encoder returns, and whatever its clock says.

use serde_json::json;

use super::{BACK, SLATES, encoded, grows};
use crate::support::flashes::{self, Witness};
use crate::support::{Encoder, Server, Stream, kept, shared};

/// Pictures and sound of one moment are together when they are no further apart, in seconds.
const TOGETHER: f64 = 0.040;
/// Beeps are a second apart; where they are further there was a gap.
const GAP: f64 = 1.5;
/// Beeps of each encoder that are looked at, at the least.
const ENOUGH: usize = 3;

/// Pushes the flashes with a clock that begins at `offset` seconds.
fn push(format: &str, url: &str, offset: &str) -> Encoder {
    let file = kept("flashes_and_beeps.mkv", |draft| flashes::make(draft).expect("ffmpeg makes it"));
    let file = file.to_str().expect("a UTF-8 path");
    Encoder::ffmpeg(&["-re", "-i", file, "-c", "copy", "-output_ts_offset", offset, "-f", format, url])
}

/// Plays the stream to its end.
fn play(server: &Server, stream: &Stream, witness: &Witness) -> Encoder {
    let (url, outputs) = (server.playlist_url(stream), witness.outputs());
    let words: Vec<_> = ["-i", &url].into_iter().chain(outputs.iter().map(String::as_str)).collect();
    Encoder::ffmpeg(&words)
}

#[test]
fn pictures_and_sound_stay_together_over_returns() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "reduced", json!({ "reconnect_window": 6 }));
    let (rtmp, srt) = (server.rtmp_url(&stream.key), server.srt_url(&stream));
    let mut encoder = push("flv", &rtmp, "0");
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let witness = Witness::new(folder.path());
    let mut player = play(&server, &stream, &witness);
    grows(&server, &stream, "live_pictures_total", 2 * BACK);
    for (format, url, offset) in [("mpegts", &srt, "0"), ("flv", &rtmp, "3600"), ("mpegts", &srt, "95443")] {
        encoder.kill();
        grows(&server, &stream, "slate_pictures_total", SLATES);
        encoder = push(format, url, offset);
        grows(&server, &stream, "live_pictures_total", 3 * BACK);
    }
    encoder.kill();
    player.wait_for_success();
    let (flashes, beeps) = witness.onsets().expect("flashes and beeps were seen");
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
