//! Where the crates of floor 2 meet: who may publish, what runs, and what viewers find.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use control::lifecycle::{self, Effect, Protocol, Warning};
use control::{Control, EffectHandler, KeyLookup, Policy, Quality, StreamSettings};
use futures_util::future::BoxFuture;
use ingest::{
    Admission, Authorizer, DisconnectReason, Encryption, FrameSink, Item, Key, LinkStats, Passphrase, Publish, Refusal,
};
use media::id::{BroadcastId, ContributionId, LiveStreamId};
use origin::{Playback, PlaybackResolver};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::broadcast::{Broadcast, Making, Outcome};
use crate::config;
use crate::encoding::level;
use crate::gaps::{Films, Order};
use crate::metrics::Latencies;
use crate::slate_image;

/// How long the playlists of an ended broadcast stay, so that players see its end.
const KEEP_ENDED: Duration = Duration::from_secs(60);

/// How long after the last parts of a broadcast its playlists end: time for players to learn of them and to fetch them.
const LAST_PARTS: Duration = Duration::from_millis(700);

/// The running broadcasts and the encoders behind them.
pub(crate) struct Studio {
    control: OnceLock<Control>,
    /// The broadcasts of each live stream, the newest last; all but that one have ended a moment ago.
    broadcasts: RwLock<HashMap<LiveStreamId, Vec<Arc<Broadcast>>>>,
    /// How to end each contribution that was let in.
    encoders: Mutex<HashMap<ContributionId, oneshot::Sender<DisconnectReason>>>,
    pub(crate) latencies: Latencies,
    pub(crate) refusals: Refusals,
    ladder: config::Ladder,
    slate: config::Slate,
    /// One clip is made at a time: each takes a processor for a moment.
    clips: Semaphore,
    films: Arc<Films>,
    runtime: Handle,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Nobody is let in any more.
    closing: AtomicBool,
}

/// Contributions that were let in and then ended for what they sent.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) long_gop: AtomicU64,
    pub(crate) unpackageable: AtomicU64,
}

