//! Joins messages into access units, because some encoders send each NAL unit in a message of its own.
//!
//! The first frame waits for the next message, which shows whether the encoder splits its frames. If it does not, every
//! later frame is passed on at once. If it does, each frame waits for the beginning of the next one, because nothing
//! else shows that a frame is complete.

use bytes::{Bytes, BytesMut};
use media::Fault;
use media::codec::nal;

use super::output::{Output, Stamp};
use crate::annexb::{Codec, Role};

/// Most bytes of messages without a slice that are kept for the next frame; with more, all of them are dropped.
const MAX_PREFIX: usize = 64 << 10;
/// Longest access unit that is joined, in bytes; a longer one is dropped.
const MAX_UNIT: usize = 8 << 20;
/// Most messages of an access unit, and most that are kept for the next one; with more, they are dropped.
const MAX_PARTS: usize = 1_024;

/// A complete access unit.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Unit {
    pub(super) stamp: Stamp,
    pub(super) payload: Bytes,
}

/// Joins messages into access units.
#[derive(Clone, Default, Debug)]
pub(super) struct Joiner {
    mode: Mode,
    /// Messages without a slice, which belong to the next frame.
    prefix: Vec<Bytes>,
    partial: Option<PartialUnit>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Mode {
    /// No second message has shown yet whether the first frame was complete.
    #[default]
    Undecided,
    /// Each message holds a complete frame.
    Whole,
    /// Frames are split over messages.
    Split,
}

/// A frame that may be incomplete.
#[derive(Clone, Debug)]
struct PartialUnit {
    stamp: Stamp,
    /// Payloads of the messages so far.
    parts: Vec<Bytes>,
}

/// Content of a message.
enum Content {
    /// At least one slice. If `continues`, the first slice does not begin a frame.
    Slices { continues: bool },
    /// No slice, but NAL units that precede the slices of the next frame.
    Before,
    /// Only NAL units that belong to the frame before, if there is one.
    Within,
}

impl Joiner {
    /// Takes the NAL units of a message, each prefixed with its length in `size` bytes; returns the [`Unit`]s that are
    /// now complete.
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
                self.keep_prefix(payload, out);
                [done, None]
            }
            Content::Within => {
                if let Some(partial) = &mut self.partial {
                    partial.parts.push(payload);
                    self.limit(out);
                }
                [None, None]
            }
            Content::Slices { continues: true } if self.mode != Mode::Undecided || self.partial.is_some() => {
                self.continue_unit(payload, out);
                [None, None]
            }
            // A first message that continues a frame is taken for the beginning of one.
            Content::Slices { .. } => {
                let mut parts = std::mem::take(&mut self.prefix);
                parts.push(payload);
                self.decide();
                let done = self.flush();
                let begun = PartialUnit { stamp, parts };
                if self.mode == Mode::Whole {
                    return [done, Some(begun.joined())];
                }
                self.partial = Some(begun);
                [done, None]
            }
        }
    }

    /// Returns the frame that is waiting for more messages, as complete.
    pub(super) fn flush(&mut self) -> Option<Unit> {
        self.partial.take().map(PartialUnit::joined)
    }

    /// Treats the first frame as complete, if it is still waiting.
    pub(super) fn decide(&mut self) {
        if self.is_undecided() {
            self.mode = Mode::Whole;
        }
    }

    /// Returns whether the first frame is waiting for the message that shows whether it is complete.
    pub(super) fn is_undecided(&self) -> bool {
        self.mode == Mode::Undecided && self.partial.is_some()
    }

    /// Drops the messages that belong to the next frame.
    pub(super) fn clear_prefix(&mut self) {
        self.prefix.clear();
    }

    /// Takes slices that continue a frame, which shows that the encoder splits its frames.
    fn continue_unit(&mut self, payload: Bytes, out: &mut Vec<Output>) {
        self.mode = Mode::Split;
        let Some(partial) = &mut self.partial else {
            // The beginning was passed on as a complete frame, or dropped.
            self.prefix.clear();
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "slices without the beginning of their frame"))));
            return;
        };
        partial.parts.append(&mut self.prefix);
        partial.parts.push(payload);
        if self.limit(out) {
            out.push(Output::Repaired(Fault::SplitAccessUnit, "slices in messages of their own"));
        }
    }

    /// Drops the waiting frame if it is too long; returns false in that case.
    fn limit(&mut self, out: &mut Vec<Output>) -> bool {
        let fits = |partial: &PartialUnit| partial.parts.len() <= MAX_PARTS && length(&partial.parts) <= MAX_UNIT;
        if self.partial.as_ref().is_none_or(fits) {
            return true;
        }
        self.partial = None;
        out.push(Output::Dropped(Some((Fault::DamagedFrames, "a frame over the limit"))));
        false
    }

    /// Keeps a message without a slice for the next frame.
    fn keep_prefix(&mut self, payload: Bytes, out: &mut Vec<Output>) {
        if self.prefix.len() == MAX_PARTS || length(&self.prefix) + payload.len() > MAX_PREFIX {
            self.prefix.clear();
            out.push(Output::Dropped(Some((Fault::DamagedFrames, "parameter sets and SEI over the limit"))));
            return;
        }
        // Copied, so that a few bytes do not keep the block of a whole message in memory.
        self.prefix.push(Bytes::copy_from_slice(&payload));
    }
}

