//! Writer of a broadcast: its packager, its log, and the readers of that log.

use std::sync::Arc;

use media::{TimeDelta, WallTime};
use packager::log::{Entry, Event, LogReader, LogWriter, RenditionId};
use packager::{Error, Packager};
use parking_lot::Mutex;

use crate::faults::Faults;

/// A [`Packager`] whose events become the entries of a log. All [readers](LogReader) of the log get them at once, among
/// them [`origin::Broadcast`].
pub(super) struct BroadcastWriter {
    pub(super) origin: Arc<origin::Broadcast>,
    readers: Vec<Arc<dyn LogReader>>,
    state: Mutex<State>,
}

struct State {
    packager: Packager,
    log: LogWriter,
    /// Number of segments closed so far, in all renditions.
    segments: u64,
    /// Wall-clock time (`EXT-X-PROGRAM-DATE-TIME`) at the end of the newest part, of the lowest [`RenditionId`] that
    /// has any.
    edge: Option<(RenditionId, WallTime)>,
    ended: bool,
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
        let readers: Vec<Arc<dyn LogReader>> = vec![Arc::clone(&origin) as _];
        readers.iter().for_each(|reader| reader.append(std::slice::from_ref(&start)));
        let state = State {
            packager: Packager::new(config),
            log,
            segments: 0,
            edge: None,
            ended: false,
            faults,
            entries: Vec::new(),
        };
        Self { origin, readers, state: Mutex::new(state) }
    }

    /// Passes a batch to the [`Packager`], and publishes the resulting events, even if the batch fails half-way. After
    /// the end of the broadcast, `batch` is not called.
    pub(super) fn write(&self, batch: impl FnOnce(&mut Packager) -> Result<(), Error>) -> Result<(), Error> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.ended {
            return Ok(());
        }
        let result = batch(&mut state.packager);
        state.publish(&self.readers);
        result
    }

    /// Returns the number of segments closed so far, in all renditions.
    pub(super) fn segments(&self) -> u64 {
        self.state.lock().segments
    }

    /// Publishes the rest of the media. Returns whether the playlists have to end later, and not at once.
    pub(super) fn last_parts(&self) -> Result<bool, Error> {
        let mut must_end_later = false;
        self.write(|packager| packager.last_parts().map(|later| must_end_later = later))?;
        Ok(must_end_later)
    }

    /// Returns how far the newest media that viewers can load is behind `now`, by its `EXT-X-PROGRAM-DATE-TIME`. `None`
    /// before the first media, and after the end.
    pub(super) fn live_edge(&self, now: WallTime) -> Option<TimeDelta> {
        let state = self.state.lock();
        state.edge.filter(|_| !state.ended).map(|(_, edge)| now.since(edge))
    }

    /// Ends the playlists.
    pub(super) fn end(&self) -> Result<(), Error> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if std::mem::replace(&mut state.ended, true) {
            return Ok(());
        }
        let ended = state.packager.end();
        state.publish(&self.readers);
        ended
    }
}

impl State {
    fn publish(&mut self, readers: &[Arc<dyn LogReader>]) {
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
        readers.iter().for_each(|reader| reader.append(&self.entries));
        self.entries.clear();
        std::iter::from_fn(|| self.packager.poll_fault()).for_each(|report| self.faults.record(report));
    }
}
