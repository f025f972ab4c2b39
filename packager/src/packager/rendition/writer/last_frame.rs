//! The last frame is shown on where the next one is long in coming.
//!
//! Every part needs a frame, and none may last longer than PART-TARGET: at two frames a second there are more parts than
//! frames. What fills them is the GOP so far once more, all but its last frame for an instant. Unlike a key frame alone it
//! ends with the very picture that is on the screen, and leaves a decoder in the state that the next frame of the encoder
//! needs. It costs bytes, so it is only done with GOPs that are small, as they are where frames are rare.

use bytes::Bytes;
use media::{Access, Frame, Timestamp};

use super::RenditionWriter;
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::RenditionId;
use crate::packager::Output;

/// A GOP of more frames is not kept; then a long pause is a gap, or the key frame stands in it.
const MAX_FRAMES: usize = 64;
/// The same for bytes.
const MAX_BYTES: usize = 512 << 10;

/// The frames since the newest IDR in decode order; none where they cannot be shown again.
#[derive(Debug, Default)]
pub(super) struct CurrentGop {
    frames: Vec<Bytes>,
    bytes: usize,
    /// The last of them was shown before this time.
    shown: i64,
}

impl CurrentGop {
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

impl RenditionWriter {
    /// Takes a frame that was accepted. Only frames in the order of their presentation can be shown again, as others may be
    /// missing that belong before the last one.
    pub(super) fn record_gop(&mut self, frame: &Frame) {
        match frame.access {
            Access::Independent => self.gop.begin(&frame.payload),
            Access::Dependent if !self.gop.frames.is_empty() => self.gop.add(&frame.payload),
            Access::Dependent => {}
            Access::Open => self.gop = CurrentGop::default(),
        }
        self.gop.shown = self.scale.ticks(frame.pts) + 1;
        if self.part_rule.is_none() || self.rendition != RenditionId::VIDEO || frame.dts != frame.pts {
            self.gop = CurrentGop::default();
        }
    }

    /// True if the last frame can be shown on.
    pub(in crate::packager) fn can_extend_last_frame(&self) -> bool {
        !self.gop.frames.is_empty() && !self.repeats_key_frame()
    }

    /// Time has come to `until`, on the decode timeline, without a frame: parts that are over by then are published.
    pub(in crate::packager) fn advance_to(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        if self.part_rule.is_some() && self.can_extend_last_frame() && self.has_begun() {
            let before = self.clock;
            self.extend_last_frame(self.scale.ticks(until), out)?;
            if self.clock != before {
                self.advanced_to = self.clock;
            }
        }
        Ok(())
    }

    /// How far the lane was published because time went by, on the presentation timeline.
    pub(in crate::packager) fn advanced_to(&self) -> Option<Timestamp> {
        self.advanced_to.map(|at| self.to_presentation_time(self.scale.timestamp(at)))
    }

    /// Publishes whole parts that end at `until` or before.
    pub(super) fn extend_last_frame(&mut self, until: i64, out: &mut Output) -> Result<(), Error> {
        let Some(rule) = self.part_rule.filter(|_| self.can_extend_last_frame()) else { return Ok(()) };
        let step = self.floor_ticks(rule.parts.grid.unwrap_or(rule.parts.target)).max(1);
        if let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) {
            let end = first.start + step;
            if end > until || last.start >= end {
                return Ok(());
            }
            self.close_part(end, out)?;
        }
        while let Some(clock) = self.clock.filter(|clock| clock + step <= until) {
            self.repeat_gop(clock + step, out)?;
        }
        Ok(())
    }

    /// Whether a part of `duration` ticks has at least one tick for each frame of the GOP so far.
    pub(super) fn can_repeat_gop_within(&self, duration: i64) -> bool {
        i64::try_from(self.gop.frames.len()).is_ok_and(|frames| frames <= duration)
    }

    /// Publishes the GOP so far as a part that ends at `end`; see [`Lane::can_replay_within`].
    pub(super) fn repeat_gop(&mut self, end: i64, out: &mut Output) -> Result<(), Error> {
        let clock = self.clock.unwrap_or(end);
        let instants = i64::try_from(self.gop.frames.len()).unwrap_or(0) - 1;
        let pts = clock.max(self.gop.shown);
        let events = self.take_due_metadata(pts + (end - clock))?;
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
        self.freeze_frame.not_before(self.gop.shown);
        // All of them are one picture to a viewer.
        self.publish(clock, end, 1, true, data, out);
        Ok(())
    }
}
