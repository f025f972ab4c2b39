//! One audio track of the output: its queued samples, and how they arrive.

use media::{TimeDelta, Timestamp};

use super::Config;
use super::arrival::AudioArrival;
use super::audio_buffer::AudioBuffer;

#[derive(Debug)]
pub(super) struct AudioTrack {
    pub(super) buffer: AudioBuffer,
    pub(super) arrival: AudioArrival,
    /// Arrival time of the newest audio that can still be presented.
    pub(super) last_usable: TimeDelta,
}

impl AudioTrack {
    pub(super) fn new(config: &Config) -> Self {
        let buffer = AudioBuffer::new(config.sample_rate, config.channels);
        Self { buffer, arrival: AudioArrival::default(), last_usable: TimeDelta::ZERO }
    }

    /// Starts the track at `origin` of the output.
    pub(super) fn begin(&mut self, origin: Timestamp, now: TimeDelta) {
        self.buffer.begin(origin);
        self.last_usable = now;
    }

    /// Discards the queued audio of a contribution that has ended, see [`AudioBuffer::clear`].
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.arrival = AudioArrival::default();
    }

    /// Whether audio counts as present: some arrived within `min_timeout`, or within [`AudioArrival::gap_timeout`].
    pub(super) fn is_present(&self, now: TimeDelta, min_timeout: TimeDelta) -> bool {
        now - self.last_usable < self.arrival.gap_timeout().max(min_timeout)
    }

    /// Whether the output no longer waits for audio: none arrived within [`AudioArrival::gap_timeout`].
    pub(super) fn is_absent(&self, now: TimeDelta) -> bool {
        now - self.last_usable >= self.arrival.gap_timeout()
    }
}