impl Studio {
    /// A studio with nothing on; its tasks run on the runtime it is made in.
    pub(crate) fn new(
        config: &config::Config,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            control: OnceLock::new(),
            broadcasts: RwLock::default(),
            encoders: Mutex::default(),
            latencies: Latencies::new()?,
            refusals: Refusals::default(),
            ladder: config.ladder.clone(),
            slate: config.slate.clone(),
            clips: Semaphore::new(1),
            films: Arc::default(),
            runtime: Handle::current(),
            tasks,
            shutdown,
            closing: AtomicBool::new(false),
        }))
    }

    /// Gives the control that decides; until then nobody is let in.
    pub(crate) fn set_control(&self, control: Control) {
        // It is set once, when the program starts.
        let _ = self.control.set(control);
    }

    /// The broadcasts that viewers can see.
    pub(crate) fn broadcasts(&self) -> Vec<Arc<Broadcast>> {
        self.broadcasts.read().values().flatten().cloned().collect()
    }

    /// Ends all playlists: the program is going down.
    pub(crate) async fn finish(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Relaxed);
        let ends: Vec<_> = self.broadcasts().iter().map(|broadcast| self.finish_one(broadcast)).collect();
        for end in ends {
            // One that panicked has told of it.
            let _ = end.await;
        }
    }

    /// Ends a broadcast. What is inside its ladder comes out first, and players get the time to fetch it, unless the server
    /// shuts down: that goes on aside.
    fn finish_one(self: &Arc<Self>, broadcast: &Arc<Broadcast>) -> JoinHandle<()> {
        let (encoding, broadcast) = (broadcast.finish(), Arc::clone(broadcast));
        let (studio, drained) = (Arc::clone(self), Arc::clone(&broadcast));
        let drain = self.tasks.spawn_blocking_on(move || drained.drain(encoding), &self.runtime);
        let end = async move {
            // One that panicked has told of it.
            if drain.await.unwrap_or(false) && !studio.closing.load(Ordering::Relaxed) {
                tokio::select! {
                    () = tokio::time::sleep(LAST_PARTS) => {}
                    () = studio.shutdown.cancelled() => {}
                }
            }
            broadcast.end();
        };
        self.tasks.spawn_on(end, &self.runtime)
    }

    /// Tells whoever subscribed to the live stream that something is wrong. Aside, because the caller may hold a broadcast that
    /// the lifecycle ends at this moment.
    fn warn(&self, stream: &LiveStreamId, warning: Warning) {
        let Some(control) = self.control.get().cloned() else { return };
        let stream = stream.clone();
        let tell = async move {
            if let Err(error) = unless_deleted(control.warn(&stream, warning)) {
                error!(%stream, error = &error as &dyn Error, "a warning was refused");
            }
        };
        self.tasks.spawn_on(tell, &self.runtime);
    }

    fn send_away(&self, contribution: &ContributionId, why: DisconnectReason) {
        if let Some(stop) = self.encoders.lock().remove(contribution) {
            // The encoder may be leaving by itself at this moment.
            let _ = stop.send(why);
        }
    }

    fn start(self: &Arc<Self>, id: &BroadcastId, settings: &StreamSettings) {
        let quality = settings.quality.map_or(self.ladder.quality, quality_of);
        info!(stream = %settings.id, broadcast = %id, mode = ?settings.latency_mode, ?quality, "broadcast started");
        let ladder = level(quality).filter(|_| !settings.audio_only).map(|level| ladder::Settings {
            level,
            max_height: settings.max_height,
            mode: settings.latency_mode,
            slate: settings.slate.then(default_slate),
            hardware: self.ladder.hardware,
            loudness: settings.normalize_audio.then_some(self.ladder.loudness_lufs),
            source: self.ladder.source,
        });
        let (studio, stream) = (Arc::clone(self), settings.id.clone());
        let filled = ladder.is_none() && settings.slate;
        let making = match ladder {
            Some(settings) => Making::Encoded(settings),
            None => Making::PassedThrough(filled.then(default_slate)),
        };
        let warn = Arc::new(move |warning| studio.warn(&stream, warning));
        let broadcast =
            Broadcast::new(id.clone(), settings.id.clone(), settings.latency_mode, settings.audio_only, making, warn);
        let broadcast = Arc::new(broadcast);
        self.broadcasts.write().entry(settings.id.clone()).or_default().push(Arc::clone(&broadcast));
        if filled {
            self.tend(Arc::clone(&broadcast));
        }
        if let Some(url) = settings.slate_url.clone().filter(|_| !settings.audio_only && settings.slate) {
            self.fetch_slate(url, broadcast);
        }
    }

    /// Fills the gaps of a broadcast for as long as it runs.
    fn tend(self: &Arc<Self>, broadcast: Arc<Broadcast>) {
        let studio = Arc::clone(self);
        let tend = async move {
            while let Some(next) = broadcast.tend() {
                if let Some(order) = next.order {
                    studio.make(order, Arc::clone(&broadcast));
                }
                tokio::select! {
                    () = tokio::time::sleep(next.sleep) => {}
                    () = studio.shutdown.cancelled() => return,
                }
            }
        };
        self.tasks.spawn_on(tend, &self.runtime);
    }

    /// Makes the clip for a broadcast's gaps when it is its turn.
    fn make(self: &Arc<Self>, order: Order, broadcast: Arc<Broadcast>) {
        let studio = Arc::clone(self);
        let make = async move {
            let turn = tokio::select! {
                turn = studio.clips.acquire() => turn,
                () = studio.shutdown.cancelled() => return,
            };
            // One that panics has told of it.
            let films = Arc::clone(&studio.films);
            let made = studio.tasks.spawn_blocking_on(move || order.make(&films), &studio.runtime).await;
            drop(turn);
            if let Some(warning) = made.ok().and_then(|made| broadcast.made(made)) {
                studio.warn(&broadcast.stream, warning);
            }
        };
        self.tasks.spawn_on(make, &self.runtime);
    }

    /// Fetches the live stream's own slate picture; until it is there, and where it cannot be had, ours is shown.
    fn fetch_slate(self: &Arc<Self>, url: String, broadcast: Arc<Broadcast>) {
        let (settings, studio) = (self.slate.clone(), Arc::clone(self));
        let fetch = move || match slate_image::fetch(&url, &settings) {
            Ok(picture) => broadcast.set_slate(ladder::SlateImages { landscape: picture.clone(), portrait: picture }),
            // The URL stays out of the log: it may carry a secret.
            Err(error) => {
                studio.warn(&broadcast.stream, Warning::SlateUnavailable);
                warn!(stream = %broadcast.stream, %error, "the slate picture could not be fetched: ours is shown")
            }
        };
        self.tasks.spawn_blocking_on(fetch, &self.runtime);
    }

    fn find(&self, stream: &LiveStreamId, id: &BroadcastId) -> Option<Arc<Broadcast>> {
        self.broadcasts.read().get(stream)?.iter().find(|broadcast| broadcast.id == *id).cloned()
    }

    fn end(self: &Arc<Self>, id: &BroadcastId, stream: &LiveStreamId) {
        // A broadcast of an earlier process is not here, and needs nothing.
        let Some(broadcast) = self.find(stream, id) else { return };
        // The tracker waits for it.
        drop(self.finish_one(&broadcast));
        info!(%stream, broadcast = %id, "broadcast ended");
        let studio = Arc::clone(self);
        let forget = async move {
            tokio::select! {
                () = tokio::time::sleep(KEEP_ENDED) => {}
                () = studio.shutdown.cancelled() => {}
            }
            let mut broadcasts = studio.broadcasts.write();
            if let Entry::Occupied(mut kept) = broadcasts.entry(broadcast.stream.clone()) {
                kept.get_mut().retain(|b| b.id != broadcast.id);
                if kept.get().is_empty() {
                    kept.remove();
                }
            }
        };
        self.tasks.spawn_on(forget, &self.runtime);
    }

    fn stream_of(&self, key: &Key) -> Result<(&Control, Arc<StreamSettings>), Refusal> {
        let control = self.control.get().filter(|_| !self.closing.load(Ordering::Relaxed));
        let control = control.ok_or(Refusal::Unavailable)?;
        match control.find_key(&key.0) {
            KeyLookup::Found(settings) => Ok((control, settings)),
            KeyLookup::Disabled => Err(Refusal::Disabled),
            KeyLookup::Unknown => Err(Refusal::UnknownKey),
        }
    }

    async fn open(self: Arc<Self>, publish: Publish) -> Result<Admission, Refusal> {
        let (control, settings) = self.stream_of(&publish.key)?;
        let (stop, stopped) = oneshot::channel();
        let contribution = publish.contribution;
        // Known before it is told of, so that it can be sent away at once.
        self.encoders.lock().insert(contribution.clone(), stop);
        let protocol = match publish.protocol {
            ingest::Protocol::Rtmp | ingest::Protocol::Rtmps => Protocol::Rtmp,
            ingest::Protocol::Srt => Protocol::Srt,
        };
        let snapshot = match control.connected(&settings.id, contribution.clone(), protocol) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.encoders.lock().remove(&contribution);
                return Err(match error {
                    // It was deleted a moment ago, and its key with it.
                    control::Error::NotFound(_) => Refusal::UnknownKey,
                    error => {
                        error!(stream = %settings.id, error = &error as &dyn Error, "the encoder could not be let in");
                        Refusal::Unavailable
                    }
                });
            }
        };
        // Whatever happens from here on, dropping the contribution tells control of its end.
        let contribution = Contribution::new(&self, control.clone(), settings.id.clone(), contribution);
        let broadcast = snapshot.broadcast.and_then(|id| self.find(&settings.id, &id)).ok_or(Refusal::Disabled)?;
        broadcast.begin(contribution.id.clone());
        let sink = Feed { contribution, broadcast, flowing: false };
        Ok(Admission { stream: settings.id.clone(), sink: Box::new(sink), stop: stopped })
    }
}

