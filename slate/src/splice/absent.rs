//! Tracks that the programme has and its current contribution does not: something stands in for them.

use bytes::Bytes;
use media::codec::aac;
use media::{Access, CodecConfig, Fault, FaultReport, Frame, Kind, TimeDelta, Track, TrackId};

use super::{Item, Lane, Splice};
use crate::audio;

/// A contribution that does not announce a track for so much of its media comes without it.
const ABSENT_AFTER: TimeDelta = TimeDelta::from_millis(300);
/// AAC-LC that stands in for audio of a coding whose silence is not known.
const STAND_IN_RATE: u32 = 48_000;
const STAND_IN_CHANNELS: u8 = 2;

/// A track of the contribution before.
#[derive(Debug)]
pub(super) struct Absent {
    track: Track,
    /// Of video the newest key frame, which is shown on.
    key_frame: Option<Bytes>,
}

impl Absent {
    /// The stand-in for a track; `None` if nothing of it was there.
    fn of(lane: Lane) -> Option<Self> {
        let Lane { mut track, key_frame, .. } = lane;
        match track.kind() {
            Kind::Video => Some(Self { track, key_frame: Some(key_frame?) }),
            Kind::Audio => {
                if audio::silence(&track.codec).is_none() {
                    track.codec = CodecConfig::Aac(aac::Config::new(2, STAND_IN_RATE, STAND_IN_CHANNELS).ok()?);
                }
                Some(Self { track, key_frame: None })
            }
        }
    }
}

impl Splice {
    /// Remembers the tracks of the contribution that ends. Those of one that never brought a frame do not count.
    pub(super) fn remember_tracks(&mut self) {
        let lanes = std::mem::take(&mut self.lanes);
        if self.stands_in && self.began.is_some() {
            self.absent = lanes.into_values().filter_map(Absent::of).collect();
        }
    }

    /// A track is announced: it takes the place of an absent one, or of what stands in for that.
    pub(super) fn is_present(&mut self, track: &Track) {
        let alike = |absent: &Track| {
            let rank = u8::from(absent.language == track.language) + 2 * u8::from(absent.id == track.id);
            (absent.kind() == track.kind()).then_some(rank)
        };
        let absent = self.absent.iter().enumerate().filter_map(|(n, absent)| Some((alike(&absent.track)?, n)));
        if let Some((_, n)) = absent.max_by_key(|(rank, n)| (*rank, std::cmp::Reverse(*n))) {
            self.absent.remove(n);
            return;
        }
        let replaced = self
            .lanes
            .iter()
            .find(|(id, lane)| lane.is_stand_in && lane.track.kind() == track.kind() && **id != track.id);
        if let Some(id) = replaced.map(|(id, _)| *id).filter(|_| !self.lanes.contains_key(&track.id)) {
            self.lanes.remove(&id);
        }
    }

    /// Puts stand-ins into the programme once the contribution has gone on without their tracks.
    pub(super) fn stand_in(&mut self, out: &mut Vec<Item>) {
        let (Some(end), Some(began)) = (self.end, self.began) else { return };
        if self.absent.is_empty() || end - began < ABSENT_AFTER {
            return;
        }
        for Absent { track, key_frame } in std::mem::take(&mut self.absent) {
            let taken = self.lanes.contains_key(&track.id);
            let unused = || self.lanes.keys().max().map_or(track.id, |id| TrackId(id.0.saturating_add(1)));
            let id = if taken { unused() } else { track.id };
            let track = Track { id, ..track };
            let mut lane = Lane::new(track.clone(), self.floor, Some(began));
            lane.is_stand_in = true;
            out.push(Item::Fault(FaultReport::new(Fault::MissingTrack, Some(id))));
            out.push(Item::Track(track));
            if let Some(payload) = key_frame {
                // The packager shows it on, as it does where video stays away while audio goes on.
                lane.key_frame = Some(payload.clone());
                lane.last = Some(began);
                out.push(Item::Frame(Frame {
                    track: id,
                    dts: began,
                    pts: began,
                    access: Access::Independent,
                    payload,
                }));
            }
            self.lanes.insert(id, lane);
        }
    }
}
