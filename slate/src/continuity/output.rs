//! What leaves when: the ticks of the pictures, the blocks of the sound, and what each of them shows.

use media::{TimeDelta, Timestamp};

use super::{Continuity, Current, MOST_BEHIND, Output, PATIENCE, SOUND_LASTS, Show};

impl<P: Clone> Continuity<P> {
    /// When to poll next if no media comes; `None` before the first media.
    pub fn wake_at(&self) -> Option<TimeDelta> {
        let line = self.line.as_ref()?;
        if !self.config.picture {
            return Some(line.clock.due(self.sound.block_end()));
        }
        let next = line.ticks.at(line.tick);
        let silence = (self.sound.block_end() <= next).then_some(self.heard + self.bursts.patience());
        silence.into_iter().chain([line.clock.due(next)]).min()
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
        Some(Output::Picture { pts, show: self.show(pts, known) })
    }

    /// What the tick at `pts` shows; `known` tells that no picture of its time is still to come.
    fn show(&mut self, pts: Timestamp, known: bool) -> Show<P> {
        let sound_is_there = self.rejoin.shift().is_some() && self.now - self.heard < self.bursts.patience().max(SOUND_LASTS);
        let Some(current) = &mut self.current else {
            self.counts.slate += 1;
            return Show::Slate;
        };
        let age = pts - current.at;
        let first = !std::mem::replace(&mut current.shown, true);
        if first || (known && age < PATIENCE) {
            self.counts.live += 1;
            return Show::Live(current.picture.clone());
        }
        if !self.config.slate || sound_is_there || age < self.pace.hold() {
            self.counts.held += 1;
            return Show::Held(current.picture.clone());
        }
        // The picture is let go: a decoder has not many of them.
        self.current = None;
        self.counts.slate += 1;
        Show::Slate
    }

    /// The next block of sound, if it is known or the `clock` does without it.
    pub(super) fn next_sound(&mut self, clock: Option<TimeDelta>) -> Option<Output<P>> {
        let line = self.line.as_mut()?;
        let (shift, end) = (self.rejoin.shift(), self.sound.block_end());
        let known = shift.is_some_and(|shift| self.sound.knows_block(shift));
        let leaves = if self.config.picture {
            let room = line.ticks.at(line.tick) - end;
            let away = clock.is_some_and(|now| now - self.heard >= self.bursts.patience() || room > MOST_BEHIND);
            room >= TimeDelta::ZERO && (known || away)
        } else {
            known || clock.is_some_and(|now| line.clock.passes(end, now))
        };
        if !leaves {
            return None;
        }
        let block = self.sound.block(shift);
        self.counts.silent_samples += block.silent;
        self.counts.late_samples += block.late;
        Some(Output::Sound { pts: block.pts, samples: block.samples })
    }
}
