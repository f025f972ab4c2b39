//! The segment boundaries of a run of the programme, which all renditions share (law 1).

use std::collections::VecDeque;

use media::{TimeDelta, Timestamp};

/// Boundaries remembered behind the slowest rendition, for a rung that joins late and lags: several seconds of them.
const REMEMBERED: usize = 16;

/// A boundary: one segment ends and the next begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// When, on the presentation timeline.
    pub(super) at: Timestamp,
    /// The next segment begins with a discontinuity.
    pub(super) discontinuity: bool,
    /// The leader's next segment begins with a picture that decoding may start with.
    pub(super) entry: bool,
}

/// The boundaries that some rendition has not reached yet, and a few before. The slowest rendition is filled up after a
/// few seconds, so there are never many.
#[derive(Debug)]
pub(super) struct Cuts {
    /// The segment that the first cut ends, and how it began.
    first: u64,
    first_start: Cut,
    cuts: VecDeque<Cut>,
}

impl Default for Cuts {
    fn default() -> Self {
        Self::new(0, Timestamp::ZERO, false)
    }
}

impl Cuts {
    /// A run that begins with segment `msn` at `start`; all but the first of a broadcast begin behind a discontinuity.
    pub(super) fn new(msn: u64, start: Timestamp, discontinuity: bool) -> Self {
        Self { first: msn, first_start: Cut { at: start, discontinuity, entry: true }, cuts: VecDeque::new() }
    }

    /// Ends the newest segment.
    pub(super) fn push(&mut self, cut: Cut) {
        self.cuts.push_back(cut);
    }

    /// The cut that ends segment `msn`, if it is decided.
    pub(super) fn after(&self, msn: u64) -> Option<Cut> {
        self.cuts.get(usize::try_from(msn.checked_sub(self.first)?).ok()?).copied()
    }

    /// The segment that begins within `slack` of `at`, and how.
    pub(super) fn beginning(&self, at: Timestamp, slack: TimeDelta) -> Option<(u64, Cut)> {
        let starts = std::iter::once(&self.first_start).chain(&self.cuts).copied();
        (self.first..).zip(starts).find(|(_, start)| (start.at - at).abs() <= slack)
    }

    /// The newest segment.
    pub(super) fn newest(&self) -> u64 {
        self.first + self.cuts.len() as u64
    }

    /// Where the newest segment begins.
    pub(super) fn start(&self) -> Timestamp {
        self.newest_start().at
    }

    /// Where the segment before the newest begins; the newest where it is the first.
    pub(super) fn previous_start(&self) -> Timestamp {
        self.cuts.iter().rev().nth(1).unwrap_or(&self.first_start).at
    }

    /// Whether the newest segment begins behind a discontinuity.
    pub(super) fn start_breaks(&self) -> bool {
        self.newest_start().discontinuity
    }

    fn newest_start(&self) -> Cut {
        self.cuts.back().copied().unwrap_or(self.first_start)
    }

    /// Forgets the cuts that every rendition has made: all work on `msn` or later.
    pub(super) fn forget_before(&mut self, msn: u64) {
        while self.first < msn
            && self.cuts.len() > REMEMBERED
            && let Some(cut) = self.cuts.pop_front()
        {
            self.first_start = cut;
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
        let mut cuts = Cuts::new(7, at(1), true);
        for secs in 2..100 {
            cuts.push(Cut { at: at(secs), discontinuity: false, entry: true });
            cuts.forget_before(cuts.newest());
        }
        assert_eq!((cuts.newest(), cuts.start(), cuts.start_breaks()), (105, at(99), false));
        let beginning = |secs| cuts.beginning(at(secs), TimeDelta::ZERO).map(|(msn, _)| msn);
        assert_eq!([99, 90, 84, 83, 82].map(beginning), [Some(105), Some(96), Some(90), Some(89), None]);
        assert!(cuts.after(105).is_none() && cuts.after(104).is_some() && cuts.after(3).is_none());
    }
}
