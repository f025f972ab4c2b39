//! One of the sounds of the output: what of it waits, and how it comes.

use media::{TimeDelta, Timestamp};

use super::Config;
use super::pace::Bursts;
use super::sound::Sound;

#[derive(Debug)]
pub(super) struct Voice {
    pub(super) sound: Sound,
    pub(super) bursts: Bursts,
    /// When sound came that was not done without.
    pub(super) heard: TimeDelta,
}

impl Voice {
    pub(super) fn new(config: &Config) -> Self {
        let sound = Sound::new(config.sample_rate, config.channels);
        Self { sound, bursts: Bursts::default(), heard: TimeDelta::ZERO }
    }

    /// The output begins at `origin`.
    pub(super) fn begin(&mut self, origin: Timestamp, now: TimeDelta) {
        self.sound.begin(origin);
        self.heard = now;
    }

    /// The contribution has left: what of it is not out is forgotten.
    pub(super) fn leave(&mut self) {
        self.sound.forget();
        self.bursts = Bursts::default();
    }

    /// Whether it is to be heard just now.
    pub(super) fn is_there(&self, now: TimeDelta, least: TimeDelta) -> bool {
        now - self.heard < self.bursts.gap_timeout().max(least)
    }

    /// Whether it is not waited for any longer.
    pub(super) fn is_away(&self, now: TimeDelta) -> bool {
        now - self.heard >= self.bursts.gap_timeout()
    }
}
