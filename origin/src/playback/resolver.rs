//! The interface by which the server resolves playback ids. The program around the server implements it.

use std::sync::Arc;

use media::id::BroadcastId;

use crate::playback::broadcast::Broadcast;

/// Current meaning of a playback id.
#[derive(Clone, Debug)]
pub enum Playback {
    /// No live stream has this playback id.
    Unknown,
    /// The playback id is not public, and no way to authorize a viewer is supported.
    Protected,
    /// The live stream has no broadcast.
    Idle,
    /// The live stream's current broadcast, or one that ended a moment ago.
    Live(Arc<Broadcast>),
}

/// Finds the [`Broadcast`] of a playback id. Called for every request, so an implementation only looks up in memory.
pub trait PlaybackResolver: Send + Sync + 'static {
    /// Resolves `playback_id`. A media URL also names its `broadcast`: as long as that one is retained it is the
    /// answer, even after a newer one has begun, so that its viewers reach its end.
    fn resolve(&self, playback_id: &str, broadcast: Option<&BroadcastId>) -> Playback;

    /// Returns the title of the live stream with this `playback_id`, for the watch page.
    fn title(&self, playback_id: &str) -> Option<String>;
}
