//! Timestamp splice: maps one contribution after another to one timeline.

mod absent;
mod change;
mod track_state;

use std::collections::BTreeMap;

use absent::AbsentTrack;
use media::{Fault, FaultReport, Frame, Kind, Metadata, TimeDelta, Timestamp, Track, TrackId};
use track_state::{Position, TrackState};

use crate::sample_grid::SampleGrid;

/// Time at which a programme begins. It is not zero, so that a track which starts a little before the first frame has
/// no negative timestamps.
const ORIGIN: TimeDelta = TimeDelta::from_secs(10);
/// Distance of a frame from the end of the programme beyond which the contribution's clock has jumped. A closer frame
/// follows a gap in the media.
const MIN_JUMP: TimeDelta = TimeDelta::from_secs(10);
/// Maximum step back of a clock that counts as disorder, for which the frame is moved up. A larger step is a jump.
const MAX_DISORDER: TimeDelta = TimeDelta::from_millis(300);
/// Maximum distance of a track's end before the programme's end at which inserted media continues that track where it
/// ended. A track that ended earlier had a gap of its own already, so its inserted media begins at the programme's end.
const MAX_END_DISTANCE: TimeDelta = TimeDelta::from_secs(1);
/// Time that an audio track which has begun may be behind the others before it is filled with silence.
const AUDIO_TIMEOUT: TimeDelta = TimeDelta::from_secs(1);

/// One step of the programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A track begins or changes.
    Track(Track),
    /// A frame on the programme's timeline.
    Frame(Frame),
    /// A discontinuity: another contribution, a slate, or the same contribution with another codec header follows.
    Discontinuity,
    /// Media was repaired or discarded.
    Fault(FaultReport),
}

/// End of a track of the programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackEnd {
    /// The track.
    pub track: Track,
    /// End in decode time.
    pub dts: Timestamp,
    /// End in presentation time. Audio is presented when it is decoded.
    pub pts: Timestamp,
}

/// Counters of repairs, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpliceStats {
    /// Jumps of a contribution's clock.
    pub timestamp_jumps: u64,
    /// Silent audio frames inserted into gaps, and where a track is absent.
    pub silent_frames: u64,
    /// Audio frames discarded because their time was already filled.
    pub dropped_frames: u64,
    /// Video frames whose DTS was before that of the previous frame, and was raised to it.
    pub reordered_frames: u64,
    /// Frames discarded because they were empty, or repeated the frame before them.
    pub void_frames: u64,
    /// Gaps in audio tracks that had begun.
    pub audio_gaps: u64,
    /// Frames in `dropped_frames` that arrived after audio of their contribution was placed. The others overlap the end of
    /// the previous contribution, or silence inserted before the first audio.
    pub late_frames: u64,
}

/// Maps the frames of one contribution after another to the programme's timeline.
#[derive(Debug, Default)]
pub struct Splice {
    tracks: BTreeMap<TrackId, TrackState>,
    /// End of the longest track so far; `None` before the first frame.
    end: Option<Timestamp>,
    /// End of the programme when the current contribution began, or continued after [`Splice::advance`]. None of its
    /// frames can be placed before this time.
    floor: Option<Timestamp>,
    /// Programme time of the current contribution's first frame, or of the first one after [`Splice::advance`].
    began: Option<Timestamp>,
    /// The newest offset chosen for a track of this contribution. Other tracks take this offset at their first frame,
    /// and when their timestamps jump too.
    offset: Option<TimeDelta>,
    /// Whether a contribution has ended and its successor has not sent a track yet, so that a discontinuity is due.
    discontinuity_due: bool,
    /// Whether viewers get the frames as they are, so that missing tracks need a stand-in.
    passthrough: bool,
    /// Tracks of the previous contribution that the current one has not announced.
    absent: Vec<AbsentTrack>,
    stats: SpliceStats,
}

impl Splice {
    /// Creates an empty programme.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty programme that is not decoded. Tracks that a contribution lacks get a stand-in (silence, or the
    /// last key frame), and codec headers change at key frames.
    pub fn for_passthrough() -> Self {
        Self { passthrough: true, ..Self::default() }
    }

    /// Returns the counters of repairs so far.
    pub const fn stats(&self) -> SpliceStats {
        self.stats
    }

