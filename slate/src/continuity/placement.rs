//! Places audio that drives the timeline, because there is no video or none arrives.

use media::{TimeDelta, Timestamp};

use super::resync::{OutputPosition, Placement};
use super::{Continuity, MAX_AUDIO_LAG, VIDEO_TIMEOUT, clock};

impl<F: Clone> Continuity<F> {
    /// Whether audio chooses the timestamp offset, and video has to follow.
    pub(super) fn audio_drives(&self, now: TimeDelta) -> bool {
        !self.config.video || self.video_arrival.is_absent(now)
    }

    /// Whether audio track `n` is the first one that is active. Of several tracks it chooses the offset for all.
    pub(super) fn is_driving_track(&self, n: usize, now: TimeDelta) -> bool {
        !self.audio_tracks.iter().take(n).any(|track| track.arrival.is_active(now))
    }

    /// Returns the contribution's timestamp of the oldest queued audio.
    pub(super) fn oldest_queued_audio(&self) -> Option<Timestamp> {
        self.audio_tracks.iter().filter_map(|track| track.buffer.oldest()).min()
    }

    pub(super) fn furthest_audio(&self) -> Option<Timestamp> {
        self.audio_tracks.iter().map(|track| track.buffer.position()).max()
    }

    /// Places audio that drives the timeline. Returns whether it has a place, or may still get one.
    pub(super) fn place_driving_audio(&mut self, n: usize, pts: Timestamp, length: TimeDelta, now: TimeDelta) -> bool {
        let oldest = self.oldest_queued_audio();
        let (Some(track), Some(next)) = (self.audio_tracks.get(n), self.furthest_audio()) else { return false };
        let Some(timeline) = &mut self.timeline else { return false };
        let mut first = pts;
        if self.config.video && self.resync.offset().is_none() {
            // The first video frame of a contribution takes longer to arrive than its first audio.
            if now - *self.unplaced_since.get_or_insert(now) < VIDEO_TIMEOUT {
                return true;
            }
            first = oldest.unwrap_or(pts);
        }
        let (clock, oldest) = (timeline.clock.at(now), track.buffer.position() - length);
        let placement =
            self.resync.place(first, OutputPosition { oldest, next, clock, now, max_pause: length.times(2) });
        self.stats.resyncs += u64::from(matches!(placement, Placement::Resynced(_)));
        match placement {
            Placement::At(at) | Placement::Resynced(at) => {
                if !self.config.video {
                    timeline.clock.follow_media();
                    timeline.clock.correct_drift(at + length, now);
                }
                true
            }
            Placement::Late(lateness) => {
                if lateness <= VIDEO_TIMEOUT - clock::CLOCK_MARGIN {
                    if let Some(track) = self.audio_tracks.get_mut(n) {
                        track.last_usable = now;
                    }
                    if !self.config.video {
                        timeline.clock.follow_media();
                    }
                }
                false
            }
            Placement::Early => {
                self.audio_tracks.iter_mut().for_each(|track| track.buffer.clear());
                false
            }
        }
    }

    /// Notes the arrival of audio that ends at `end` of the contribution. The output then waits for more before it inserts
    /// silence, unless the audio is too late to be presented.
    pub(super) fn note_audio(&mut self, n: usize, end: Timestamp, now: TimeDelta) {
        let Some(offset) = self.resync.offset() else {
            self.unplaced_since.get_or_insert(now);
            return;
        };
        let Some(track) = self.audio_tracks.get_mut(n) else { return };
        let lag = track.buffer.position() - (end + offset);
        if lag < TimeDelta::ZERO || (lag <= MAX_AUDIO_LAG && !self.resync.is_late()) {
            track.last_usable = now;
        }
    }
}
