//! Extends the last video frame while the next one is late.
//!
//! Every part needs a frame, and no part may last longer than PART-TARGET. At two frames a second there are more parts
//! than frames. A part without a new frame repeats the current GOP, in which every frame but the last has a duration of
//! one tick. Unlike a repeated key frame, such a part ends with the very frame that is on the screen, and leaves a
//! decoder in the state that the encoder's next frame needs. Because of the bytes that it costs, only small GOPs are
//! repeated, and GOPs are small where frames are rare.

use bytes::Bytes;
use media::{Access, Frame, Timestamp};

use super::RenditionWriter;
use super::publish::{ClosedPart, composition_offset};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::RenditionId;
use crate::packager::output::Output;

/// Most frames of a GOP that is kept. During a longer GOP, a pause becomes a gap or repeats the key frame alone.
const MAX_FRAMES: usize = 64;
/// Most bytes of a GOP that is kept.
const MAX_BYTES: usize = 512 << 10;

/// Frames since the newest IDR frame in decode order; empty if they cannot be repeated.
#[derive(Debug, Default)]
pub(super) struct CurrentGop {
    frames: Vec<Bytes>,
    bytes: usize,
    /// Earliest PTS of a repetition: one tick after the last PTS that was presented.
    presented: i64,
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
    /// Records a frame of the open part in the [`CurrentGop`]. Only a GOP that is decoded in presentation order can be
    /// repeated: otherwise, frames that are presented before the newest one may not have arrived.
    pub(super) fn record_gop(&mut self, frame: &Frame) {
        match frame.access {
            Access::Independent => self.gop.begin(&frame.payload),
            Access::Dependent if !self.gop.frames.is_empty() => self.gop.add(&frame.payload),
            Access::Dependent => {}
            Access::Open => self.gop = CurrentGop::default(),
        }
        self.gop.presented = self.scale.ticks(frame.pts) + 1;
        if self.part_rule.is_none() || self.rendition != RenditionId::VIDEO || frame.dts != frame.pts {
            self.gop = CurrentGop::default();
        }
    }

    /// Returns true if the last frame can be extended.
    pub(crate) fn can_extend_last_frame(&self) -> bool {
        !self.gop.frames.is_empty() && !self.repeats_key_frame()
    }

    /// Publishes the parts that end at `until` or before, on the decode timeline, because no frame came in that time.
    pub(crate) fn advance_to(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        if self.part_rule.is_some() && self.can_extend_last_frame() && self.has_begun() {
            let before = self.clock;
            self.extend_last_frame(self.scale.ticks(until), out)?;
            if self.clock != before {
                self.advanced_to = self.clock;
            }
        }
        Ok(())
    }

    /// Returns the end of what [`Self::advance_to`] published since the last frame, on the presentation timeline.
    pub(crate) fn advanced_to(&self) -> Option<Timestamp> {
        self.advanced_to.map(|at| self.to_presentation_time(self.scale.timestamp(at)))
    }

    /// Publishes full parts that end at `until` or before, in ticks: the open one, then repetitions of the current GOP.
    pub(super) fn extend_last_frame(&mut self, until: i64, out: &mut Output) -> Result<(), Error> {
        let Some(step) = self.repeated_part_ticks().filter(|_| self.can_extend_last_frame()) else { return Ok(()) };
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

    /// Returns the duration of a part that repeats earlier frames, in ticks; `None` if no parts are offered.
    pub(super) fn repeated_part_ticks(&self) -> Option<i64> {
        let sizing = self.part_rule?.sizing;
        Some(self.floor_ticks(sizing.grid.unwrap_or(sizing.target)).max(1))
    }

    /// Returns true if a part of `duration` ticks has at least one tick for each frame of the current GOP.
    pub(super) fn can_repeat_gop_within(&self, duration: i64) -> bool {
        i64::try_from(self.gop.frames.len()).is_ok_and(|frames| frames <= duration)
    }

    /// Publishes the current GOP as a part that ends at `end`; requires [`Self::can_repeat_gop_within`].
    pub(super) fn repeat_gop(&mut self, end: i64, out: &mut Output) -> Result<(), Error> {
        let start = self.clock.unwrap_or(end);
        let last = i64::try_from(self.gop.frames.len()).unwrap_or(0) - 1;
        let pts = start.max(self.gop.presented);
        let events = self.metadata.take_due(pts + (end - start), self.scale)?;
        let cts = composition_offset(pts, start);
        let rest = u32::try_from((end - start - last).max(1)).unwrap_or(u32::MAX);
        let sample = |(n, payload): (usize, &Bytes)| Sample {
            duration: if n + 1 == self.gop.frames.len() { rest } else { 1 },
            cts,
            access: Access::independent_if(n == 0),
            payload: payload.clone(),
        };
        let samples: Vec<_> = self.gop.frames.iter().enumerate().map(sample).collect();
        let tfdt = u64::try_from(start).unwrap_or(0);
        let data = cmaf::fragment(self.next_sequence(), tfdt, &samples, false, &events)?;
        self.gop.presented = pts + last + 1;
        self.freeze_frame.not_before(self.gop.presented);
        // Counted as one frame, because a viewer sees only the last one.
        self.publish(ClosedPart { start, end, frames: 1, independent: true, data }, out);
        Ok(())
    }
}
