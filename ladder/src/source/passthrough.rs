//! The contribution's own frames in the place of the leader's: never encoded twice.
//!
//! Each frame that the decoder is given waits here until its picture is shown, and leaves with the time at which it was:
//! its PTS is moved to the tick, and its DTS by as much. Pictures come in the order of presentation and frames in that of
//! decoding, so one that was shown may have to wait for others before it. What has no frame, a held picture or the slate,
//! is encoded by an encoder beside the source; both write one track, in the order of the ticks, and share its header.
//! The source comes in at one of its IDR pictures only.

use std::collections::VecDeque;

use media::{Access, Frame, LatencyMode, TimeDelta, Timescale, Timestamp, TrackId};

use crate::video::encoder::Ticks;

/// Frames whose pictures were not shown yet, and their bytes. At a bound they are let go, and the source comes in again
/// at its next IDR picture.
const MAX_FRAMES: usize = 600;
const MAX_BYTES: usize = 16 << 20;
/// Where the times of a picture and of its frame differ by less than this, they are one: nanoseconds round.
const SAME: TimeDelta = TimeDelta::from_millis(1);
/// IDR pictures further apart than this leave viewers no place to come in: what sends them is encoded.
const MAX_GOP: TimeDelta = TimeDelta::from_secs(4);
/// How much longer a GOP may be than it was at first.
const GOP_JITTER: TimeDelta = TimeDelta::from_millis(200);
/// The bit rate is looked at over so long.
const LOOKED_AT: TimeDelta = TimeDelta::from_secs(4);
/// Decode times are at least this far apart where the frames themselves say nothing better.
const APART: TimeDelta = TimeDelta::from_millis(1);
const FLICKS: Timescale = Timescale::new(705_600_000);

/// What the leader shows on a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cue {
    /// The source's own frame. All rungs have a key frame where it is an IDR picture, and only there.
    Source {
        /// It is one.
        key: bool,
    },
    /// The encoder's.
    Encode {
        /// It has to be a key frame, because the source's frames ended here.
        begins: bool,
    },
}

/// The leader's frames, out of the source and an encoder beside it.
#[derive(Debug)]
pub(crate) struct Source {
    track: TrackId,
    ticks: Ticks,
    most_bits: u32,
    /// The contribution may be passed on, and is well enough made for it.
    fits: bool,
    fair: bool,
    /// Counts contributions.
    turn: u32,
    /// What is in `coming` goes on: nothing is missing since an IDR picture.
    whole: bool,
    /// Frames in decode order, from an IDR picture on.
    coming: VecDeque<Coming>,
    bytes: usize,
    /// The source is shown, not the encoder.
    passing: bool,
    /// The newest picture that was shown of it: as it was dated, and when.
    newest: Option<(Timestamp, Timestamp)>,
    gop: Gop,
    /// How far presentation runs behind decoding.
    reorder: TimeDelta,
    line: VecDeque<Place>,
    /// Decode time of the newest frame in the line.
    dts: Option<Timestamp>,
    passed: u64,
}

/// A frame whose picture may be shown.
#[derive(Debug)]
struct Coming {
    frame: Frame,
    turn: u32,
    /// When its picture was shown.
    at: Option<Timestamp>,
}

/// A place in the order in which frames leave.
#[derive(Debug)]
enum Place {
    Taken(Frame),
    /// For what the encoder makes of this tick.
    Kept {
        tick: i64,
        dts: Timestamp,
    },
}

/// How far apart the source's IDR pictures are, and what it takes.
#[derive(Debug)]
struct Gop {
    key: Option<Timestamp>,
    /// The longest that is well; known once there were two of them.
    longest: Option<TimeDelta>,
    least: TimeDelta,
    /// Since when bytes are counted.
    since: Option<Timestamp>,
    bytes: usize,
}

impl Source {
    /// A leader of track `track` without a frame. A contribution of more than `most_bits` a second is not passed on.
    pub(crate) fn new(track: TrackId, ticks: Ticks, mode: LatencyMode, most_bits: u32) -> Self {
        let least = if mode == LatencyMode::Standard { 4 } else { 2 };
        let least = TimeDelta::from_secs(least);
        Self {
            track,
            ticks,
            most_bits,
            fits: true,
            fair: true,
            turn: 0,
            whole: false,
            coming: VecDeque::new(),
            bytes: 0,
            passing: false,
            newest: None,
            gop: Gop { key: None, longest: None, least, since: None, bytes: 0 },
            reorder: TimeDelta::ZERO,
            line: VecDeque::new(),
            dts: None,
            passed: 0,
        }
    }

