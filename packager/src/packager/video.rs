//! The reference video of a period: its boundaries, and what is published while none of it arrives.

use media::{Access, Frame, TimeDelta, Timestamp};

use super::Packager;
use super::boundary_planner::{Boundary, ExpectedEnd, ROUNDING};
use super::rendition::{RenditionInput, RenditionWriter, SegmentStart};
use crate::Error;

/// Video that is later than this at a boundary decided by audio gets a gap there.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);

impl Packager {
    /// Writes a frame of the reference video, and ends segments before it.
    pub(super) fn process_video(&mut self, frame: Frame) -> Result<(), Error> {
        let Some(video) = self.video.as_mut() else { return Ok(()) };
        let boundary_pts = video.writer.boundary_pts(&frame);
        self.planner.note_video(&frame, boundary_pts);
        if !self.planner.period.video_joined && !self.join_video(&frame, boundary_pts)? {
            return Ok(());
        }
        let Some(video) = self.video.as_mut() else { return Ok(()) };
        video.writer.cross_before(&frame, &self.planner.boundaries, &mut self.out)?;
        if video.writer.msn() == self.planner.boundaries.newest_msn() {
            self.end_overlong(&frame)?;
            self.end_at_key_frame(&frame, boundary_pts)?;
        }
        let expected_end = match self.reference() {
            Some(writer) => self.planner.expected_end(writer.msn()),
            None => ExpectedEnd::Unknown,
        };
        // Between a new header and its first key frame nothing can be decoded.
        let Some(video) = self.video.as_mut().filter(|input| input.next_track.is_none()) else { return Ok(()) };
        let dts = frame.dts;
        if !video.writer.has_content() {
            self.planner.period.lacks_key_frame = frame.access == Access::Dependent;
        }
        video.writer.expect_end(expected_end);
        video.writer.push(frame, &mut self.out)?;
        if video.writer.repeats_key_frame() {
            // The frame could not be decoded after the repeated key frame.
            video.writer.repeat_key_frame(video.writer.to_presentation_time(dts), &mut self.out)?;
        }
        self.fill_overdue(dts)
    }

    /// Ends segments in the middle of a GOP if `frame` would make them longer than the frozen target duration.
    fn end_overlong(&mut self, frame: &Frame) -> Result<(), Error> {
        let limit = self.planner.max_length(ROUNDING);
        while let Some(video) = self.video.as_mut()
            && let Some((dts, boundary)) = self.planner.end_overlong(frame, video.writer.position(), limit)
        {
            if frame.dts - dts > VIDEO_LATE {
                video.writer.note_missed_boundary();
            }
            video.writer.end_segment(dts, boundary.discontinuity, &mut self.out)?;
        }
        Ok(())
    }

    /// Ends the segment in front of a key frame if the planner says so, and changes the track there if it has a new header.
    fn end_at_key_frame(&mut self, frame: &Frame, boundary_pts: Timestamp) -> Result<(), Error> {
        let Some(video) = self.video.as_mut().filter(|_| frame.access != Access::Dependent) else { return Ok(()) };
        let has_new_header = video.next_track.is_some();
        let boundary = self.planner.end_at_key_frame(boundary_pts, video.writer.has_content(), has_new_header);
        let Some(boundary) = boundary else { return Ok(()) };
        video.writer.end_segment(frame.dts, boundary.discontinuity, &mut self.out)?;
        match video.next_track.take() {
            Some(track) => video.writer.change_track(track),
            None => Ok(()),
        }
    }

    /// Lets video join a period that audio began: it begins a segment for both, at a key frame that audio has not passed.
    /// Returns false if it cannot join with `frame`.
    fn join_video(&mut self, frame: &Frame, boundary_pts: Timestamp) -> Result<bool, Error> {
        let is_key_frame = frame.access != Access::Dependent;
        let Some(boundary) = is_key_frame.then(|| self.planner.join_video(boundary_pts)).flatten() else {
            return Ok(false);
        };
        let Some(video) = self.video.as_mut() else { return Ok(false) };
        let Boundary { at, discontinuity, .. } = boundary;
        if video.writer.is_active() {
            video.writer.cross_all(&self.planner.boundaries, &mut self.out)?;
            self.planner.boundaries.push(boundary);
            video.writer.end_segment(frame.dts, discontinuity, &mut self.out)?;
        } else {
            self.planner.boundaries.push(boundary);
            let start = SegmentStart { msn: self.planner.boundaries.newest_msn(), at, discontinuity };
            let period = &self.planner.period.start;
            video.writer.begin_period(start, (period.wall, period.pts), at - frame.dts);
        }
        Ok(true)
    }

    /// Extends the last video frame while the next one is late and audio goes on.
    pub(super) fn extend_video(&mut self) -> Result<(), Error> {
        let may_extend = self.parts.is_some() && self.extends_last_frame();
        let now = self.interleaving.video_time(self.planner.period.newest_video).filter(|_| may_extend);
        let Some((now, writer)) = now.zip(self.reference()) else { return Ok(()) };
        let now_pts = writer.to_presentation_time(now);
        self.planner.split_gap(now_pts);
        self.date_newest();
        let Some(video) = self.video.as_mut() else { return Ok(()) };
        if now_pts >= self.planner.boundaries.newest_start() {
            video.writer.cross_all(&self.planner.boundaries, &mut self.out)?;
        }
        video.writer.advance_to(now, &mut self.out)
    }

    /// Returns true if the last video frame is extended until the next one arrives.
    fn extends_last_frame(&self) -> bool {
        let can_extend = |writer: &RenditionWriter| writer.is_active() && writer.can_extend_last_frame();
        self.interleaving.allows_extension() && self.reference().is_some_and(can_extend)
    }

    /// Repeats the newest key frame as far as the audio has come, while video stalls.
    pub(super) fn repeat_video_key_frame(&mut self) -> Result<(), Error> {
        let may_repeat = self.video_stalls() && !self.extends_last_frame();
        let Some(newest_audio) = self.planner.period.newest_audio.filter(|_| may_repeat) else { return Ok(()) };
        let can_repeat = |input: &&mut RenditionInput| input.writer.is_active() && input.writer.can_repeat_key_frame();
        let Some(video) = self.video.as_mut().filter(can_repeat) else { return Ok(()) };
        video.writer.cross_all(&self.planner.boundaries, &mut self.out)?;
        video.writer.repeat_key_frame(newest_audio, &mut self.out)?;
        // Video that returns begins a segment as soon as it can.
        self.planner.period.lacks_key_frame |= video.writer.repeats_key_frame();
        Ok(())
    }

    /// Ends the segments of stalled video along with those of audio, which ended one at `at`.
    pub(super) fn advance_stalled_video(&mut self, at: Timestamp) -> Result<(), Error> {
        let stalled = self.planner.period.newest_video.is_none_or(|video| video + VIDEO_LATE < at);
        match self.video.as_mut().filter(|input| stalled && input.writer.is_active()) {
            Some(input) => input.writer.cross_all(&self.planner.boundaries, &mut self.out)?,
            None => return Ok(()),
        }
        self.skip_to_newest(|input| !input.writer.is_audio())
    }
}
