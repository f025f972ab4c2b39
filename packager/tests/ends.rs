//! The end of a broadcast: no gap follows the last frames, because a player would wait for it.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod common;

use common::source::{Fed, Video, audio, audio_track, mux, video_track};
use media::LatencyMode::{Low, Reduced, Standard};
use packager::log::{Event, Part, RenditionId};
use packager::playlist::MediaOptions;
use packager::uri::Query;
use packager::window::Window;

const BOTH: [RenditionId; 2] = [RenditionId::VIDEO, RenditionId::AUDIO];

fn parts(fed: &Fed, rendition: RenditionId) -> Vec<&Part> {
    let parts = fed.events.iter().filter_map(|event| match event {
        Event::Part(part) if part.rendition == rendition => Some(&**part),
        _ => None,
    });
    parts.collect()
}

fn pull(fed: &mut Fed) {
    let events: Vec<_> = std::iter::from_fn(|| fed.packager.poll()).collect();
    fed.events.extend(events);
}

#[test]
fn no_gap_follows_the_last_frame_wherever_the_end_falls() {
    for mode in [Standard, Reduced, Low] {
        for end in (6_000..7_100).step_by(17) {
            let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
            fed.push(mux([Video { length: end, ..Video::default() }.make(), audio(48_000, 0, end)]));
            fed.packager.last_parts().unwrap();
            fed.end();
            for rendition in BOTH {
                let all = parts(&fed, rendition);
                assert!(all.iter().all(|part| part.frames > 0), "{mode:?} {end} {rendition:?}");
                let mut closed = fed.events.iter().rev().filter_map(|event| match event {
                    Event::Segment(end) if end.rendition == rendition => Some(end.msn),
                    _ => None,
                });
                assert_eq!(closed.next(), all.last().map(|part| part.msn), "its last segment is whole");
            }
        }
    }
}

#[test]
fn the_last_parts_come_before_the_end_of_the_playlist_and_play_together() {
    for end in (6_000..7_100).step_by(17) {
        let mut fed = Fed::new(Low, &[video_track(), audio_track(48_000)]);
        fed.push(mux([Video { length: end, ..Video::default() }.make(), audio(48_000, 0, end)]));
        assert!(fed.packager.last_parts().unwrap(), "the end may come later");
        pull(&mut fed);
        let counts = BOTH.map(|rendition| parts(&fed, rendition).len());
        let ends = BOTH.map(|rendition| {
            let last = parts(&fed, rendition).pop().unwrap();
            (
                last.start + last.duration,
                (last.start - media::Timestamp::ZERO) + (last.start + last.duration - media::Timestamp::ZERO),
            )
        });
        for (one, other) in [(0, 1), (1, 0)] {
            let there = (ends[other].0 - media::Timestamp::ZERO).times(2);
            assert!(ends[one].1 <= there, "{end}: the middle of the last part of {one} is beyond the end of {other}");
        }
        fed.end();
        assert_eq!(BOTH.map(|rendition| parts(&fed, rendition).len()), counts, "{end}: a part came with the end");
        let mut window = Window::new();
        fed.events.iter().for_each(|event| window.apply(event));
        let options = MediaOptions { skip: false, query: Query { low_latency: true, extra: "" } };
        let text = window.media_playlist(RenditionId::AUDIO).map(|list| list.render(&options)).unwrap();
        assert!(text.ends_with("#EXT-X-ENDLIST\n") && !text.contains("GAP"), "{text}");
    }
}

#[test]
fn modes_without_parts_end_at_once() {
    for mode in [Standard, Reduced] {
        let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        fed.push(mux([Video { length: 3_300, ..Video::default() }.make(), audio(48_000, 0, 3_300)]));
        assert!(!fed.packager.last_parts().unwrap());
    }
}
