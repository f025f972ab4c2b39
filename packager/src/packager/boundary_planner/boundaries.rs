//! The segment boundaries of a run of the programme, which all renditions share (law 1).

use std::collections::VecDeque;

use media::{TimeDelta, Timestamp};

/// Boundaries remembered behind the slowest rendition, for a rung that joins late and lags: several seconds of them.
const REMEMBERED: usize = 16;

/// A boundary: one segment ends and the next begins.
#[derive(Clone, Copy, Debug)]
pub(in crate::packager) struct Boundary {
    /// When, on the presentation timeline.
    pub(in crate::packager) at: Timestamp,
    /// The next segment begins with a discontinuity.
    pub(in crate::packager) discontinuity: bool,
    /// The leader's next segment begins with a picture that decoding may start with.
    pub(in crate::packager) key_frame: bool,
}

/// The boundaries that some rendition has not reached yet, and a few before. The slowest rendition is filled up after a
/// few seconds, so there are never many.
#[derive(Debug)]
pub(in crate::packager) struct Boundaries {
    /// The segment that the first cut ends, and how it began.
    first: u64,
    first_start: Boundary,
    boundaries: VecDeque<Boundary>,
}

impl Default for Boundaries {
    fn default() -> Self {
        Self::new(0, Timestamp::ZERO, false)
    }
}

impl Boundaries {
    /// A run that begins with segment `msn` at `start`; all but the first of a broadcast begin behind a discontinuity.
    pub(in crate::packager) fn new(msn: u64, start: Timestamp, discontinuity: bool) -> Self {
        Self {
            first: msn,
            first_start: Boundary { at: start, discontinuity, key_frame: true },
            boundaries: VecDeque::new(),
        }
    }

    /// Ends the newest segment.
    pub(in crate::packager) fn push(&mut self, boundary: Boundary) {
        self.boundaries.push_back(boundary);
    }

    /// The cut that ends segment `msn`, if it is decided.
    pub(in crate::packager) fn end_of(&self, msn: u64) -> Option<Boundary> {
        self.boundaries.get(usize::try_from(msn.checked_sub(self.first)?).ok()?).copied()
    }

    /// The segment that begins within `slack` of `at`, and how.
    pub(in crate::packager) fn starting_at(&self, at: Timestamp, slack: TimeDelta) -> Option<(u64, Boundary)> {
        let starts = std::iter::once(&self.first_start).chain(&self.boundaries).copied();
        (self.first..).zip(starts).find(|(_, start)| (start.at - at).abs() <= slack)
    }

    /// The newest segment.
    pub(in crate::packager) fn newest_msn(&self) -> u64 {
        self.first + self.boundaries.len() as u64
    }

    /// Where the newest segment begins.
    pub(in crate::packager) fn newest_start_time(&self) -> Timestamp {
        self.newest_start().at
    }

    /// Where the segment before the newest begins; the newest where it is the first.
    pub(in crate::packager) fn previous_start(&self) -> Timestamp {
        self.boundaries.iter().rev().nth(1).unwrap_or(&self.first_start).at
    }

    /// Whether the newest segment begins behind a discontinuity.
    pub(in crate::packager) fn newest_is_discontinuous(&self) -> bool {
        self.newest_start().discontinuity
    }

    fn newest_start(&self) -> Boundary {
        self.boundaries.back().copied().unwrap_or(self.first_start)
    }

    /// Forgets the cuts that every rendition has made: all work on `msn` or later.
    pub(in crate::packager) fn forget_before(&mut self, msn: u64) {
        while self.first < msn
            && self.boundaries.len() > REMEMBERED
            && let Some(boundary) = self.boundaries.pop_front()
        {
            self.first_start = boundary;
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_cuts_behind_the_slowest_are_remembered() {
        let at = |secs| Timestamp::ZERO + TimeDelta::from_secs(secs);
        let mut boundaries = Boundaries::new(7, at(1), true);
        for secs in 2..100 {
            boundaries.push(Boundary { at: at(secs), discontinuity: false, key_frame: true });
            boundaries.forget_before(boundaries.newest_msn());
        }
        assert_eq!(
            (boundaries.newest_msn(), boundaries.newest_start_time(), boundaries.newest_is_discontinuous()),
            (105, at(99), false)
        );
        let beginning = |secs| boundaries.starting_at(at(secs), TimeDelta::ZERO).map(|(msn, _)| msn);
        assert_eq!([99, 90, 84, 83, 82].map(beginning), [Some(105), Some(96), Some(90), Some(89), None]);
        assert!(boundaries.end_of(105).is_none() && boundaries.end_of(104).is_some() && boundaries.end_of(3).is_none());
    }
}
