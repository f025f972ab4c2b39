//! The last frame is shown on where the next one is long in coming.
//!
//! Every part needs a frame, and none may last longer than PART-TARGET: at two frames a second there are more parts than
//! frames. What fills them is the GOP so far once more, all but its last frame for an instant. Unlike a key frame alone it
//! ends with the very picture that is on the screen, and leaves a decoder in the state that the next frame of the encoder
//! needs. It costs bytes, so it is only done with GOPs that are small, as they are where frames are rare.

use bytes::Bytes;
use media::{Access, Timestamp};

use super::{Lane, Unit};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::RenditionId;
use crate::segmenter::Output;

/// A GOP of more frames is not kept; then a long pause is a gap, or the key frame stands in it.
const MAX_FRAMES: usize = 64;
/// The same for bytes.
const MAX_BYTES: usize = 512 << 10;

/// The frames since the newest IDR in decode order; none where they cannot be shown again.
#[derive(Debug, Default)]
pub(super) struct Gop {
    frames: Vec<Bytes>,
    bytes: usize,
    /// The last of them was shown before this time.
    shown: i64,
}

impl Gop {
    fn begin(&mut self, payload: &Bytes) {
        self.frames.clear();
        self.bytes = 0;
        self.add(payload);
    }

    fn add(&mut self, payload: &Bytes) {
        self.bytes += payload.len();
        if self.frames.len() == MAX_FRAMES || self.bytes > MAX_BYTES {
            self.frames.clear();
        } else {
            self.frames.push(payload.clone());
        }
    }
}

impl Lane {
    /// Takes a frame that was accepted. Only frames in the order of their presentation can be shown again, as others may be
    /// missing that belong before the last one.
    pub(super) fn keep_gop(&mut self, unit: &Unit) {
        match unit.access {
            Access::Independent => self.gop.begin(&unit.payload),
            Access::Dependent if !self.gop.frames.is_empty() => self.gop.add(&unit.payload),
            Access::Dependent => {}
            Access::Open => self.gop = Gop::default(),
        }
        self.gop.shown = self.scale.ticks(unit.pts) + 1;
        if self.rule.is_none() || self.rendition != RenditionId::VIDEO || unit.dts != unit.pts {
            self.gop = Gop::default();
        }
    }

    /// True if the last frame can be shown on.
    pub(in crate::segmenter) fn can_hold_last(&self) -> bool {
        !self.gop.frames.is_empty() && !self.stands()
    }

    /// Time has come to `until`, on the decode timeline, without a frame: parts that are over by then are published.
    pub(in crate::segmenter) fn keep_up(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        if self.rule.is_some() && self.can_hold_last() && self.begun() {
            let before = self.clock;
            self.hold_last(self.scale.ticks(until), out)?;
            if self.clock != before {
                self.kept_up = self.clock;
            }
        }
        Ok(())
    }

    /// How far the lane was published because time went by, on the presentation timeline.
    pub(in crate::segmenter) fn kept_up(&self) -> Option<Timestamp> {
        self.kept_up.map(|at| self.shown(self.scale.timestamp(at)))
    }

    /// Publishes whole parts that end at `until` or before.
    pub(super) fn hold_last(&mut self, until: i64, out: &mut Output) -> Result<(), Error> {
        let Some(rule) = self.rule.filter(|_| self.can_hold_last()) else { return Ok(()) };
        let step = self.scale_floor(rule.parts.grid.unwrap_or(rule.parts.longest)).max(1);
        if let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) {
            let end = first.start + step;
            if end > until || last.start >= end {
                return Ok(());
            }
            self.close_part(end, out)?;
        }
        while let Some(clock) = self.clock.filter(|clock| clock + step <= until) {
            self.replay(clock + step, out)?;
        }
        Ok(())
    }

    /// Whether a part of `duration` ticks has at least one tick for each frame of the GOP so far.
    pub(super) fn can_replay_within(&self, duration: i64) -> bool {
        i64::try_from(self.gop.frames.len()).is_ok_and(|frames| frames <= duration)
    }

    /// Publishes the GOP so far as a part that ends at `end`; see [`Lane::can_replay_within`].
    pub(super) fn replay(&mut self, end: i64, out: &mut Output) -> Result<(), Error> {
        let clock = self.clock.unwrap_or(end);
        let instants = i64::try_from(self.gop.frames.len()).unwrap_or(0) - 1;
        let pts = clock.max(self.gop.shown);
        let events = self.due_events(pts + (end - clock))?;
        let cts = (pts - clock).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        let rest = u32::try_from((end - clock - instants).max(1)).unwrap_or(u32::MAX);
        let sample = |(n, payload): (usize, &Bytes)| Sample {
            duration: if n + 1 == self.gop.frames.len() { rest } else { 1 },
            cts,
            access: Access::independent_if(n == 0),
            payload: payload.clone(),
        };
        let samples: Vec<_> = self.gop.frames.iter().enumerate().map(sample).collect();
        self.sequence = self.sequence.wrapping_add(1);
        let data = cmaf::fragment(self.sequence, u64::try_from(clock).unwrap_or(0), &samples, false, &events)?;
        self.gop.shown = pts + instants + 1;
        self.still.not_before(self.gop.shown);
        // All of them are one picture to a viewer.
        self.publish(clock, end, 1, true, data, out);
        Ok(())
    }
}
