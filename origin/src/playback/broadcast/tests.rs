//! Tests of what readers find in a broadcast.

use super::*;
use bytes::Bytes;
use media::{Kind, Timestamp, WallTime};
use packager::log::{Event, Format, Init, LogWriter, Part, Payload, SegmentEnd, Targets};

const VIDEO: RenditionId = RenditionId::VIDEO;
const PART: TimeDelta = TimeDelta::from_millis(500);
const PARTS: u32 = 4;

fn part(msn: u64, index: u32) -> Event {
    let pieces = vec![Bytes::from(format!("{msn}")), Bytes::from(format!(".{index};"))];
    Event::Part(Arc::new(Part {
        rendition: VIDEO,
        msn,
        index,
        init: 0,
        start: Timestamp::ZERO,
        duration: PART,
        independent: index == 0,
        discontinuity: false,
        discontinuity_sequence: 0,
        wall: WallTime::from_unix_millis(0),
        frames: 1,
        data: Payload::new(pieces),
    }))
}

/// A broadcast and the writer of its log.
struct Written {
    broadcast: Broadcast,
    log: Mutex<LogWriter>,
}

impl Written {
    fn append(&self, events: &[Event]) {
        let mut log = self.log.lock();
        let entries: Vec<_> = events.iter().map(|event| log.append(event.clone())).collect();
        self.broadcast.append(&entries);
    }
}

impl std::ops::Deref for Written {
    type Target = Broadcast;
    fn deref(&self) -> &Broadcast {
        &self.broadcast
    }
}

/// Creates a broadcast of whole segments.
fn broadcast(segments: u64) -> Written {
    let broadcast = Written { broadcast: Broadcast::new(BroadcastId::generate()), log: Mutex::default() };
    let targets = Targets { segment_secs: 2, part: Some(PART), part_grid: None, max_stall: TimeDelta::ZERO };
    let format = Format::new(Kind::Video, "avc1.64001F");
    let init = Init { rendition: VIDEO, number: 0, bytes: Bytes::from_static(b"init"), format };
    broadcast.append(&[Event::Targets(targets), Event::Init(Arc::new(init))]);
    for msn in 0..segments {
        (0..PARTS).for_each(|index| broadcast.append(&[part(msn, index)]));
        broadcast.append(&[Event::Segment(SegmentEnd::new(VIDEO, msn, PART.times(4)))]);
    }
    broadcast
}

fn text(lookup: Lookup<Arc<Rendered>>) -> (String, String) {
    let Lookup::Found(rendered) = lookup else { panic!("a playlist") };
    let etag = rendered.etag.to_str().unwrap().to_owned();
    (String::from_utf8(rendered.plain.to_vec()).unwrap(), etag)
}

fn key(skip: bool) -> PlaylistKey {
    PlaylistKey::Media { rendition: VIDEO, parts: true, skip }
}

#[test]
fn a_playlist_is_rendered_without_the_lock_from_the_window_of_its_version() {
    let broadcast = broadcast(2);
    let CacheLookup::NotRendered(job) = broadcast.state.lock().find(key(false)) else { panic!("not rendered yet") };
    // The encoder continues meanwhile. If rendering held the lock, this would never return.
    broadcast.append(&[part(2, 0)]);
    let old = job.render(&broadcast.id, &broadcast.renders).unwrap();
    let (new, tag) = text(broadcast.media(VIDEO, &Directives::default(), NextPart::DoNotAwait));
    assert!(!String::from_utf8_lossy(&old.plain).contains("URI=\"video-2.0.m4s\",INDEPENDENT"));
    assert!(new.contains("URI=\"video-2.0.m4s\",INDEPENDENT"), "{new}");
    assert_ne!(old.etag.to_str().unwrap(), tag, "another text has another validator");
    assert_eq!(broadcast.stats().renders, 2);
}

#[test]
fn readers_on_all_threads_share_one_rendering() {
    let broadcast = broadcast(3);
    let ask = || text(broadcast.media(VIDEO, &Directives::default(), NextPart::DoNotAwait));
    let texts: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(broadcast.stats().renders, 1);
}

#[test]
fn a_delta_update_is_the_end_of_the_whole_playlist() {
    let broadcast = broadcast(12);
    broadcast.append(&[part(12, 0)]);
    let (whole, _) = text(broadcast.media(VIDEO, &Directives::default(), NextPart::DoNotAwait));
    let (delta, _) =
        text(broadcast.media(VIDEO, &Directives { skip: true, ..Directives::default() }, NextPart::DoNotAwait));
    let (_, rest) = delta.split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=").unwrap();
    let (skipped, rest) = rest.split_once('\n').unwrap();
    let skipped: usize = skipped.parse().unwrap();
    assert_eq!(whole.matches("#EXTINF").count(), delta.matches("#EXTINF").count() + skipped);
    assert!(whole.ends_with(rest.split_once("#EXT-X-PROGRAM-DATE-TIME").unwrap().1), "{whole}\n{delta}");
}

#[test]
fn the_window_of_a_reader_never_changes_while_the_writer_continues() {
    let broadcast = broadcast(2);
    let before = Arc::clone(&broadcast.state.lock().window);
    broadcast.append(&[part(2, 0), part(2, 1)]);
    assert_eq!(before.progress(VIDEO).map(|at| (at.msn, at.parts)), Some((2, 0)));
    let state = broadcast.state.lock();
    assert_eq!(state.window.progress(VIDEO).map(|at| (at.msn, at.parts)), Some((2, 2)));
    assert!(Arc::ptr_eq(before.segment(VIDEO, 1).unwrap(), state.window.segment(VIDEO, 1).unwrap()));
}

#[test]
fn all_readers_share_one_list_of_pieces() {
    let broadcast = broadcast(1);
    for (file, want) in [(File::Part(VIDEO, 0, 1), &b"0.1;"[..]), (File::Segment(VIDEO, 0), &b"0.0;0.1;0.2;0.3;"[..])] {
        let pieces = || match broadcast.file(file) {
            Lookup::Found(Source::Many(payload)) => payload,
            other => panic!("{other:?}"),
        };
        let (first, second) = (pieces(), pieces());
        assert_eq!(first.pieces().concat(), want);
        assert_eq!(first.pieces().as_ptr(), second.pieces().as_ptr(), "one list for all readers");
    }
}
