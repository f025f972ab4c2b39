//! Tests of the queue and its gate, with frames of four bytes, 100 ms apart.

use bytes::Bytes;
use media::fixtures::{audio, video};
use media::{Access, MetadataKind, TimeDelta, Timescale, TrackId};

use super::*;

const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);
const LIMITS: QueueLimits = QueueLimits { bytes: 16, duration: TimeDelta::from_secs(10) };

fn tracks() -> Tracks {
    [video(VIDEO), audio(AUDIO)].into()
}

fn frame(track: TrackId, at: i64, access: Access) -> Frame {
    let time = Timescale::MILLIS.timestamp(at * 100);
    Frame { track, dts: time, pts: time, access, payload: Bytes::from_static(&[1; 4]) }
}

/// Pushes frames: `K` a key frame, `O` one of an open GOP, `d` a dependent frame, `a` audio.
fn push(queue: &Queue, first: i64, kinds: &str) {
    for (at, kind) in (first..).zip(kinds.chars()) {
        let (track, access) = match kind {
            'K' => (VIDEO, Access::Independent),
            'O' => (VIDEO, Access::Open),
            'd' => (VIDEO, Access::Dependent),
            _ => (AUDIO, Access::Independent),
        };
        queue.push(&frame(track, at, access), &tracks());
    }
}

/// Returns the queued frames by their times, in units of 100 ms.
fn taken(queue: &Queue) -> Vec<i64> {
    let mut batch = Vec::new();
    queue.take(&mut batch, usize::MAX);
    batch.iter().map(|queued| Timescale::MILLIS.ticks(queued.time()) / 100).collect()
}

fn open(limits: QueueLimits) -> Queue {
    let queue = Queue::new(limits);
    queue.open();
    queue.note_publishing();
    queue
}

#[test]
fn frames_between_attempts_are_ignored() {
    let queue = Queue::new(LIMITS);
    push(&queue, 0, "KdaKda");
    assert_eq!((taken(&queue), queue.stats()), (vec![], (0, 0)));
    queue.open();
    push(&queue, 6, "da");
    assert_eq!((taken(&queue), queue.stats()), (vec![], (0, 0)));
    push(&queue, 8, "Kda");
    assert_eq!(queue.stats(), (12, 0));
    queue.shut();
    push(&queue, 11, "Kda");
    assert_eq!((taken(&queue), queue.stats()), (vec![], (0, 0)));
}

#[test]
fn a_full_queue_continues_with_the_next_key_frame() {
    let queue = open(LIMITS);
    push(&queue, 0, "Kdad");
    assert_eq!(queue.stats(), (16, 0));
    push(&queue, 4, "d");
    assert_eq!(queue.stats(), (0, 5));
    push(&queue, 5, "adKad");
    assert_eq!((taken(&queue), queue.stats()), (vec![7, 8, 9], (0, 7)));
}

#[test]
fn a_key_frame_that_does_not_fit_is_the_next_one() {
    let queue = open(LIMITS);
    push(&queue, 0, "KdddKd");
    assert_eq!((queue.stats(), taken(&queue)), ((8, 4), vec![4, 5]));
}

#[test]
fn the_queue_is_bounded_by_duration() {
    let queue = open(QueueLimits { bytes: 1_000, duration: TimeDelta::from_millis(300) });
    push(&queue, 0, "Kddd");
    assert_eq!(queue.stats(), (16, 0));
    push(&queue, 4, "d");
    assert_eq!(queue.stats(), (0, 5));
}

#[test]
fn one_frame_may_be_larger_than_the_queue() {
    let queue = open(QueueLimits { bytes: 1, duration: TimeDelta::from_secs(1) });
    push(&queue, 0, "K");
    assert_eq!((taken(&queue), queue.stats()), (vec![0], (0, 0)));
}

#[test]
fn leading_frames_of_an_open_gop_are_left_out_at_the_start_only() {
    let queue = open(QueueLimits { bytes: 1_000, ..LIMITS });
    push(&queue, 0, "dO");
    let leading = |dts: i64, pts: i64| Frame {
        pts: Timescale::MILLIS.timestamp(pts * 100),
        ..frame(VIDEO, dts, Access::Dependent)
    };
    queue.push(&leading(2, 0), &tracks());
    push(&queue, 3, "dO");
    queue.push(&leading(5, 3), &tracks());
    assert_eq!(taken(&queue), [1, 3, 4, 5]);
}

#[test]
fn a_programme_without_video_starts_at_once() {
    let queue = open(LIMITS);
    let tracks: Tracks = [audio(AUDIO)].into();
    queue.push(&frame(AUDIO, 0, Access::Independent), &tracks);
    assert_eq!(taken(&queue), [0]);
}

#[test]
fn payloads_are_shared_and_batches_are_bounded() {
    let queue = open(LIMITS);
    let pushed = frame(VIDEO, 0, Access::Independent);
    queue.push(&pushed, &tracks());
    push(&queue, 1, "dd");
    let mut batch = Vec::new();
    queue.take(&mut batch, 8);
    assert_eq!(batch.len(), 2);
    let Queued::Frame(taken, _) = &batch[0] else { panic!("{batch:?}") };
    assert_eq!(taken.payload.as_ptr(), pushed.payload.as_ptr());
    queue.take(&mut batch, 0);
    assert_eq!((batch.len(), queue.stats()), (2, (4, 0)));
    batch.clear();
    queue.take(&mut batch, 0);
    assert_eq!((batch.len(), queue.stats()), (1, (0, 0)));
}

#[test]
fn frames_are_queued_while_the_target_is_dialled_and_are_not_counted_when_dropped() {
    let queue = Queue::new(LIMITS);
    queue.open();
    push(&queue, 0, "Kdddd");
    assert_eq!(queue.stats(), (0, 0));
    push(&queue, 5, "daKd");
    queue.note_publishing();
    push(&queue, 9, "da");
    assert_eq!(queue.stats(), (16, 0));
    push(&queue, 11, "d");
    assert_eq!(queue.stats(), (0, 5));
}

#[test]
fn metadata_follows_the_first_frame() {
    let queue = open(LIMITS);
    let metadata = |at: i64| Metadata {
        kind: MetadataKind::Id3,
        pts: Timescale::MILLIS.timestamp(at * 100),
        payload: Bytes::from_static(b"ID3"),
    };
    queue.push_metadata(&metadata(0));
    push(&queue, 1, "K");
    queue.push_metadata(&metadata(0));
    queue.push_metadata(&metadata(2));
    assert_eq!((taken(&queue), queue.stats()), (vec![1, 2], (0, 0)));
}