impl PartialUnit {
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
    use media::{TimeDelta, Timestamp};

    const SEI: &[u8] = &[6, 5];
    const FIRST: &[u8] = &[0x65, 0x88];
    const NEXT: &[u8] = &[0x65, 0x44];
    const FILLER: &[u8] = &[0x0c, 0xff];

    /// Pushes messages at these milliseconds with these NAL units; returns the access units and the number of drops.
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
        let reported = |unit: Unit| {
            let kinds = nal::units(&unit.payload, 4).map(|nal| nal[0]).collect();
            ((unit.stamp.dts - Timestamp::ZERO).as_millis(), kinds)
        };
        let dropped = out.iter().filter(|output| matches!(output, Output::Dropped(_))).count();
        (units.into_iter().map(reported).collect(), dropped)
    }

    #[test]
    fn slices_of_one_frame_are_joined_however_many_a_message_has() {
        let expected = vec![(0, vec![6, 0x65, 0x65, 0x65, 0x65]), (40, vec![6, 0x65, 0x65, 0x65, 0x65])];
        for nals in [&[&[SEI][..], &[FIRST], &[NEXT], &[NEXT], &[NEXT]][..], &[&[SEI, FIRST], &[NEXT, NEXT, NEXT]]] {
            let messages: Vec<_> =
                [0, 40].into_iter().flat_map(|at| nals.iter().map(move |nals| (at, *nals))).collect();
            assert_eq!(run(&messages), (expected.clone(), 0));
        }
    }

    #[test]
    fn complete_frames_are_passed_on_at_once_except_the_first() {
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
    fn a_first_frame_that_was_decided_early_is_complete() {
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
    fn frames_of_the_same_time_stay_separate() {
        let (units, dropped) = run(&[(0, &[FIRST]), (0, &[NEXT]), (0, &[FIRST]), (0, &[NEXT]), (0, &[FILLER])]);
        assert_eq!((units, dropped), (vec![(0, vec![0x65, 0x65]), (0, vec![0x65, 0x65, 0x0c])], 0));
    }

    #[test]
    fn an_encoder_that_begins_to_split_loses_one_frame() {
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
            assert!(joiner.partial.as_ref().is_none_or(|partial| length(&partial.parts) <= MAX_UNIT));
        }
        // NAL units that belong to the frame count as well.
        joiner.push((Codec::Avc, 4), at, vec![0, 0, 0, 2, 0x65, 0x88].into(), &mut out);
        for _ in 0..5_000 {
            joiner.push((Codec::Avc, 4), at, vec![0, 0, 0, 2, 0x0c, 0xff].into(), &mut out);
            assert!(joiner.partial.as_ref().is_none_or(|partial| partial.parts.len() <= MAX_PARTS));
        }
        for _ in 0..5_000 {
            joiner.push((Codec::Avc, 4), at, vec![0, 0, 0, 2, 6, 5].into(), &mut out);
            assert!(joiner.prefix.len() <= MAX_PARTS && length(&joiner.prefix) <= MAX_PREFIX);
        }
    }
}
