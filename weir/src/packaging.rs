//! The packaged side of a broadcast: its packager and the window that viewers read, for whoever makes the frames.

use std::sync::Arc;

use media::{TimeDelta, WallTime};
use packager::log::{Event, RenditionId};
use packager::{Error, Packager};
use parking_lot::Mutex;

use crate::faults::Faults;

/// A packager whose events go to the window.
pub(crate) struct Packaging {
    pub(crate) origin: Arc<origin::Broadcast>,
    state: Mutex<State>,
}

struct State {
    packager: Packager,
    segments: u64,
    /// The end of the newest part on the programme's clock, of the first rendition that has any.
    edge: Option<(RenditionId, WallTime)>,
    ended: bool,
    faults: Arc<Faults>,
    // Kept between batches so that a frame costs no allocation.
    events: Vec<Event>,
}

impl Packaging {
    pub(crate) fn new(config: packager::Config, origin: Arc<origin::Broadcast>, faults: Arc<Faults>) -> Self {
        let state = State {
            packager: Packager::new(config),
            segments: 0,
            edge: None,
            ended: false,
            faults,
            events: Vec::new(),
        };
        Self { origin, state: Mutex::new(state) }
    }

    /// Gives the packager a batch and viewers what came of it, also where the batch could not be taken as a whole. What
    /// comes after the end is dropped.
    pub(crate) fn write(&self, batch: impl FnOnce(&mut Packager) -> Result<(), Error>) -> Result<(), Error> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.ended {
            return Ok(());
        }
        let taken = batch(&mut state.packager);
        state.publish(&self.origin);
        taken
    }

    /// Segments closed so far, in all renditions.
    pub(crate) fn segments(&self) -> u64 {
        self.state.lock().segments
    }

    /// Publishes what is left of the media; true if the playlists are to end a moment later, false if at once.
    pub(crate) fn last_parts(&self) -> Result<bool, Error> {
        let mut later = false;
        self.write(|packager| packager.last_parts().map(|parts| later = parts))?;
        Ok(later)
    }

    /// Returns how far the newest media that viewers can load is behind `now`, by its `EXT-X-PROGRAM-DATE-TIME`. `None`
    /// before the first media, and after the end.
    pub(crate) fn live_edge(&self, now: WallTime) -> Option<TimeDelta> {
        let state = self.state.lock();
        state.edge.filter(|_| !state.ended).map(|(_, edge)| now.since(edge))
    }

    /// Ends the playlists.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if std::mem::replace(&mut state.ended, true) {
            return Ok(());
        }
        let ended = state.packager.end();
        state.publish(&self.origin);
        ended
    }
}

impl State {
    fn publish(&mut self, origin: &origin::Broadcast) {
        self.events.extend(std::iter::from_fn(|| self.packager.poll()));
        self.segments += self.events.iter().filter(|event| matches!(event, Event::Segment(_))).count() as u64;
        for event in &self.events {
            if let Event::Part(part) = event
                && self.edge.is_none_or(|(rendition, _)| part.rendition <= rendition)
            {
                self.edge = Some((part.rendition, part.wall.shifted(part.duration)));
            }
        }
        origin.append(&self.events);
        self.events.clear();
        std::iter::from_fn(|| self.packager.poll_fault()).for_each(|report| self.faults.record(report));
    }
}
