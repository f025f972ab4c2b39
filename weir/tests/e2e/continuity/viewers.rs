//! What people see who watch with hls.js while encoders and networks fail: the live picture, the same one held, the slate,
//! the live picture; never a stall or a jump.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use super::slates::red_picture;
use super::{BACK, FIRST, LARGER, SLATES, encoded, grows};
use crate::encoder_change::{AVC, By, HEVC, Turn};
use crate::players::player_folder;
use crate::support::{BOUND, Encoder, Relay, Server, Stream, alone, until, until_within};

/// Comes back over SRT with another codec and clock.
const OTHER: Turn = Turn { by: By::Srt, size: "640x360", encoder: HEVC, codec: "hvc1." };
/// Large enough for three rungs of premium quality, and small enough for machines that have a browser to run besides.
pub(super) const LADDER: Turn = Turn { by: By::Rtmp, size: "854x480", encoder: AVC, codec: "avc1." };
/// Its heights.
pub(super) const HEIGHTS: [u32; 3] = [480, 324, 216];
/// Pictures of the slate in a gap of three seconds, the first half of one being held.
const THREE_SECONDS: u64 = 75;
/// Kilobits a second that are too few for 480p, but enough for 324p.
const NARROW: u32 = 1_500;
/// Seconds for a script; only one who stands still for good needs them all.
const MOST: u64 = 90;

/// People who watch, each a browser page with its own script.
pub(crate) struct Viewers(Encoder);

impl Viewers {
    /// Each opens the watch page of a stream and goes through its steps (see `viewers.mjs`).
    pub(crate) fn start(server: &Server, scripts: &[(&Stream, Value)]) -> Self {
        let viewer = |(stream, steps): &(&Stream, Value)| json!({ "url": server.watch_url(stream), "steps": steps });
        let all = Value::from(scripts.iter().map(viewer).collect::<Vec<_>>()).to_string();
        let script = format!("{}/viewers.mjs", player_folder());
        let viewers = Self(Encoder::run("node", &[&script, &MOST.to_string(), &all]));
        viewers.wait_for("playing");
        viewers
    }

    /// Waits until they say so.
    pub(super) fn wait_for(&self, line: &str) {
        until(line, || self.0.output().lines().any(|said| said == line).then_some(()));
    }

    /// They went through their scripts, and nothing was wrong.
    pub(crate) fn assert_content(mut self) {
        let status = until_within(BOUND + Duration::from_secs(MOST), "the viewers to end", || self.0.exit_status());
        assert!(status.success(), "{}", self.0.output());
    }
}

/// A server with streams that have a red slate.
fn with_red_slates<const N: usize>(modes: [&str; N]) -> (Server, [Stream; N]) {
    let server = Server::start_with(&[("WEIR_SLATE_ALLOW_PRIVATE", "true")]);
    let streams = modes.map(|mode| {
        let url = format!("http://{}/slate.png", red_picture());
        encoded(&server, mode, json!({ "reconnect_slate_url": url }))
    });
    (server, streams)
}

/// Settings of a stream with more rungs.
pub(super) fn premium() -> Value {
    json!({ "new_asset_settings": { "video_quality": "premium" } })
}

/// Waits for enough that players keep their distance from the live edge.
pub(crate) fn three_segments(server: &Server, stream: &Stream) {
    server.playback(stream).main().wait_for("three segments", |list| list.segments.len() >= 3);
}

/// So many gaps, one after another.
fn sees_gaps(gaps: usize) -> Value {
    let one = ["live", "held", "slate"];
    one.into_iter().cycle().take(gaps * one.len()).chain(["live"]).map(|what| json!({ "sees": what })).collect()
}

/// The encoder is killed, returns as `other`, is frozen and goes on.
fn assert_seen_through<const N: usize>(modes: [&str; N], other: &Turn) {
    let _machine = alone();
    let (server, streams) = with_red_slates(modes);
    let all = |what: &dyn Fn(&Stream)| streams.iter().for_each(what);
    let grow = |name: &str, by| all(&|stream| grows(&server, stream, name, by));
    drop(other.file());
    let first: Vec<_> = streams.iter().map(|stream| FIRST.push(&server, stream)).collect();
    all(&|stream| three_segments(&server, stream));
    let viewers = Viewers::start(&server, &streams.each_ref().map(|stream| (stream, sees_gaps(2))));
    drop(first);
    grow("slate_pictures_total", SLATES);
    let second: Vec<_> = streams.iter().map(|stream| other.push(&server, stream)).collect();
    grow("live_pictures_total", BACK);
    second.iter().for_each(Encoder::freeze);
    grow("slate_pictures_total", SLATES);
    second.iter().for_each(Encoder::thaw);
    viewers.assert_content();
}

#[test]
fn hls_js_sees_no_lost_encoder_in_low() {
    assert_seen_through(["low"], &LARGER);
}

#[test]
fn hls_js_sees_no_lost_encoder_in_standard_and_reduced() {
    assert_seen_through(["standard", "reduced"], &OTHER);
}

#[test]
fn hls_js_plays_through_gaps_in_the_network() {
    let _machine = alone();
    let (server, [stream]) = with_red_slates(["low"]);
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.rtmp_port()))).expect("a relay");
    let first = FIRST.push_to(&format!("rtmp://{}/app/{}", relay.address(), stream.key));
    three_segments(&server, &stream);
    let viewers = Viewers::start(&server, &[(&stream, sees_gaps(3))]);
    for _ in 0..2 {
        relay.hold();
        grows(&server, &stream, "slate_pictures_total", THREE_SECONDS);
        relay.release();
        grows(&server, &stream, "live_pictures_total", BACK);
    }
    // The encoder is gone, and nobody tells the server.
    relay.lose();
    drop(first);
    grows(&server, &stream, "slate_pictures_total", SLATES);
    assert_eq!(server.api().status(&stream), "active");
    let _second = FIRST.push(&server, &stream);
    viewers.assert_content();
}

#[test]
fn hls_js_goes_down_a_level_in_a_narrow_network_and_up_again() {
    let _machine = alone();
    let server = Server::start();
    // `reduced`: what `low` has buffered is gone before a level as large as 720p is left. The small levels have their sound
    // in an AUDIO group of their own.
    let stream = encoded(&server, "reduced", premium());
    let _encoder = LADDER.push(&server, &stream);
    three_segments(&server, &stream);
    let [high, ..] = HEIGHTS;
    let steps = json!([
        { "height": high }, { "seconds": 2 }, { "kbps": NARROW }, { "below": high }, { "sounds": 2 }, { "kbps": 0 },
        { "height": high }, { "sounds": 3 }, { "seconds": 1 },
    ]);
    Viewers::start(&server, &[(&stream, steps)]).assert_content();
}
