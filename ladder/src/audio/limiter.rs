//! Keeps the true peaks of audio under a ceiling, with a gain that never jumps.

use std::collections::VecDeque;
use std::f64::consts::PI;

use crate::input::decoder::SAMPLE_RATE;

/// Samples of all channels at one moment.
pub(crate) type Moment = [f32; 2];

/// Moments over which the gain falls before a peak, 5 ms.
const LOOK_AHEAD: usize = SAMPLE_RATE as usize / 200;
/// Part of the missing gain that returns with each moment: most of it within a quarter of a second.
const RELEASE: f32 = 1.0 / (0.1 * SAMPLE_RATE as f32);
/// Places at which peaks are looked for, for each sample: at the sample and between it and the next (ITU-R BS.1770-4,
/// annex 2).
const PHASES: usize = 4;
/// Samples that a value between two samples is interpolated from.
const TAPS: usize = 12;

/// Limiter with look-ahead: each moment comes out [`Limiter::DELAY`] moments later.
#[derive(Debug)]
pub(crate) struct Limiter {
    ceiling: f32,
    /// Weights of the samples for each phase but the first, which is a sample itself.
    between: [[f32; TAPS]; PHASES - 1],
    /// Newest samples of each channel, the newest last.
    recent: [[f32; TAPS]; 2],
    waiting: VecDeque<Moment>,
    /// Smallest gains that the moments within [`LOOK_AHEAD`] need: number of the moment and gain, rising.
    smallest: VecDeque<(u64, f32)>,
    count: u64,
    released: f32,
    /// Last gains, and their sum. Their mean is the gain that is applied.
    gains: VecDeque<f32>,
    sum: f64,
}

impl Limiter {
    /// Moments from input to output.
    pub(crate) const DELAY: usize = LOOK_AHEAD - 1 + TAPS / 2;

    /// Returns a limiter to `ceiling`, with 1.0 as full scale.
    pub(crate) fn new(ceiling: f32) -> Self {
        Self {
            ceiling,
            between: std::array::from_fn(|phase| weights(phase + 1)),
            recent: [[0.0; TAPS]; 2],
            waiting: VecDeque::from(vec![[0.0; 2]; Self::DELAY]),
            smallest: VecDeque::with_capacity(LOOK_AHEAD),
            count: 0,
            released: 1.0,
            gains: VecDeque::from(vec![1.0; LOOK_AHEAD]),
            sum: LOOK_AHEAD as f64,
        }
    }

    /// Takes the next moment. Returns the one that is due.
    pub(crate) fn next(&mut self, moment: Moment) -> Moment {
        let peak = self.peak(moment);
        let wanted = if peak > self.ceiling { self.ceiling / peak } else { 1.0 };
        let gain = self.smooth(wanted);
        self.waiting.push_back(moment);
        let due = self.waiting.pop_front().unwrap_or_default();
        due.map(|sample| sample * gain)
    }

    /// Returns the highest peak at the moment in the middle of the newest ones, or right after it.
    fn peak(&mut self, moment: Moment) -> f32 {
        let mut peak = 0.0f32;
        for (recent, sample) in self.recent.iter_mut().zip(moment) {
            recent.copy_within(1.., 0);
            recent[TAPS - 1] = sample;
            peak = peak.max(recent[TAPS / 2 - 1].abs());
            for weights in &self.between {
                let between: f32 = recent.iter().zip(weights).map(|(sample, weight)| sample * weight).sum();
                peak = peak.max(between.abs());
            }
        }
        peak
    }

    /// Returns the mean of the smallest gains. The mean reaches its lowest value with the peak, after it fell for the
    /// time of the look-ahead.
    fn smooth(&mut self, wanted: f32) -> f32 {
        while self.smallest.pop_back_if(|(_, gain)| *gain >= wanted).is_some() {}
        self.smallest.push_back((self.count, wanted));
        let past = |(count, _): &mut (u64, f32)| *count + LOOK_AHEAD as u64 <= self.count;
        while self.smallest.pop_front_if(past).is_some() {}
        self.count += 1;
        let least = self.smallest.front().map_or(1.0, |(_, gain)| *gain);
        self.released = least.min(self.released + (least - self.released) * RELEASE);
        self.gains.push_back(self.released);
        let old = self.gains.pop_front().unwrap_or(1.0);
        self.sum += f64::from(self.released) - f64::from(old);
        // A sum of gains up to one, in a type with more than twice their digits: rounding errors do not add up.
        (self.sum / LOOK_AHEAD as f64) as f32
    }
}

/// Returns the weights of the samples around a place between two of them, `phase` parts of [`PHASES`] after the first.
fn weights(phase: usize) -> [f32; TAPS] {
    let half = TAPS as f64 / 2.0;
    let at = |tap: usize| tap as f64 - (half - 1.0) - phase as f64 / PHASES as f64;
    let weight = |distance: f64| {
        let sinc = if distance == 0.0 { 1.0 } else { (PI * distance).sin() / (PI * distance) };
        sinc * (PI * distance / (2.0 * half)).cos().powi(2)
    };
    let all: [f64; TAPS] = std::array::from_fn(|tap| weight(at(tap)));
    let sum: f64 = all.iter().sum();
    all.map(|weight| (weight / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(limiter: &mut Limiter, moments: impl Iterator<Item = Moment>) -> Vec<Moment> {
        let mut out: Vec<_> = moments.map(|moment| limiter.next(moment)).collect();
        out.extend((0..Limiter::DELAY).map(|_| limiter.next([0.0; 2])));
        out.split_off(Limiter::DELAY)
    }

    #[test]
    fn quiet_audio_is_unchanged() {
        let moments: Vec<Moment> = (0..5_000).map(|n| [(n as f32 * 0.05).sin() * 0.4, n as f32 / 20_000.0]).collect();
        assert_eq!(run(&mut Limiter::new(0.8), moments.iter().copied()), moments);
    }

    #[test]
    fn peaks_stay_under_the_ceiling_and_the_gain_returns() {
        // A quarter of the sample rate at 45 degrees: the samples are 3 dB under the true peak.
        let loud = |n: usize| (5_000..9_000).contains(&n) || n == 20_000;
        let tone = |n: usize| (PI * (n as f64 / 2.0 + 0.25)).sin() as f32;
        let moments = (0..60_000).map(|n| [tone(n) * if loud(n) { 1.3 } else { 0.3 }, 0.1]);
        let out = run(&mut Limiter::new(0.8), moments);
        let peak = |range: std::ops::Range<usize>| out[range].iter().fold(0.0f32, |peak, m| peak.max(m[0].abs()));
        let sample = 0.5f32.sqrt();
        assert!(peak(0..60_000) <= 0.8, "{}", peak(0..60_000));
        assert!(peak(6_000..8_500) <= 0.8 * sample * 1.03 && peak(6_000..8_500) > 0.7 * sample);
        assert!(peak(19_990..20_010) > 0.5, "{}", peak(19_990..20_010));
        assert!((peak(50_000..60_000) - 0.3 * sample).abs() < 0.003);
        let steps = out.windows(2).map(|two| (two[1][1] - two[0][1]).abs());
        assert!(steps.fold(0.0, f32::max) < 0.001, "the gain does not jump");
    }
}
