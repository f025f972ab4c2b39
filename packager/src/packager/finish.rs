//! The end of a broadcast: each rendition ends with its own last frame, and no gap follows that a player would wait for.

use media::{TimeDelta, Timestamp};

use super::rendition::RenditionWriter;
use super::{Packager, Phase};
use crate::Error;
use crate::log::Event;

/// Renditions whose ends are further apart do not end together: one of them had stopped before.
const APART: TimeDelta = TimeDelta::from_millis(500);

impl Packager {
    /// Publishes what is left of the open parts; true if parts are offered. [`Packager::end`] is to follow a moment later,
    /// because hls.js 1.7 never asks for a part that it learns of together with the end of the playlist, and then waits for
    /// it. No frame may come in between.
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

    /// The broadcast is over.
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

    /// Closes the last segment of each rendition. One that has come as far as the others gets no segment that it has no
    /// frame for: a gap would follow its last frame.
    fn close_all(&mut self) -> Result<(), Error> {
        let filled = self.writers().filter(|writer| writer.is_active() && writer.has_content());
        let end = filled.map(|writer| writer.to_presentation_time(writer.end())).max();
        let near =
            |writer: &RenditionWriter| end.is_some_and(|end| end - writer.to_presentation_time(writer.end()) < APART);
        self.skip_to_newest(|input| !(input.writer.is_audio() && near(&input.writer)))?;
        for input in self.video.iter_mut().chain(&mut self.dependents).filter(|input| input.writer.is_active()) {
            let writer = &mut input.writer;
            match end {
                _ if writer.has_content() && !writer.repeats_key_frame() => {
                    writer.end_segment(writer.end(), true, &mut self.out)?
                }
                Some(end) if writer.repeats_key_frame() || !near(writer) => {
                    writer.end_segment(writer.to_decode_time(end), true, &mut self.out)?;
                }
                _ => {}
            }
            writer.leave_period(&mut self.out);
        }
        Ok(())
    }

    /// Leaves out the last frames that nobody has seen where half of the part they are in would be beyond the end of the
    /// other kind: hls.js and others take a stream for whole when they have picture and sound of the middle of each last part.
    fn even_out(&mut self) {
        let audio =
            self.dependents.iter().map(|input| &input.writer).filter(|writer| writer.is_audio() && writer.is_active());
        let Some(heard) = audio.map(RenditionWriter::end).max() else { return };
        let Some(video) = self.video.as_mut().map(|input| &mut input.writer).filter(|writer| writer.is_active()) else {
            return;
        };
        let seen = |writer: &RenditionWriter| writer.to_presentation_time(writer.end());
        let near = |one: Timestamp, other: Timestamp| (one - other).abs() < APART;
        if !near(heard, seen(video)) {
            return;
        }
        video.drop_frames_beyond(heard);
        let seen = seen(video);
        let audio_inputs = self
            .dependents
            .iter_mut()
            .map(|input| &mut input.writer)
            .filter(|writer| writer.is_audio() && writer.is_active());
        audio_inputs.filter(|writer| near(writer.end(), seen)).for_each(|writer| writer.drop_frames_beyond(seen));
    }
}
