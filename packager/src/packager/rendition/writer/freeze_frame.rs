//! Fills stretches in which a rendition has no new frames.
//!
//! Browsers play no audio where there is no video, so video that stalls would stop the programme. Its newest IDR frame is
//! repeated in each part until video returns: every decoder accepts that, in every codec. Video that returns then needs a
//! key frame, as it does after any gap in a browser's buffer. A rendition without an IDR frame has gaps, and so has a
//! dependent video rendition, because players are to switch to another one.

use bytes::Bytes;
use media::{Access, Fault, Frame, TimeDelta, Timestamp};

use super::publish::{ClosedPart, composition_offset};
use super::{Entry, PendingSample, RenditionWriter};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::RenditionId;
use crate::packager::output::Output;

/// A longer gap of the video is a gap in the playlist; over a shorter one, the frame before it is presented on.
const VIDEO_GAP: TimeDelta = TimeDelta::from_secs(1);

/// Content of parts without new frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fill {
    /// No frames.
    Gap,
    /// The newest key frame again, if it may be repeated.
    FreezeFrame,
    /// The last frame, extended.
    LastFrame,
}

/// The frame that can be repeated.
#[derive(Debug, Default)]
pub(super) struct FreezeFrame {
    /// Newest key frame; `None` if it is no IDR frame, because the frames after it in the stream need earlier ones.
    key_frame: Option<Bytes>,
    /// Whether a segment ended for which no frame came, and none has come since.
    missed_boundary: bool,
    /// End of the presentation of the frames before it.
    not_before: i64,
}

impl FreezeFrame {
    /// Sets the end of the presentation of the frames before.
    pub(super) fn not_before(&mut self, at: i64) {
        self.not_before = at;
    }
}

impl RenditionWriter {
    /// Returns true while the newest key frame is repeated because video stalls. Frames that depend on others cannot be
    /// decoded then.
    pub(crate) fn repeats_key_frame(&self) -> bool {
        self.entry == Entry::AfterRepeatedKeyFrame
    }

    /// Returns true if there is a key frame that may be repeated in parts of its own.
    pub(crate) fn can_repeat_key_frame(&self) -> bool {
        self.part_rule.is_some() && self.freeze_frame.key_frame.is_some()
    }

    /// Records a frame of the open part; a key frame becomes the one that is repeated while video stalls.
    pub(super) fn record_key_frame(&mut self, frame: &Frame) {
        self.freeze_frame.missed_boundary = false;
        if frame.access != Access::Dependent {
            let may_repeat = self.rendition == RenditionId::VIDEO && frame.access == Access::Independent;
            self.freeze_frame.key_frame = may_repeat.then(|| frame.payload.clone());
        }
    }

    /// Records that the rendition crosses a boundary for which no frame has come.
    pub(crate) fn note_missed_boundary(&mut self) {
        self.freeze_frame.missed_boundary = true;
    }

    /// Returns what fills a gap. If video is merely late, no key frame is repeated, because the frames that the next one
    /// depends on are there.
    pub(super) fn fill_kind(&self) -> Fill {
        if self.can_extend_last_frame() {
            Fill::LastFrame
        } else if self.repeats_key_frame() || self.freeze_frame.missed_boundary {
            Fill::FreezeFrame
        } else {
            Fill::Gap
        }
    }

    /// Returns the longest gap of the video that is left unfilled, in ticks; over it, the frame before is presented on.
    pub(super) fn max_gap(&self) -> i64 {
        if self.repeats_key_frame() { 0 } else { self.scale.delta_ticks(VIDEO_GAP) }
    }

    /// Repeats the newest key frame while no video arrives and the other renditions have come to `until`, on the
    /// presentation timeline. The last frame lasts until its part is full, and then the key frame is repeated in full
    /// parts. Without parts nothing happens, because the next boundary does the same.
    pub(crate) fn repeat_key_frame(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        let may_repeat = self.freeze_frame.key_frame.is_some();
        let Some(step) = self.repeated_part_ticks().filter(|_| may_repeat) else { return Ok(()) };
        let until = self.scale.ticks(self.to_decode_time(until));
        if let Some(first) = self.pending.first() {
            let end = first.start + step;
            if end > until {
                return Ok(());
            }
            self.close_part(end, out)?;
        }
        self.fill_full_parts(step, until, Fill::FreezeFrame, out)
    }

