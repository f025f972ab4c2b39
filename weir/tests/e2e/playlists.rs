//! Playlists of whole broadcasts, including their first ten seconds, checked against rfc8216bis: regular and irregular
//! publishers, in every latency mode, with a strict reader while they send in real time.

use std::thread;

use serde_json::json;

use crate::malformed_input::publisher::{Tag, VIDEO, publish, tags};
use crate::malformed_input::{changed, encode_clip, other_size, plain};
use crate::support::{Encoder, Seen, Server, Stream, Watcher, shared};

const MODES: [&str; 3] = ["low", "reduced", "standard"];
/// Segments of a rendition after which a test with SRT ends.
const ENOUGH: usize = 3;

/// A contribution, and the effects that it may have on the playlists.
struct Case {
    name: &'static str,
    tags: fn() -> Vec<Tag>,
    /// True if a preload hint may turn out wrong and be withdrawn at once, because the end of the segment could not be
    /// predicted.
    surprises: bool,
    /// True if the bit rate grows by more than can be predicted.
    grows: bool,
    /// The maximum frame rate.
    rate: f64,
}

const REGULAR: Case = Case { name: "", tags: plain, surprises: false, grows: false, rate: 30.0 };

fn cases() -> Vec<Case> {
    vec![
        Case { name: "a regular stream", ..REGULAR },
        Case {
            name: "reordered frames",
            tags: || tags(&encode_clip("playlists-b.flv", &format!("{SOURCE} {REORDERED}"))),
            ..REGULAR
        },
        Case { name: "30, 10 and 2 frames a second", tags: || rates("drops", "30", DROPS), ..REGULAR },
        Case {
            name: "a screen share of 1 frame a second that changes to 60",
            tags: || rates("screen", "60", SCREEN),
            surprises: true,
            grows: true,
            rate: 60.0,
        },
        Case {
            name: "60 frames a second that change to 5",
            tags: || rates("slower", "60", SLOWER),
            rate: 60.0,
            ..REGULAR
        },
        Case { name: "irregular key frames", tags: || tags(&irregular("flv")), ..REGULAR },
        Case { name: "a GOP of 4 and one of 8 s", tags: || gops("playlists-long.flv", "0,4"), ..REGULAR },
        Case { name: "another size", tags: other_size, surprises: true, grows: true, rate: 25.0 },
        Case {
            name: "audio that stops for a while",
            tags: || changed(|tag| tag.kind == VIDEO || !(4_000..7_000).contains(&tag.at)),
            surprises: true,
            ..REGULAR
        },
        Case {
            name: "video that stops for a while",
            tags: || changed(|tag| tag.kind != VIDEO || !(4_000..7_500).contains(&tag.at)),
            surprises: true,
            grows: true,
            ..REGULAR
        },
    ]
}

const SOURCE: &str = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 12";
const REORDERED: &str =
    "-c:v libx264 -preset veryfast -pix_fmt yuv420p -b:v 600k -g 60 -bf 2 -sc_threshold 0 -c:a aac -ac 2";
/// 30 frames a second for 2 s, 10 and 2 for as long, and again.
const DROPS: &str = "if(lt(mod(t,6),2),1,if(lt(mod(t,6),4),not(mod(n,3)),not(mod(n,15))))";
const SCREEN: &str = "if(between(t,4,8),1,not(mod(n,60)))";
const SLOWER: &str = "if(between(t,4,8),not(mod(n,12)),1)";
const ENCODED: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -b:v 600k -c:a aac -ac 2";

/// Frames at rates that jump, with a key frame each second.
fn rates(name: &str, rate: &str, select: &str) -> Vec<Tag> {
    tags(&encode_clip(&format!("playlists-{name}.flv"), &varying(rate, select)))
}

fn varying(rate: &str, select: &str) -> String {
    format!(
        "testsrc2=size=320x180:rate={rate} -f lavfi -i sine=sample_rate=48000 -t 12 -vf select='{select}' -fps_mode vfr \
         {ENCODED} -force_key_frames expr:gte(t,n_forced)"
    )
}

fn irregular(format: &str) -> std::path::PathBuf {
    encode_with_keys(&format!("playlists-irregular.{format}"), "0,1,4.7,5.2,7.5,8.3,11.2")
}

fn gops(name: &str, keys: &str) -> Vec<Tag> {
    tags(&encode_with_keys(name, keys))
}

fn encode_with_keys(name: &str, keys: &str) -> std::path::PathBuf {
    encode_clip(name, &format!("{SOURCE} {ENCODED} -g 9999 -sc_threshold 0 -force_key_frames {keys}"))
}

fn assert_seen(latency_mode: &str, case: &Case, seen: &Seen) {
    let what = format!("{latency_mode}, {}: {seen:?}", case.name);
    eprintln!("{what}");
    assert!(case.surprises || seen.wrong_hints == 0, "{what}");
    assert!(latency_mode != "low" || seen.hints > 8, "{what}");
    assert!(case.grows || seen.outgrown.is_empty(), "{what}");
    let rate = seen.frame_rate.expect("a frame rate");
    assert!((case.rate * 0.97..case.rate * 1.05).contains(&rate), "{what}");
}

#[test]
fn playlists_of_all_publishers_conform() {
    let _machine = shared();
    let server = Server::start();
    for latency_mode in MODES {
        thread::scope(|scope| {
            for case in cases() {
                let server = &server;
                scope.spawn(move || {
                    let stream = server.api().create(latency_mode, json!({ "reconnect_window": 0 }));
                    let watcher = Watcher::start(server, &stream);
                    publish(server.rtmp_port(), &stream.key, (case.tags)(), true);
                    server.api().wait_for(&stream, "idle");
                    let seen = watcher.finish(&format!("{latency_mode}, {}", case.name));
                    assert_seen(latency_mode, &case, &seen);
                });
            }
        });
    }
}

#[test]
fn playlists_of_srt_publishers_conform() {
    let _machine = shared();
    let server = Server::start();
    let files = [
        ("rates that jump", encode_clip("playlists-rates.mkv", &varying("30", DROPS)), 30.0),
        ("irregular key frames", irregular("mkv"), 30.0),
    ];
    let push = |stream: &Stream, file: &std::path::Path| {
        let file = file.to_str().expect("a UTF-8 path");
        Encoder::ffmpeg(&["-re", "-i", file, "-c", "copy", "-f", "mpegts", &server.srt_url(stream)])
    };
    let mut watched = Vec::new();
    for latency_mode in MODES {
        for (name, file, rate) in &files {
            let stream = server.api().create(latency_mode, json!({}));
            let watcher = Watcher::start(&server, &stream);
            watched.push((latency_mode, name, rate, watcher, push(&stream, file)));
        }
    }
    for (latency_mode, name, rate, watcher, encoder) in watched {
        watcher.wait_for(ENOUGH);
        let seen = watcher.finish(&format!("SRT, {latency_mode}, {name}"));
        drop(encoder);
        assert_seen(latency_mode, &Case { name, rate: *rate, surprises: true, ..REGULAR }, &seen);
    }
}
