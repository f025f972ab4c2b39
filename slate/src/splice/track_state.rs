//! State of one track on the programme's timeline.

use bytes::Bytes;
use media::{Access, Frame, TimeDelta, Timestamp, Track, TrackId};

use super::{AUDIO_TIMEOUT, Item, MAX_DISORDER, MIN_JUMP, SpliceStats};
use crate::sample_grid::{GapFill, GridPlacement, SampleGrid};

/// Maximum assumed duration of a video frame when the next contribution is placed after it.
const MAX_FRAME_DURATION: TimeDelta = TimeDelta::from_millis(100);
/// Assumed duration of the first video frame.
const FIRST_FRAME_DURATION: TimeDelta = TimeDelta::from_millis(40);
/// Time after which an audio track that is announced and does not arrive is filled with silence.
const FIRST_TIMEOUT: TimeDelta = TimeDelta::from_millis(300);
/// Maximum timeout of late audio. Below it the timeout is one second longer than the audio was late.
const MAX_TIMEOUT: TimeDelta = TimeDelta::from_secs(5);
/// Maximum lateness of the first audio after the start of its contribution. Audio that begins later is preceded by silence.
/// After a gap that something else filled, the silence precedes it in any case.
const LATE_START: TimeDelta = TimeDelta::from_millis(100);

#[derive(Debug)]
pub(super) struct TrackState {
    pub(super) track: Track,
    /// Programme time less contribution time; `None` until this contribution's first frame.
    pub(super) offset: Option<TimeDelta>,
    /// Programme time of the newest frame by the contribution's timestamp.
    pub(super) newest: Option<Timestamp>,
    /// Programme time at which the newest frame was placed; for audio, at which it ends.
    pub(super) last: Option<Timestamp>,
    /// Latest presentation time of the video, and the duration of its last frame.
    pub(super) presented: Option<(Timestamp, TimeDelta)>,
    /// End of the programme when the track was announced, if the contribution had begun.
    pub(super) announced: Option<Timestamp>,
    pub(super) grid: Option<SampleGrid>,
    pub(super) timeout: TimeDelta,
    /// Lateness of the first audio beyond which silence precedes it, see [`LATE_START`].
    pub(super) late_start: TimeDelta,
    /// DTS, PTS and payload of the newest frame as it came, to recognize one that comes twice.
    pub(super) received: Option<(Timestamp, Timestamp, Bytes)>,
    /// Whether audio of this contribution was placed.
    pub(super) has_audio: bool,
    /// The newest key frame of video that every decoder accepts.
    pub(super) key_frame: Option<Bytes>,
    /// Whether the contribution lacks this track.
    pub(super) is_stand_in: bool,
    /// Header that applies from the next key frame of video on.
    pub(super) pending_header: Option<Track>,
    /// Whether the header has changed and no key frame came since.
    pub(super) awaits_key_frame: bool,
}

/// Position of a frame in the programme.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// Programme time of the frame by the contribution's timestamp.
    pub(super) at: Timestamp,
    /// Programme time of the contribution's first frame.
    pub(super) began: Timestamp,
    /// End of the programme so far.
    pub(super) end: Timestamp,
}

impl TrackState {
    pub(super) fn new(track: Track, floor: Option<Timestamp>, announced: Option<Timestamp>) -> Self {
        Self {
            track,
            offset: None,
            newest: None,
            last: floor,
            presented: None,
            announced,
            grid: None,
            timeout: FIRST_TIMEOUT,
            late_start: LATE_START,
            received: None,
            has_audio: false,
            key_frame: None,
            is_stand_in: false,
            pending_header: None,
            awaits_key_frame: false,
        }
    }

    /// Returns the end of the video in decode time and in presentation time.
    pub(super) fn video_end(&self) -> Option<(Timestamp, Timestamp)> {
        let (presented, duration) = self.presented?;
        Some((self.last? + duration, presented + duration))
    }

    /// Whether `frame` is the previous one again, byte for byte with the same timestamps. Remembers `frame`.
    pub(super) fn is_repeat(&mut self, frame: &Frame) -> bool {
        let repeat = self
            .received
            .as_ref()
            .is_some_and(|(dts, pts, payload)| *dts == frame.dts && *pts == frame.pts && *payload == frame.payload);
        self.received = Some((frame.dts, frame.pts, frame.payload.clone()));
        repeat
    }

