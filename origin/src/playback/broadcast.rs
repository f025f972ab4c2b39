//! A broadcast as its readers see it: the window, its playlists by version, and the gates where readers wait.
//!
//! One writer appends; that folds the events into the window and hands opened gates to the workers. Readers take the lock
//! for a look only: what they render or gather, they do from the window they found, which the writer leaves to them and
//! goes on with a copy if it has news before they are done. A copy shares all segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use media::TimeDelta;
use media::id::{BroadcastId, PlaybackId};
use packager::log::{Event, RenditionId};
use packager::uri::File;
use packager::window::{Rendition, Window};
use parking_lot::Mutex;
use tokio::sync::futures::OwnedNotified;

use crate::http::body::Source;
use crate::playback::directives::Directives;
use crate::playback::playlists::{CacheLookup, PlaylistCache, PlaylistKey};
use crate::playback::rendered::Rendered;
use crate::worker::wait::{WaitPoint, Waker};

/// Segments past the last one that a reload may ask for (rfc8216bis §6.2.5.2).
const SEGMENTS_AHEAD: u64 = 2;
/// The Advance Part Limit in seconds of parts; it is three parts where they are longer than a second.
const PARTS_AHEAD_SECS: i64 = 3;
/// The part of a key that stands for a whole segment.
const WHOLE_SEGMENT: u32 = u32::MAX;

/// A broadcast: written by one, read by many.
#[derive(Debug)]
pub struct Broadcast {
    id: BroadcastId,
    state: Mutex<State>,
    renders: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    window: Arc<Window>,
    /// Events folded so far; one window for each version.
    version: u64,
    wait_points: BTreeMap<Position, Vec<Waiter>>,
    playlists: PlaylistCache,
}

/// A gate and whom it belongs to.
#[derive(Debug)]
struct Waiter {
    waker: Arc<Waker>,
    point: Arc<WaitPoint>,
}

/// What a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Position {
    /// The first playlists.
    Playable,
    /// Rendition, segment, and the part of it or [`WHOLE`].
    At(RenditionId, u64, u32),
    /// A part that playlists hint at: until it is there, or they hint at another one.
    Hinted(RenditionId, u64, u32),
    /// The part that comes next. A plain request waits for it, about as long as a part target at the most, because a player starts
    /// at a fixed distance from the end of its first playlist and stays as late as that end was old.
    Next(RenditionId, u64, u32),
}

/// Whether a plain request of a media playlist waits for the next part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NextPart {
    /// It does, where parts are offered.
    Await,
    /// It gets what is there.
    DoNotAwait,
}

/// What became of a look at the broadcast.
#[derive(Debug)]
pub(crate) enum Lookup<T> {
    /// Here it is.
    Found(T),
    /// It may come; wait for this.
    Wait(Position),
    /// It is not there and will not come.
    Missing,
    /// It lies too far ahead to wait for.
    TooFar,
}

/// Sizes of a broadcast, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BroadcastStats {
    /// Bytes of media in the window.
    pub window_bytes: u64,
    /// Events folded so far.
    pub version: u64,
    /// Playlists rendered so far.
    pub renders: u64,
    /// A first playlist can be had.
    pub playable: bool,
    /// Nothing more will come.
    pub ended: bool,
}

impl Broadcast {
    /// A broadcast with an empty log.
    pub fn new(id: BroadcastId) -> Self {
        Self { id, state: Mutex::default(), renders: AtomicU64::new(0) }
    }

    /// Its id, as media URLs have it.
    pub const fn id(&self) -> &BroadcastId {
        &self.id
    }

    /// Folds the next events of the log and has the readers woken that waited for them.
    pub fn append(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let ready = {
            let mut state = self.state.lock();
            let window = Arc::make_mut(&mut state.window);
            events.iter().for_each(|event| window.apply(event));
            state.version += events.len() as u64;
            state.take_ready()
        };
        for Waiter { waker, point } in ready {
            waker.wake_soon(point);
        }
    }

    /// Ends the broadcast: playlists get their `ENDLIST`, and nobody waits any more. More than once is no harm.
    pub fn end(&self) {
        if !self.has_ended() {
            self.append(&[Event::End]);
        }
    }

