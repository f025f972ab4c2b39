//! Fills stretches in which a rendition has no new frames.
//!
//! Browsers play no audio where there is no video, so stalled video would stop the programme. The newest IDR frame of
//! the reference video is repeated in each part until video returns: every decoder accepts that, in every codec. Video
//! can return only at a key frame then, as after any gap in a browser's buffer. If the newest key frame is no IDR
//! frame, there are gaps. Dependent video renditions have gaps as well, because players are to switch to another
//! rendition.

use bytes::Bytes;
use media::{Access, Fault, Frame, TimeDelta, Timestamp};

use super::publish::{ClosedPart, composition_offset};
use super::{Entry, PendingSample, RenditionWriter};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::RenditionId;
use crate::packager::output::Output;

/// Longest gap in video that is not filled: the frame before it is presented until it ends.
const VIDEO_GAP: TimeDelta = TimeDelta::from_secs(1);

/// Content of parts without new frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fill {
    /// No frames.
    Gap,
    /// The newest key frame again. A gap if no key frame may be repeated.
    FreezeFrame,
    /// The last frame, extended by a repeated GOP or, if that does not fit, as [`Self::FreezeFrame`].
    LastFrame,
}

/// The key frame that is repeated while video stalls.
#[derive(Debug, Default)]
pub(super) struct FreezeFrame {
    /// Newest key frame; `None` if it may not be repeated, because it is no IDR frame or the rendition is not the
    /// reference.
    key_frame: Option<Bytes>,
    /// Whether the rendition has crossed a segment boundary without a frame, and has had no frame since.
    missed_boundary: bool,
    /// Earliest PTS of a repetition: the end of the presentation of the frames before.
    not_before: i64,
}

impl FreezeFrame {
    /// Sets the earliest PTS of a repetition.
    pub(super) fn not_before(&mut self, at: i64) {
        self.not_before = at;
    }
}

impl RenditionWriter {
    /// Returns true while the newest key frame is repeated because video stalls. Dependent frames cannot be decoded
    /// then.
    pub(crate) fn repeats_key_frame(&self) -> bool {
        self.entry == Entry::AfterRepeatedKeyFrame
    }

    /// Returns true if parts are offered and there is a key frame that may be repeated in them.
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

    /// Records that the rendition crosses a segment boundary without a frame.
    pub(crate) fn note_missed_boundary(&mut self) {
        self.freeze_frame.missed_boundary = true;
    }

    /// Returns what fills a gap. If video is merely late, no key frame is repeated, because the next frame can still be
    /// decoded: the frames that it depends on have been published.
    pub(super) fn fill_kind(&self) -> Fill {
        if self.can_extend_last_frame() {
            Fill::LastFrame
        } else if self.repeats_key_frame() || self.freeze_frame.missed_boundary {
            Fill::FreezeFrame
        } else {
            Fill::Gap
        }
    }

    /// Returns the longest gap in video that is not filled, in ticks: [`VIDEO_GAP`], or zero while the key frame is
    /// repeated.
    pub(super) fn max_gap(&self) -> i64 {
        if self.repeats_key_frame() { 0 } else { self.scale.delta_ticks(VIDEO_GAP) }
    }

    /// Repeats the newest key frame while no video arrives and the other renditions have come to `until`, on the
    /// presentation timeline. The last frame lasts until its part is full, and then the key frame is repeated in full
    /// parts. If no parts are offered, nothing happens here, because the segment is filled when its boundary is
    /// crossed.
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

    /// Fills the gap before a video frame that is decoded at `dts`. Full parts repeat the newest key frame. It is
    /// repeated once more in the open part, if a remainder too short for a part is left, and the video frame joins that
    /// part.
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
