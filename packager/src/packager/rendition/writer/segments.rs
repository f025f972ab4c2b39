//! Ends segments, and publishes their ends.

use media::{TimeDelta, Timestamp};

use super::{PendingEnd, RenditionWriter, SegmentStart};
use crate::Error;
use crate::log::{Event, RenditionId, SegmentEnd};
use crate::packager::output::Output;

impl RenditionWriter {
    /// Ends the open segment at `at`, on the writer's decode timeline, and opens the next one.
    ///
    /// A short gap before `at` is left to the frames that follow, a longer one is filled. Dependent video renditions leave
    /// no gap, because they begin their segments where the reference does.
    pub(crate) fn end_segment(&mut self, at: Timestamp, discontinuity: bool, out: &mut Output) -> Result<(), Error> {
        let max_gap = match self.audio_frame {
            Some(audio_frame) => audio_frame,
            None if self.is_dependent_video() => self.frame_duration.value() / 2,
            None => self.max_gap_at_end(),
        };
        self.end_segment_filling(at, discontinuity, max_gap, out)
    }

    /// Ends the open segment at `at` as [`Self::end_segment`] does, and fills a gap of more than `max_gap` ticks before it.
    pub(super) fn end_segment_filling(
        &mut self,
        at: Timestamp,
        discontinuity: bool,
        max_gap: i64,
        out: &mut Output,
    ) -> Result<(), Error> {
        let end = self.scale.ticks(at);
        self.close_part(end, out)?;
        let clock = *self.clock.get_or_insert(self.scale.ticks(self.segment.at));
        if self.part_count == 0 || end - clock > max_gap {
            self.fill(end.max(clock + 1), self.fill_kind(), out)?;
        }
        let (msn, duration) = (self.segment.msn, self.scale.delta(self.segment_ticks));
        let millihertz = self.peak_frame_rate.take();
        self.publish_end(SegmentEnd { millihertz, ..SegmentEnd::new(self.rendition, msn, duration) }, out);
        self.segment = SegmentStart { msn: msn + 1, at, discontinuity };
        self.part_count = 0;
        self.segment_ticks = 0;
        Ok(())
    }

    fn publish_end(&mut self, end: SegmentEnd, out: &mut Output) {
        self.end_announced = false;
        if self.holds_back_segment_end() {
            self.pending_end = PendingEnd::Held(end);
            self.publish_next_part(end.msn + 1, 0, out);
        } else {
            self.pending_end = PendingEnd::None;
            out.events.push_back(Event::Segment(end));
        }
    }

    /// Returns true if the end of this segment is published together with the next segment's first part, instead of
    /// immediately.
    ///
    /// A dependent rendition learns of its last part and of the segment's end at the same moment, because the reference
    /// rendition has already crossed the boundary. hls.js then treats the segment as complete while it is still loading
    /// the second-to-last part, and never requests the last one. Publishing the end one part later avoids that.
    ///
    /// Published immediately: segments of the reference rendition (unless it repeats its key frame and so follows the
    /// audio), the first segment of a rendition (there is no playlist yet), and segments that end in a gap (no player
    /// loads them).
    fn holds_back_segment_end(&self) -> bool {
        let follows = self.rendition != RenditionId::VIDEO || self.repeats_key_frame();
        let is_first = self.pending_end == PendingEnd::First;
        self.part_rule.is_some() && follows && !is_first && !self.newest_is_gap
    }

    /// Publishes the segment end that [`Self::holds_back_segment_end`] held back, if there is one.
    pub(super) fn publish_held_end(&mut self, out: &mut Output) {
        if let PendingEnd::Held(end) = self.pending_end {
            self.pending_end = PendingEnd::None;
            out.events.push_back(Event::Segment(end));
        }
    }

    /// Longest gap before the end of a segment that is left unfilled, in ticks: as [`Self::max_gap`], but where the last
    /// frame can be extended a short part is enough to fill it.
    fn max_gap_at_end(&self) -> i64 {
        if self.part_rule.is_some() && self.can_extend_last_frame() {
            self.max_part_ticks() / 4
        } else {
            self.max_gap()
        }
    }

    /// Returns the duration from the start of the open segment to `at`, on the writer's decode timeline, at least zero.
    pub(super) fn since_segment_start(&self, at: Timestamp) -> TimeDelta {
        (at - self.segment.at).max(TimeDelta::ZERO)
    }
}
