//! Crosses the segment boundaries of the period, whether the rendition has a frame there or not.

use media::{Access, Fault, Frame, TimeDelta, Timestamp};

use super::freeze_frame::Fill;
use super::{Entry, RenditionWriter};
use crate::Error;
use crate::packager::boundary_planner::{Boundaries, Boundary};
use crate::packager::output::Output;

/// A video frame that comes this long after a boundary was preceded by a gap.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// Distance at which a frame of a dependent video rendition may be from a boundary and still be at it, because two encoders may
/// round their timestamps differently.
const TOLERANCE: TimeDelta = TimeDelta::from_millis(2);

impl RenditionWriter {
    /// Returns the presentation time of a segment boundary in front of `frame`.
    ///
    /// Frames presented before the first frame of an open GOP belong to its segment. Their number is not known yet, but
    /// presentation lags decoding evenly.
    pub(crate) fn boundary_pts(&mut self, frame: &Frame) -> Timestamp {
        if frame.access != Access::Independent {
            return frame.dts + self.reorder_delay;
        }
        if !self.is_audio() {
            self.reorder_delay = frame.pts - frame.dts;
        }
        frame.pts
    }

    /// Returns how far a frame may be from a boundary and still be at it.
    pub(crate) fn tolerance(&self) -> TimeDelta {
        if self.is_dependent_video() { TOLERANCE } else { TimeDelta::ZERO }
    }

    /// Crosses the boundaries before `frame`.
    pub(crate) fn cross_before(
        &mut self,
        frame: &Frame,
        boundaries: &Boundaries,
        out: &mut Output,
    ) -> Result<(), Error> {
        let reached = self.boundary_pts(frame) + self.tolerance();
        while let Some(boundary) = boundaries.end_of(self.msn()).filter(|boundary| reached >= boundary.at) {
            // The reference begins the segment with a key frame that this rendition does not have, so that its own segment
            // begins with a gap.
            let lacks_key_frame = boundary.key_frame && frame.access == Access::Dependent;
            let is_last = boundaries.end_of(self.msn() + 1).is_none_or(|next| reached < next.at);
            // A dependent video rendition begins with the same frame as the reference, or with a gap.
            let is_dependent = self.is_dependent_video();
            let late = if is_dependent { self.scale.delta(self.frame_duration.value() / 2) } else { VIDEO_LATE };
            let is_near = is_last && frame.dts - self.to_decode_time(boundary.at) < late;
            if is_near && !lacks_key_frame && !self.is_audio() && !self.repeats_key_frame() {
                self.end_segment(frame.dts, boundary.discontinuity, out)?;
            } else {
                self.cross(boundary, out)?;
            }
            if lacks_key_frame || is_dependent && !is_near {
                self.require_key_frame();
            }
        }
        Ok(())
    }

    /// Crosses a boundary without a frame: the segment ends exactly there, with a gap if necessary. Audio stays on its
    /// sample grid.
    pub(crate) fn cross(&mut self, boundary: Boundary, out: &mut Output) -> Result<(), Error> {
        self.note_missed_boundary();
        let at = self.to_decode_time(boundary.at);
        if self.is_audio() && at - self.end() > self.frame_duration() {
            self.report(Fault::MissingMedia, out);
        }
        self.end_segment_filling(at, boundary.discontinuity, self.audio_frame.unwrap_or(0), out)
    }

    /// Crosses all boundaries that are decided.
    pub(crate) fn cross_all(&mut self, boundaries: &Boundaries, out: &mut Output) -> Result<(), Error> {
        while let Some(boundary) = boundaries.end_of(self.msn()) {
            self.cross(boundary, out)?;
        }
        Ok(())
    }

    /// Crosses a boundary for a dependent video rendition that has stopped. A complete segment stays. Of an incomplete
    /// one, the frames that are not published yet are dropped, so that players take all of it from another rendition.
    pub(crate) fn abandon_to(&mut self, boundary: Boundary, out: &mut Output) -> Result<(), Error> {
        let at = self.to_decode_time(boundary.at);
        if self.has_content() && at - self.end() < self.frame_duration() {
            return self.end_segment(at, boundary.discontinuity, out);
        }
        self.require_key_frame();
        if self.part_rule.is_none() {
            self.pending.clear();
        }
        self.flush(out)?;
        self.cross(boundary, out)
    }

    /// Publishes the open part as it is, if parts are offered.
    pub(crate) fn flush(&mut self, out: &mut Output) -> Result<(), Error> {
        if self.part_rule.is_none() { Ok(()) } else { self.close_part(self.scale.ticks(self.end()), out) }
    }

    /// Publishes gap parts of full length up to `until`, on the presentation timeline.
    pub(crate) fn fill_gap_parts(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        if self.part_rule.is_none() || !self.pending.is_empty() {
            return Ok(());
        }
        let until = self.scale.ticks(self.to_decode_time(until));
        self.fill_full_parts(self.max_part_ticks(), until, Fill::Gap, out)
    }

    /// Publishes the gap in front of a frame with which decoding starts again within a segment.
    pub(crate) fn fill_before_reentry(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Error> {
        let dts = self.scale.ticks(frame.dts);
        let has_gap = self.clock.is_some_and(|clock| dts - clock > self.frame_duration.value() / 2);
        let reenters = self.entry == Entry::KeyFrame && frame.access != Access::Dependent;
        if reenters && has_gap && self.pending.is_empty() { self.fill(dts, Fill::Gap, out) } else { Ok(()) }
    }
}
