//! A lane is cut where the leader of its run was cut, whether a frame of its own is there or not.

use media::{Access, Fault, Frame, TimeDelta, Timestamp};

use super::RenditionWriter;
use super::freeze_frame::Fill;
use crate::Error;
use crate::packager::Output;
use crate::packager::boundary_planner::{Boundaries, Boundary};

/// A picture that comes this far behind a cut was preceded by a gap.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// How far a rung's frame may be from a cut and still be at it: two encoders may round their timestamps differently.
const SLACK: TimeDelta = TimeDelta::from_millis(2);

impl RenditionWriter {
    /// Where the presentation of a segment that begins with `unit` begins. The pictures shown before an open GOP's first
    /// one belong to its segment, and how many there are is not known yet; but presentation runs evenly behind decoding.
    pub(in crate::packager) fn boundary_pts(&mut self, frame: &Frame) -> Timestamp {
        if !self.is_audio() && frame.access == Access::Independent {
            self.reorder_delay = frame.pts - frame.dts;
        }
        if frame.access == Access::Independent { frame.pts } else { frame.dts + self.reorder_delay }
    }

    /// How far a frame may be from a cut and still be at it.
    pub(in crate::packager) fn tolerance(&self) -> TimeDelta {
        if self.rendition.is_dependent_video() { SLACK } else { TimeDelta::ZERO }
    }

    /// Makes the cuts that lie before `unit`.
    pub(in crate::packager) fn cross_before(
        &mut self,
        frame: &Frame,
        boundaries: &Boundaries,
        out: &mut Output,
    ) -> Result<(), Error> {
        let reached = self.boundary_pts(frame) + self.tolerance();
        while let Some(boundary) = boundaries.end_of(self.msn()).filter(|boundary| reached >= boundary.at) {
            // The leader begins a segment with a key frame that this rendition does not have: its own begins with a gap.
            let torn = boundary.key_frame && frame.access == Access::Dependent;
            let last = boundaries.end_of(self.msn() + 1).is_none_or(|next| reached < next.at);
            // A rung begins with the leader's picture or with a gap.
            let dependent = self.rendition.is_dependent_video();
            let late = if dependent { self.scale.delta(self.frame_duration.value() / 2) } else { VIDEO_LATE };
            let near = last && frame.dts - self.to_decode_time(boundary.at) < late;
            if near && !torn && !self.is_audio() && !self.repeats_key_frame() {
                self.end_segment(frame.dts, boundary.discontinuity, out)?;
            } else {
                self.cross(boundary, out)?;
            }
            self.needs_key_frame |= torn || dependent && !near;
        }
        Ok(())
    }

    /// Makes a cut that no frame has come for: it is reached exactly, with a gap if need be; sound stays on its grid.
    pub(in crate::packager) fn cross(&mut self, boundary: Boundary, out: &mut Output) -> Result<(), Error> {
        self.note_missed_boundary();
        if self.is_audio() && self.to_decode_time(boundary.at) - self.end() > self.frame_duration() {
            self.report(Fault::MissingMedia, out);
        }
        self.end_segment_filling(
            self.to_decode_time(boundary.at),
            boundary.discontinuity,
            self.audio_frame.unwrap_or(0),
            out,
        )
    }

    /// Makes all cuts that are decided.
    pub(in crate::packager) fn cross_all(&mut self, boundaries: &Boundaries, out: &mut Output) -> Result<(), Error> {
        while let Some(boundary) = boundaries.end_of(self.msn()) {
            self.cross(boundary, out)?;
        }
        Ok(())
    }

    /// Makes a cut of a rung that has stopped. A segment that is whole stays; of one that is not, what nobody has seen
    /// yet is left out, so that players take all of it from another rendition.
    pub(in crate::packager) fn abandon_to(&mut self, boundary: Boundary, out: &mut Output) -> Result<(), Error> {
        let at = self.to_decode_time(boundary.at);
        if self.has_content() && at - self.end() < self.frame_duration() {
            return self.end_segment(at, boundary.discontinuity, out);
        }
        self.needs_key_frame = true;
        if self.part_rule.is_none() {
            self.pending.clear();
        }
        self.flush(out)?;
        self.cross(boundary, out)
    }

    /// Publishes the open part as it is, where parts are offered.
    pub(in crate::packager) fn flush(&mut self, out: &mut Output) -> Result<(), Error> {
        if self.part_rule.is_none() { Ok(()) } else { self.close_part(self.scale.ticks(self.end()), out) }
    }

    /// Publishes gap parts of full length as far as `until`, on the presentation timeline.
    pub(in crate::packager) fn fill_gap_parts(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        let Some(rule) = self.part_rule.filter(|_| self.pending.is_empty()) else { return Ok(()) };
        let (longest, until) =
            (self.floor_ticks(rule.parts.target).max(1), self.scale.ticks(self.to_decode_time(until)));
        self.fill_full_parts(longest, until, Fill::Gap, out)
    }

    /// Publishes the gap in front of a picture that decoding begins with anew in mid-segment.
    pub(in crate::packager) fn fill_before_reentry(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Error> {
        let dts = self.scale.ticks(frame.dts);
        let hole = self.clock.is_some_and(|clock| dts - clock > self.frame_duration.value() / 2);
        let entry = self.needs_key_frame && frame.access != Access::Dependent;
        if entry && hole && self.pending.is_empty() { self.fill(dts, Fill::Gap, out) } else { Ok(()) }
    }
}
