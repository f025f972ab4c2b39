//! Simulcast to other servers: what arrives there, and what a target that fails costs the others.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::enhanced_rtmp::{AAC, AV1, HEVC, programme, push};
use crate::support::targets::{Certificates, FfmpegListener, NginxRtmp, NodeMediaServer, SrtReceiver, TlsFront};
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
fn rtmp(server: &Server, stream: &Stream) -> Value {
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
    assert_arrives_at(file, start(), Server::start(), rtmp);
}

/// Does so for a target with the fields that `target` returns.
fn assert_arrives_at(file: &Path, from: Server, to: Server, target: fn(&Server, &Stream) -> Value) {
    let there = to.api().create("low", json!({ "reconnect_window": 0 }));
    let targets = [target(&to, &there)];
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
fn avc_arrives_at_another_weir_over_rtmps() {
    let _machine = shared();
    let certificates = Certificates::make();
    let path = |file: PathBuf| file.display().to_string();
    let [ca, certificate, key] =
        [path(certificates.ca_file()), path(certificates.server_file()), path(certificates.key_file())];
    let from = Server::start_with(&[ALLOW_PRIVATE, ("WEIR_SIMULCAST_CA_FILE", &ca)]);
    let to = Server::start_with(&[
        ("WEIR_RTMPS_SELF_SIGNED", "false"),
        ("WEIR_RTMPS_CERT", &certificate),
        ("WEIR_RTMPS_KEY", &key),
    ]);
    let rtmps = |to: &Server, there: &Stream| json!({ "url": to.rtmps_url(""), "stream_key": there.key });
    assert_arrives_at(&clip(&Clip::plain(8)), from, to, rtmps);
}

/// Returns the fields of a target over SRT that is a live stream of another Weir.
fn srt(server: &Server, stream: &Stream) -> Value {
    json!({ "url": format!("{}&pbkeylen=32", server.srt_url(stream)) })
}

#[test]
fn avc_from_rtmp_arrives_at_another_weir_over_srt() {
    let _machine = shared();
    assert_arrives_at(&clip(&Clip::plain(8)), start(), Server::start(), srt);
}

#[test]
fn hevc_arrives_at_another_weir_over_srt() {
    let _machine = shared();
    let file = programme("hevc-aac", &["440"], &format!("{HEVC} {AAC}"));
    assert_arrives_at(&file, start(), Server::start(), srt);
}

/// SRT-09: from SRT to SRT, encrypted. A wrong passphrase is fatal.
#[test]
fn srt_arrives_at_a_receiver_of_others() {
    let _machine = shared();
    let listen = || SrtReceiver::start("passphrase=0123456789ab&pbkeylen=16");
    let (from, receiver, other) = (start(), listen(), listen());
    let wrong = other.url().replace("0123456789ab", "another-one");
    let targets = json!([{ "url": receiver.url() }]);
    let stream = from.api().create("low", json!({ "reconnect_window": 0, "simulcast_targets": targets }));
    let refused = from.api().add_target(&stream, json!({ "url": wrong }));
    let file = clip(&Clip::plain(8));
    let source = file.to_str().expect("a UTF-8 path");
    let mut encoder = Encoder::ffmpeg(&["-re", "-i", source, "-c", "copy", "-f", "mpegts", &from.srt_url(&stream)]);
    from.api().wait_for_target(&stream, &refused, "errored fatal");
    let error = from.api().target(&stream, &refused)["error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains("passphrase")), "{error}");
    encoder.wait_for_success();
    from.api().wait_for(&stream, "idle");
    let pushed = video_hashes(source);
    // The encoder closes its connection at once, so its last frames do not arrive at the server.
    until("the recording", || {
        let received = video_hashes(receiver.recording().to_str()?);
        (received.len() + MAX_LOST >= pushed.len() && pushed.starts_with(&received)).then_some(())
    });
}

/// Video frames that SRT may still buffer when an encoder disconnects.
const MAX_LOST: usize = 45;

#[test]
fn hevc_arrives_at_another_weir() {
    assert_arrives(&programme("hevc-aac", &["440"], &format!("{HEVC} {AAC}")));
}

#[test]
fn av1_arrives_at_another_weir() {
    assert_arrives(&programme("av1-aac", &["440"], &format!("{AV1} {AAC}")));
}

/// Waits until a recording has the video frames of `pushed`, and at most the first audio frame is missing.
fn wait_for_recording(recording: &Path, pushed: &Path) {
    let [recording, pushed] = [recording, pushed].map(|path| path.to_str().expect("a UTF-8 path"));
    let video = video_hashes(pushed);
    until("the recording", || (video_hashes(recording) == video).then_some(()));
    let (recorded, pushed) = (audio_hashes(recording), audio_hashes(pushed));
    assert!(pushed.ends_with(&recorded) && recorded.len() + 1 >= pushed.len(), "{} frames", recorded.len());
}

/// SIM-05: servers that others wrote, over RTMP and RTMPS.
#[test]
fn every_frame_arrives_at_servers_of_others() {
    let _machine = shared();
    let (nginx, node, listener) = (NginxRtmp::start(), NodeMediaServer::start(), FfmpegListener::start());
    let front = TlsFront::start(nginx.port());
    let ca_file = front.ca_file().display().to_string();
    let from = Server::start_with(&[ALLOW_PRIVATE, ("WEIR_SIMULCAST_CA_FILE", &ca_file)]);
    let targets = json!([
        { "url": nginx.url(), "stream_key": "plain" },
        { "url": format!("{}/", front.url("live")), "stream_key": "tls" },
        { "url": node.url(), "stream_key": "node" },
        { "url": format!("{}/{}", listener.url(), FfmpegListener::KEY) },
    ]);
    let stream = from.api().create("low", json!({ "reconnect_window": 0, "simulcast_targets": targets }));
    let file = clip(&Clip::plain(8));
    Encoder::push_copy(&file, &from.rtmp_url(&stream.key)).wait_for_success();
    from.api().wait_for(&stream, "idle");
    let recordings = nginx.recordings();
    assert_eq!(recordings.len(), 2, "{recordings:?}");
    recordings.iter().for_each(|recording| wait_for_recording(recording, &file));
    wait_for_recording(&node.recordings("node")[0], &file);
    wait_for_recording(&listener.recording(), &file);
}

/// A certificate that is not trusted is refused, and the reason names the certificate.
#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let _machine = shared();
    let nginx = NginxRtmp::start();
    let front = TlsFront::start(nginx.port());
    let from = start();
    let stream = from.api().create("low", json!({ "reconnect_window": 0 }));
    let target = from.api().add_target(&stream, json!({ "url": front.url("live"), "stream_key": "a-key" }));
    let _encoder = Encoder::push_loop(&clip(&Clip::plain(8)), &from.rtmp_url(&stream.key));
    from.api().wait_for_target(&stream, &target, "errored normal");
    let error = from.api().target(&stream, &target)["error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains("certificate")), "{error}");
    assert!(nginx.recordings().is_empty());
}

/// Returns the longest step between the timestamps of two packets of a recording that follow each other, in seconds, and
/// whether a timestamp ever goes back.
fn steps(recording: &Path, stream: &str) -> (f64, bool) {
    let run = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-show_entries", "packet=dts_time", "-of", "csv=p=0"])
        .arg(recording)
        .output()
        .expect("ffprobe runs");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let times: Vec<f64> = text.lines().filter_map(|line| line.trim_matches(',').parse().ok()).collect();
    assert!(times.len() > 100, "{} packets", times.len());
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    (steps.clone().fold(0.0, f64::max), steps.clone().any(|step| step < 0.0))
}

/// Time for which an encoder is away.
const AWAY: Duration = Duration::from_secs(5);

/// Kills the encoder, lets it return after [`AWAY`], and checks that the target has seen one publication. Returns the
/// recording.
fn assert_one_publication(mode: &str, more: Value) -> (NginxRtmp, Server) {
    let _machine = shared();
    let (nginx, from) = (NginxRtmp::start(), start());
    let mut fields = json!({
        "reconnect_window": 60, "simulcast_targets": [{ "url": nginx.url(), "stream_key": "a-key" }],
    });
    fields.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let stream = from.api().create(mode, fields);
    let file = clip(&Clip::plain(8));
    let push = || Encoder::push_loop(&file, &from.rtmp_url(&stream.key));
    let frames = |at_least: usize| {
        until("frames at the target", || {
            let recordings = nginx.recordings();
            let recording = recordings.first()?.to_str()?;
            let run = Command::new("ffprobe")
                .args(["-v", "quiet", "-count_packets", "-select_streams", "v"])
                .args(["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", recording])
                .output()
                .ok()?;
            let count: usize = String::from_utf8_lossy(&run.stdout).trim().trim_matches(',').parse().ok()?;
            (count >= at_least).then_some(count)
        })
    };
    let mut encoder = push();
    let before = frames(150);
    encoder.kill();
    until("the encoder to be missed", || from.log().contains("video.live_stream.disconnected").then_some(()));
    std::thread::sleep(AWAY);
    let _encoder = push();
    frames(before + 300);
    from.api().put(&stream, "complete");
    from.api().wait_for(&stream, "idle");
    assert_eq!(nginx.recordings().len(), 1);
    (nginx, from)
}

/// Longest step of continuous video at 30 frames a second, and of audio, in seconds.
const MAX_STEP: f64 = 0.11;

#[test]
fn a_target_sees_the_slate_and_one_timeline_through_a_reconnect() {
    let (nginx, _from) = assert_one_publication("low", json!({}));
    for stream in ["v", "a"] {
        let (longest, goes_back) = steps(&nginx.recordings()[0], stream);
        assert!(longest < MAX_STEP && !goes_back, "{stream}: {longest} s");
    }
}

#[test]
fn a_target_of_a_transcoded_stream_sees_the_slate_in_the_codec_of_the_source() {
    let quality = json!({ "new_asset_settings": { "video_quality": "plus" } });
    let (nginx, _from) = assert_one_publication("low", quality);
    for stream in ["v", "a"] {
        let (longest, goes_back) = steps(&nginx.recordings()[0], stream);
        assert!(longest < MAX_STEP && !goes_back, "{stream}: {longest} s");
    }
}

#[test]
fn a_target_keeps_its_connection_without_a_slate() {
    let (nginx, _from) = assert_one_publication("standard", json!({}));
    // The frames of the encoder that returns follow those before without a gap in their timestamps.
    for stream in ["v", "a"] {
        let (longest, goes_back) = steps(&nginx.recordings()[0], stream);
        assert!(longest < MAX_STEP && !goes_back, "{stream}: {longest} s");
    }
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
        // The attempts to reach a target may fail for several reasons.
        let without_reasons =
            || events(&from, target).into_iter().filter(|event| event != "updated").collect::<Vec<_>>();
        until(&format!("events {wanted:?}"), || (without_reasons() == wanted).then_some(()));
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
