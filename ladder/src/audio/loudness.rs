//! Brings audio to a wanted loudness while it runs (EBU R128). The recent loudness is measured, a slow gain follows it,
//! and a [`Limiter`] prevents clipping.

use std::collections::VecDeque;

use ebur128::{EbuR128, Mode};
use media::{TimeDelta, Timescale};

use crate::audio::limiter::Limiter;
use crate::error::Error;
use crate::input::decoder::{CHANNELS, SAMPLE_RATE};

/// Moments from one reading of the meter to the next, 100 ms, as R128 has it.
const READING: usize = SAMPLE_RATE as usize / 10;
const READINGS_PER_SECOND: f64 = 10.0;
/// Readings that count, half a minute. Older ones are discarded.
const MAX_READINGS: usize = 300;
/// Loudness of a pause, in LUFS. Readings up to it do not count, and the gain does not move.
const PAUSE: f64 = -50.0;
/// R128's relative gate, in LU: readings that are quieter than the mean by more do not count.
const RELATIVE_GATE: f64 = 10.0;
/// Largest gain in both directions, in dB.
const MAX_GAIN: f64 = 20.0;
/// Speed of the gain, in dB per second: slowly up, faster down, and fastest at the start of a broadcast.
const UP: f64 = 1.0;
const DOWN: f64 = 3.0;
const FIRST: f64 = 10.0;
/// Readings that the start lasts, pauses not counted.
const FIRST_READINGS: u32 = 30;
/// Highest true peak, in dB of full scale. R128 allows -1, and AAC adds a little.
const CEILING: f64 = -2.0;

/// Normalizer of one audio output.
pub(crate) struct LoudnessNormalizer {
    target: f64,
    meter: EbuR128,
    /// Moments since the last reading.
    since: usize,
    /// Energies of the readings that were not pauses, the newest last.
    measured: VecDeque<f64>,
    readings: u32,
    /// The gain, and the gain that it moves to, in dB.
    gain: f64,
    target_gain: f64,
    limiter: Limiter,
}

impl LoudnessNormalizer {
    /// Returns the delay from input to output, that of the [`Limiter`].
    pub(crate) fn delay() -> TimeDelta {
        Timescale::new(SAMPLE_RATE).delta(i64::try_from(Limiter::DELAY).unwrap_or(0))
    }

    /// Returns a normalizer to `target` LUFS.
    pub(crate) fn new(target: f64) -> Result<Self, Error> {
        let meter = EbuR128::new(CHANNELS, SAMPLE_RATE, Mode::M).map_err(|error| Error::Loudness(error.to_string()))?;
        let limiter = Limiter::new(amplitude(CEILING));
        Ok(Self {
            target,
            meter,
            since: 0,
            measured: VecDeque::new(),
            readings: 0,
            gain: 0.0,
            target_gain: 0.0,
            limiter,
        })
    }

    /// Takes interleaved samples of two channels, and replaces them by those that are due.
    pub(crate) fn process(&mut self, samples: &mut [f32]) {
        for block in samples.chunks_mut(READING * CHANNELS as usize) {
            let before = amplitude(self.gain);
            self.measure(block);
            let (moments, _) = block.as_chunks_mut::<2>();
            let step = (amplitude(self.gain) - before) / moments.len().max(1) as f32;
            let mut gain = before;
            for moment in moments {
                gain += step;
                *moment = self.limiter.next(moment.map(|sample| sample * gain));
            }
        }
    }

    /// Returns the last samples, which [`LoudnessNormalizer::process`] still holds back.
    pub(crate) fn finish(&mut self) -> Vec<f32> {
        let mut last = vec![0.0; Limiter::DELAY * CHANNELS as usize];
        self.process(&mut last);
        last
    }

    fn measure(&mut self, block: &[f32]) {
        // Refused only for incomplete moments, which do not occur.
        let _measured = self.meter.add_frames_f32(block);
        self.since += block.len() / CHANNELS as usize;
        if self.since < READING {
            return;
        }
        self.since -= READING;
        let loudness = self.meter.loudness_momentary().unwrap_or(f64::NEG_INFINITY);
        if loudness > PAUSE {
            self.adjust(loudness);
        }
    }

    /// Moves the gain, after a reading that was not a pause.
    fn adjust(&mut self, loudness: f64) {
        self.readings = self.readings.saturating_add(1);
        if self.measured.len() == MAX_READINGS {
            self.measured.pop_front();
        }
        self.measured.push_back(energy(loudness));
        self.target_gain = (self.target - self.loudness()).clamp(-MAX_GAIN, MAX_GAIN);
        let first = self.readings <= FIRST_READINGS;
        let (up, down) = if first { (FIRST, FIRST) } else { (UP, DOWN) };
        self.gain += (self.target_gain - self.gain).clamp(-down / READINGS_PER_SECOND, up / READINGS_PER_SECOND);
    }

