//! What the server asks about playback ids; whoever assembles the program answers.

use std::sync::Arc;

use media::id::BroadcastId;

use crate::playback::broadcast::Broadcast;

/// What a playback id stands for now.
#[derive(Clone, Debug)]
pub enum Playback {
    /// No live stream has this playback id.
    Unknown,
    /// It is not a public one, and nothing that opens it is supported.
    Protected,
    /// Its live stream shows nothing.
    Idle,
    /// Its live stream shows this broadcast, or showed it until a moment ago.
    Live(Arc<Broadcast>),
}

/// Finds the broadcast behind a playback id. It is asked for every request, so it looks up in memory only.
pub trait PlaybackResolver: Send + Sync + 'static {
    /// What `playback_id` stands for. A URL of media names its broadcast: as long as that is kept it is the answer, even
    /// if a newer one has begun, so that its viewers see its end.
    fn resolve(&self, playback_id: &str, broadcast: Option<&BroadcastId>) -> Playback;

    /// The title of the live stream behind `playback_id`, for the watch page.
    fn title(&self, playback_id: &str) -> Option<String>;
}