    /// Frames of the source that left.
    pub(crate) const fn passed(&self) -> u64 {
        self.passed
    }

    /// The newest picture that was shown of it: as it was dated, and when.
    pub(crate) const fn newest(&self) -> Option<(Timestamp, Timestamp)> {
        self.newest
    }

    /// Another contribution follows.
    pub(crate) fn begin(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        (self.fits, self.fair, self.whole) = (false, true, false);
    }

    /// The header of the frames that follow; `fits` tells that it is the one that the leader has.
    pub(crate) fn header(&mut self, fits: bool) {
        self.whole &= fits && self.fits;
        self.fits = fits;
    }

    /// A frame that the decoder is given.
    pub(crate) fn frame(&mut self, frame: &Frame) {
        let key = frame.access.is_independent();
        self.whole = self.fits && self.fair && (self.whole || key);
        if self.coming.len() >= MAX_FRAMES || self.bytes + frame.payload.len() > MAX_BYTES {
            self.coming.clear();
            (self.bytes, self.whole) = (0, self.whole && key);
        }
        if self.whole {
            self.bytes += frame.payload.len();
            self.coming.push_back(Coming { frame: frame.clone(), turn: self.turn, at: None });
        }
    }

    /// What the leader shows on the tick at `at`, where the picture dated `live` is shown; none if it is no live one.
    pub(crate) fn show(&mut self, live: Option<Timestamp>, at: Timestamp, ticks: Ticks) -> Cue {
        self.ticks = ticks;
        let tick = ticks.index(at);
        let at = ticks.at(tick);
        if let Some(key) = live.and_then(|pts| self.pass(pts, at)) {
            self.passing = true;
            return Cue::Source { key };
        }
        let begins = std::mem::replace(&mut self.passing, false);
        self.advance();
        self.forget_until(|coming| coming.at.is_none() && live.is_none_or(|pts| coming.frame.pts > pts));
        if self.line.len() >= MAX_FRAMES {
            self.lost();
        }
        let dts = self.date(self.reorder, at);
        self.line.push_back(Place::Kept { tick, dts });
        Cue::Encode { begins }
    }

    /// The encoder was not given the picture of the newest tick.
    pub(crate) fn left_out(&mut self) {
        self.line.pop_back_if(|place| matches!(place, Place::Kept { .. }));
    }

    /// The encoder failed: what it was given does not come.
    pub(crate) fn lost(&mut self) {
        self.line.retain(|place| matches!(place, Place::Taken(_)));
    }

    /// A frame of the encoder; one of a tick that was the source's is let go.
    pub(crate) fn encoded(&mut self, frame: Frame) {
        let of = self.ticks.index(frame.pts);
        let kept = self.line.iter_mut().find(|place| matches!(place, Place::Kept { tick, .. } if *tick == of));
        if let Some(place) = kept
            && let Place::Kept { dts, .. } = *place
        {
            *place = Place::Taken(Frame { track: self.track, dts, ..frame });
        }
    }

    /// The next frame that leaves.
    pub(crate) fn pull(&mut self) -> Option<Frame> {
        match self.line.pop_front_if(|place| matches!(place, Place::Taken(_)))? {
            Place::Taken(frame) => Some(frame),
            Place::Kept { .. } => None,
        }
    }

    /// Finds the frame of the picture dated `pts`, which is shown at `at`; gives whether it is an IDR picture. None where
    /// it has to be encoded.
    fn pass(&mut self, pts: Timestamp, at: Timestamp) -> Option<bool> {
        let same = |shown: Timestamp| (shown - pts).abs() < SAME;
        if self.passing && self.newest.is_some_and(|(shown, _)| same(shown)) {
            // It is shown for longer.
            return self.is_fair(at).then_some(false);
        }
        let found = self.coming.iter().position(|coming| coming.at.is_none() && same(coming.frame.pts))?;
        let Coming { frame, turn, .. } = self.coming.get(found)?;
        let (key, reorder, turn) = (frame.access.is_independent(), frame.pts - frame.dts, *turn);
        if !(key || self.passing) || !self.is_fair(at) || key && !self.counts(at) {
            return None;
        }
        if key {
            self.reorder = if self.newest.is_none() { reorder } else { self.reorder };
            self.gop.key = Some(at);
        }
        self.leave_others(turn, if self.passing { 0 } else { found });
        self.show_skipped(pts, at);
        let shown = self.coming.iter_mut().find(|coming| coming.at.is_none() && same(coming.frame.pts))?;
        shown.at = Some(at);
        self.newest = Some((pts, at));
        self.advance();
        Some(key)
    }

