//! The timestamp splice: contributions in, one timeline out.

use std::collections::BTreeMap;

use bytes::Bytes;
use media::{Access, FaultReport, Frame, Kind, Metadata, TimeDelta, Timestamp, Track, TrackId};

use crate::audio::{Filling, Grid, Place};

/// Where a programme begins. It is not zero, so that a track which starts a little before the first frame still fits.
const ORIGIN: TimeDelta = TimeDelta::from_secs(10);
/// A frame this far from the programme's end is a jump of the contribution's clock, not a gap of its media.
const JUMP: TimeDelta = TimeDelta::from_secs(10);
/// A clock that goes back further than this has jumped; less is disorder, and the frame is moved up.
const BACKWARD: TimeDelta = TimeDelta::from_millis(300);
/// A picture is taken to last no longer than this when the next contribution is laid behind it.
const LONGEST_PICTURE: TimeDelta = TimeDelta::from_millis(100);
/// A picture that none came before is taken to last so long.
const FIRST_PICTURE: TimeDelta = TimeDelta::from_millis(40);
/// A track that ended longer than this before the rest had a gap of its own: what follows begins with the rest.
const MOST_APART: TimeDelta = TimeDelta::from_secs(1);
/// A track of sound that is announced and does not come is silent after this long.
const FIRST_PATIENCE: TimeDelta = TimeDelta::from_millis(300);
/// Sound that came and is this far behind the rest is silent until it comes back.
const PATIENCE: TimeDelta = TimeDelta::from_secs(1);
/// Sound that comes late is waited for a second longer than it was late, but never longer than this.
const MOST_PATIENCE: TimeDelta = TimeDelta::from_secs(5);
/// Sound that begins later than this behind the contribution is silent up to there, unless something stood in for the
/// contribution before: then it is silent in any case.
const LATE_START: TimeDelta = TimeDelta::from_millis(100);

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
pub struct End {
    /// The track.
    pub track: Track,
    /// Where what is decoded ends.
    pub dts: Timestamp,
    /// Where what is shown ends; sound is heard when it is decoded.
    pub pts: Timestamp,
}

/// What was made good, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
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
    repairs: Repairs,
}

#[derive(Debug)]
struct Lane {
    track: Track,
    /// Programme time less contribution time; `None` until this contribution's first frame.
    offset: Option<TimeDelta>,
    /// Where the contribution dates the newest frame, on the programme's timeline.
    newest: Option<Timestamp>,
    /// Where the newest frame was laid; for sound, where it ends.
    last: Option<Timestamp>,
    /// Of pictures that came: where the last one of them is shown, and how long it lasts.
    shown: Option<(Timestamp, TimeDelta)>,
    /// The end of the programme when the track was announced, if the contribution had begun.
    opened: Option<Timestamp>,
    grid: Option<Grid>,
    patience: TimeDelta,
    /// Sound that begins later than this behind its contribution is silent up to there.
    late_start: TimeDelta,
    /// The newest frame as it came: its times and its payload, to tell one that comes twice.
    came: Option<(Timestamp, Timestamp, Bytes)>,
}

impl Splice {
    /// A programme with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was made good so far.
    pub const fn repairs(&self) -> Repairs {
        self.repairs
    }

    /// Another contribution follows; its clock has nothing to do with the last one's.
    pub fn begin(&mut self) {
        self.lanes.clear();
        self.offset = None;
        self.began = None;
        self.floor = self.end;
        self.broken = self.end.is_some();
    }

    /// Where the programme ends so far; none before the first frame.
    pub const fn end(&self) -> Option<Timestamp> {
        self.end
    }

    /// The tracks of the contribution in hand.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.lanes.values().map(|lane| &lane.track)
    }

    /// Nothing comes for a while: sound that is behind the rest is silent up to there, and something else may follow where
    /// the tracks end. None before the first frame.
    pub fn pause(&mut self, out: &mut Vec<Item>) -> Vec<End> {
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
            let late = if end - dts > MOST_APART { end - dts } else { TimeDelta::ZERO };
            End { track: lane.track.clone(), dts: dts + late, pts: pts + late }
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
            // A player that is in the middle of it stalls at holes of a tenth of a second.
            *lane = Lane { late_start: TimeDelta::ZERO, ..Lane::new(lane.track.clone(), self.floor, None) };
            out.push(Item::Track(lane.track.clone()));
        }
    }

    /// A track begins, or comes back with another header.
    pub fn track(&mut self, track: Track, out: &mut Vec<Item>) {
        self.announce_break(out);
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
        let end = self.end.unwrap_or(Timestamp::ZERO + ORIGIN);
        let Some(lane) = self.lanes.get_mut(&frame.track) else { return };
        if frame.payload.is_empty() || lane.comes_again(&frame) {
            self.repairs.void_frames += 1;
            return;
        }
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
        let lane_end = match lane.track.kind() {
            Kind::Audio => lane.lay_sound(frame, at, began, end, &mut self.repairs, out),
            Kind::Video => lane.lay_picture(frame, at, offset, &mut self.repairs, out),
        };
        self.end = Some(end.max(lane_end));
        self.fill_silence(out);
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
            self.repairs.silent_frames += lane.fill_silence(began, end, lane.patience, out);
        }
    }

    fn announce_break(&mut self, out: &mut Vec<Item>) {
        if std::mem::take(&mut self.broken) {
            out.push(Item::Discontinuity);
        }
    }
}

