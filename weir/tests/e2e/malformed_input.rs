//! Contributions as bad as the real world sends them: made good, and the playlists and boxes say the truth of it.

mod bitstreams;
mod hls_js;
mod parameter_sets;
pub(crate) mod publisher;
mod timestamps;
mod transport_stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Clip, MediaPlaylist, Rendition, Server, clip, encode, fragments, shared, timescale, until};
use publisher::{AUDIO, Tag, VIDEO, publish, tags};

/// EXTINF is printed with a few decimals; this is more than rounding can be off by.
const PRINTED: f64 = 0.002;
/// Seconds that every clip lasts.
const SECONDS: u32 = 12;

/// A contribution and what has to come of it.
pub(crate) struct Case {
    name: &'static str,
    tags: fn() -> Vec<Tag>,
    /// Discontinuities in each rendition.
    breaks: usize,
    /// Init sections of the video.
    headers: usize,
    /// Segments that do not begin with an IDR.
    open: bool,
    /// Seconds of the programme.
    lasts: std::ops::Range<f64>,
}

/// Nothing to be seen of the trouble.
pub(crate) const SEAMLESS: Case = Case { name: "", tags: plain, breaks: 0, headers: 1, open: false, lasts: 11.7..12.3 };

pub(crate) fn plain() -> Vec<Tag> {
    tags(&clip(&Clip::plain(SECONDS)))
}

/// The plain clip with each tag changed, or left out.
pub(crate) fn changed(change: impl Fn(&mut Tag) -> bool) -> Vec<Tag> {
    plain().into_iter().filter_map(|mut tag| (tag.is_header() || change(&mut tag)).then_some(tag)).collect()
}