    /// Lets go of what is left of other contributions than `turn`, and of the first `count` frames, none of which was shown.
    fn leave_others(&mut self, turn: u32, count: usize) {
        self.coming.drain(..count.min(self.coming.len()));
        self.coming.retain(|coming| coming.turn == turn);
        self.bytes = self.coming.iter().map(|coming| coming.frame.payload.len()).sum();
    }

    /// Pictures before the one dated `pts` that were not shown, as where two fall on one tick, are needed by others still:
    /// they are put between the one before them and this one. Nobody comes in at one of them, as no rung has it.
    fn show_skipped(&mut self, pts: Timestamp, at: Timestamp) {
        let Some((_, before)) = self.newest.filter(|_| self.passing) else { return };
        let mut skipped: Vec<_> =
            self.coming.iter_mut().filter(|coming| coming.at.is_none() && coming.frame.pts < pts - SAME).collect();
        skipped.sort_by_key(|coming| coming.frame.pts);
        let (room, steps) = ((at - before).flicks(), i64::try_from(skipped.len()).unwrap_or(i64::MAX - 1) + 1);
        // An IDR frame that shares its tick is no place to come in at, but the encoder's GOPs are no longer for it.
        if skipped.iter().any(|coming| coming.frame.access.is_independent()) {
            self.gop.key = Some(at);
        }
        for (n, coming) in (1..).zip(skipped) {
            coming.at = Some(before + FLICKS.delta(room / steps * n));
            coming.frame.access = Access::Dependent;
        }
    }

    /// Puts the frames in the line that were shown and have none before them that was not.
    fn advance(&mut self) {
        while let Some(Coming { frame, at: Some(at), .. }) = self.coming.pop_front_if(|coming| coming.at.is_some()) {
            let Frame { dts, pts, access, payload, .. } = frame;
            self.bytes -= payload.len();
            self.gop.bytes += payload.len();
            self.passed += 1;
            let dts = self.date(pts - dts, at);
            // An open GOP begins with pictures that no rung begins with.
            let access = Access::independent_if(access.is_independent());
            self.line.push_back(Place::Taken(Frame { track: self.track, dts, pts: at, access, payload }));
        }
    }

    /// Lets go of frames up to the first IDR picture that is `wanted`.
    fn forget_until(&mut self, wanted: impl Fn(&Coming) -> bool) {
        let gone = |coming: &mut Coming| !(coming.frame.access.is_independent() && wanted(coming));
        while let Some(gone) = self.coming.pop_front_if(gone) {
            self.bytes -= gone.frame.payload.len();
        }
    }

    /// The decode time of a frame that is decoded `before` it is shown at `at`.
    fn date(&mut self, before: TimeDelta, at: Timestamp) -> Timestamp {
        let dts = self.ticks.at(self.ticks.index(at - before)).min(at);
        let dts = self.dts.map_or(dts, |last| dts.max(last + APART));
        self.dts = Some(dts);
        dts
    }

    /// Whether the GOP that is shown at `at` is short enough; with one that is not the contribution is out.
    fn is_fair(&mut self, at: Timestamp) -> bool {
        let longest = self.gop.longest.unwrap_or(MAX_GOP) + GOP_JITTER;
        let key = self.gop.key.filter(|_| self.passing);
        self.fair &= key.is_none_or(|key| at - key <= longest);
        self.fair
    }

