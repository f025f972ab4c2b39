//! Audio outputs of a programme, each normalized to the wanted loudness and encoded at one or more bit rates.

use media::{Language, Timestamp, TrackId};

use crate::api::{Output, Settings};
use crate::audio::encoder::{AudioEncoder, AudioEncoding};
use crate::audio::loudness::LoudnessNormalizer;
use crate::error::Error;
use crate::pipeline::{EncoderOutput, Notify};
use crate::plan::{FIRST_AUDIO_TRACK, Level, MAX_AUDIO_TRACKS};

/// All audio outputs of a programme, at least one.
pub(crate) struct AudioOutputs {
    outputs: Vec<AudioOutput>,
    /// Bits per second of each encoding of an output.
    rates: &'static [u32],
    loudness: Option<f64>,
    notify: Notify,
    /// Whether all outputs that there were at the start have announced their tracks.
    announced: bool,
}

/// An output, in one language.
struct AudioOutput {
    language: Option<Language>,
    normalizer: Option<LoudnessNormalizer>,
    /// Encoders, that of the best quality first.
    encoders: Vec<AudioEncoder>,
}

impl AudioOutputs {
    /// Starts outputs in these languages, or else a single one without a language.
    pub(crate) fn start(languages: &[Option<Language>], settings: &Settings, notify: &Notify) -> Result<Self, Error> {
        let languages = if languages.is_empty() { &[None] } else { languages };
        let rates = rates(settings.level, languages.len());
        let (loudness, notify) = (settings.loudness, notify.clone());
        let mut outputs = Self { outputs: Vec::new(), rates, loudness, notify, announced: false };
        for language in languages {
            outputs.add(*language)?;
        }
        Ok(outputs)
    }

    /// Adds an output. Returns false if there is no room for it.
    pub(crate) fn add(&mut self, language: Option<Language>) -> Result<bool, Error> {
        let n = self.outputs.len();
        if (n + 1) * self.rates.len() > MAX_AUDIO_TRACKS {
            return Ok(false);
        }
        let encoder = |(tier, bitrate): (u8, &u32)| {
            let id = track(n, tier);
            AudioEncoder::start(AudioEncoding { id, tier, bitrate: *bitrate, language }, self.notify.clone())
        };
        let encoders = (0..).zip(self.rates).map(encoder).collect::<Result<_, _>>()?;
        let normalizer = self.loudness.map(LoudnessNormalizer::new).transpose()?;
        self.outputs.push(AudioOutput { language, normalizer, encoders });
        Ok(true)
    }

    /// Returns the number of outputs.
    pub(crate) fn count(&self) -> usize {
        self.outputs.len()
    }

    /// Returns the languages of the outputs, in their order.
    pub(crate) fn languages(&self) -> impl Iterator<Item = Option<Language>> {
        self.outputs.iter().map(|output| output.language)
    }

    /// Normalizes and encodes the next samples of output `n`; see [`LoudnessNormalizer::process`].
    pub(crate) fn encode(&mut self, n: usize, mut pts: Timestamp, mut samples: Vec<f32>) -> Result<(), Error> {
        let Some(output) = self.outputs.get_mut(n) else { return Ok(()) };
        if let Some(normalizer) = &mut output.normalizer {
            normalizer.process(&mut samples);
            pts = pts - LoudnessNormalizer::delay();
        }
        output.encoders.iter_mut().try_for_each(|tier| tier.push(pts, &samples))
    }

    /// Moves what is encoded to `out`. The [`Output::Audio`] tracks are announced in their order, the best encodings of
    /// all outputs first, because players name them by it.
    pub(crate) fn collect(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        let mut encoded = Vec::new();
        let mut announced = true;
        for tier in 0..self.rates.len() {
            for encoder in self.outputs.iter_mut().filter_map(|output| output.encoders.get_mut(tier)) {
                if announced || self.announced {
                    encoder.pull(&mut encoded)?;
                    announced &= encoder.is_announced();
                }
                if let Some(error) = encoder.fault() {
                    return Err(error);
                }
            }
        }
        self.announced |= announced;
        out.extend(encoded.into_iter().map(|encoded| match encoded {
            EncoderOutput::Track(track) => Output::Audio(track),
            EncoderOutput::Frame(frame) => Output::Frame(frame),
        }));
        Ok(())
    }

    /// Ends the encoders: the samples that they hold back can be collected.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        for output in &mut self.outputs {
            if let Some(last) = output.normalizer.as_mut().map(LoudnessNormalizer::finish) {
                output.encoders.iter_mut().try_for_each(|tier| tier.append(&last))?;
            }
            output.encoders.iter().for_each(AudioEncoder::end);
        }
        Ok(())
    }

    /// Returns whether everything was collected after [`AudioOutputs::finish`].
    pub(crate) fn is_ended(&self) -> bool {
        self.outputs.iter().flat_map(|output| &output.encoders).all(AudioEncoder::is_ended)
    }
}

/// Returns the bits per second of each encoding: only the best for each output, if there are too many outputs for all.
fn rates(level: Level, tracks: usize) -> &'static [u32] {
    let rates = level.audio_bitrates();
    if tracks * rates.len() > MAX_AUDIO_TRACKS { rates.get(..1).unwrap_or(rates) } else { rates }
}

/// Returns the id of an encoding's track.
fn track(output: usize, tier: u8) -> TrackId {
    let n = u32::try_from(usize::from(tier) * MAX_AUDIO_TRACKS + output).unwrap_or(u32::MAX);
    TrackId(FIRST_AUDIO_TRACK.0.saturating_add(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_an_id_and_all_fit() {
        for level in [Level::Plus, Level::Premium] {
            for tracks in 1..=MAX_AUDIO_TRACKS {
                let rates = rates(level, tracks);
                assert!(!rates.is_empty() && rates.len() * tracks <= MAX_AUDIO_TRACKS);
            }
        }
        assert_eq!([4, 5].map(|tracks| rates(Level::Premium, tracks).len()), [2, 1]);
        assert_eq!([track(0, 0), track(1, 0), track(0, 1)].map(|id| id.0), [64, 65, 72]);
    }
}