/// The handle by which the floor below knows the studio.
#[derive(Clone)]
pub(crate) struct Doors(pub(crate) Arc<Studio>);

impl Authorizer for Doors {
    fn admit(&self, publish: Publish) -> BoxFuture<'_, Result<Admission, Refusal>> {
        Box::pin(Arc::clone(&self.0).open(publish))
    }

    fn passphrase(&self, key: &Key) -> Result<Encryption, Refusal> {
        let (control, settings) = self.0.stream_of(key)?;
        // It may have been deleted in between.
        let secret = control.srt_passphrase(&settings.id).ok_or(Refusal::UnknownKey)?;
        Ok(Encryption { stream: settings.id.clone(), passphrase: Passphrase::new(secret) })
    }
}

impl EffectHandler for Doors {
    fn handle(&self, settings: &Arc<StreamSettings>, effect: &Effect) {
        match effect {
            Effect::StartBroadcast(id) => self.0.start(id, settings),
            Effect::EndBroadcast(id) => self.0.end(id, &settings.id),
            Effect::DisconnectEncoder { contribution, reason } => {
                self.0.send_away(contribution, disconnect_reason(*reason));
            }
            Effect::Event(_) => {}
        }
    }
}

impl PlaybackResolver for Doors {
    fn resolve(&self, playback_id: &str, broadcast: Option<&BroadcastId>) -> Playback {
        let stream = match self.0.control.get().and_then(|c| c.find_playback(playback_id)) {
            Some((stream, Policy::Public)) => stream,
            // Signed playback comes with its keys; until then such an id opens nothing.
            Some((_, Policy::Signed | Policy::Drm)) => return Playback::Protected,
            None => return Playback::Unknown,
        };
        let broadcasts = self.0.broadcasts.read();
        let Some(kept) = broadcasts.get(&stream) else { return Playback::Idle };
        let named = kept.iter().find(|kept| Some(&kept.id) == broadcast);
        match named.or(kept.last()) {
            Some(broadcast) => Playback::Live(Arc::clone(broadcast.origin())),
            None => Playback::Idle,
        }
    }

