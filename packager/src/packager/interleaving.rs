//! Measures how audio and video interleave as they arrive, to tell a video stall from audio that merely runs ahead.

use media::{TimeDelta, Timestamp};

/// Longest time that audio waits for video. Audio that arrived for this long without a video frame in between means in
/// any case that video stalls; audio then goes on, this far behind its arrival.
const AUDIO_HOLD: TimeDelta = TimeDelta::from_secs(2);
/// Shortest [`Interleaving::audio_wait`] of a broadcast with parts, because players of parts have little buffered.
const AUDIO_HOLD_WITH_PARTS: TimeDelta = TimeDelta::from_millis(500);
/// Tolerance for audio that arrives further ahead of the video than it did before.
const AHEAD_TOLERANCE: TimeDelta = TimeDelta::from_millis(50);
/// Longest time for which the last video frame is extended: no encoder that is still running sends frames much less
/// often. Afterwards video counts as lost, and needs a key frame to return.
const MAX_EXTENSION: TimeDelta = TimeDelta::from_secs(3);

/// Arrival order of the audio and the reference video of one period.
#[derive(Debug, Default)]
pub(super) struct Interleaving {
    /// PTS of the newest audio that arrived.
    newest_audio: Option<Timestamp>,
    /// Value of [`Self::newest_audio`] when the newest video frame arrived, or that frame's DTS if it is later.
    audio_at_last_video: Option<Timestamp>,
    /// DTS of the newest video frame that arrived.
    last_video_dts: Option<Timestamp>,
    /// Most audio that arrived between two video frames.
    max_audio_step: TimeDelta,
    /// Furthest that audio was ahead of the video when a video frame arrived.
    audio_ahead: TimeDelta,
}

impl Interleaving {
    /// Records the arrival of an audio frame.
    pub(super) fn note_audio(&mut self, pts: Timestamp) {
        self.newest_audio = self.newest_audio.max(Some(pts));
    }

    /// Records the arrival of a video frame.
    pub(super) fn note_video(&mut self, dts: Timestamp) {
        let step = self.last_video_dts.replace(dts).map(|last| dts - last);
        if let Some((since, step)) = self.since_video().zip(step.filter(|step| *step > TimeDelta::ZERO)) {
            self.audio_ahead = self.audio_ahead.max((since - step).min(AUDIO_HOLD));
        }
        let step = self.since_video().filter(|since| *since <= AUDIO_HOLD);
        self.max_audio_step = step.max(Some(self.max_audio_step)).unwrap_or_default();
        self.audio_at_last_video = self.newest_audio.max(Some(dts));
    }

    /// Duration of the audio that arrived since the newest video frame.
    fn since_video(&self) -> Option<TimeDelta> {
        self.newest_audio.zip(self.audio_at_last_video).map(|(newest, then)| newest - then)
    }

    /// Returns how long audio waits for video: twice as long as it had to before. With parts the least is shorter, because
    /// players of parts would run dry if audio waited longer.
    pub(super) fn audio_wait(&self, with_parts: bool) -> TimeDelta {
        let least = if with_parts { AUDIO_HOLD_WITH_PARTS } else { AUDIO_HOLD };
        self.max_audio_step.times(2).clamp(least, AUDIO_HOLD)
    }

    /// Returns true if more audio than [`Self::audio_wait`] arrived since the newest video frame, so that no more video
    /// is to be expected. Audio that is merely dated ahead of the video does not count, because the two arrive side by
    /// side.
    pub(super) fn video_stalls(&self, with_parts: bool) -> bool {
        self.since_video().is_some_and(|since| since > self.audio_wait(with_parts))
    }

    /// Estimates the current time on the video's decode timeline while no frame arrives after the one at `newest_video`:
    /// the progress of the audio, less the most that it may be ahead.
    pub(super) fn video_time(&self, newest_video: Option<Timestamp>) -> Option<Timestamp> {
        let since = self.since_video()? - self.audio_ahead - AHEAD_TOLERANCE;
        newest_video.filter(|_| since > TimeDelta::ZERO).map(|video| video + since)
    }

    /// Returns true if the last video frame may be extended until the next one arrives: the pause is short, and audio
    /// does not arrive in bunches, which would say nothing about the time.
    pub(super) fn allows_extension(&self) -> bool {
        let steady = self.audio_ahead + AHEAD_TOLERANCE <= AUDIO_HOLD_WITH_PARTS;
        steady && self.since_video().is_some_and(|since| since <= MAX_EXTENSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::ZERO + TimeDelta::from_millis(ms)
    }

    #[test]
    fn audio_far_ahead_of_the_video_is_no_stall() {
        let mut interleaving = Interleaving::default();
        for ms in (0..10_000).step_by(40) {
            interleaving.note_audio(at(ms + 5_000));
            interleaving.note_video(at(ms));
            assert!(!interleaving.video_stalls(true), "at {ms} ms");
        }
    }

    #[test]
    fn audio_without_video_is_a_stall_after_the_wait() {
        for (with_parts, wait) in [(true, 500), (false, 2_000)] {
            let mut stopped = Interleaving::default();
            for ms in (0..=1_000).step_by(20) {
                stopped.note_audio(at(ms));
                stopped.note_video(at(ms));
            }
            assert_eq!(stopped.audio_wait(with_parts), TimeDelta::from_millis(wait));
            stopped.note_audio(at(1_000 + wait));
            assert!(!stopped.video_stalls(with_parts));
            stopped.note_audio(at(1_001 + wait));
            assert!(stopped.video_stalls(with_parts));
        }
    }
}
