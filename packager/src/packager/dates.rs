//! `EXT-X-PROGRAM-DATE-TIME` follows the clock by which frames arrive.
//!
//! A period is dated by the arrival of its first frame. That frame may have been delayed, and the contribution's clock may
//! drift. Both show later, when frames arrive with less delay than any before. So the date of each segment is corrected at
//! its start: never into the future of the frames that have arrived, and never before the segment before it.

use std::collections::VecDeque;

use media::{Kind, TimeDelta, Timestamp, WallTime};

use super::{Packager, Slot};

/// Largest date error that is left uncorrected: networks have jitter, and players take each correction for an overlap or a
/// gap.
pub(super) const TOLERANCE: TimeDelta = TimeDelta::from_millis(60);
/// Most that one segment is moved to a later date, because a player takes the difference for a gap.
const MAX_LATER: TimeDelta = TimeDelta::from_millis(20);
/// Least distance between the dates of two segments, so that dates never go back.
pub(super) const MIN_APART: TimeDelta = TimeDelta::from_millis(10);
/// Corrections kept for renditions that lag; the oldest is discarded for a newer one.
const MAX_KEPT: usize = 64;

/// Differences between the dates of segments and the date that their period began with.
#[derive(Debug, Default)]
pub(super) struct Dates {
    /// First segment of each correction, and the correction.
    corrections: VecDeque<(u64, TimeDelta)>,
}

impl Dates {
    /// Returns the correction of segment `msn`.
    pub(super) fn of(&self, msn: u64) -> TimeDelta {
        let of = self.corrections.iter().rev().find(|(from, _)| *from <= msn);
        of.map_or(TimeDelta::ZERO, |(_, correction)| *correction)
    }

    /// Corrects the dates of the segments from `msn` on.
    pub(super) fn correct(&mut self, msn: u64, correction: TimeDelta) {
        self.corrections.retain(|(from, _)| *from != msn);
        if self.corrections.len() == MAX_KEPT {
            self.corrections.pop_front();
        }
        self.corrections.push_back((msn, correction));
    }

    /// Returns the newest segment that has a correction of its own.
    fn newest_msn(&self) -> Option<u64> {
        self.corrections.back().map(|(from, _)| *from)
    }
}

impl Packager {
    /// Records the arrival time of a frame of the reference rendition.
    pub(super) fn note_arrival(&mut self, slot: Slot, dts: Timestamp, arrival: WallTime) {
        let reference_kind = self.planner.period.reference_kind;
        let counts = match slot {
            Slot::Video => reference_kind == Kind::Video,
            // Audio counts as well while video stalls.
            Slot::Audio(_) => reference_kind == Kind::Audio || self.video_stalls(),
            Slot::DependentVideo(_) => false,
        };
        if counts {
            let period = &mut self.planner.period;
            let pts = dts + (period.start.pts - period.start.dts);
            period.delay.note(pts, arrival.since(WallTime::default()));
        }
    }

    /// Begins the corrections of a period at segment `msn`.
    pub(super) fn begin_dates(&mut self, msn: u64) {
        self.out.dates.correct(msn, TimeDelta::ZERO);
    }

    /// Corrects the date of the broadcast's first segment, of which nothing was published yet.
    pub(super) fn date_first(&mut self) {
        if let Some(error) = self.date_error() {
            self.out.dates.correct(self.planner.period.start.msn, error);
        }
    }

    /// Corrects the date of the newest segment, if it has just begun.
    pub(super) fn date_newest(&mut self) {
        let boundaries = &self.planner.boundaries;
        let msn = boundaries.newest_msn();
        if self.out.dates.newest_msn().is_none_or(|dated| dated >= msn) {
            return;
        }
        let (before, length) = (self.out.dates.of(msn), boundaries.newest_start() - boundaries.previous_start());
        let error = self.date_error().map_or(TimeDelta::ZERO, |wanted| wanted - before);
        let step = if error.abs() < TOLERANCE { TimeDelta::ZERO } else { error.min(MAX_LATER).max(MIN_APART - length) };
        self.out.dates.correct(msn, before + step);
    }

    /// Returns the date of presentation time `at`, which is in the newest segment.
    pub(super) fn date_of(&self, at: Timestamp) -> WallTime {
        let period = &self.planner.period.start;
        period.wall.shifted(at - period.pts + self.out.dates.of(self.planner.boundaries.newest_msn()))
    }

    /// Returns how much later than the period's date its first frame would have arrived without any delay; negative if
    /// the period is dated too late.
    fn date_error(&self) -> Option<TimeDelta> {
        let period = &self.planner.period;
        let least = period.delay.least()?;
        Some(least + (period.start.pts - Timestamp::ZERO) - period.start.wall.since(WallTime::default()))
    }
}