impl Lane {
    fn new(track: Track, floor: Option<Timestamp>, opened: Option<Timestamp>) -> Self {
        Self {
            track,
            offset: None,
            newest: None,
            last: floor,
            shown: None,
            opened,
            grid: None,
            patience: FIRST_PATIENCE,
            late_start: LATE_START,
            came: None,
        }
    }

    /// Where pictures end: what is decoded, and what is shown.
    fn pictures_end(&self) -> Option<(Timestamp, Timestamp)> {
        let (shown, lasts) = self.shown?;
        Some((self.last? + lasts, shown + lasts))
    }

    /// Tells a frame that came before, byte for byte at the same time, and remembers this one.
    fn comes_again(&mut self, frame: &Frame) -> bool {
        let again = self
            .came
            .as_ref()
            .is_some_and(|(dts, pts, payload)| *dts == frame.dts && *pts == frame.pts && *payload == frame.payload);
        self.came = Some((frame.dts, frame.pts, frame.payload.clone()));
        again
    }

    /// The offset that fits `frame`: the one in force, that of the other lanes if they have jumped and it fits better, or
    /// a new one if the contribution's clock jumps with this frame.
    fn settle(
        &self,
        frame: &Frame,
        end: Timestamp,
        shared: &mut Option<TimeDelta>,
        repairs: &mut Repairs,
    ) -> TimeDelta {
        let from_end = |offset: &TimeDelta| (frame.dts + *offset - end).abs();
        let fits = |offset: &TimeDelta| {
            let at = frame.dts + *offset;
            from_end(offset) <= JUMP && self.newest.is_none_or(|newest| at >= newest - BACKWARD)
        };
        let known = [self.offset, *shared].into_iter().flatten().filter(fits);
        known.min_by_key(from_end).unwrap_or_else(|| {
            // The clock starts anew: this frame continues the programme where it stands.
            repairs.jumps += u64::from(self.offset.is_some());
            let offset = end - frame.dts;
            *shared = Some(offset);
            offset
        })
    }

    /// Lays a picture where it belongs, but never before the last one; gives the end of the track.
    fn lay_picture(
        &mut self,
        frame: Frame,
        at: Timestamp,
        offset: TimeDelta,
        repairs: &mut Repairs,
        out: &mut Vec<Item>,
    ) -> Timestamp {
        let floor = self.last.unwrap_or(at);
        let dts = at.max(floor);
        let pts = frame.pts + offset;
        repairs.reordered_frames += u64::from(dts != at);
        out.push(Item::Frame(Frame { dts, pts, ..frame }));
        self.last = Some(dts);
        // The picture lasts about as long as the one before it.
        let lasts = (dts - floor).min(LONGEST_PICTURE);
        let shown = self.shown.map_or(pts, |(shown, _)| shown.max(pts));
        self.shown = Some((shown, if self.shown.is_some() { lasts } else { FIRST_PICTURE }));
        dts + lasts
    }

    /// Puts sound in its place on the grid, and silence before it where frames are missing; gives the end of the track.
    fn lay_sound(
        &mut self,
        frame: Frame,
        at: Timestamp,
        began: Timestamp,
        end: Timestamp,
        repairs: &mut Repairs,
        out: &mut Vec<Item>,
    ) -> Timestamp {
        self.patience = self.patience.max(PATIENCE);
        let opened = self.opened.unwrap_or(began);
        let floor = self.last.unwrap_or(at);
        let codec = &self.track.codec;
        // The grid keeps its place where the clock jumps, so that sound runs on without overlap.
        let grid = self.grid.get_or_insert_with(|| {
            let grid = Grid::new(codec, at.max(floor));
            if at - opened > self.late_start { grid.reaching_back_to(opened) } else { grid }
        });
        match grid.place(at, &frame.payload) {
            Place::Drop => {
                repairs.dropped_frames += 1;
                self.patience = self.patience.max((end - at + PATIENCE).min(MOST_PATIENCE));
                return grid.next();
            }
            Place::Next => {}
            Place::After(missing) => match grid.filling(missing, &frame.payload) {
                Filling::Frames(count, payload) => {
                    repairs.silent_frames += lay(grid, count, &payload, frame.track, out);
                }
                Filling::Hole => grid.skip(missing, &frame.payload),
            },
        }
        let dts = grid.advance(&frame.payload, false);
        out.push(Item::Frame(Frame { dts, pts: dts, ..frame }));
        self.last = Some(grid.next());
        grid.next()
    }

    /// Lays silence up to `end` if the track has kept the programme waiting for longer than `patience`; gives how many
    /// frames.
    fn fill_silence(&mut self, began: Timestamp, end: Timestamp, patience: TimeDelta, out: &mut Vec<Item>) -> u64 {
        let opened = self.opened.unwrap_or(began);
        let from = self.grid.as_ref().map_or(self.last.map_or(opened, |last| last.max(opened)), Grid::next);
        if end - from <= patience {
            return 0;
        }
        let codec = &self.track.codec;
        let grid = self.grid.get_or_insert_with(|| Grid::new(codec, from));
        let Some((count, payload)) = grid.silence_until(end) else { return 0 };
        let laid = lay(grid, count, &payload, self.track.id, out);
        self.last = Some(grid.next());
        laid
    }
}

/// Lays `count` frames like `payload` one after another.
fn lay(grid: &mut Grid, count: i64, payload: &Bytes, track: TrackId, out: &mut Vec<Item>) -> u64 {
    for _ in 0..count {
        let dts = grid.advance(payload, true);
        out.push(Item::Frame(Frame { track, dts, pts: dts, access: Access::Independent, payload: payload.clone() }));
    }
    u64::try_from(count).unwrap_or(0)
}
