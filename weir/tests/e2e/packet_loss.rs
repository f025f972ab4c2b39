//! A bad network between an SRT encoder and the server: viewers see nothing of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::players::assert_plays_in_chromium;
use crate::support::{Clip, Encoder, Link, Lossy, Server, Stream, alone, audio_hashes, clip, shared, video_hashes};

/// One packet of twenty is lost, and the round trip takes 50 ms.
const BAD: Link = Link { per_mille: 50, delay: Duration::from_millis(25), seed: 20 };
/// Pictures that may still be on their way when an encoder hangs up: SRT's live mode does not wait for them.
const ON_THE_WAY: usize = 60;
/// The same for AAC frames.
const SOUNDS_ON_THE_WAY: usize = 100;

/// A programme pushed over a bad link: how much it lost, and the figures of the server.
struct Push {
    lossy: Lossy,
    encoder: Encoder,
}

impl Push {
    fn start(server: &Server, stream: &Stream, file: &Path, more: &[&str]) -> Self {
        let lossy = Lossy::start(BAD, SocketAddr::from((Ipv4Addr::LOCALHOST, server.srt_port()))).expect("a relay");
        let Stream { key, srt_passphrase, .. } = stream;
        let words = format!("streamid={key}&passphrase={srt_passphrase}&latency=500000&pkt_size=1316");
        let url = format!("srt://{}?{words}", lossy.address());
        let file = file.to_str().expect("a UTF-8 path");
        let encoder = Encoder::ffmpeg(&[&["-re"], more, &["-i", file, "-c", "copy", "-f", "mpegts", &url]].concat());
        Self { lossy, encoder }
    }

    /// The link was bad, SRT mended it, and the demuxer missed nothing.
    fn assert_mended(&self, server: &Server, stream: &Stream) {
        let metrics = server.client().get("/metrics").text();
        let figure = |name: &str| -> u64 {
            let head = format!("weir_srt_{name}_total{{live_stream=\"{}\"}} ", stream.id);
            let line = metrics.lines().find_map(|line| line.strip_prefix(&head));
            line.unwrap_or_else(|| panic!("no {head} in {metrics}")).parse().expect("a number")
        };
        assert!(self.lossy.lost() > 0 && figure("lost_packets") > 0, "the link was good");
        assert!(figure("retransmitted_packets") > 0, "nothing was sent again");
        assert_eq!(figure("dropped_packets"), 0, "packets came too late");
        assert_eq!(figure("undecrypted_packets"), 0);
        assert_eq!(figure("continuity_errors"), 0);
    }
}

#[test]
fn hls_js_sees_no_stall_behind_a_bad_link() {
    let _machine = alone();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let push = Push::start(&server, &stream, &clip(&Clip::plain(120)), &["-stream_loop", "-1"]);
    server.playback(&stream).main().wait_for("three target durations", |list| {
        let there: f64 = list.segments.iter().map(|segment| segment.duration).sum();
        there >= 3.0 * list.target_duration
    });
    assert_plays_in_chromium("watch", &server.watch_url(&stream));
    push.assert_mended(&server, &stream);
}

#[test]
fn every_frame_passes_a_bad_link() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let file = clip(&Clip::plain(20));
    let mut push = Push::start(&server, &stream, &file, &[]);
    let main = server.playback(&stream).main();
    push.encoder.wait_for_success();
    push.assert_mended(&server, &stream);
    let whole = main.wait_for("the end of the list", |list| list.ended);
    assert_eq!(whole.first, 0, "the window holds the whole clip");
    assert!(!whole.segments.iter().any(|segment| segment.discontinuity), "{}", whole.text);
    // A decoder that complains fails the test.
    let (pushed, played) = (file.display().to_string(), server.playlist_url(&stream));
    assert_begins_with(&video_hashes(&pushed), &video_hashes(&played), ON_THE_WAY);
    assert_begins_with(&audio_hashes(&pushed), &audio_hashes(&played), SOUNDS_ON_THE_WAY);
}

/// What is played is what was pushed, but for the last frames.
fn assert_begins_with(pushed: &[String], played: &[String], missing: usize) {
    assert!(played.len() + missing >= pushed.len(), "{} frames of {}", played.len(), pushed.len());
    let common = played.iter().zip(pushed).take_while(|(one, other)| one == other).count();
    assert_eq!(common, played.len(), "frame {common} differs");
}
