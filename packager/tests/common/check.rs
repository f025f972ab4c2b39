//! Checks the laws on the events of a packager.

use std::collections::{BTreeMap, HashMap};

use media::{Frame, Kind, TimeDelta, Timescale, Timestamp};
use mp4_atom::{Decode, Moof};
use packager::log::{Event, Part, RenditionId, Targets};
use packager::playlist::MediaOptions;
use packager::window::Window;

use super::source::{Fed, VIDEO, audio_id, dependent_id};

/// Laws that a scenario may relax.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Every frame pushed, from the first IDR on, comes out.
    pub lossless: bool,
    /// Parts are at least 85 % of PART-TARGET, except those that end a segment or are next to a gap.
    pub full_parts: bool,
    /// Segments of the renditions start together.
    pub aligned: bool,
}

pub const STRICT: Rules = Rules { lossless: true, full_parts: true, aligned: true };

/// A sample read back.
#[derive(Debug, PartialEq)]
pub struct Read {
    pub pts: i64,
    pub key: bool,
    /// Whether it repeats an earlier sample.
    pub again: bool,
    pub payload: Vec<u8>,
}

/// A segment read back.
#[derive(Debug, Default)]
pub struct ReadSegment {
    pub parts: Vec<std::sync::Arc<Part>>,
    pub samples: Vec<Read>,
    pub duration: TimeDelta,
    pub closed: bool,
}

/// Everything that a broadcast published.
#[derive(Debug, Default)]
pub struct Report {
    pub targets: Option<Targets>,
    pub segments: BTreeMap<(RenditionId, u64), ReadSegment>,
}

impl Report {
    pub fn of(&self, rendition: RenditionId) -> Vec<&ReadSegment> {
        self.segments.range((rendition, 0)..=(rendition, u64::MAX)).map(|(_, s)| s).collect()
    }

    /// The renditions that published a part.
    pub fn renditions(&self) -> Vec<RenditionId> {
        let mut all: Vec<_> = self.segments.keys().map(|(rendition, _)| *rendition).collect();
        all.dedup();
        all
    }

    pub fn durations_ms(&self, rendition: RenditionId) -> Vec<i64> {
        self.of(rendition).iter().map(|s| (s.duration + TimeDelta::from_millis(0)).as_millis()).collect()
    }
}

/// Checks all laws, and returns the media as read back.
pub fn check(fed: &Fed, rules: Rules) -> Report {
    let report = read(&fed.events);
    let targets = report.targets.expect("targets are frozen");
    for rendition in report.renditions() {
        continuity(&report, rendition);
        if let Some(part) = targets.part {
            parts(&report.of(rendition), part, rules.full_parts);
        } else {
            // One fragment per segment, except for the gaps between.
            let whole = |s: &&ReadSegment| s.parts.windows(2).all(|two| two.iter().any(|p| p.frames == 0));
            assert!(report.of(rendition).iter().all(whole), "more than one fragment in a segment");
        }
        for segment in report.of(rendition) {
            let rounded = (segment.duration.as_millis() + 500) / 1_000;
            assert!(rounded <= i64::from(targets.segment_secs), "{:?} over {targets:?}", segment.duration);
            assert!(segment.closed);
        }
    }
    if rules.aligned {
        alignment(&report);
    }
    for dependent in report.renditions().into_iter().filter(|rendition| rendition.is_dependent_video()) {
        align_dependent(&report, dependent, rules.aligned);
    }
    if rules.lossless {
        lossless(&report, &fed.pushed);
    }
    published_never_changes(&fed.events);
    report
}

fn scale(rendition: RenditionId, timescale: u32) -> Timescale {
    if rendition.is_audio() { Timescale::new(timescale) } else { Timescale::NINETY_KHZ }
}

