//! Common players, each on a live stream, without a stall. `WEIR_E2E_SECONDS` sets for how long.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;

use crate::support::{BOUND, Clip, Encoder, Server, Stream, alone, clip, npm_folder, until, until_within};

/// Files of the player pages, besides those that npm installs.
const PLAYER_FILES: [&str; 9] = [
    "package.json",
    "package-lock.json",
    "browser.mjs",
    "play.mjs",
    "viewers.mjs",
    "shows.mjs",
    "pages/hls.html",
    "pages/shaka.html",
    "pages/videojs.html",
];
/// Enough to see a stall at a segment boundary. A full run takes 60.
const DEFAULT_SECONDS: u64 = 15;

pub(crate) fn seconds() -> u64 {
    let asked = std::env::var("WEIR_E2E_SECONDS").ok();
    asked.map_or(DEFAULT_SECONDS, |text| text.parse().expect("WEIR_E2E_SECONDS is a number"))
}

/// Starts a live programme with video, a tone and a key frame each second. Returns once it has run for long enough that
/// players can keep the distance to the live edge that the playlist asks for.
fn live(latency_mode: &str) -> (Server, Stream, Encoder) {
    let server = Server::start();
    let stream = server.api().create(latency_mode, json!({}));
    let encoder = Encoder::push_loop(&clip(&Clip::plain(120)), &server.rtmp_url(&stream.key));
    server.playback(&stream).main().wait_for("three target durations", |list| {
        let listed: f64 = list.segments.iter().map(|segment| segment.duration).sum();
        listed >= 3.0 * list.target_duration
    });
    (server, stream, encoder)
}

/// Returns a folder of the build with the player pages and their npm packages.
pub(crate) fn player_folder() -> String {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| npm_folder("players", &PLAYER_FILES));
    FOLDER.to_str().expect("a UTF-8 path").to_owned()
}

/// Opens the watch page for `seconds`, and waits until it plays. `more` are further arguments of `play.mjs`, which
/// checks playback.
pub(crate) fn watch(server: &Server, stream: &Stream, seconds: u64, more: &[&str]) -> Encoder {
    let (script, url) = (format!("{}/play.mjs", player_folder()), server.watch_url(stream));
    let player = Encoder::run("node", &[&[&script, "watch", &url, &seconds.to_string()], more].concat());
    until("the player to play", || player.output().contains("playing").then_some(()));
    player
}

/// Waits for the end of the player, and checks that nothing was wrong.
pub(crate) fn assert_success(player: &mut Encoder) {
    let time = BOUND + Duration::from_secs(seconds());
    let status = until_within(time, "the player to end", || player.exit_status());
    assert!(status.success(), "{}", player.output());
}

/// Plays in Chromium. `play.mjs` checks playback, and its output is the message of a failure.
pub(crate) fn assert_plays_in_chromium(player: &str, url: &str) {
    let script = format!("{}/play.mjs", player_folder());
    let run = Command::new("node").args([&script, player, url, &seconds().to_string()]).output().expect("node runs");
    let output = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{player}: {output}");
    eprintln!("{}", output.trim());
}

fn assert_hls_js_plays(latency_mode: &str) {
    let _machine = alone();
    let (server, stream, _encoder) = live(latency_mode);
    assert_plays_in_chromium("watch", &server.watch_url(&stream));
}

#[test]
fn hls_js_plays_standard() {
    assert_hls_js_plays("standard");
}

#[test]
fn hls_js_plays_reduced() {
    assert_hls_js_plays("reduced");
}

#[test]
fn hls_js_plays_low() {
    assert_hls_js_plays("low");
}

/// Opens hls.js with its defaults and other players at the first response of a stream and a little later, in each mode.
///
/// The modes run one after another, because the pages share two cores. Starting eight players there takes longer than
/// their buffers last in `low`.
#[test]
fn players_join_at_the_first_response() {
    let _machine = alone();
    let server = Server::start();
    let video = clip(&Clip::plain(120));
    let script = format!("{}/shows.mjs", player_folder());
    for (mode, other) in [("standard", Some(("videojs", 1))), ("reduced", None), ("low", Some(("shaka", 0)))] {
        let stream = server.api().create(mode, json!({}));
        let _encoder = Encoder::push_loop(&video, &server.rtmp_url(&stream.key));
        let url = server.playlist_url(&stream);
        let players = [("hls", 0), ("hls", 3)].into_iter().chain(other);
        let pages: Vec<_> = players.map(|(player, at)| json!({ "player": player, "at": at, "url": url })).collect();
        let arguments = ["join", &seconds().to_string(), &json!(pages).to_string()];
        let run = Command::new("node").arg(&script).args(arguments).output().expect("node runs");
        let output = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{mode}: {output}");
        eprintln!("{mode}: {}", output.trim());
    }
}

