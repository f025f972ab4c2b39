//! A broadcast as its readers see it: the window, the playlists of its current version, and the points where readers
//! wait.
//!
//! The writer folds the entries of the log into the [`Window`], and hands the wait points that they satisfy to the
//! workers. Readers hold the lock only for a lookup. After that, they render playlists and join segments from the
//! window that they found. If the writer appends in the meantime, it leaves that window to the readers and continues
//! with a copy, which shares all segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use media::TimeDelta;
use media::id::{BroadcastId, PlaybackId};
use packager::log::{Entry, LogReader, RenditionId};
use packager::uri::File;
use packager::window::{Rendition, Window};
use parking_lot::Mutex;
use tokio::sync::futures::OwnedNotified;

use crate::http::body::Source;
use crate::playback::directives::Directives;
use crate::playback::playlists::{CacheLookup, PlaylistCache, PlaylistKey};
use crate::playback::rendered::Rendered;
use crate::worker::wait::{WaitPoint, Waker};

/// Most segments after the last whole one that a reload may name (rfc8216bis §6.2.5.2).
const SEGMENTS_AHEAD: u64 = 2;
/// Advance Part Limit (rfc8216bis §6.2.5.2): as many parts as this many seconds have, and at least this many parts.
const PARTS_AHEAD_SECS: i64 = 3;
/// Part index that stands for the whole segment: a rendition has passed it once its open segment is a later one.
const WHOLE_SEGMENT: u32 = u32::MAX;

/// One broadcast: a single writer, many readers.
#[derive(Debug)]
pub struct Broadcast {
    id: BroadcastId,
    state: Mutex<State>,
    renders: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    window: Arc<Window>,
    /// Number of entries that the log has up to the newest one in the window. All readers of the log have the same
    /// window at the same version.
    version: u64,
    wait_points: BTreeMap<Position, Vec<Waiter>>,
    playlists: PlaylistCache,
}

/// Wait point of a [`Position`] on one worker.
#[derive(Debug)]
struct Waiter {
    waker: Arc<Waker>,
    point: Arc<WaitPoint>,
}

/// Position in the log that a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Position {
    /// The entry with which a first playlist can be served.
    Playable,
    /// A part, as rendition, media sequence number and part index; or the end of a segment, with [`WHOLE_SEGMENT`].
    At(RenditionId, u64, u32),
    /// A part named by a preload hint. Settled when the part exists, or when the hint names another one.
    Hinted(RenditionId, u64, u32),
    /// The part after the newest one, for which a playlist request waits for at most about one part target: a plain
    /// request, because a player starts at a fixed distance from the end of its first playlist and the age of that end
    /// adds to its latency permanently, and a blocking reload of Video.js.
    Next(RenditionId, u64, u32),
}

/// Whether a media playlist request may wait for [`Position::Next`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NextPart {
    /// Wait, if parts are offered.
    Await,
    /// Answer with the current playlist.
    DoNotAwait,
}

/// Result of looking something up in a [`Broadcast`].
#[derive(Debug)]
pub(crate) enum Lookup<T> {
    /// The requested resource.
    Found(T),
    /// Not available yet. The reader may wait for this position.
    Wait(Position),
    /// Not available, and will not become available.
    Missing,
    /// Too far ahead to wait for.
    TooFar,
}

/// Figures of one [`Broadcast`], for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BroadcastStats {
    /// Bytes of media in the window.
    pub window_bytes: u64,
    /// Number of entries that the log has up to the newest one in the window.
    pub version: u64,
    /// Number of playlists rendered so far.
    pub renders: u64,
    /// True once a first playlist can be served.
    pub playable: bool,
    /// True once the log has ended.
    pub ended: bool,
}

impl LogReader for Broadcast {
    /// Folds the next entries of the log into the window, and wakes the readers that waited for them.
    fn append(&self, entries: &[Entry]) {
        let Some(newest) = entries.last() else { return };
        let ready = {
            let mut state = self.state.lock();
            let window = Arc::make_mut(&mut state.window);
            entries.iter().for_each(|entry| window.apply(&entry.event));
            state.version = newest.seq + 1;
            state.take_ready()
        };
        for Waiter { waker, point } in ready {
            waker.wake_soon(point);
        }
    }
}

impl Broadcast {
    /// Creates a broadcast with an empty log.
    pub fn new(id: BroadcastId) -> Self {
        Self { id, state: Mutex::default(), renders: AtomicU64::new(0) }
    }

    /// Returns the id that media URLs contain.
    pub const fn id(&self) -> &BroadcastId {
        &self.id
    }

    /// Returns true once the log has ended.
    pub fn has_ended(&self) -> bool {
        self.state.lock().window.has_ended()
    }

