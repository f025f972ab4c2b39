//! Frames of a source and of an encoder, in one track.

use std::collections::BTreeMap;

use super::*;
use bytes::Bytes;
use media::FrameRate;
use proptest::prelude::*;

const REFERENCE: TrackId = TrackId(0);
/// Ticks from decoding to presentation, with B-frames.
const REORDER: i64 = 2;

fn ticks() -> TickGrid {
    TickGrid { origin: Timestamp::ZERO + TimeDelta::from_millis(70), rate: FrameRate::new(30, 1) }
}

/// PTS that a source gives its image `n`, rounded down to milliseconds.
fn source_time(n: i64) -> Timestamp {
    Timestamp::ZERO + TimeDelta::from_millis(5_000 + n.div_euclid(3) * 100 + n.rem_euclid(3) * 33)
}

fn frame(decoded: i64, presented: i64, access: Access) -> Frame {
    let payload = Bytes::copy_from_slice(&presented.to_be_bytes());
    Frame { track: TrackId(1), dts: source_time(decoded), pts: source_time(presented), access, payload }
}

fn source() -> Passthrough {
    Passthrough::new(REFERENCE, ticks(), LatencyMode::Low, 1_000_000)
}

/// Frames `from` to `to` in decode order, with an IDR frame first and every `gop` frames; with B-frames as `I0 P3 B1
/// B2`.
fn coded(from: i64, to: i64, gop: i64, b_frames: bool) -> Vec<Frame> {
    let access = |n: i64| Access::independent_if((n - from) % gop == 0);
    if !b_frames {
        return (from..to).map(|n| frame(n, n, access(n))).collect();
    }
    let mut order = Vec::new();
    let (mut n, mut next_key) = (from, from);
    while n < to {
        if n == next_key {
            order.push(n);
            (n, next_key) = (n + 1, n + gop);
        } else {
            let last = (n + 2).min(to - 1).min(next_key - 1);
            order.push(last);
            order.extend(n..last);
            n = last + 1;
        }
    }
    (from..).zip(order).map(|(decoded, presented)| frame(decoded - REORDER, presented, access(presented))).collect()
}

fn select(source: &mut Passthrough, live: Option<i64>, tick: i64) -> TickSource {
    source.select(live.map(source_time), ticks().at(tick), ticks())
}

fn number(frame: &Frame) -> i64 {
    i64::from_be_bytes(frame.payload[..8].try_into().unwrap())
}

fn pulled(source: &mut Passthrough) -> Vec<(i64, i64)> {
    std::iter::from_fn(|| source.pull()).map(|frame| (number(&frame), ticks().index(frame.pts))).collect()
}

/// Frame that the encoder makes of a tick. Its number is negative.
fn encoded(tick: i64) -> Frame {
    let at = ticks().at(tick);
    Frame { track: REFERENCE, dts: at, pts: at, ..frame(0, -1 - tick, Access::Dependent) }
}

const KEY: TickSource = TickSource::Passthrough { key: true };
const OTHER: TickSource = TickSource::Passthrough { key: false };
const ENCODE: TickSource = TickSource::Encoder { begins: false };
const BEGINS: TickSource = TickSource::Encoder { begins: true };

#[test]
fn frames_leave_on_the_ticks_of_their_images() {
    let mut source = source();
    for (n, frame) in (0..).zip(coded(0, 60, 30, false)) {
        source.push(&frame);
        assert_eq!(select(&mut source, Some(n), n + 7), if n % 30 == 0 { KEY } else { OTHER });
        let left = source.pull().unwrap();
        assert_eq!((left.pts, left.dts, left.track), (ticks().at(n + 7), ticks().at(n + 7), REFERENCE));
        assert_eq!((left.payload, left.access), (frame.payload, frame.access));
    }
    assert_eq!((source.forwarded(), source.bytes), (60, 0));
}

#[test]
fn reordered_frames_leave_in_decode_order() {
    let mut source = source();
    let all = coded(0, 32, 16, true);
    all.iter().for_each(|frame| source.push(frame));
    let mut left = Vec::new();
    for n in 0..32 {
        assert_eq!(select(&mut source, Some(n), n), if n % 16 == 0 { KEY } else { OTHER });
        left.extend(std::iter::from_fn(|| source.pull()));
    }
    assert_eq!(left.iter().map(number).collect::<Vec<_>>(), all.iter().map(number).collect::<Vec<_>>());
    for (n, frame) in (0..).zip(&left) {
        assert_eq!((frame.pts, frame.dts), (ticks().at(number(frame)), ticks().at(n - REORDER)));
    }
}

