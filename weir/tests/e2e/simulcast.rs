//! Simulcast to other servers: what arrives there, and what a target that fails costs the others.

use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::enhanced_rtmp::{AAC, AV1, HEVC, programme, push};
use crate::support::{
    Clip, Encoder, Server, Stream, Watcher, audio_hashes, clip, ffmpeg9, hashes, shared, until, video_hashes,
};

/// Allows targets on this machine.
pub(crate) const ALLOW_PRIVATE: (&str, &str) = ("WEIR_SIMULCAST_ALLOW_PRIVATE", "true");

/// Starts a server that may send to targets on this machine.
fn start() -> Server {
    Server::start_with(&[ALLOW_PRIVATE])
}

/// Returns the fields of a target that is a live stream of another Weir.
fn rtmp(server: &Server, stream: &Stream) -> serde_json::Value {
    json!({ "url": server.rtmp_url(""), "stream_key": stream.key })
}

/// Returns the events of a target from the log of the server, without their common prefix, in order.
fn events(server: &Server, target: &str) -> Vec<String> {
    let log = server.log();
    let of_target = log.lines().filter(|line| line.contains(&format!("simulcast_target=\"{target}\"")));
    let named = of_target.filter_map(|line| line.split("video.live_stream.simulcast_target.").nth(1));
    named.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

fn wait_for_events(server: &Server, target: &str, wanted: &[&str]) {
    until(&format!("events {wanted:?}"), || (events(server, target) == wanted).then_some(()));
}

/// Pushes a clip to a live stream whose target is another server, and compares all frames pushed with those played there.
fn assert_arrives(file: &Path) {
    let _machine = shared();
    let (from, to) = (start(), Server::start());
    let there = to.api().create("low", json!({ "reconnect_window": 0 }));
    let targets = [rtmp(&to, &there)];
    let stream = from.api().create("low", json!({ "reconnect_window": 0, "simulcast_targets": targets }));
    let mut encoder = push(file, &from.rtmp_url(&stream.key));
    let renditions = to.playback(&there).renditions();
    encoder.wait_for_success();
    for rendition in &renditions {
        let whole = rendition.wait_for("the end of the list", |list| list.ended);
        assert_eq!(whole.first, 0, "the window holds the whole clip");
        assert!(!whole.segments.iter().any(|segment| segment.discontinuity), "{}", whole.text);
    }
    let (pushed, played) = (file.display().to_string(), to.playlist_url(&there));
    let video = ["-map", "0:v:0", "-fps_mode", "passthrough"];
    assert_eq!(hashes(ffmpeg9(), &played, &video), hashes(ffmpeg9(), &pushed, &video));
    for rendition in renditions.iter().filter(|rendition| rendition.kind == "audio") {
        let (played, audio) = (format!("{}{}", to.base(), rendition.path), ["-map", "0:a:0", "-c", "copy"]);
        let (pushed, played) = (hashes(ffmpeg9(), &pushed, &audio), hashes(ffmpeg9(), &played, &audio));
        // A publication starts with the first key frame, which is one audio frame later in these clips.
        assert!(pushed.ends_with(&played) && played.len() + 1 >= pushed.len(), "{} of {}", played.len(), pushed.len());
    }
}

#[test]
fn avc_arrives_at_another_weir() {
    assert_arrives(&clip(&Clip::plain(8)));
}

#[test]
fn hevc_arrives_at_another_weir() {
    assert_arrives(&programme("hevc-aac", &["440"], &format!("{HEVC} {AAC}")));
}

#[test]
fn av1_arrives_at_another_weir() {
    assert_arrives(&programme("av1-aac", &["440"], &format!("{AV1} {AAC}")));
}

/// SIM-03 beyond Mux Video: targets come and go while the live stream is active.
#[test]
fn targets_are_added_and_deleted_while_live() {
    let _machine = shared();
    let (from, to) = (start(), Server::start());
    let there = to.api().create("low", json!({ "reconnect_window": 0 }));
    let stream = from.api().create("low", json!({ "reconnect_window": 0 }));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &from.rtmp_url(&stream.key));
    from.api().wait_for(&stream, "active");
    let target = from.api().add_target(&stream, rtmp(&to, &there));
    from.api().wait_for_target(&stream, &target, "broadcasting");
    to.api().wait_for(&there, "active");
    wait_for_events(&from, &target, &["created", "starting", "broadcasting"]);
    from.api().delete_target(&stream, &target);
    to.api().wait_for(&there, "idle");
    wait_for_events(&from, &target, &["created", "starting", "broadcasting", "idle", "deleted"]);
    assert_eq!(from.api().status(&stream), "active");
}