/// A file that ffmpeg makes with these words.
pub(crate) fn made(name: &str, words: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Scenarios that run at the same time may make the same file: it gets its name when it is whole.
    let draft = path.with_extension(format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-"));
    let format = if name.ends_with(".mkv") { "matroska" } else { "flv" };
    encode("ffmpeg", &format!("-f lavfi -i {words} -f {format}"), &draft);
    std::fs::rename(&draft, &path).expect("the file gets its name");
    path
}

/// Half of the plain clip, and then pictures of another size and rate.
pub(crate) fn other_size() -> Vec<Tag> {
    let words = "testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000 -t 6 -c:v libx264 -preset ultrafast \
                 -pix_fmt yuv420p -g 25 -bf 0 -c:a aac -ac 2";
    let mut all: Vec<_> = plain().into_iter().filter(|tag| tag.at < 6_000).collect();
    all.extend(tags(&made("bad-other.flv", words)).into_iter().map(|tag| Tag {
        at: tag.at + 6_000,
        comes: tag.comes + 6_000,
        ..tag
    }));
    all
}

fn open_gops() -> Vec<Tag> {
    let words = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 12 -c:v libx264 -preset veryfast \
                 -pix_fmt yuv420p -g 30 -bf 2 -sc_threshold 0 -x264-params open-gop=1 -c:a aac -ac 2";
    tags(&made("bad-open.flv", words))
}

fn each_twice_and_empty_ones() -> Vec<Tag> {
    let twice = |tag: Tag| {
        let mut empty = tag.clone();
        empty.body.truncate(if tag.kind == VIDEO { 5 } else { 2 });
        let empty = (!tag.is_header()).then_some(empty);
        [Some(tag.clone()), Some(tag), empty].into_iter().flatten()
    };
    plain().into_iter().flat_map(twice).collect()
}

fn cases() -> Vec<Case> {
    vec![
        Case { name: "a clock that jumps by an hour", tags: || changed(|tag| shift_late(tag, 3_600_000)), ..SEAMLESS },
        Case { name: "a clock that goes back", tags: || changed(|tag| shift_late(tag, -5_000)), ..SEAMLESS },
        Case { name: "a clock that wraps", tags: wrapped, ..SEAMLESS },
        Case { name: "frames that are empty or come twice", tags: each_twice_and_empty_ones, ..SEAMLESS },
        Case {
            name: "sound after the pictures",
            tags: || changed(|tag| tag.kind == VIDEO || tag.at >= 3_000),
            ..SEAMLESS
        },
        Case { name: "sound that never comes", tags: || changed(|tag| tag.kind == VIDEO), ..SEAMLESS },
        Case {
            name: "sound that stops for a while",
            tags: || changed(|tag| tag.kind == VIDEO || !(4_000..9_000).contains(&tag.at)),
            ..SEAMLESS
        },
        Case { name: "sound dated ahead of the pictures", tags: || changed(dated_ahead), ..SEAMLESS },
        Case {
            name: "sound before the pictures",
            tags: || changed(|tag| tag.kind == AUDIO || tag.at >= 3_000),
            lasts: 8.7..9.3,
            ..SEAMLESS
        },
        Case {
            name: "pictures that stop for a while",
            tags: || changed(|tag| tag.kind == AUDIO || !(4_000..8_000).contains(&tag.at)),
            ..SEAMLESS
        },
        Case {
            name: "a variable frame rate",
            tags: || changed(|tag| tag.kind == AUDIO || tag.body[0] >> 4 == 1 || tag.at % 7 < 4),
            ..SEAMLESS
        },
        Case {
            name: "pictures that never come back",
            tags: || changed(|tag| tag.kind == AUDIO || tag.at < 6_000),
            ..SEAMLESS
        },
        Case {
            name: "sound that never comes back",
            tags: || changed(|tag| tag.kind == VIDEO || tag.at < 6_000),
            ..SEAMLESS
        },
        Case { name: "half the frame rate", tags: || changed(halved_late), ..SEAMLESS },
        Case { name: "parameter sets in the pictures only", tags: || parameter_sets::in_band(plain()), ..SEAMLESS },
        Case {
            name: "parameter sets that change in the pictures",
            tags: || parameter_sets::changed_in_band(other_size(), 1),
            breaks: 1,
            headers: 2,
            ..SEAMLESS
        },
        Case { name: "another picture size and rate", tags: other_size, breaks: 1, headers: 2, ..SEAMLESS },
        Case { name: "open GOPs", tags: open_gops, open: true, ..SEAMLESS },
    ]
}

/// Sound that comes with pictures of three seconds before.
fn dated_ahead(tag: &mut Tag) -> bool {
    if tag.kind == AUDIO {
        (tag.at, tag.comes) = (tag.at + 3_000, tag.comes + 50);
    }
    true
}

/// Every other picture of the second half is away.
fn halved_late(tag: &mut Tag) -> bool {
    tag.kind == AUDIO || tag.at < 6_000 || is_kept(tag)
}

/// True for key frames and about every other picture at 30 frames a second.
fn is_kept(tag: &Tag) -> bool {
    tag.body[0] >> 4 == 1 || (tag.at * 30 / 1_000).is_multiple_of(2)
}

/// Moves the second half in time.
fn shift_late(tag: &mut Tag, by: i32) -> bool {
    if tag.at >= 6_000 {
        tag.at = tag.at.wrapping_add_signed(by);
    }
    true
}

/// RTMP's 32 bits of milliseconds run over in the middle.
fn wrapped() -> Vec<Tag> {
    plain().into_iter().map(|tag| Tag { at: tag.at.wrapping_sub(6_000), ..tag }).collect()
}

#[test]
fn bad_contributions_make_lawful_programmes() {
    let _machine = shared();
    let server = Server::start();
    for latency_mode in ["low", "reduced"] {
        for case in cases() {
            let stream = server.api().create(latency_mode, json!({ "reconnect_window": 0 }));
            let (port, key, tags) = (server.rtmp_port(), stream.key.clone(), (case.tags)());
            let publisher = std::thread::spawn(move || publish(port, &key, tags, false));
            let renditions = server.playback(&stream).renditions();
            publisher.join().expect("the publisher comes to its end");
            let lists: Vec<_> =
                renditions.iter().map(|r| r.wait_for("the end of the list", |list| list.ended)).collect();
            eprintln!("{latency_mode}, {}", case.name);
            assert_eq!(lists.len(), 2, "pictures and sound");
            for (rendition, list) in renditions.iter().zip(&lists) {
                assert_lawful(rendition, list, &case);
            }
            let ends: Vec<f64> = lists.iter().map(seconds).collect();
            assert!((ends[0] - ends[1]).abs() < 0.5, "{}: {ends:?}", case.name);
        }
    }
}

fn seconds(list: &MediaPlaylist) -> f64 {
    list.segments.iter().map(|segment| segment.duration).sum()
}

/// No gap, no overlap, truthful discontinuities, and what the case asks for.
pub(crate) fn assert_lawful(rendition: &Rendition, list: &MediaPlaylist, case: &Case) {
    let mut scales = BTreeMap::new();
    let mut next = None;
    for segment in &list.segments {
        let init = || f64::from(timescale(&rendition.fetch(&segment.map).body));
        let scale = *scales.entry(segment.map.clone()).or_insert_with(init);
        let found = fragments(&rendition.fetch(&segment.uri).body);
        assert!(!found.is_empty(), "{}: {} has no fragment", case.name, segment.uri);
        for fragment in &found {
            if let Some(next) = next.filter(|_| !segment.discontinuity) {
                assert_eq!(fragment.decode_time, next, "{}: gap or overlap in {}", case.name, segment.uri);
            }
            next = Some(fragment.decode_time + fragment.duration);
        }
        let lasts = found.iter().map(|fragment| fragment.duration).sum::<u64>() as f64 / scale;
        assert!((lasts - segment.duration).abs() < PRINTED, "{}: EXTINF {}, {lasts} s", case.name, segment.duration);
        assert!(segment.duration.round() <= list.target_duration, "{}: {}", case.name, list.text);
        let samples: u32 = found.iter().map(|fragment| fragment.samples).sum();
        assert!(samples > 0 && !segment.gap, "{}: {}", case.name, segment.uri);
    }
    let breaks = list.segments.iter().filter(|segment| segment.discontinuity).count();
    assert_eq!(breaks, case.breaks, "{}: {}", case.name, list.text);
    let lasts = seconds(list);
    assert!(case.lasts.contains(&lasts), "{}: {} lasts {lasts} s", case.name, rendition.path);
    if rendition.kind == "video" {
        assert_eq!(scales.len(), case.headers, "{}", case.name);
        assert_eq!(list.text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), !case.open, "{}", case.name);
    }
}

#[test]
fn key_frames_too_far_apart_are_refused_with_a_reason() {
    let _machine = shared();
    let server = Server::start();
    let words = "testsrc2=size=320x180:rate=10 -t 26 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 600 \
                 -keyint_min 600 -sc_threshold 0 -force_key_frames 0,2";
    let stream = server.api().create("low", json!({ "reconnect_window": 60 }));
    publish(server.rtmp_port(), &stream.key, tags(&made("bad-long.flv", words)), false);
    until("the refusal in the metrics", || {
        let text = server.client().get("/metrics").text();
        text.contains("weir_ingest_refusals_total{reason=\"long_gop\"} 1").then_some(())
    });
    until("the reason in the log", || server.log().contains("no key frame for more than 20 s").then_some(()));
    until("the event", || server.log().contains("video.live_stream.warning").then_some(()));
    // A better one goes on in the same playlists.
    publish(server.rtmp_port(), &stream.key, plain(), false);
    let list = server.playback(&stream).main();
    list.wait_for("the next contribution", |list| list.segments.iter().any(|segment| segment.discontinuity));
}
