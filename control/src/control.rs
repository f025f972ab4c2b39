//! The handle that everything else holds: opening, look-ups, and the one door for changes.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::id::{BroadcastId, ContributionId, LiveStreamId};
use media::{TimeDelta, WallTime};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::api::FailedLogins;
use crate::config::{Config, Token};
use crate::deadlines::Deadlines;
use crate::error::Error;
use crate::index::{Filter, Index, KeyLookup, Live, StreamSettings};
use crate::lifecycle::{self, Effect, Input, Phase, Protocol, Warning};
use crate::resource::{LiveStreamRecord, Status};
use crate::secret::{Hash, Keyring, hash, random_hex, same};
use crate::settings::Policy;
use crate::store::writer::{StoreStatus, Writer};
use crate::store::{Store, Write};

/// How long a client is kept waiting for a change.
const PATIENCE: Duration = Duration::from_secs(10);
/// Random bytes in the id and in the secret of an access token.
const TOKEN_BYTES: (usize, usize) = (16, 32);

/// Carries out what was decided.
pub trait EffectHandler: Send + Sync + 'static {
    /// Called in order for each live stream: after an edit was made durable, and before a transition of its lifecycle is. It
    /// must not wait: the live stream's next change does. `settings` are those after the change.
    fn handle(&self, settings: &Arc<StreamSettings>, effect: &Effect);
}

/// A live stream as it stands after a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its settings.
    pub settings: Arc<StreamSettings>,
    /// Where it is in its life.
    pub phase: Phase,
    /// The same in the API's words.
    pub status: Status,
    /// The broadcast that runs.
    pub broadcast: Option<BroadcastId>,
}

/// The control plane. Clones share everything.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    writer: Writer,
    tokens: Vec<(Hash, Hash)>,
    guard: FailedLogins,
    stage: Arc<dyn EffectHandler>,
    index: Index,
    deadlines: Arc<Deadlines>,
    clock: Clock,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the timer when the last handle is dropped without a [`Control::shutdown`].
    _guard: DropGuard,
}

