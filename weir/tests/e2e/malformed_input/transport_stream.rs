//! Faults of transport streams, over SRT.

use serde_json::json;

use super::{Case, SEAMLESS, assert_valid};
use crate::support::{Clip, Encoder, Server, clip, shared};

/// The 33-bit clock of 90 kHz wraps four seconds after the beginning.
#[test]
fn a_clock_that_wraps_over_srt_becomes_a_valid_programme() {
    let _machine = shared();
    let server = Server::start();
    let stream = server.api().create("low", json!({ "reconnect_window": 0 }));
    let (file, url) = (clip(&Clip::plain(12)), server.srt_url(&stream));
    let source = ["-re", "-i", file.to_str().expect("a UTF-8 path"), "-c", "copy"];
    let mut encoder =
        Encoder::ffmpeg(&[source.as_slice(), &["-output_ts_offset", "95440", "-f", "mpegts", &url]].concat());
    let renditions = server.playback(&stream).renditions();
    encoder.wait_for_success();
    assert_eq!(renditions.len(), 2, "video and audio");
    // Media in transit is lost when the encoder disconnects.
    let case = Case { name: "a clock of 33 bits that wraps", duration: 10.5..12.3, ..SEAMLESS };
    for rendition in &renditions {
        let list = rendition.wait_for("the end of the list", |list| list.ended);
        assert_valid(rendition, &list, &case);
    }
    assert!(!server.log().contains("jump"), "{}", server.log());
    let metrics = server.client().get("/metrics").text();
    let jumps = metrics.lines().filter(|line| line.starts_with("weir_stream_clock_jumps_total{"));
    assert!(jumps.into_iter().all(|line| line.ends_with(" 0")), "{metrics}");
}
