//! Decides where segments end, for all renditions of a broadcast. It sees times only: no bytes, no output.
//!
//! Video decides wherever there is video: segments end at key frames, at their presentation time. The other renditions
//! follow. Their frames wait until the reference rendition has reached them, so that each boundary before them is
//! known, and their segments end at the first frame at or after a boundary. Where video stalls, audio goes on after a
//! bounded wait and decides the boundaries alone; the segments of all video renditions then end with those of the
//! audio, so that media sequence numbers stay aligned.

mod boundaries;
mod gop_guard;
mod period;

use media::{Access, Frame, Kind, LatencyMode, TimeDelta, Timestamp};

use super::targets;
use crate::Error;
pub(super) use boundaries::{Boundaries, Boundary};
use gop_guard::GopGuard;
pub(super) use period::{Period, PeriodStart};

/// Duration of the first segment of a broadcast without video.
pub(super) const FIRST_AUDIO_SEGMENT: TimeDelta = TimeDelta::from_secs(1);
/// Least duration of the first segment of a broadcast with video: about a second. It is short for a quick start. All
/// other segments are as long as the mode says, because players that count back three segments from the end of the
/// playlist have to find more media there than the next segment takes.
pub(super) const FIRST_SEGMENT: TimeDelta = TimeDelta::from_millis(950);
/// Least duration of a segment that began without a key frame or repeats one ([`Period::lacks_key_frame`]): a
/// little less than half a second, so that it may be a GOP of half a second whose timestamps jitter.
const MIN_SEGMENT: TimeDelta = TimeDelta::from_millis(450);
/// Most that a segment may exceed the target duration and still round to it.
pub(super) const ROUNDING: TimeDelta = TimeDelta::from_millis(300);
/// [`ROUNDING`] for audio while video decides the boundaries. The greater value lets video end a segment before audio
/// must, even if a video frame lasts longer than an audio frame.
pub(super) const DEPENDENT_ROUNDING: TimeDelta = TimeDelta::from_millis(380);
/// Most by which a segment may be shorter than the segment duration of its mode.
const TARGET_JITTER: TimeDelta = TimeDelta::from_millis(100);
/// GOPs that are predicted to find the next boundary: as many as 20 s, the longest target duration, have GOPs of half a
/// second.
const GOPS_AHEAD: i64 = 40;

/// Knowledge in advance about the end of the open segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ExpectedEnd {
    /// Key frames come irregularly, so the segment may end before any frame. A part is then published only when the
    /// frame after it shows whether the segment goes on, so that no playlist hints at a part that never comes.
    Unknown,
    /// The segment ends at this presentation time.
    At(Timestamp),
}

/// Position of the reference video's writer, on its decode timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct VideoPosition {
    /// Start of the open segment.
    pub(super) segment_start: Timestamp,
    /// Estimated duration of a frame.
    pub(super) frame_duration: TimeDelta,
    /// Time from the DTS of a key frame to its PTS.
    pub(super) reorder_delay: TimeDelta,
}

/// Decides the [`Boundaries`] of one [`Period`] after another.
#[derive(Debug)]
pub(super) struct BoundaryPlanner {
    mode: LatencyMode,
    /// `EXT-X-TARGETDURATION`; zero until it is frozen.
    target_duration: TimeDelta,
    gop_guard: GopGuard,
    pub(super) period: Period,
    pub(super) boundaries: Boundaries,
}

impl BoundaryPlanner {
    pub(super) fn new(mode: LatencyMode) -> Self {
        Self {
            mode,
            target_duration: TimeDelta::ZERO,
            gop_guard: GopGuard::default(),
            period: Period::default(),
            boundaries: Boundaries::default(),
        }
    }

    /// Sets the frozen target duration.
    pub(super) fn set_target_duration(&mut self, secs: u32) {
        self.target_duration = TimeDelta::from_secs(secs.into());
    }

