//! State that the connections and requests of one worker share.

use std::sync::Arc;

use crate::api::Fallback;
use crate::config::Config;
use crate::playback::resolver::PlaybackResolver;
use crate::stats::Counters;
use crate::worker::wait::Waker;

/// Settings and interfaces that all workers of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) resolver: Arc<dyn PlaybackResolver>,
    pub(crate) fallback: Arc<dyn Fallback>,
}

/// The part of a [`Worker`](crate::worker::Worker) that its connections and requests use.
pub(crate) struct WorkerContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) waker: Arc<Waker>,
    pub(crate) counters: Arc<Counters>,
}
