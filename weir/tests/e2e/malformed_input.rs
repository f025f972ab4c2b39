//! Contributions as malformed as encoders send them in practice. Weir repairs them, and playlists and boxes stay
//! correct.

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

/// EXTINF has only a few decimals. Rounding errors are smaller than this, in seconds.
const EXTINF_ROUNDING: f64 = 0.002;
/// Duration of every clip, in seconds.
const SECONDS: u32 = 12;

/// A contribution and the expected programme.
pub(crate) struct Case {
    name: &'static str,
    tags: fn() -> Vec<Tag>,
    /// Discontinuities in each rendition.
    discontinuities: usize,
    /// Init sections of the video.
    init_sections: usize,
    /// True if segments may begin without an IDR picture.
    open_gop: bool,
    /// Duration of the programme, in seconds.
    duration: std::ops::Range<f64>,
}

/// A programme in which the fault leaves no trace.
pub(crate) const SEAMLESS: Case =
    Case { name: "", tags: plain, discontinuities: 0, init_sections: 1, open_gop: false, duration: 11.7..12.3 };

pub(crate) fn plain() -> Vec<Tag> {
    tags(&clip(&Clip::plain(SECONDS)))
}

/// The plain clip, with each tag changed or dropped.
pub(crate) fn changed(change: impl Fn(&mut Tag) -> bool) -> Vec<Tag> {
    plain().into_iter().filter_map(|mut tag| (tag.is_header() || change(&mut tag)).then_some(tag)).collect()
}