    /// An IDR picture is shown at `at`: whether the source goes on as it may.
    fn counts(&mut self, at: Timestamp) -> bool {
        if !self.passing {
            (self.gop.since, self.gop.bytes) = (Some(at), 0);
            return true;
        }
        if let Some(key) = self.gop.key {
            self.gop.longest.get_or_insert((at - key).clamp(self.gop.least, MAX_GOP));
        }
        let since = *self.gop.since.get_or_insert(at);
        if at - since >= LOOKED_AT {
            let bits = self.gop.bytes as f64 * 8.0 / (at - since).as_secs_f64();
            (self.gop.since, self.gop.bytes) = (Some(at), 0);
            self.fair &= bits <= f64::from(self.most_bits);
        }
        self.fair
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rate::Rate;
    use bytes::Bytes;
    use proptest::prelude::*;

    const REFERENCE: TrackId = TrackId(0);
    /// Presentation runs so many ticks behind decoding where there are B-frames.
    const REORDER: i64 = 2;

    fn ticks() -> Ticks {
        Ticks { origin: Timestamp::ZERO + TimeDelta::from_millis(70), rate: Rate::new(30, 1) }
    }

    /// A source's own time of picture `n`, rounded down to milliseconds.
    fn dated(n: i64) -> Timestamp {
        Timestamp::ZERO + TimeDelta::from_millis(5_000 + n.div_euclid(3) * 100 + n.rem_euclid(3) * 33)
    }

    fn frame(decoded: i64, shown: i64, access: Access) -> Frame {
        let payload = Bytes::copy_from_slice(&shown.to_be_bytes());
        Frame { track: TrackId(1), dts: dated(decoded), pts: dated(shown), access, payload }
    }

    fn source() -> Source {
        Source::new(REFERENCE, ticks(), LatencyMode::Low, 1_000_000)
    }

    /// Pictures `from` to `to` in decode order, an IDR picture first and every `gop`; with B-frames as `I0 P3 B1 B2`.
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
        (from..).zip(order).map(|(decoded, shown)| frame(decoded - REORDER, shown, access(shown))).collect()
    }

    fn show(source: &mut Source, live: Option<i64>, tick: i64) -> Cue {
        source.show(live.map(dated), ticks().at(tick), ticks())
    }

    fn number(frame: &Frame) -> i64 {
        i64::from_be_bytes(frame.payload[..8].try_into().unwrap())
    }

    fn pulled(source: &mut Source) -> Vec<(i64, i64)> {
        std::iter::from_fn(|| source.pull()).map(|frame| (number(&frame), ticks().index(frame.pts))).collect()
    }

    /// What the encoder makes of a tick; its number is negative.
    fn encoded(tick: i64) -> Frame {
        let at = ticks().at(tick);
        Frame { track: REFERENCE, dts: at, pts: at, ..frame(0, -1 - tick, Access::Dependent) }
    }

    const KEY: Cue = Cue::Source { key: true };
    const OTHER: Cue = Cue::Source { key: false };
    const ENCODE: Cue = Cue::Encode { begins: false };
    const BEGINS: Cue = Cue::Encode { begins: true };

    #[test]
    fn frames_leave_on_the_ticks_of_their_pictures() {
        let mut source = source();
        for (n, frame) in (0..).zip(coded(0, 60, 30, false)) {
            source.frame(&frame);
            assert_eq!(show(&mut source, Some(n), n + 7), if n % 30 == 0 { KEY } else { OTHER });
            let left = source.pull().unwrap();
            assert_eq!((left.pts, left.dts, left.track), (ticks().at(n + 7), ticks().at(n + 7), REFERENCE));
            assert_eq!((left.payload, left.access), (frame.payload, frame.access));
        }
        assert_eq!((source.passed(), source.bytes), (60, 0));
    }

    #[test]
    fn reordered_frames_leave_in_decode_order() {
        let mut source = source();
        let all = coded(0, 32, 16, true);
        all.iter().for_each(|frame| source.frame(frame));
        let mut left = Vec::new();
        for n in 0..32 {
            assert_eq!(show(&mut source, Some(n), n), if n % 16 == 0 { KEY } else { OTHER });
            left.extend(std::iter::from_fn(|| source.pull()));
        }
        assert_eq!(left.iter().map(number).collect::<Vec<_>>(), all.iter().map(number).collect::<Vec<_>>());
        for (n, frame) in (0..).zip(&left) {
            assert_eq!((frame.pts, frame.dts), (ticks().at(number(frame)), ticks().at(n - REORDER)));
        }
    }

