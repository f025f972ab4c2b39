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

use crate::body::Source;
use crate::gate::{Gate, Pump};
use crate::playlists::{Found, Playlists, Shape};
use crate::rendered::Rendered;
use crate::route::Directives;

/// Segments past the last one that a reload may ask for (rfc8216bis §6.2.5.2).
const SEGMENTS_AHEAD: u64 = 2;
/// The Advance Part Limit in seconds of parts; it is three parts where they are longer than a second.
const PARTS_AHEAD_SECS: i64 = 3;
/// The part of a key that stands for a whole segment.
const WHOLE: u32 = u32::MAX;

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
    gates: BTreeMap<Position, Vec<Post>>,
    playlists: Playlists,
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
    /// A part that playlists hint at: until it is there, or they hint at another one.
    Hinted(RenditionId, u64, u32),
    /// The part that comes next. A plain request waits for it, about as long as a part target at the most, because a player starts
    /// at a fixed distance from the end of its first playlist and stays as late as that end was old.
    Next(RenditionId, u64, u32),
}

/// Whether a plain request of a media playlist waits for the next part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Newest {
    /// It does, where parts are offered.
    Awaited,
    /// It gets what is there.
    AsItIs,
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
        let opened = {
            let mut state = self.state.lock();
            let window = Arc::make_mut(&mut state.window);
            events.iter().for_each(|event| window.apply(event));
            state.version += events.len() as u64;
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
        let due = match state.find(shape) {
            Found::Rendered(rendered) => return Look::Found(rendered),
            Found::Due(due) => due,
        };
        drop(state);
        due.render(&self.id, &self.renders).map_or(Look::Missing, Look::Found)
    }

    /// A media playlist that holds what `directives` ask for.
    pub(crate) fn media(&self, rendition: RenditionId, directives: &Directives, newest: Newest) -> Look<Arc<Rendered>> {
        let mut state = self.state.lock();
        match state.reload(rendition, directives, newest) {
            Look::Found(()) => {}
            Look::Wait(position) => return Look::Wait(position),
            Look::Missing => return Look::Missing,
            Look::TooFar => return Look::TooFar,
        }
        let Directives { low_latency: parts, skip, .. } = *directives;
        let due = match state.find(Shape::Media { rendition, parts, skip }) {
            Found::Rendered(rendered) => return Look::Found(rendered),
            Found::Due(due) => due,
        };
        drop(state);
        // A rendition that joined late has no segment yet.
        due.render(&self.id, &self.renders).map_or_else(|| whole_segment(due.window(), rendition), Look::Found)
    }

    /// The bytes of an init section, a segment or a part.
    pub(crate) fn file(&self, file: File) -> Look<Source> {
        let state = self.state.lock();
        let window = &state.window;
        match file {
            File::Playlist(_) => Look::Missing,
            File::Init(rendition, number) => match window.init(rendition, number) {
                Some(init) => Look::Found(init.bytes.clone().into()),
                None => Look::Missing,
            },
            File::Segment(rendition, msn) => {
                let Some(segment) = window.segment(rendition, msn).cloned() else { return Look::Missing };
                drop(state);
                Look::Found(segment.whole().clone().into())
            }
            File::Part(rendition, msn, index) => state.part(rendition, msn, index),
        }
    }
}

/// Waiting for the segment in the making to be whole.
fn whole_segment<T>(window: &Window, rendition: RenditionId) -> Look<T> {
    match window.progress(rendition) {
        Some(at) if !window.has_ended() => Look::Wait(Position::At(rendition, at.msn, WHOLE)),
        _ => Look::Missing,
    }
}

impl State {
    fn find(&mut self, shape: Shape) -> Found {
        self.playlists.find(shape, &self.window, self.version)
    }