/// Encodes a file with ffmpeg, once per name.
pub(crate) fn encode_clip(name: &str, arguments: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Tests that run in parallel may encode the same file, so it gets its name only when it is complete.
    let draft = path.with_extension(format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-"));
    let format = if name.ends_with(".mkv") { "matroska" } else { "flv" };
    encode("ffmpeg", &format!("-f lavfi -i {arguments} -f {format}"), &draft);
    std::fs::rename(&draft, &path).expect("renaming the file");
    path
}

/// The first half of the plain clip, followed by video of another size and frame rate.
pub(crate) fn other_size() -> Vec<Tag> {
    let arguments = "testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000 -t 6 -c:v libx264 -preset ultrafast \
                 -pix_fmt yuv420p -g 25 -bf 0 -c:a aac -ac 2";
    let mut all: Vec<_> = plain().into_iter().filter(|tag| tag.at < 6_000).collect();
    all.extend(tags(&encode_clip("bad-other.flv", arguments)).into_iter().map(|tag| Tag {
        at: tag.at + 6_000,
        sent_at: tag.sent_at + 6_000,
        ..tag
    }));
    all
}

fn open_gops() -> Vec<Tag> {
    let arguments = "testsrc2=size=320x180:rate=30 -f lavfi -i sine=sample_rate=48000 -t 12 -c:v libx264 -preset veryfast \
                 -pix_fmt yuv420p -g 30 -bf 2 -sc_threshold 0 -x264-params open-gop=1 -c:a aac -ac 2";
    tags(&encode_clip("bad-open.flv", arguments))
}

fn duplicate_and_empty_frames() -> Vec<Tag> {
    let twice = |tag: Tag| {
        let mut empty = tag.clone();
        empty.body.truncate(if tag.kind == VIDEO { 5 } else { 2 });
        let empty = (!tag.is_header()).then_some(empty);
        [Some(tag.clone()), Some(tag), empty].into_iter().flatten()
    };
    plain().into_iter().flat_map(twice).collect()
}

fn cases() -> Vec<Case> {
    [clock_cases(), track_cases(), format_cases()].into_iter().flatten().collect()
}

/// Wrong timestamps, and wrong frames.
fn clock_cases() -> Vec<Case> {
    vec![
        Case {
            name: "a clock that jumps forward by an hour",
            tags: || changed(|tag| shift_late(tag, 3_600_000)),
            ..SEAMLESS
        },
        Case { name: "a clock that jumps back", tags: || changed(|tag| shift_late(tag, -5_000)), ..SEAMLESS },
        Case { name: "a clock that wraps", tags: wrapped, ..SEAMLESS },
        Case { name: "frames that are empty or sent twice", tags: duplicate_and_empty_frames, ..SEAMLESS },
    ]
}

/// Tracks that start late, pause, or stop.
fn track_cases() -> Vec<Case> {
    vec![
        Case {
            name: "audio that starts after video",
            tags: || changed(|tag| tag.kind == VIDEO || tag.at >= 3_000),
            ..SEAMLESS
        },
        Case { name: "audio that never starts", tags: || changed(|tag| tag.kind == VIDEO), ..SEAMLESS },
        Case {
            name: "audio that stops for a while",
            tags: || changed(|tag| tag.kind == VIDEO || !(4_000..9_000).contains(&tag.at)),
            ..SEAMLESS
        },
        Case { name: "audio timestamps ahead of video", tags: || changed(shift_audio_ahead), ..SEAMLESS },
        Case {
            name: "audio that starts before video",
            tags: || changed(|tag| tag.kind == AUDIO || tag.at >= 3_000),
            duration: 8.7..9.3,
            ..SEAMLESS
        },
        Case {
            name: "video that stops for a while",
            tags: || changed(|tag| tag.kind == AUDIO || !(4_000..8_000).contains(&tag.at)),
            ..SEAMLESS
        },
        Case {
            name: "a variable frame rate",
            tags: || changed(|tag| tag.kind == AUDIO || tag.body[0] >> 4 == 1 || tag.at % 7 < 4),
            ..SEAMLESS
        },
        Case {
            name: "video that stops for good",
            tags: || changed(|tag| tag.kind == AUDIO || tag.at < 6_000),
            ..SEAMLESS
        },
        Case {
            name: "audio that stops for good",
            tags: || changed(|tag| tag.kind == VIDEO || tag.at < 6_000),
            ..SEAMLESS
        },
    ]
}

/// Changes of frame rate, parameter sets and size, and open GOPs.
fn format_cases() -> Vec<Case> {
    vec![
        Case { name: "half the frame rate", tags: || changed(halve_frame_rate_late), ..SEAMLESS },
        Case { name: "in-band parameter sets only", tags: || parameter_sets::in_band(plain()), ..SEAMLESS },
        Case {
            name: "in-band parameter sets that change",
            tags: || parameter_sets::changed_in_band(other_size(), 1),
            discontinuities: 1,
            init_sections: 2,
            ..SEAMLESS
        },
        Case {
            name: "another video size and frame rate",
            tags: other_size,
            discontinuities: 1,
            init_sections: 2,
            ..SEAMLESS
        },
        Case { name: "open GOPs", tags: open_gops, open_gop: true, ..SEAMLESS },
    ]
}

/// Sets audio timestamps three seconds ahead of the video that is sent with it.
fn shift_audio_ahead(tag: &mut Tag) -> bool {
    if tag.kind == AUDIO {
        (tag.at, tag.sent_at) = (tag.at + 3_000, tag.sent_at + 50);
    }
    true
}

/// Drops every other video frame of the second half.
fn halve_frame_rate_late(tag: &mut Tag) -> bool {
    tag.kind == AUDIO || tag.at < 6_000 || is_kept(tag)
}

/// Returns true for key frames and for about every other frame at 30 frames a second.
fn is_kept(tag: &Tag) -> bool {
    tag.body[0] >> 4 == 1 || (tag.at * 30 / 1_000).is_multiple_of(2)
}

/// Shifts the timestamps of the second half.
fn shift_late(tag: &mut Tag, by: i32) -> bool {
    if tag.at >= 6_000 {
        tag.at = tag.at.wrapping_add_signed(by);
    }
    true
}

/// Wraps the 32-bit millisecond timestamps of RTMP in the middle.
fn wrapped() -> Vec<Tag> {
    plain().into_iter().map(|tag| Tag { at: tag.at.wrapping_sub(6_000), ..tag }).collect()
}

#[test]
fn malformed_contributions_become_valid_programmes() {
    let _machine = shared();
    let server = Server::start();
    for latency_mode in ["low", "reduced"] {
        for case in cases() {
            let stream = server.api().create(latency_mode, json!({ "reconnect_window": 0 }));
            let (port, key, tags) = (server.rtmp_port(), stream.key.clone(), (case.tags)());
            let publisher = std::thread::spawn(move || publish(port, &key, tags, false));
            let renditions = server.playback(&stream).renditions();
            publisher.join().expect("the publisher ends");
            let lists: Vec<_> =
                renditions.iter().map(|r| r.wait_for("the end of the list", |list| list.ended)).collect();
            eprintln!("{latency_mode}, {}", case.name);
            assert_eq!(lists.len(), 2, "video and audio");
            for (rendition, list) in renditions.iter().zip(&lists) {
                assert_valid(rendition, list, &case);
            }
            let ends: Vec<f64> = lists.iter().map(seconds).collect();
            assert!((ends[0] - ends[1]).abs() < 0.5, "{}: {ends:?}", case.name);
        }
    }
}

fn seconds(list: &MediaPlaylist) -> f64 {
    list.segments.iter().map(|segment| segment.duration).sum()
}

/// Checks that there are no gaps or overlaps, that discontinuities are correct, and what the case expects.
pub(crate) fn assert_valid(rendition: &Rendition, list: &MediaPlaylist, case: &Case) {
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
        let duration = found.iter().map(|fragment| fragment.duration).sum::<u64>() as f64 / scale;
        assert!(
            (duration - segment.duration).abs() < EXTINF_ROUNDING,
            "{}: EXTINF {}, {duration} s",
            case.name,
            segment.duration
        );
        assert!(segment.duration.round() <= list.target_duration, "{}: {}", case.name, list.text);
        let samples: u32 = found.iter().map(|fragment| fragment.samples).sum();
        assert!(samples > 0 && !segment.gap, "{}: {}", case.name, segment.uri);
    }
    let discontinuities = list.segments.iter().filter(|segment| segment.discontinuity).count();
    assert_eq!(discontinuities, case.discontinuities, "{}: {}", case.name, list.text);
    let duration = seconds(list);
    assert!(case.duration.contains(&duration), "{}: {} lasts {duration} s", case.name, rendition.path);
    if rendition.kind == "video" {
        assert_eq!(scales.len(), case.init_sections, "{}", case.name);
        assert_eq!(list.text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), !case.open_gop, "{}", case.name);
    }
}

#[test]
fn a_gop_that_is_too_long_is_rejected_with_a_reason() {
    let _machine = shared();
    let server = Server::start();
    let arguments = "testsrc2=size=320x180:rate=10 -t 26 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 600 \
                 -keyint_min 600 -sc_threshold 0 -force_key_frames 0,2";
    let stream = server.api().create("low", json!({ "reconnect_window": 60 }));
    publish(server.rtmp_port(), &stream.key, tags(&encode_clip("bad-long.flv", arguments)), false);
    until("the refusal in the metrics", || {
        let text = server.client().get("/metrics").text();
        text.contains("weir_ingest_refusals_total{reason=\"long_gop\"} 1").then_some(())
    });
    until("the reason in the log", || server.log().contains("no key frame for more than 20 s").then_some(()));
    until("the event", || server.log().contains("video.live_stream.warning").then_some(()));
    // A valid contribution continues in the same playlists.
    publish(server.rtmp_port(), &stream.key, plain(), false);
    let list = server.playback(&stream).main();
    list.wait_for("the next contribution", |list| list.segments.iter().any(|segment| segment.discontinuity));
}
