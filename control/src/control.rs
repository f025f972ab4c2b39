//! The handle of the control plane. It opens the store, looks up live streams, and is the only way to change one.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use media::id::{BroadcastId, ContributionId, LiveStreamId, SimulcastTargetId};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, wall_now};
use crate::config::{Config, Token};
use crate::deadlines::Deadlines;
use crate::error::Error;
use crate::index::{Filter, Index, KeyLookup, StreamLock};
use crate::lifecycle::{self, Effect, Input, Phase, Protocol, Rules, SimulcastStatus, Warning};
use crate::resource::{LiveStreamRecord, Status, StreamSettings};
use crate::secret::{Hash, Keyring, hash, random_hex, same};
use crate::settings::Policy;
use crate::store::{Store, StoreStatus, Write, Writer};

/// Longest time that an API client waits for its change. The change goes on after it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of random bytes in the id of an access token.
const TOKEN_ID_BYTES: usize = 16;
/// Number of random bytes in the secret of an access token.
const TOKEN_SECRET_BYTES: usize = 32;

const NO_STREAM: Error = Error::NotFound("live stream");

/// Carries out the effects of the [`lifecycle`].
pub trait EffectHandler: Send + Sync + 'static {
    /// Handles one effect. `settings` are those after the change.
    ///
    /// Called in order for each live stream. The effects of an edit come once the edit is durable, those of a
    /// transition of the lifecycle before the transition is. Must not block, because the next change of the live stream
    /// waits for it. For the same reason it must not itself report a change of the live stream to [`Control`].
    fn handle(&self, settings: &Arc<StreamSettings>, effect: &Effect);

    /// Returns whether the handler carries out [`Effect::StartSimulcastTarget`]. If not, simulcast targets stay idle.
    fn can_simulcast(&self) -> bool {
        false
    }
}

/// A live stream after a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Settings of the live stream.
    pub settings: Arc<StreamSettings>,
    /// Phase of its lifecycle.
    pub phase: Phase,
    /// The [`phase`](Self::phase) as the API reports it.
    pub status: Status,
    /// The running broadcast.
    pub broadcast: Option<BroadcastId>,
}

/// The control plane. Clones share everything.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    config: Config,
    writer: Writer,
    /// Hashes of id and secret of each accepted access token.
    tokens: Vec<(Hash, Hash)>,
    handler: Arc<dyn EffectHandler>,
    index: Index,
    deadlines: Arc<Deadlines>,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Stops [`run_deadlines`] when the last handle is dropped without a [`Control::shutdown`].
    _stop_on_drop: DropGuard,
}

