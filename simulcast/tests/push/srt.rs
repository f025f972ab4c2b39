//! SRT targets: a listener of our own, programs of others, and listeners that misbehave.

mod receivers;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use media::{CodecConfig, Kind, Track, TrackId};
use slate::Item;
use srt::Rejection;
use wire::ts;
use wire::ts::mux::Muxer;

use crate::media::{LARGE, Programme, SMALL};
use crate::programs::Process;
use crate::rig::{Rig, config, wait_for};
use crate::servers::{Behaviour, Server};
use receivers::{ENCODED, LATENCY, LiveTransmit, PASSPHRASE, Policy, Receiver, demux, frames, free_address, tracks};

/// Tracks of [`ts::Demuxer`].
const TRACKS: [(Kind, TrackId); 2] = [(Kind::Video, ts::VIDEO_TRACK), (Kind::Audio, ts::FIRST_AUDIO_TRACK)];

fn url(address: SocketAddr, options: &str) -> String {
    format!("srt://{address}?mode=caller&latency={LATENCY}{options}")
}

/// Pushes a whole programme to targets, of which each is connected before its first frame.
fn push(rig: &Rig, names: &[&str], programme: &Programme) {
    rig.push(&programme.tracks);
    names.iter().for_each(|name| rig.connected(name, 1));
    rig.push_paced(names, &programme.frames);
}

#[test]
fn a_listener_receives_every_frame_until_the_end() {
    let (rig, programme) = (Rig::new(config()), Programme::new(2));
    let listen = |at| {
        let stream_id = Some("#!::r=live/one,m=publish");
        Receiver::start(&rig.runtime, at, Policy { stream_id, ..Policy::default() })
    };
    let (v4, v6) = (listen("127.0.0.1:0"), listen("[::1]:0"));
    for (name, receiver) in [("v4", &v4), ("v6", &v6)] {
        rig.add(name, &url(receiver.address, "&streamid=%23!::r=live%2Fone,m=publish"));
    }
    push(&rig, &["v4", "v6"], &programme);
    wait_for("an empty queue", || (rig.stats("v4").queue_bytes == 0).then_some(()));
    rig.until("v4", "broadcasting");
    assert!(rig.stats("v4").rtt.is_some_and(|rtt| rtt > Duration::ZERO), "{:?}", rig.stats("v4"));
    rig.finish();
    for (name, receiver) in [("v4", &v4), ("v6", &v6)] {
        programme.assert_received_as(TRACKS, &frames(&receiver.received()), &programme.expected());
        assert_eq!(rig.states(name), ["starting", "broadcasting", "idle"]);
        assert_eq!(receiver.handshakes(), 1);
    }
}

#[test]
fn a_header_that_changes_is_sent_on() {
    let (rig, programme) = (Rig::new(config()), Programme::of(&[SMALL, LARGE]));
    let receiver = Receiver::start(&rig.runtime, "127.0.0.1:0", Policy::default());
    rig.add("srt", &url(receiver.address, ""));
    push(&rig, &["srt"], &programme);
    rig.finish();
    let received = receiver.received();
    let resolutions: Vec<_> = tracks(&received).iter().filter_map(|track| track.codec.resolution()).collect();
    assert_eq!(resolutions, [(320, 240), (480, 270)]);
    assert_eq!((frames(&received).len(), receiver.handshakes()), (programme.expected().len(), 1));
}

#[test]
fn srt_live_transmit_decrypts_every_key_length() {
    let (rig, programme) = (Rig::new(config()), Programme::new(1));
    let names = ["16", "24", "32"];
    let programs = names.map(|length| LiveTransmit::start(&format!("&passphrase={PASSPHRASE}&pbkeylen={length}")));
    for (name, program) in names.iter().zip(&programs) {
        rig.add(name, &url(program.address, &format!("&passphrase={ENCODED}&pbkeylen={name}")));
    }
    push(&rig, &names, &programme);
    let expected = programme.expected();
    for (name, program) in names.iter().zip(&programs) {
        wait_for("all frames", || (rig.stats(name).frames == expected.len() as u64).then_some(()));
        program.wait_for(rig.stats(name).bytes);
    }
    rig.finish();
    for (name, program) in names.iter().zip(programs) {
        programme.assert_received_as(TRACKS, &frames(&program.recording()), &expected);
        assert_eq!(rig.states(name), ["starting", "broadcasting", "idle"]);
    }
}