    /// Returns the recent loudness.
    fn loudness(&self) -> f64 {
        let mean = |energies: &mut dyn Iterator<Item = f64>| {
            let (count, sum) = energies.fold((0.0, 0.0), |(count, sum), energy| (count + 1.0, sum + energy));
            sum / count
        };
        let gate = mean(&mut self.measured.iter().copied()) * energy(-RELATIVE_GATE);
        10.0 * mean(&mut self.measured.iter().copied().filter(|energy| *energy >= gate)).log10()
    }
}

fn energy(decibels: f64) -> f64 {
    10.0f64.powf(decibels / 10.0)
}

fn amplitude(decibels: f64) -> f32 {
    10.0f64.powf(decibels / 20.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = SAMPLE_RATE as usize;
    const TARGET: f64 = -24.0;

    /// A tone of 997 Hz, whose loudness in LUFS is its level in dB of full scale.
    fn tone(seconds: usize, level: f64) -> Vec<f32> {
        let at = |n: usize| (n as f64 * 997.0 / RATE as f64 * std::f64::consts::TAU).sin() as f32 * amplitude(level);
        (0..seconds * RATE).flat_map(|n| [at(n); 2]).collect()
    }

    /// White noise, by a generator of our own so that each run is the same.
    fn noise(seconds: usize, level: f64) -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0) as f32 * amplitude(level)
        };
        (0..seconds * RATE * 2).map(|_| next()).collect()
    }

    fn loudness(samples: &[f32]) -> (f64, f64) {
        let mut meter = EbuR128::new(CHANNELS, SAMPLE_RATE, Mode::I | Mode::TRUE_PEAK).unwrap();
        meter.add_frames_f32(samples).unwrap();
        let peak = meter.true_peak(0).unwrap().max(meter.true_peak(1).unwrap());
        (meter.loudness_global().unwrap(), 20.0 * peak.log10())
    }

    /// Normalizes samples in blocks like those of a programme.
    fn level(mut samples: Vec<f32>) -> Vec<f32> {
        let mut normalizer = LoudnessNormalizer::new(TARGET).unwrap();
        samples.chunks_mut(1_024 * 2).for_each(|block| normalizer.process(block));
        samples
    }

    #[test]
    fn quiet_and_loud_audio_reach_the_target() {
        for samples in [tone(20, -40.0), tone(20, -5.0), noise(20, -36.0), noise(20, -6.0), tone(20, -24.0)] {
            let before = loudness(&samples).0;
            let (after, peak) = loudness(&level(samples)[5 * RATE * 2..]);
            assert!((after - TARGET).abs() < 0.5, "{before} LUFS became {after}");
            assert!(peak <= -1.0, "{peak} dBTP");
        }
    }

    #[test]
    fn silence_and_hiss_are_unchanged() {
        assert!(level(vec![0.0; 5 * RATE * 2]).iter().all(|sample| *sample == 0.0));
        let hiss = noise(10, -60.0);
        let (before, after) = (loudness(&hiss).0, loudness(&level(hiss)).0);
        assert!((before - after).abs() < 0.2, "{before} LUFS became {after}");
    }

    #[test]
    fn pause_does_not_move_the_gain() {
        let samples = [tone(10, -30.0), vec![0.0; 20 * RATE * 2], tone(10, -30.0)].concat();
        let out = level(samples);
        let (before, after) = (loudness(&out[5 * RATE * 2..10 * RATE * 2]).0, loudness(&out[31 * RATE * 2..]).0);
        assert!((before - after).abs() < 0.2, "{before} LUFS, and {after} after the pause");
    }

    #[test]
    fn sudden_loudness_is_reduced_slowly_and_never_clipped() {
        let out = level([tone(20, -40.0), tone(30, -3.0)].concat());
        let at = |from: usize, to: usize| loudness(&out[from * RATE * 2..to * RATE * 2]);
        assert!(at(20, 21).1 <= -1.0, "{:?}", at(20, 21));
        assert!(at(20, 21).0 > TARGET + 10.0, "{:?}", at(20, 21));
        assert!((at(45, 50).0 - TARGET).abs() < 1.0, "{:?}", at(45, 50));
    }

    #[test]
    fn delay_is_constant() {
        let mut samples = vec![0.0; RATE * 2];
        samples[2 * 1_000] = 0.1;
        let out = level(samples);
        let found = out.chunks(2).position(|moment| moment[0] > 0.05).unwrap();
        assert_eq!(Timescale::new(SAMPLE_RATE).delta(found as i64 - 1_000), LoudnessNormalizer::delay());
        let mut normalizer = LoudnessNormalizer::new(TARGET).unwrap();
        let mut first = vec![0.1; 2 * Limiter::DELAY];
        normalizer.process(&mut first);
        assert_eq!((first[0], normalizer.finish()), (0.0, vec![0.1; 2 * Limiter::DELAY]));
    }
}
