//! Decides when queued frames of dependent renditions are written: once the reference rendition has reached their time.
//! Audio waits for stalled video only for a limited time.

use media::{Frame, Kind, TimeDelta, Timestamp, WallTime};

use super::boundary_planner::Boundary;
use super::rendition::{MAX_QUEUED_FRAMES, RenditionInput, RenditionWriter};
use super::{Packager, Phase, Slot};
use crate::Error;

/// Furthest that a dependent rendition may lag before it gets a gap. Where a codec has coded silence, missing audio has
/// been replaced by it before the frames come here.
const MAX_LATE: TimeDelta = TimeDelta::from_secs(6);
/// Longest forward step of the timestamps within a period. A longer one begins another period, with a discontinuity.
const MAX_JUMP: TimeDelta = TimeDelta::from_secs(30);
/// Most by which a timestamp may be early because the encoder's clock counts in milliseconds.
const CLOCK_JITTER: TimeDelta = TimeDelta::from_millis(2);

impl Packager {
    /// Takes a frame inside a period, and writes all frames that may be written after it.
    pub(super) fn process(&mut self, slot: Slot, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        let end = self.active_writers().map(RenditionWriter::end).max();
        let jumps = end.is_some_and(|end| frame.dts - end > MAX_JUMP);
        // A dependent video rendition may jump before the reference does; its frames then wait in the queue.
        if jumps && !matches!(slot, Slot::DependentVideo(_)) {
            self.end_period()?;
            self.phase = Phase::WAITING;
            return self.wait_for_start(slot, frame, arrival);
        }
        self.note_received(slot, &frame);
        match slot {
            Slot::Video => self.process_video(frame)?,
            Slot::Audio(_) | Slot::DependentVideo(_) => self.queue(slot, frame),
        }
        // Video may have begun a segment.
        self.date_newest();
        self.extend_video()?;
        self.drain_ready()?;
        // Audio may have begun another one.
        self.date_newest();
        self.repeat_video_key_frame()?;
        let slowest = self.active_writers().map(RenditionWriter::msn).min();
        self.planner.boundaries.forget_before(slowest.unwrap_or(0));
        Ok(())
    }

    /// Records the arrival of a frame, for the planning of boundaries and the detection of video stalls.
    pub(super) fn note_received(&mut self, slot: Slot, frame: &Frame) {
        match slot {
            Slot::Audio(_) => {
                self.interleaving.note_audio(frame.pts);
                self.planner.note_audio(frame.pts);
            }
            Slot::Video => self.interleaving.note_video(frame.dts),
            Slot::DependentVideo(_) => {}
        }
    }

    /// Queues a frame of a dependent rendition until the reference rendition has come as far.
    pub(super) fn queue(&mut self, slot: Slot, frame: Frame) {
        if let Slot::Audio(n) | Slot::DependentVideo(n) = slot
            && let Some(input) = self.dependents.get_mut(n)
        {
            input.queue(frame);
        }
    }

    /// Writes the queued frames that the reference rendition has reached, and audio that has waited for it too long or
    /// that fills its queue.
    fn drain_ready(&mut self) -> Result<(), Error> {
        let audio = self.dependents.iter().filter(|input| input.writer.is_audio());
        let newest = audio.filter_map(|input| input.queued.back()).map(|frame| frame.pts).max();
        for n in 0..self.dependents.len() {
            self.apply_boundaries(n)?;
            while let Some(input) = self.dependents.get(n)
                && let Some(front) = input.queued.front()
            {
                let is_ready = if input.writer.is_audio() {
                    let is_full = input.queued.len() >= MAX_QUEUED_FRAMES;
                    is_full || self.may_release_audio(front, input.writer.frame_duration(), newest)
                } else {
                    self.planner.has_reached(front)
                };
                let ready = self.dependents.get_mut(n).filter(|_| is_ready);
                let Some(frame) = ready.and_then(|input| input.queued.pop_front()) else { break };
                self.write(n, frame)?;
            }
        }
        Ok(())
    }

