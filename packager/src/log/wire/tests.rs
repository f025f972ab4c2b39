//! Tests of the binary form.

use std::sync::Arc;

use bytes::Bytes;
use media::{Kind, Language, LatencyMode, TimeDelta, Timestamp, VideoRange, WallTime};

use super::*;
use crate::log::{
    Entry, Event, Format, Init, NextPart, Part, Payload, RenditionId, RenditionRole, RenditionStats, SegmentEnd,
    Targets,
};

fn init() -> Event {
    let format = Format {
        role: RenditionRole::Dependent,
        resolution: Some((1_920, 1_080)),
        range: Some(VideoRange::Pq),
        channels: Some(6),
        language: Language::new(*b"deu"),
        place: 3,
        tier: 1,
        ..Format::new(Kind::Video, "hvc1.2.4.L120.90")
    };
    let bytes = Bytes::from_static(b"moov");
    Event::Init(Arc::new(Init { rendition: RenditionId(9), number: 1, bytes, format }))
}

fn part() -> Event {
    Event::Part(Arc::new(Part {
        rendition: RenditionId::VIDEO,
        msn: 7,
        index: 2,
        init: 1,
        start: Timestamp::ZERO + TimeDelta::from_millis(-3),
        duration: TimeDelta::from_millis(200),
        independent: true,
        discontinuity: false,
        discontinuity_sequence: 4,
        wall: WallTime::from_unix_millis(1_795_248_000_000),
        frames: 6,
        data: Payload::new([Bytes::from_static(b"moof"), Bytes::from_static(b"mdat")]),
    }))
}

fn events() -> Vec<Event> {
    let stats = RenditionStats {
        bits: 1,
        duration: TimeDelta::from_secs(100_000),
        peak: 3,
        frames: 4,
        frames_duration: TimeDelta::from_secs(5),
        steady_millihertz: 29_970,
    };
    let duration = TimeDelta::from_secs(2);
    let targets = Targets { segment_secs: 2, part: Some(duration), part_grid: None, max_stall: TimeDelta::ZERO };
    vec![
        Event::Start {
            broadcast: "b-1".parse().unwrap(),
            mode: LatencyMode::Low,
            started_at: WallTime::from_unix_millis(1),
        },
        Event::Targets(targets),
        init(),
        part(),
        Event::Next(NextPart { rendition: RenditionId::AUDIO, msn: 8, index: 0 }),
        Event::Segment(SegmentEnd {
            millihertz: Some(29_970),
            first_listed: 3,
            playable: true,
            stats,
            ..SegmentEnd::new(RenditionId::AUDIO, 7, duration)
        }),
        Event::Withdrawn(RenditionId(9)),
        Event::Captions,
        Event::End,
    ]
}

fn written(entry: &Entry) -> Bytes {
    encode(entry).pieces().concat().into()
}

#[test]
fn every_event_is_read_back() {
    for (seq, event) in (1 << 40..).zip(events()) {
        let entry = Entry { seq, event };
        let bytes = written(&entry);
        assert_eq!(decode(bytes.clone()).as_ref(), Ok(&entry));
    }
}

#[test]
fn the_form_is_small_and_stays_as_it_is() {
    let next = events().into_iter().nth(4).unwrap();
    let bytes = written(&Entry { seq: 258, event: next });
    let want = [1, 5, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0];
    assert_eq!(bytes.as_ref(), want);
    let header = |event| encode(&Entry { seq: 0, event }).pieces()[0].len();
    let longest = events().into_iter().map(header).max();
    assert!(longest.is_some_and(|longest| longest <= 100), "{longest:?} bytes");
}

#[test]
fn media_is_shared_on_both_sides() {
    let event = events().into_iter().nth(3).unwrap();
    let Event::Part(part) = &event else { panic!("a part") };
    let payload = encode(&Entry { seq: 0, event: event.clone() });
    assert_eq!(payload.pieces()[1].as_ptr(), part.data.pieces()[0].as_ptr());
    let bytes: Bytes = payload.pieces().concat().into();
    let Event::Part(read) = decode(bytes.clone()).unwrap().event else { panic!("a part") };
    assert_eq!(read.data.pieces()[0].as_ptr(), bytes[bytes.len() - 8..].as_ptr());
}

#[test]
fn a_cut_entry_is_refused_with_its_place() {
    for event in events() {
        let bytes = written(&Entry { seq: 1, event });
        for len in 0..bytes.len() {
            let error = decode(bytes.slice(..len)).unwrap_err();
            assert_eq!(error.problem, Problem::Truncated, "{error}");
            assert!(error.at <= len, "{error}");
        }
        let more = [bytes.as_ref(), b"x"].concat();
        assert_eq!(decode(more.into()).unwrap_err().problem, Problem::Trailing);
    }
}

#[test]
fn what_is_not_allowed_is_refused_with_its_place() {
    let refused = |event: usize, at: usize, value: &[u8]| {
        let event = events().into_iter().nth(event).unwrap();
        let mut bytes = written(&Entry { seq: 1, event }).to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        decode(bytes.into()).unwrap_err().to_string()
    };
    assert_eq!(refused(8, 0, &[2]), "log entry, byte 0: version has a value that is not allowed");
    assert_eq!(refused(8, 1, &[9]), "log entry, byte 1: kind has a value that is not allowed");
    assert_eq!(refused(8, 2, &[0xff]), "log entry, byte 2: seq is out of bounds");
    assert_eq!(refused(0, 11, b"/"), "log entry, byte 10: broadcast has a value that is not allowed");
    assert_eq!(refused(6, 10, &[0, 0, 0, 17]), "log entry, byte 10: rendition is out of bounds");
    assert_eq!(refused(3, 38, &[0xff]), "log entry, byte 38: duration is out of bounds");
    let length = events().into_iter().nth(3).map(|event| encode(&Entry { seq: 1, event }).pieces()[0].len() - 4);
    let length = length.unwrap();
    assert_eq!(refused(3, length, &[0xff; 4]), format!("log entry, byte {length}: media is out of bounds"));
}