#[test]
fn gap_is_encoded_and_the_source_returns_at_an_idr_frame() {
    let mut source = source();
    coded(0, 3, 30, false).iter().for_each(|frame| source.push(frame));
    assert_eq!([0, 1, 2].map(|n| select(&mut source, Some(n), n)), [KEY, OTHER, OTHER]);
    assert_eq!(pulled(&mut source), [(0, 0), (1, 1), (2, 2)]);
    assert_eq!([select(&mut source, None, 3), select(&mut source, None, 4)], [BEGINS, ENCODE]);
    // The images of the source are back, in the middle of a GOP.
    (3..5).for_each(|n| source.push(&frame(n, n, Access::Dependent)));
    coded(5, 7, 30, false).iter().for_each(|frame| source.push(frame));
    assert_eq!(select(&mut source, Some(4), 5), ENCODE);
    assert_eq!([select(&mut source, Some(5), 6), select(&mut source, Some(6), 7)], [KEY, OTHER]);
    // No frame overtakes those that the encoder has not finished.
    assert_eq!(pulled(&mut source), []);
    (3..5).for_each(|tick| source.fill(encoded(tick)));
    assert_eq!(pulled(&mut source), [(-4, 3), (-5, 4)]);
    source.fill(encoded(2));
    source.fill(encoded(5));
    assert_eq!(pulled(&mut source), [(-6, 5), (5, 6), (6, 7)]);
}

#[test]
fn failed_encoder_blocks_nothing() {
    let mut source = source();
    assert_eq!([select(&mut source, None, 0), select(&mut source, None, 1)], [ENCODE, ENCODE]);
    source.cancel_newest();
    source.push(&frame(0, 0, Access::Independent));
    assert_eq!(select(&mut source, Some(0), 2), KEY);
    source.cancel_reserved();
    assert_eq!(pulled(&mut source), [(0, 2)]);
}

#[test]
fn open_gop_does_not_begin_passthrough() {
    let mut source = source();
    source.push(&frame(0, 0, Access::Open));
    assert_eq!(select(&mut source, Some(0), 0), ENCODE);
    source.push(&frame(1, 1, Access::Independent));
    source.push(&frame(2, 2, Access::Open));
    assert_eq!([select(&mut source, Some(1), 1), select(&mut source, Some(2), 2)], [KEY, OTHER]);
    source.fill(encoded(0));
    let last = std::iter::from_fn(|| source.pull()).last().unwrap();
    assert_eq!((number(&last), last.access), (2, Access::Dependent));
}