    /// Returns true if the audio frame `frame`, of duration `lasts`, need not wait for the reference video any longer:
    /// video has reached it, has stalled for too long, or does not decide the boundaries. `newest` is the PTS of the
    /// newest queued audio.
    ///
    /// If the next video frame is due before the audio frame ends, audio waits for that video frame too: it may begin a
    /// segment, and thereby decides whether the audio segment gets another part.
    fn may_release_audio(&self, frame: &Frame, lasts: TimeDelta, newest: Option<Timestamp>) -> bool {
        let advanced_to = self.reference().and_then(RenditionWriter::advanced_to);
        let end = frame.pts + lasts;
        let next = |video| self.reference().map_or(end, |writer| video + writer.frame_duration() - CLOCK_JITTER);
        let newest_video = self.planner.period.newest_video;
        let is_reached = advanced_to.is_some_and(|at| at > frame.pts)
            || newest_video.is_some_and(|video| video >= frame.pts && next(video) >= end);
        let wait = self.interleaving.audio_wait(self.parts.is_some());
        let is_overdue = || self.video_stalls() && newest.is_some_and(|newest| newest - frame.pts > wait);
        self.planner.period.reference_kind != Kind::Video || is_reached || is_overdue()
    }

    fn write(&mut self, n: usize, frame: Frame) -> Result<(), Error> {
        let is_audio = self.dependents.get(n).is_some_and(|input| input.writer.is_audio());
        if is_audio { self.write_audio(n, frame) } else { self.write_dependent_video(n, frame) }
    }

    /// Writes the queued frames of a dependent rendition, whether the reference has reached them or not, up to the
    /// first one that `may_write` rejects. The first argument of `may_write` is true for audio.
    pub(super) fn write_queued(&mut self, n: usize, may_write: impl Fn(bool, &Frame) -> bool) -> Result<(), Error> {
        while let Some(input) = self.dependents.get_mut(n)
            && let Some(frame) = input.queued.pop_front_if(|frame| may_write(input.writer.is_audio(), frame))
        {
            self.write(n, frame)?;
        }
        Ok(())
    }

    /// Writes all queued frames, because the reference rendition goes no further.
    pub(super) fn write_all_queued(&mut self) -> Result<(), Error> {
        // No more of a dependent video rendition is presented than of the reference.
        let end = self.reference().filter(|writer| writer.is_active()).map(RenditionWriter::presentation_end);
        for n in 0..self.dependents.len() {
            self.write_queued(n, |is_audio, frame| is_audio || end.is_some_and(|end| frame.pts < end))?;
        }
        match self.video.as_mut().filter(|input| input.writer.is_active()) {
            Some(input) => input.writer.cross_all(&self.planner.boundaries, &mut self.out),
            None => Ok(()),
        }
    }

    /// Ends with gaps the segments that dependent renditions have not completed [`MAX_LATE`] after their end, so that
    /// media sequence numbers keep up with those of the other renditions, which have reached `newest`. Dropped
    /// renditions get their gaps at once.
    pub(super) fn fill_overdue(&mut self, newest: Timestamp) -> Result<(), Error> {
        for input in self.dependents.iter_mut().filter(|input| input.writer.is_active()) {
            let is_dropped = input.is_dropped();
            let is_overdue = |boundary: &Boundary| is_dropped || boundary.at + MAX_LATE <= newest;
            while let Some(boundary) = self.planner.boundaries.end_of(input.writer.msn()).filter(is_overdue) {
                input.skip(boundary, &mut self.out)?;
            }
            if is_dropped {
                input.writer.fill_gap_parts(newest, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Ends, in the dependent renditions that `which` selects, every segment before the newest one, with gaps where
    /// frames are missing.
    pub(super) fn skip_to_newest(&mut self, which: impl Fn(&RenditionInput) -> bool) -> Result<(), Error> {
        for input in self.dependents.iter_mut().filter(|input| input.writer.is_active() && which(input)) {
            while let Some(boundary) = self.planner.boundaries.end_of(input.writer.msn()) {
                input.skip(boundary, &mut self.out)?;
            }
        }
        Ok(())
    }
}
