//! The playlists of a broadcast, each rendered once for a version of it.
//!
//! The first reader who asks for one renders it from the window of that version, outside of the lock that the encoder's
//! task takes; readers of other workers who ask meanwhile wait for that one rendering.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use media::TimeDelta;
use media::id::{BroadcastId, PlaybackId};
use packager::log::RenditionId;
use packager::playlist::{MediaOptions, MultivariantOptions};
use packager::uri::Query;
use packager::window::Window;

use crate::playback::rendered::Rendered;

/// Playlists kept: each rendition's with and without parts and history. Beyond that the first one is rendered again.
const MAX_CACHED: usize = 64;
/// Seconds that a cache may keep what cannot change any more but may go.
const ENDED_MAX_AGE_SECS: u32 = 86_400;
/// Target durations that the answer to a blocking reload may be kept: it goes on holding what was asked for.
const RELOAD_MAX_AGE_TARGETS: u32 = 6;

/// Which playlist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PlaylistKey {
    Multivariant { playback: PlaybackId, parts: bool },
    Media { rendition: RenditionId, parts: bool, skip: bool },
}

/// The newest version that was asked for of each playlist.
#[derive(Debug, Default)]
pub(crate) struct PlaylistCache {
    cached: Vec<(PlaylistKey, Arc<Slot>)>,
}

/// A playlist of one version, or the place where it is being rendered.
#[derive(Debug)]
struct Slot {
    version: u64,
    /// `None` inside if the window has no such playlist.
    rendered: OnceLock<Option<Arc<Rendered>>>,
}

/// What [`PlaylistCache::find`] gives.
#[derive(Debug)]
pub(crate) enum CacheLookup {
    /// The playlist.
    Rendered(Arc<Rendered>),
    /// Nobody has rendered it yet.
    NotRendered(RenderJob),
}

/// A playlist to be rendered, with all that it depends on; the lock of the broadcast is not needed for it.
#[derive(Debug)]
pub(crate) struct RenderJob {
    key: PlaylistKey,
    slot: Arc<Slot>,
    window: Arc<Window>,
}

impl PlaylistCache {
    /// The playlist of `shape` in this version of the window.
    pub(crate) fn find(&mut self, key: PlaylistKey, window: &Arc<Window>, version: u64) -> CacheLookup {
        let place = self.cached.iter().position(|(known, _)| *known == key);
        let known = place.and_then(|place| self.cached.get(place)).filter(|(_, slot)| slot.version == version);
        let slot = match known {
            Some((_, slot)) => match slot.rendered.get() {
                Some(Some(rendered)) => return CacheLookup::Rendered(Arc::clone(rendered)),
                _ => Arc::clone(slot),
            },
            None => self.begin(place, &key, version),
        };
        CacheLookup::NotRendered(RenderJob { key, slot, window: Arc::clone(window) })
    }

    /// Makes a slot for a new version, in the stead of the one at `place`.
    fn begin(&mut self, place: Option<usize>, key: &PlaylistKey, version: u64) -> Arc<Slot> {
        let slot = Arc::new(Slot { version, rendered: OnceLock::new() });
        if place.is_some() || self.cached.len() >= MAX_CACHED {
            self.cached.swap_remove(place.unwrap_or(0));
        }
        self.cached.push((key.clone(), Arc::clone(&slot)));
        slot
    }
}

impl RenderJob {
    /// Renders the playlist, or waits for whoever does; `None` if the window has no such playlist. Counts into `renders`.
    pub(crate) fn render(&self, broadcast: &BroadcastId, renders: &AtomicU64) -> Option<Arc<Rendered>> {
        let rendered = self.slot.rendered.get_or_init(|| {
            let rendered = render(&self.key, &self.window, self.slot.version, broadcast)?;
            renders.fetch_add(1, Ordering::Relaxed);
            Some(Arc::new(rendered))
        });
        rendered.clone()
    }

    /// The window of the version.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }
}

fn render(key: &PlaylistKey, window: &Window, version: u64, broadcast: &BroadcastId) -> Option<Rendered> {
    let query = |parts| Query { low_latency: parts, extra: "" };
    let (text, max_age, reload) = match key {
        PlaylistKey::Multivariant { playback, parts } => {
            let text =
                window.multivariant_playlist().render(&MultivariantOptions { playback, broadcast, query: query(*parts) });
            // The multivariant playlist may be another broadcast's after that.
            let max_age = window.targets().map_or(1, |targets| targets.segment_secs / 2);
            (text, max_age, max_age)
        }
        PlaylistKey::Media { rendition, parts, skip } => {
            let text = window.media_playlist(*rendition).map(|list| list.render(&MediaOptions { skip: *skip, query: query(*parts) }))?;
            let (max_age, reload) = media_keep(window, *parts);
            (text, max_age, reload)
        }
    };
    Some(Rendered::new(text, version, broadcast.as_str(), max_age, reload))
}

/// Seconds that a media playlist may be kept, got by a plain request and by a blocking reload.
fn media_keep(window: &Window, parts: bool) -> (u32, u32) {
    if window.has_ended() {
        return (ENDED_MAX_AGE_SECS, ENDED_MAX_AGE_SECS);
    }
    let Some(targets) = window.targets() else { return (0, 0) };
    // It is true until the next part or segment, and a reader may be half of that late.
    let plain = match targets.part.filter(|_| parts) {
        Some(part) => u32::try_from(part.whole(TimeDelta::from_secs(1))).unwrap_or(0),
        None => targets.segment_secs / 2,
    };
    (plain, targets.segment_secs.saturating_mul(RELOAD_MAX_AGE_TARGETS))
}
