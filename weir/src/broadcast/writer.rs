//! Writer of a broadcast: its packager, its log, and the readers of that log.

use std::sync::Arc;

use media::{TimeDelta, WallTime};
use packager::log::{Entry, Event, LogReader, LogWriter, RenditionId};
use packager::{Error, Packager};

use crate::faults::Faults;

/// A [`Packager`] whose events become the entries of a log. All [readers](LogReader) of the log get them at once, among
/// them [`origin::Broadcast`].
pub(super) struct BroadcastWriter {
    readers: Vec<Arc<dyn LogReader>>,
    packager: Packager,
    log: LogWriter,
    /// Number of segments closed so far, in all renditions.
    segments: u64,
    /// Wall-clock time (`EXT-X-PROGRAM-DATE-TIME`) at the end of the newest part, of the lowest [`RenditionId`] that
    /// has any.
    edge: Option<(RenditionId, WallTime)>,
    faults: Arc<Faults>,
    /// Entries of the current batch, in a buffer that is kept so that a frame costs no allocation.
    entries: Vec<Entry>,
}

impl BroadcastWriter {
    /// Starts the log of the broadcast that `origin` reads.
    pub(super) fn new(
        config: packager::Config,
        origin: Arc<origin::Broadcast>,
        faults: Arc<Faults>,
        started_at: WallTime,
    ) -> Self {
        let mut log = LogWriter::new();
        let start = log.append(Event::Start { broadcast: origin.id().clone(), mode: config.mode, started_at });
        let readers: Vec<Arc<dyn LogReader>> = vec![origin];
        readers.iter().for_each(|reader| reader.append(std::slice::from_ref(&start)));
        let packager = Packager::new(config);
        Self { readers, packager, log, segments: 0, edge: None, faults, entries: Vec::new() }
    }

    /// Passes a batch to the [`Packager`], and publishes the resulting events, even if the batch fails half-way.
    pub(super) fn write<T>(&mut self, batch: impl FnOnce(&mut Packager) -> Result<T, Error>) -> Result<T, Error> {
        let result = batch(&mut self.packager);
        self.publish();
        result
    }

    /// Returns the number of segments closed so far, in all renditions.
    pub(super) const fn segments(&self) -> u64 {
        self.segments
    }

    /// Returns how far the newest media that viewers can load is behind `now`, by its `EXT-X-PROGRAM-DATE-TIME`. `None`
    /// before the first media.
    pub(super) fn live_edge(&self, now: WallTime) -> Option<TimeDelta> {
        self.edge.map(|(_, edge)| now.since(edge))
    }

    fn publish(&mut self) {
        let events = std::iter::from_fn(|| self.packager.poll());
        self.entries.extend(events.map(|event| self.log.append(event)));
        self.segments += self.entries.iter().filter(|entry| matches!(entry.event, Event::Segment(_))).count() as u64;
        for entry in &self.entries {
            if let Event::Part(part) = &entry.event
                && self.edge.is_none_or(|(rendition, _)| part.rendition <= rendition)
            {
                self.edge = Some((part.rendition, part.wall.shifted(part.duration)));
            }
        }
        self.readers.iter().for_each(|reader| reader.append(&self.entries));
        self.entries.clear();
        std::iter::from_fn(|| self.packager.poll_fault()).for_each(|report| self.faults.record(report));
    }
}
