//! The audio tracks of the current contribution, and the output of the programme that each of them is for.

use media::{Fault, FaultReport, Language, Track, TrackId};

use crate::input::track_decoder::{TrackDecoder, Undecoded};
use crate::pipeline::Notify;
use crate::plan::MAX_AUDIO_TRACKS;

/// Reports that wait to be taken; further ones are dropped.
const MAX_FAULTS: usize = 64;

/// Audio tracks in the order of their ids: the lowest one is the main track.
#[derive(Default)]
pub(crate) struct AudioInputs {
    inputs: Vec<AudioInput>,
    /// Frames of tracks that are gone.
    undecoded: Undecoded,
    /// Replaced decoders of tracks that are gone.
    replaced: u64,
    /// Reports to be taken, at most [`MAX_FAULTS`].
    faults: Vec<FaultReport>,
}

struct AudioInput {
    id: TrackId,
    language: Option<Language>,
    decoder: TrackDecoder,
    /// Audio output that the track is assigned to.
    output: Option<usize>,
}

impl AudioInputs {
    /// Drops all tracks, because another contribution begins.
    pub(crate) fn reset(&mut self) {
        for mut input in self.inputs.drain(..) {
            input.decoder.reset();
            self.undecoded += input.decoder.undecoded();
            self.replaced += input.decoder.replaced;
        }
    }

    /// Adds a track, or takes note of its new header. A track beyond [`MAX_AUDIO_TRACKS`] is left out.
    pub(crate) fn announce(&mut self, track: Track, notify: Notify) {
        let place = self.inputs.partition_point(|input| input.id < track.id);
        if self.inputs.get(place).is_none_or(|input| input.id != track.id) {
            if self.inputs.len() >= MAX_AUDIO_TRACKS {
                self.report_left_out(track.id, "there are too many audio tracks");
                return;
            }
            let (id, language) = (track.id, track.language);
            self.inputs.insert(place, AudioInput { id, language, decoder: TrackDecoder::default(), output: None });
        }
        if let Some(input) = self.inputs.get_mut(place) {
            input.language = track.language;
            input.decoder.announce(track, notify);
        }
    }

    /// Returns the languages of the tracks, in their order.
    pub(crate) fn languages(&self) -> Vec<Option<Language>> {
        self.working().map(|input| input.language).collect()
    }

    /// Returns the tracks without those that are left out because their decoders fail.
    fn working(&self) -> impl Iterator<Item = &AudioInput> {
        self.inputs.iter().filter(|input| !input.decoder.has_failed())
    }

    fn report_left_out(&mut self, track: TrackId, why: &str) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(FaultReport::new(Fault::TrackLeftOut, Some(track)).with_detail(why));
        }
    }

    /// Takes the reports on tracks that are left out.
    pub(crate) fn take_faults(&mut self) -> Vec<FaultReport> {
        let of_decoders = self.inputs.iter_mut().flat_map(|input| input.decoder.take_faults());
        self.faults.drain(..).chain(of_decoders).collect()
    }

    /// Assigns each track to one of the outputs with these languages. Returns the languages of the tracks that no
    /// output is left for.
    pub(crate) fn assign_outputs(&mut self, outputs: impl Iterator<Item = Option<Language>>) -> Vec<Option<Language>> {
        let outputs: Vec<_> = outputs.collect();
        let mut assigned = assign(&outputs, &self.languages()).into_iter();
        for input in &mut self.inputs {
            input.output = if input.decoder.has_failed() { None } else { assigned.next().flatten() };
        }
        let unassigned = self.working().filter(|input| input.output.is_none());
        unassigned.map(|input| input.language).collect()
    }

    /// Stops decoding tracks that are not assigned to an output, and reports them.
    pub(crate) fn leave_out_unassigned(&mut self) {
        let unassigned = self.inputs.iter_mut().filter(|input| input.output.is_none());
        let left_out: Vec<_> = unassigned.filter_map(|input| input.decoder.leave_out().then_some(input.id)).collect();
        for track in left_out {
            self.report_left_out(track, "the programme has no room for another audio track");
        }
    }

    /// Returns the output that a track is assigned to.
    pub(crate) fn output_of(&self, track: TrackId) -> Option<usize> {
        self.inputs.iter().find(|input| input.id == track)?.output
    }

    /// Returns the decoders, in the order of the tracks.
    pub(crate) fn decoders_mut(&mut self) -> impl Iterator<Item = &mut TrackDecoder> {
        self.inputs.iter_mut().map(|input| &mut input.decoder)
    }

    /// Ends the decoders: the samples that they hold back can be pulled.
    pub(crate) fn end(&self) {
        self.inputs.iter().for_each(|input| input.decoder.end());
    }

    /// Returns whether all samples were pulled after [`AudioInputs::end`].
    pub(crate) fn is_ended(&mut self) -> bool {
        self.decoders_mut().all(TrackDecoder::is_ended)
    }

    /// Returns the number of frames that were not decoded so far.
    pub(crate) fn undecoded(&self) -> Undecoded {
        let mut all = self.undecoded;
        self.inputs.iter().for_each(|input| all += input.decoder.undecoded());
        all
    }

    /// Returns the number of decoders that failed and were replaced.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced + self.inputs.iter().map(|input| input.decoder.replaced).sum::<u64>()
    }
}

/// Finds an output for each track: one in its language, or else the first one left.
fn assign(outputs: &[Option<Language>], tracks: &[Option<Language>]) -> Vec<Option<usize>> {
    let mut taken = vec![false; outputs.len()];
    let mut assigned = vec![None; tracks.len()];
    for by_language in [true, false] {
        for (track, found) in tracks.iter().zip(&mut assigned).filter(|(_, found)| found.is_none()) {
            let mut free = outputs.iter().zip(&mut taken).enumerate().filter(|(_, (_, taken))| !**taken);
            if let Some((n, (_, taken))) = free.find(|(_, (output, _))| !by_language || *output == track) {
                (*found, *taken) = (Some(n), true);
            }
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages(codes: &[&[u8; 3]]) -> Vec<Option<Language>> {
        codes.iter().map(|code| Language::new(**code)).collect()
    }

    #[test]
    fn tracks_are_assigned_by_language_and_the_rest_in_order() {
        let outputs = languages(&[b"eng", b"deu", b"fra"]);
        let find = |tracks: &[&[u8; 3]]| assign(&outputs, &languages(tracks));
        assert_eq!(find(&[b"eng", b"deu", b"fra"]), [Some(0), Some(1), Some(2)]);
        assert_eq!(find(&[b"fra", b"eng"]), [Some(2), Some(0)]);
        assert_eq!(find(&[b"ita", b"eng"]), [Some(1), Some(0)], "an output in a language that no track has");
        assert_eq!(find(&[b"und"]), [Some(0)]);
        assert_eq!(find(&[b"eng", b"eng", b"eng", b"eng"]), [Some(0), Some(1), Some(2), None]);
        assert_eq!(assign(&languages(&[b"und", b"und"]), &languages(&[b"und", b"und"])), [Some(0), Some(1)]);
    }
}
