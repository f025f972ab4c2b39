//! What leaves when: the ticks of the pictures, the blocks of the sound, and what each of them shows.

use media::{TimeDelta, Timestamp};

use super::{Continuity, Current, MAX_BEHIND, Output, SOUND_LASTS, VIDEO_TIMEOUT, VideoContent};

impl<P: Clone> Continuity<P> {
    /// When to poll next if no media comes; `None` before the first media.
    pub fn wake_at(&self) -> Option<TimeDelta> {
        let line = self.line.as_ref()?;
        if !self.config.picture {
            return self.voices.iter().map(|voice| line.clock.due(voice.sound.block_end())).min();
        }
        let next = line.ticks.at(line.tick);
        let waiting = self.voices.iter().filter(|voice| voice.sound.block_end() <= next);
        let silences = waiting.map(|voice| voice.heard + voice.bursts.gap_timeout());
        silences.chain([line.clock.due(next)]).min()
    }

    /// The next step of the output when no media follows: all that came, the last block of each sound filled up with silence,
    /// and silence where another one is longer. To be asked until there is none.
    pub fn drain(&mut self) -> Option<Output<P>> {
        self.poll_known().or_else(|| self.last_sound())
    }

    /// The picture of the next tick, if it is known or the `clock` does without it.
    pub(super) fn next_picture(&mut self, clock: Option<TimeDelta>) -> Option<Output<P>> {
        let line = self.line.as_mut()?;
        let (pts, tolerance) = (line.ticks.at(line.tick), line.ticks.tolerance());
        while let Some((at, picture)) = self.coming.pop_front_if(|(at, _)| *at <= pts + tolerance) {
            self.current = Some(Current { at, picture, shown: false });
        }
        let here = self.current.as_ref().is_some_and(|current| current.at >= pts - tolerance);
        let known = here || !self.coming.is_empty();
        if !known && !clock.is_some_and(|now| line.clock.passes(pts, now)) {
            return None;
        }
        line.tick += 1;
        Some(Output::Video { pts, show: self.show(pts, known) })
    }

    /// What the tick at `pts` shows; `known` tells that no picture of its time is still to come.
    fn show(&mut self, pts: Timestamp, known: bool) -> VideoContent<P> {
        let sound_is_there =
            self.rejoin.shift().is_some() && self.voices.iter().any(|voice| voice.is_there(self.now, SOUND_LASTS));
        let Some(current) = &mut self.current else {
            self.counts.slate += 1;
            return VideoContent::Slate;
        };
        let age = pts - current.at;
        let first = !std::mem::replace(&mut current.shown, true);
        if first || (known && age < VIDEO_TIMEOUT) {
            self.counts.live += 1;
            return VideoContent::Live(current.picture.clone());
        }
        if !self.config.slate || sound_is_there || age < self.pace.hold() {
            self.counts.held += 1;
            return VideoContent::Repeated(current.picture.clone());
        }
        // The picture is let go: a decoder has not many of them.
        self.current = None;
        self.counts.slate += 1;
        VideoContent::Slate
    }

    /// The next block of sound, if it is known or the `clock` does without it: of several sounds that of the earliest.
    pub(super) fn next_sound(&mut self, clock: Option<TimeDelta>) -> Option<Output<P>> {
        let mut earliest = None;
        for n in 0..self.voices.len() {
            let position = self.voices.get(n)?.sound.position();
            if earliest.is_none_or(|(_, earlier)| position < earlier) && self.leaves(n, clock) {
                earliest = Some((n, position));
            }
        }
        earliest.and_then(|(n, _)| self.block(n, self.rejoin.shift()))
    }

    /// Whether the next block of sound `n` is known, or the `clock` does without it.
    fn leaves(&mut self, n: usize, clock: Option<TimeDelta>) -> bool {
        let (Some(line), Some(voice)) = (&mut self.line, self.voices.get(n)) else { return false };
        let (shift, end) = (self.rejoin.shift(), voice.sound.block_end());
        let known = shift.is_some_and(|shift| voice.sound.knows_block(shift));
        if self.config.picture {
            let room = line.ticks.at(line.tick) - end;
            let away = clock.is_some_and(|now| voice.is_away(now) || room > MAX_BEHIND);
            room >= TimeDelta::ZERO && (known || away)
        } else {
            known || clock.is_some_and(|now| line.clock.passes(end, now))
        }
    }

    /// The next block of a sound where there is something for it, known or not; no further than the pictures are.
    fn last_sound(&mut self) -> Option<Output<P>> {
        let line = self.line.as_ref()?;
        let shift = self.rejoin.shift()?;
        let furthest = self.furthest_sound()?;
        let n = self.voices.iter().position(|voice| {
            let position = voice.sound.position();
            let room = !self.config.picture || position < line.ticks.at(line.tick);
            room && (voice.sound.queued() > 0 || position < furthest)
        })?;
        self.block(n, Some(shift))
    }

    fn block(&mut self, n: usize, shift: Option<TimeDelta>) -> Option<Output<P>> {
        let block = self.voices.get_mut(n)?.sound.block(shift);
        self.counts.silent_samples += block.silent;
        self.counts.late_samples += block.late;
        Some(Output::Audio { sound: n, pts: block.pts, samples: block.samples })
    }
}

#[cfg(test)]
mod tests {
    use media::Timescale;

    use super::super::Config;
    use super::*;

    fn drained(picture: bool) -> (usize, usize) {
        let config = Config { fps: (25, 1), sample_rate: 48_000, channels: 1, sounds: 2, picture, slate: true };
        let mut continuity = Continuity::new(config);
        for n in 0..10 {
            let now = TimeDelta::from_millis(40 * n);
            continuity.sound(1, Timescale::new(48_000).timestamp(1_920 * n), vec![0.5; 1_920], now);
            continuity.picture(Timescale::new(25).timestamp(n), n, now);
        }
        let all: Vec<_> = std::iter::from_fn(|| continuity.drain()).collect();
        let pictures =
            all.iter().filter(|step| matches!(step, Output::Video { show: VideoContent::Live(_), .. })).count();
        let heard = all.iter().filter_map(|step| match step {
            Output::Audio { samples, .. } => Some(samples.iter().filter(|sample| **sample > 0.4).count()),
            Output::Video { .. } => None,
        });
        assert_eq!(continuity.stats().held + continuity.stats().slate, 0);
        (pictures, heard.sum())
    }

    #[test]
    fn at_the_end_all_comes_out_and_no_more() {
        let (pictures, heard) = drained(true);
        assert_eq!(pictures, 10);
        // The first 5 ms come out of silence.
        assert!(heard >= 19_200 - 240, "{heard}");
        let (pictures, heard) = drained(false);
        assert_eq!(pictures, 0);
        assert!(heard >= 19_200 - 240, "{heard}");
    }
}