/// Reads the log, part by part, with an independent box parser.
pub fn read(events: &[Event]) -> Report {
    let mut report = Report::default();
    let mut scales: HashMap<(RenditionId, u32), Timescale> = HashMap::new();
    let mut kinds = HashMap::new();
    for event in events {
        match event {
            Event::Targets(targets) => {
                assert!(report.targets.replace(*targets).is_none(), "targets come once");
            }
            Event::Init(init) => {
                kinds.insert(init.rendition, init.format.kind);
                scales.insert((init.rendition, init.number), scale(init.rendition, timescale_of(&init.bytes)));
            }
            Event::Part(part) => {
                let scale = scales[&(part.rendition, part.init)];
                let segment = report.segments.entry((part.rendition, part.msn)).or_default();
                assert!(!segment.closed, "a part after its segment");
                assert_eq!(part.index as usize, segment.parts.len());
                assert!(part.index == 0 || !part.discontinuity);
                let samples = samples(part, scale, kinds[&part.rendition]);
                assert_eq!(part.independent, samples.first().is_some_and(|s| s.key), "{part:?}");
                segment.samples.extend(samples);
                segment.parts.push(part.clone());
            }
            Event::Segment(end) => {
                assert!(report.targets.is_some(), "a segment before the targets");
                let segment = report.segments.get_mut(&(end.rendition, end.msn)).expect("a segment has parts");
                let sum = segment.parts.iter().fold(TimeDelta::ZERO, |sum, p| sum + p.duration);
                assert_eq!(sum, end.duration);
                segment.duration = end.duration;
                segment.closed = true;
            }
            Event::Start { .. } | Event::Next(_) | Event::Withdrawn(_) | Event::Captions | Event::End => {}
        }
    }
    report
}

fn timescale_of(init: &[u8]) -> u32 {
    let mut rest = init;
    mp4_atom::Ftyp::decode(&mut rest).unwrap();
    mp4_atom::Moov::decode(&mut rest).unwrap().trak[0].mdia.mdhd.timescale
}

fn samples(part: &Part, scale: Timescale, kind: Kind) -> Vec<Read> {
    let bytes: Vec<u8> = part.data.pieces().concat();
    let mut rest = bytes.as_slice();
    let traf = Moof::decode(&mut rest).unwrap().traf.remove(0);
    let moof = bytes.len() - rest.len();
    assert_eq!(u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize, rest.len(), "mdat is the rest");
    let mut clock = traf.tfdt.as_ref().unwrap().base_media_decode_time as i64;
    assert_eq!(scale.timestamp(clock), part.start);
    let start = clock;
    let mut out = Vec::new();
    let mut at = moof + 8;
    if let Some(trun) = traf.trun.first() {
        assert_eq!(trun.data_offset.unwrap() as usize, at);
        for entry in trun.samples.iter() {
            let size = entry.size.unwrap() as usize;
            let flags = entry.flags.or(traf.tfhd.default_sample_flags).unwrap();
            let duration = entry.duration.or(traf.tfhd.default_sample_duration).unwrap();
            assert!(duration > 0);
            assert!(kind == Kind::Video || duration % 120 == 0 || duration % 512 == 0, "audio off its grid");
            let pts = clock + entry.cts.unwrap_or(0);
            out.push(Read { pts, key: flags & 0x1_0000 == 0, again: false, payload: bytes[at..at + size].to_vec() });
            clock += i64::from(duration);
            at += size;
        }
    } else {
        clock += i64::from(traf.tfhd.default_sample_duration.unwrap());
    }
    assert_eq!(at, bytes.len());
    assert_eq!(scale.delta(clock - start), part.duration);
    if part.frames == 1 && out.len() > 1 {
        // The current GOP again, which extends its last frame.
        assert!(out[0].key && out[1..].iter().all(|sample| !sample.key));
        out.iter_mut().for_each(|sample| sample.again = true);
    } else {
        assert_eq!(out.len(), part.frames as usize);
    }
    out
}

/// Law 2.
fn continuity(report: &Report, rendition: RenditionId) {
    let mut next: Option<(u64, Timestamp)> = None;
    for ((_, msn), segment) in report.segments.range((rendition, 0)..=(rendition, u64::MAX)) {
        for part in &segment.parts {
            if let Some((before, at)) = next.filter(|_| !part.discontinuity) {
                assert!(*msn == before || *msn == before + 1, "segments are numbered consecutively");
                assert_eq!(part.start, at, "{rendition:?} {msn}.{}", part.index);
            }
            next = Some((*msn, part.start + part.duration));
        }
    }
}

