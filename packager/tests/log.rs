//! The packaged log: readers that join at different moments, the binary form, and a packager that resumes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::source::{
    EPOCH, Fed, Video, audio, audio_track, dependent_track, mux, on_dependent, other_video_track, video_track,
};
use media::LatencyMode::{self, Low, Reduced, Standard};
use media::id::{BroadcastId, PlaybackId};
use media::{Frame, TimeDelta, Timestamp, WallTime};
use packager::log::{Entry, Event, LogWriter, RenditionId, wire};
use packager::playlist::{MediaOptions, MultivariantOptions};
use packager::uri::Query;
use packager::window::Window;
use packager::{Config, Packager};
use proptest::prelude::*;

/// The entries of a broadcast, from its start.
fn entries(events: Vec<Event>) -> Vec<Entry> {
    let start =
        Event::Start { broadcast: "cast".parse().unwrap(), mode: Low, started_at: WallTime::from_unix_millis(EPOCH) };
    let mut log = LogWriter::new();
    [start].into_iter().chain(events).map(|event| log.append(event)).collect()
}

/// Every playlist of a window, in all forms.
fn playlists(window: &Window) -> Vec<String> {
    let (playback, broadcast): (PlaybackId, BroadcastId) = ("play".parse().unwrap(), "cast".parse().unwrap());
    let mut texts = Vec::new();
    for query in [true, false].map(|low_latency| Query { low_latency, extra: "" }) {
        let options = MultivariantOptions { playback: &playback, broadcast: &broadcast, query };
        texts.push(window.multivariant_playlist().render(&options));
        for rendition in window.renditions() {
            for skip in [false, true] {
                let list = window.media_playlist(rendition.id());
                texts.extend(list.map(|list| list.render(&MediaOptions { skip, query })));
            }
        }
    }
    texts
}

/// A broadcast with all that may happen: a discontinuity, a change of codec header, audio that comes late, a dependent
/// rendition that is dropped and restored.
fn eventful(mode: LatencyMode, gop: i64, late_audio: i64, drop_at: i64) -> Vec<Event> {
    let mut fed = Fed::new(mode, &[video_track()]);
    fed.add_rendition(0, dependent_track(0, 640, 360));
    let span = |fed: &mut Fed, from: i64, length: i64| {
        let video = Video { start: from, length, gops: vec![gop], ..Video::default() }.make();
        let dependent = on_dependent(0, 3, &video);
        let audio_frames = if from + length > late_audio {
            audio(48_000, from.max(late_audio), from + length - from.max(late_audio))
        } else {
            Vec::new()
        };
        fed.push(mux([video, dependent, audio_frames]));
    };
    span(&mut fed, 0, drop_at);
    fed.add_track(audio_track(48_000));
    fed.drop_rendition(0);
    span(&mut fed, drop_at, 10_000);
    fed.add_rendition(0, dependent_track(0, 640, 360));
    span(&mut fed, drop_at + 10_000, 20_000);
    fed.discontinuity();
    fed.add_track(other_video_track());
    fed.add_track(audio_track(48_000));
    span(&mut fed, drop_at + 32_000, 25_000);
    fed.end();
    fed.events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Two readers of one log that join at different moments render the same playlists.
    #[test]
    fn readers_render_the_same_wherever_they_joined(
        mode in prop_oneof![Just(Standard), Just(Reduced), Just(Low)],
        gop in 500i64..3_000,
        late_audio in 0i64..40_000,
        drop_at in 5_000i64..30_000,
        joins in prop::collection::vec(0.0f64..1.0, 4),
    ) {
        let entries = entries(eventful(mode, gop, late_audio, drop_at));
        let joins = joins.into_iter().chain([0.1]).map(|share| (share * entries.len() as f64) as usize);
        let joins: Vec<_> = joins.collect();
        let (mut log, mut first) = (LogWriter::new(), Window::new());
        let mut late: Vec<(Window, BTreeSet<RenditionId>)> = Vec::new();
        let mut compared = 0;
        for (n, entry) in entries.iter().enumerate() {
            for _ in joins.iter().filter(|join| **join == n) {
                let mut window = Window::new();
                log.head().iter().for_each(|entry| window.apply(&entry.event));
                late.push((window, BTreeSet::new()));
            }
            prop_assert_eq!(&log.append(entry.event.clone()), entry, "complete entries stay as they are");
            first.apply(&entry.event);
            let whole = |event: &Event| if let Event::Segment(end) = event { Some(end.rendition) } else { None };
            for (window, ended) in &mut late {
                window.apply(&entry.event);
                ended.extend(whole(&entry.event));
                let all = first.renditions().all(|r| ended.contains(&r.id()) || r.listed().next().is_none());
                if first.is_playable() && window.is_complete() && all && n % 7 == 0 {
                    prop_assert_eq!(playlists(window), playlists(&first), "after entry {}", n);
                    compared += 1;
                }
            }
        }
        prop_assert!(compared > 0, "the reader that joined early is complete before the end");
    }
}

