//! Tracks are announced and changed, and frames are assigned to renditions.

use media::{Kind, Track, TrackId};

use super::rendition::{RenditionInput, RenditionWriter};
use super::{ExpectedVideo, Packager, Phase, Slot, audio};
use crate::Error;
use crate::log::RenditionId;

impl Packager {
    /// Announces the reference video, or changes its track.
    pub(super) fn add_video(&mut self, track: Track) -> Result<(), Error> {
        let is_waiting = matches!(self.phase, Phase::Waiting { .. });
        let is_running = matches!(self.phase, Phase::Running);
        self.expected_video = ExpectedVideo::default();
        let Some(video) = self.video.as_mut() else {
            self.video = Some(self.new_input(RenditionId::VIDEO, track)?);
            self.reconsider_audio_only();
            return Ok(());
        };
        if video.writer.has_same_header(&track) || is_waiting || !video.writer.is_active() && is_running {
            video.next_track = None;
            return video.writer.change_track(track);
        }
        self.freeze_targets_early()?;
        if let Some(video) = self.video.as_mut() {
            video.next_track = Some(track);
        }
        Ok(())
    }

    /// Announces an audio track, or changes the one of a rendition; see [`audio::input_for`].
    pub(super) fn add_audio(&mut self, track: Track) -> Result<(), Error> {
        let is_waiting = matches!(self.phase, Phase::Waiting { .. });
        let is_running = matches!(self.phase, Phase::Running);
        let Some(n) = audio::input_for(&self.dependents, &track) else {
            let count = self.dependents.iter().filter(|input| input.writer.is_audio()).count();
            if let Some(id) = RenditionId::audio(count) {
                self.dependents.push(self.new_input(id, track)?);
            }
            return Ok(());
        };
        let Some(audio) = self.dependents.get_mut(n) else { return Ok(()) };
        audio.is_assigned = true;
        // Audio may be announced when video of its contribution is published already, but no frame of the audio is.
        let is_absent = !audio.writer.is_active() || !audio.writer.has_begun() && audio.queued.is_empty();
        if audio.writer.has_same_header(&track) || is_waiting || is_absent && is_running {
            audio.next_track = None;
            return audio.writer.change_track(track);
        }
        self.freeze_targets_early()?;
        self.write_queued(n, |_, _| true)?;
        if let Some(audio) = self.dependents.get_mut(n) {
            audio.next_track = Some(track);
        }
        Ok(())
    }

    pub(super) fn new_input(&self, id: RenditionId, track: Track) -> Result<RenditionInput, Error> {
        let mut writer = RenditionWriter::new(id, track)?;
        writer.set_parts(self.parts);
        writer.continue_inits(self.resume_point.init_count(id));
        Ok(RenditionInput::new(writer))
    }

    /// Returns the rendition that takes the frames of `track`; `None` for an unknown track and for a dropped rendition.
    pub(super) fn slot_of(&self, track: TrackId) -> Option<Slot> {
        if self.video.as_ref().is_some_and(|video| video.track().id == track) {
            return Some(Slot::Video);
        }
        let find = |is_assigned| {
            let mut inputs = self.dependents.iter().enumerate().filter(|(_, input)| !input.is_dropped());
            inputs.find(|(_, input)| input.is_assigned == is_assigned && input.track().id == track)
        };
        find(true).or_else(|| find(false)).map(|(n, input)| input.slot(n))
    }

    /// Returns to [`Phase::Waiting`] if audio gathers alone, so that video that is announced now can become the
    /// reference.
    pub(super) fn reconsider_audio_only(&mut self) {
        if self.planner.period.reference_kind == Kind::Audio
            && let Phase::Gathering(frames) = &mut self.phase
        {
            let frames = std::mem::take(frames);
            frames.into_iter().for_each(|(slot, frame)| self.queue(slot, frame));
            self.phase = Phase::WAITING;
        }
    }
}
