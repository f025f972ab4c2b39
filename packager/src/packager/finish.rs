//! The end of a period and of a broadcast. At the end of a broadcast each rendition ends with its own last
//! frame, because a player would wait for a gap after it.

use media::{TimeDelta, Timestamp};

use super::dates::MIN_APART;
use super::rendition::RenditionWriter;
use super::{Packager, Phase};
use crate::Error;
use crate::log::Event;

/// Renditions whose ends are further apart do not end together: one of them had stopped before.
const APART: TimeDelta = TimeDelta::from_millis(500);

impl Packager {
    /// Publishes the rest of the open parts. Returns true if parts are offered; [`Packager::end`] should then follow a
    /// moment later, and no frame may come in between.
    ///
    /// hls.js 1.7 never requests a part that it learns of together with the end of the playlist, and then waits for it.
    pub fn last_parts(&mut self) -> Result<bool, Error> {
        self.freeze_targets_early()?;
        if self.parts.is_none() || !matches!(self.phase, Phase::Running) {
            return Ok(false);
        }
        self.write_all_queued()?;
        self.even_out();
        for input in self.video.iter_mut().chain(&mut self.dependents).filter(|input| input.writer.is_active()) {
            input.writer.flush(&mut self.out)?;
        }
        Ok(true)
    }

    /// Ends the broadcast.
    pub fn end(&mut self) -> Result<(), Error> {
        if matches!(self.phase, Phase::Ended) {
            return Ok(());
        }
        self.freeze_targets_early()?;
        if matches!(self.phase, Phase::Running) {
            self.write_all_queued()?;
            self.close_all()?;
        }
        self.phase = Phase::Ended;
        self.out.events.push_back(Event::End);
        Ok(())
    }

    /// Ends the period: every rendition closes its segments, all with the same sequence number.
    pub(super) fn end_period(&mut self) -> Result<(), Error> {
        self.write_all_queued()?;
        self.skip_to_newest(|_| true)?;
        let end = self.content_end();
        if let Some(end) = end {
            self.wall_end = self.date_of(end);
            self.wall_floor = self.date_of(self.planner.boundaries.newest_start() + MIN_APART);
        }
        for input in self.video.iter_mut().chain(&mut self.dependents).filter(|input| input.writer.is_active()) {
            let writer = &mut input.writer;
            if let Some(end) = end {
                let has_own_end = writer.has_content() && !writer.repeats_key_frame();
                let at = if has_own_end { writer.end() } else { writer.to_decode_time(end) };
                writer.end_segment(at, true, &mut self.out)?;
            }
            writer.leave_period(&mut self.out);
        }
        self.next_msn = self.planner.boundaries.newest_msn() + u64::from(end.is_some());
        for input in self.inputs_mut() {
            // The rendition goes on at a frame at which decoding may start.
            input.must_rejoin = true;
            if let Some(track) = input.next_track.take() {
                input.writer.change_track(track)?;
            }
        }
        Ok(())
    }

    /// Closes the last segment of each rendition. A rendition that has come as far as the others gets no segment without a
    /// frame of its own, because that would be a gap after its last frame.
    fn close_all(&mut self) -> Result<(), Error> {
        let end = self.content_end();
        let is_near = |writer: &RenditionWriter| end.is_some_and(|end| end - writer.presentation_end() < APART);
        self.skip_to_newest(|input| !(input.writer.is_audio() && is_near(&input.writer)))?;
        for input in self.video.iter_mut().chain(&mut self.dependents).filter(|input| input.writer.is_active()) {
            let writer = &mut input.writer;
            match end {
                _ if writer.has_content() && !writer.repeats_key_frame() => {
                    writer.end_segment(writer.end(), true, &mut self.out)?;
                }
                Some(end) if writer.repeats_key_frame() || !is_near(writer) => {
                    writer.end_segment(writer.to_decode_time(end), true, &mut self.out)?;
                }
                _ => {}
            }
            writer.leave_period(&mut self.out);
        }
        Ok(())
    }

    /// Returns the presentation time at which the last of the open segments ends; `None` if all are empty.
    fn content_end(&self) -> Option<Timestamp> {
        self.active_writers().filter(|writer| writer.has_content()).map(RenditionWriter::presentation_end).max()
    }

    /// Drops the last unpublished frames of a rendition if the middle of their part would be after the end of the other
    /// kind of track. hls.js and other players take a stream as complete once they have audio and video at the middle of
    /// each last part.
    fn even_out(&mut self) {
        let audio = self.active_writers().filter(|writer| writer.is_audio());
        let Some(audio_end) = audio.map(RenditionWriter::end).max() else { return };
        let Some(video) = self.video.as_mut().map(|input| &mut input.writer).filter(|writer| writer.is_active()) else {
            return;
        };
        let are_near = |one: Timestamp, other: Timestamp| (one - other).abs() < APART;
        if !are_near(audio_end, video.presentation_end()) {
            return;
        }
        video.drop_frames_beyond(audio_end);
        let video_end = video.presentation_end();
        let writers = self.dependents.iter_mut().map(|input| &mut input.writer);
        let audio = writers.filter(|writer| writer.is_audio() && writer.is_active());
        for writer in audio.filter(|writer| are_near(writer.end(), video_end)) {
            writer.drop_frames_beyond(video_end);
        }
    }
}
