//! Dependent video renditions: the same video in other sizes. Their encoders make key frames where the reference video
//! has them, so their segments end exactly where its segments do. A rendition that comes late, lags or is dropped has
//! gaps, and the reference does not depend on it.

use media::{Access, Frame, Kind, Track};

use super::rendition::{RenditionInput, RenditionWriter, SegmentStart};
use super::{Packager, Phase, Slot};
use crate::Error;
use crate::log::{Event, RenditionId};

impl Packager {
    /// Announces dependent video rendition `number`, restores it, or changes its header.
    ///
    /// The rendition begins, or goes on, at its next key frame at a segment boundary of the video track, with a new init
    /// section if the header differs. Its frames are recognized by the id of `track`. Audio tracks and renditions beyond
    /// [`RenditionId::MAX_DEPENDENT_VIDEO`] are ignored.
    pub fn add_rendition(&mut self, number: u32, track: Track) -> Result<(), Error> {
        let Some(id) = RenditionId::dependent_video(number).filter(|_| track.kind() == Kind::Video) else {
            return Ok(());
        };
        let Some((n, input)) = self.dependent_video(id) else {
            self.dependents.push(self.new_input(id, track)?);
            return Ok(());
        };
        input.is_assigned = true;
        input.next_track = None;
        if input.writer.has_same_header(&track) {
            return input.writer.change_track(track);
        }
        // The queued frames have the old header; the encoder was restarted.
        input.queued.clear();
        input.must_rejoin = true;
        if input.writer.is_active() && input.writer.has_content() {
            input.next_track = Some(track);
        } else {
            input.writer.change_track(track)?;
        }
        self.forget_gathered(n);
        Ok(())
    }

    /// Drops dependent video rendition `number`: its playlist goes on with gaps, and no multivariant playlist lists it
    /// until [`Packager::add_rendition`] restores it. Media that it has published stays available.
    pub fn drop_rendition(&mut self, number: u32) -> Result<(), Error> {
        let input = RenditionId::dependent_video(number).and_then(|id| self.dependent_video(id));
        let Some((n, input)) = input.filter(|(_, input)| input.is_assigned) else { return Ok(()) };
        input.is_assigned = false;
        input.must_rejoin = true;
        input.next_track = None;
        input.queued.clear();
        if let Some(input) = self.dependents.get_mut(n).filter(|input| input.writer.is_announced()) {
            input.writer.flush(&mut self.out)?;
            self.out.events.push_back(Event::Withdrawn(input.writer.rendition()));
        }
        self.forget_gathered(n);
        Ok(())
    }

    fn dependent_video(&mut self, id: RenditionId) -> Option<(usize, &mut RenditionInput)> {
        self.dependents.iter_mut().enumerate().find(|(_, input)| input.writer.rendition() == id)
    }

    fn forget_gathered(&mut self, n: usize) {
        if let Phase::Gathering(frames) = &mut self.phase {
            frames.retain(|(slot, _)| *slot != Slot::DependentVideo(n));
        }
    }

    /// Writes a frame of dependent video rendition `n`, and ends segments before it.
    pub(super) fn write_dependent_video(&mut self, n: usize, frame: Frame) -> Result<(), Error> {
        if !self.join_dependent_video(n, &frame)? {
            return Ok(());
        }
        let Some(RenditionInput { writer, .. }) = self.dependents.get_mut(n) else { return Ok(()) };
        writer.cross_before(&frame, &self.planner.boundaries, &mut self.out)?;
        writer.expect_end(self.planner.expected_end(writer.msn()));
        writer.fill_before_reentry(&frame, &mut self.out)?;
        writer.push(frame, &mut self.out)
    }

    /// Returns true if the rendition takes part in the period. An absent one joins with a key frame that begins a segment.
    fn join_dependent_video(&mut self, n: usize, frame: &Frame) -> Result<bool, Error> {
        let has_reference = self.reference().is_some_and(RenditionWriter::is_active);
        let Some(RenditionInput { writer, must_rejoin, next_track, .. }) = self.dependents.get_mut(n) else {
            return Ok(false);
        };
        if writer.is_active() && !*must_rejoin {
            return Ok(true);
        }
        if frame.access == Access::Dependent || !has_reference {
            return Ok(false);
        }
        let at = writer.boundary_pts(frame);
        let boundaries = &self.planner.boundaries;
        let Some((msn, boundary)) = boundaries.starting_at(at, writer.tolerance()) else { return Ok(false) };
        if !writer.is_active() {
            let period = &self.planner.period.start;
            let start = SegmentStart { msn, at, discontinuity: boundary.discontinuity };
            writer.begin_period(start, (period.wall, period.pts), at - frame.dts);
        } else if msn < writer.msn() || msn == writer.msn() && writer.has_content() {
            // The segment has gaps already.
            return Ok(false);
        }
        while let Some(boundary) = boundaries.end_of(writer.msn()).filter(|_| writer.msn() < msn) {
            writer.abandon_to(boundary, &mut self.out)?;
        }
        if let Some(track) = next_track.take() {
            writer.change_track(track)?;
        }
        writer.restart();
        writer.discard_metadata_before(at);
        *must_rejoin = false;
        Ok(true)
    }
}
