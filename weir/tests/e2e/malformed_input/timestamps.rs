//! Contributions whose clocks, headers or tracks are wrong in ways that only show over time. Each is sent in real time.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use super::publisher::{AUDIO, Tag, VIDEO, publish, tags};
use super::{Case, SEAMLESS, SECONDS, assert_valid, changed, encode_clip, plain, seconds};
use crate::encoder_change::{AVC, By, Turn};
use crate::support::{Encoder, MediaPlaylist, Server, Stream, alone, shared, until};

/// Tolerance for rounding and jitter of dates, in seconds.
const JITTER: f64 = 0.5;

/// Audio timestamps three seconds earlier than those of the video that is sent with it.
fn audio_late() -> Vec<Tag> {
    changed(|tag| {
        tag.at += if tag.kind == VIDEO { 3_000 } else { 0 };
        true
    })
}

/// Message timestamps that rise briefly and then stay within some milliseconds, as in StreamPack#58.
fn stalled() -> Vec<Tag> {
    changed(|tag| {
        tag.at = if tag.at < 200 { tag.at } else { 210 + tag.at * 7 % 30 };
        true
    })
}

/// From 5.1 s on, in the middle of a GOP, mono audio of another sample rate with its own header.
fn other_audio() -> Vec<Tag> {
    let arguments = "sine=sample_rate=44100 -t 6.9 -c:a aac -ac 1";
    let mut all: Vec<_> = plain().into_iter().filter(|tag| tag.kind == VIDEO || tag.at < 5_100).collect();
    let other = tags(&encode_clip("bad-mono.flv", arguments)).into_iter();
    all.extend(other.map(|tag| Tag { at: tag.at + 5_100, sent_at: tag.sent_at + 5_100, ..tag }));
    all
}

/// Two contributions, the second without one of the tracks.
fn without(kind: u8) -> [Vec<Tag>; 2] {
    let half = |tag: &Tag| tag.at < SECONDS * 1_000 / 2;
    [
        plain().into_iter().filter(half).collect(),
        plain().into_iter().filter(|tag| tag.kind != kind && half(tag)).collect(),
    ]
}

/// Returns the faults of a stream in the metrics.
fn faults(server: &Server, stream: &Stream) -> BTreeSet<String> {
    let metrics = server.client().get("/metrics").text();
    let fault = |line: &str| {
        let (head, count) = line.strip_prefix("weir_stream_faults_total{fault=\"")?.rsplit_once(' ')?;
        let (fault, rest) = head.split_once('"')?;
        (rest.contains(&stream.id) && count != "0").then(|| fault.to_owned())
    };
    metrics.lines().filter_map(fault).collect()
}

/// Returns the milliseconds of a date within its day.
fn millis(date: &str) -> f64 {
    let clock = date.split_once('T').expect("a date").1.trim_end_matches('Z');
    clock.split(':').fold(0.0, |sum, n| sum * 60.0 + n.parse::<f64>().expect("a number")) * 1_000.0
}

/// Checks that the dates of segments agree with their durations.
fn assert_dates(name: &str, list: &MediaPlaylist) {
    let dates: Vec<_> =
        list.segments.iter().map(|segment| millis(segment.date_time.as_deref().expect("a date"))).collect();
    for (segment, two) in list.segments.iter().zip(dates.windows(2)) {
        let off = (two[1] - two[0]) / 1_000.0 - segment.duration;
        assert!(off.abs() < JITTER && two[1] > two[0], "{name}: {off} s after {}\n{}", segment.uri, list.text);
    }
}