    /// True once nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.state.lock().window.has_ended()
    }

    /// True once a first playlist can be had.
    pub fn is_playable(&self) -> bool {
        self.state.lock().window.is_playable()
    }

    /// Sizes, for the metrics.
    pub fn stats(&self) -> BroadcastStats {
        let state = self.state.lock();
        BroadcastStats {
            window_bytes: state.window.bytes(),
            version: state.version,
            renders: self.renders.load(Ordering::Relaxed),
            playable: state.window.is_playable(),
            ended: state.window.has_ended(),
        }
    }

    /// Seconds a blocking reload may take: three target durations.
    pub(crate) fn reload_secs(&self) -> u64 {
        self.state.lock().window.targets().map_or(0, |targets| u64::from(targets.segment_secs) * 3)
    }

    /// The part target; zero where no parts are offered.
    pub(crate) fn part_target(&self) -> Duration {
        let target = self.state.lock().window.targets().and_then(|targets| targets.part);
        target.map_or(Duration::ZERO, |target| Duration::from_millis(target.as_millis().unsigned_abs()))
    }

    /// A ticket to wait for `position`, or `None` if there is nothing to wait for any more.
    pub(crate) fn subscribe(&self, position: Position, waker: &Arc<Waker>, deadline: u32) -> Option<OwnedNotified> {
        let mut state = self.state.lock();
        if state.is_settled(position) {
            return None;
        }
        let waiters = state.wait_points.entry(position).or_default();
        if let Some(waiter) = waiters.iter().find(|waiter| Arc::ptr_eq(&waiter.waker, waker)) {
            return Some(waiter.point.subscribe(deadline));
        }
        let point = waker.new_wait_point();
        let subscription = point.subscribe(deadline);
        waiters.push(Waiter { waker: Arc::clone(waker), point });
        Some(subscription)
    }

    /// The multivariant playlist.
    pub(crate) fn multivariant(&self, playback: &PlaybackId, parts: bool) -> Lookup<Arc<Rendered>> {
        let mut state = self.state.lock();
        if !state.window.is_playable() {
            return if state.window.has_ended() { Lookup::Missing } else { Lookup::Wait(Position::Playable) };
        }
        let key = PlaylistKey::Multivariant { playback: playback.clone(), parts };
        let job = match state.find(key) {
            CacheLookup::Rendered(rendered) => return Lookup::Found(rendered),
            CacheLookup::NotRendered(job) => job,
        };
        drop(state);
        job.render(&self.id, &self.renders).map_or(Lookup::Missing, Lookup::Found)
    }

    /// A media playlist that holds what `directives` ask for.
    pub(crate) fn media(
        &self,
        rendition: RenditionId,
        directives: &Directives,
        next_part: NextPart,
    ) -> Lookup<Arc<Rendered>> {
        let mut state = self.state.lock();
        match state.reload(rendition, directives, next_part) {
            Lookup::Found(()) => {}
            Lookup::Wait(position) => return Lookup::Wait(position),
            Lookup::Missing => return Lookup::Missing,
            Lookup::TooFar => return Lookup::TooFar,
        }
        let Directives { low_latency: parts, skip, .. } = *directives;
        let job = match state.find(PlaylistKey::Media { rendition, parts, skip }) {
            CacheLookup::Rendered(rendered) => return Lookup::Found(rendered),
            CacheLookup::NotRendered(job) => job,
        };
        drop(state);
        // A rendition that joined late has no segment yet.
        job.render(&self.id, &self.renders).map_or_else(|| wait_for_segment(job.window(), rendition), Lookup::Found)
    }

    /// The bytes of an init section, a segment or a part.
    pub(crate) fn file(&self, file: File) -> Lookup<Source> {
        let state = self.state.lock();
        let window = &state.window;
        match file {
            File::Playlist(_) => Lookup::Missing,
            File::Init(rendition, number) => match window.init(rendition, number) {
                Some(init) => Lookup::Found(init.bytes.clone().into()),
                None => Lookup::Missing,
            },
            File::Segment(rendition, msn) => {
                let Some(segment) = window.segment(rendition, msn).cloned() else { return Lookup::Missing };
                drop(state);
                Lookup::Found(segment.whole().clone().into())
            }
            File::Part(rendition, msn, index) => state.part(rendition, msn, index),
        }
    }
}