#[test]
fn frames_that_share_a_tick_are_all_forwarded() {
    let mut source = source();
    coded(0, 5, 2, false).iter().for_each(|frame| source.push(frame));
    let sources = [(0, 0), (3, 1), (3, 2), (4, 3)].map(|(n, tick)| select(&mut source, Some(n), tick));
    assert_eq!(sources, [KEY, OTHER, OTHER, KEY]);
    let left: Vec<_> = std::iter::from_fn(|| source.pull()).collect();
    assert_eq!(left.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(left.windows(2).all(|pair| pair[0].pts < pair[1].pts && pair[0].dts < pair[1].dts));
    let keys: Vec<_> = left.iter().filter(|frame| frame.access.is_independent()).map(number).collect();
    assert_eq!(keys, [0, 4], "2 was not presented, and is not a key frame in any rendition");
}

#[test]
fn source_with_long_gops_is_encoded_until_another_contribution() {
    let mut source = source();
    let all = coded(0, 200, 150, false);
    let sources = (0..).zip(&all).map(|(n, frame)| {
        source.push(frame);
        select(&mut source, Some(n), n)
    });
    let sources: Vec<_> = sources.collect();
    assert_eq!(sources.iter().position(|selected| *selected == BEGINS), Some(127), "4.2 s");
    assert!(sources[128..].iter().all(|selected| *selected == ENCODE));
    source.begin();
    source.set_header(true);
    source.push(&frame(200, 200, Access::Independent));
    assert_eq!(select(&mut source, Some(200), 200), KEY);
}

#[test]
fn short_first_gop_bounds_all_gops() {
    let mut source = source();
    let mut all = coded(0, 30, 30, false);
    all.extend(coded(30, 200, 90, false));
    let sources = (0..).zip(&all).map(|(n, frame)| {
        source.push(frame);
        select(&mut source, Some(n), n)
    });
    assert_eq!(sources.collect::<Vec<_>>().iter().position(|selected| *selected == BEGINS), Some(30 + 67), "2.2 s");
}

#[test]
fn source_with_too_high_a_bitrate_is_encoded() {
    let mut source = source();
    let sources = (0..200).map(|n| {
        let payload = Bytes::from(vec![0; 5_000]);
        source.push(&Frame { payload, ..frame(n, n, Access::independent_if(n % 30 == 0)) });
        select(&mut source, Some(n), n)
    });
    assert_eq!(sources.collect::<Vec<_>>().iter().position(|selected| *selected == BEGINS), Some(120));
}

#[test]
fn takeover_needs_no_encoder() {
    let mut source = source();
    let first = coded(0, 10, 30, true);
    first[..8].iter().for_each(|frame| source.push(frame));
    assert!(
        (1..6).fold(select(&mut source, Some(0), 0) == KEY, |all, n| all && select(&mut source, Some(n), n) == OTHER)
    );
    source.begin();
    source.set_header(true);
    source.push(&frame(100, 100, Access::Independent));
    assert_eq!(select(&mut source, Some(100), 6), KEY);
    // Image 6 was not presented, so frames 4 and 5, which need it, could not leave.
    assert_eq!(pulled(&mut source), [(0, 0), (3, 3), (1, 1), (2, 2), (100, 6)]);
    // A source with another header is not forwarded.
    source.begin();
    source.set_header(false);
    source.push(&frame(200, 200, Access::Independent));
    assert_eq!(select(&mut source, Some(200), 7), BEGINS);
}

#[test]
fn queue_is_bounded() {
    let mut source = source();
    coded(0, 599, 400, false).iter().for_each(|frame| source.push(frame));
    assert_eq!(source.queued.len(), 599);
    coded(599, 602, 1_000, false)[..2].iter().for_each(|frame| source.push(frame));
    assert_eq!((source.queued.len(), source.bytes), (0, 0));
    source.push(&frame(700, 700, Access::Independent));
    assert_eq!(source.queued.len(), 1);
    for tick in 0..10_000 {
        select(&mut source, None, tick);
    }
    assert!(source.outgoing.len() <= MAX_FRAMES);
}

proptest! {
    /// Frames that leave can be decoded and have rising times, whatever is lost, repeated or taken over.
    #[test]
    fn forwarded_frames_can_be_decoded(
        turns in proptest::collection::vec((1i64..80, 3i64..40, any::<bool>(), 0i64..6, any::<bool>()), 1..5),
        lost in proptest::collection::vec(0u8..12, 400),
    ) {
        let (mut source, mut tick, mut from, mut left) = (source(), 0, 0, Vec::new());
        let (mut fates, mut places) = (lost.into_iter().cycle(), BTreeMap::new());
        for (count, gop, b_frames, ahead, header_matches) in turns {
            source.begin();
            source.set_header(header_matches);
            let (frames, mut fed) = (coded(from, from + count, gop, b_frames), 0);
            for n in from..from + count {
                // The decoder has the frames that an image needs, and some more.
                let has_image = |fed: usize| frames[..fed].iter().any(|frame| number(frame) == n);
                let enough = |fed: usize| has_image(fed) && fed as i64 >= n - from + ahead;
                while fed < frames.len() && !enough(fed) {
                    source.push(&frames[fed]);
                    places.insert(number(&frames[fed]), (from + fed as i64, frames[fed].access));
                    fed += 1;
                }
                let live = match fates.next() {
                    Some(0) => continue,
                    Some(1) => None,
                    _ => Some(n),
                };
                if let TickSource::Encoder { .. } = select(&mut source, live, tick) {
                    source.fill(encoded(tick));
                }
                tick += 1;
                left.extend(std::iter::from_fn(|| source.pull()));
            }
            from += count + 100;
        }
        prop_assert!(left.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        let mut presented: Vec<_> = left.iter().map(|frame| frame.pts).collect();
        presented.sort_unstable();
        prop_assert!(presented.windows(2).all(|pair| pair[0] < pair[1]));
        // Place in decode order of the source's previous frame.
        let mut before = None;
        for frame in &left {
            let Some((place, access)) = places.get(&number(frame)) else {
                before = None;
                continue;
            };
            let goes_on = before.replace(*place) == Some(place - 1);
            prop_assert!(goes_on || *access == Access::Independent, "{} has no reference", number(frame));
        }
    }
}
