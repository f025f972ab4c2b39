//! The segment boundaries of a period, which all renditions share (invariant 1 of the architecture).

use std::collections::VecDeque;

use media::{TimeDelta, Timestamp};

/// Boundaries remembered after the slowest rendition has crossed them, for a rendition that joins late and lags: several
/// seconds of them.
const REMEMBERED: usize = 16;

/// The end of one segment and the start of the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundary {
    /// Time on the presentation timeline.
    pub(crate) at: Timestamp,
    /// Whether the next segment begins with a discontinuity.
    pub(crate) discontinuity: bool,
    /// Whether the next segment of the reference rendition begins with a frame at which decoding may start.
    pub(crate) key_frame: bool,
}

/// The boundaries that some rendition has not crossed yet, and the last [`REMEMBERED`] before them. Their number stays
/// small, because a rendition that lags by a few seconds is filled up with gaps.
#[derive(Debug)]
pub(crate) struct Boundaries {
    /// Media sequence number of the segment that the oldest boundary ends.
    first_msn: u64,
    /// Start of that segment.
    first_start: Boundary,
    boundaries: VecDeque<Boundary>,
}

impl Default for Boundaries {
    fn default() -> Self {
        Self::new(0, Timestamp::ZERO, false)
    }
}

impl Boundaries {
    /// Begins a period with segment `msn` at `start`. `discontinuity` is false only for the first period of a broadcast.
    pub(super) fn new(msn: u64, start: Timestamp, discontinuity: bool) -> Self {
        let first_start = Boundary { at: start, discontinuity, key_frame: true };
        Self { first_msn: msn, first_start, boundaries: VecDeque::new() }
    }

    /// Ends the newest segment.
    pub(crate) fn push(&mut self, boundary: Boundary) {
        self.boundaries.push_back(boundary);
    }

    /// Returns the boundary that ends segment `msn`, or `None` if it is not decided yet.
    pub(crate) fn end_of(&self, msn: u64) -> Option<Boundary> {
        self.boundaries.get(usize::try_from(msn.checked_sub(self.first_msn)?).ok()?).copied()
    }

    /// Returns the segment that begins within `tolerance` of `at`, and its start.
    pub(crate) fn starting_at(&self, at: Timestamp, tolerance: TimeDelta) -> Option<(u64, Boundary)> {
        let starts = std::iter::once(&self.first_start).chain(&self.boundaries).copied();
        (self.first_msn..).zip(starts).find(|(_, start)| (start.at - at).abs() <= tolerance)
    }

    /// Returns the media sequence number of the newest segment.
    pub(crate) fn newest_msn(&self) -> u64 {
        self.first_msn + self.boundaries.len() as u64
    }

    /// Returns the time at which the newest segment begins.
    pub(crate) fn newest_start(&self) -> Timestamp {
        self.newest().at
    }

    /// Returns the time at which the segment before the newest begins; the start of the first segment if there is no
    /// other.
    pub(crate) fn previous_start(&self) -> Timestamp {
        self.boundaries.iter().rev().nth(1).unwrap_or(&self.first_start).at
    }

    /// Returns true if the newest segment begins with a discontinuity.
    pub(crate) fn newest_is_discontinuous(&self) -> bool {
        self.newest().discontinuity
    }

    fn newest(&self) -> Boundary {
        self.boundaries.back().copied().unwrap_or(self.first_start)
    }

    /// Forgets boundaries that every rendition has crossed, up to the start of segment `msn`; the last [`REMEMBERED`]
    /// stay.
    pub(crate) fn forget_before(&mut self, msn: u64) {
        while self.first_msn < msn
            && self.boundaries.len() > REMEMBERED
            && let Some(boundary) = self.boundaries.pop_front()
        {
            self.first_start = boundary;
            self.first_msn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_a_few_boundaries_before_the_slowest_rendition() {
        let at = |secs| Timestamp::ZERO + TimeDelta::from_secs(secs);
        let mut boundaries = Boundaries::new(7, at(1), true);
        for secs in 2..100 {
            boundaries.push(Boundary { at: at(secs), discontinuity: false, key_frame: true });
            boundaries.forget_before(boundaries.newest_msn());
        }
        let newest = (boundaries.newest_msn(), boundaries.newest_start(), boundaries.newest_is_discontinuous());
        assert_eq!(newest, (105, at(99), false));
        let starting = |secs| boundaries.starting_at(at(secs), TimeDelta::ZERO).map(|(msn, _)| msn);
        assert_eq!([99, 90, 84, 83, 82].map(starting), [Some(105), Some(96), Some(90), Some(89), None]);
        assert!(boundaries.end_of(105).is_none() && boundaries.end_of(104).is_some() && boundaries.end_of(3).is_none());
    }
}
