//! Schedule of the output: when the ticks of the video and the blocks of the audio leave, and what they present.

use media::{TimeDelta, Timestamp};

use super::api::{Output, VideoContent};
use super::{AUDIO_PRESENCE, Continuity, Current, MAX_AUDIO_LAG, VIDEO_TIMEOUT};

impl<F: Clone> Continuity<F> {
    /// Returns when to call [`Continuity::poll`] next if no media arrives; `None` before the first media.
    pub fn wake_at(&self) -> Option<TimeDelta> {
        let timeline = self.timeline.as_ref()?;
        if !self.config.video {
            return self.audio_tracks.iter().map(|track| timeline.clock.due(track.buffer.block_end())).min();
        }
        let next = timeline.ticks.at(timeline.tick);
        let waiting = self.audio_tracks.iter().filter(|track| track.buffer.block_end() <= next);
        let timeouts = waiting.map(|track| track.last_usable + track.arrival.gap_timeout());
        timeouts.chain([timeline.clock.due(next)]).min()
    }

    /// Returns the next step of the output when no media follows, to be called until it returns `None`.
    ///
    /// Presents all queued media. The last block of each audio track is filled up with silence, and so are tracks that end
    /// before the longest one.
    pub fn drain(&mut self) -> Option<Output<F>> {
        self.poll_known().or_else(|| self.next_final_block())
    }

    /// Returns the frame of the next tick, if it is known, or if it is overdue by the `clock`.
    pub(super) fn next_frame(&mut self, clock: Option<TimeDelta>) -> Option<Output<F>> {
        let timeline = self.timeline.as_mut()?;
        let (pts, tolerance) = (timeline.ticks.at(timeline.tick), timeline.ticks.tolerance());
        while let Some((at, frame)) = self.upcoming.pop_front_if(|(at, _)| *at <= pts + tolerance) {
            self.current = Some(Current { at, frame, presented: false });
        }
        let on_time = self.current.as_ref().is_some_and(|current| current.at >= pts - tolerance);
        let known = on_time || !self.upcoming.is_empty();
        if !known && !clock.is_some_and(|now| timeline.clock.expires(pts, now)) {
            return None;
        }
        timeline.tick += 1;
        Some(Output::Video { pts, content: self.content_at(pts, known) })
    }

    /// Chooses the content of the tick at `pts`. If it is `known`, no frame for this tick can still arrive.
    fn content_at(&mut self, pts: Timestamp, known: bool) -> VideoContent<F> {
        let audio_is_present = self.resync.offset().is_some()
            && self.audio_tracks.iter().any(|track| track.is_present(self.now, AUDIO_PRESENCE));
        let Some(current) = &mut self.current else {
            self.stats.slate += 1;
            return VideoContent::Slate;
        };
        let age = pts - current.at;
        let first = !std::mem::replace(&mut current.presented, true);
        if first || (known && age < VIDEO_TIMEOUT) {
            self.stats.live += 1;
            return VideoContent::Live(current.frame.clone());
        }
        if !self.config.slate || audio_is_present || age < self.video_arrival.max_repeat() {
            self.stats.repeated += 1;
            return VideoContent::Repeated(current.frame.clone());
        }
        // Releases the frame, because a decoder has only a few of them.
        self.current = None;
        self.stats.slate += 1;
        VideoContent::Slate
    }

    /// Returns the next audio block, if it is known, or if it is overdue by the `clock`. Of several tracks, the one that has
    /// come least far is first.
    pub(super) fn next_block(&mut self, clock: Option<TimeDelta>) -> Option<Output<F>> {
        let mut earliest = None;
        for n in 0..self.audio_tracks.len() {
            let position = self.audio_tracks.get(n)?.buffer.position();
            if earliest.is_none_or(|(_, earlier)| position < earlier) && self.is_block_ready(n, clock) {
                earliest = Some((n, position));
            }
        }
        earliest.and_then(|(n, _)| self.block(n, self.resync.offset()))
    }

    /// Whether the next block of audio track `n` is known, or overdue by the `clock`.
    fn is_block_ready(&mut self, n: usize, clock: Option<TimeDelta>) -> bool {
        let (Some(timeline), Some(track)) = (&mut self.timeline, self.audio_tracks.get(n)) else { return false };
        let (offset, end) = (self.resync.offset(), track.buffer.block_end());
        let known = offset.is_some_and(|offset| track.buffer.has_block(offset));
        if self.config.video {
            let lag = timeline.ticks.at(timeline.tick) - end;
            let overdue = clock.is_some_and(|now| track.is_absent(now) || lag > MAX_AUDIO_LAG);
            lag >= TimeDelta::ZERO && (known || overdue)
        } else {
            known || clock.is_some_and(|now| timeline.clock.expires(end, now))
        }
    }

    /// Returns the next audio block when no media follows, known or not, but no further than the video has come.
    fn next_final_block(&mut self) -> Option<Output<F>> {
        let timeline = self.timeline.as_ref()?;
        let offset = self.resync.offset()?;
        let furthest = self.furthest_audio()?;
        let n = self.audio_tracks.iter().position(|track| {
            let position = track.buffer.position();
            let before_video = !self.config.video || position < timeline.ticks.at(timeline.tick);
            before_video && (track.buffer.queued() > 0 || position < furthest)
        })?;
        self.block(n, Some(offset))
    }

    fn block(&mut self, n: usize, offset: Option<TimeDelta>) -> Option<Output<F>> {
        let block = self.audio_tracks.get_mut(n)?.buffer.block(offset);
        self.stats.silent_samples += block.silent;
        self.stats.late_samples += block.late;
        Some(Output::Audio { track: n, pts: block.pts, samples: block.samples })
    }
}

#[cfg(test)]
mod tests {
    use media::{FrameRate, Timescale};

    use super::super::Config;
    use super::*;

    fn drained(video: bool) -> (usize, usize) {
        let config = Config {
            frame_rate: FrameRate::new(25, 1),
            sample_rate: 48_000,
            channels: 1,
            audio_tracks: 2,
            video,
            slate: true,
        };
        let mut continuity = Continuity::new(config);
        for n in 0..10 {
            let now = TimeDelta::from_millis(40 * n);
            continuity.push_audio(1, Timescale::new(48_000).timestamp(1_920 * n), vec![0.5; 1_920], now);
            continuity.push_video(Timescale::new(25).timestamp(n), n, now);
        }
        let all: Vec<_> = std::iter::from_fn(|| continuity.drain()).collect();
        let frames =
            all.iter().filter(|step| matches!(step, Output::Video { content: VideoContent::Live(_), .. })).count();
        let audible = all.iter().filter_map(|step| match step {
            Output::Audio { samples, .. } => Some(samples.iter().filter(|sample| **sample > 0.4).count()),
            Output::Video { .. } => None,
        });
        assert_eq!(continuity.stats().repeated + continuity.stats().slate, 0);
        (frames, audible.sum())
    }

    #[test]
    fn draining_presents_all_queued_media_and_no_more() {
        let (frames, audible) = drained(true);
        assert_eq!(frames, 10);
        // The first 5 ms fade in from silence.
        assert!(audible >= 19_200 - 240, "{audible}");
        let (frames, audible) = drained(false);
        assert_eq!(frames, 0);
        assert!(audible >= 19_200 - 240, "{audible}");
    }
}
