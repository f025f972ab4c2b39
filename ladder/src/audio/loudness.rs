//! Brings the sound of a programme to a wanted loudness while it runs (EBU R128): what was heard lately is measured, a
//! slow gain follows it, and a limiter keeps peaks from being clipped.

use std::collections::VecDeque;

use ebur128::{EbuR128, Mode};
use media::{TimeDelta, Timescale};

use crate::audio::limiter::Limiter;
use crate::error::Error;
use crate::input::decoder::{CHANNELS, SAMPLE_RATE};

/// Moments from one look at the meter to the next, 100 ms, as R128 has it.
const LOOK: usize = SAMPLE_RATE as usize / 10;
const LOOKS_A_SECOND: f64 = 10.0;
/// Looks that are heeded, half a minute: what was heard before does not count any more.
const MAX_LOOKS: usize = 300;
/// Sound that is quieter than this, in LUFS, is a pause: it counts for nothing, and the gain stays.
const PAUSE: f64 = -50.0;
/// What is quieter than the rest by so many LU does not count (R128's relative gate).
const RELATIVE_GATE: f64 = 10.0;
/// The gain is no more and no less than this, in dB.
const MAX_GAIN: f64 = 20.0;
/// How fast it moves, in dB a second: up slowly, down faster, and at the start of a broadcast at once.
const UP: f64 = 1.0;
const DOWN: f64 = 3.0;
const FIRST: f64 = 10.0;
/// Looks that the start lasts, pauses not counted.
const FIRST_LOOKS: u32 = 30;
/// A true peak is never higher than this, in dB of full scale: R128 allows -1, and AAC adds some of its own.
const CEILING: f64 = -2.0;

/// The sound of one programme on its way to the encoder.
pub(crate) struct Leveller {
    target: f64,
    meter: EbuR128,
    /// Moments since the last look.
    since: usize,
    /// Energies of the looks that were no pauses, the newest last.
    heard: VecDeque<f64>,
    looks: u32,
    /// In dB; what it is, and what it moves to.
    gain: f64,
    aim: f64,
    limiter: Limiter,
}

impl Leveller {
    /// By how much what comes out is behind what goes in.
    pub(crate) fn delay() -> TimeDelta {
        Timescale::new(SAMPLE_RATE).delta(i64::try_from(Limiter::DELAY).unwrap_or(0))
    }

    /// A leveller to `target` LUFS.
    pub(crate) fn new(target: f64) -> Result<Self, Error> {
        let meter = EbuR128::new(CHANNELS, SAMPLE_RATE, Mode::M).map_err(|error| Error::Loudness(error.to_string()))?;
        let limiter = Limiter::new(amplitude(CEILING));
        Ok(Self { target, meter, since: 0, heard: VecDeque::new(), looks: 0, gain: 0.0, aim: 0.0, limiter })
    }

