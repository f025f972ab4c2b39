//! The timestamp splice: contributions in, one timeline out.

mod absent;
mod change;
mod lane;

use std::collections::BTreeMap;

use absent::Absent;
use lane::Lane;
use media::{Fault, FaultReport, Frame, Kind, Metadata, TimeDelta, Timestamp, Track, TrackId};

use crate::audio::Grid;

/// Where a programme begins. It is not zero, so that a track which starts a little before the first frame still fits.
const ORIGIN: TimeDelta = TimeDelta::from_secs(10);
/// A frame this far from the programme's end is a jump of the contribution's clock, not a gap of its media.
const JUMP: TimeDelta = TimeDelta::from_secs(10);
/// A clock that goes back further than this has jumped; less is disorder, and the frame is moved up.
const BACKWARD: TimeDelta = TimeDelta::from_millis(300);
/// A track that ended longer than this before the rest had a gap of its own: what follows begins with the rest.
const MAX_APART: TimeDelta = TimeDelta::from_secs(1);
/// Sound that came and is this far behind the rest is silent until it comes back.
const AUDIO_TIMEOUT: TimeDelta = TimeDelta::from_secs(1);

/// One step of the programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A track begins or changes.
    Track(Track),
    /// A frame on the programme's timeline.
    Frame(Frame),
    /// The programme breaks here: another contribution follows.
    Discontinuity,
    /// Something was repaired or dropped.
    Fault(FaultReport),
}

/// Where a track of the programme ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackEnd {
    /// The track.
    pub track: Track,
    /// Where what is decoded ends.
    pub dts: Timestamp,
    /// Where what is shown ends; sound is heard when it is decoded.
    pub pts: Timestamp,
}

/// What was made good, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpliceStats {
    /// Jumps of a contribution's clock.
    pub jumps: u64,
    /// Audio frames of silence put into holes, and where sound is away.
    pub silent_frames: u64,
    /// Audio frames dropped because their time was filled.
    pub dropped_frames: u64,
    /// Video frames whose decode time did not grow.
    pub reordered_frames: u64,
    /// Frames that were empty, or came twice.
    pub void_frames: u64,
    /// Holes in audio that had begun.
    pub holes: u64,
    /// Those of the audio frames dropped that came in the middle of their contribution.
    pub late_frames: u64,
}

/// Lays the frames of one contribution after another on the programme's timeline.
#[derive(Debug, Default)]
pub struct Splice {
    lanes: BTreeMap<TrackId, Lane>,
    /// The end of the longest track so far; `None` before the first frame.
    end: Option<Timestamp>,
    /// Where the contribution in hand began: its tracks have nothing to say of earlier times.
    floor: Option<Timestamp>,
    /// Where the first frame of the contribution in hand was laid.
    began: Option<Timestamp>,
    /// The newest offset that any lane of this contribution took; the others join it when they jump too.
    offset: Option<TimeDelta>,
    /// A contribution came before and its successor has not sent a frame yet.
    broken: bool,
    /// Viewers get the frames as they are, so that something has to stand in for what they miss.
    stands_in: bool,
    /// Tracks of the contribution before that the current one has not announced.
    absent: Vec<Absent>,
    repairs: SpliceStats,
}

impl Splice {
    /// A programme with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A programme that is not decoded: something stands in for tracks that a contribution comes without, and headers
    /// change at key frames.
    pub fn for_passthrough() -> Self {
        Self { stands_in: true, ..Self::default() }
    }

    /// What was made good so far.
    pub const fn stats(&self) -> SpliceStats {
        self.repairs
    }

    /// Another contribution follows; its clock has nothing to do with the last one's.
    pub fn begin(&mut self) {
        self.remember_tracks();
        self.offset = None;
        self.began = None;
        self.floor = self.end;
        self.broken = self.end.is_some();
    }

    /// Where the programme ends so far; none before the first frame.
    pub const fn end(&self) -> Option<Timestamp> {
        self.end
    }

    /// Programme time less the time of the contribution, as its video has it; `None` before a frame.
    pub fn offset(&self) -> Option<TimeDelta> {
        let of = |kind| self.lanes.values().filter(move |lane| lane.track.kind() == kind).find_map(|lane| lane.offset);
        of(Kind::Video).or_else(|| of(Kind::Audio))
    }

