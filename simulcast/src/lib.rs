//! Pushes one programme to other servers by RTMP, RTMPS and SRT.
//!
//! [`Simulcast`] takes the programme after the splice, so it has one timeline: where an encoder reconnects, targets
//! receive the continuation on the same connection. Each target has one bounded queue and one task. Pushing is a plain
//! call that never waits, and all targets share the payloads, so a target that is slow, dead or hostile costs the
//! programme and the other targets nothing.

pub mod address;
mod backoff;
mod config;
mod destination;
mod failure;
mod gate;
mod queue;
mod resolve;
mod rtmp;
mod socket;
mod srt;
mod state;
mod stats;
mod target;
pub mod tls;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;

use media::{Metadata, Track, TrackId};
use parking_lot::Mutex;
use slate::Item;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use wire::rtmp::client::TargetError;
use wire::srt::TargetError as SrtTargetError;

use crate::destination::Destination;
use crate::queue::Tracks;
use crate::rtmp::Rtmp;
use crate::srt::Srt;
use crate::target::{Shared, Task};
use crate::transport::Transport;

pub use config::{Config, QueueLimits, Retry, Timeouts};
pub use state::{Events, Severity, State, TargetId};
pub use stats::Stats;
pub use wire::srt::Secret;

/// Address and key of a target. Both are secrets, because an address can contain a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `rtmp[s]://[user:password@]host[:port]/app`, with the stream key as its last segment if `stream_key` is empty, or
    /// `srt://host:port?streamid=…&passphrase=…&pbkeylen=16|24|32&latency=MILLISECONDS`, with options that may be left
    /// out ([`wire::srt::Target::parse`]).
    pub url: Secret,
    /// Stream key; empty if it is part of the address, as in SRT.
    pub stream_key: Secret,
}

/// Error of [`Simulcast::add`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The address begins with another protocol.
    #[error("the address must begin with rtmp://, rtmps:// or srt://")]
    Scheme,
    /// The RTMP address cannot be used.
    #[error(transparent)]
    Address(#[from] TargetError),
    /// The SRT address cannot be used.
    #[error(transparent)]
    SrtAddress(#[from] SrtTargetError),
    /// An SRT target has a stream key.
    #[error("an SRT target has no stream key beside its address: put it into streamid")]
    StreamKey,
    /// There is a target with this id.
    #[error("there is a target with this id already")]
    Duplicate,
    /// The number of targets is at its limit.
    #[error("there are {0} targets already, and more are not allowed")]
    TooMany(usize),
    /// The broadcast has ended.
    #[error("the broadcast has ended")]
    Ended,
}

/// The targets of one broadcast.
pub struct Simulcast {
    config: Arc<Config>,
    runtime: Handle,
    tasks: TaskTracker,
    programme: Mutex<Programme>,
}

#[derive(Default)]
struct Programme {
    tracks: BTreeMap<TrackId, Track>,
    /// Copy of `tracks` for the queues.
    shared_tracks: Tracks,
    targets: Vec<Arc<Shared>>,
    has_ended: bool,
}

impl Simulcast {
    /// Creates a programme without targets. Their tasks run on `runtime`.
    pub fn new(config: Config, runtime: Handle) -> Self {
        Self { config: Arc::new(config), runtime, tasks: TaskTracker::new(), programme: Mutex::default() }
    }

    /// Adds a target, and starts to dial it once the programme has a track. `events` receives its transitions.
    pub fn add(&self, id: TargetId, settings: &Settings, events: Arc<dyn Events>) -> Result<(), AddError> {
        let destination = Destination::parse(settings)?;
        let mut programme = self.programme.lock();
        if programme.has_ended {
            return Err(AddError::Ended);
        }
        if programme.targets.iter().any(|target| target.id == id) {
            return Err(AddError::Duplicate);
        }
        if programme.targets.len() >= self.config.max_targets {
            return Err(AddError::TooMany(programme.targets.len()));
        }
        let shared = Arc::new(Shared::new(id, &self.config));
        // Opened here and not by the task, which may start after the first frames of the programme.
        shared.queue.open();
        if !programme.tracks.is_empty() {
            shared.queue.note_tracks();
        }
        programme.targets.push(Arc::clone(&shared));
        drop(programme);
        let config = Arc::clone(&self.config);
        match destination {
            Destination::Rtmp(target) => self.start(Rtmp::new(config, target), shared, events),
            Destination::Srt(target) => self.start(Srt::new(config, target), shared, events),
        }
        Ok(())
    }

    /// Starts the task of a target.
    fn start(&self, transport: impl Transport, shared: Arc<Shared>, events: Arc<dyn Events>) {
        let task = Task::new(transport, shared, Arc::clone(&self.config), events);
        self.tasks.spawn_on(task.run(), &self.runtime);
    }

    /// Removes a target, whose task ends the publication and reports [`State::Idle`]; returns whether there was one.
    pub fn remove(&self, id: &TargetId) -> bool {
        let mut programme = self.programme.lock();
        let Some(at) = programme.targets.iter().position(|target| target.id == *id) else { return false };
        programme.targets.remove(at).ended.cancel();
        true
    }

    /// Pushes an item of the programme to all targets. Never waits, and copies no payload.
    pub fn push(&self, item: &Item) {
        let mut programme = self.programme.lock();
        match item {
            Item::Track(track) => programme.announce(track),
            Item::Frame(frame) => {
                for target in &programme.targets {
                    target.queue.push(frame, &programme.shared_tracks);
                }
            }
            // The programme has one timeline, so targets need not know where contributions meet.
            Item::Discontinuity | Item::Fault(_) => {}
        }
    }

    /// Pushes timed metadata of the programme to all targets. Those over SRT receive it in their transport stream, and RTMP
    /// has no place for it.
    pub fn metadata(&self, metadata: &Metadata) {
        self.programme.lock().targets.iter().for_each(|target| target.queue.push_metadata(metadata));
    }

    /// Ends the broadcast: each target receives the rest of its queue and the end of the publication, both within
    /// [`Timeouts::close`]. Never waits; see [`Simulcast::closed`].
    pub fn finish(&self) {
        let mut programme = self.programme.lock();
        programme.has_ended = true;
        for target in programme.targets.drain(..) {
            target.ended.cancel();
        }
        self.tasks.close();
    }

    /// Waits until the tasks of all targets have ended, after [`Simulcast::finish`].
    pub async fn closed(&self) {
        self.tasks.wait().await;
    }

    /// Returns the [`Stats`] of each target, in the order of their addition.
    pub fn stats(&self) -> Vec<(TargetId, Stats)> {
        let targets = self.programme.lock().targets.clone();
        targets.iter().map(|target| (target.id.clone(), target.stats())).collect()
    }
}

/// Ends the broadcast as [`Simulcast::finish`] does.
impl Drop for Simulcast {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Programme {
    fn announce(&mut self, track: &Track) {
        if self.tracks.get(&track.id) == Some(track) {
            return;
        }
        self.tracks.insert(track.id, track.clone());
        self.shared_tracks = self.tracks.values().cloned().collect();
        for target in &self.targets {
            target.queue.note_tracks();
        }
    }
}
