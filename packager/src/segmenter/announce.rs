//! Tracks are announced and changed, and frames find the rendition that they belong to.

use media::{Kind, Track, TrackId};

use super::feed::Feed;
use super::lane::Lane;
use super::{Expected, Packager, Phase, Slot, sound};
use crate::Error;
use crate::log::RenditionId;

impl Packager {
    pub(super) fn add_video(&mut self, track: Track) -> Result<(), Error> {
        let waiting = matches!(self.phase, Phase::Waiting(_));
        let running = matches!(self.phase, Phase::Running);
        self.expected = Expected::default();
        let Some(feed) = self.video.as_mut() else {
            self.video = Some(self.new_feed(RenditionId::VIDEO, track)?);
            self.reconsider_audio_only();
            return Ok(());
        };
        if feed.lane.describes(&track) || waiting || !feed.lane.active() && running {
            feed.next = None;
            return feed.lane.change(track);
        }
        self.freeze_early()?;
        if let Some(feed) = self.video.as_mut() {
            feed.next = Some(track);
        }
        Ok(())
    }

    pub(super) fn add_sound(&mut self, track: Track) -> Result<(), Error> {
        let waiting = matches!(self.phase, Phase::Waiting(_));
        let running = matches!(self.phase, Phase::Running);
        let Some(n) = sound::place_for(&self.followers, &track) else {
            let sounds = self.followers.iter().filter(|feed| feed.lane.is_sound()).count();
            if let Some(id) = RenditionId::audio(sounds) {
                self.followers.push(self.new_feed(id, track)?);
            }
            return Ok(());
        };
        let Some(sound) = self.followers.get_mut(n) else { return Ok(()) };
        sound.bound = true;
        // Sound may be announced when pictures of its contribution are out already: nothing of it is.
        let away = !sound.lane.active() || !sound.lane.begun() && sound.held.is_empty();
        if sound.lane.describes(&track) || waiting || away && running {
            sound.next = None;
            return sound.lane.change(track);
        }
        self.freeze_early()?;
        self.commit_held(n, |_, _| true)?;
        if let Some(sound) = self.followers.get_mut(n) {
            sound.next = Some(track);
        }
        Ok(())
    }

    pub(super) fn new_feed(&self, id: RenditionId, track: Track) -> Result<Feed, Error> {
        let mut lane = Lane::new(id, track)?;
        lane.set_parts(self.parts);
        Ok(Feed::new(lane))
    }

    pub(super) fn slot_of(&self, track: TrackId) -> Option<Slot> {
        if self.video.as_ref().is_some_and(|video| video.track().id == track) {
            return Some(Slot::Video);
        }
        let with = |bound| {
            let mut feeds = self.followers.iter().enumerate();
            feeds.find(|(_, feed)| feed.bound == bound && !feed.is_shed() && feed.track().id == track)
        };
        with(true).or_else(|| with(false)).map(|(n, feed)| feed.slot(n))
    }

    /// Video that is announced while audio gathers alone gets its chance to lead.
    pub(super) fn reconsider_audio_only(&mut self) {
        if self.run.leader == Kind::Audio
            && let Phase::Gathering(units) = &mut self.phase
        {
            let units = std::mem::take(units);
            units.into_iter().for_each(|(slot, unit)| self.hold(slot, unit));
            self.phase = Phase::Waiting(None);
        }
    }
}