/// Waiting for the segment in the making to be whole.
fn wait_for_segment<T>(window: &Window, rendition: RenditionId) -> Lookup<T> {
    match window.progress(rendition) {
        Some(at) if !window.has_ended() => Lookup::Wait(Position::At(rendition, at.msn, WHOLE_SEGMENT)),
        _ => Lookup::Missing,
    }
}

impl State {
    fn find(&mut self, key: PlaylistKey) -> CacheLookup {
        self.playlists.find(key, &self.window, self.version)
    }

    /// True if a reader need not wait for `position` (any more).
    fn is_settled(&self, position: Position) -> bool {
        self.window.has_ended()
            || match position {
                Position::Playable => self.window.is_playable(),
                Position::At(rendition, msn, part) | Position::Next(rendition, msn, part) => {
                    self.window.progress(rendition).is_none_or(|at| (msn, part) < (at.msn, at.parts))
                }
                Position::Hinted(rendition, msn, part) => !self.window.hints_at(rendition, msn, part),
            }
    }

    fn take_ready(&mut self) -> Vec<Waiter> {
        if self.wait_points.is_empty() {
            return Vec::new();
        }
        let ready: Vec<Position> =
            self.wait_points.keys().copied().filter(|position| self.is_settled(*position)).collect();
        ready.iter().filter_map(|position| self.wait_points.remove(position)).flatten().collect()
    }

    /// Whether a playlist may be given for `directives` now (rfc8216bis §6.2.5.2).
    fn reload(&self, rendition: RenditionId, directives: &Directives, next_part: NextPart) -> Lookup<()> {
        let window = &self.window;
        if !window.is_playable() {
            return if window.has_ended() { Lookup::Missing } else { Lookup::Wait(Position::Playable) };
        }
        let (Some(at), Some(targets)) = (window.progress(rendition), window.targets()) else { return Lookup::Missing };
        let parts_offered = directives.low_latency && targets.part.is_some();
        let Some(msn) = directives.msn else {
            let waits = next_part == NextPart::Await && parts_offered && !window.has_ended();
            return if waits { Lookup::Wait(Position::Next(rendition, at.msn, at.parts)) } else { Lookup::Found(()) };
        };
        // Without parts on offer only whole segments can be waited for.
        let part = directives.part.filter(|_| parts_offered);
        if window.has_ended() || window.contains(rendition, msn, part) {
            // Who follows a rung that was shed from part to part has nothing buffered: sent away, hls.js takes another one
            // at once, but where gap parts come it waits for the segment to be whole.
            let shed = !window.has_ended() && window.rendition(rendition).is_some_and(Rendition::is_withdrawn);
            return if shed { Lookup::Missing } else { Lookup::Found(()) };
        }
        let parts_ahead = targets.part.map_or(PARTS_AHEAD_SECS, |target| {
            TimeDelta::from_secs(PARTS_AHEAD_SECS).whole(target).max(PARTS_AHEAD_SECS)
        });
        let there = if msn == at.msn { i64::from(at.parts) } else { 0 };
        // The last whole segment is the one before the segment in the making.
        let too_far = msn.saturating_add(1) > at.msn.saturating_add(SEGMENTS_AHEAD)
            || part.is_some_and(|part| msn >= at.msn && i64::from(part) > there + parts_ahead);
        if too_far {
            return Lookup::TooFar;
        }
        Lookup::Wait(match part {
            None => Position::At(rendition, msn, WHOLE_SEGMENT),
            // A part past the end of a closed segment stands for the next segment's first.
            Some(_) if msn < at.msn => Position::At(rendition, msn.saturating_add(1), 0),
            Some(part) => Position::At(rendition, msn, part),
        })
    }

    fn part(&self, rendition: RenditionId, msn: u64, index: u32) -> Lookup<Source> {
        let window = &self.window;
        if let Some(part) = window.part(rendition, msn, index) {
            return Lookup::Found(part.data.clone().into());
        }
        let offered = window.targets().is_some_and(|targets| targets.part.is_some());
        // Only the hinted part is worth a wait: a hint that turned out wrong is answered at once.
        let hinted = offered && window.hints_at(rendition, msn, index);
        if hinted { Lookup::Wait(Position::Hinted(rendition, msn, index)) } else { Lookup::Missing }
    }
}

#[cfg(test)]
mod tests;
