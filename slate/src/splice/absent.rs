//! Stand-ins for tracks that the programme has and its current contribution lacks.

use bytes::Bytes;
use media::codec::aac;
use media::{Access, CodecConfig, Fault, FaultReport, Frame, Kind, TimeDelta, Track, TrackId};

use super::track_state::TrackState;
use super::{Item, Splice};
use crate::sample_grid;

/// Amount of a contribution's media after which a track that it has not announced counts as absent.
const ABSENT_AFTER: TimeDelta = TimeDelta::from_millis(300);
/// AAC-LC that stands in for audio of a codec without a built-in silent frame.
const STAND_IN_RATE: u32 = 48_000;
const STAND_IN_CHANNELS: u8 = 2;

/// A track of the previous contribution.
#[derive(Debug)]
pub(super) struct AbsentTrack {
    track: Track,
    /// For video the newest key frame, which is repeated.
    key_frame: Option<Bytes>,
}

impl AbsentTrack {
    /// Returns the stand-in for a track; `None` for video that never sent a key frame.
    fn of(state: TrackState) -> Option<Self> {
        let TrackState { mut track, key_frame, .. } = state;
        match track.kind() {
            Kind::Video => Some(Self { track, key_frame: Some(key_frame?) }),
            Kind::Audio => {
                if sample_grid::silence(&track.codec).is_none() {
                    track.codec = CodecConfig::Aac(aac::Config::new(2, STAND_IN_RATE, STAND_IN_CHANNELS).ok()?);
                }
                Some(Self { track, key_frame: None })
            }
        }
    }
}

impl Splice {
    /// Remembers the tracks of the contribution that ends, unless it never sent a frame.
    pub(super) fn remember_tracks(&mut self) {
        let tracks = std::mem::take(&mut self.tracks);
        if self.passthrough && self.began.is_some() {
            self.absent = tracks.into_values().filter_map(AbsentTrack::of).collect();
        }
    }

    /// Lets an announced track take the place of an [`AbsentTrack`], or of the stand-in for one.
    pub(super) fn replace_absent(&mut self, track: &Track) {
        let similarity = |absent: &Track| {
            let rank = u8::from(absent.language == track.language) + 2 * u8::from(absent.id == track.id);
            (absent.kind() == track.kind()).then_some(rank)
        };
        let absent = self.absent.iter().enumerate().filter_map(|(n, absent)| Some((similarity(&absent.track)?, n)));
        if let Some((_, n)) = absent.max_by_key(|(rank, n)| (*rank, std::cmp::Reverse(*n))) {
            self.absent.remove(n);
            return;
        }
        let replaced = self
            .tracks
            .iter()
            .find(|(id, state)| state.is_stand_in && state.track.kind() == track.kind() && **id != track.id);
        if let Some(id) = replaced.map(|(id, _)| *id).filter(|_| !self.tracks.contains_key(&track.id)) {
            self.tracks.remove(&id);
        }
    }

    /// Inserts stand-ins for absent tracks once the contribution has continued without them for [`ABSENT_AFTER`].
    pub(super) fn insert_stand_ins(&mut self, out: &mut Vec<Item>) {
        let (Some(end), Some(began)) = (self.end, self.began) else { return };
        if self.absent.is_empty() || end - began < ABSENT_AFTER {
            return;
        }
        for AbsentTrack { track, key_frame } in std::mem::take(&mut self.absent) {
            let taken = self.tracks.contains_key(&track.id);
            let unused = || self.tracks.keys().max().map_or(track.id, |id| TrackId(id.0.saturating_add(1)));
            let id = if taken { unused() } else { track.id };
            let track = Track { id, ..track };
            let mut state = TrackState::new(track.clone(), self.floor, Some(began));
            state.is_stand_in = true;
            out.push(Item::Fault(FaultReport::new(Fault::MissingTrack, Some(id))));
            out.push(Item::Track(track));
            if let Some(payload) = key_frame {
                // The packager repeats it, as it does when video is absent and audio continues.
                state.key_frame = Some(payload.clone());
                state.last = Some(began);
                out.push(Item::Frame(Frame {
                    track: id,
                    dts: began,
                    pts: began,
                    access: Access::Independent,
                    payload,
                }));
            }
            self.tracks.insert(id, state);
        }
    }
}