impl Control {
    /// Opens the store and restores all live streams. Ends the broadcasts of an earlier process.
    ///
    /// Returns the access token if a new one was generated. Its secret is never available again.
    pub async fn open(config: Config, handler: Arc<dyn EffectHandler>) -> Result<(Self, Option<Token>), Error> {
        let mut store = Store::open(&config.store_url).await?;
        let keyring = open_keyring(&mut store, &config.key_file).await?;
        let (tokens, new_token) = open_tokens(&mut store, config.token.as_ref()).await?;
        let records = store.all(&keyring).await?;
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            config,
            writer: Writer::start(store, keyring),
            tokens,
            handler,
            index: Index::default(),
            deadlines: Arc::default(),
            clock: Clock::start(),
            tasks: TaskTracker::new(),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        });
        for (number, record) in records {
            let (id, has_broadcast) = (record.id.clone(), record.state.broadcast.is_some());
            let stream = inner.index.prepare(number, record.clone());
            inner.index.put(&stream, &record);
            if has_broadcast {
                inner.transition(&id, Input::Restarted)?;
            }
        }
        inner.tasks.spawn(run_deadlines(
            Arc::downgrade(&inner),
            inner.deadlines.clone(),
            inner.clock,
            inner.stop.clone(),
        ));
        Ok((Self(inner), new_token))
    }

    /// Looks up the live stream of a stream key that an encoder presented. Never waits for the store.
    pub fn find_key(&self, presented: &str) -> KeyLookup {
        self.0.index.find_key(presented)
    }

    /// Returns the passphrase that encrypts the SRT connections of a live stream. It is a secret and must not be
    /// logged. Never waits for the store.
    pub fn srt_passphrase(&self, id: &LiveStreamId) -> Option<String> {
        self.0.index.srt_passphrase(id)
    }

    /// Looks up the live stream of a playback id, and the [`Policy`] of the playback id. Never waits for the store.
    pub fn find_playback(&self, playback_id: &str) -> Option<(LiveStreamId, Policy)> {
        self.0.index.find_playback(playback_id)
    }

    /// Returns the current title of the live stream of a playback id. Never waits for the store.
    pub fn title(&self, playback_id: &str) -> Option<String> {
        self.0.index.title(playback_id)
    }

    /// Reports that an encoder was accepted.
    ///
    /// The [`Snapshot::broadcast`] is the one that its media belongs to: a new one, the one that waits in its reconnect
    /// window, or the one that the encoder takes over. Without a broadcast, the encoder must be disconnected.
    pub fn connected(
        &self,
        id: &LiveStreamId,
        contribution: ContributionId,
        protocol: Protocol,
    ) -> Result<Snapshot, Error> {
        let broadcast = BroadcastId::generate();
        self.transition(id, Input::Connected { contribution, broadcast, protocol })
    }

    /// Reports that the first media of this encoder's connection can be played.
    pub fn flowing(&self, id: &LiveStreamId, contribution: ContributionId) -> Result<Snapshot, Error> {
        self.transition(id, Input::Flowing { contribution })
    }

    /// Reports that an encoder left. For an encoder that [`Effect::DisconnectEncoder`] disconnected, this is optional.
    pub fn disconnected(&self, id: &LiveStreamId, contribution: ContributionId) -> Result<Snapshot, Error> {
        self.transition(id, Input::Disconnected { contribution })
    }

    /// Reports the status of a simulcast target, from [`Effect::StartSimulcastTarget`] until
    /// [`Effect::StopSimulcastTarget`] or [`Effect::EndBroadcast`]. A later report, or one of an earlier broadcast, is
    /// ignored. The reason of an error is stored without the secrets of the target.
    pub fn simulcast_reported(
        &self,
        id: &LiveStreamId,
        broadcast: BroadcastId,
        target: SimulcastTargetId,
        mut status: SimulcastStatus,
    ) -> Result<Snapshot, Error> {
        if let SimulcastStatus::Errored { reason, .. } = &mut status {
            let secrets = self.get(id)?.secrets;
            let record = secrets.simulcast_targets.iter().find(|record| record.id == target);
            *reason = record.map(|record| record.public_reason(reason)).unwrap_or_default();
        }
        self.transition(id, Input::SimulcastReported { broadcast, target, status })
    }

    /// Reports a problem with the media of a live stream, which becomes an [`Event`](lifecycle::Event) for subscribers.
    pub fn warn(&self, id: &LiveStreamId, warning: Warning) -> Result<Snapshot, Error> {
        self.transition(id, Input::Warned(warning))
    }

    /// Returns the health of the store. While it fails, live streams continue and edits are refused.
    pub fn store_status(&self) -> StoreStatus {
        self.0.writer.status()
    }

    /// Waits until all transitions so far are stored, or the store fails.
    pub async fn settled(&self) {
        self.0.writer.settled().await;
    }

    /// Waits for the changes in progress and closes the store. Later changes are refused.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.writer.finish().await;
    }

    /// Carries out an input of the lifecycle in memory. It is stored afterwards, so the store cannot prevent it.
    fn transition(&self, id: &LiveStreamId, input: Input) -> Result<Snapshot, Error> {
        if self.0.stop.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        self.0.transition(id, input).map(|record| Snapshot::from(&record))
    }

    /// Carries out an input of the lifecycle that the API asks for.
    ///
    /// [`Input::Complete`] is a transition, because no broadcast outlives the process. All other inputs are edits.
    /// After an error nothing has changed and the caller may try again, unless the disk did not answer: then the change
    /// may still be made.
    pub(crate) async fn drive(&self, id: &LiveStreamId, input: Input) -> Result<(), Error> {
        match input {
            Input::Complete => self.transition(id, input).map(drop),
            input => self.edit(id, input, |_| Ok(())).await.map(drop),
        }
    }

    /// Applies `edit` to a live stream and `input` to its lifecycle, in one write.
    ///
    /// Runs to its end even if the caller is dropped (an HTTP client that disconnects), so every written change has its
    /// effects.
    pub(crate) async fn edit<F>(&self, id: &LiveStreamId, input: Input, edit: F) -> Result<LiveStreamRecord, Error>
    where
        F: FnOnce(&mut LiveStreamRecord) -> Result<(), Error> + Send + 'static,
    {
        let (inner, id) = (self.0.clone(), id.clone());
        self.detached(async move { inner.edit(&id, input, edit).await }).await
    }

    /// Adds a live stream.
    pub(crate) async fn create(&self, record: LiveStreamRecord) -> Result<LiveStreamRecord, Error> {
        let inner = self.0.clone();
        self.detached(async move { inner.insert(record).await }).await
    }

    /// Returns a live stream.
    pub(crate) fn get(&self, id: &LiveStreamId) -> Result<LiveStreamRecord, Error> {
        self.0.index.stream(id).and_then(|stream| stream.get()).ok_or(NO_STREAM)
    }

    /// Returns a page of live streams, newest first.
    pub(crate) fn list(&self, filter: &Filter, limit: usize, offset: usize) -> Vec<LiveStreamRecord> {
        self.0.index.list(filter, limit, offset)
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    /// Returns whether this access token is accepted, in the same time whichever part of it is wrong.
    pub(crate) fn accepts_token(&self, id: &str, secret: &str) -> bool {
        let (id, secret) = (hash(id), hash(secret));
        self.0.tokens.iter().fold(false, |known, token| known | (same(&token.0, &id) & same(&token.1, &secret)))
    }

    /// Runs a change in a task of its own and waits for it, at most [`CHANGE_TIMEOUT`].
    async fn detached<F>(&self, change: F) -> Result<LiveStreamRecord, Error>
    where
        F: Future<Output = Result<LiveStreamRecord, Error>> + Send + 'static,
    {
        if self.0.stop.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        match timeout(CHANGE_TIMEOUT, self.0.tasks.spawn(change)).await {
            // An error means that the task panicked, which ends only this change.
            Ok(changed) => changed.unwrap_or(Err(Error::ShuttingDown)),
            // The change is carried out when the disk answers.
            Err(_) => Err(Error::Unavailable("the disk does not answer, the change may still be made".to_owned())),
        }
    }
}

