//! The running server: its broadcasts, the encoders that feed them, and the tasks that belong to them.
//!
//! [`crate::adapters`] connects an [`App`] to the crates below: ingest, control and origin.

mod targets;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use control::lifecycle::Warning;
use control::{Control, KeyLookup, Quality, StreamSettings};
use ingest::{DisconnectReason, Key, Refusal};
use media::id::{BroadcastId, ContributionId, LiveStreamId};
use parking_lot::{Mutex, RwLock};
use slate::gap::ClipRequest;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::broadcast::{Broadcast, ClipCache, Processing, Settings, level};
use crate::config;
use crate::crate_settings::simulcast_config;
use crate::package_latency::PackageLatency;
use crate::slate_image;

/// Time for which the playlists of an ended broadcast stay available, so that players see its end.
const KEEP_ENDED: Duration = Duration::from_secs(60);

/// Time from the last parts of a broadcast to the end of its playlists, in which players learn of those parts and fetch
/// them.
const END_DELAY: Duration = Duration::from_millis(700);

/// The running broadcasts and the encoders that publish into them.
pub(crate) struct App {
    control: OnceLock<Control>,
    /// The broadcasts of each live stream, the newest last. All but the newest have just ended.
    broadcasts: RwLock<HashMap<LiveStreamId, Vec<Arc<Broadcast>>>>,
    /// The sender that disconnects the encoder, for each admitted contribution.
    encoders: Mutex<HashMap<ContributionId, oneshot::Sender<DisconnectReason>>>,
    pub(crate) package_latency: PackageLatency,
    pub(crate) rejections: MediaRejections,
    ladder: config::Ladder,
    slate: config::Slate,
    simulcast: simulcast::Config,
    /// Allows one slate clip to be rendered at a time, because each takes a processor core for a moment.
    clip_permit: Semaphore,
    clips: Arc<ClipCache>,
    runtime: Handle,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// True once no more encoders are admitted.
    closing: AtomicBool,
}

/// Contributions that were admitted and then disconnected because of the media they sent.
#[derive(Debug, Default)]
pub(crate) struct MediaRejections {
    pub(crate) long_gop: AtomicU64,
    pub(crate) unpackageable: AtomicU64,
}

