//! Access units out of messages: some encoders send each NAL unit in a message of its own.
//!
//! As long as each message holds a whole picture it is passed on at once. The very first one waits for the next message,
//! which tells how the encoder does it; an encoder that splits its pictures has each of them wait for the next one, because
//! nothing else says that a picture is whole.

use bytes::{Bytes, BytesMut};
use media::codec::nal;
use media::{Fault, Timestamp};

use super::lane::Output;
use crate::annexb::{Codec, Role};

/// Bytes without a slice kept for the next picture; when there are more, they are dropped.
const MAX_AHEAD: usize = 64 << 10;
/// Longest access unit, in bytes and messages; a longer one is dropped.
const MAX_UNIT: usize = 8 << 20;
const MAX_PARTS: usize = 1_024;

/// When a frame is decoded and shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) dts: Timestamp,
    pub(super) pts: Timestamp,
}

/// An access unit.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Unit {
    pub(super) stamp: Stamp,
    pub(super) payload: Bytes,
}

/// Puts access units together.
#[derive(Clone, Default, Debug)]
pub(super) struct Joiner {
    mode: Mode,
    /// What came without a slice: it goes with the next picture.
    ahead: Vec<Bytes>,
    held: Option<Held>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    /// One picture came at the most.
    #[default]
    Undecided,
    /// Each message holds a picture.
    Whole,
    /// Pictures are spread over messages.
    Split,
}

/// A picture of which more may come.
#[derive(Clone, Debug)]
struct Held {
    stamp: Stamp,
    parts: Vec<Bytes>,
}

/// What a message holds.
enum Content {
    /// Slices; the first one does not begin a picture where it `continues` one.
    Slices { continues: bool },
    /// No slice, but what stands before slices.
    Before,
    /// What belongs to the picture before, if to any.
    Within,
}

impl Joiner {
    /// Takes the NAL units of a message behind lengths of `size` bytes; gives the access units that are whole now.
    pub(super) fn push(
        &mut self,
        (codec, size): (Codec, u8),
        stamp: Stamp,
        payload: Bytes,
        out: &mut Vec<Output>,
    ) -> [Option<Unit>; 2] {
        match content(codec, size, &payload) {
            Content::Before => {
                self.decide();
                let done = self.flush();
                self.keep_ahead(payload, out);
                [done, None]
            }
            Content::Within => {
                if let Some(held) = &mut self.held {
                    held.parts.push(payload);
                    self.limit(out);
                }
                [None, None]
            }
            Content::Slices { continues: true } if self.mode != Mode::Undecided || self.held.is_some() => {
                self.go_on(payload, out);
                [None, None]
            }
            Content::Slices { .. } => {
                let mut parts = std::mem::take(&mut self.ahead);
                parts.push(payload);
                self.decide();
                let done = self.flush();
                let begun = Held { stamp, parts };
                if self.mode == Mode::Whole {
                    return [done, Some(begun.joined())];
                }
                self.held = Some(begun);
                [done, None]
            }
        }
    }

    /// Gives the picture that may not be whole: no more comes of it.
    pub(super) fn flush(&mut self) -> Option<Unit> {
        self.held.take().map(Held::joined)
    }

    /// Takes the first picture to be whole, if it still waits.
    pub(super) fn decide(&mut self) {
        if self.is_undecided() {
            self.mode = Mode::Whole;
        }
    }

    /// True while the first picture waits for the message that tells whether it is whole.
    pub(super) fn is_undecided(&self) -> bool {
        self.mode == Mode::Undecided && self.held.is_some()
    }

    /// Forgets what waits for the next picture.
    pub(super) fn forget_ahead(&mut self) {
        self.ahead.clear();
    }