/// Each of the targets that fail has its own status and its own events. The healthy ones and the viewers get everything.
#[test]
fn targets_that_fail_cost_the_others_nothing() {
    let _machine = shared();
    let (from, healthy, mut killed, frozen) = (start(), Server::start(), Server::start(), Server::start());
    let live = |server: &Server, window: u32| server.api().create("low", json!({ "reconnect_window": window }));
    let (first, second, third, fourth) = (live(&healthy, 0), live(&healthy, 0), live(&killed, 60), live(&frozen, 60));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("rtmp://{}/app", silent.local_addr().expect("its address"));
    let stream = from.api().create("low", json!({ "reconnect_window": 0 }));
    let add = |fields| from.api().add_target(&stream, fields);
    let [one, two] = [&first, &second].map(|there| add(rtmp(&healthy, there)));
    let refused = add(json!({ "url": healthy.rtmp_url(""), "stream_key": "unknown" }));
    let unanswered = add(json!({ "url": silent, "stream_key": "x" }));
    let [restarted, paused] = [(&killed, &third), (&frozen, &fourth)].map(|(to, there)| add(rtmp(to, there)));

    let file = clip(&Clip::plain(40));
    let mut encoder = Encoder::push_copy(&file, &from.rtmp_url(&stream.key));
    let watchers =
        [Watcher::start(&from, &stream), Watcher::start(&healthy, &first), Watcher::start(&healthy, &second)];
    let wait = |target: &str, status: &str| from.api().wait_for_target(&stream, target, status);
    wait(&refused, "errored fatal");
    [&one, &two, &restarted, &paused].iter().for_each(|target| wait(target, "broadcasting"));
    frozen.signal(rustix::process::Signal::STOP);
    killed.kill();
    wait(&restarted, "errored normal");
    killed.restart();
    wait(&restarted, "broadcasting");
    wait(&paused, "errored normal");
    wait(&unanswered, "errored normal");
    frozen.signal(rustix::process::Signal::CONT);
    wait(&paused, "broadcasting");
    let answer = from.api().target(&stream, &refused);
    assert!(answer["error"].as_str().is_some_and(|error| !error.contains("unknown")), "{answer}");
    encoder.wait_for_success();

    for (watcher, of) in watchers.into_iter().zip(["the viewers", "the first target", "the second target"]) {
        let _ = watcher.finish(of);
    }
    from.api().wait_for_target(&stream, &one, "idle");
    let ends = |target: &str, between: &[&str]| {
        let wanted = [&["created", "starting"], between, &["idle"]].concat();
        wait_for_events(&from, target, &wanted);
    };
    ends(&one, &["broadcasting"]);
    ends(&two, &["broadcasting"]);
    ends(&refused, &["errored"]);
    ends(&unanswered, &["errored"]);
    ends(&restarted, &["broadcasting", "errored", "broadcasting"]);
    ends(&paused, &["broadcasting", "errored", "broadcasting"]);
    // The playlists hold the newest part of the clip.
    let (video, audio) = (video_hashes(&file.display().to_string()), audio_hashes(&file.display().to_string()));
    for played in [healthy.playlist_url(&first), healthy.playlist_url(&second)] {
        assert!(video.ends_with(&video_hashes(&played)), "{played}");
        assert!(audio.ends_with(&audio_hashes(&played)), "{played}");
    }
}

/// The default settings protect the network of the server.
#[test]
fn private_and_link_local_addresses_are_refused() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let add = |url: &str| server.api().add_target(&stream, json!({ "url": url, "stream_key": "x" }));
    let targets = [
        (add(&server.rtmp_url("")), "simulcast.allow_private"),
        (add("rtmp://169.254.169.254/app"), "simulcast.allow_link_local"),
        (add("rtmp://localhost:1935/app"), "simulcast.allow_private"),
    ];
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &server.rtmp_url(&stream.key));
    for (target, setting) in targets {
        server.api().wait_for_target(&stream, &target, "errored fatal");
        let error = server.api().target(&stream, &target)["error"].clone();
        assert!(error.as_str().is_some_and(|error| error.contains(setting)), "{error}");
    }
    server.api().wait_for(&stream, "active");
}

/// A platform without HEVC receives an encoded rendition, and learns nothing of the encoder's codec.
#[test]
fn a_rendition_is_sent_instead_of_the_source() {
    let _machine = shared();
    let (from, to) = (start(), Server::start());
    let there = to.api().create("low", json!({ "reconnect_window": 0 }));
    let quality = json!({ "video_quality": "plus" });
    let stream = from.api().create("low", json!({ "reconnect_window": 0, "new_asset_settings": quality }));
    let file = programme("hevc-aac", &["440"], &format!("{HEVC} {AAC}"));
    let _encoder = push(&file, &from.rtmp_url(&stream.key));
    from.api().wait_for(&stream, "active");
    let fields = |rendition: &str| {
        let mut fields = rtmp(&to, &there);
        fields["rendition"] = rendition.into();
        fields
    };
    let target = from.api().add_target(&stream, fields("270p"));
    let absent = from.api().add_target(&stream, fields("1080p"));
    from.api().wait_for_target(&stream, &target, "broadcasting");
    from.api().wait_for_target(&stream, &absent, "errored fatal");
    let error = from.api().target(&stream, &absent)["error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains("270p")), "{error}");
    let playback = to.playback(&there);
    playback.renditions();
    let multivariant = playback.answer().text();
    assert!(multivariant.contains("avc1.") && multivariant.contains("RESOLUTION=480x270"), "{multivariant}");
}

/// Nothing is left broadcasting after a power cut, and the targets are dialled again for the encoder that returns.
#[test]
fn targets_are_dialled_again_after_a_crash() {
    let _machine = shared();
    let (mut from, to) = (start(), Server::start());
    let there = to.api().create("low", json!({ "reconnect_window": 60 }));
    let stream = from.api().create("low", json!({ "reconnect_window": 0 }));
    let target = from.api().add_target(&stream, rtmp(&to, &there));
    let file = clip(&Clip::plain(8));
    let encoder = Encoder::push_loop(&file, &from.rtmp_url(&stream.key));
    from.api().wait_for_target(&stream, &target, "broadcasting");
    from.kill();
    drop(encoder);
    from.restart();
    from.api().wait_for_target(&stream, &target, "idle");
    let _encoder = Encoder::push_loop(&file, &from.rtmp_url(&stream.key));
    from.api().wait_for_target(&stream, &target, "broadcasting");
    to.api().wait_for(&there, "active");
}
