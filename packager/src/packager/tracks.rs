//! Tracks are announced and changed, and frames find the rendition that they belong to.

use media::{Kind, Track, TrackId};

use super::rendition::{RenditionInput, RenditionWriter};
use super::{ExpectedVideo, Packager, Phase, Slot, audio};
use crate::Error;
use crate::log::RenditionId;

impl Packager {
    pub(super) fn add_video(&mut self, track: Track) -> Result<(), Error> {
        let waiting = matches!(self.phase, Phase::Waiting(_));
        let running = matches!(self.phase, Phase::Running);
        self.expected = ExpectedVideo::default();
        let Some(input) = self.video.as_mut() else {
            self.video = Some(self.new_input(RenditionId::VIDEO, track)?);
            self.reconsider_audio_only();
            return Ok(());
        };
        if input.writer.has_same_header(&track) || waiting || !input.writer.is_active() && running {
            input.next_track = None;
            return input.writer.change_track(track);
        }
        self.freeze_targets_early()?;
        if let Some(input) = self.video.as_mut() {
            input.next_track = Some(track);
        }
        Ok(())
    }

    pub(super) fn add_audio(&mut self, track: Track) -> Result<(), Error> {
        let waiting = matches!(self.phase, Phase::Waiting(_));
        let running = matches!(self.phase, Phase::Running);
        let Some(n) = audio::input_for(&self.dependents, &track) else {
            let audio_inputs = self.dependents.iter().filter(|input| input.writer.is_audio()).count();
            if let Some(id) = RenditionId::audio(audio_inputs) {
                self.dependents.push(self.new_input(id, track)?);
            }
            return Ok(());
        };
        let Some(audio) = self.dependents.get_mut(n) else { return Ok(()) };
        audio.bound = true;
        // Sound may be announced when pictures of its contribution are out already: nothing of it is.
        let must_rejoin = !audio.writer.is_active() || !audio.writer.has_begun() && audio.queued.is_empty();
        if audio.writer.has_same_header(&track) || waiting || must_rejoin && running {
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
        Ok(RenditionInput::new(writer))
    }

    pub(super) fn slot_of(&self, track: TrackId) -> Option<Slot> {
        if self.video.as_ref().is_some_and(|video| video.track().id == track) {
            return Some(Slot::Video);
        }
        let with = |bound| {
            let mut inputs = self.dependents.iter().enumerate();
            inputs.find(|(_, input)| input.bound == bound && !input.is_shed() && input.track().id == track)
        };
        with(true).or_else(|| with(false)).map(|(n, input)| input.slot(n))
    }

    /// Video that is announced while audio gathers alone gets its chance to lead.
    pub(super) fn reconsider_audio_only(&mut self) {
        if self.period.reference_kind == Kind::Audio
            && let Phase::Gathering(frames) = &mut self.phase
        {
            let frames = std::mem::take(frames);
            frames.into_iter().for_each(|(slot, frame)| self.queue(slot, frame));
            self.phase = Phase::Waiting(None);
        }
    }
}
