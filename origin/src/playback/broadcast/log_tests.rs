//! Readers of one log that join at different moments serve the same playlists with the same ETags.

use super::*;
use bytes::Bytes;
use media::{Kind, Timestamp, WallTime};
use packager::log::{Event, Format, Init, LogWriter, Part, Payload, SegmentEnd, Targets};

const RENDITIONS: [RenditionId; 2] = [RenditionId::VIDEO, RenditionId::AUDIO];
const PARTS: u32 = 4;
const SEGMENTS: u64 = 40;
/// Every so many segments there is a discontinuity.
const PERIOD: u64 = 7;

fn part(rendition: RenditionId, msn: u64, index: u32) -> Event {
    let size = 1_000 + (msn * 37 % 11) as usize * 100;
    Event::Part(Arc::new(Part {
        rendition,
        msn,
        index,
        init: (msn / PERIOD) as u32,
        start: Timestamp::ZERO,
        duration: part_duration(rendition),
        independent: index == 0,
        discontinuity: index == 0 && msn > 0 && msn.is_multiple_of(PERIOD),
        discontinuity_sequence: 0,
        wall: WallTime::from_unix_millis((msn as i64 * i64::from(PARTS) + i64::from(index)) * 500),
        frames: 15,
        data: Payload::new([Bytes::from(vec![0; size])]),
    }))
}

/// Audio segments last a little longer.
fn part_duration(rendition: RenditionId) -> TimeDelta {
    TimeDelta::from_millis(if rendition == RenditionId::AUDIO { 502 } else { 500 })
}

fn init(rendition: RenditionId, number: u32) -> Event {
    let (kind, codec) = match rendition {
        RenditionId::AUDIO => (Kind::Audio, "mp4a.40.2".to_owned()),
        _ => (Kind::Video, format!("avc1.6400{:02x}", 31 + number)),
    };
    Event::Init(Arc::new(Init {
        rendition,
        number,
        bytes: Bytes::from_static(b"init"),
        format: Format::new(kind, codec),
    }))
}

/// The entries of a broadcast, and the head that a reader which joins before each of them gets.
fn log() -> Vec<(Vec<Entry>, Entry)> {
    let part_target = Some(TimeDelta::from_millis(510));
    let targets = Targets { segment_secs: 2, part: part_target, part_grid: None, max_stall: TimeDelta::ZERO };
    let mut events = vec![Event::Targets(targets)];
    for msn in 0..SEGMENTS {
        if msn.is_multiple_of(PERIOD) {
            events.extend(RENDITIONS.map(|rendition| init(rendition, (msn / PERIOD) as u32)));
        }
        for index in 0..PARTS {
            events.extend(RENDITIONS.map(|rendition| part(rendition, msn, index)));
        }
        let end = |rendition| Event::Segment(SegmentEnd::new(rendition, msn, part_duration(rendition).times(4)));
        events.extend(RENDITIONS.map(end));
    }
    events.push(Event::End);
    let mut log = LogWriter::new();
    events.into_iter().map(|event| (log.head().to_vec(), log.append(event))).collect()
}

/// The text and the ETag of every playlist, in all forms.
fn playlists(broadcast: &Broadcast) -> Vec<(String, String)> {
    let playback: PlaybackId = "play".parse().unwrap();
    let mut found = Vec::new();
    for low_latency in [true, false] {
        found.push(broadcast.multivariant(&playback, low_latency));
        for rendition in RENDITIONS {
            for skip in [true, false] {
                let directives = Directives { low_latency, skip, ..Directives::default() };
                found.push(broadcast.media(rendition, &directives, NextPart::DoNotAwait));
            }
        }
    }
    let texts = found.into_iter().filter_map(|lookup| match lookup {
        Lookup::Found(rendered) => Some(rendered),
        _ => None,
    });
    texts.map(|r| (String::from_utf8(r.plain.to_vec()).unwrap(), r.etag.to_str().unwrap().to_owned())).collect()
}

#[test]
fn readers_that_join_at_different_moments_serve_the_same_playlists_and_etags() {
    let log = log();
    let new = || Broadcast::new("cast".parse().unwrap());
    let first = new();
    let mut late: Vec<Broadcast> = Vec::new();
    let mut compared = 0;
    for (n, (head, entry)) in log.iter().enumerate() {
        if n % 13 == 5 {
            let broadcast = new();
            broadcast.append(head);
            late.push(broadcast);
        }
        first.append(std::slice::from_ref(entry));
        late.iter().for_each(|broadcast| broadcast.append(std::slice::from_ref(entry)));
        if n % 5 > 0 && n + 1 < log.len() {
            continue;
        }
        let want = playlists(&first);
        for broadcast in late.iter().filter(|broadcast| broadcast.is_playable()) {
            let got = playlists(broadcast);
            assert_eq!(got, want, "after entry {n}");
            compared += got.len();
        }
    }
    assert!(compared > 1_000, "{compared} playlists were compared");
}
