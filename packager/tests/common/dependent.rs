//! Helpers for scenarios with several renditions of the same video.

use media::LatencyMode::{self, Low, Reduced, Standard};
use media::id::{BroadcastId, PlaybackId};
use media::{Frame, TimeDelta, Timestamp};
use packager::log::{Event, RenditionId, SegmentEnd};
use packager::playlist::MultivariantOptions;
use packager::uri::Query;
use packager::window::Window;

use super::check::{Report, Rules, STRICT};
use super::source::{Fed, Video, audio_track, dependent_track, video_track};

pub const LOSSY: Rules = Rules { lossless: false, ..STRICT };
pub const MODES: [LatencyMode; 3] = [Standard, Reduced, Low];
pub const SIZES: [(u32, u32); 3] = [(1920, 1080), (854, 480), (426, 240)];

pub fn dependent(n: u32) -> RenditionId {
    RenditionId::dependent_video(n).unwrap()
}

pub fn at(ms: i64) -> Timestamp {
    Timestamp::ZERO + TimeDelta::from_millis(ms)
}

/// A reference of 1280x720 with audio, and three dependent renditions.
pub fn ladder(mode: LatencyMode) -> Fed {
    let mut fed = Fed::new(mode, &[video_track(), audio_track(48_000)]);
    for (n, (width, height)) in (0..).zip(SIZES) {
        fed.add_rendition(n, dependent_track(n, width, height));
    }
    fed
}

/// A clip as the ladder's encoders make it, with exact timestamps.
pub fn clip(video: &Video) -> Video {
    Video { millis: false, gops: vec![2_000], ..video.clone() }
}

/// Merges streams in order of arrival, when each is late by so many milliseconds.
pub fn arriving(streams: Vec<(i64, Vec<Frame>)>) -> Vec<Frame> {
    let late = |(late, frames): (i64, Vec<Frame>)| {
        frames.into_iter().map(move |frame| (frame.dts + TimeDelta::from_millis(late), frame))
    };
    let mut all: Vec<_> = streams.into_iter().flat_map(late).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, frame)| frame).collect()
}

pub fn within(frames: &[Frame], from: i64, to: i64) -> Vec<Frame> {
    frames.iter().filter(|frame| (at(from)..at(to)).contains(&frame.dts)).cloned().collect()
}

pub fn numbers(report: &Report, rendition: RenditionId) -> Vec<u64> {
    report.of(rendition).iter().map(|segment| segment.parts[0].msn).collect()
}

/// The segments of a rendition that begin with a gap, and those that are gaps entirely.
pub fn gaps(report: &Report, rendition: RenditionId) -> (Vec<u64>, Vec<u64>) {
    let segments = report.of(rendition);
    let first = segments.iter().filter(|s| s.parts[0].frames == 0).map(|s| s.parts[0].msn);
    let whole = segments.iter().filter(|s| s.samples.is_empty()).map(|s| s.parts[0].msn);
    (first.collect(), whole.collect())
}

pub fn window(events: &[Event]) -> Window {
    let mut window = Window::new();
    events.iter().for_each(|event| window.apply(event));
    window
}

pub fn multivariant(events: &[Event]) -> String {
    let (playback, broadcast): (PlaybackId, BroadcastId) = ("play".parse().unwrap(), "cast".parse().unwrap());
    let options = MultivariantOptions { playback: &playback, broadcast: &broadcast, query: Query::default() };
    window(events).multivariant_playlist().render(&options)
}

/// The video renditions in the order of the multivariant playlist.
pub fn variants(events: &[Event]) -> Vec<String> {
    let text = multivariant(events);
    let lines = text.lines().filter_map(|line| line.strip_prefix("play/cast/")?.strip_suffix(".m3u8"));
    lines.map(str::to_owned).collect()
}

/// All events except those of dependent renditions, as text. Whether players may start depends on all renditions, so that
/// is left out.
pub fn without_dependents(events: &[Event]) -> String {
    let is_independent = |event: &&Event| match event {
        Event::Init(init) => !init.rendition.is_dependent_video(),
        Event::Part(part) => !part.rendition.is_dependent_video(),
        Event::Segment(end) => !end.rendition.is_dependent_video(),
        Event::Next(next) => !next.rendition.is_dependent_video(),
        Event::Withdrawn(_) => false,
        Event::Start { .. } | Event::Targets(_) | Event::Captions | Event::End => true,
    };
    let text = |event: &Event| match event {
        Event::Segment(end) => format!("{:?}\n", SegmentEnd { playable: false, ..*end }),
        event => format!("{event:?}\n"),
    };
    events.iter().filter(is_independent).map(text).collect()
}
