//! Viewers with hls.js while encoders and networks fail. They see live video, a repeated frame, the slate, and live
//! video again, but never a stall or a jump.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use super::slates::serve_red_image;
use super::{FIRST, LARGER, LIVE_FRAMES, SLATE_FRAMES, transcoded, wait_for_growth};
use crate::encoder_change::{AVC, By, HEVC, Turn};
use crate::players::player_folder;
use crate::support::{BOUND, Encoder, Relay, Server, Stream, alone, until, until_within};

/// An encoder that reconnects over SRT with another codec and clock.
const OTHER: Turn = Turn { by: By::Srt, size: "640x360", encoder: HEVC, codec: "hvc1." };
/// Large enough for three renditions of premium quality, and small enough for machines that run a browser as well.
pub(super) const LADDER: Turn = Turn { by: By::Rtmp, size: "854x480", encoder: AVC, codec: "avc1." };
/// The heights of its renditions.
pub(super) const HEIGHTS: [u32; 3] = [480, 324, 216];
/// Video frames of the slate in a gap of three seconds. The last frame is repeated during the first half second.
const THREE_SECONDS: u64 = 75;
/// Bandwidth in kbit/s that is too low for 480p, but enough for 324p.
const NARROW: u32 = 1_500;
/// Timeout of a script, in seconds. Only a viewer that stalls for good reaches it.
const SCRIPT_TIMEOUT: u64 = 90;

/// Viewers, each a browser page with its own script.
pub(crate) struct Viewers(Encoder);

impl Viewers {
    /// Starts viewers that open the watch page of a stream and follow their steps (see `viewers.mjs`).
    pub(crate) fn start(server: &Server, scripts: &[(&Stream, Value)]) -> Self {
        let viewer = |(stream, steps): &(&Stream, Value)| json!({ "url": server.watch_url(stream), "steps": steps });
        let all = Value::from(scripts.iter().map(viewer).collect::<Vec<_>>()).to_string();
        let script = format!("{}/viewers.mjs", player_folder());
        let viewers = Self(Encoder::run("node", &[&script, &SCRIPT_TIMEOUT.to_string(), &all]));
        viewers.wait_for("playing");
        viewers
    }

    /// Waits until the viewers have printed this line.
    pub(super) fn wait_for(&self, line: &str) {
        until(line, || self.0.output().lines().any(|printed| printed == line).then_some(()));
    }

    /// Waits for the end of all scripts, and checks that nothing was wrong.
    pub(crate) fn assert_success(mut self) {
        let status =
            until_within(BOUND + Duration::from_secs(SCRIPT_TIMEOUT), "the viewers to end", || self.0.exit_status());
        assert!(status.success(), "{}", self.0.output());
    }
}

/// Starts a server with streams that have a red slate.
fn with_red_slates<const N: usize>(modes: [&str; N]) -> (Server, [Stream; N]) {
    let server = Server::start_with(&[("WEIR_SLATE_ALLOW_PRIVATE", "true")]);
    let streams = modes.map(|mode| {
        let url = format!("http://{}/slate.png", serve_red_image());
        transcoded(&server, mode, json!({ "reconnect_slate_url": url }))
    });
    (server, streams)
}

/// Settings of a stream with more renditions.
pub(super) fn premium() -> Value {
    json!({ "new_asset_settings": { "video_quality": "premium" } })
}

/// Waits for three segments, which are enough for players to keep their distance from the live edge.
pub(crate) fn three_segments(server: &Server, stream: &Stream) {
    server.playback(stream).main().wait_for("three segments", |list| list.segments.len() >= 3);
}

/// Steps of a viewer who sees `gaps` gaps.
fn steps_for_gaps(gaps: usize) -> Value {
    let one = ["live", "repeated", "slate"];
    one.into_iter().cycle().take(gaps * one.len()).chain(["live"]).map(|what| json!({ "sees": what })).collect()
}

/// Kills the encoder, continues with `other`, freezes that one and lets it continue.
fn assert_viewers_see_gaps<const N: usize>(modes: [&str; N], other: &Turn) {
    let _machine = alone();
    let (server, streams) = with_red_slates(modes);
    let all = |what: &dyn Fn(&Stream)| streams.iter().for_each(what);
    let wait_for_all = |name: &str, by| all(&|stream| wait_for_growth(&server, stream, name, by));
    drop(other.file());
    let first: Vec<_> = streams.iter().map(|stream| FIRST.push(&server, stream)).collect();
    all(&|stream| three_segments(&server, stream));
    let viewers = Viewers::start(&server, &streams.each_ref().map(|stream| (stream, steps_for_gaps(2))));
    drop(first);
    wait_for_all("slate_pictures_total", SLATE_FRAMES);
    let second: Vec<_> = streams.iter().map(|stream| other.push(&server, stream)).collect();
    wait_for_all("live_pictures_total", LIVE_FRAMES);
    second.iter().for_each(Encoder::freeze);
    wait_for_all("slate_pictures_total", SLATE_FRAMES);
    second.iter().for_each(Encoder::thaw);
    viewers.assert_success();
}

#[test]
fn hls_js_plays_through_encoder_changes_in_low() {
    assert_viewers_see_gaps(["low"], &LARGER);
}

#[test]
fn hls_js_plays_through_encoder_changes_in_standard_and_reduced() {
    assert_viewers_see_gaps(["standard", "reduced"], &OTHER);
}

#[test]
fn hls_js_plays_through_gaps_in_the_network() {
    let _machine = alone();
    let (server, [stream]) = with_red_slates(["low"]);
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.rtmp_port()))).expect("a relay");
    let first = FIRST.push_to(&format!("rtmp://{}/app/{}", relay.address(), stream.key));
    three_segments(&server, &stream);
    let viewers = Viewers::start(&server, &[(&stream, steps_for_gaps(3))]);
    for _ in 0..2 {
        relay.hold();
        wait_for_growth(&server, &stream, "slate_pictures_total", THREE_SECONDS);
        relay.release();
        wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    }
    // The encoder is gone, and its connection stays half-open.
    relay.lose();
    drop(first);
    wait_for_growth(&server, &stream, "slate_pictures_total", SLATE_FRAMES);
    assert_eq!(server.api().status(&stream), "active");
    let _second = FIRST.push(&server, &stream);
    viewers.assert_success();
}

#[test]
fn hls_js_switches_down_at_low_bandwidth_and_up_again() {
    let _machine = alone();
    let server = Server::start();
    // `reduced`, because in `low` the buffer runs empty before the player leaves a level as large as 720p. The small
    // levels have their audio in an AUDIO group of their own.
    let stream = transcoded(&server, "reduced", premium());
    let _encoder = LADDER.push(&server, &stream);
    three_segments(&server, &stream);
    let [high, ..] = HEIGHTS;
    let steps = json!([
        { "height": high }, { "seconds": 2 }, { "kbps": NARROW }, { "below": high }, { "audioTracks": 2 }, { "kbps": 0 },
        { "height": high }, { "audioTracks": 3 }, { "seconds": 1 },
    ]);
    Viewers::start(&server, &[(&stream, steps)]).assert_success();
}
