//! Encoders that are away for nearly as long as the reconnect window, behind networks that say nothing.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::{BACK, FIRST, encoded, figure, grows};
use crate::encoder_change::Record;
use crate::support::{Relay, Server, shared, until};

/// Seconds.
const WINDOW: u64 = 12;
/// Pictures of the slate in eleven seconds, the first half of one being held.
const LAST_MOMENT: u64 = 315;
/// When the encoder that is to return is started: its beginning waits in the network for the moment.
const EARLIER: u64 = 240;

#[test]
fn an_encoder_returns_in_the_last_moment_of_its_window() {
    let _machine = shared();
    let server = Server::start();
    let stream = encoded(&server, "low", json!({ "reconnect_window": WINDOW }));
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.rtmp_port()))).expect("a relay");
    let mut first = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    grows(&server, &stream, "live_pictures_total", BACK);
    relay.hold();
    first.kill();
    let mut slates = |most: u64| {
        until(&format!("{most} pictures of the slate"), || {
            records.iter_mut().for_each(Record::reload);
            assert_eq!(server.api().status(&stream), "active");
            (figure(&server, &stream, "slate_pictures_total") >= most).then_some(())
        });
    };
    slates(EARLIER);
    let _second = FIRST.push_to(&format!("rtmp://{}/app/{}", relay.address(), stream.key));
    slates(LAST_MOMENT);
    relay.release();
    grows(&server, &stream, "live_pictures_total", BACK);
    assert_eq!(server.api().status(&stream), "active");
    for record in &mut records {
        record.reload();
        assert_eq!(record.runs().len(), 1, "{} breaks", record.rendition.path);
        record.assert_continuous();
    }
    let log = server.log();
    assert!(!log.contains("video.live_stream.idle") && log.matches("broadcast started").count() == 1, "{log}");
}
