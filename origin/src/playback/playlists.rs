//! Cache of a broadcast's playlists, each rendered once per version.
//!
//! The first reader that asks for a playlist renders it from the window of that version, outside the lock that the
//! encoder's task takes. Readers on other workers that ask meanwhile wait for the same rendering.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use media::TimeDelta;
use media::id::{BroadcastId, PlaybackId};
use packager::log::RenditionId;
use packager::playlist::{MediaOptions, MultivariantOptions};
use packager::uri::Query;
use packager::window::Window;

use crate::playback::rendered::Rendered;

/// Maximum of cached playlists: those of each rendition with and without parts and history. Beyond it, the first one is
/// evicted.
const MAX_CACHED: usize = 64;
/// `max-age` of what can no longer change but may be removed, in seconds.
const ENDED_MAX_AGE_SECS: u32 = 86_400;
/// `max-age` of the answer to a blocking reload, in target durations. The answer stays valid, because it permanently
/// contains what was asked for.
const RELOAD_MAX_AGE_TARGETS: u32 = 6;

/// Identity of a playlist within one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PlaylistKey {
    Multivariant { playback: PlaybackId, parts: bool },
    Media { rendition: RenditionId, parts: bool, skip: bool },
}

/// Newest version of each playlist that was asked for.
#[derive(Debug, Default)]
pub(crate) struct PlaylistCache {
    cached: Vec<(PlaylistKey, Arc<Slot>)>,
}

/// One version of a playlist, rendered or being rendered.
#[derive(Debug)]
struct Slot {
    version: u64,
    /// `Some(None)` if the window has no such playlist.
    rendered: OnceLock<Option<Arc<Rendered>>>,
}

/// Result of [`PlaylistCache::find`].
#[derive(Debug)]
pub(crate) enum CacheLookup {
    /// The playlist.
    Rendered(Arc<Rendered>),
    /// No reader has finished rendering it yet.
    NotRendered(RenderJob),
}

/// A playlist to render, with everything it depends on. Rendering it does not need the lock of the broadcast.
#[derive(Debug)]
pub(crate) struct RenderJob {
    key: PlaylistKey,
    slot: Arc<Slot>,
    window: Arc<Window>,
}

impl PlaylistCache {
    /// Returns the playlist of `key` in this version of the window.
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

    /// Creates a slot for a new version, which replaces the one at `place`.
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
    /// Renders the playlist, or waits for the reader that is rendering it. Returns `None` if the window has no such
    /// playlist. Increments `renders` for each playlist rendered.
    pub(crate) fn render(&self, broadcast: &BroadcastId, renders: &AtomicU64) -> Option<Arc<Rendered>> {
        let rendered = self.slot.rendered.get_or_init(|| {
            let rendered = render(&self.key, &self.window, self.slot.version, broadcast)?;
            renders.fetch_add(1, Ordering::Relaxed);
            Some(Arc::new(rendered))
        });
        rendered.clone()
    }

    /// Returns the window of the version.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }
}

fn render(key: &PlaylistKey, window: &Window, version: u64, broadcast: &BroadcastId) -> Option<Rendered> {
    let query = |parts| Query { low_latency: parts, extra: "" };
    let (text, max_age, reload) = match key {
        PlaylistKey::Multivariant { playback, parts } => {
            let text = window.multivariant_playlist().render(&MultivariantOptions {
                playback,
                broadcast,
                query: query(*parts),
            });
            // After this time, the playback id may stand for another broadcast.
            let max_age = window.targets().map_or(1, |targets| targets.segment_secs / 2);
            (text, max_age, max_age)
        }
        PlaylistKey::Media { rendition, parts, skip } => {
            let text = window
                .media_playlist(*rendition)
                .map(|list| list.render(&MediaOptions { skip: *skip, query: query(*parts) }))?;
            let (max_age, reload) = media_max_age(window, *parts);
            (text, max_age, reload)
        }
    };
    Some(Rendered::new(text, version, broadcast.as_str(), max_age, reload))
}

/// Returns the `max-age` in seconds of a media playlist, first for a plain request and then for a blocking reload.
fn media_max_age(window: &Window, parts: bool) -> (u32, u32) {
    if window.has_ended() {
        return (ENDED_MAX_AGE_SECS, ENDED_MAX_AGE_SECS);
    }
    let Some(targets) = window.targets() else { return (0, 0) };
    // A playlist is current until the next part or segment, and a reader may be half of that late.
    let plain = match targets.part.filter(|_| parts) {
        Some(part) => u32::try_from(part.whole(TimeDelta::from_secs(1))).unwrap_or(0),
        None => targets.segment_secs / 2,
    };
    (plain, targets.segment_secs.saturating_mul(RELOAD_MAX_AGE_TARGETS))
}
