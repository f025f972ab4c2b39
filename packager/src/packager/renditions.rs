//! Rungs: other renditions of the leader's pictures. Their encoders make key frames where the leader's does, so they are
//! cut exactly where it was. One that comes late, lags or is shed has gaps, and the leader never notices.

use media::{Access, Frame, Kind, Track};

use super::rendition::{RenditionInput, RenditionWriter, SegmentStart};
use super::{Packager, Phase, Slot};
use crate::Error;
use crate::log::{Event, RenditionId};

impl Packager {
    /// Announces rung `rung`, brings it back, or changes its header: another rendition of the video track's pictures. It
    /// begins, or goes on, at its next key frame where the video track was cut, with a new init section if the header
    /// says something else. Its frames are told by the id of its track. Tracks of sound and rungs beyond
    /// [`RenditionId::MAX_DEPENDENT_VIDEO`] are ignored.
    pub fn add_rendition(&mut self, dependent: u32, track: Track) -> Result<(), Error> {
        let Some(id) = RenditionId::dependent_video(dependent).filter(|_| track.kind() == Kind::Video) else {
            return Ok(());
        };
        let Some((n, input)) = self.dependent_video(id) else {
            self.dependents.push(self.new_input(id, track)?);
            return Ok(());
        };
        input.bound = true;
        input.next_track = None;
        if input.writer.has_same_header(&track) {
            return input.writer.change_track(track);
        }
        // What is held was made with the old header; the encoder begins anew.
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

    /// Sheds a rung: its playlist goes on with gaps, and no multivariant playlist lists it until
    /// [`Packager::add_rendition`] brings it back. What it had published stays.
    pub fn drop_rendition(&mut self, dependent: u32) -> Result<(), Error> {
        let Some((n, input)) = RenditionId::dependent_video(dependent)
            .and_then(|id| self.dependent_video(id))
            .filter(|(_, input)| input.bound)
        else {
            return Ok(());
        };
        input.bound = false;
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

    pub(super) fn write_dependent_video(&mut self, n: usize, frame: Frame) -> Result<(), Error> {
        if !self.join_dependent_video(n, &frame)? {
            return Ok(());
        }
        let Some(input) = self.dependents.get_mut(n) else { return Ok(()) };
        input.writer.cross_before(&frame, &self.boundaries, &mut self.out)?;
        let msn = input.writer.msn();
        let expected_end = self.expected_end(msn);
        let Some(input) = self.dependents.get_mut(n) else { return Ok(()) };
        input.writer.expect_end(expected_end);
        input.writer.fill_before_reentry(&frame, &mut self.out)?;
        input.writer.push(frame, &mut self.out)
    }

    /// True if the rung takes part; one that was away does from a key frame on that begins a segment.
    fn join_dependent_video(&mut self, n: usize, frame: &Frame) -> Result<bool, Error> {
        let led = self.reference().is_some_and(RenditionWriter::is_active);
        let Some(RenditionInput { writer, must_rejoin, next_track, .. }) = self.dependents.get_mut(n) else {
            return Ok(false);
        };
        if writer.is_active() && !*must_rejoin {
            return Ok(true);
        }
        if frame.access == Access::Dependent || !led {
            return Ok(false);
        }
        let edge = writer.boundary_pts(frame);
        let Some((msn, start)) = self.boundaries.starting_at(edge, writer.tolerance()) else { return Ok(false) };
        if !writer.is_active() {
            let start = SegmentStart { msn, at: edge, discontinuity: start.discontinuity };
            writer.begin_period(start, (self.period.wall, self.period.start_pts), edge - frame.dts);
        } else if msn < writer.msn() || msn == writer.msn() && writer.has_content() {
            // Gaps stand there already.
            return Ok(false);
        }
        while let Some(boundary) = self.boundaries.end_of(writer.msn()).filter(|_| writer.msn() < msn) {
            writer.abandon_to(boundary, &mut self.out)?;
        }
        if let Some(track) = next_track.take() {
            writer.change_track(track)?;
        }
        writer.require_key_frame();
        writer.discard_metadata_before(edge);
        *must_rejoin = false;
        Ok(true)
    }
}
