//! Stretches in which a rendition has nothing new.
//!
//! Browsers play no sound where there is no picture, so pictures that stay away would stop the programme. Their newest IDR
//! picture is shown once more in each part until they are back: every decoder takes it, in every codec. What comes back
//! needs a key frame then, as it does behind any hole in a browser's buffer. A rendition that has none has gaps, and so has
//! a rung: players are to take another one.

use bytes::Bytes;
use media::{Access, Fault, Frame, Timestamp};

use super::{PendingSample, RenditionWriter, VIDEO_GAP};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::RenditionId;
use crate::packager::Output;

/// What is published where there is nothing new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fill {
    /// Parts without frames.
    Gap,
    /// The newest key frame again, if it may stand.
    FreezeFrame,
    /// The last frame, shown on.
    LastFrame,
}

/// The picture that can be shown again.
#[derive(Debug, Default)]
pub(super) struct FreezeFrame {
    /// None where the newest key frame is no IDR: what follows it in the stream needs what was before it.
    frame: Option<Bytes>,
    /// It is shown: pictures that depend on others cannot be decoded.
    stands: bool,
    /// A segment ended that no picture came for, and none has since.
    missed: bool,
    /// The pictures before it are shown up to here.
    from: i64,
}

impl FreezeFrame {
    pub(super) fn not_before(&mut self, at: i64) {
        self.from = at;
    }
}

impl RenditionWriter {
    /// True while a picture stands because no others come.
    pub(in crate::packager) fn repeats_key_frame(&self) -> bool {
        self.freeze_frame.stands
    }

    /// True if there is a picture that may stand in parts of its own.
    pub(in crate::packager) fn can_repeat_key_frame(&self) -> bool {
        self.part_rule.is_some() && self.freeze_frame.frame.is_some()
    }

    /// Takes a key frame as the picture to show where others stay away.
    pub(super) fn keep_freeze_frame(&mut self, frame: &Frame) {
        let stands = self.rendition == RenditionId::VIDEO && frame.access == Access::Independent;
        self.freeze_frame.frame = stands.then(|| frame.payload.clone());
        self.freeze_frame.stands = false;
    }

    /// A picture came that is shown.
    pub(super) fn note_frame(&mut self) {
        self.freeze_frame.missed = false;
    }

    /// A cut is made that no picture has come for.
    pub(in crate::packager) fn note_missed_boundary(&mut self) {
        self.freeze_frame.missed = true;
    }

    /// What fills a hole: no still where pictures are merely long in coming, for what they need is there.
    pub(super) fn fill_kind(&self) -> Fill {
        if self.can_extend_last_frame() {
            Fill::LastFrame
        } else if self.freeze_frame.stands || self.freeze_frame.missed {
            Fill::FreezeFrame
        } else {
            Fill::Gap
        }
    }

    /// A hole of pictures longer than this is filled; over a shorter one the picture before it stands.
    pub(super) fn min_gap(&self) -> i64 {
        if self.freeze_frame.stands { 0 } else { self.scale.delta_ticks(VIDEO_GAP) }
    }

    /// No picture comes while the others have come to `until`, on the presentation timeline: the last one lasts until its
    /// part is full, and then the newest key frame stands, in full parts. Nothing to be done where parts are not offered:
    /// the next cut does it.
    pub(in crate::packager) fn repeat_key_frame(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        let Some(rule) = self.part_rule.filter(|_| self.freeze_frame.frame.is_some()) else { return Ok(()) };
        let step = self.floor_ticks(rule.parts.grid.unwrap_or(rule.parts.target)).max(1);
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

    /// Publishes parts of length `step` with nothing new as far as `until`.
    pub(super) fn fill_full_parts(
        &mut self,
        step: i64,
        until: i64,
        nothing: Fill,
        out: &mut Output,
    ) -> Result<(), Error> {
        let clock = *self.clock.get_or_insert(self.scale.ticks(self.segment_start.at));
        for n in 1..=(until - clock).max(0) / step {
            self.fill(clock + n * step, nothing, out)?;
        }
        Ok(())
    }

    /// Fills the hole in front of a key frame that is decoded at `dts`. What is too short for a part is one with the picture.
    pub(super) fn fill_before_key_frame(&mut self, dts: i64, out: &mut Output) -> Result<(), Error> {
        let Some(payload) = self.freeze_frame.frame.clone() else { return self.fill(dts, Fill::Gap, out) };
        self.repeat_key_frame(self.to_presentation_time(self.scale.timestamp(dts)), out)?;
        let start = self.clock.unwrap_or(dts);
        if start < dts {
            let (pts, access) = (self.freeze_frame_pts(start), Access::Independent);
            self.pending.push(PendingSample { start, lasts: 0, dts: start, pts, access, payload });
        }
        (self.freeze_frame.stands, self.needs_key_frame) = (true, true);
        Ok(())
    }

    /// Publishes parts with nothing new up to `until`.
    pub(super) fn fill(&mut self, until: i64, nothing: Fill, out: &mut Output) -> Result<(), Error> {
        let longest = self.part_rule.map_or(i64::from(u32::MAX), |rule| self.floor_ticks(rule.parts.target));
        let mut clock = self.clock.unwrap_or(until);
        while clock < until {
            let end = until.min(clock.saturating_add(longest.max(1)));
            let nothing = match nothing {
                Fill::LastFrame if self.can_repeat_gop_within(end - clock) => {
                    self.repeat_gop(end, out)?;
                    clock = end;
                    continue;
                }
                Fill::LastFrame => Fill::FreezeFrame,
                other => other,
            };
            self.sequence = self.sequence.wrapping_add(1);
            let (tfdt, duration) = (u64::try_from(clock).unwrap_or(0), u32::try_from(end - clock).unwrap_or(u32::MAX));
            if let Some(payload) = self.freeze_frame.frame.clone().filter(|_| nothing == Fill::FreezeFrame) {
                if !self.freeze_frame.stands {
                    self.report(Fault::MissingMedia, out);
                }
                let pts = self.freeze_frame_pts(clock);
                let cts = (pts - clock).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                let events = self.take_due_metadata(pts + (end - clock))?;
                let sample = Sample { duration, cts, access: Access::Independent, payload };
                let data = cmaf::fragment(self.sequence, tfdt, &[sample], false, &events)?;
                self.publish(clock, end, 1, true, data, out);
                (self.freeze_frame.stands, self.needs_key_frame) = (true, true);
            } else {
                let data = cmaf::gap(self.sequence, tfdt, duration)?;
                self.publish(clock, end, 0, false, data, out);
            }
            clock = end;
        }
        Ok(())
    }

    /// As [`Self::least_hole`], at the end of a segment, where the last picture can be shown on in a short part.
    pub(super) fn min_gap_at_end(&self) -> i64 {
        if self.part_rule.is_some() && self.can_extend_last_frame() {
            self.max_part_ticks() / 4
        } else {
            self.min_gap()
        }
    }

    /// When the still is shown that is decoded at `dts`: behind the pictures before it.
    fn freeze_frame_pts(&self, dts: i64) -> i64 {
        (dts + self.scale.delta_ticks(self.reorder_delay)).max(self.freeze_frame.from)
    }
}
