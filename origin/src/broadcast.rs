//! A broadcast as its readers see it: the window, its playlists by version, and the gates where readers wait.
//!
//! One writer appends; that folds the events into the window and hands opened gates to the workers, and never renders.
//! The first reader that asks for a playlist of a new version renders it, all others share it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use media::TimeDelta;
use media::id::{BroadcastId, PlaybackId};
use packager::log::{Event, RenditionId};
use packager::playlist::{self, MediaOptions, MultivariantOptions};
use packager::uri::{File, Query};
use packager::window::{Availability, Rendition, Window};
use parking_lot::Mutex;
use tokio::sync::futures::OwnedNotified;

use crate::gate::{Gate, Pump};
use crate::rendered::Rendered;
use crate::route::Directives;

/// Segments past the last one that a reload may ask for (rfc8216bis §6.2.5.2).
const SEGMENTS_AHEAD: u64 = 2;
/// The Advance Part Limit in seconds of parts; it is three parts where they are longer than a second.
const PARTS_AHEAD_SECS: i64 = 3;
/// Playlists kept rendered: each rendition's with and without parts and history. The first ones go beyond that.
const RENDERED: usize = 64;
/// Seconds that a cache may keep what cannot change any more but may go.
const ENDED_KEEP_SECS: u32 = 86_400;
/// Target durations that the answer to a blocking reload may be kept: it goes on holding what was asked for.
const RELOAD_KEEP_TARGETS: u32 = 6;
/// The part of a key that stands for a whole segment.
const WHOLE: u32 = u32::MAX;

/// A broadcast: written by one, read by many.
#[derive(Debug)]
pub struct Broadcast {
    id: BroadcastId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    window: Window,
    version: u64,
    gates: BTreeMap<Position, Vec<Post>>,
    rendered: Vec<(Shape, Arc<Rendered>)>,
    renders: u64,
}

/// A gate and whom it belongs to.
#[derive(Debug)]
struct Post {
    pump: Arc<Pump>,
    gate: Arc<Gate>,
}

/// What a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Position {
    /// The first playlists.
    Playable,
    /// Rendition, segment, and the part of it or [`WHOLE`].
    At(RenditionId, u64, u32),
}

/// Which playlist.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shape {
    Multivariant { playback: PlaybackId, parts: bool },
    Media { rendition: RenditionId, parts: bool, skip: bool },
}

