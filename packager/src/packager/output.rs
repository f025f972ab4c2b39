//! Queues that the caller of a [`Packager`](super::Packager) polls.

use std::collections::VecDeque;

use media::FaultReport;

use super::dates::Dates;
use crate::log::Event;

/// Fault reports kept until they are polled; the oldest is dropped for a newer one.
const MAX_FAULTS: usize = 64;

/// Everything that the rendition writers write to: events and fault reports that were not polled yet, and the
/// [`Dates`] of the segments.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) events: VecDeque<Event>,
    faults: VecDeque<FaultReport>,
    pub(super) dates: Dates,
}

impl Output {
    /// Queues a fault report, in place of the oldest one if there are [`MAX_FAULTS`].
    pub(super) fn push_fault(&mut self, report: FaultReport) {
        if self.faults.len() == MAX_FAULTS {
            self.faults.pop_front();
        }
        self.faults.push_back(report);
    }

    /// Takes the oldest fault report.
    pub(super) fn pop_fault(&mut self) -> Option<FaultReport> {
        self.faults.pop_front()
    }
}