#[test]
fn wrong_clocks_headers_and_tracks_are_repaired_and_reported() {
    let _machine = shared();
    let server = Server::start();
    let once = |tags: Vec<Tag>| vec![tags];
    let cases: [(Case, Vec<Vec<Tag>>, &str); 5] = [
        (Case { name: "late audio", ..SEAMLESS }, once(audio_late()), "tracks_apart"),
        (Case { name: "stalled timestamps", duration: 11.0..13.0, ..SEAMLESS }, once(stalled()), "stalled_timestamps"),
        (Case { name: "other audio", discontinuities: 1, ..SEAMLESS }, once(other_audio()), "header_change"),
        // A slate fills the reconnect window after the last one. It also comes before audio alone, for as long as video
        // may follow.
        (
            Case { name: "no audio", discontinuities: 2, init_sections: 2, duration: 13.5..16.0, ..SEAMLESS },
            without(AUDIO).into(),
            "missing_track",
        ),
        (
            Case { name: "no video", discontinuities: 3, init_sections: 4, duration: 13.0..16.0, ..SEAMLESS },
            without(VIDEO).into(),
            "missing_track",
        ),
    ];
    let (server, port) = (&server, server.rtmp_port());
    thread::scope(|scope| {
        for latency_mode in ["low", "reduced"] {
            for (case, contributions, fault) in &cases {
                let settings = json!({ "reconnect_window": if contributions.len() > 1 { 3 } else { 0 } });
                scope.spawn(move || {
                    let stream = server.api().create(latency_mode, settings);
                    let (key, contributions) = (stream.key.clone(), contributions.clone());
                    let publisher = thread::spawn(move || {
                        contributions.into_iter().for_each(|tags| publish(port, &key, tags, true));
                    });
                    let renditions = server.playback(&stream).renditions();
                    publisher.join().expect("the publisher ends");
                    assert!(faults(server, &stream).contains(*fault), "{}: {:?}", case.name, faults(server, &stream));
                    assert_eq!(renditions.len(), 2, "{}", case.name);
                    let mut ends = Vec::new();
                    for rendition in &renditions {
                        let list = rendition.wait_for("the end of the list", |list| list.ended);
                        assert_valid(rendition, &list, case);
                        assert_dates(case.name, &list);
                        ends.push(seconds(&list));
                    }
                    assert!((ends[0] - ends[1]).abs() < 0.5, "{}: {ends:?}", case.name);
                });
            }
        }
    });
}

/// Returns `weir_stream_live_edge_seconds`: the distance of the newest published media from the wall clock.
fn live_edge(server: &Server, stream: &Stream) -> f64 {
    let metrics = server.client().get("/metrics").text();
    let head = format!("weir_stream_live_edge_seconds{{live_stream=\"{}\"}} ", stream.id);
    let value = metrics.lines().find_map(|line| line.strip_prefix(&head)).expect("the live edge is in the metrics");
    value.parse().expect("a number")
}

/// Media whose time the slate has filled is dropped, so that viewers are as close to live after each freeze as before.
#[test]
fn viewers_stay_close_to_live_after_the_network_freezes() {
    let _machine = alone();
    let server = Server::start();
    let create = |mode: &str| {
        let settings = json!({ "reconnect_window": 60, "use_slate_for_standard_latency": true });
        server.api().create(mode, settings)
    };
    let streams = [create("low"), create("reduced"), create("standard"), create("low")];
    let pushed =
        [By::Rtmp, By::Rtmp, By::Rtmp, By::Srt].map(|by| Turn { by, size: "640x360", encoder: AVC, codec: "avc1." });
    let encoders: Vec<_> = pushed.iter().zip(&streams).map(|(turn, stream)| turn.push(&server, stream)).collect();
    until("the slates", || (server.log().matches("the slate is ready").count() >= streams.len()).then_some(()));
    // At most the open segment is missing.
    let near = |what: &str, mode_segment: f64, stream: &Stream| {
        until(what, || {
            let edge = live_edge(&server, stream);
            (-JITTER..mode_segment + JITTER).contains(&edge).then_some(())
        });
    };
    let near_all = |what: &str| {
        for (stream, segment) in streams.iter().zip([0.3, 2.0, 4.0, 0.3]) {
            near(what, segment, stream);
        }
    };
    near_all("the live edge");
    for freeze in [5, 3] {
        encoders.iter().for_each(Encoder::freeze);
        std::thread::sleep(std::time::Duration::from_secs(freeze));
        encoders.iter().for_each(Encoder::thaw);
        for stream in &streams {
            until("the encoder to be back", || faults(&server, stream).contains("backlog_dropped").then_some(()));
        }
        for _ in 0..40 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            for stream in &streams {
                let edge = live_edge(&server, stream);
                assert!(edge > -JITTER, "{edge} s: it is in the future");
            }
        }
        near_all("the live edge again");
    }
}