    /// Returns true once a first playlist can be served.
    pub fn is_playable(&self) -> bool {
        self.state.lock().window.is_playable()
    }

    /// Returns the current figures.
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

    /// Returns the timeout of a blocking reload in seconds: three target durations; zero before there are any.
    pub(crate) fn reload_secs(&self) -> u64 {
        self.state.lock().window.targets().map_or(0, |targets| u64::from(targets.segment_secs) * 3)
    }

    /// Returns the part target; zero if no parts are offered.
    pub(crate) fn part_target(&self) -> Duration {
        let target = self.state.lock().window.targets().and_then(|targets| targets.part);
        target.map_or(Duration::ZERO, |target| Duration::from_millis(target.as_millis().unsigned_abs()))
    }

    /// Subscribes to `position` until `deadline`, a time on the clock of `waker`. Returns `None` if there is nothing
    /// left to wait for.
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

    /// Returns the multivariant playlist.
    pub(crate) fn multivariant(&self, playback: &PlaybackId, parts: bool) -> Lookup<Arc<Rendered>> {
        let key = PlaylistKey::Multivariant { playback: playback.clone(), parts };
        let mut state = self.state.lock();
        if !state.window.is_playable() {
            return if state.window.has_ended() { Lookup::Missing } else { Lookup::Wait(Position::Playable) };
        }
        let job = match state.find(key) {
            CacheLookup::Rendered(rendered) => return Lookup::Found(rendered),
            CacheLookup::NotRendered(job) => job,
        };
        drop(state);
        job.render(&self.id, &self.renders).map_or(Lookup::Missing, Lookup::Found)
    }

    /// Returns a media playlist that contains what `directives` ask for.
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

    /// Returns the bytes of an init section, a segment or a part. Only a part can be waited for.
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

/// Returns the end of the open segment as the position to wait for; [`Lookup::Missing`] if no segment will end.
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

    /// Returns true if a reader need not, or need no longer, wait for `position`.
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

    /// Removes and returns the waiters whose positions are settled.
    fn take_ready(&mut self) -> Vec<Waiter> {
        if self.wait_points.is_empty() {
            return Vec::new();
        }
        let ready: Vec<Position> =
            self.wait_points.keys().copied().filter(|position| self.is_settled(*position)).collect();
        ready.iter().filter_map(|position| self.wait_points.remove(position)).flatten().collect()
    }

    /// Decides whether the current playlist satisfies `directives` (rfc8216bis §6.2.5.2), and if not, what the request
    /// waits for.
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
        // Without parts on offer, only whole segments can be waited for.
        let part = directives.part.filter(|_| parts_offered);
        if window.has_ended() || window.contains(rendition, msn, part) {
            // hls.js 1.7, while it follows a withdrawn rendition part by part, has nothing buffered. It switches to
            // another rendition at once on a 404, but waits for the whole segment if it gets gap parts.
            let withdrawn = !window.has_ended() && window.rendition(rendition).is_some_and(Rendition::is_withdrawn);
            if withdrawn {
                return Lookup::Missing;
            }
            // Video.js 8.24 appends the init section again with every part that it loads from a playlist with one new
            // part. Browsers then drop the frames up to the next key frame. Two new parts in one playlist end this.
            let newest = part.is_some_and(|part| !window.contains(rendition, msn, part.checked_add(1)));
            let waits = newest && directives.skip_first && next_part == NextPart::Await && !window.has_ended();
            return if waits { Lookup::Wait(Position::Next(rendition, at.msn, at.parts)) } else { Lookup::Found(()) };
        }
        let parts_ahead = targets.part.map_or(PARTS_AHEAD_SECS, |target| {
            TimeDelta::from_secs(PARTS_AHEAD_SECS).whole(target).max(PARTS_AHEAD_SECS)
        });
        let available = if msn == at.msn { i64::from(at.parts) } else { 0 };
        // The last whole segment is the one before the open segment.
        let too_far = msn.saturating_add(1) > at.msn.saturating_add(SEGMENTS_AHEAD)
            || part.is_some_and(|part| msn >= at.msn && i64::from(part) > available + parts_ahead);
        if too_far {
            return Lookup::TooFar;
        }
        Lookup::Wait(match part {
            None => Position::At(rendition, msn, WHOLE_SEGMENT),
            // A part past the end of a closed segment means the first part of the next one.
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
        // Only the hinted part is sure to come. A part that is no longer hinted at is answered immediately.
        let hinted = offered && window.hints_at(rendition, msn, index);
        if hinted { Lookup::Wait(Position::Hinted(rendition, msn, index)) } else { Lookup::Missing }
    }
}

#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod tests;
