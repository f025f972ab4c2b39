//! Video and audio stay in sync over encoder changes, whatever the clock of the encoder is.

use serde_json::json;

use super::{LIVE_FRAMES, SLATE_FRAMES, transcoded, wait_for_growth};
use crate::support::flashes::{self, SyncProbe};
use crate::support::{Encoder, Server, Stream, kept, shared};

/// Maximum offset between video and audio, in seconds.
const MAX_OFFSET: f64 = 0.040;
/// Beeps are a second apart. A longer distance is a gap between two encoders, in seconds.
const GAP: f64 = 1.5;
/// Minimum number of beeps of each encoder.
const ENOUGH: usize = 3;

/// Pushes the flashes and beeps with a clock that starts at `offset` seconds.
fn push(format: &str, url: &str, offset: &str) -> Encoder {
    let file = kept("flashes_and_beeps.mkv", |draft| flashes::make(draft).expect("ffmpeg makes it"));
    let file = file.to_str().expect("a UTF-8 path");
    Encoder::ffmpeg(&["-re", "-i", file, "-c", "copy", "-output_ts_offset", offset, "-f", format, url])
}

/// Plays the stream to its end.
fn play(server: &Server, stream: &Stream, probe: &SyncProbe) -> Encoder {
    let (url, outputs) = (server.playlist_url(stream), probe.outputs());
    let arguments: Vec<_> = ["-i", &url].into_iter().chain(outputs.iter().map(String::as_str)).collect();
    Encoder::ffmpeg(&arguments)
}

#[test]
fn video_and_audio_stay_in_sync_over_reconnects() {
    let _machine = shared();
    let server = Server::start();
    let stream = transcoded(&server, "reduced", json!({ "reconnect_window": 6 }));
    let (rtmp, srt) = (server.rtmp_url(&stream.key), server.srt_url(&stream));
    let mut encoder = push("flv", &rtmp, "0");
    server.playback(&stream).main().wait_for("a segment", |list| !list.segments.is_empty());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let probe = SyncProbe::new(folder.path());
    let mut player = play(&server, &stream, &probe);
    wait_for_growth(&server, &stream, "live_pictures_total", 2 * LIVE_FRAMES);
    for (format, url, offset) in [("mpegts", &srt, "0"), ("flv", &rtmp, "3600"), ("mpegts", &srt, "95443")] {
        encoder.kill();
        wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
        encoder = push(format, url, offset);
        wait_for_growth(&server, &stream, "live_pictures_total", 3 * LIVE_FRAMES);
    }
    encoder.kill();
    player.wait_for_success();
    let (flashes, beeps) = probe.onsets().expect("flashes and beeps");
    let encoders: Vec<_> = beeps.chunk_by(|one, next| next - one < GAP).collect();
    assert_eq!(encoders.len(), 4, "{flashes:?}, {beeps:?}");
    for beeps in encoders {
        // The last beep may be cut off, because the encoder is killed.
        let whole = &beeps[..beeps.len() - 1];
        assert!(whole.len() >= ENOUGH, "{beeps:?}");
        for beep in whole {
            let offset = flashes.iter().map(|flash| (flash - beep).abs()).fold(f64::INFINITY, f64::min);
            assert!(offset <= MAX_OFFSET, "the beep at {beep} is {offset} s from a flash: {flashes:?}, {beeps:?}");
        }
    }
}