/// Returns the hashes of decoded video frames in ffmpeg's `framemd5`.
fn hashes(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().expect("a hash").trim().to_owned()).collect()
}

#[test]
fn ffmpeg_decodes_what_was_pushed() {
    // ffmpeg does not read what is left when a connection ends, so it must end first.
    const FRAMES: &str = "140";
    let (address, rig, programme) = (free_address(), Rig::new(config()), Programme::new(1));
    let ffmpeg = |input: &str| {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "mpegts", "-i", input]);
        command
            .args(["-map", "0:v", "-fps_mode", "passthrough", "-frames:v", FRAMES, "-f", "framemd5", "-"])
            .stdout(Stdio::piped());
        command
    };
    // ffmpeg expects microseconds.
    let listener = format!("srt://{address}?mode=listener&passphrase={PASSPHRASE}&latency={}", LATENCY * 1_000);
    let process = Process(ffmpeg(&listener).stdin(Stdio::null()).spawn().expect("ffmpeg runs"));
    rig.add("ffmpeg", &url(address, &format!("&passphrase={ENCODED}")));
    push(&rig, &["ffmpeg"], &programme);
    let received = process.output();
    rig.finish();

    let mut local = ffmpeg("-").stdin(Stdio::piped()).spawn().map(Process).expect("ffmpeg runs");
    let mut stdin = local.0.stdin.take().expect("a pipe");
    let stream = transport_stream(&programme);
    // ffmpeg closes the pipe after the last of the frames.
    std::thread::spawn(move || stdin.write_all(&stream));
    let expected = hashes(&local.output());
    assert_eq!(expected.len().to_string(), FRAMES);
    assert_eq!(hashes(&received), expected);
}

/// Returns the frames of the programme as the muxer writes them.
fn transport_stream(programme: &Programme) -> Vec<u8> {
    let (mut muxer, mut bytes) = (Muxer::default(), Vec::new());
    for item in &programme.tracks {
        let Item::Track(track) = item else { continue };
        muxer.add_track(track).expect("a codec of MPEG-TS");
    }
    for frame in programme.expected() {
        muxer.frame(&frame).expect("a valid frame");
        while let Some(datagram) = muxer.datagram().or_else(|| muxer.flush()) {
            bytes.extend_from_slice(&datagram);
        }
    }
    bytes
}

#[test]
fn hevc_ac3_and_opus_are_carried() {
    let (rig, programme) = (Rig::new(config()), Programme::of_other_codecs());
    let receiver = Receiver::start(&rig.runtime, "127.0.0.1:0", Policy::default());
    rig.add("srt", &url(receiver.address, ""));
    push(&rig, &["srt"], &programme);
    rig.finish();
    let names: Vec<_> = tracks(&receiver.received()).iter().map(|track| track.codec.name()).collect();
    assert_eq!(BTreeSet::from_iter(names), BTreeSet::from(["HEVC", "AC-3", "Opus"]));
    assert_eq!(frames(&receiver.received()).len(), programme.expected().len());
}

