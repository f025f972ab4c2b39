//! Timed metadata that waits for the part of its time.

use std::collections::VecDeque;

use media::{Metadata, Timescale, Timestamp};

use crate::Error;
use crate::cmaf;

/// Metadata events that wait for their part; the oldest is discarded for a newer one.
const MAX_EVENTS: usize = 64;

/// Queue of metadata events with their numbers, which are the same in all renditions.
#[derive(Debug, Default)]
pub(super) struct MetadataQueue {
    events: VecDeque<(u32, Metadata)>,
}

impl MetadataQueue {
    /// Queues an event, in place of the oldest one if there are [`MAX_EVENTS`].
    pub(super) fn push(&mut self, number: u32, metadata: Metadata) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((number, metadata));
    }

    /// Discards the events before `at`, on the presentation timeline.
    pub(super) fn discard_before(&mut self, at: Timestamp) {
        self.events.retain(|(_, event)| event.pts >= at);
    }

    /// Takes the boxes of the events that are due before `until`, in ticks of `scale` on the presentation timeline.
    pub(super) fn take_due(&mut self, until: i64, scale: Timescale) -> Result<Vec<u8>, Error> {
        let mut boxes = Vec::new();
        // A splice is announced some time ahead, so an event queued after it may be due before it.
        let is_due = |(_, event): &(u32, Metadata)| scale.ticks(event.pts) < until;
        while let Some((number, event)) = self.events.iter().position(is_due).and_then(|at| self.events.remove(at)) {
            boxes.extend(cmaf::event(&event, number, scale)?);
        }
        Ok(boxes)
    }
}