    /// True if a reader need not wait for `position` (any more).
    fn is_open(&self, position: Position) -> bool {
        self.window.has_ended()
            || match position {
                Position::Playable => self.window.is_playable(),
                Position::At(rendition, msn, part) | Position::Next(rendition, msn, part) => {
                    self.window.progress(rendition).is_none_or(|at| (msn, part) < (at.msn, at.parts))
                }
                Position::Hinted(rendition, msn, part) => !self.window.hints_at(rendition, msn, part),
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
    fn reload(&self, rendition: RenditionId, directives: &Directives, newest: Newest) -> Look<()> {
        let window = &self.window;
        if !window.is_playable() {
            return if window.has_ended() { Look::Missing } else { Look::Wait(Position::Playable) };
        }
        let (Some(at), Some(targets)) = (window.progress(rendition), window.targets()) else { return Look::Missing };
        let parts_offered = directives.low_latency && targets.part.is_some();
        let Some(msn) = directives.msn else {
            let waits = newest == Newest::Awaited && parts_offered && !window.has_ended();
            return if waits { Look::Wait(Position::Next(rendition, at.msn, at.parts)) } else { Look::Found(()) };
        };
        // Without parts on offer only whole segments can be waited for.
        let part = directives.part.filter(|_| parts_offered);
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

    fn part(&self, rendition: RenditionId, msn: u64, index: u32) -> Look<Source> {
        let window = &self.window;
        if let Some(part) = window.part(rendition, msn, index) {
            return Look::Found(part.data.clone().into());
        }
        let offered = window.targets().is_some_and(|targets| targets.part.is_some());
        // Only the hinted part is worth a wait: a hint that turned out wrong is answered at once.
        let hinted = offered && window.hints_at(rendition, msn, index);
        if hinted { Look::Wait(Position::Hinted(rendition, msn, index)) } else { Look::Missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::{Kind, Timestamp, WallTime};
    use packager::log::{Format, Init, Part, Payload, SegmentEnd, Targets};

    const VIDEO: RenditionId = RenditionId::VIDEO;
    const PART: TimeDelta = TimeDelta::from_millis(500);
    const PARTS: u32 = 4;

    fn part(msn: u64, index: u32) -> Event {
        let pieces = vec![Bytes::from(format!("{msn}")), Bytes::from(format!(".{index};"))];
        Event::Part(Arc::new(Part {
            rendition: VIDEO,
            msn,
            index,
            init: 0,
            start: Timestamp::ZERO,
            duration: PART,
            independent: index == 0,
            discontinuity: false,
            wall: WallTime::from_unix_millis(0),
            frames: 1,
            data: Payload::new(pieces),
        }))
    }

    /// A broadcast of so many whole segments.
    fn broadcast(segments: u64) -> Broadcast {
        let broadcast = Broadcast::new(BroadcastId::generate());
        let targets = Targets { segment_secs: 2, part: Some(PART), pause: TimeDelta::ZERO };
        let format = Format::new(Kind::Video, "avc1.64001F");
        let init = Init { rendition: VIDEO, number: 0, bytes: Bytes::from_static(b"init"), format };
        broadcast.append(&[Event::Targets(targets), Event::Init(Arc::new(init))]);
        for msn in 0..segments {
            (0..PARTS).for_each(|index| broadcast.append(&[part(msn, index)]));
            broadcast.append(&[Event::Segment(SegmentEnd {
                rendition: VIDEO,
                msn,
                duration: PART.times(4),
                millihertz: None,
            })]);
        }
        broadcast
    }

    fn text(look: Look<Arc<Rendered>>) -> (String, String) {
        let Look::Found(rendered) = look else { panic!("a playlist") };
        let etag = rendered.etag.to_str().unwrap().to_owned();
        (String::from_utf8(rendered.plain.to_vec()).unwrap(), etag)
    }

    fn shape(skip: bool) -> Shape {
        Shape::Media { rendition: VIDEO, parts: true, skip }
    }

    #[test]
    fn a_playlist_is_rendered_without_the_lock_from_the_window_of_its_version() {
        let broadcast = broadcast(2);
        let Found::Due(due) = broadcast.state.lock().find(shape(false)) else { panic!("nobody has asked") };
        // The encoder goes on meanwhile; with the lock held for the rendering, this would never return.
        broadcast.append(&[part(2, 0)]);
        let old = due.render(&broadcast.id, &broadcast.renders).unwrap();
        let (new, tag) = text(broadcast.media(VIDEO, &Directives::default(), Newest::AsItIs));
        assert!(!String::from_utf8_lossy(&old.plain).contains("URI=\"video-2.0.m4s\",INDEPENDENT"));
        assert!(new.contains("URI=\"video-2.0.m4s\",INDEPENDENT"), "{new}");
        assert_ne!(old.etag.to_str().unwrap(), tag, "another text has another validator");
        assert_eq!(broadcast.stats().renders, 2);
    }

    #[test]
    fn readers_on_all_threads_share_one_rendering() {
        let broadcast = broadcast(3);
        let ask = || text(broadcast.media(VIDEO, &Directives::default(), Newest::AsItIs));
        let texts: Vec<_> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(broadcast.stats().renders, 1);
    }

    #[test]
    fn a_delta_update_is_the_end_of_the_whole_playlist() {
        let broadcast = broadcast(12);
        broadcast.append(&[part(12, 0)]);
        let (whole, _) = text(broadcast.media(VIDEO, &Directives::default(), Newest::AsItIs));
        let (delta, _) =
            text(broadcast.media(VIDEO, &Directives { skip: true, ..Directives::default() }, Newest::AsItIs));
        let (_, rest) = delta.split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=").unwrap();
        let (skipped, rest) = rest.split_once('\n').unwrap();
        let skipped: usize = skipped.parse().unwrap();
        assert_eq!(whole.matches("#EXTINF").count(), delta.matches("#EXTINF").count() + skipped);
        assert!(whole.ends_with(rest.split_once("#EXT-X-PROGRAM-DATE-TIME").unwrap().1), "{whole}\n{delta}");
    }

    #[test]
    fn a_snapshot_of_a_reader_never_changes_and_the_window_goes_on() {
        let broadcast = broadcast(2);
        let before = Arc::clone(&broadcast.state.lock().window);
        broadcast.append(&[part(2, 0), part(2, 1)]);
        assert_eq!(before.progress(VIDEO).map(|at| (at.msn, at.parts)), Some((2, 0)));
        let state = broadcast.state.lock();
        assert_eq!(state.window.progress(VIDEO).map(|at| (at.msn, at.parts)), Some((2, 2)));
        assert!(Arc::ptr_eq(before.segment(VIDEO, 1).unwrap(), state.window.segment(VIDEO, 1).unwrap()));
    }

    #[test]
    fn media_is_handed_out_without_gathering_its_pieces_again() {
        let broadcast = broadcast(1);
        for (file, want) in
            [(File::Part(VIDEO, 0, 1), &b"0.1;"[..]), (File::Segment(VIDEO, 0), &b"0.0;0.1;0.2;0.3;"[..])]
        {
            let pieces = || match broadcast.file(file) {
                Look::Found(Source::Many(payload)) => payload,
                other => panic!("{other:?}"),
            };
            let (first, second) = (pieces(), pieces());
            assert_eq!(first.pieces().concat(), want);
            assert_eq!(first.pieces().as_ptr(), second.pieces().as_ptr(), "one list for all readers");
        }
    }
}