impl App {
    /// Creates an app without broadcasts. Its tasks run on the current runtime.
    pub(crate) fn new(
        config: &config::Config,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            control: OnceLock::new(),
            broadcasts: RwLock::default(),
            encoders: Mutex::default(),
            package_latency: PackageLatency::new()?,
            rejections: MediaRejections::default(),
            ladder: config.ladder.clone(),
            slate: config.slate.clone(),
            simulcast: simulcast_config(config)?.0,
            clip_permit: Semaphore::new(1),
            clips: Arc::default(),
            runtime: Handle::current(),
            tasks,
            shutdown,
            closing: AtomicBool::new(false),
        }))
    }

    /// Sets the [`Control`] that admits encoders. No encoder is admitted before.
    pub(crate) fn set_control(&self, control: Control) {
        // Cannot fail: the only call is in the startup of the server.
        let _ = self.control.set(control);
    }

    /// Returns the [`Control`] once [`App::set_control`] has set it.
    pub(crate) fn control(&self) -> Option<&Control> {
        self.control.get()
    }

    /// Returns the broadcasts that viewers can see.
    pub(crate) fn broadcasts(&self) -> Vec<Arc<Broadcast>> {
        self.broadcasts.read().values().flatten().cloned().collect()
    }

    /// Returns the viewers' side of the broadcast with this id, or else of the newest one of the live stream.
    pub(crate) fn find_origin(
        &self,
        stream: &LiveStreamId,
        id: Option<&BroadcastId>,
    ) -> Option<Arc<origin::Broadcast>> {
        let broadcasts = self.broadcasts.read();
        let kept = broadcasts.get(stream)?;
        let named = kept.iter().find(|kept| Some(&kept.id) == id);
        named.or(kept.last()).map(|broadcast| Arc::clone(broadcast.origin()))
    }

    /// Returns the broadcast with this id while it runs, and for [`KEEP_ENDED`] after its end.
    pub(crate) fn find_broadcast(&self, stream: &LiveStreamId, id: &BroadcastId) -> Option<Arc<Broadcast>> {
        self.broadcasts.read().get(stream)?.iter().find(|broadcast| broadcast.id == *id).cloned()
    }

    /// Returns the live stream that a stream key belongs to, or the reason to refuse the encoder.
    pub(crate) fn find_stream(&self, key: &Key) -> Result<(&Control, Arc<StreamSettings>), Refusal> {
        let control = self.control.get().filter(|_| !self.closing.load(Ordering::Relaxed));
        let control = control.ok_or(Refusal::Unavailable)?;
        match control.find_key(&key.0) {
            KeyLookup::Found(settings) => Ok((control, settings)),
            KeyLookup::Disabled => Err(Refusal::Disabled),
            KeyLookup::Unknown => Err(Refusal::UnknownKey),
        }
    }

    /// Registers an admitted contribution, so that [`App::disconnect`] finds its encoder.
    pub(crate) fn add_encoder(&self, contribution: ContributionId, stop: oneshot::Sender<DisconnectReason>) {
        self.encoders.lock().insert(contribution, stop);
    }

    /// Removes the encoder of a contribution that has ended.
    pub(crate) fn remove_encoder(&self, contribution: &ContributionId) {
        self.encoders.lock().remove(contribution);
    }

    /// Disconnects the encoder of a contribution, if it is still connected.
    pub(crate) fn disconnect(&self, contribution: &ContributionId, reason: DisconnectReason) {
        if let Some(stop) = self.encoders.lock().remove(contribution) {
            // Fails if the encoder is leaving by itself at this moment.
            let _ = stop.send(reason);
        }
    }

    /// Runs a future on the app's runtime until it ends; the shutdown waits for it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn_on(task, &self.runtime)
    }

    /// Ends all playlists, because the server shuts down. Returns when they have ended.
    pub(crate) async fn finish(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Relaxed);
        let ends: Vec<_> = self.broadcasts().iter().map(|broadcast| self.finish_broadcast(broadcast)).collect();
        for end in ends {
            // The panic hook has reported a task that panicked.
            let _ = end.await;
        }
    }

    /// Ends a broadcast in a task of its own. First the ladder is drained. Then players get [`END_DELAY`] to fetch its
    /// last media, unless the server shuts down.
    fn finish_broadcast(self: &Arc<Self>, broadcast: &Arc<Broadcast>) -> JoinHandle<()> {
        let (ladder, broadcast) = (broadcast.finish(), Arc::clone(broadcast));
        let (app, drained) = (Arc::clone(self), Arc::clone(&broadcast));
        let drain = self.tasks.spawn_blocking_on(move || drained.drain(ladder), &self.runtime);
        self.spawn(async move {
            // The panic hook has reported a task that panicked.
            let must_end_later = drain.await.unwrap_or(false);
            broadcast.targets().finish();
            if must_end_later && !app.closing.load(Ordering::Relaxed) {
                tokio::select! {
                    () = tokio::time::sleep(END_DELAY) => {}
                    () = app.shutdown.cancelled() => {}
                }
            }
            broadcast.end();
            broadcast.targets().closed().await;
        })
    }

    /// Reports a [`Warning`] to the subscribers of the live stream. A task of its own does it, because the caller may
    /// hold the lock of a broadcast, which the lifecycle needs if it ends the broadcast at this moment.
    pub(crate) fn warn(&self, stream: &LiveStreamId, warning: Warning) {
        let Some(control) = self.control.get().cloned() else { return };
        let stream = stream.clone();
        self.spawn(async move {
            if let Err(error) = unless_deleted(control.warn(&stream, warning)) {
                error!(%stream, error = &error as &dyn Error, "could not report a warning");
            }
        });
    }

    /// Starts the broadcast that the lifecycle has created.
    pub(crate) fn start_broadcast(self: &Arc<Self>, id: &BroadcastId, settings: &StreamSettings) {
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
        let (app, stream) = (Arc::clone(self), settings.id.clone());
        let fills_gaps = ladder.is_none() && settings.slate;
        let processing = match ladder {
            Some(settings) => Processing::Transcode(settings),
            None => Processing::Passthrough,
        };
        let warn = Arc::new(move |warning| app.warn(&stream, warning));
        let targets = self.new_targets(&settings.id, id);
        let slate = settings.slate.then(default_slate);
        let broadcast = Settings {
            id: id.clone(),
            stream: settings.id.clone(),
            mode: settings.latency_mode,
            audio_only: settings.audio_only,
            processing,
            slate,
        };
        let broadcast = Arc::new(Broadcast::new(broadcast, targets, warn));
        self.broadcasts.write().entry(settings.id.clone()).or_default().push(Arc::clone(&broadcast));
        if fills_gaps {
            self.fill_gaps(Arc::clone(&broadcast));
        }
        if let Some(url) = settings.slate_url.clone().filter(|_| !settings.audio_only && settings.slate) {
            self.fetch_slate(url, broadcast);
        }
    }

    /// Fills the gaps of a passthrough broadcast until it ends.
    fn fill_gaps(self: &Arc<Self>, broadcast: Arc<Broadcast>) {
        let app = Arc::clone(self);
        self.spawn(async move {
            while let Some(next) = broadcast.poll() {
                if let Some(request) = next.clip_request {
                    app.render_clip(request, Arc::clone(&broadcast));
                }
                tokio::select! {
                    () = tokio::time::sleep(next.sleep) => {}
                    () = app.shutdown.cancelled() => return,
                }
            }
        });
    }

    /// Renders the slate clip for a broadcast's gaps, after the clips that were requested before.
    fn render_clip(self: &Arc<Self>, request: ClipRequest, broadcast: Arc<Broadcast>) {
        let app = Arc::clone(self);
        self.spawn(async move {
            let permit = tokio::select! {
                permit = app.clip_permit.acquire() => permit,
                () = app.shutdown.cancelled() => return,
            };
            let clips = Arc::clone(&app.clips);
            let result = app.tasks.spawn_blocking_on(move || clips.make(request), &app.runtime).await;
            drop(permit);
            // The panic hook has reported a task that panicked.
            if let Some(warning) = result.ok().and_then(|result| broadcast.take_clip(result)) {
                app.warn(&broadcast.stream, warning);
            }
        });
    }

    /// Fetches the live stream's own slate image. Viewers see the built-in image until it has arrived, and if it cannot
    /// be fetched.
    fn fetch_slate(self: &Arc<Self>, url: String, broadcast: Arc<Broadcast>) {
        let (settings, app) = (self.slate.clone(), Arc::clone(self));
        let fetch = move || match slate_image::fetch(&url, &settings) {
            Ok(image) => broadcast.set_slate(ladder::SlateImages { landscape: image.clone(), portrait: image }),
            // The URL stays out of the log, because it may carry a secret.
            Err(error) => {
                app.warn(&broadcast.stream, Warning::SlateUnavailable);
                warn!(stream = %broadcast.stream, %error, "could not fetch the slate image, using the built-in one")
            }
        };
        self.tasks.spawn_blocking_on(fetch, &self.runtime);
    }

    /// Ends a broadcast, and removes it [`KEEP_ENDED`] later.
    pub(crate) fn end_broadcast(self: &Arc<Self>, id: &BroadcastId, stream: &LiveStreamId) {
        // A broadcast of an earlier process is not in the map and needs no work.
        let Some(broadcast) = self.find_broadcast(stream, id) else { return };
        // No one here waits for that task, but the shutdown does, by the task tracker.
        drop(self.finish_broadcast(&broadcast));
        info!(%stream, broadcast = %id, "broadcast ended");
        let app = Arc::clone(self);
        self.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(KEEP_ENDED) => {}
                () = app.shutdown.cancelled() => {}
            }
            let mut broadcasts = app.broadcasts.write();
            if let Entry::Occupied(mut kept) = broadcasts.entry(broadcast.stream.clone()) {
                kept.get_mut().retain(|b| b.id != broadcast.id);
                if kept.get().is_empty() {
                    kept.remove();
                }
            }
        });
    }
}

/// Turns [`control::Error::NotFound`] into success: for a live stream that was deleted in the meantime, there is
/// nothing to store or to report.
pub(crate) fn unless_deleted<T>(result: Result<T, control::Error>) -> Result<(), control::Error> {
    match result {
        Ok(_) | Err(control::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

const fn quality_of(asked: Quality) -> config::Quality {
    match asked {
        Quality::Basic => config::Quality::Basic,
        Quality::Plus => config::Quality::Plus,
        Quality::Premium => config::Quality::Premium,
    }
}

/// Returns the built-in slate images.
fn default_slate() -> ladder::SlateImages {
    let [landscape, portrait] =
        [slate::default_images::LANDSCAPE, slate::default_images::PORTRAIT].map(Bytes::from_static);
    ladder::SlateImages { landscape, portrait }
}