    /// Publishes parts of `step` ticks without new frames up to `until`.
    pub(super) fn fill_full_parts(&mut self, step: i64, until: i64, fill: Fill, out: &mut Output) -> Result<(), Error> {
        let clock = *self.clock.get_or_insert(self.scale.ticks(self.segment.at));
        for n in 1..=(until - clock).max(0) / step {
            self.fill(clock + n * step, fill, out)?;
        }
        Ok(())
    }

    /// Fills the gap in front of a key frame that is decoded at `dts`. A rest that is too short for a part becomes one with
    /// the key frame.
    pub(super) fn fill_before_key_frame(&mut self, dts: i64, out: &mut Output) -> Result<(), Error> {
        let Some(payload) = self.freeze_frame.key_frame.clone() else { return self.fill(dts, Fill::Gap, out) };
        self.repeat_key_frame(self.to_presentation_time(self.scale.timestamp(dts)), out)?;
        let start = self.clock.unwrap_or(dts);
        if start < dts {
            let (pts, access) = (self.freeze_frame_pts(start), Access::Independent);
            self.pending.push(PendingSample { start, lasts: 0, dts: start, pts, access, payload });
        }
        self.entry = Entry::AfterRepeatedKeyFrame;
        Ok(())
    }

    /// Publishes parts without new frames up to `until`.
    pub(super) fn fill(&mut self, until: i64, fill: Fill, out: &mut Output) -> Result<(), Error> {
        let mut clock = self.clock.unwrap_or(until);
        while clock < until {
            let end = until.min(clock.saturating_add(self.max_part_ticks()));
            match (fill, self.freeze_frame.key_frame.clone()) {
                (Fill::LastFrame, _) if self.can_repeat_gop_within(end - clock) => self.repeat_gop(end, out)?,
                (Fill::LastFrame | Fill::FreezeFrame, Some(payload)) => {
                    self.publish_freeze_frame(clock, end, payload, out)?;
                }
                _ => self.publish_gap(clock, end, out)?,
            }
            clock = end;
        }
        Ok(())
    }

    fn publish_freeze_frame(&mut self, start: i64, end: i64, payload: Bytes, out: &mut Output) -> Result<(), Error> {
        if !self.repeats_key_frame() {
            self.report(Fault::MissingMedia, out);
        }
        let pts = self.freeze_frame_pts(start);
        let events = self.metadata.take_due(pts + (end - start), self.scale)?;
        let (duration, cts) = (ticks_u32(end - start), composition_offset(pts, start));
        let sample = Sample { duration, cts, access: Access::Independent, payload };
        let tfdt = u64::try_from(start).unwrap_or(0);
        let data = cmaf::fragment(self.next_sequence(), tfdt, &[sample], false, &events)?;
        self.publish(ClosedPart { start, end, frames: 1, independent: true, data }, out);
        self.entry = Entry::AfterRepeatedKeyFrame;
        Ok(())
    }

    fn publish_gap(&mut self, start: i64, end: i64, out: &mut Output) -> Result<(), Error> {
        let tfdt = u64::try_from(start).unwrap_or(0);
        let data = cmaf::gap(self.next_sequence(), tfdt, ticks_u32(end - start))?;
        self.publish(ClosedPart { start, end, frames: 0, independent: false, data }, out);
        Ok(())
    }

    /// Returns the presentation time of the repeated key frame that is decoded at `dts`: after the frames before it.
    fn freeze_frame_pts(&self, dts: i64) -> i64 {
        (dts + self.scale.delta_ticks(self.reorder_delay)).max(self.freeze_frame.not_before)
    }
}

fn ticks_u32(ticks: i64) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}