    /// The tracks of the contribution in hand.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.lanes.values().map(|lane| &lane.track)
    }

    /// Nothing comes for a while: sound that is behind the rest is silent up to there, and something else may follow where
    /// the tracks end. None before the first frame.
    pub fn pause(&mut self, out: &mut Vec<Item>) -> Vec<TrackEnd> {
        let Some(end) = self.end else { return Vec::new() };
        let began = self.began.unwrap_or(end);
        let shown = self.lanes.values().filter_map(Lane::pictures_end).map(|(_, shown)| shown).max();
        let until = end.max(shown.unwrap_or(end));
        let ends = self.lanes.values_mut().map(|lane| {
            if lane.track.kind() == Kind::Audio {
                self.repairs.silent_frames += lane.fill_silence(began, until, TimeDelta::ZERO, out);
            }
            let sound_end = lane.grid.as_ref().map_or(end, Grid::next);
            let (dts, pts) = lane.pictures_end().unwrap_or((sound_end, sound_end));
            let late = if end - dts > MAX_APART { end - dts } else { TimeDelta::ZERO };
            TrackEnd { track: lane.track.clone(), dts: dts + late, pts: pts + late }
        });
        let ends: Vec<_> = ends.collect();
        self.end = self.end.max(ends.iter().map(|end| end.dts).max());
        ends
    }

    /// Something else filled the programme up to `end`. The contribution in hand is laid behind it as if it began with
    /// its next frame: its tracks are told again, behind a discontinuity.
    pub fn advance(&mut self, end: Timestamp, out: &mut Vec<Item>) {
        self.end = self.end.max(Some(end));
        self.floor = self.end;
        self.offset = None;
        self.began = None;
        self.broken = false;
        out.push(Item::Discontinuity);
        for lane in self.lanes.values_mut() {
            let track = lane.next.take().unwrap_or_else(|| lane.track.clone());
            let (key_frame, is_stand_in) = (lane.key_frame.take(), lane.is_stand_in);
            // A player that is in the middle of it stalls at holes of a tenth of a second.
            let fresh = Lane { late_start: TimeDelta::ZERO, ..Lane::new(track, self.floor, None) };
            *lane = Lane { key_frame, is_stand_in, ..fresh };
            out.push(Item::Track(lane.track.clone()));
        }
    }

    /// A track begins, or comes back with another header.
    pub fn track(&mut self, track: Track, out: &mut Vec<Item>) {
        self.announce_break(out);
        self.is_present(&track);
        if self.defer_change(&track, out) {
            return;
        }
        let opened = self.began.and(self.end);
        let lane = self.lanes.entry(track.id).or_insert_with(|| Lane::new(track.clone(), self.floor, opened));
        if lane.track != track {
            if lane.track.codec != track.codec {
                lane.grid = None;
            }
            lane.track = track.clone();
        }
        out.push(Item::Track(track));
    }

    /// Lays a frame on the timeline. A frame of a track that was not announced is ignored, as is one that is empty or
    /// comes twice.
    pub fn frame(&mut self, frame: Frame, out: &mut Vec<Item>) {
        let Some(lane) = self.lanes.get_mut(&frame.track) else { return };
        if frame.payload.is_empty() || lane.comes_again(&frame) {
            self.repairs.void_frames += 1;
            out.push(Item::Fault(FaultReport::new(Fault::DamagedFrames, Some(frame.track))));
            return;
        }
        if self.change_at(&frame, out) {
            return;
        }
        let (before, track) = (self.repairs, frame.track);
        self.lay(frame, out);
        self.stand_in(out);
        self.report(before, track, out);
        self.fill_silence(out);
    }

    fn lay(&mut self, frame: Frame, out: &mut Vec<Item>) {
        let end = self.end.unwrap_or(Timestamp::ZERO + ORIGIN);
        let Some(lane) = self.lanes.get_mut(&frame.track) else { return };
        let mut offset = lane.settle(&frame, end, &mut self.offset, &mut self.repairs);
        let early = lane.track.kind() == Kind::Video && lane.newest.is_none();
        if early && self.floor.is_some_and(|floor| frame.dts + offset < floor - BACKWARD) {
            // The pictures begin before the sound that came first: all of the contribution moves to where they fit.
            offset = end - frame.dts;
            self.offset = Some(offset);
            self.lanes.values_mut().filter(|lane| lane.offset.is_some()).for_each(|lane| lane.offset = self.offset);
        }
        let at = frame.dts + offset;
        let began = *self.began.get_or_insert(at);
        let Some(lane) = self.lanes.get_mut(&frame.track) else { return };
        lane.offset = Some(offset);
        lane.newest = Some(at);
        lane.is_stand_in = false;
        let lane_end = match lane.track.kind() {
            Kind::Audio => lane.lay_sound(frame, at, began, end, &mut self.repairs, out),
            Kind::Video => lane.lay_picture(frame, at, offset, &mut self.repairs, out),
        };
        self.end = Some(end.max(lane_end));
    }

    /// Reports what was repaired since `before` for a frame of `track`.
    fn report(&self, before: SpliceStats, track: TrackId, out: &mut Vec<Item>) {
        let now = &self.repairs;
        let faults = [
            (Fault::TimestampJump, now.jumps - before.jumps),
            (Fault::MissingMedia, now.holes - before.holes),
            (Fault::StalledTimestamps, now.reordered_frames - before.reordered_frames),
            (Fault::BacklogDropped, now.late_frames - before.late_frames),
        ];
        let reports = faults.into_iter().filter(|(_, count)| *count > 0);
        out.extend(reports.map(|(fault, count)| Item::Fault(FaultReport::new(fault, Some(track)).times(count))));
    }

    /// Dates metadata on the programme's timeline; none where the contribution has no frame yet, or none near it.
    pub fn metadata(&self, metadata: Metadata) -> Option<Metadata> {
        let (end, offsets) = (self.end?, self.lanes.values().map(|lane| lane.offset).chain([self.offset]));
        let dated = offsets.flatten().map(|offset| metadata.pts + offset);
        let pts = dated.min_by_key(|at| (*at - end).abs()).filter(|at| (*at - end).abs() <= JUMP)?;
        Some(Metadata { pts, ..metadata })
    }

    /// Tracks of sound that do not keep up are silent: a viewer's player waits for every track that it plays.
    fn fill_silence(&mut self, out: &mut Vec<Item>) {
        let (Some(end), Some(began)) = (self.end, self.began) else { return };
        for lane in self.lanes.values_mut().filter(|lane| lane.track.kind() == Kind::Audio) {
            let silent = lane.fill_silence(began, end, lane.patience, out);
            self.repairs.silent_frames += silent;
            // Audio is expected to begin a little late.
            let counts = lane.heard || end - began > AUDIO_TIMEOUT;
            if counts && silent > 0 && !lane.is_stand_in && lane.next.is_none() {
                self.repairs.holes += 1;
                out.push(Item::Fault(FaultReport::new(Fault::MissingMedia, Some(lane.track.id))));
            }
        }
    }

    fn announce_break(&mut self, out: &mut Vec<Item>) {
        if std::mem::take(&mut self.broken) {
            out.push(Item::Discontinuity);
        }
    }
}
