//! The sounds of a programme, each brought to the wanted loudness and encoded at one or more rates.

use media::{Language, Timestamp, TrackId};

use crate::audio::encoder::{SoundEncoder, Tier};
use crate::audio::loudness::Leveller;
use crate::error::Error;
use crate::ladder::{Ladder, Output, Settings};
use crate::pipeline::Notify;
use crate::plan::{Level, MAX_AUDIO_TRACKS};
use crate::video::encoder::Encoded;

/// All sounds of a programme; there is at least one.
pub(crate) struct Voices {
    voices: Vec<Voice>,
    /// Bits a second of each encoding of a sound.
    rates: &'static [u32],
    loudness: Option<f64>,
    notify: Notify,
    /// All that there were at the start have announced their tracks.
    announced: bool,
}

struct Voice {
    language: Option<Language>,
    leveller: Option<Leveller>,
    /// The best first.
    tiers: Vec<SoundEncoder>,
}

impl Voices {
    /// Sounds in these languages, or a single one in none.
    pub(crate) fn start(languages: &[Option<Language>], settings: &Settings, notify: &Notify) -> Result<Self, Error> {
        let languages = if languages.is_empty() { &[None] } else { languages };
        let rates = rates(settings.level, languages.len());
        let (loudness, notify) = (settings.loudness, notify.clone());
        let mut voices = Self { voices: Vec::new(), rates, loudness, notify, announced: false };
        for language in languages {
            voices.add(*language)?;
        }
        Ok(voices)
    }

    /// One more sound; false where there is no room for it.
    pub(crate) fn add(&mut self, language: Option<Language>) -> Result<bool, Error> {
        let n = self.voices.len();
        if (n + 1) * self.rates.len() > MAX_AUDIO_TRACKS {
            return Ok(false);
        }
        let encoder = |(tier, bitrate): (u8, &u32)| {
            let id = track(n, tier);
            SoundEncoder::start(Tier { id, tier, bitrate: *bitrate, language }, self.notify.clone())
        };
        let tiers = (0..).zip(self.rates).map(encoder).collect::<Result<_, _>>()?;
        let leveller = self.loudness.map(Leveller::new).transpose()?;
        self.voices.push(Voice { language, leveller, tiers });
        Ok(true)
    }

    pub(crate) fn count(&self) -> usize {
        self.voices.len()
    }

    pub(crate) fn languages(&self) -> impl Iterator<Item = Option<Language>> {
        self.voices.iter().map(|voice| voice.language)
    }

    /// Encodes the next samples of sound `n`.
    pub(crate) fn encode(&mut self, n: usize, mut pts: Timestamp, mut samples: Vec<f32>) -> Result<(), Error> {
        let Some(voice) = self.voices.get_mut(n) else { return Ok(()) };
        if let Some(leveller) = &mut voice.leveller {
            leveller.process(&mut samples);
            pts = pts - Leveller::delay();
        }
        voice.tiers.iter_mut().try_for_each(|tier| tier.push(pts, &samples))
    }

    /// Puts what is encoded into `out`. The tracks are announced in their order, the best encodings of all sounds first:
    /// that is what players call them by.
    pub(crate) fn collect(&mut self, out: &mut Vec<Output>) -> Result<(), Error> {
        let mut encoded = Vec::new();
        let mut announced = true;
        for tier in 0..self.rates.len() {
            for sound in self.voices.iter_mut().filter_map(|voice| voice.tiers.get_mut(tier)) {
                if announced || self.announced {
                    sound.pull(&mut encoded)?;
                    announced &= sound.is_announced();
                }
                if let Some(error) = sound.fault() {
                    return Err(error);
                }
            }
        }
        self.announced |= announced;
        out.extend(encoded.into_iter().map(|encoded| match encoded {
            Encoded::Track(track) => Output::Audio(track),
            Encoded::Frame(frame) => Output::Frame(frame),
        }));
        Ok(())
    }

    /// Nothing follows: what is held back comes out.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        for voice in &mut self.voices {
            if let Some(last) = voice.leveller.as_mut().map(Leveller::finish) {
                voice.tiers.iter_mut().try_for_each(|tier| tier.append(&last))?;
            }
            voice.tiers.iter().for_each(SoundEncoder::end);
        }
        Ok(())
    }

    /// Whether all came out after [`Self::finish`], and was pulled.
    pub(crate) fn is_ended(&self) -> bool {
        self.voices.iter().flat_map(|voice| &voice.tiers).all(SoundEncoder::is_ended)
    }
}

/// Bits a second of each encoding of so many sounds: where there are too many for all rates each has the best only.
fn rates(level: Level, sounds: usize) -> &'static [u32] {
    let rates = level.sounds();
    if sounds * rates.len() > MAX_AUDIO_TRACKS { rates.get(..1).unwrap_or(rates) } else { rates }
}

/// The number of the track of an encoding.
fn track(sound: usize, tier: u8) -> TrackId {
    let n = u32::try_from(usize::from(tier) * MAX_AUDIO_TRACKS + sound).unwrap_or(u32::MAX);
    TrackId(Ladder::AUDIO.0.saturating_add(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_a_number_and_all_fit() {
        for level in [Level::Plus, Level::Premium] {
            for sounds in 1..=MAX_AUDIO_TRACKS {
                let rates = rates(level, sounds);
                assert!(!rates.is_empty() && rates.len() * sounds <= MAX_AUDIO_TRACKS);
            }
        }
        assert_eq!([4, 5].map(|sounds| rates(Level::Premium, sounds).len()), [2, 1]);
        assert_eq!([track(0, 0), track(1, 0), track(0, 1)].map(|id| id.0), [64, 65, 72]);
    }
}
