//! The segment boundaries of a run of the programme, which all renditions share (law 1).

use std::collections::VecDeque;

use media::Timestamp;

/// A boundary: one segment ends and the next begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// When, on the presentation timeline.
    pub(super) at: Timestamp,
    /// The next segment begins with a discontinuity.
    pub(super) discontinuity: bool,
}

/// The boundaries that some rendition has not reached yet. The slowest rendition is filled up after a few seconds, so
/// there are never more than a few.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// The segment that the first cut ends.
    first: u64,
    cuts: VecDeque<Cut>,
    /// Where the newest segment begins, and whether behind a discontinuity.
    start: Timestamp,
    start_breaks: bool,
}

impl Cuts {
    /// A run that begins with segment `msn` at `start`; all but the first of a broadcast begin behind a discontinuity.
    pub(super) fn begin(&mut self, msn: u64, start: Timestamp, start_breaks: bool) {
        *self = Self { first: msn, cuts: VecDeque::new(), start, start_breaks };
    }

    /// Ends the newest segment at `at`.
    pub(super) fn push(&mut self, at: Timestamp, discontinuity: bool) {
        self.cuts.push_back(Cut { at, discontinuity });
        self.start = at;
        self.start_breaks = discontinuity;
    }

    /// The cut that ends segment `msn`, if it is decided.
    pub(super) fn after(&self, msn: u64) -> Option<Cut> {
        self.cuts.get(usize::try_from(msn.checked_sub(self.first)?).ok()?).copied()
    }

    /// The newest segment.
    pub(super) fn newest(&self) -> u64 {
        self.first + self.cuts.len() as u64
    }

    /// Where the newest segment begins.
    pub(super) fn start(&self) -> Timestamp {
        self.start
    }

    /// Whether the newest segment begins behind a discontinuity.
    pub(super) fn start_breaks(&self) -> bool {
        self.start_breaks
    }

    /// Forgets the cuts that every rendition has made: all work on `msn` or later.
    pub(super) fn forget_before(&mut self, msn: u64) {
        while self.first < msn && self.cuts.pop_front().is_some() {
            self.first += 1;
        }
    }
}
