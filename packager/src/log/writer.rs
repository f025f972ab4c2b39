//! The writing side of the packaged log.

mod rendition;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::readiness::FIRST_LISTED;
use super::{Entry, Event, Init, Part, RenditionId, SegmentEnd, Targets, can_start};
pub(crate) use rendition::RenditionLog;

/// Decisions to slide that are remembered for the renditions that close a segment later. Beyond it, the oldest is
/// forgotten and made again if it is needed.
const MAX_SLIDES: usize = 32;

/// Numbers the events of a broadcast, and adds to them the facts that a reader which joins late could not know: where
/// playlists begin, the discontinuity sequence, and the totals that bandwidth and frame rate are computed from.
///
/// Its state is bounded, and is itself a fold of the entries: [`LogWriter::resume`] makes it again from a log.
#[derive(Clone, Debug, Default)]
pub struct LogWriter {
    next_seq: u64,
    targets: Option<Targets>,
    renditions: BTreeMap<RenditionId, RenditionLog>,
    /// The first listed segment, by the newest closed one.
    slides: BTreeMap<u64, u64>,
    playable: bool,
    ended: bool,
    /// The entries that every reader needs, whenever it joins; see [`LogWriter::head`].
    head: Vec<Entry>,
}

impl LogWriter {
    /// A writer of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The writer that continues after the last of `entries`. They are a whole log, or the [head](Self::head) of one
    /// at some entry and all entries from there on.
    pub fn resume(entries: &[Entry]) -> Self {
        let mut writer = Self::default();
        entries.iter().for_each(|entry| writer.fold(entry));
        writer
    }

    /// Makes the next entry of a log of `event`.
    pub fn append(&mut self, mut event: Event) -> Entry {
        match &mut event {
            Event::Part(part) => self.complete_part(part),
            Event::Segment(end) => self.complete_segment(end),
            _ => {}
        }
        let entry = Entry { seq: self.next_seq, event };
        self.fold(&entry);
        entry
    }

    /// The entries that a reader which joins at the next entry has to be given first: the start, the targets, the
    /// newest init section of each rendition and what else holds until the end. Their numbers ascend, with others
    /// left out.
    pub fn head(&self) -> &[Entry] {
        &self.head
    }

    /// The number of the next entry.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Whether the broadcast is over.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn targets(&self) -> Option<Targets> {
        self.targets
    }

    pub(crate) fn renditions(&self) -> impl Iterator<Item = (RenditionId, &RenditionLog)> {
        self.renditions.iter().map(|(id, rendition)| (*id, rendition))
    }

    fn fold(&mut self, entry: &Entry) {
        self.next_seq = entry.seq + 1;
        match &entry.event {
            Event::Targets(targets) => self.targets = Some(*targets),
            Event::Init(init) => self.begin(init),
            Event::Part(part) => {
                if let Some(rendition) = self.renditions.get_mut(&part.rendition) {
                    rendition.add_part(part);
                }
            }
            Event::Segment(end) => {
                if let Some(rendition) = self.renditions.get_mut(&end.rendition) {
                    rendition.close(end);
                }
                self.playable |= end.playable;
            }
            Event::Withdrawn(rendition) => {
                if let Some(rendition) = self.renditions.get_mut(rendition) {
                    rendition.withdraw();
                }
            }
            Event::End => self.ended = true,
            Event::Start { .. } | Event::Next(_) | Event::Captions => {}
        }
        self.update_head(entry);
    }

    fn begin(&mut self, init: &Arc<Init>) {
        match self.renditions.get_mut(&init.rendition) {
            Some(rendition) => rendition.begin(init),
            None => {
                self.renditions.insert(init.rendition, RenditionLog::new(init));
            }
        }
    }

    fn update_head(&mut self, entry: &Entry) {
        let same = |old: &Entry| match (&old.event, &entry.event) {
            (Event::Init(old), Event::Init(new)) => old.rendition == new.rendition,
            (Event::Withdrawn(old), Event::Withdrawn(new)) => old == new,
            (Event::Captions, Event::Captions) => true,
            _ => false,
        };
        if matches!(
            entry.event,
            Event::Start { .. } | Event::Targets(_) | Event::Init(_) | Event::Withdrawn(_) | Event::Captions
        ) {
            self.head.retain(|old| !same(old));
            self.head.push(entry.clone());
        }
    }

    fn complete_part(&self, part: &mut Arc<Part>) {
        let own = self.renditions.get(&part.rendition).and_then(|rendition| rendition.discontinuities(part.msn));
        let sequence = own.unwrap_or_else(|| self.discontinuities_elsewhere(part));
        if part.discontinuity_sequence != sequence {
            // No one shares the part yet, so this copies nothing.
            Arc::make_mut(part).discontinuity_sequence = sequence;
        }
    }

    /// Discontinuities before the segment of `part`, as the other renditions count them.
    fn discontinuities_elsewhere(&self, part: &Part) -> u64 {
        let others = self.renditions.iter().filter(|(id, _)| **id != part.rendition);
        others.filter_map(|(_, rendition)| rendition.discontinuities(part.msn)).max().unwrap_or(0)
    }

    fn complete_segment(&mut self, end: &mut SegmentEnd) {
        let target_secs = self.targets.map_or(0, |targets| targets.segment_secs);
        if let Some(rendition) = self.renditions.get_mut(&end.rendition) {
            end.stats = rendition.stats_after(end, target_secs);
            rendition.mark_closed(end.msn);
        }
        let first = self.slide(end.rendition, end.msn);
        if let Some(rendition) = self.renditions.get(&end.rendition) {
            end.first_listed = rendition.first_listed_from(first);
        }
        self.playable |= can_start(self.renditions.values().map(RenditionLog::readiness), FIRST_LISTED);
        end.playable = self.playable;
    }

    /// The first segment to list once rendition `id` has closed segment `msn`.
    ///
    /// Video.js 8.24: playlists that begin at different segments confuse it. Audio segments are a frame longer or
    /// shorter than video segments, so renditions that each count their own seconds would begin at different ones.
    /// The first rendition to close a segment therefore decides for all, unless it appeared late and has little to
    /// list.
    fn slide(&mut self, id: RenditionId, msn: u64) -> u64 {
        let Some(listed) = self.targets.map(|targets| targets.listed()) else { return 0 };
        let closing = self.renditions.get(&id);
        let oldest = |rendition: &&RenditionLog| rendition.oldest_listed().unwrap_or(u64::MAX);
        let decides = closing.into_iter().chain(self.renditions.values()).min_by_key(oldest);
        let decision = decides.map_or(0, |rendition| rendition.first_to_list(listed));
        let first = *self.slides.entry(msn).or_insert(decision);
        if self.slides.len() > MAX_SLIDES {
            self.slides.pop_first();
        }
        first
    }
}
