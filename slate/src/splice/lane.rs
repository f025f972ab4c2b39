//! One track on the programme's timeline.

use bytes::Bytes;
use media::{Access, Frame, TimeDelta, Timestamp, Track, TrackId};

use super::{AUDIO_TIMEOUT, BACKWARD, Item, JUMP, SpliceStats};
use crate::audio::{Filling, Grid, Place};

/// A picture is taken to last no longer than this when the next contribution is laid behind it.
const MAX_PICTURE: TimeDelta = TimeDelta::from_millis(100);
/// A picture that none came before is taken to last so long.
const FIRST_PICTURE: TimeDelta = TimeDelta::from_millis(40);
/// A track of sound that is announced and does not come is silent after this long.
const FIRST_PATIENCE: TimeDelta = TimeDelta::from_millis(300);
/// Sound that comes late is waited for a second longer than it was late, but never longer than this.
const MAX_PATIENCE: TimeDelta = TimeDelta::from_secs(5);
/// Sound that begins later than this behind the contribution is silent up to there, unless something stood in for the
/// contribution before: then it is silent in any case.
const LATE_START: TimeDelta = TimeDelta::from_millis(100);

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) track: Track,
    /// Programme time less contribution time; `None` until this contribution's first frame.
    pub(super) offset: Option<TimeDelta>,
    /// Where the contribution dates the newest frame, on the programme's timeline.
    pub(super) newest: Option<Timestamp>,
    /// Where the newest frame was laid; for sound, where it ends.
    pub(super) last: Option<Timestamp>,
    /// Of pictures that came: where the last one of them is shown, and how long it lasts.
    pub(super) shown: Option<(Timestamp, TimeDelta)>,
    /// The end of the programme when the track was announced, if the contribution had begun.
    pub(super) opened: Option<Timestamp>,
    pub(super) grid: Option<Grid>,
    pub(super) patience: TimeDelta,
    /// Sound that begins later than this behind its contribution is silent up to there.
    pub(super) late_start: TimeDelta,
    /// The newest frame as it came: its times and its payload, to tell one that comes twice.
    pub(super) came: Option<(Timestamp, Timestamp, Bytes)>,
    /// Audio of this contribution was laid.
    pub(super) heard: bool,
    /// The newest key frame of video that any decoder takes.
    pub(super) key_frame: Option<Bytes>,
    /// The contribution has no such track.
    pub(super) is_stand_in: bool,
    /// A header that holds from the next key frame of video on.
    pub(super) next: Option<Track>,
    /// The header changed and no key frame came since.
    pub(super) awaits_key_frame: bool,
}

impl Lane {
    pub(super) fn new(track: Track, floor: Option<Timestamp>, opened: Option<Timestamp>) -> Self {
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
            heard: false,
            key_frame: None,
            is_stand_in: false,
            next: None,
            awaits_key_frame: false,
        }
    }

    /// Where pictures end: what is decoded, and what is shown.
    pub(super) fn pictures_end(&self) -> Option<(Timestamp, Timestamp)> {
        let (shown, lasts) = self.shown?;
        Some((self.last? + lasts, shown + lasts))
    }

    /// Tells a frame that came before, byte for byte at the same time, and remembers this one.
    pub(super) fn comes_again(&mut self, frame: &Frame) -> bool {
        let again = self
            .came
            .as_ref()
            .is_some_and(|(dts, pts, payload)| *dts == frame.dts && *pts == frame.pts && *payload == frame.payload);
        self.came = Some((frame.dts, frame.pts, frame.payload.clone()));
        again
    }

    /// The offset that fits `frame`: the one in force, that of the other lanes if they have jumped and it fits better, or
    /// a new one if the contribution's clock jumps with this frame.
    pub(super) fn settle(
        &self,
        frame: &Frame,
        end: Timestamp,
        shared: &mut Option<TimeDelta>,
        repairs: &mut SpliceStats,
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
    pub(super) fn lay_picture(
        &mut self,
        frame: Frame,
        at: Timestamp,
        offset: TimeDelta,
        repairs: &mut SpliceStats,
        out: &mut Vec<Item>,
    ) -> Timestamp {
        let floor = self.last.unwrap_or(at);
        let dts = at.max(floor);
        let pts = frame.pts + offset;
        repairs.reordered_frames += u64::from(dts != at);
        if frame.access == Access::Independent {
            self.key_frame = Some(frame.payload.clone());
        }
        out.push(Item::Frame(Frame { dts, pts, ..frame }));
        self.last = Some(dts);
        // The picture lasts about as long as the one before it.
        let lasts = (dts - floor).min(MAX_PICTURE);
        let shown = self.shown.map_or(pts, |(shown, _)| shown.max(pts));
        self.shown = Some((shown, if self.shown.is_some() { lasts } else { FIRST_PICTURE }));
        dts + lasts
    }

    /// Puts sound in its place on the grid, and silence before it where frames are missing; gives the end of the track.
    pub(super) fn lay_sound(
        &mut self,
        frame: Frame,
        at: Timestamp,
        began: Timestamp,
        end: Timestamp,
        repairs: &mut SpliceStats,
        out: &mut Vec<Item>,
    ) -> Timestamp {
        self.patience = self.patience.max(AUDIO_TIMEOUT);
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
                repairs.late_frames += u64::from(self.heard);
                self.patience = self.patience.max((end - at + AUDIO_TIMEOUT).min(MAX_PATIENCE));
                return grid.next();
            }
            Place::Next => {}
            Place::After(missing) => {
                repairs.holes += u64::from(self.heard);
                match grid.filling(missing, &frame.payload) {
                    Filling::Frames(count, payload) => {
                        repairs.silent_frames += lay(grid, count, &payload, frame.track, out);
                    }
                    Filling::Hole => grid.skip(missing, &frame.payload),
                }
            }
        }
        self.heard = true;
        let dts = grid.advance(&frame.payload, false);
        out.push(Item::Frame(Frame { dts, pts: dts, ..frame }));
        self.last = Some(grid.next());
        grid.next()
    }

    /// Lays silence up to `end` if the track has kept the programme waiting for longer than `patience`; gives how many
    /// frames.
    pub(super) fn fill_silence(
        &mut self,
        began: Timestamp,
        end: Timestamp,
        patience: TimeDelta,
        out: &mut Vec<Item>,
    ) -> u64 {
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
