//! The tracks of sound of the contribution in hand, and which of the programme's sounds each of them is.

use media::{Fault, FaultReport, Language, Track, TrackId};

use crate::input::track_decoder::{Lane, Lost};
use crate::pipeline::Notify;
use crate::plan::MAX_AUDIO_TRACKS;

/// Reports that wait; beyond that they are dropped.
const MAX_FAULTS: usize = 64;

/// The tracks in the order of their numbers: the lowest is the main one.
#[derive(Default)]
pub(crate) struct Sounds {
    lanes: Vec<Sounding>,
    /// Of tracks that are gone.
    lost: Lost,
    replaced: u64,
    /// What is to be reported; [`MAX_FAULTS`] bounds it.
    faults: Vec<FaultReport>,
}

struct Sounding {
    id: TrackId,
    language: Option<Language>,
    lane: Lane,
    /// The sound of the programme that it is heard in.
    voice: Option<usize>,
}

impl Sounds {
    /// Another contribution follows.
    pub(crate) fn leave(&mut self) {
        for mut sounding in self.lanes.drain(..) {
            sounding.lane.leave();
            self.lost += sounding.lane.lost();
            self.replaced += sounding.lane.replaced;
        }
    }

    /// A track begins, or has another header. Beyond the most that a programme has it is left out.
    pub(crate) fn announce(&mut self, track: Track, notify: Notify) {
        let place = self.lanes.partition_point(|sounding| sounding.id < track.id);
        if self.lanes.get(place).is_none_or(|sounding| sounding.id != track.id) {
            if self.lanes.len() >= MAX_AUDIO_TRACKS {
                self.left_out(track.id, "there are too many audio tracks");
                return;
            }
            let (id, language) = (track.id, track.language);
            self.lanes.insert(place, Sounding { id, language, lane: Lane::default(), voice: None });
        }
        if let Some(sounding) = self.lanes.get_mut(place) {
            sounding.language = track.language;
            sounding.lane.announce(track, notify);
        }
    }

    /// The languages of the tracks, in their order.
    pub(crate) fn languages(&self) -> Vec<Option<Language>> {
        self.playing().map(|sounding| sounding.language).collect()
    }

    /// The tracks whose decoders do not fail all the time.
    fn playing(&self) -> impl Iterator<Item = &Sounding> {
        self.lanes.iter().filter(|sounding| !sounding.lane.has_failed())
    }

    fn left_out(&mut self, track: TrackId, why: &str) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(FaultReport::new(Fault::TrackLeftOut, Some(track)).with_detail(why));
        }
    }

    /// Takes what is to be reported.
    pub(crate) fn take_faults(&mut self) -> Vec<FaultReport> {
        let of_lanes = self.lanes.iter_mut().flat_map(|sounding| sounding.lane.take_faults());
        self.faults.drain(..).chain(of_lanes).collect()
    }

    /// Each track finds the programme's sound that it is for; gives the languages of those for which there is none.
    pub(crate) fn find_voices(&mut self, voices: impl Iterator<Item = Option<Language>>) -> Vec<Option<Language>> {
        let voices: Vec<_> = voices.collect();
        let matched = matching(&voices, &self.languages());
        let mut matched = matched.into_iter();
        for sounding in &mut self.lanes {
            sounding.voice = if sounding.lane.has_failed() { None } else { matched.next().flatten() };
        }
        let voiceless = self.playing().filter(|sounding| sounding.voice.is_none());
        voiceless.map(|sounding| sounding.language).collect()
    }

    /// Tracks that the programme has no sound for are not decoded.
    pub(crate) fn drop_voiceless(&mut self) {
        let voiceless = self.lanes.iter_mut().filter(|sounding| sounding.voice.is_none());
        let left_out: Vec<_> =
            voiceless.filter_map(|sounding| sounding.lane.leave_out().then_some(sounding.id)).collect();
        left_out
            .into_iter()
            .for_each(|track| self.left_out(track, "the programme has no room for another audio track"));
    }

    /// The programme's sound that a track is heard in.
    pub(crate) fn voice(&self, track: TrackId) -> Option<usize> {
        self.lanes.iter().find(|sounding| sounding.id == track)?.voice
    }

    pub(crate) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut().map(|sounding| &mut sounding.lane)
    }

    /// Nothing follows: what decoders hold back comes out.
    pub(crate) fn end(&self) {
        self.lanes.iter().for_each(|sounding| sounding.lane.end());
    }

    /// Whether all came out after [`Self::end`], and was pulled.
    pub(crate) fn is_ended(&mut self) -> bool {
        self.lanes_mut().all(Lane::is_ended)
    }

    /// Frames that were not decoded so far.
    pub(crate) fn lost(&self) -> Lost {
        let mut all = self.lost;
        self.lanes.iter().for_each(|sounding| all += sounding.lane.lost());
        all
    }

    /// Decoders that failed and were replaced.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced + self.lanes.iter().map(|sounding| sounding.lane.replaced).sum::<u64>()
    }
}

/// The sound for each track: one in its language, else the first that no track is for.
fn matching(voices: &[Option<Language>], tracks: &[Option<Language>]) -> Vec<Option<usize>> {
    let mut taken = vec![false; voices.len()];
    let mut matched = vec![None; tracks.len()];
    for by_language in [true, false] {
        for (track, found) in tracks.iter().zip(&mut matched).filter(|(_, found)| found.is_none()) {
            let mut free = voices.iter().zip(&mut taken).enumerate().filter(|(_, (_, taken))| !**taken);
            if let Some((n, (_, taken))) = free.find(|(_, (voice, _))| !by_language || *voice == track) {
                (*found, *taken) = (Some(n), true);
            }
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages(codes: &[&[u8; 3]]) -> Vec<Option<Language>> {
        codes.iter().map(|code| Language::new(**code)).collect()
    }

    #[test]
    fn tracks_find_their_languages_and_the_rest_their_places() {
        let voices = languages(&[b"eng", b"deu", b"fra"]);
        let find = |tracks: &[&[u8; 3]]| matching(&voices, &languages(tracks));
        assert_eq!(find(&[b"eng", b"deu", b"fra"]), [Some(0), Some(1), Some(2)]);
        assert_eq!(find(&[b"fra", b"eng"]), [Some(2), Some(0)]);
        assert_eq!(find(&[b"ita", b"eng"]), [Some(1), Some(0)], "a place that no language is for");
        assert_eq!(find(&[b"und"]), [Some(0)]);
        assert_eq!(find(&[b"eng", b"eng", b"eng", b"eng"]), [Some(0), Some(1), Some(2), None]);
        assert_eq!(matching(&languages(&[b"und", b"und"]), &languages(&[b"und", b"und"])), [Some(0), Some(1)]);
    }
}