#[test]
fn refusals_are_explained_and_wrong_secrets_are_fatal() {
    let rig = Rig::new(config());
    let start = |policy| Receiver::start(&rig.runtime, "127.0.0.1:0", policy);
    let secret = start(Policy { passphrase: Some(PASSPHRASE), ..Policy::default() });
    let open = start(Policy::default());
    let with = |rejection| start(Policy { stream_id: Some("good"), rejection: Some(rejection), ..Policy::default() });
    let rejections = [
        ("unauthorized", Rejection::UNAUTHORIZED, "the authentication in the stream id failed (reason 1401)"),
        ("forbidden", Rejection::FORBIDDEN, "access is forbidden (reason 1403)"),
        ("unacceptable", Rejection::UNACCEPTABLE, "the request in the stream id is not acceptable (reason 1406)"),
    ];
    let mut expected = vec![
        ("wrong", url(secret.address, "&passphrase=hush+hush+hush"), "the passphrase is wrong (reason 10)"),
        ("none", url(secret.address, ""), "it requires a passphrase and got none, or it takes none (reason 11)"),
        ("unexpected", url(open.address, &format!("&passphrase={ENCODED}")), "it takes none (reason 11)"),
    ];
    let receivers = rejections.map(|(_, rejection, _)| with(rejection));
    for ((name, _, reason), receiver) in rejections.iter().zip(&receivers) {
        expected.push((name, url(receiver.address, "&streamid=hush"), reason));
    }
    let overloaded = with(Rejection::OVERLOAD);
    expected.iter().for_each(|(name, url, _)| rig.add(name, url));
    let programme = Programme::new(1);
    rig.push(&programme.tracks);
    for (name, _, reason) in &expected {
        rig.until(name, "errored fatal");
        let found = rig.reason(name);
        assert!(found.starts_with("the target refused the connection: ") && found.ends_with(reason), "{found}");
        assert!(!found.contains("hush"), "{found}");
    }
    assert!(receivers.iter().all(|receiver| receiver.handshakes() == 1));

    assert!(rig.simulcast.remove(&"wrong".into()));
    rig.add("overloaded", &url(overloaded.address, "&streamid=hush"));
    rig.until("overloaded", "errored normal");
    wait_for("another attempt", || {
        rig.push(&programme.frames[programme.frames.len() - 1..]);
        (overloaded.handshakes() > 1).then_some(())
    });
    assert!(rig.reason("overloaded").ends_with("it is overloaded, or a limit is exceeded (reason 1402)"));
    rig.finish();
}

#[test]
fn addresses_are_checked_and_silence_is_a_timeout() {
    let mut config = config();
    config.timeouts.connect = Duration::from_millis(300);
    let rig = Rig::new(config);
    rig.add("cloud", "srt://169.254.169.254:9000");
    rig.add("cloud-6", "srt://[fd00:ec2::254]:9000");
    rig.add("silent", &url(free_address(), ""));
    rig.push(&Programme::new(1).tracks);
    for name in ["cloud", "cloud-6"] {
        rig.until(name, "errored fatal");
        assert!(rig.reason(name).contains("simulcast.allow_link_local"), "{}", rig.reason(name));
    }
    rig.until("silent", "errored normal");
    assert_eq!(rig.reason("silent"), "the target accepted no connection in time");
    rig.finish();
}

#[test]
fn a_receiver_that_is_killed_is_called_again() {
    let (rig, programme) = (Rig::new(config()), Programme::new(2));
    let mut program = LiveTransmit::start("");
    rig.add("killed", &url(program.address, ""));
    let (first, rest) = programme.frames.split_at(programme.frames.len() / 2);
    rig.push(&programme.tracks);
    rig.connected("killed", 1);
    rig.push_paced(&["killed"], first);
    program.wait_for(100_000);
    program.kill();
    rig.until("killed", "errored normal");
    program.restart();
    // The target is dialled only while media comes, and starts at a key frame.
    wait_for("a connection", || {
        rig.push(&rest[rest.len() - 1..]);
        (rig.stats("killed").connects == 2).then_some(())
    });
    rig.push_paced(&["killed"], rest);
    rig.until("killed", "broadcasting");
    rig.finish();
    let received = frames(&program.recording());
    assert!(received.first().is_some_and(|frame| frame.access.is_independent()), "{:?}", received.first());
    assert_eq!(rig.states("killed"), ["starting", "broadcasting", "errored normal", "broadcasting", "idle"]);
}