    /// Takes slices that continue a picture.
    fn go_on(&mut self, payload: Bytes, out: &mut Vec<Output>) {
        self.mode = Mode::Split;
        let Some(held) = &mut self.held else {
            // The beginning was passed on as a whole picture, or dropped.
            self.ahead.clear();
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "slices without the beginning of their picture"))));
            return;
        };
        held.parts.append(&mut self.ahead);
        held.parts.push(payload);
        if self.limit(out) {
            out.push(Output::Repaired(Fault::SplitAccessUnit, "slices in messages of their own"));
        }
    }

    /// Drops the picture if it is too long; false if it was.
    fn limit(&mut self, out: &mut Vec<Output>) -> bool {
        let fits = |held: &Held| held.parts.len() <= MAX_PARTS && length(&held.parts) <= MAX_UNIT;
        if self.held.as_ref().is_none_or(fits) {
            return true;
        }
        self.held = None;
        out.push(Output::Dropped(Some((Fault::DamagedFrames, "a picture over the limit"))));
        false
    }

    fn keep_ahead(&mut self, payload: Bytes, out: &mut Vec<Output>) {
        if self.ahead.len() == MAX_PARTS || length(&self.ahead) + payload.len() > MAX_AHEAD {
            self.ahead.clear();
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "parameter sets and SEI over the limit"))));
            return;
        }
        // A copy, so that a few bytes do not hold the block of a whole message.
        self.ahead.push(Bytes::copy_from_slice(&payload));
    }
}

impl Held {
    fn joined(mut self) -> Unit {
        let payload = match (self.parts.pop(), self.parts.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                let mut all = BytesMut::with_capacity(length(&self.parts) + last.as_ref().map_or(0, Bytes::len));
                self.parts.iter().chain(&last).for_each(|part| all.extend_from_slice(part));
                all.freeze()
            }
        };
        Unit { stamp: self.stamp, payload }
    }
}