fn parts(segments: &[&ReadSegment], target: TimeDelta, full: bool) {
    for segment in segments {
        for (n, part) in segment.parts.iter().enumerate() {
            assert!(part.duration <= target, "{:?} over {target:?}", part.duration);
            let short = part.duration.flicks() * 100 < target.flicks() * 85;
            let excused = segment.parts.get(n + 1).is_none_or(|next| part.frames == 0 || next.frames == 0);
            assert!(!full || !short || excused, "part {}.{n} lasts {:?} of {target:?}", part.msn, part.duration);
        }
    }
}

/// Law 1, on presentation times. The first segment of a period begins with whatever each rendition has.
fn alignment(report: &Report) {
    for audio in report.renditions().into_iter().filter(|rendition| rendition.is_audio()) {
        align(report, audio);
    }
}

/// Dependent renditions begin their segments with the same frame as the reference, and have its discontinuities. If all
/// frames came, decoding starts at the same instant too; otherwise a gap may be spread over the frames around it.
fn align_dependent(report: &Report, dependent: RenditionId, whole: bool) {
    for ((_, msn), reference) in report.segments.range((RenditionId::VIDEO, 0)..=(RenditionId::VIDEO, u64::MAX)) {
        let Some(segment) = report.segments.get(&(dependent, *msn)) else { continue };
        let (ours, theirs) = (&segment.parts[0], &reference.parts[0]);
        assert_eq!(ours.discontinuity, theirs.discontinuity, "{dependent:?} {msn}");
        if ours.frames == 0 || theirs.frames == 0 {
            continue;
        }
        let first = |segment: &ReadSegment| segment.samples.iter().map(|s| s.pts).min();
        assert_eq!(first(segment), first(reference), "{dependent:?} begins segment {msn} with another frame");
        if !whole {
            continue;
        }
        assert!((ours.start - theirs.start).abs() <= Timescale::NINETY_KHZ.delta(2), "{ours:?} and {theirs:?}");
        assert!((ours.wall.unix_millis() - theirs.wall.unix_millis()).abs() <= 1);
    }
}

fn align(report: &Report, audio: RenditionId) {
    for ((_, msn), video) in report.segments.range((RenditionId::VIDEO, 0)..=(RenditionId::VIDEO, u64::MAX)) {
        let Some(audio) = report.segments.get(&(audio, *msn)) else { continue };
        if *msn == 0 || video.parts[0].discontinuity || video.samples.is_empty() || audio.samples.is_empty() {
            assert_eq!(video.parts[0].discontinuity, audio.parts[0].discontinuity, "{msn}");
            continue;
        }
        let first = Timescale::NINETY_KHZ.timestamp(video.samples.iter().map(|s| s.pts).min().unwrap());
        let apart = (first - audio.parts[0].start).abs();
        let frame = video.duration.flicks() / video.samples.len() as i64;
        // A frame of video and one of audio. A segment that begins inside a GOP may begin with a P-frame that is presented
        // after the B-frames behind it.
        let reorder = if video.parts[0].independent { 1 } else { 3 };
        let frame = frame * reorder + TimeDelta::from_millis(47).flicks();
        assert!(apart.flicks() <= frame, "segment {msn}: {first:?} and {:?}", audio.parts[0].start);
    }
}

/// Every frame comes out, in order, with its presentation time moved by the same whole seconds.
fn lossless(report: &Report, pushed: &[Frame]) {
    let mut shift = None;
    let audio = (0..8).map(|n| (RenditionId::audio(n).unwrap(), audio_id(n as u32)));
    let dependents = (0..8).map(|n| (RenditionId::dependent_video(n).unwrap(), dependent_id(n)));
    for (rendition, track) in std::iter::once((RenditionId::VIDEO, VIDEO)).chain(audio).chain(dependents) {
        let is_video = !rendition.is_audio();
        // The newest key frame is repeated while no video comes.
        let mut newest = None;
        let fresh = |read: &&Read| {
            let repeats =
                |newest: &mut Option<_>| read.key && newest.replace(read.payload.clone()) == Some(read.payload.clone());
            !is_video || !read.again && !repeats(&mut newest)
        };
        let got: Vec<_> = report.of(rendition).into_iter().flat_map(|s| &s.samples).filter(fresh).collect();
        let from_first_key = pushed.iter().filter(|f| f.track == track).skip_while(|f| !f.access.is_independent());
        let sent: Vec<_> = from_first_key.collect();
        // Audio before the first video frame is not presented.
        let sent = &sent[sent.len().saturating_sub(got.len())..];
        assert_eq!(got.len(), sent.len());
        if is_video {
            let all = pushed.iter().filter(|f| f.track == track).skip_while(|f| !f.access.is_independent()).count();
            assert_eq!(got.len(), all, "all video comes out");
        }
        for (got, sent) in got.iter().zip(sent) {
            assert_eq!(got.payload, sent.payload);
            assert_eq!(got.key, sent.access.is_independent());
            if is_video {
                let moved = got.pts - Timescale::NINETY_KHZ.ticks(sent.pts);
                assert_eq!(moved % 90_000, 0);
                assert_eq!(*shift.get_or_insert(moved), moved, "presentation times are exact");
            }
        }
    }
}