/// What became of a look at the broadcast.
#[derive(Debug)]
pub(crate) enum Look<T> {
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
    /// Appends so far.
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
        Self { id, state: Mutex::default() }
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
        let opened = {
            let mut state = self.state.lock();
            events.iter().for_each(|event| state.window.apply(event));
            state.version += 1;
            state.take_opened()
        };
        for Post { pump, gate } in opened {
            pump.open(gate);
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
            renders: state.renders,
            playable: state.window.is_playable(),
            ended: state.window.has_ended(),
        }
    }

    /// Seconds a blocking reload may take: three target durations.
    pub(crate) fn reload_secs(&self) -> u64 {
        self.state.lock().window.targets().map_or(0, |targets| u64::from(targets.segment_secs) * 3)
    }

    /// A ticket to wait for `position`, or `None` if there is nothing to wait for any more.
    pub(crate) fn ticket(&self, position: Position, pump: &Arc<Pump>, deadline: u32) -> Option<OwnedNotified> {
        let mut state = self.state.lock();
        if state.is_open(position) {
            return None;
        }
        let posts = state.gates.entry(position).or_default();
        if let Some(post) = posts.iter().find(|post| Arc::ptr_eq(&post.pump, pump)) {
            return Some(post.gate.ticket(deadline));
        }
        let gate = pump.gate();
        let ticket = gate.ticket(deadline);
        posts.push(Post { pump: Arc::clone(pump), gate });
        Some(ticket)
    }

    /// The multivariant playlist.
    pub(crate) fn multivariant(&self, playback: &PlaybackId, parts: bool) -> Look<Arc<Rendered>> {
        let mut state = self.state.lock();
        if !state.window.is_playable() {
            return if state.window.has_ended() { Look::Missing } else { Look::Wait(Position::Playable) };
        }
        let shape = Shape::Multivariant { playback: playback.clone(), parts };
        let rendered = state.cached(shape, |window, version| {
            let query = Query { low_latency: parts, extra: "" };
            let options = MultivariantOptions { playback, broadcast: &self.id, query };
            let keep = half_target(window);
            Some(Rendered::new(playlist::multivariant(window, &options), version, self.id.as_str(), keep, keep))
        });
        rendered.map_or(Look::Missing, Look::Found)
    }

    /// A media playlist that holds what `directives` ask for.
    pub(crate) fn media(&self, rendition: RenditionId, directives: &Directives) -> Look<Arc<Rendered>> {
        let mut state = self.state.lock();
        match state.reload(rendition, directives) {
            Look::Found(()) => {}
            Look::Wait(position) => return Look::Wait(position),
            Look::Missing => return Look::Missing,
            Look::TooFar => return Look::TooFar,
        }
        let Directives { low_latency: parts, skip, .. } = *directives;
        let rendered = state.cached(Shape::Media { rendition, parts, skip }, |window, version| {
            let options = MediaOptions { skip, query: Query { low_latency: parts, extra: "" } };
            let text = playlist::media(window, rendition, &options)?;
            let (keep, reload) = media_keep(window, parts);
            Some(Rendered::new(text, version, self.id.as_str(), keep, reload))
        });
        // A rendition that joined late has no segment yet.
        rendered.map_or_else(|| state.whole_segment(rendition), Look::Found)
    }

    /// The pieces of an init section, a segment or a part.
    pub(crate) fn file(&self, file: File) -> Look<Arc<[Bytes]>> {
        let state = self.state.lock();
        let window = &state.window;
        let found: Option<Arc<[Bytes]>> = match file {
            File::Playlist(_) => None,
            File::Init(rendition, number) => window.init(rendition, number).map(|init| Arc::from([init.bytes.clone()])),
            File::Segment(rendition, msn) => window.segment(rendition, msn).map(|s| s.pieces().cloned().collect()),
            File::Part(rendition, msn, index) => return state.part(rendition, msn, index),
        };
        found.map_or(Look::Missing, Look::Found)
    }
}

impl State {
    /// True if a reader need not wait for `position` (any more).
    fn is_open(&self, position: Position) -> bool {
        self.window.has_ended()
            || match position {
                Position::Playable => self.window.is_playable(),
                Position::At(rendition, msn, part) => {
                    self.window.progress(rendition).is_none_or(|at| (msn, part) < (at.msn, at.parts))
                }
            }
    }

    fn take_opened(&mut self) -> Vec<Post> {
        if self.gates.is_empty() {
            return Vec::new();
        }
        let open: Vec<Position> = self.gates.keys().copied().filter(|position| self.is_open(*position)).collect();
        open.iter().filter_map(|position| self.gates.remove(position)).flatten().collect()
    }