    /// Returns the timestamp offset that fits `frame`.
    ///
    /// That is the offset in force, the one `shared` by tracks that have jumped if it fits better, or a new one if the
    /// contribution's clock jumps with this frame.
    pub(super) fn choose_offset(
        &self,
        frame: &Frame,
        end: Timestamp,
        shared: &mut Option<TimeDelta>,
        stats: &mut SpliceStats,
    ) -> TimeDelta {
        let from_end = |offset: &TimeDelta| (frame.dts + *offset - end).abs();
        let fits = |offset: &TimeDelta| {
            let at = frame.dts + *offset;
            from_end(offset) <= MIN_JUMP && self.newest.is_none_or(|newest| at >= newest - MAX_DISORDER)
        };
        let known = [self.offset, *shared].into_iter().flatten().filter(fits);
        known.min_by_key(from_end).unwrap_or_else(|| {
            // The clock has jumped: this frame continues the programme at its end.
            stats.timestamp_jumps += u64::from(self.offset.is_some());
            let offset = end - frame.dts;
            *shared = Some(offset);
            offset
        })
    }

    /// Places a video frame at `at`, but never before the previous one. Returns the end of the track.
    pub(super) fn place_video(
        &mut self,
        frame: Frame,
        at: Timestamp,
        offset: TimeDelta,
        stats: &mut SpliceStats,
        out: &mut Vec<Item>,
    ) -> Timestamp {
        let floor = self.last.unwrap_or(at);
        let dts = at.max(floor);
        let pts = frame.pts + offset;
        stats.reordered_frames += u64::from(dts != at);
        if frame.access == Access::Independent {
            self.key_frame = Some(frame.payload.clone());
        }
        out.push(Item::Frame(Frame { dts, pts, ..frame }));
        self.last = Some(dts);
        // The frame is assumed to last as long as the one before it.
        let duration = (dts - floor).min(MAX_FRAME_DURATION);
        let presented = self.presented.map_or(pts, |(presented, _)| presented.max(pts));
        self.presented = Some((presented, if self.presented.is_some() { duration } else { FIRST_FRAME_DURATION }));
        dts + duration
    }

    /// Places an audio frame on the [`SampleGrid`], with silence before it where frames are missing. Returns the end of the
    /// track.
    pub(super) fn place_audio(
        &mut self,
        frame: Frame,
        Position { at, began, end }: Position,
        stats: &mut SpliceStats,
        out: &mut Vec<Item>,
    ) -> Timestamp {
        self.timeout = self.timeout.max(AUDIO_TIMEOUT);
        let announced = self.announced.unwrap_or(began);
        let floor = self.last.unwrap_or(at);
        let codec = &self.track.codec;
        // The grid keeps its position where the clock jumps, so that audio continues without overlap.
        let grid = self.grid.get_or_insert_with(|| {
            let grid = SampleGrid::new(codec, at.max(floor));
            if at - announced > self.late_start { grid.reaching_back_to(announced) } else { grid }
        });
        match grid.place(at, &frame.payload) {
            GridPlacement::Discard => {
                stats.dropped_frames += 1;
                stats.late_frames += u64::from(self.has_audio);
                self.timeout = self.timeout.max((end - at + AUDIO_TIMEOUT).min(MAX_TIMEOUT));
                return grid.next();
            }
            GridPlacement::Next => {}
            GridPlacement::AfterGap(missing) => {
                stats.audio_gaps += u64::from(self.has_audio);
                match grid.fill_gap(missing, &frame.payload) {
                    GapFill::Frames(count, payload) => {
                        stats.silent_frames += push_filling(grid, count, &payload, frame.track, out);
                    }
                    GapFill::Open => grid.skip(missing, &frame.payload),
                }
            }
        }
        self.has_audio = true;
        let dts = grid.advance(&frame.payload, false);
        out.push(Item::Frame(Frame { dts, pts: dts, ..frame }));
        self.last = Some(grid.next());
        grid.next()
    }

    /// Fills the track with silence up to `end` if it is behind by more than `timeout`. Returns the number of silent frames.
    pub(super) fn fill_silence(
        &mut self,
        began: Timestamp,
        end: Timestamp,
        timeout: TimeDelta,
        out: &mut Vec<Item>,
    ) -> u64 {
        let announced = self.announced.unwrap_or(began);
        let from = self.grid.as_ref().map_or(self.last.map_or(announced, |last| last.max(announced)), SampleGrid::next);
        if end - from <= timeout {
            return 0;
        }
        let codec = &self.track.codec;
        let grid = self.grid.get_or_insert_with(|| SampleGrid::new(codec, from));
        let Some((count, payload)) = grid.silence_until(end) else { return 0 };
        let pushed = push_filling(grid, count, &payload, self.track.id, out);
        self.last = Some(grid.next());
        pushed
    }
}

/// Places `count` copies of `payload` one after another. Returns their number.
fn push_filling(grid: &mut SampleGrid, count: i64, payload: &Bytes, track: TrackId, out: &mut Vec<Item>) -> u64 {
    for _ in 0..count {
        let dts = grid.advance(payload, true);
        out.push(Item::Frame(Frame { track, dts, pts: dts, access: Access::Independent, payload: payload.clone() }));
    }
    u64::try_from(count).unwrap_or(0)
}