fn length(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

fn content(codec: Codec, size: u8, payload: &[u8]) -> Content {
    let mut content = Content::Within;
    for role in nal::units(payload, size).map(|unit| codec.role(unit)) {
        match role {
            Role::Slice { first } => return Content::Slices { continues: !first },
            Role::Delimiter | Role::Parameters | Role::Before => content = Content::Before,
            Role::Within | Role::Filler => {}
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::TimeDelta;

    const SEI: &[u8] = &[6, 5];
    const FIRST: &[u8] = &[0x65, 0x88];
    const NEXT: &[u8] = &[0x65, 0x44];
    const FILLER: &[u8] = &[0x0c, 0xff];

    /// Messages at these milliseconds, each of these NAL units; gives the access units, and the number of drops.
    fn run(messages: &[(i64, &[&[u8]])]) -> (Vec<(i64, Vec<u8>)>, usize) {
        let (mut joiner, mut units, mut out) = (Joiner::default(), Vec::new(), Vec::new());
        for (at, nals) in messages {
            let at = Timestamp::ZERO + TimeDelta::from_millis(*at);
            let payload: Vec<u8> =
                nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect();
            let done = joiner.push((Codec::Avc, 4), Stamp { dts: at, pts: at }, payload.into(), &mut out);
            units.extend(done.into_iter().flatten());
        }
        units.extend(joiner.flush());
        let told = |unit: Unit| {
            let kinds = nal::units(&unit.payload, 4).map(|nal| nal[0]).collect();
            ((unit.stamp.dts - Timestamp::ZERO).as_millis(), kinds)
        };
        let dropped = out.iter().filter(|output| matches!(output, Output::Dropped(_))).count();
        (units.into_iter().map(told).collect(), dropped)
    }

    #[test]
    fn slices_of_one_picture_are_joined_however_many_a_message_has() {
        let expected = vec![(0, vec![6, 0x65, 0x65, 0x65, 0x65]), (40, vec![6, 0x65, 0x65, 0x65, 0x65])];
        for nals in [&[&[SEI][..], &[FIRST], &[NEXT], &[NEXT], &[NEXT]][..], &[&[SEI, FIRST], &[NEXT, NEXT, NEXT]]] {
            let messages: Vec<_> =
                [0, 40].into_iter().flat_map(|at| nals.iter().map(move |nals| (at, *nals))).collect();
            assert_eq!(run(&messages), (expected.clone(), 0));
        }
    }

    #[test]
    fn whole_pictures_are_passed_on_at_once_but_for_the_first() {
        let mut joiner = Joiner::default();
        let mut push = |at: i64| {
            let at = Timestamp::ZERO + TimeDelta::from_millis(at);
            let payload = [&[0, 0, 0, 2][..], FIRST].concat();
            let done = joiner.push((Codec::Avc, 4), Stamp { dts: at, pts: at }, payload.into(), &mut Vec::new());
            done.into_iter().flatten().count()
        };
        assert_eq!([push(0), push(40), push(80)], [0, 2, 1]);
    }

    #[test]
    fn a_first_picture_that_was_not_waited_for_any_more_was_whole() {
        let (mut joiner, at) = (Joiner::default(), Stamp { dts: Timestamp::ZERO, pts: Timestamp::ZERO });
        let push = |joiner: &mut Joiner| {
            let payload = [&[0, 0, 0, 2][..], FIRST].concat();
            joiner.push((Codec::Avc, 4), at, payload.into(), &mut Vec::new()).into_iter().flatten().count()
        };
        assert_eq!((push(&mut joiner), joiner.is_undecided()), (0, true));
        joiner.decide();
        assert!(joiner.flush().is_some());
        assert_eq!((push(&mut joiner), joiner.is_undecided()), (1, false));
    }

    #[test]
    fn pictures_of_the_same_time_stay_apart() {
        let (units, dropped) = run(&[(0, &[FIRST]), (0, &[NEXT]), (0, &[FIRST]), (0, &[NEXT]), (0, &[FILLER])]);
        assert_eq!((units, dropped), (vec![(0, vec![0x65, 0x65]), (0, vec![0x65, 0x65, 0x0c])], 0));
    }

    #[test]
    fn an_encoder_that_begins_to_split_loses_one_picture() {
        let (units, dropped) =
            run(&[(0, &[FIRST]), (1, &[FIRST]), (2, &[FIRST]), (2, &[NEXT]), (3, &[FIRST]), (3, &[NEXT])]);
        let kinds: Vec<_> = units.iter().map(|(at, kinds)| (*at, kinds.len())).collect();
        assert_eq!((kinds, dropped), (vec![(0, 1), (1, 1), (2, 1), (3, 2)], 1));
    }

    #[test]
    fn memory_is_bounded() {
        let slice = vec![0x44; 1 << 20];
        let mut joiner = Joiner::default();
        let at = Stamp { dts: Timestamp::ZERO, pts: Timestamp::ZERO };
        let mut out = Vec::new();
        for n in 0..20 {
            let unit = [&[0, 0x10, 0, 0x02, 0x65, if n == 0 { 0x88 } else { 0x44 }][..], &slice].concat();
            joiner.push((Codec::Avc, 4), at, unit.into(), &mut out);
            assert!(joiner.held.as_ref().is_none_or(|held| length(&held.parts) <= MAX_UNIT));
        }
        // What belongs to the picture counts as well.
        joiner.push((Codec::Avc, 4), at, vec![0, 0, 0, 2, 0x65, 0x88].into(), &mut out);
        for _ in 0..5_000 {
            joiner.push((Codec::Avc, 4), at, vec![0, 0, 0, 2, 0x0c, 0xff].into(), &mut out);
            assert!(joiner.held.as_ref().is_none_or(|held| held.parts.len() <= MAX_PARTS));
        }
        for _ in 0..5_000 {
            joiner.push((Codec::Avc, 4), at, vec![0, 0, 0, 2, 6, 5].into(), &mut out);
            assert!(joiner.ahead.len() <= MAX_PARTS && length(&joiner.ahead) <= MAX_AHEAD);
        }
    }
}
