//! The programme of one broadcast: maps the frames of its contributions to one timeline, and fills its gaps.

use media::{Frame, Metadata, TimeDelta, Timestamp, Track};

use crate::gap::{Arrival, FrameAction, GapPolicy, SlatePoll};
use crate::{Intake, Item, Splice, SpliceStats};

/// Makes one programme out of contributions: [`Intake`] and [`Splice`], and a [`GapPolicy`] if gaps are filled.
///
/// Time is an argument of every method that needs it: the distance from any fixed instant of a monotonic clock.
#[derive(Debug)]
pub struct Programme {
    /// Repairs the timestamps of the current contribution.
    intake: Intake,
    splice: Splice,
    gap_policy: Option<GapPolicy>,
}

impl Programme {
    /// Creates a programme that is decoded, and whose gaps [`Continuity`](crate::Continuity) fills.
    pub fn for_transcode() -> Self {
        Self { intake: Intake::default(), splice: Splice::new(), gap_policy: None }
    }

    /// Creates a programme whose frames viewers get as they are. Without a `gap_policy` it has no slate.
    pub fn for_passthrough(gap_policy: Option<GapPolicy>) -> Self {
        Self { intake: Intake::default(), splice: Splice::for_passthrough(), gap_policy }
    }

    /// Begins another contribution. If there is a slate clip, a gap opens after the previous one.
    pub fn begin(&mut self, out: &mut Vec<Item>) {
        if let Some(policy) = &mut self.gap_policy {
            policy.begin(&mut self.splice, out);
        }
        self.splice.begin();
        self.intake = Intake::default();
    }

    /// Announces a track of the contribution, or a change of it.
    pub fn track(&mut self, track: Track, out: &mut Vec<Item>) {
        if let Some(policy) = &mut self.gap_policy {
            policy.track(&track);
        }
        self.intake.track(&track);
        let before = out.len();
        self.splice.track(track, out);
        if self.is_in_gap() {
            // The splice announces the track again when the slate ends.
            let announced = out.split_off(before);
            out.extend(announced.into_iter().filter(|item| matches!(item, Item::Fault(_))));
        }
    }

    /// Notes that the contribution has video whose codec header has not arrived yet.
    pub const fn expect_video(&mut self) {
        if let Some(policy) = &mut self.gap_policy {
            policy.expect_video();
        }
    }

    /// Maps a frame of the contribution to the timeline, unless it arrives in a gap that it cannot end.
    pub fn frame(&mut self, frame: Frame, now: TimeDelta, out: &mut Vec<Item>) -> FrameAction {
        let frame = self.intake.frame(frame, now, out);
        let track = self.gap_policy.as_ref().and_then(|_| self.splice.tracks().find(|track| track.id == frame.track));
        let kind = track.map(Track::kind);
        let Some((policy, kind)) = self.gap_policy.as_mut().zip(kind) else {
            self.splice.frame(frame, out);
            return FrameAction::Forward;
        };
        let lateness = self.intake.lateness(&frame, now);
        let action = policy.frame(Arrival { frame: &frame, kind, now, lateness }, out);
        match action {
            FrameAction::Discard => return action,
            FrameAction::Resume { slate_end } => self.splice.advance(slate_end, out),
            FrameAction::Forward => {}
        }
        self.splice.frame(frame, out);
        let captured = self.splice.offset().zip(self.intake.least_delay());
        policy.note_position(captured.map(|(offset, delay)| offset - delay));
        action
    }

    /// Maps metadata of the contribution to the timeline; `None` in a gap, and if [`Splice::metadata`] has no time for it.
    pub fn metadata(&self, metadata: Metadata) -> Option<Metadata> {
        let metadata = self.intake.metadata(metadata);
        self.splice.metadata(metadata).filter(|_| !self.is_in_gap())
    }

    /// Appends the slate's frames that are due `now` to `out`, see [`GapPolicy::poll`]; `None` if there is no policy.
    pub fn poll(&mut self, now: TimeDelta, out: &mut Vec<Item>) -> Option<SlatePoll> {
        let policy = self.gap_policy.as_mut()?;
        Some(policy.poll(now, &mut self.splice, out))
    }

    /// Whether frames of contributions are discarded now, see [`GapPolicy::is_in_gap`].
    pub fn is_in_gap(&self) -> bool {
        self.gap_policy.as_ref().is_some_and(GapPolicy::is_in_gap)
    }

    /// Returns the policy that fills gaps.
    pub const fn gap_policy(&self) -> Option<&GapPolicy> {
        self.gap_policy.as_ref()
    }

    /// Returns the policy that fills gaps, to change its images or to take a clip.
    pub const fn gap_policy_mut(&mut self) -> Option<&mut GapPolicy> {
        self.gap_policy.as_mut()
    }

    /// Stops filling gaps, for a slate that cannot be packaged.
    pub fn remove_slate(&mut self) {
        self.gap_policy = None;
    }

    /// Returns the end of the programme so far; `None` before the first frame.
    pub const fn end(&self) -> Option<Timestamp> {
        self.splice.end()
    }

    /// Returns the counters of repairs so far.
    pub const fn stats(&self) -> SpliceStats {
        self.splice.stats()
    }
}