    #[test]
    fn a_gap_is_encoded_and_the_source_returns_at_an_idr_picture() {
        let mut source = source();
        coded(0, 3, 30, false).iter().for_each(|frame| source.frame(frame));
        assert_eq!([0, 1, 2].map(|n| show(&mut source, Some(n), n)), [KEY, OTHER, OTHER]);
        assert_eq!(pulled(&mut source), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!([show(&mut source, None, 3), show(&mut source, None, 4)], [BEGINS, ENCODE]);
        // Its pictures are back, in the middle of a GOP.
        (3..5).for_each(|n| source.frame(&frame(n, n, Access::Dependent)));
        coded(5, 7, 30, false).iter().for_each(|frame| source.frame(frame));
        assert_eq!(show(&mut source, Some(4), 5), ENCODE);
        assert_eq!([show(&mut source, Some(5), 6), show(&mut source, Some(6), 7)], [KEY, OTHER]);
        // The encoder takes its time; nothing overtakes it.
        assert_eq!(pulled(&mut source), []);
        (3..5).for_each(|tick| source.encoded(encoded(tick)));
        assert_eq!(pulled(&mut source), [(-4, 3), (-5, 4)]);
        source.encoded(encoded(2));
        source.encoded(encoded(5));
        assert_eq!(pulled(&mut source), [(-6, 5), (5, 6), (6, 7)]);
    }

    #[test]
    fn an_encoder_that_fails_holds_nothing_up() {
        let mut source = source();
        assert_eq!([show(&mut source, None, 0), show(&mut source, None, 1)], [ENCODE, ENCODE]);
        source.left_out();
        source.frame(&frame(0, 0, Access::Independent));
        assert_eq!(show(&mut source, Some(0), 2), KEY);
        source.lost();
        assert_eq!(pulled(&mut source), [(0, 2)]);
    }

    #[test]
    fn an_open_gop_is_no_place_to_come_in() {
        let mut source = source();
        source.frame(&frame(0, 0, Access::Open));
        assert_eq!(show(&mut source, Some(0), 0), ENCODE);
        source.frame(&frame(1, 1, Access::Independent));
        source.frame(&frame(2, 2, Access::Open));
        assert_eq!([show(&mut source, Some(1), 1), show(&mut source, Some(2), 2)], [KEY, OTHER]);
        source.encoded(encoded(0));
        let last = std::iter::from_fn(|| source.pull()).last().unwrap();
        assert_eq!((number(&last), last.access), (2, Access::Dependent));
    }

    #[test]
    fn pictures_that_share_a_tick_are_all_passed_on() {
        let mut source = source();
        coded(0, 5, 2, false).iter().for_each(|frame| source.frame(frame));
        let cues = [(0, 0), (3, 1), (3, 2), (4, 3)].map(|(n, tick)| show(&mut source, Some(n), tick));
        assert_eq!(cues, [KEY, OTHER, OTHER, KEY]);
        let left: Vec<_> = std::iter::from_fn(|| source.pull()).collect();
        assert_eq!(left.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(left.windows(2).all(|pair| pair[0].pts < pair[1].pts && pair[0].dts < pair[1].dts));
        let keys: Vec<_> = left.iter().filter(|frame| frame.access.is_independent()).map(number).collect();
        assert_eq!(keys, [0, 4], "2 was not shown, and is no key frame in any rung");
    }

    #[test]
    fn long_gops_are_encoded_until_another_contribution() {
        let mut source = source();
        let all = coded(0, 200, 150, false);
        let cues = (0..).zip(&all).map(|(n, frame)| {
            source.frame(frame);
            show(&mut source, Some(n), n)
        });
        let cues: Vec<_> = cues.collect();
        assert_eq!(cues.iter().position(|cue| *cue == BEGINS), Some(127), "4.2 s");
        assert!(cues[128..].iter().all(|cue| *cue == ENCODE));
        source.begin();
        source.header(true);
        source.frame(&frame(200, 200, Access::Independent));
        assert_eq!(show(&mut source, Some(200), 200), KEY);
    }

    #[test]
    fn a_first_gop_that_is_short_bounds_all() {
        let mut source = source();
        let mut all = coded(0, 30, 30, false);
        all.extend(coded(30, 200, 90, false));
        let cues = (0..).zip(&all).map(|(n, frame)| {
            source.frame(frame);
            show(&mut source, Some(n), n)
        });
        assert_eq!(cues.collect::<Vec<_>>().iter().position(|cue| *cue == BEGINS), Some(30 + 67), "2.2 s");
    }

    #[test]
    fn too_many_bits_are_encoded() {
        let mut source = source();
        let cues = (0..200).map(|n| {
            let payload = Bytes::from(vec![0; 5_000]);
            source.frame(&Frame { payload, ..frame(n, n, Access::independent_if(n % 30 == 0)) });
            show(&mut source, Some(n), n)
        });
        assert_eq!(cues.collect::<Vec<_>>().iter().position(|cue| *cue == BEGINS), Some(120));
    }

    #[test]
    fn a_takeover_needs_no_encoder() {
        let mut source = source();
        let first = coded(0, 10, 30, true);
        first[..8].iter().for_each(|frame| source.frame(frame));
        assert!(
            (1..6).fold(show(&mut source, Some(0), 0) == KEY, |all, n| all && show(&mut source, Some(n), n) == OTHER)
        );
        source.begin();
        source.header(true);
        source.frame(&frame(100, 100, Access::Independent));
        assert_eq!(show(&mut source, Some(100), 6), KEY);
        // RawFrame 6 was not shown, so that 4 and 5, which need it, could not leave.
        assert_eq!(pulled(&mut source), [(0, 0), (3, 3), (1, 1), (2, 2), (100, 6)]);
        // With another header it is not passed on.
        source.begin();
        source.header(false);
        source.frame(&frame(200, 200, Access::Independent));
        assert_eq!(show(&mut source, Some(200), 7), BEGINS);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut source = source();
        coded(0, 599, 400, false).iter().for_each(|frame| source.frame(frame));
        assert_eq!(source.coming.len(), 599);
        coded(599, 602, 1_000, false)[..2].iter().for_each(|frame| source.frame(frame));
        assert_eq!((source.coming.len(), source.bytes), (0, 0));
        source.frame(&frame(700, 700, Access::Independent));
        assert_eq!(source.coming.len(), 1);
        for tick in 0..10_000 {
            show(&mut source, None, tick);
        }
        assert!(source.line.len() <= MAX_FRAMES);
    }

    proptest! {
        /// Whatever is lost, held or taken over: what leaves can be decoded, and its times go forward.
        #[test]
        fn what_leaves_can_be_decoded(
            turns in proptest::collection::vec((1i64..80, 3i64..40, any::<bool>(), 0i64..6, any::<bool>()), 1..5),
            lost in proptest::collection::vec(0u8..12, 400),
        ) {
            let (mut source, mut tick, mut from, mut left) = (source(), 0, 0, Vec::new());
            let (mut fates, mut places) = (lost.into_iter().cycle(), BTreeMap::new());
            for (count, gop, b_frames, ahead, fits) in turns {
                source.begin();
                source.header(fits);
                let (frames, mut fed) = (coded(from, from + count, gop, b_frames), 0);
                for n in from..from + count {
                    // The decoder has the frames that a picture needs, and some more.
                    let enough = |fed: usize| frames[..fed].iter().any(|frame| number(frame) == n) && fed as i64 >= n - from + ahead;
                    while fed < frames.len() && !enough(fed) {
                        source.frame(&frames[fed]);
                        places.insert(number(&frames[fed]), (from + fed as i64, frames[fed].access));
                        fed += 1;
                    }
                    let live = match fates.next() {
                        Some(0) => continue,
                        Some(1) => None,
                        _ => Some(n),
                    };
                    if let Cue::Encode { .. } = show(&mut source, live, tick) {
                        source.encoded(encoded(tick));
                    }
                    tick += 1;
                    left.extend(std::iter::from_fn(|| source.pull()));
                }
                from += count + 100;
            }
            prop_assert!(left.windows(2).all(|pair| pair[0].dts < pair[1].dts));
            let mut shown: Vec<_> = left.iter().map(|frame| frame.pts).collect();
            shown.sort_unstable();
            prop_assert!(shown.windows(2).all(|pair| pair[0] < pair[1]));
            // The place in decode order of the source's frame before.
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
}