impl From<&LiveStreamRecord> for Snapshot {
    fn from(record: &LiveStreamRecord) -> Self {
        Self {
            settings: Arc::new(StreamSettings::from(record)),
            phase: record.state.phase(),
            status: Status::from(&record.state),
            broadcast: record.state.broadcast.as_ref().map(|broadcast| broadcast.id.clone()),
        }
    }
}

impl Inner {
    /// Carries out an input of the lifecycle, and queues the resulting state for the store.
    fn transition(&self, id: &LiveStreamId, input: Input) -> Result<LiveStreamRecord, Error> {
        let stream = self.index.stream(id).ok_or(NO_STREAM)?;
        let mut locked = stream.record.lock();
        let record = locked.as_mut().ok_or(NO_STREAM)?;
        let (state, effects) = lifecycle::step(record.state.clone(), &self.rules(record), input, self.clock.now());
        if record.state != state {
            self.writer.transition(id, &state);
            record.state = state;
        }
        self.publish(&stream, record, &effects);
        Ok(record.clone())
    }

    /// Edits a live stream, one edit at a time. See [`Control::edit`].
    async fn edit<F>(&self, id: &LiveStreamId, input: Input, edit: F) -> Result<LiveStreamRecord, Error>
    where
        F: FnOnce(&mut LiveStreamRecord) -> Result<(), Error>,
    {
        let stream = self.index.stream(id).ok_or(NO_STREAM)?;
        let _edits = stream.edits.lock().await;
        let old = stream.get().ok_or(NO_STREAM)?;
        let mut new = old.clone();
        edit(&mut new)?;
        match input {
            Input::Updated if new == old => Ok(old),
            Input::Deleted => self.commit(&stream, new, input, |new| Write::Delete(new.id)).await,
            input => self.commit(&stream, new, input, |new| Write::Update(Box::new((old, new)))).await,
        }
    }

    /// Adds a live stream, which cannot be found in the [`Index`] before [`Self::commit`].
    async fn insert(&self, record: LiveStreamRecord) -> Result<LiveStreamRecord, Error> {
        let number = self.index.next_number();
        let stream = self.index.prepare(number, record.clone());
        self.commit(&stream, record, Input::Created, |record| Write::Insert(number, Box::new(record))).await
    }