    /// Begins a period. Every period but the first of a broadcast begins with a discontinuity.
    pub(super) fn begin_period(&mut self, start: PeriodStart) {
        self.period = Period::new(start);
        self.boundaries = Boundaries::new(start.msn, start.pts, !start.is_first);
    }

    /// Fails with [`Error::LongGop`] if the contribution's GOP is longer than [`GopGuard`] accepts.
    pub(super) fn check_gop(&mut self, frame: &Frame) -> Result<(), Error> {
        self.gop_guard.check(frame.dts, frame.access)
    }

    /// Forgets the GOP that [`Self::check_gop`] measures, because the next frames are another contribution's.
    pub(super) fn end_contribution(&mut self) {
        self.gop_guard = GopGuard::default();
    }

    /// Records the arrival of an audio frame.
    pub(super) fn note_audio(&mut self, pts: Timestamp) {
        // Audio that ends before the first video frame is decoded is left out.
        let lead = self.period.start.pts - pts.max(self.period.start.dts);
        self.period.audio_lead = self.period.audio_lead.max(lead);
    }

    /// Records a frame of the reference video. `boundary_pts` is the presentation time of a boundary in front of it.
    pub(super) fn note_video(&mut self, frame: &Frame, boundary_pts: Timestamp) {
        self.period.newest_video = Some(frame.dts);
        self.period.reference_kind = Kind::Video;
        if frame.access != Access::Dependent {
            self.period.key_frames.note(boundary_pts);
        }
    }

    /// Returns true if the reference video has reached `frame` of a dependent video rendition, so that all boundaries
    /// up to that frame are decided. Dependent renditions never overtake the reference.
    pub(super) fn has_reached(&self, frame: &Frame) -> bool {
        let Some(video) = self.period.newest_video else { return false };
        let key_frame = self.period.key_frames.newest().unwrap_or(video);
        video >= frame.dts && (frame.access == Access::Dependent || video.max(key_frame) >= frame.pts)
    }

    /// Returns what is known about the end of segment `msn`.
    pub(super) fn expected_end(&self, msn: u64) -> ExpectedEnd {
        if let Some(boundary) = self.boundaries.end_of(msn) {
            return ExpectedEnd::At(boundary.at);
        }
        let is_newest = msn == self.boundaries.newest_msn();
        let predicted = self.period.key_frames.predict(GOPS_AHEAD).filter(|_| is_newest);
        let end = predicted.into_iter().flatten().find(|at| self.may_end_at(*at));
        end.map_or(ExpectedEnd::Unknown, ExpectedEnd::At)
    }

    /// Ends the newest segment where a video frame would make it longer than `limit`, in the middle of a GOP. Returns
    /// the decode time of the boundary along with it; `None` if the frame fits.
    pub(super) fn end_overlong(
        &mut self,
        frame: &Frame,
        video: VideoPosition,
        limit: TimeDelta,
    ) -> Option<(Timestamp, Boundary)> {
        // The video writer's segment may begin later than the boundary, and audio follows the boundary. The earlier
        // start counts, so that the segment is too long in neither.
        let start = video.segment_start.min(self.boundaries.newest_start() - video.reorder_delay);
        let is_key_frame = frame.access != Access::Dependent;
        let end = if is_key_frame { frame.dts } else { frame.dts + video.frame_duration };
        if end - start <= limit {
            return None;
        }
        let dts = frame.dts.min(start + limit);
        let boundary = Boundary { at: dts + video.reorder_delay, discontinuity: false, key_frame: false };
        self.boundaries.push(boundary);
        Some((dts, boundary))
    }

