//! Adapters between the crates: an [`AppHandle`] admits encoders for ingest, handles effects for control, and resolves
//! playback ids for origin.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use control::lifecycle::{self, Effect, Protocol, Warning};
use control::{Control, EffectHandler, Policy, StreamSettings};
use futures_util::future::BoxFuture;
use ingest::{
    Admission, Authorizer, DisconnectReason, Encryption, FrameSink, Item, Key, LinkStats, Passphrase, Publish, Refusal,
};
use media::id::{BroadcastId, ContributionId, LiveStreamId};
use origin::{Playback, PlaybackResolver};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::app::{App, unless_deleted};
use crate::broadcast::{Broadcast, PushResult};

/// A handle of the [`App`] for the traits of ingest, control and origin.
#[derive(Clone)]
pub(crate) struct AppHandle(pub(crate) Arc<App>);

impl AppHandle {
    async fn open(app: Arc<App>, publish: Publish) -> Result<Admission, Refusal> {
        let (control, settings) = app.find_stream(&publish.key)?;
        let (stop, stopped) = oneshot::channel();
        let contribution = publish.contribution;
        // Registered before control learns of it, because control may disconnect it at once.
        app.add_encoder(contribution.clone(), stop);
        let protocol = match publish.protocol {
            ingest::Protocol::Rtmp | ingest::Protocol::Rtmps => Protocol::Rtmp,
            ingest::Protocol::Srt => Protocol::Srt,
        };
        let snapshot = match control.connected(&settings.id, contribution.clone(), protocol) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                app.remove_encoder(&contribution);
                return Err(match error {
                    // The live stream was deleted a moment ago, and its key with it.
                    control::Error::NotFound(_) => Refusal::UnknownKey,
                    error => {
                        error!(stream = %settings.id, error = &error as &dyn Error, "could not admit the encoder");
                        Refusal::Unavailable
                    }
                });
            }
        };
        // From here on, dropping the contribution reports its end to control, whatever happens.
        let contribution = Contribution::new(&app, control.clone(), settings.id.clone(), contribution);
        let broadcast =
            snapshot.broadcast.and_then(|id| app.find_broadcast(&settings.id, &id)).ok_or(Refusal::Disabled)?;
        broadcast.begin(contribution.id.clone());
        let sink = ContributionSink { contribution, broadcast, flowing: false };
        Ok(Admission { stream: settings.id.clone(), sink: Box::new(sink), stop: stopped })
    }
}

impl Authorizer for AppHandle {
    fn admit(&self, publish: Publish) -> BoxFuture<'_, Result<Admission, Refusal>> {
        Box::pin(Self::open(Arc::clone(&self.0), publish))
    }

    fn passphrase(&self, key: &Key) -> Result<Encryption, Refusal> {
        let (control, settings) = self.0.find_stream(key)?;
        // `None` if the live stream was deleted in between.
        let secret = control.srt_passphrase(&settings.id).ok_or(Refusal::UnknownKey)?;
        Ok(Encryption { stream: settings.id.clone(), passphrase: Passphrase::new(secret) })
    }
}

impl EffectHandler for AppHandle {
    fn handle(&self, settings: &Arc<StreamSettings>, effect: &Effect) {
        match effect {
            Effect::StartBroadcast(id) => self.0.start_broadcast(id, settings),
            Effect::EndBroadcast(id) => self.0.end_broadcast(id, &settings.id),
            Effect::DisconnectEncoder { contribution, reason } => {
                self.0.disconnect(contribution, disconnect_reason(*reason));
            }
            Effect::StartSimulcastTarget(broadcast, target) => self.0.start_target(settings, broadcast, target),
            Effect::StopSimulcastTarget(broadcast, target) => self.0.stop_target(&settings.id, broadcast, target),
            Effect::Event(_) => {}
        }
    }

    fn can_simulcast(&self) -> bool {
        true
    }
}

impl PlaybackResolver for AppHandle {
    fn resolve(&self, playback_id: &str, broadcast: Option<&BroadcastId>) -> Playback {
        let stream = match self.0.control().and_then(|control| control.find_playback(playback_id)) {
            Some((stream, Policy::Public)) => stream,
            // Signing keys do not exist yet, so an id with such a policy gives access to nothing.
            Some((_, Policy::Signed | Policy::Drm)) => return Playback::Protected,
            None => return Playback::Unknown,
        };
        self.0.find_origin(&stream, broadcast).map_or(Playback::Idle, Playback::Live)
    }

    fn title(&self, playback_id: &str) -> Option<String> {
        self.0.control()?.title(playback_id)
    }
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

/// An admitted contribution. A task of its own reports to control, in this order, that media flows and that the
/// contribution has ended.
struct Contribution {
    id: ContributionId,
    app: Arc<App>,
    flowing: mpsc::Sender<()>,
}

impl Contribution {
    fn new(app: &Arc<App>, control: Control, stream: LiveStreamId, id: ContributionId) -> Self {
        // Carries one message, that media flows. Dropping the sender reports the end.
        let (flowing, mut flowed) = mpsc::channel(1);
        let contribution = id.clone();
        app.spawn(async move {
            while flowed.recv().await.is_some() {
                if let Err(error) = unless_deleted(control.flowing(&stream, contribution.clone())) {
                    error!(%stream, error = &error as &dyn Error, "could not report the start of media");
                }
            }
            if let Err(error) = unless_deleted(control.disconnected(&stream, contribution)) {
                error!(%stream, error = &error as &dyn Error, "could not report that the encoder has disconnected");
            }
        });
        Self { id, app: Arc::clone(app), flowing }
    }
}

impl Drop for Contribution {
    fn drop(&mut self) {
        self.app.remove_encoder(&self.id);
    }
}

/// Passes an encoder's frames to its [`Broadcast`].
struct ContributionSink {
    contribution: Contribution,
    broadcast: Arc<Broadcast>,
    /// True once the task has reported to [`Control`] that media flows.
    flowing: bool,
}

impl FrameSink for ContributionSink {
    fn push(&mut self, items: &mut Vec<Item>, bytes: usize) {
        let began = Instant::now();
        let result = self.broadcast.push(&self.contribution.id, items, bytes);
        let app = &self.contribution.app;
        app.package_latency.observe(began.elapsed());
        if let PushResult::Rejected(reason) = result {
            let (count, warning) = match reason {
                DisconnectReason::LongGop => (&app.rejections.long_gop, Warning::LongGop),
                _ => (&app.rejections.unpackageable, Warning::Unpackageable),
            };
            count.fetch_add(1, Ordering::Relaxed);
            app.warn(&self.broadcast.stream, warning);
            app.disconnect(&self.contribution.id, reason);
        }
        if result == PushResult::Playable && !std::mem::replace(&mut self.flowing, true) {
            // The channel has room, because this happens once.
            let _ = self.contribution.flowing.try_send(());
        }
    }

    fn buffered_bytes(&self) -> u64 {
        self.broadcast.origin().stats().window_bytes
    }

    fn link(&mut self, stats: &LinkStats) {
        self.broadcast.link(&self.contribution.id, stats);
    }
}

impl Drop for ContributionSink {
    fn drop(&mut self) {
        self.broadcast.contribution_ended(&self.contribution.id);
    }
}