    /// Whether a playlist may be given for `directives` now (rfc8216bis §6.2.5.2).
    fn reload(&self, rendition: RenditionId, directives: &Directives) -> Look<()> {
        let window = &self.window;
        if !window.is_playable() {
            return if window.has_ended() { Look::Missing } else { Look::Wait(Position::Playable) };
        }
        let (Some(at), Some(targets)) = (window.progress(rendition), window.targets()) else { return Look::Missing };
        let Some(msn) = directives.msn else { return Look::Found(()) };
        // Without parts on offer only whole segments can be waited for.
        let part = directives.part.filter(|_| directives.low_latency && targets.part.is_some());
        if window.has_ended() || window.holds(rendition, msn, part) {
            // Who follows a rung that was shed from part to part has nothing buffered: sent away, hls.js takes another one
            // at once, but where gap parts come it waits for the segment to be whole.
            let shed = !window.has_ended() && window.rendition(rendition).is_some_and(Rendition::is_withdrawn);
            return if shed { Look::Missing } else { Look::Found(()) };
        }
        let parts_ahead = targets.part.map_or(PARTS_AHEAD_SECS, |target| {
            TimeDelta::from_secs(PARTS_AHEAD_SECS).whole(target).max(PARTS_AHEAD_SECS)
        });
        let there = if msn == at.msn { i64::from(at.parts) } else { 0 };
        // The last whole segment is the one before the segment in the making.
        let too_far = msn.saturating_add(1) > at.msn.saturating_add(SEGMENTS_AHEAD)
            || part.is_some_and(|part| msn >= at.msn && i64::from(part) > there + parts_ahead);
        if too_far {
            return Look::TooFar;
        }
        Look::Wait(match part {
            None => Position::At(rendition, msn, WHOLE),
            // A part past the end of a closed segment stands for the next segment's first.
            Some(_) if msn < at.msn => Position::At(rendition, msn.saturating_add(1), 0),
            Some(part) => Position::At(rendition, msn, part),
        })
    }

    /// Waiting for the segment in the making to be whole.
    fn whole_segment(&self, rendition: RenditionId) -> Look<Arc<Rendered>> {
        match self.window.progress(rendition) {
            Some(at) if !self.window.has_ended() => Look::Wait(Position::At(rendition, at.msn, WHOLE)),
            _ => Look::Missing,
        }
    }

    fn part(&self, rendition: RenditionId, msn: u64, index: u32) -> Look<Arc<[Bytes]>> {
        let window = &self.window;
        if let Some(part) = window.part(rendition, msn, index) {
            return Look::Found(part.data.pieces().iter().cloned().collect());
        }
        let offered = window.targets().is_some_and(|targets| targets.part.is_some());
        let next = window.rendition(rendition).is_some_and(|rendition| {
            // A hint is a guess: the part after the newest one may come in its stead.
            [rendition.hint(), rendition.progress()].iter().any(|at| (msn, index) == (at.msn, at.parts))
        });
        let later = window.availability(rendition, msn, index) == Availability::Later;
        // Only the hinted part is worth a wait; what lies further ahead may get another name.
        if offered && next && later { Look::Wait(Position::At(rendition, msn, index)) } else { Look::Missing }
    }

    /// The playlist of `shape` in this version, rendered if it is the first time.
    fn cached(&mut self, shape: Shape, render: impl FnOnce(&Window, u64) -> Option<Rendered>) -> Option<Arc<Rendered>> {
        let place = self.rendered.iter().position(|(known, _)| *known == shape);
        if let Some((_, known)) = place.and_then(|place| self.rendered.get(place))
            && known.version == self.version
        {
            return Some(Arc::clone(known));
        }
        let rendered = Arc::new(render(&self.window, self.version)?);
        self.renders += 1;
        if let Some(place) = place {
            self.rendered.swap_remove(place);
        } else if self.rendered.len() >= RENDERED {
            self.rendered.swap_remove(0);
        }
        self.rendered.push((shape, Arc::clone(&rendered)));
        Some(rendered)
    }
}

/// Half a target duration, for caches: the multivariant playlist may be another broadcast's after that.
fn half_target(window: &Window) -> u32 {
    window.targets().map_or(1, |targets| targets.segment_secs / 2)
}

/// Seconds that a media playlist may be kept, got by a plain request and by a blocking reload.
fn media_keep(window: &Window, parts: bool) -> (u32, u32) {
    if window.has_ended() {
        return (ENDED_KEEP_SECS, ENDED_KEEP_SECS);
    }
    let Some(targets) = window.targets() else { return (0, 0) };
    // It is true until the next part or segment, and a reader may be half of that late.
    let plain = match targets.part.filter(|_| parts) {
        Some(part) => u32::try_from(part.whole(TimeDelta::from_secs(1))).unwrap_or(0),
        None => targets.segment_secs / 2,
    };
    (plain, targets.segment_secs.saturating_mul(RELOAD_KEEP_TARGETS))
}
