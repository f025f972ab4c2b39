//! Encoders that are disconnected for nearly the whole reconnect window, on networks that do not close connections.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::{FIRST, LIVE_FRAMES, ladder_metric, transcoded, wait_for_growth};
use crate::encoder_change::Record;
use crate::support::{Relay, Server, shared, until};

/// The reconnect window, in seconds.
const WINDOW: u64 = 12;
/// Video frames of the slate in ten seconds, which leaves a busy machine two more before the window ends. The last frame
/// is repeated during the first half second.
const LAST_MOMENT: u64 = 285;
/// Frames of the slate after which the returning encoder starts. Its connection waits in the relay until then.
const EARLIER: u64 = 240;

#[test]
fn an_encoder_reconnects_at_the_end_of_its_window() {
    let _machine = shared();
    let server = Server::start();
    let stream = transcoded(&server, "low", json!({ "reconnect_window": WINDOW }));
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.rtmp_port()))).expect("a relay");
    let mut first = FIRST.push(&server, &stream);
    let mut records: Vec<_> = server.playback(&stream).renditions().into_iter().map(Record::new).collect();
    wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    relay.hold();
    first.kill();
    let mut wait_for_slate = |count: u64| {
        until(&format!("{count} frames of the slate"), || {
            records.iter_mut().for_each(Record::reload);
            assert_eq!(server.api().status(&stream), "active");
            (ladder_metric(&server, &stream, "slate_pictures_total") >= count).then_some(())
        });
    };
    wait_for_slate(EARLIER);
    let _second = FIRST.push_to(&format!("rtmp://{}/app/{}", relay.address(), stream.key));
    wait_for_slate(LAST_MOMENT);
    relay.release();
    wait_for_growth(&server, &stream, "live_pictures_total", LIVE_FRAMES);
    assert_eq!(server.api().status(&stream), "active");
    for record in &mut records {
        record.reload();
        assert_eq!(record.periods().len(), 1, "{} has a discontinuity", record.rendition.path);
        record.assert_continuous();
    }
    let log = server.log();
    assert!(!log.contains("video.live_stream.idle") && log.matches("broadcast started").count() == 1, "{log}");
}
