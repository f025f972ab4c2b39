//! Publishes parts, and the init section before them.

use std::sync::Arc;

use media::{Fault, FaultReport};

use super::RenditionWriter;
use crate::cmaf;
use crate::log::{Event, Init, NextPart, Part, Payload, RenditionRole};
use crate::packager::output::Output;

/// A closed part that is to be published, in ticks of the track.
pub(super) struct ClosedPart {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Frames that a viewer sees or hears in the part.
    pub(super) frames: u32,
    pub(super) independent: bool,
    pub(super) data: Payload,
}

impl RenditionWriter {
    /// Continues the numbers of the init sections that an earlier writer of the rendition published.
    pub(crate) fn continue_inits(&mut self, count: u32) {
        self.init_count = count;
    }

    /// Publishes the init section as soon as the first frame arrives, so that readers know which renditions to wait for.
    pub(crate) fn announce(&mut self, out: &mut Output) {
        if let Some(bytes) = self.new_init.take() {
            let (rendition, number) = (self.rendition, self.init_count);
            let mut format = cmaf::format(&self.track);
            if rendition.is_dependent_video() {
                format.role = RenditionRole::Dependent;
            }
            let init = Init { rendition, number, bytes, format };
            self.init_count += 1;
            out.events.push_back(Event::Init(Arc::new(init)));
        }
    }

    /// Publishes a part of the open segment, and moves the clock to its end.
    pub(super) fn publish(&mut self, part: ClosedPart, out: &mut Output) {
        self.publish_held_end(out);
        self.correct_next_part(out);
        self.announce(out);
        let ClosedPart { start, end, frames, independent, data } = part;
        let at = self.scale.timestamp(start);
        let part = Part {
            rendition: self.rendition,
            msn: self.segment.msn,
            index: self.part_count,
            init: self.init_count.saturating_sub(1),
            start: at,
            duration: self.scale.delta(end - start),
            independent,
            discontinuity: self.part_count == 0 && self.segment.discontinuity,
            // Counted by the log's writer.
            discontinuity_sequence: 0,
            wall: self.anchor.0.shifted(at - self.anchor.1 + out.dates.of(self.segment.msn)),
            frames,
            data,
        };
        out.events.push_back(Event::Part(Arc::new(part)));
        self.part_count += 1;
        self.newest_is_gap = frames == 0;
        self.segment_ticks += end - start;
        self.clock = Some(end);
    }

    /// Counts a new fragment, and returns its sequence number.
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Reports a fault of the encoder's frames. Dependent video renditions are made of these frames, so their faults are
    /// not reported.
    pub(super) fn report(&self, fault: Fault, out: &mut Output) {
        if !self.is_dependent_video() {
            out.push_fault(FaultReport::new(fault, Some(self.track.id)));
        }
    }

    /// Publishes that the open segment gets another part, if it was expected to end.
    pub(super) fn correct_next_part(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.end_announced) {
            self.publish_next_part(self.segment.msn, self.part_count, out);
        }
    }

    /// Publishes which part comes next.
    pub(super) fn publish_next_part(&self, msn: u64, index: u32, out: &mut Output) {
        out.events.push_back(Event::Next(NextPart { rendition: self.rendition, msn, index }));
    }
}

/// Returns the composition time offset of a sample, as a fragment holds it.
pub(super) fn composition_offset(pts: i64, start: i64) -> i32 {
    (pts - start).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}