#[test]
fn receivers_that_stop_lose_only_their_own_frames() {
    let mut config = config();
    (config.timeouts.write, config.timeouts.close) = (Duration::from_secs(2), Duration::from_millis(500));
    let (rig, programme) = (Rig::new(config), Programme::new(3));
    let (program, server) = (LiveTransmit::start(""), Server::start(&rig.runtime, Behaviour::Answers(vec![])));
    let unread = Receiver::start(&rig.runtime, "127.0.0.1:0", Policy { never_reads: true, ..Policy::default() });
    rig.add("frozen", &url(program.address, ""));
    rig.add("unread", &url(unread.address, ""));
    rig.add_at("healthy", server.address);
    rig.push(&programme.tracks);
    ["frozen", "unread", "healthy"].into_iter().for_each(|name| rig.connected(name, 1));
    program.freeze();
    rig.push_paced(&["healthy"], &programme.frames);
    assert!(rig.simulcast.remove(&"healthy".into()));
    rig.until("healthy", "idle");
    programme.assert_received(&server.frames(), &programme.expected());
    assert_eq!(rig.states("healthy"), ["starting", "broadcasting", "idle"]);
    // libsrt has large buffers on both sides.
    let mut frames = programme.frames.chunks(100).cycle();
    for name in ["frozen", "unread"] {
        wait_for("a failure", || {
            rig.push(frames.next().expect("no end"));
            (rig.stats(name).failures > 0).then_some(())
        });
        assert!(rig.stats(name).dropped_frames > 0 && rig.stats(name).queue_bytes <= 512 * 1_024);
        assert_eq!(rig.reason(name), "the target accepted no data for too long");
        assert_eq!(rig.states(name)[..3], ["starting", "broadcasting", "errored normal"]);
    }
    rig.finish();
}

#[test]
fn tracks_that_mpeg_ts_cannot_carry() {
    let (rig, programme) = (Rig::new(config()), Programme::new(1));
    let receiver = Receiver::start(&rig.runtime, "127.0.0.1:0", Policy::default());
    rig.add("second", &url(receiver.address, ""));
    let flac = media::codec::flac::Config::parse(&flac_header()).expect("a valid header");
    let audio = |id| Item::Track(Track::new(TrackId(id), CodecConfig::Flac(flac.clone())));
    rig.push(&programme.tracks);
    rig.push(&[audio(99)]);
    rig.connected("second", 1);
    rig.push_paced(&["second"], &programme.frames);
    rig.until("second", "broadcasting");
    rig.finish();
    assert_eq!(tracks(&receiver.received()).len(), 2, "{:?}", demux(&receiver.received()).first());
    programme.assert_received_as(TRACKS, &frames(&receiver.received()), &programme.expected());

    let rig = Rig::new(config());
    rig.add("only", &url(receiver.address, ""));
    rig.push(&[audio(1)]);
    rig.connected("only", 1);
    wait_for("a failure", || {
        let frame = programme.expected().into_iter().next().expect("frames");
        rig.push(&[Item::Frame(media::Frame { track: TrackId(1), ..frame })]);
        (rig.stats("only").failures == 1).then_some(())
    });
    rig.until("only", "errored fatal");
    assert_eq!(rig.reason("only"), "the target cannot take the programme: FLAC cannot be carried in MPEG-TS");
    rig.finish();
}

/// Returns a FLAC header: 48 kHz, stereo, 16 bits, blocks of 4 096.
fn flac_header() -> Vec<u8> {
    let mut header = vec![b'f', b'L', b'a', b'C', 0x80, 0, 0, 34, 16, 0, 16, 0, 0, 0, 0, 0, 0, 0];
    header.extend([0x0b, 0xb8, 0x02, 0xf0, 0, 0, 0, 0]);
    header.resize(header.len() + 16, 0);
    header
}