    /// Writes `new`, the edited version of a live stream, with the state that `input` leads to. Then puts both into
    /// effect. The [`Write`] is made by `write` of the version to be written.
    ///
    /// Transitions continue during the write. The `input` is therefore stepped again from the state that the lifecycle
    /// has reached by then. If the store may hold another state, the result is written too before the edit is
    /// acknowledged, unless the store fails.
    async fn commit(
        &self,
        stream: &Arc<StreamLock>,
        mut new: LiveStreamRecord,
        input: Input,
        write: impl FnOnce(LiveStreamRecord) -> Write,
    ) -> Result<LiveStreamRecord, Error> {
        let rules = self.rules(&new);
        let deleted = input == Input::Deleted;
        new.state = lifecycle::step(new.state, &rules, input.clone(), self.clock.now()).0;
        let written = new.state.clone();
        self.writer.write(write(new.clone())).await?;

        let differs = {
            let mut locked = stream.record.lock();
            let current = locked.as_mut().ok_or(NO_STREAM)?;
            let (state, effects) = lifecycle::step(current.state.clone(), &rules, input, self.clock.now());
            // The current state may be that of a transition that was queued after the edit. If the input changes it,
            // the result must be written after that transition, even if it equals what the edit wrote.
            let differs = !deleted && (state != written || state != current.state);
            if differs {
                self.writer.transition(&new.id, &state);
            }
            new.state = state;
            *current = new.clone();
            self.publish(stream, current, &effects);
            if deleted {
                self.index.remove(&new.id);
                self.deadlines.set(&new.id, None);
                *locked = None;
            }
            differs
        };
        if differs {
            self.writer.settled().await;
        }
        Ok(new)
    }

    fn rules(&self, record: &LiveStreamRecord) -> Rules {
        record.rules(self.handler.can_simulcast())
    }

    /// Publishes a change in the [`Index`] and to the [`EffectHandler`]. The caller holds the lock of the record.
    fn publish(&self, stream: &Arc<StreamLock>, record: &LiveStreamRecord, effects: &[Effect]) {
        let settings = self.index.put(stream, record);
        self.deadlines.set(&record.id, lifecycle::deadline(&record.state, &self.rules(record)));
        for effect in effects {
            if let Effect::Event(event) = effect {
                let warning = event.warning().map(Warning::message);
                let (name, simulcast_target) = (event.as_str(), event.simulcast_target().map(|id| id.as_str()));
                tracing::info!(live_stream = %record.id, event = name, warning, simulcast_target, "lifecycle");
            }
            self.handler.handle(&settings, effect);
        }
    }
}

/// Sends each live stream its [`Input::Tick`] at its deadline, until the server stops.
async fn run_deadlines(inner: Weak<Inner>, deadlines: Arc<Deadlines>, clock: Clock, stop: CancellationToken) {
    loop {
        let wait = match deadlines.take_due(clock.now()) {
            Ok(id) => {
                let Some(inner) = inner.upgrade() else { return };
                // An error means that the live stream has been deleted in the meantime.
                let _ = inner.transition(&id, Input::Tick);
                continue;
            }
            // Nothing is due. `next` is the earliest deadline, if there is one.
            Err(next) => next.map(|at| clock.until(at)),
        };
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = deadlines.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Opens the [`Keyring`] of the store. Creates its key file if the store holds no secrets yet.
async fn open_keyring(store: &mut Store, key_file: &Path) -> Result<Keyring, Error> {
    match store.keyring(key_file).await? {
        Some(keyring) => Ok(keyring),
        None => Keyring::create(key_file),
    }
}

/// Returns the hashes of the accepted access tokens, and the token that was generated if there was none.
async fn open_tokens(
    store: &mut Store,
    configured: Option<&Token>,
) -> Result<(Vec<(Hash, Hash)>, Option<Token>), Error> {
    if let Some(token) = configured {
        return Ok((vec![(hash(&token.id), hash(&token.secret))], None));
    }
    let stored = store.tokens().await?;
    if !stored.is_empty() {
        return Ok((stored.into_iter().map(|(id, secret)| (hash(&id), secret)).collect(), None));
    }
    let token = Token { id: random_hex(TOKEN_ID_BYTES)?, secret: random_hex(TOKEN_SECRET_BYTES)? };
    store.add_token(&token.id, &hash(&token.secret), wall_now()).await?;
    Ok((vec![(hash(&token.id), hash(&token.secret))], Some(token)))
}
