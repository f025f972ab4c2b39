//! Estimates how long a frame lasts before the next one arrives.

use media::Timescale;

/// Number of frame distances that are remembered. An odd number has a middle.
const REMEMBERED: usize = 15;

/// Running median of the distances between frames, in ticks.
#[derive(Clone, Debug)]
pub(super) struct FrameDuration {
    deltas: [i64; REMEMBERED],
    len: usize,
    next: usize,
    value: i64,
    last: Option<i64>,
}

impl FrameDuration {
    /// Starts with a guess.
    pub(super) fn new(guess: i64) -> Self {
        Self { deltas: [0; REMEMBERED], len: 0, next: 0, value: guess.max(1), last: None }
    }

    /// Takes the decode time of the next frame.
    pub(super) fn frame(&mut self, dts: i64) {
        let Some(delta) = self.last.replace(dts).map(|last| dts.saturating_sub(last)).filter(|d| *d > 0) else {
            return;
        };
        if let Some(slot) = self.deltas.get_mut(self.next) {
            *slot = delta;
        }
        self.next = (self.next + 1) % REMEMBERED;
        self.len = (self.len + 1).min(REMEMBERED);
        let mut sorted = self.deltas;
        if let Some(known) = sorted.get_mut(..self.len).filter(|known| known.len() > 2) {
            known.sort_unstable();
            self.value = known.get(known.len() / 2).copied().unwrap_or(delta);
        }
    }

    /// Ignores the next distance, because the timeline has a discontinuity.
    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    /// Returns the rate of the remembered frames, in frames per thousand seconds; `None` if they are not evenly apart.
    pub(super) fn steady_rate(&self, scale: Timescale) -> Option<u32> {
        let is_even = |delta: &i64| (delta - self.value).abs() * 4 <= self.value;
        let is_steady = self.len == REMEMBERED && self.deltas.iter().all(is_even);
        let sum = self.deltas.iter().sum::<i64>().max(1);
        let millihertz = REMEMBERED as i64 * 1_000 * i64::from(scale.ticks_per_second()) / sum;
        u32::try_from(millihertz).ok().filter(|_| is_steady)
    }

    /// Returns the most likely duration of a frame.
    pub(super) fn value(&self) -> i64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_gap_changes_nothing() {
        let mut duration = FrameDuration::new(4_000);
        assert_eq!(duration.value(), 4_000);
        let mut dts = 0;
        for delta in [0, 2_970, 3_060, 90_000, 2_970, 3_060, 0, 2_970, 2_970] {
            dts += delta;
            duration.frame(dts);
        }
        assert_eq!(duration.value(), 2_970);
    }
}