    /// Ends the newest segment at a key frame presented at `at`, if it is long enough or would become too long with the
    /// next GOP. `has_content` is whether the open segment has frames. With `has_new_header` it ends whatever its
    /// length, with a discontinuity. Never ends a segment at its own start.
    pub(super) fn end_at_key_frame(
        &mut self,
        at: Timestamp,
        has_content: bool,
        has_new_header: bool,
    ) -> Option<Boundary> {
        if at - self.boundaries.newest_start() <= TimeDelta::ZERO {
            return None;
        }
        // A boundary that audio has passed already would take the renditions out of alignment.
        let audio_passed = self.period.newest_audio.is_some_and(|audio| audio >= at);
        if !has_new_header && (!has_content || audio_passed || !self.may_end_at(at)) {
            return None;
        }
        let boundary = Boundary { at, discontinuity: has_new_header, key_frame: true };
        self.boundaries.push(boundary);
        Some(boundary)
    }

    /// Returns the boundary at which video joins a period that audio began alone: a key frame presented at `at`.
    /// Divides the time before it into segments, and leaves it to the caller to add the boundary to
    /// [`Self::boundaries`]. Returns `None` if audio has passed that time already.
    pub(super) fn join_video(&mut self, at: Timestamp) -> Option<Boundary> {
        if self.period.newest_audio.is_some_and(|audio| audio >= at) {
            return None;
        }
        self.period.video_joined = true;
        self.split_gap(at);
        Some(Boundary { at, discontinuity: true, key_frame: true })
    }

    /// Returns where audio has to end the newest segment, because a frame at `pts` would make it longer than `limit`;
    /// `None` if the frame fits. `segment_start` is where the audio's own segment began.
    pub(super) fn overlong_audio_end(
        &self,
        pts: Timestamp,
        frame_duration: TimeDelta,
        segment_start: Timestamp,
        limit: TimeDelta,
    ) -> Option<Timestamp> {
        let start = segment_start.min(self.boundaries.newest_start());
        (pts + frame_duration - start > limit).then(|| pts.min(start + limit))
    }

    /// Returns true if audio decides the boundaries and ends the newest segment before its frame at `pts`.
    pub(super) fn audio_ends_at(&self, pts: Timestamp) -> bool {
        let first = self.is_at_first_segment();
        let target = if first { FIRST_AUDIO_SEGMENT } else { targets::segment_target(self.mode) };
        self.period.reference_kind == Kind::Audio && pts - self.boundaries.newest_start() >= target
    }

    /// Divides a stretch without frames into segments, for a boundary at its `end`.
    pub(super) fn split_gap(&mut self, end: Timestamp) {
        let limit = self.max_length(ROUNDING);
        while end - self.boundaries.newest_start() > limit {
            let at = self.boundaries.newest_start() + limit;
            self.boundaries.push(Boundary { at, discontinuity: false, key_frame: false });
        }
    }

    /// Returns the longest duration of the newest segment: the target duration plus `rounding`.
    pub(super) fn max_length(&self, rounding: TimeDelta) -> TimeDelta {
        // In the first segment of a period, audio also has the frames before the first video frame.
        let is_at_start = self.boundaries.newest_start() == self.period.start.pts;
        let audio_lead = if is_at_start { self.period.audio_lead } else { TimeDelta::ZERO };
        self.target_duration + rounding - audio_lead
    }

    /// Returns true until the first segment of the broadcast ends.
    fn is_at_first_segment(&self) -> bool {
        self.period.start.is_first && self.boundaries.newest_msn() == self.period.start.msn
    }

    /// Returns true if a key frame presented at `at` ends the newest segment: it is long enough, or would become too
    /// long with the next GOP.
    fn may_end_at(&self, at: Timestamp) -> bool {
        let length = at - self.boundaries.newest_start();
        let least = match self.period.lacks_key_frame {
            true => MIN_SEGMENT,
            false if self.is_at_first_segment() => FIRST_SEGMENT,
            false => targets::segment_target(self.mode) - TARGET_JITTER,
        };
        length >= least || length + self.period.key_frames.gop() > self.max_length(ROUNDING)
    }
}

#[cfg(test)]
mod tests;