    /// Begins another contribution. Its clock is unrelated to the previous one's.
    pub fn begin(&mut self) {
        self.remember_tracks();
        self.offset = None;
        self.began = None;
        self.floor = self.end;
        self.discontinuity_due = self.end.is_some();
    }

    /// Returns the end of the programme so far; `None` before the first frame.
    pub const fn end(&self) -> Option<Timestamp> {
        self.end
    }

    /// Returns the timestamp offset of the contribution's video, or of its audio if it has no video: programme time
    /// less contribution time. `None` before its first frame.
    pub fn offset(&self) -> Option<TimeDelta> {
        let states = |kind| self.tracks.values().filter(move |state| state.track.kind() == kind);
        let offset_of = |kind| states(kind).find_map(|state| state.offset);
        offset_of(Kind::Video).or_else(|| offset_of(Kind::Audio))
    }

    /// Returns the tracks of the current contribution.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.values().map(|state| &state.track)
    }

    /// Returns where the tracks end, so that other media can be inserted there; empty before the first frame.
    ///
    /// Fills audio tracks that are behind the others with silence.
    pub fn pause(&mut self, out: &mut Vec<Item>) -> Vec<TrackEnd> {
        let Some(end) = self.end else { return Vec::new() };
        let began = self.began.unwrap_or(end);
        let presented = self.tracks.values().filter_map(TrackState::video_end).map(|(_, pts)| pts).max();
        let until = end.max(presented.unwrap_or(end));
        let ends = self.tracks.values_mut().map(|state| {
            if state.track.kind() == Kind::Audio {
                self.stats.silent_frames += state.fill_silence(began, until, TimeDelta::ZERO, out);
            }
            let audio_end = state.grid.as_ref().map_or(end, SampleGrid::next);
            let (dts, pts) = state.video_end().unwrap_or((audio_end, audio_end));
            let shift = if end - dts > MAX_END_DISTANCE { end - dts } else { TimeDelta::ZERO };
            TrackEnd { track: state.track.clone(), dts: dts + shift, pts: pts + shift }
        });
        let ends: Vec<_> = ends.collect();
        self.end = self.end.max(ends.iter().map(|end| end.dts).max());
        ends
    }

    /// Notes that other media fills the programme up to `end`. The current contribution continues after it as if it
    /// began with its next frame: its tracks are announced again, after a discontinuity.
    pub fn advance(&mut self, end: Timestamp, out: &mut Vec<Item>) {
        self.end = self.end.max(Some(end));
        self.floor = self.end;
        self.offset = None;
        self.began = None;
        self.discontinuity_due = false;
        out.push(Item::Discontinuity);
        for state in self.tracks.values_mut() {
            let track = state.pending_header.take().unwrap_or_else(|| state.track.clone());
            let (key_frame, is_stand_in) = (state.key_frame.take(), state.is_stand_in);
            // Silence precedes audio that begins even a little late, because players stall at gaps of 100 ms in the
            // middle of a programme.
            let fresh = TrackState { late_start: TimeDelta::ZERO, ..TrackState::new(track, self.floor, None) };
            *state = TrackState { key_frame, is_stand_in, ..fresh };
            out.push(Item::Track(state.track.clone()));
        }
    }

    /// Announces a track, or a change of its codec header.
    pub fn track(&mut self, track: Track, out: &mut Vec<Item>) {
        self.announce_discontinuity(out);
        self.replace_absent(&track);
        if self.defer_change(&track, out) {
            return;
        }
        // Nothing is missing from a track before it is announced, even if its contribution began earlier.
        let announced = self.began.and(self.end);
        let new = || TrackState::new(track.clone(), self.floor, announced);
        let state = self.tracks.entry(track.id).or_insert_with(new);
        if state.track != track {
            if state.track.codec != track.codec {
                state.grid = None;
            }
            state.track = track.clone();
        }
        out.push(Item::Track(track));
    }

    /// Maps a frame to the timeline. Ignores frames of a track that was not announced, and discards frames that are
    /// empty or repeat the frame before them.
    pub fn frame(&mut self, frame: Frame, out: &mut Vec<Item>) {
        let Some(state) = self.tracks.get_mut(&frame.track) else { return };
        if frame.payload.is_empty() || state.is_repeat(&frame) {
            self.stats.void_frames += 1;
            out.push(Item::Fault(FaultReport::new(Fault::DamagedFrames, Some(frame.track))));
            return;
        }
        if self.waits_for_header(&frame, out) {
            return;
        }
        let (before, track) = (self.stats, frame.track);
        self.place(frame, out);
        self.insert_stand_ins(out);
        self.report(before, track, out);
        self.fill_silence(out);
    }

    fn place(&mut self, frame: Frame, out: &mut Vec<Item>) {
        let end = self.end.unwrap_or(Timestamp::ZERO + ORIGIN);
        let Some(state) = self.tracks.get_mut(&frame.track) else { return };
        let mut offset = state.choose_offset(&frame, end, &mut self.offset, &mut self.stats);
        let is_first_video = state.track.kind() == Kind::Video && state.newest.is_none();
        if is_first_video && self.floor.is_some_and(|floor| frame.dts + offset < floor - MAX_DISORDER) {
            // The audio that came first was placed at the end of the programme, and the video is dated before that
            // audio. The offset of the whole contribution changes, so that the video begins at the programme's current
            // end.
            offset = end - frame.dts;
            self.offset = Some(offset);
            let placed = self.tracks.values_mut().filter(|state| state.offset.is_some());
            placed.for_each(|state| state.offset = self.offset);
        }
        let at = frame.dts + offset;
        let began = *self.began.get_or_insert(at);
        let Some(state) = self.tracks.get_mut(&frame.track) else { return };
        state.offset = Some(offset);
        state.newest = Some(at);
        state.is_stand_in = false;
        let track_end = match state.track.kind() {
            Kind::Audio => state.place_audio(frame, Position { at, began, end }, &mut self.stats, out),
            Kind::Video => state.place_video(frame, at, offset, &mut self.stats, out),
        };
        self.end = Some(end.max(track_end));
    }

    /// Reports what was repaired since `before` for a frame of `track`.
    fn report(&self, before: SpliceStats, track: TrackId, out: &mut Vec<Item>) {
        let now = &self.stats;
        let faults = [
            (Fault::TimestampJump, now.timestamp_jumps - before.timestamp_jumps),
            (Fault::MissingMedia, now.audio_gaps - before.audio_gaps),
            (Fault::StalledTimestamps, now.reordered_frames - before.reordered_frames),
            (Fault::BacklogDropped, now.late_frames - before.late_frames),
        ];
        let reports = faults.into_iter().filter(|(_, count)| *count > 0);
        out.extend(reports.map(|(fault, count)| Item::Fault(FaultReport::new(fault, Some(track)).times(count))));
    }

    /// Maps metadata to the programme's timeline; `None` if the contribution has no frame yet, or none near it.
    pub fn metadata(&self, metadata: Metadata) -> Option<Metadata> {
        let (end, offsets) = (self.end?, self.tracks.values().map(|state| state.offset).chain([self.offset]));
        let mapped = offsets.flatten().map(|offset| metadata.pts + offset);
        let pts = mapped.min_by_key(|at| (*at - end).abs()).filter(|at| (*at - end).abs() <= MIN_JUMP)?;
        Some(Metadata { pts, ..metadata })
    }

    /// Fills audio tracks that do not keep up with silence, because a player waits for every track that it plays.
    fn fill_silence(&mut self, out: &mut Vec<Item>) {
        let (Some(end), Some(began)) = (self.end, self.began) else { return };
        for state in self.tracks.values_mut().filter(|state| state.track.kind() == Kind::Audio) {
            let silent = state.fill_silence(began, end, state.timeout, out);
            self.stats.silent_frames += silent;
            // Audio usually begins after the video, so silence before the first audio is no fault until
            // `AUDIO_TIMEOUT`.
            let is_gap = state.has_audio || end - began > AUDIO_TIMEOUT;
            if is_gap && silent > 0 && !state.is_stand_in && state.pending_header.is_none() {
                self.stats.audio_gaps += 1;
                out.push(Item::Fault(FaultReport::new(Fault::MissingMedia, Some(state.track.id))));
            }
        }
    }

    fn announce_discontinuity(&mut self, out: &mut Vec<Item>) {
        if std::mem::take(&mut self.discontinuity_due) {
            out.push(Item::Discontinuity);
        }
    }
}