impl Control {
    /// Opens the store and brings all live streams back; broadcasts that an earlier process left behind end here.
    /// A fresh access token is given back when one was made: this is the only time its secret is known.
    pub async fn open(config: Config, stage: Arc<dyn EffectHandler>) -> Result<(Self, Option<Token>), Error> {
        let mut store = Store::open(&config.store_url).await?;
        let keyring = keyring(&mut store, &config.key_file).await?;
        let (tokens, fresh) = tokens(&mut store, config.token.as_ref()).await?;
        let records = store.all(&keyring).await?;
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            config,
            writer: Writer::start(store, keyring),
            tokens,
            guard: FailedLogins::default(),
            stage,
            index: Index::default(),
            deadlines: Arc::default(),
            clock: Clock::start(),
            tasks: TaskTracker::new(),
            _guard: stop.clone().drop_guard(),
            stop,
        });
        for (number, record) in records {
            let (id, left_behind) = (record.id.clone(), record.state.broadcast.is_some());
            let live = inner.index.add(number, record.clone());
            inner.index.put(&live, &record);
            if left_behind {
                inner.transition(&id, Input::Restarted)?;
            }
        }
        inner.tasks.spawn(run_deadlines(
            Arc::downgrade(&inner),
            inner.deadlines.clone(),
            inner.clock,
            inner.stop.clone(),
        ));
        Ok((Self(inner), fresh))
    }

    /// The live stream of a key that an encoder brought. Looks in memory only.
    pub fn find_key(&self, presented: &str) -> KeyLookup {
        self.0.index.find_key(presented)
    }

    /// The secret that SRT connections of a live stream are encrypted with: not to be printed. Looks in memory only.
    pub fn srt_passphrase(&self, id: &LiveStreamId) -> Option<String> {
        self.0.index.srt_passphrase(id)
    }

    /// The live stream of a playback id, and who may watch through it. Looks in memory only.
    pub fn find_playback(&self, playback_id: &str) -> Option<(LiveStreamId, Policy)> {
        self.0.index.find_playback(playback_id)
    }

    /// The title of the live stream of a playback id, as it is now. Looks in memory only.
    pub fn title(&self, playback_id: &str) -> Option<String> {
        self.0.index.title(playback_id)
    }

    /// An encoder was let in. The snapshot names the broadcast that its media belongs to: a new one, or the one that
    /// waits in its reconnect window, or the one it takes over. If there is none, the encoder has to go.
    pub fn connected(
        &self,
        id: &LiveStreamId,
        contribution: ContributionId,
        protocol: Protocol,
    ) -> Result<Snapshot, Error> {
        let broadcast = BroadcastId::generate();
        self.transition(id, Input::Connected { contribution, broadcast, protocol })
    }

    /// The first media of this encoder's connection can be played.
    pub fn flowing(&self, id: &LiveStreamId, contribution: ContributionId) -> Result<Snapshot, Error> {
        self.transition(id, Input::Flowing { contribution })
    }

    /// An encoder left. Of one that was sent away, this may be told or not.
    pub fn disconnected(&self, id: &LiveStreamId, contribution: ContributionId) -> Result<Snapshot, Error> {
        self.transition(id, Input::Disconnected { contribution })
    }

    /// Something went wrong with the live stream's media: whoever subscribed is told.
    pub fn warn(&self, id: &LiveStreamId, warning: Warning) -> Result<Snapshot, Error> {
        self.transition(id, Input::Warned(warning))
    }

    /// How the store is. While it fails, live streams go on, and edits are refused.
    pub fn store_status(&self) -> StoreStatus {
        self.0.writer.status()
    }

    /// Waits until the store has all transitions so far, or fails.
    pub async fn settled(&self) {
        self.0.writer.settled().await;
    }

    /// Waits for the changes under way and closes the store. Later changes are refused.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.writer.finish().await;
    }

    /// The API as a router, to be merged into the server's.
    pub fn router(&self) -> axum::Router {
        crate::api::router(self.clone())
    }

    /// One input of the lifecycle, carried out in memory and written behind: the store cannot keep it from happening.
    fn transition(&self, id: &LiveStreamId, input: Input) -> Result<Snapshot, Error> {
        if self.0.stop.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        self.0.transition(id, input).map(|record| Snapshot::from(&record))
    }

    /// One input from the API. To end a broadcast needs no store, because no broadcast outlives the process; the others are
    /// edits. After an error nothing has changed, and the caller may try again; only a disk that does not answer may still
    /// make the change.
    pub(crate) async fn drive(&self, id: &LiveStreamId, input: Input) -> Result<Snapshot, Error> {
        match input {
            Input::Complete => self.transition(id, input),
            input => self.change(id, input, |_| Ok(())).await.map(|record| Snapshot::from(&record)),
        }
    }

    /// Edits a live stream and drives its lifecycle, in one write. A caller that goes away in the middle (an HTTP
    /// client that hangs up) does not stop it, so effects are carried out for all that was written.
    pub(crate) async fn change<F>(&self, id: &LiveStreamId, input: Input, edit: F) -> Result<LiveStreamRecord, Error>
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

    /// One live stream.
    pub(crate) async fn get(&self, id: &LiveStreamId) -> Result<LiveStreamRecord, Error> {
        self.0.index.live(id).and_then(|live| live.get()).ok_or(NO_STREAM)
    }

    /// A page of live streams, newest first.
    pub(crate) async fn list(&self, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<LiveStreamRecord>, Error> {
        let [limit, offset] = [limit, offset].map(|count| usize::try_from(count).unwrap_or(0));
        Ok(self.0.index.list(filter, limit, offset))
    }

    /// What `control` was told at its start.
    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    /// Slows down whoever guesses access tokens.
    pub(crate) fn guard(&self) -> &FailedLogins {
        &self.0.guard
    }

    /// Whether this is an access token of ours; takes the same time whichever part is wrong.
    pub(crate) fn knows(&self, id: &str, secret: &str) -> bool {
        let (id, secret) = (hash(id), hash(secret));
        self.0.tokens.iter().fold(false, |known, token| known | (same(&token.0, &id) & same(&token.1, &secret)))
    }

    async fn detached<F>(&self, change: F) -> Result<LiveStreamRecord, Error>
    where
        F: Future<Output = Result<LiveStreamRecord, Error>> + Send + 'static,
    {
        if self.0.stop.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        match timeout(PATIENCE, self.0.tasks.spawn(change)).await {
            // A panic of ours ends only this change; there is no other reason for the task to be lost.
            Ok(changed) => changed.unwrap_or(Err(Error::ShuttingDown)),
            // It is carried out when the disk answers.
            Err(_) => Err(Error::Unavailable("the disk does not answer, the change may still be made".to_owned())),
        }
    }
}

