//! Targets that misbehave, and the healthy targets beside them.

use std::time::Duration;

use media::{Frame, Kind, Timescale, Timestamp};
use slate::Item;
use tokio::sync::watch;
use wire::flv::VIDEO_TRACK;

use crate::media::Programme;
use crate::programs::Nginx;
use crate::rig::{Rig, config, wait_for};
use crate::servers::{Behaviour, Server};

const HEALTHY: [&str; 2] = ["nginx", "server"];

#[test]
fn six_bad_targets_cost_the_healthy_ones_no_frame() {
    let mut config = config();
    config.max_targets = 8;
    config.timeouts.handshake = Duration::from_secs(8);
    let (rig, programme) = (Rig::new(config), Programme::new(3));
    let (thaw, frozen) = watch::channel(false);
    let (nginx, mut killed) = (Nginx::start(), Nginx::start());
    let start = |behaviour| Server::start(&rig.runtime, behaviour);
    let server = start(Behaviour::Answers(vec![]));
    let frozen = start(Behaviour::Frozen(frozen));
    let (silent, refuses, closes) =
        (start(Behaviour::NeverReads), start(Behaviour::RefusesKey), start(Behaviour::Closes));
    rig.add("nginx", &nginx.url());
    rig.add("server", &format!("rtmp://{}/app", server.address));
    rig.add("killed", &killed.url());
    rig.add("cloud", "rtmp://169.254.169.254/app");
    for (name, server) in [("frozen", &frozen), ("silent", &silent), ("refuses", &refuses), ("closes", &closes)] {
        rig.add_at(name, server.address);
    }
    rig.push(&programme.tracks);
    ["nginx", "server", "killed", "frozen"].into_iter().for_each(|name| rig.connected(name, 1));

    let (first, rest) = programme.frames.split_at(programme.frames.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    rig.push_paced(&HEALTHY, first);
    wait_for("dropped frames", || (rig.stats("frozen").dropped_frames > 0).then_some(()));
    rig.until("killed", "broadcasting");
    killed.kill();
    rig.push_paced(&HEALTHY, second);
    rig.until("killed", "errored normal");
    rig.until("silent", "errored normal");
    killed.restart();
    thaw.send(true).expect("a server");
    wait_for("an empty queue", || (rig.stats("frozen").queue_bytes == 0).then_some(()));
    // The target is dialled only while media comes, and starts at a key frame.
    let mut third = third.iter();
    while rig.stats("killed").connects < 2 {
        let attempts = || Some(rig.stats("killed")).map(|stats| stats.connects + stats.failures);
        let (before, item) = (attempts(), third.next().expect("connected before the end"));
        rig.push_paced(&HEALTHY, std::slice::from_ref(item));
        if matches!(item, Item::Frame(_)) {
            wait_for("an attempt", || (attempts() != before).then_some(()));
        }
    }
    rig.push_paced(&["nginx", "server", "frozen"], third.as_slice());
    rig.until("killed", "broadcasting");
    let healthy = HEALTHY.map(|name| rig.stats(name));
    rig.finish();

    let expected = programme.expected();
    programme.assert_received(&nginx.recording(expected.len()), &expected);
    programme.assert_received(&server.frames(), &expected);
    assert!(healthy.iter().all(|stats| (stats.dropped_frames, stats.failures) == (0, 0)), "{healthy:?}");
    assert_states(&rig);
    assert_resumes_at_key_frames(&programme, &frozen);
    assert_eq!(refuses.connections(), 1);
    assert!(rig.reason("refuses").contains("unknown: ***"), "{}", rig.reason("refuses"));
    assert!(rig.reason("cloud").contains("simulcast.allow_link_local"), "{}", rig.reason("cloud"));
}

/// Asserts that each target had each transition once, in order.
fn assert_states(rig: &Rig) {
    for (name, states) in [
        ("nginx", "starting broadcasting idle"),
        ("server", "starting broadcasting idle"),
        ("frozen", "starting broadcasting idle"),
        ("killed", "starting broadcasting errored normal broadcasting idle"),
        ("silent", "starting errored normal idle"),
        ("closes", "starting errored normal idle"),
        ("refuses", "starting errored fatal idle"),
        ("cloud", "starting errored fatal idle"),
    ] {
        assert_eq!(rig.states(name).join(" "), states, "{name}");
    }
}

/// Asserts that video which follows missing video begins with a key frame, and that the last frames have arrived.
fn assert_resumes_at_key_frames(programme: &Programme, server: &Server) {
    let expected = programme.expected();
    let origin = expected.first().expect("frames").dts;
    let video = |frames: Vec<Frame>, id, origin| {
        let of_track = frames.into_iter().filter(move |frame| frame.track == id);
        of_track.map(move |frame| (Timescale::MILLIS.delta_ticks(frame.dts - origin), frame.access)).collect::<Vec<_>>()
    };
    let sent = video(expected, programme.track(Kind::Video), origin);
    let (mut next, mut gaps) = (0, 0);
    for frame in video(server.frames(), VIDEO_TRACK, Timestamp::ZERO) {
        let skipped = sent[next..].iter().position(|sent| *sent == frame).expect("a frame that was sent");
        assert!(skipped == 0 || frame.1.is_independent(), "video continues in the middle of a GOP");
        gaps += usize::from(skipped > 0);
        next += skipped + 1;
    }
    assert!(gaps > 0);
    assert_eq!(next, sent.len());
}

#[test]
fn a_server_that_stops_reading_is_given_up() {
    let mut config = config();
    config.timeouts.write = Duration::from_millis(300);
    config.timeouts.close = Duration::from_millis(300);
    let (rig, programme) = (Rig::new(config), Programme::new(1));
    let (_thaw, frozen) = watch::channel(false);
    let server = Server::start(&rig.runtime, Behaviour::Frozen(frozen));
    rig.add_at("frozen", server.address);
    rig.push(&programme.tracks);
    rig.connected("frozen", 1);
    rig.push(&programme.frames);
    wait_for("a failure", || (rig.states("frozen").len() >= 3).then_some(()));
    rig.finish();
    assert_eq!(rig.states("frozen")[..3], ["starting", "broadcasting", "errored normal"]);
}

#[test]
fn servers_that_never_publish_are_bounded() {
    let mut config = config();
    config.timeouts.handshake = Duration::from_secs(2);
    let rig = Rig::new(config);
    let start = |behaviour| Server::start(&rig.runtime, behaviour);
    let endless = start(Behaviour::EndlessHandshake);
    let (garbage, floods) = (start(Behaviour::Garbage), start(Behaviour::Floods { publishes: false }));
    for (name, server) in [("endless", &endless), ("garbage", &garbage), ("floods", &floods)] {
        rig.add_at(name, server.address);
    }
    rig.push(&Programme::new(1).tracks);
    ["endless", "garbage", "floods"].into_iter().for_each(|name| rig.until(name, "errored normal"));
    assert_eq!(rig.reason("endless"), "the target did not start the publication in time");
    rig.finish();
    for name in ["endless", "garbage", "floods"] {
        assert_eq!(rig.states(name), ["starting", "errored normal", "idle"], "{name}: {}", rig.reason(name));
    }
}

#[test]
fn private_addresses_need_their_setting() {
    let mut config = config();
    config.addresses.allow_private = false;
    let rig = Rig::new(config);
    let server = Server::start(&rig.runtime, Behaviour::Answers(vec![]));
    rig.add("name", &format!("rtmp://localhost:{}/app", server.address.port()));
    rig.add_at("address", server.address);
    rig.push(&Programme::new(1).tracks);
    for name in ["name", "address"] {
        rig.until(name, "errored fatal");
        assert!(rig.reason(name).contains("simulcast.allow_private"), "{}", rig.reason(name));
    }
    rig.finish();
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_codec_that_the_target_cannot_take_is_fatal() {
    let (nginx, rig, programme) = (Nginx::start(), Rig::new(config()), Programme::new(1));
    rig.add("nginx", &nginx.url());
    let opus = media::codec::opus::Config::new(2).expect("stereo");
    let track = media::Track::new(programme.track(Kind::Audio), media::CodecConfig::Opus(opus));
    rig.push(&[programme.tracks[0].clone(), Item::Track(track)]);
    rig.connected("nginx", 1);
    rig.push(&programme.frames);
    rig.until("nginx", "errored fatal");
    assert!(rig.reason("nginx").contains("Opus"), "{}", rig.reason("nginx"));
    rig.finish();
    assert_eq!(rig.states("nginx"), ["starting", "errored fatal", "idle"]);
}

#[test]
fn a_server_that_floods_a_publication_is_bounded() {
    let rig = Rig::new(config());
    let server = Server::start(&rig.runtime, Behaviour::Floods { publishes: true });
    rig.add_at("floods", server.address);
    rig.push(&Programme::new(1).tracks);
    rig.until("floods", "errored normal");
    rig.finish();
    assert_eq!(rig.states("floods"), ["starting", "errored normal", "idle"], "{}", rig.reason("floods"));
}
