//! `EXT-X-PROGRAM-DATE-TIME` follows the clock by which frames arrive.
//!
//! A run is dated by the arrival of its first frame. That frame may have been held up, and the contribution's clock may
//! drift; both show later, when frames come with less delay than any before. So each segment is dated anew where it
//! begins: never in the future of what has arrived, and never before the segment before it.

use std::collections::VecDeque;

use media::{Kind, TimeDelta, Timestamp, WallTime};

use super::{Packager, Slot};

/// Dates may be off by this much: networks have jitter, and a player that is told of each takes it for overlaps and gaps.
pub(super) const TOLERANCE: TimeDelta = TimeDelta::from_millis(60);
/// A segment is dated later by no more than this, because a player takes the difference for a gap.
const MAX_LATER: TimeDelta = TimeDelta::from_millis(20);
/// Segments are dated at least this far apart, so that dates never go back.
pub(super) const MIN_APART: TimeDelta = TimeDelta::from_millis(10);
/// Corrections that are kept for renditions that lag; then the oldest goes.
const MAX_KEPT: usize = 64;

/// By how much the segments are dated differently than their run says, from certain ones on.
#[derive(Debug, Default)]
pub(super) struct Dates {
    corrections: VecDeque<(u64, TimeDelta)>,
}

impl Dates {
    /// The correction for segment `msn`.
    pub(super) fn of(&self, msn: u64) -> TimeDelta {
        let of = self.corrections.iter().rev().find(|(from, _)| *from <= msn);
        of.map_or(TimeDelta::ZERO, |(_, correction)| *correction)
    }

    /// Corrects the segments from `msn` on.
    pub(super) fn correct(&mut self, msn: u64, correction: TimeDelta) {
        self.corrections.retain(|(from, _)| *from != msn);
        if self.corrections.len() == MAX_KEPT {
            self.corrections.pop_front();
        }
        self.corrections.push_back((msn, correction));
    }

    fn newest_msn(&self) -> Option<u64> {
        self.corrections.back().map(|(from, _)| *from)
    }
}

impl Packager {
    /// Takes note of when a frame of the reference rendition arrives.
    pub(super) fn note_arrival(&mut self, slot: Slot, dts: Timestamp, arrival: WallTime) {
        let leads = match slot {
            Slot::Video => self.period.reference_kind == Kind::Video,
            // Audio tells as well where video stays away.
            Slot::Audio(_) => self.period.reference_kind == Kind::Audio || self.video_stalls(),
            Slot::DependentVideo(_) => false,
        };
        if leads {
            let shown = dts + (self.period.start_pts - self.period.start_dts);
            self.period.delay.note(shown, arrival.since(WallTime::default()));
        }
    }

    /// Starts the corrections of a run at segment `msn`.
    pub(super) fn begin_dates(&mut self, msn: u64) {
        self.out.dates.correct(msn, TimeDelta::ZERO);
    }

    /// Dates the first segment of the broadcast, of which nothing was published yet.
    pub(super) fn date_first(&mut self) {
        if let Some(error) = self.date_error() {
            self.out.dates.correct(self.period.first_msn, error);
        }
    }

    /// Dates the newest segment, if it has just begun.
    pub(super) fn date_newest(&mut self) {
        let msn = self.boundaries.newest_msn();
        if self.out.dates.newest_msn().is_none_or(|dated| dated >= msn) {
            return;
        }
        let (before, length) =
            (self.out.dates.of(msn), self.boundaries.newest_start_time() - self.boundaries.previous_start());
        let error = self.date_error().map_or(TimeDelta::ZERO, |wanted| wanted - before);
        let step = if error.abs() < TOLERANCE { TimeDelta::ZERO } else { error.min(MAX_LATER).max(MIN_APART - length) };
        self.out.dates.correct(msn, before + step);
    }

    /// The date of what is presented at `at`, in the newest segment.
    pub(super) fn date_of(&self, at: Timestamp) -> WallTime {
        self.period.wall.shifted(at - self.period.start_pts + self.out.dates.of(self.boundaries.newest_msn()))
    }

    /// How much later than the run says its frames were there, had none been held up; negative if it says too late.
    fn date_error(&self) -> Option<TimeDelta> {
        let least = self.period.delay.least()?;
        Some(least + (self.period.start_pts - Timestamp::ZERO) - self.period.wall.since(WallTime::default()))
    }
}