#[test]
fn a_log_read_back_from_its_binary_form_folds_to_the_same_window() {
    let entries = entries(eventful(Low, 1_000, 7_000, 12_000));
    let (mut written, mut read) = (Window::new(), Window::new());
    for entry in &entries {
        let bytes = wire::encode(entry).pieces().concat();
        packager::fuzz::log_entry(&bytes);
        let back = wire::decode(bytes.into()).unwrap();
        assert_eq!(&back, entry);
        written.apply(&entry.event);
        read.apply(&back.event);
    }
    assert_eq!(playlists(&written), playlists(&read));
    for rendition in written.renditions() {
        for segment in rendition.listed() {
            let same = read.segment(rendition.id(), segment.msn()).unwrap();
            assert_eq!(segment.whole().pieces().concat(), same.whole().pieces().concat());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// Arbitrary bytes are refused, or are read, written back and folded as an entry.
    #[test]
    fn arbitrary_bytes_never_panic(
        kind in 0u8..10,
        mut body in prop::collection::vec(prop_oneof![4 => Just(0u8), 1 => 0u8..3, 1 => any::<u8>()], 0..140),
    ) {
        body.splice(0..0, [wire::VERSION, kind, 0, 0]);
        packager::fuzz::log_entry(&body);
    }
}

#[test]
fn the_head_of_a_log_is_small() {
    let mut log = LogWriter::new();
    entries(eventful(Low, 1_000, 0, 9_000)).into_iter().for_each(|entry| drop(log.append(entry.event)));
    let kinds: Vec<_> = log.head().iter().map(|entry| std::mem::discriminant(&entry.event)).collect();
    assert_eq!(kinds.len(), 6, "start, targets, three init sections, one rendition that was withdrawn");
    assert!(log.head().is_sorted_by_key(|entry| entry.seq));
}

/// The entries of a process that ends after `entries`, and of the one that resumes.
fn resumed(mode: LatencyMode, entries: &[Entry]) -> Vec<Entry> {
    let mut log = LogWriter::resume(entries);
    let mut packager = Packager::resume(Config { mode, ..Config::default() }, &log).unwrap();
    let mut out = Vec::new();
    let mut drain = |packager: &mut Packager| out.extend(std::iter::from_fn(|| packager.poll()).map(|e| log.append(e)));
    drain(&mut packager);
    packager.add_track(video_track()).unwrap();
    packager.add_track(audio_track(48_000)).unwrap();
    let frames = mux([Video { length: 12_000, ..Video::default() }.make(), audio(48_000, 0, 12_000)]);
    for frame in frames {
        let arrival = WallTime::from_unix_millis(EPOCH + 60_000).shifted(frame.dts - Timestamp::ZERO);
        packager.push(Frame { ..frame }, arrival).unwrap();
        drain(&mut packager);
    }
    packager.end().unwrap();
    drain(&mut packager);
    out
}

/// A process is killed after any entry: the next one goes on with the same numbers after a discontinuity, and nothing
/// published changes.
#[test]
fn a_packager_resumes_after_the_last_entry_of_a_log() {
    for mode in [Standard, Low] {
        let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
        fed.push(mux([Video { length: 14_000, ..Video::default() }.make(), audio(48_000, 0, 14_000)]));
        let all = entries(fed.events);
        let of_audio =
            |entry: &Entry| matches!(entry.event, Event::Segment(end) if end.rendition == RenditionId::AUDIO);
        let first = all.iter().position(of_audio).unwrap();
        for killed_after in first..all.len() {
            let before = &all[..=killed_after];
            let after = resumed(mode, before);
            check_resumed(before, &after);
        }
    }
}

fn check_resumed(before: &[Entry], after: &[Entry]) {
    let whole: Vec<_> = before.iter().chain(after).collect();
    assert!((0..).zip(&whole).all(|(seq, entry)| entry.seq == seq), "no number is left out or used again");
    let (mut parts, mut inits, mut next, mut ends) =
        (BTreeSet::new(), BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    for entry in &whole {
        match &entry.event {
            Event::Init(init) => assert!(inits.insert((init.rendition, init.number)), "an init section again"),
            Event::Part(part) => {
                assert!(parts.insert((part.rendition, part.msn, part.index)), "a part again");
                assert!(inits.contains(&(part.rendition, part.init)), "the init section is there");
                assert_eq!(*next.entry(part.rendition).or_insert(part.msn), part.msn, "segments follow one another");
                let end = ends.insert(part.rendition, part.start + part.duration);
                assert!(end.is_none_or(|end| part.start >= end), "the timeline goes on");
            }
            Event::Segment(end) => {
                assert_eq!(next.insert(end.rendition, end.msn + 1), Some(end.msn), "a segment ends once");
            }
            _ => {}
        }
    }
    assert_eq!(whole.iter().filter(|entry| matches!(entry.event, Event::Targets(_))).count(), 1);
    let fresh = |event: &Event| match event {
        Event::Part(part) if part.frames > 0 => Some((part.rendition, part.msn, part.discontinuity)),
        _ => None,
    };
    let new: Vec<_> = [RenditionId::VIDEO, RenditionId::AUDIO]
        .map(|id| after.iter().filter_map(|entry| fresh(&entry.event)).find(|(rendition, ..)| *rendition == id))
        .into_iter()
        .flatten()
        .collect();
    assert!(matches!(new[..], [(_, video, true), (_, audio, true)] if video == audio), "{new:?}");
    let mut window = Window::new();
    whole.iter().for_each(|entry| window.apply(&entry.event));
    for rendition in [RenditionId::VIDEO, RenditionId::AUDIO] {
        let text = window.media_playlist(rendition).unwrap().render(&MediaOptions::default());
        assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
        assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    }
    let dates: Vec<_> = window.rendition(RenditionId::VIDEO).unwrap().listed().map(|s| s.parts()[0].wall).collect();
    assert!(dates.is_sorted(), "{dates:?}");
    assert!(window.rendition(RenditionId::VIDEO).unwrap().listed().all(|s| s.duration() > TimeDelta::ZERO));
}
