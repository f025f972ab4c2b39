//! How long a frame will last, before the next one tells.

use media::Timescale;

/// Frame distances remembered; an odd number has a middle.
const REMEMBERED: usize = 15;

/// A running median of the distances between frames, in ticks.
#[derive(Clone, Debug)]
pub(in crate::packager) struct FrameDuration {
    deltas: [i64; REMEMBERED],
    len: usize,
    next: usize,
    value: i64,
    last: Option<i64>,
}

impl FrameDuration {
    /// Starts with a guess.
    pub(in crate::packager) fn new(guess: i64) -> Self {
        Self { deltas: [0; REMEMBERED], len: 0, next: 0, value: guess.max(1), last: None }
    }

    /// Takes the decode time of the next frame.
    pub(in crate::packager) fn frame(&mut self, dts: i64) {
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

    /// The timeline broke: the next distance means nothing.
    pub(in crate::packager) fn restart(&mut self) {
        self.last = None;
    }

    /// The rate of the frames remembered, in frames per thousand seconds; `None` where they are not evenly apart.
    pub(in crate::packager) fn steady(&self, scale: Timescale) -> Option<u32> {
        let even = |delta: &i64| (delta - self.value).abs() * 4 <= self.value;
        let steady = self.len == REMEMBERED && self.deltas.iter().all(even);
        let sum = self.deltas.iter().sum::<i64>().max(1);
        let millihertz = REMEMBERED as i64 * 1_000 * i64::from(scale.ticks_per_second()) / sum;
        u32::try_from(millihertz).ok().filter(|_| steady)
    }

    /// How long a frame lasts, most likely.
    pub(in crate::packager) fn value(&self) -> i64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_gap_changes_nothing() {
        let mut estimate = FrameDuration::new(4_000);
        assert_eq!(estimate.value(), 4_000);
        let mut dts = 0;
        for delta in [0, 2_970, 3_060, 90_000, 2_970, 3_060, 0, 2_970, 2_970] {
            dts += delta;
            estimate.frame(dts);
        }
        assert_eq!(estimate.value(), 2_970);
    }
}