/// The watch page shows that a stream has ended, however it ended, and plays the next broadcast.
#[test]
fn the_watch_page_shows_the_end_and_the_next_broadcast() {
    let _machine = alone();
    let server = Server::start();
    let api = server.api();
    let at_once = json!({ "reconnect_window": 0 });
    let streams = [
        api.create("low", json!({ "reconnect_window": 1 })),
        api.create("low", at_once.clone()),
        api.create("low", json!({})),
        api.create("reduced", at_once),
    ];
    let video = clip(&Clip::plain(120));
    let push = || streams.each_ref().map(|stream| Encoder::push_loop(&video, &server.rtmp_url(&stream.key)));
    let mut encoders = push();
    let pages: Vec<_> = streams.iter().map(|stream| json!({ "url": server.watch_url(stream) })).collect();
    let script = format!("{}/shows.mjs", player_folder());
    let viewers = Encoder::run("node", &[&script, "follow", &(4 * seconds()).to_string(), &json!(pages).to_string()]);
    // Lines of the output are `page: badge`.
    let wait_for_all = |badge: &str, times: usize| {
        until(&format!("all pages to show {badge:?}"), || {
            let output = viewers.output();
            let count = |n: usize| output.lines().filter(|line| *line == format!("{n}: {badge}")).count();
            (0..streams.len()).all(|n| count(n) >= times).then_some(())
        });
    };
    wait_for_all("Live", 1);
    api.put(&streams[2], "complete");
    encoders.iter_mut().for_each(Encoder::kill);
    wait_for_all("Ended", 1);
    let _next = push();
    wait_for_all("Live", 2);
    let output = viewers.output();
    assert!(!output.contains("wrong"), "{output}");
}

#[test]
fn shaka_plays_low() {
    let _machine = alone();
    let (server, stream, _encoder) = live("low");
    assert_plays_in_chromium("shaka", &server.playlist_url(&stream));
}

#[test]
fn video_js_plays_low() {
    let _machine = alone();
    let (server, stream, _encoder) = live("low");
    assert_plays_in_chromium("videojs", &server.playlist_url(&stream));
}

/// Decodes in real time, stops at the first error, and has to decode all video frames of the time played.
#[test]
fn ffmpeg_plays_low() {
    let _machine = alone();
    let (server, stream, _encoder) = live("low");
    let (url, time) = (server.playlist_url(&stream), seconds().to_string());
    let head = ["-v", "error", "-xerror", "-i", &url, "-t", &time];
    let tail = ["-map", "0:v:0", "-map", "0:a:0", "-fps_mode", "passthrough", "-f", "null", "-progress", "-", "-"];
    let mut player = Encoder::ffmpeg(&[head.as_slice(), &tail].concat());
    let status = until_within(playtime(), "ffmpeg to play its time", || player.exit_status());
    let output = player.output();
    assert!(status.success(), "ffmpeg ended with {status}:\n{output}");
    let frames = output.lines().filter_map(|line| line.strip_prefix("frame=")).next_back().expect("a progress report");
    let frames: u64 = frames.trim().parse().expect("a number of frames");
    assert!(frames + FRAME_RATE >= seconds() * FRAME_RATE, "{frames} frames in {time} s:\n{output}");
    let complaint = output.lines().find(|line| !line.contains('='));
    assert_eq!(complaint, None, "ffmpeg complained");
}

#[test]
fn gstreamer_hlsdemux2_plays_low() {
    let _machine = alone();
    let (server, stream, _encoder) = live("low");
    let uri = format!("uri={}", server.playlist_url(&stream));
    let video = "video-sink=fpsdisplaysink text-overlay=false video-sink=fakesink sync=true";
    let mut player = Encoder::run("gst-launch-1.0", &["-v", "playbin3", &uri, video, "audio-sink=fakesink sync=true"]);
    let output = until_within(playtime(), "GStreamer to play its time", || {
        let output = player.output();
        let ended = player.exit_status().is_some();
        (ended || reports(&output).last().is_some_and(|last| last.rendered >= seconds() * FRAME_RATE)).then_some(output)
    });
    assert!(player.exit_status().is_none(), "GStreamer ended early:\n{output}");
    assert!(output.contains("GstHLSDemux2"), "another demuxer played:\n{output}");
    assert!(!output.contains("ERROR"), "{output}");
    let reports = reports(&output);
    assert_eq!(
        reports.last().map(|last| last.dropped),
        Some(0),
        "frames were dropped because they were late:\n{output}"
    );
    for one in reports.iter().skip(SETTLING) {
        assert!(one.rate >= FRAME_RATE as f64 / 2.0, "playback stalled, {one:?}:\n{output}");
    }
}

const FRAME_RATE: u64 = 30;
/// Reports, two per second, during which the player finds the live edge and fills its buffers.
const SETTLING: usize = 4;

/// Timeout of a player: its playing time, as much again to start, and a margin for a loaded machine.
fn playtime() -> Duration {
    BOUND + 2 * Duration::from_secs(seconds())
}

/// One report of `fpsdisplaysink`.
#[derive(Clone, Copy, Debug)]
struct Report {
    rendered: u64,
    dropped: u64,
    rate: f64,
}

/// Reads `rendered: 31, dropped: 0, current: 30.01, average: 30.20`.
fn reports(output: &str) -> Vec<Report> {
    let field = |line: &str, name: &str| -> Option<f64> {
        let after = line.split_once(name)?.1;
        after.split(',').next()?.trim().parse().ok()
    };
    let report = |line: &str| {
        let (rendered, dropped) = (field(line, "rendered:")?, field(line, "dropped:")?);
        Some(Report { rendered: rendered as u64, dropped: dropped as u64, rate: field(line, "current:")? })
    };
    output.lines().filter(|line| line.contains("last-message")).filter_map(report).collect()
}
