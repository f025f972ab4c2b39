//! A network with packet loss between an SRT encoder and the server, which viewers do not notice.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::players::assert_plays_in_chromium;
use crate::support::{Clip, Encoder, Link, Lossy, Server, Stream, alone, audio_hashes, clip, shared, video_hashes};

/// Loses one packet of twenty, with a round trip of 50 ms.
const BAD: Link = Link { per_mille: 50, delay: Duration::from_millis(25), seed: 20 };
/// Video frames that may be lost when an encoder disconnects, because SRT's live mode does not wait for them.
const MAX_LOST_VIDEO: usize = 60;
/// AAC frames that may be lost when an encoder disconnects.
const MAX_LOST_AUDIO: usize = 100;

/// A programme that is pushed over a lossy link.
struct Push {
    lossy: Lossy,
    encoder: Encoder,
}

impl Push {
    fn start(server: &Server, stream: &Stream, file: &Path, more: &[&str]) -> Self {
        let lossy = Lossy::start(BAD, SocketAddr::from((Ipv4Addr::LOCALHOST, server.srt_port()))).expect("a relay");
        let Stream { key, srt_passphrase, .. } = stream;
        let query = format!("streamid={key}&passphrase={srt_passphrase}&latency=500000&pkt_size=1316");
        let url = format!("srt://{}?{query}", lossy.address());
        let file = file.to_str().expect("a UTF-8 path");
        let encoder = Encoder::ffmpeg(&[&["-re"], more, &["-i", file, "-c", "copy", "-f", "mpegts", &url]].concat());
        Self { lossy, encoder }
    }

    /// Checks that packets were lost, that SRT recovered all of them, and that the demuxer missed nothing.
    fn assert_recovered(&self, server: &Server, stream: &Stream) {
        let metrics = server.client().get("/metrics").text();
        let metric = |name: &str| -> u64 {
            let head = format!("weir_srt_{name}_total{{live_stream=\"{}\"}} ", stream.id);
            let line = metrics.lines().find_map(|line| line.strip_prefix(&head));
            line.unwrap_or_else(|| panic!("no {head} in {metrics}")).parse().expect("a number")
        };
        assert!(self.lossy.lost() > 0 && metric("lost_packets") > 0, "no packet was lost");
        assert!(metric("retransmitted_packets") > 0, "nothing was retransmitted");
        assert_eq!(metric("dropped_packets"), 0, "packets arrived too late");
        assert_eq!(metric("undecrypted_packets"), 0);
        assert_eq!(metric("continuity_errors"), 0);
    }
}

#[test]
fn hls_js_does_not_stall_with_packet_loss() {
    let _machine = alone();
    let server = Server::start();
    let stream = server.api().create("low", json!({}));
    let push = Push::start(&server, &stream, &clip(&Clip::plain(120)), &["-stream_loop", "-1"]);
    server.playback(&stream).main().wait_for("three target durations", |list| {
        let listed: f64 = list.segments.iter().map(|segment| segment.duration).sum();
        listed >= 3.0 * list.target_duration
    });
    assert_plays_in_chromium("watch", &server.watch_url(&stream));
    push.assert_recovered(&server, &stream);
}

#[test]
fn every_frame_is_played_with_packet_loss() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let file = clip(&Clip::plain(20));
    let mut push = Push::start(&server, &stream, &file, &[]);
    let main = server.playback(&stream).main();
    push.encoder.wait_for_success();
    push.assert_recovered(&server, &stream);
    let whole = main.wait_for("the end of the list", |list| list.ended);
    assert_eq!(whole.first, 0, "the window holds the whole clip");
    assert!(!whole.segments.iter().any(|segment| segment.discontinuity), "{}", whole.text);
    // Fails on any complaint of the decoder.
    let (pushed, played) = (file.display().to_string(), server.playlist_url(&stream));
    assert_begins_with(&video_hashes(&pushed), &video_hashes(&played), MAX_LOST_VIDEO);
    assert_begins_with(&audio_hashes(&pushed), &audio_hashes(&played), MAX_LOST_AUDIO);
}

/// Checks that all frames are the same, except for at most `missing` at the end.
fn assert_begins_with(pushed: &[String], played: &[String], missing: usize) {
    assert!(played.len() + missing >= pushed.len(), "{} frames of {}", played.len(), pushed.len());
    let common = played.iter().zip(pushed).take_while(|(one, other)| one == other).count();
    assert_eq!(common, played.len(), "frame {common} differs");
}