    fn title(&self, playback_id: &str) -> Option<String> {
        self.0.control.get()?.title(playback_id)
    }
}

const fn quality_of(asked: Quality) -> config::Quality {
    match asked {
        Quality::Basic => config::Quality::Basic,
        Quality::Plus => config::Quality::Plus,
        Quality::Premium => config::Quality::Premium,
    }
}

/// The pictures that come with the program.
fn default_slate() -> ladder::SlateImages {
    let [landscape, portrait] =
        [slate::default_images::LANDSCAPE, slate::default_images::PORTRAIT].map(Bytes::from_static);
    ladder::SlateImages { landscape, portrait }
}

fn disconnect_reason(reason: lifecycle::DisconnectReason) -> DisconnectReason {
    match reason {
        lifecycle::DisconnectReason::TakenOver => DisconnectReason::TakenOver,
        lifecycle::DisconnectReason::Disabled => DisconnectReason::Disabled,
        lifecycle::DisconnectReason::Completed => DisconnectReason::Completed,
        lifecycle::DisconnectReason::Deleted => DisconnectReason::Deleted,
        lifecycle::DisconnectReason::KeyReset => DisconnectReason::KeyReset,
        lifecycle::DisconnectReason::MaxDuration => DisconnectReason::TooLong,
    }
}

/// One contribution's news for control, told in order by a task of its own: that media flows, and that it is over.
struct Contribution {
    id: ContributionId,
    studio: Arc<Studio>,
    flowing: mpsc::Sender<()>,
}

impl Contribution {
    fn new(studio: &Arc<Studio>, control: Control, stream: LiveStreamId, id: ContributionId) -> Self {
        // One message is ever sent; dropping the sender is the other.
        let (flowing, mut news) = mpsc::channel(1);
        let contribution = id.clone();
        let tell = async move {
            while news.recv().await.is_some() {
                if let Err(error) = unless_deleted(control.flowing(&stream, contribution.clone())) {
                    error!(%stream, error = &error as &dyn Error, "the start of media was refused");
                }
            }
            if let Err(error) = unless_deleted(control.disconnected(&stream, contribution)) {
                error!(%stream, error = &error as &dyn Error, "the end of the encoder was refused");
            }
        };
        studio.tasks.spawn_on(tell, &studio.runtime);
        Self { id, studio: Arc::clone(studio), flowing }
    }
}

impl Drop for Contribution {
    fn drop(&mut self) {
        self.studio.encoders.lock().remove(&self.id);
    }
}

/// A live stream that was deleted in the meantime has no state to store, which is no error.
fn unless_deleted<T>(result: Result<T, control::Error>) -> Result<(), control::Error> {
    match result {
        Ok(_) | Err(control::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes an encoder's frames to its broadcast.
struct Feed {
    contribution: Contribution,
    broadcast: Arc<Broadcast>,
    flowing: bool,
}

impl FrameSink for Feed {
    fn push(&mut self, items: &mut Vec<Item>, bytes: usize) {
        let began = Instant::now();
        let outcome = self.broadcast.push(&self.contribution.id, items, bytes);
        self.contribution.studio.latencies.packaged(began.elapsed());
        if let Outcome::Unusable(why) = outcome {
            let refusals = &self.contribution.studio.refusals;
            let (count, warning) = match why {
                DisconnectReason::LongGop => (&refusals.long_gop, Warning::LongGop),
                _ => (&refusals.unpackageable, Warning::Unpackageable),
            };
            count.fetch_add(1, Ordering::Relaxed);
            self.contribution.studio.warn(&self.broadcast.stream, warning);
            self.contribution.studio.send_away(&self.contribution.id, why);
        }
        if outcome == Outcome::Playable && !std::mem::replace(&mut self.flowing, true) {
            // The channel has room: this happens once.
            let _ = self.contribution.flowing.try_send(());
        }
    }

    fn buffered_bytes(&self) -> u64 {
        self.broadcast.origin().stats().window_bytes
    }

    fn link(&mut self, figures: &LinkStats) {
        self.broadcast.link(&self.contribution.id, figures);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.broadcast.gone(&self.contribution.id);
    }
}
