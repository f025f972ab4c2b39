//! What a lane gives out: parts with their metadata, and the init section in front of them.

use std::sync::Arc;

use media::Metadata;

use super::RenditionWriter;
use crate::Error;
use crate::cmaf;
use crate::log::{Event, Init, Part};
use crate::packager::Output;

impl RenditionWriter {
    /// The boxes of the metadata that is due before `until`, on the presentation timeline.
    pub(super) fn take_due_metadata(&mut self, until: i64) -> Result<Vec<u8>, Error> {
        let mut boxes = Vec::new();
        // A splice is told some time ahead: what comes behind it may be due before.
        let due = |(_, event): &(u32, Metadata)| self.scale.ticks(event.pts) < until;
        while let Some((number, event)) = self.events.iter().position(due).and_then(|at| self.events.remove(at)) {
            boxes.extend(cmaf::event(&event, number, self.scale)?);
        }
        Ok(boxes)
    }

    /// Publishes the init section as soon as the first frame is there, so that readers know what to wait for.
    pub(in crate::packager) fn announce(&mut self, out: &mut Output) {
        if let Some(bytes) = self.fresh_init.take() {
            let init = Init { rendition: self.rendition, number: self.inits, bytes, format: cmaf::format(&self.track) };
            self.inits += 1;
            out.events.push_back(Event::Init(Arc::new(init)));
        }
    }

    pub(super) fn publish(
        &mut self,
        start: i64,
        end: i64,
        frames: u32,
        independent: bool,
        data: crate::log::Payload,
        out: &mut Output,
    ) {
        self.emit_held_end(out);
        self.correct_next_part(out);
        self.announce(out);
        let at = self.scale.timestamp(start);
        let part = Part {
            rendition: self.rendition,
            msn: self.segment_start.msn,
            index: self.part_count,
            init: self.inits.saturating_sub(1),
            start: at,
            duration: self.scale.delta(end - start),
            independent,
            discontinuity: self.part_count == 0 && self.segment_start.discontinuity,
            wall: self.anchor.0.shifted(at - self.anchor.1 + out.dates.of(self.segment_start.msn)),
            frames,
            data,
        };
        out.events.push_back(Event::Part(Arc::new(part)));
        self.part_count += 1;
        self.in_gap = frames == 0;
        self.segment_ticks += end - start;
        self.clock = Some(end);
    }
}