/// Law 3: follows the playlists through the broadcast; the content of a URI never changes.
fn published_never_changes(events: &[Event]) {
    let mut window = Window::new();
    let mut hints = Hints::default();
    let mut said: HashMap<String, String> = HashMap::new();
    let mut fixed: HashMap<RenditionId, Vec<String>> = HashMap::new();
    for event in events {
        window.apply(event);
        hints.follow(&window, event);
        if !matches!(event, Event::Part(_) | Event::Segment(_)) {
            continue;
        }
        let renditions: Vec<_> = window.renditions().map(|r| r.id()).collect();
        for rendition in renditions {
            let Some(text) = window.media_playlist(rendition).map(|list| list.render(&MediaOptions::default())) else {
                continue;
            };
            let lines: Vec<_> = text.lines().collect();
            for (line, uri) in lines.iter().zip(lines.iter().skip(1)).filter(|(line, _)| line.starts_with("#EXTINF")) {
                let before = said.entry((*uri).to_owned()).or_insert_with(|| (*line).to_owned());
                assert_eq!(before, line);
            }
            for line in lines.iter().filter(|l| l.starts_with("#EXT-X-PART:")) {
                let uri = line.split("URI=\"").nth(1).unwrap();
                let before = said.entry(uri.to_owned()).or_insert_with(|| (*line).to_owned());
                assert_eq!(before, line);
            }
            let head = |l: &&&str| {
                ["#EXT-X-TARGETDURATION", "#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL"].iter().any(|p| l.starts_with(p))
            };
            let frozen: Vec<_> = lines.iter().filter(head).map(|l| (*l).to_owned()).collect();
            assert_eq!(fixed.entry(rendition).or_insert_with(|| frozen.clone()), &frozen);
            parts_add_up(&lines);
        }
    }
}

/// The printed durations of a segment's parts add up to its printed duration, and a step more for each.
fn parts_add_up(lines: &[&str]) {
    let steps = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
    let (mut sum, mut count) = (0, 0);
    for line in lines {
        if let Some(rest) = line.strip_prefix("#EXT-X-PART:DURATION=") {
            sum += steps(rest.split(',').next().unwrap());
            count += 1;
        } else if let Some(rest) = line.strip_prefix("#EXTINF:") {
            let excess = sum - steps(rest.trim_end_matches(','));
            assert!(count == 0 || (0..=count + 1).contains(&excess), "{line} after {count} parts of {sum}");
            (sum, count) = (0, 0);
        }
    }
}

/// The preload hints of the playlists, followed through a broadcast.
#[derive(Default)]
struct Hints {
    hinted: HashMap<RenditionId, (u64, u32)>,
}

impl Hints {
    /// Checks that each part is the one that its playlist hinted at when it was last rendered.
    fn follow(&mut self, window: &Window, event: &Event) {
        if let Event::Part(part) = event {
            let hinted = self.hinted.get(&part.rendition).copied();
            assert!(
                hinted.is_none_or(|hinted| hinted == (part.msn, part.index)),
                "{hinted:?} was hinted at, {}.{} came",
                part.msn,
                part.index
            );
        }
        for rendition in window.renditions().filter(|rendition| rendition.listed().any(|segment| segment.is_closed())) {
            let hint = rendition.hint();
            self.hinted.insert(rendition.id(), (hint.msn, hint.parts));
        }
    }
}