const NO_STREAM: Error = Error::NotFound("live stream");

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
    /// Carries an input of the lifecycle out, and queues the state that it leads to.
    fn transition(&self, id: &LiveStreamId, input: Input) -> Result<LiveStreamRecord, Error> {
        let live = self.index.live(id).ok_or(NO_STREAM)?;
        let mut held = live.record.lock();
        let record = held.as_mut().ok_or(NO_STREAM)?;
        let (state, effects) = lifecycle::step(record.state.clone(), &record.rules(), input, self.clock.now());
        if record.state != state {
            self.writer.transition(id, &state);
            record.state = state;
        }
        self.publish(&live, record, &effects);
        Ok(record.clone())
    }

    /// Writes an edit, then carries it out. Its live stream goes on in the meantime: where the lifecycle has come to by then
    /// counts, so its input is a step from there, and what that comes to is written as well before the edit is acknowledged.
    async fn edit<F>(&self, id: &LiveStreamId, input: Input, edit: F) -> Result<LiveStreamRecord, Error>
    where
        F: FnOnce(&mut LiveStreamRecord) -> Result<(), Error>,
    {
        let live = self.index.live(id).ok_or(NO_STREAM)?;
        let _held = live.door.lock().await;
        let old = live.get().ok_or(NO_STREAM)?;
        let mut new = old.clone();
        edit(&mut new)?;
        if input == Input::Updated && new == old {
            return Ok(old);
        }
        let rules = new.rules();
        let deleted = input == Input::Deleted;
        new.state = lifecycle::step(new.state, &rules, input.clone(), self.clock.now()).0;
        let written = new.state.clone();
        let write = if deleted { Write::Delete(id.clone()) } else { Write::Update(Box::new((old, new.clone()))) };
        self.writer.write(write).await?;

        let went_on = {
            let mut held = live.record.lock();
            let current = held.as_mut().ok_or(NO_STREAM)?;
            let (state, effects) = lifecycle::step(current.state.clone(), &rules, input, self.clock.now());
            // A transition of the meantime may have been written after the edit, and the edit's input leads from there to the
            // same state as before.
            let went_on = !deleted && (state != written || state != current.state);
            if went_on {
                self.writer.transition(id, &state);
            }
            new.state = state;
            *current = new.clone();
            self.publish(&live, current, &effects);
            if deleted {
                self.index.remove(id);
                self.deadlines.set(id, None);
                *held = None;
            }
            went_on
        };
        if went_on {
            self.writer.settled().await;
        }
        Ok(new)
    }

    async fn insert(&self, mut record: LiveStreamRecord) -> Result<LiveStreamRecord, Error> {
        let (state, effects) = lifecycle::step(record.state.clone(), &record.rules(), Input::Created, self.clock.now());
        record.state = state;
        let number = self.index.next_number();
        self.writer.write(Write::Insert(number, Box::new(record.clone()))).await?;
        let live = self.index.add(number, record.clone());
        let _held = live.record.lock();
        self.publish(&live, &record, &effects);
        Ok(record)
    }

    /// Lets everyone know of a change. The caller holds the live stream's record.
    fn publish(&self, live: &Arc<Live>, record: &LiveStreamRecord, effects: &[Effect]) {
        let settings = self.index.put(live, record);
        self.deadlines.set(&record.id, lifecycle::deadline(&record.state, &record.rules()));
        for effect in effects {
            if let Effect::Event(event) = effect {
                let warning = event.warning().map(Warning::message);
                tracing::info!(live_stream = %record.id, event = event.as_str(), warning, "lifecycle");
            }
            self.stage.handle(&settings, effect);
        }
    }
}

/// Sends each live stream its tick when it is due, until the server stops.
async fn run_deadlines(inner: Weak<Inner>, deadlines: Arc<Deadlines>, clock: Clock, stop: CancellationToken) {
    loop {
        let wait = match deadlines.take_due(clock.now()) {
            Ok(id) => {
                let Some(inner) = inner.upgrade() else { return };
                // One that was deleted in the meantime has no deadline any more.
                let _ = inner.transition(&id, Input::Tick);
                continue;
            }
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

/// The keyring of a store. Without its file there is none but for a store that has sealed nothing yet.
async fn keyring(store: &mut Store, path: &Path) -> Result<Keyring, Error> {
    match Keyring::read(path)? {
        Some(keyring) => Ok(keyring),
        None if store.has_secrets().await? => Err(Error::KeyFileMissing(path.to_owned())),
        None => Keyring::create(path),
    }
}

/// The hashes of the access tokens that are accepted, and the one that was made for it if there was none.
async fn tokens(store: &mut Store, told: Option<&Token>) -> Result<(Vec<(Hash, Hash)>, Option<Token>), Error> {
    if let Some(token) = told {
        return Ok((vec![(hash(&token.id), hash(&token.secret))], None));
    }
    let kept = store.tokens().await?;
    if !kept.is_empty() {
        return Ok((kept.into_iter().map(|(id, secret)| (hash(&id), secret)).collect(), None));
    }
    let token = Token { id: random_hex(TOKEN_BYTES.0)?, secret: random_hex(TOKEN_BYTES.1)? };
    store.add_token(&token.id, &hash(&token.secret), wall_now()).await?;
    Ok((vec![(hash(&token.id), hash(&token.secret))], Some(token)))
}

/// The wall clock, for what people read.
pub(crate) fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Wall time that runs evenly from the start of the process on: setting the machine's clock moves no deadline.
#[derive(Clone, Copy)]
struct Clock {
    wall: WallTime,
    from: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { wall: wall_now(), from: Instant::now() }
    }

    fn now(self) -> WallTime {
        let passed = i64::try_from(self.from.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.wall.shifted(TimeDelta::from_millis(passed))
    }

    fn until(self, at: WallTime) -> Duration {
        Duration::from_millis(u64::try_from(at.since(self.now()).as_millis()).unwrap_or(0))
    }
}