    /// Takes interleaved samples of two channels, and puts those that are due in their place.
    pub(crate) fn process(&mut self, samples: &mut [f32]) {
        for block in samples.chunks_mut(LOOK * CHANNELS as usize) {
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

    /// The last samples, which [`Self::process`] still holds back.
    pub(crate) fn finish(&mut self) -> Vec<f32> {
        let mut last = vec![0.0; Limiter::DELAY * CHANNELS as usize];
        self.process(&mut last);
        last
    }

    fn measure(&mut self, block: &[f32]) {
        // It refuses only what is no whole moment.
        let _measured = self.meter.add_frames_f32(block);
        self.since += block.len() / CHANNELS as usize;
        if self.since < LOOK {
            return;
        }
        self.since -= LOOK;
        let loudness = self.meter.loudness_momentary().unwrap_or(f64::NEG_INFINITY);
        if loudness > PAUSE {
            self.heed(loudness);
        }
    }

    /// A look that was no pause: the gain moves.
    fn heed(&mut self, loudness: f64) {
        self.looks = self.looks.saturating_add(1);
        if self.heard.len() == MAX_LOOKS {
            self.heard.pop_front();
        }
        self.heard.push_back(energy(loudness));
        self.aim = (self.target - self.loudness()).clamp(-MAX_GAIN, MAX_GAIN);
        let first = self.looks <= FIRST_LOOKS;
        let (up, down) = if first { (FIRST, FIRST) } else { (UP, DOWN) };
        self.gain += (self.aim - self.gain).clamp(-down / LOOKS_A_SECOND, up / LOOKS_A_SECOND);
    }

    /// The loudness of what was heard lately.
    fn loudness(&self) -> f64 {
        let mean = |energies: &mut dyn Iterator<Item = f64>| {
            let (count, sum) = energies.fold((0.0, 0.0), |(count, sum), energy| (count + 1.0, sum + energy));
            sum / count
        };
        let gate = mean(&mut self.heard.iter().copied()) * energy(-RELATIVE_GATE);
        10.0 * mean(&mut self.heard.iter().copied().filter(|energy| *energy >= gate)).log10()
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

    /// So many seconds of a tone of 997 Hz, which is as loud in LUFS as its level is in dB of full scale.
    fn tone(seconds: usize, level: f64) -> Vec<f32> {
        let at = |n: usize| (n as f64 * 997.0 / RATE as f64 * std::f64::consts::TAU).sin() as f32 * amplitude(level);
        (0..seconds * RATE).flat_map(|n| [at(n); 2]).collect()
    }

    /// White noise, by a generator of our own so that a run is like the last one.
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

    /// What comes out, in blocks as the programme has them.
    fn level(mut samples: Vec<f32>) -> Vec<f32> {
        let mut leveller = Leveller::new(TARGET).unwrap();
        samples.chunks_mut(1_024 * 2).for_each(|block| leveller.process(block));
        samples
    }

    #[test]
    fn quiet_and_loud_come_out_as_wanted() {
        for samples in [tone(20, -40.0), tone(20, -5.0), noise(20, -36.0), noise(20, -6.0), tone(20, -24.0)] {
            let before = loudness(&samples).0;
            let (after, peak) = loudness(&level(samples)[5 * RATE * 2..]);
            assert!((after - TARGET).abs() < 0.5, "{before} LUFS became {after}");
            assert!(peak <= -1.0, "{peak} dBTP");
        }
    }

    #[test]
    fn silence_stays_silence_and_a_hiss_a_hiss() {
        assert!(level(vec![0.0; 5 * RATE * 2]).iter().all(|sample| *sample == 0.0));
        let hiss = noise(10, -60.0);
        let (before, after) = (loudness(&hiss).0, loudness(&level(hiss)).0);
        assert!((before - after).abs() < 0.2, "{before} LUFS became {after}");
    }

    #[test]
    fn a_pause_changes_nothing() {
        let samples = [tone(10, -30.0), vec![0.0; 20 * RATE * 2], tone(10, -30.0)].concat();
        let out = level(samples);
        let (before, after) = (loudness(&out[5 * RATE * 2..10 * RATE * 2]).0, loudness(&out[31 * RATE * 2..]).0);
        assert!((before - after).abs() < 0.2, "{before} LUFS, and {after} after the pause");
    }

    #[test]
    fn what_gets_louder_gets_slowly_quieter_and_is_never_clipped() {
        let out = level([tone(20, -40.0), tone(30, -3.0)].concat());
        let at = |from: usize, to: usize| loudness(&out[from * RATE * 2..to * RATE * 2]);
        assert!(at(20, 21).1 <= -1.0, "{:?}", at(20, 21));
        assert!(at(20, 21).0 > TARGET + 10.0, "{:?}", at(20, 21));
        assert!((at(45, 50).0 - TARGET).abs() < 1.0, "{:?}", at(45, 50));
    }

    #[test]
    fn it_keeps_time() {
        let mut samples = vec![0.0; RATE * 2];
        samples[2 * 1_000] = 0.1;
        let out = level(samples);
        let found = out.chunks(2).position(|moment| moment[0] > 0.05).unwrap();
        assert_eq!(Timescale::new(SAMPLE_RATE).delta(found as i64 - 1_000), Leveller::delay());
        let mut leveller = Leveller::new(TARGET).unwrap();
        let mut first = vec![0.1; 2 * Limiter::DELAY];
        leveller.process(&mut first);
        assert_eq!((first[0], leveller.finish()), (0.0, vec![0.1; 2 * Limiter::DELAY]));
    }
}
