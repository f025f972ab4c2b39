//! The handle that everything else holds: opening, look-ups, and the one door for changes.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use media::id::{BroadcastId, ContributionId, LiveStreamId};
use media::{TimeDelta, WallTime};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::index::{Door, Index, KeyLookup, StreamSettings};
use crate::lifecycle::{self, Effect, Input, Phase, Protocol, Warning};
use crate::record::{Record, Status};
use crate::secret::{Hash, Keyring, hash, random_hex, same};
use crate::settings::Policy;
use crate::store::{Filter, Store};
use crate::timer::Deadlines;

/// How long a deadline waits that could not be carried out, because the store failed.
const RETRY: TimeDelta = TimeDelta::from_secs(1);
/// Random bytes in the id and in the secret of an access token.
const TOKEN_BYTES: (usize, usize) = (16, 32);

/// What `control` is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database: `sqlite://…`.
    pub store_url: String,
    /// The file with the key that secrets in the database are sealed with; made where there is none.
    pub key_file: PathBuf,
    /// The access token of the API. Without one, the store's own is used, and made at the first start.
    pub token: Option<Token>,
    /// The address clients reach the API at, for its description.
    pub public_url: String,
    /// What `whoami` says.
    pub environment: Environment,
}

/// An access token of the API.
#[derive(Clone)]
pub struct Token {
    /// The user name.
    pub id: String,
    /// The password.
    pub secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, hidden)", self.id)
    }
}

/// Names of this installation, for clients that ask.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The environment's id.
    pub id: String,
    /// The environment's name.
    pub name: String,
    /// `production` or `development`.
    pub kind: String,
    /// The organisation's id.
    pub organization_id: String,
    /// The organisation's name.
    pub organization_name: String,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            id: "weir".to_owned(),
            name: "Weir".to_owned(),
            kind: "production".to_owned(),
            organization_id: "weir".to_owned(),
            organization_name: "Weir".to_owned(),
        }
    }
}

/// Carries out what was decided.
pub trait Stage: Send + Sync + 'static {
    /// Called in order for each live stream, after the change was made durable. It must not wait: the live stream's
    /// next change does. `settings` are those after the change.
    fn perform(&self, settings: &Arc<StreamSettings>, effect: &Effect);
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
    pub(crate) store: Store,
    tokens: Vec<(Hash, Hash)>,
    stage: Arc<dyn Stage>,
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
    pub async fn open(config: Config, stage: Arc<dyn Stage>) -> Result<(Self, Option<Token>), Error> {
        let store = Store::open(&config.store_url, Keyring::open(&config.key_file)?).await?;
        let (tokens, fresh) = tokens(&store, config.token.as_ref()).await?;
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            config,
            store,
            tokens,
            stage,
            index: Index::default(),
            deadlines: Arc::default(),
            clock: Clock::start(),
            tasks: TaskTracker::new(),
            _guard: stop.clone().drop_guard(),
            stop,
        });
        for record in inner.store.all().await? {
            inner.index.put(&record);
            if record.state.broadcast.is_some() {
                inner.apply(&record.id, Input::Restarted, |_| Ok(())).await?;
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
    pub async fn connected(
        &self,
        id: &LiveStreamId,
        contribution: ContributionId,
        protocol: Protocol,
    ) -> Result<Snapshot, Error> {
        let broadcast = BroadcastId::generate();
        self.drive(id, Input::Connected { contribution, broadcast, protocol }).await
    }

    /// The first media of this encoder's connection can be played.
    pub async fn flowing(&self, id: &LiveStreamId, contribution: ContributionId) -> Result<Snapshot, Error> {
        self.drive(id, Input::Flowing { contribution }).await
    }

    /// An encoder left. Of one that was sent away, this may be told or not.
    pub async fn disconnected(&self, id: &LiveStreamId, contribution: ContributionId) -> Result<Snapshot, Error> {
        self.drive(id, Input::Disconnected { contribution }).await
    }

    /// Something went wrong with the live stream's media: whoever subscribed is told.
    pub async fn warn(&self, id: &LiveStreamId, warning: Warning) -> Result<Snapshot, Error> {
        self.drive(id, Input::Warned(warning)).await
    }

    /// Waits for the changes under way and closes the store. Later changes are refused.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.store.close().await;
    }

    /// The API as a router, to be merged into the server's.
    pub fn router(&self) -> axum::Router {
        crate::api::router(self.clone())
    }

    /// One input through the door. After an error nothing has changed, and the caller may try again.
    pub(crate) async fn drive(&self, id: &LiveStreamId, input: Input) -> Result<Snapshot, Error> {
        let record = self.change(id, input, |_| Ok(())).await?;
        Ok(Snapshot {
            settings: Arc::new(StreamSettings::from(&record)),
            phase: record.state.phase(),
            status: Status::from(&record.state),
            broadcast: record.state.broadcast.map(|b| b.id),
        })
    }

    /// Edits a live stream and drives its lifecycle, in one transaction. A caller that goes away in the middle (an HTTP
    /// client that hangs up) does not stop it, so effects are carried out for all that was committed.
    pub(crate) async fn change<F>(&self, id: &LiveStreamId, input: Input, edit: F) -> Result<Record, Error>
    where
        F: FnOnce(&mut Record) -> Result<(), Error> + Send + 'static,
    {
        let (inner, id) = (self.0.clone(), id.clone());
        self.detached(async move { inner.apply(&id, input, edit).await }).await
    }

    /// Adds a live stream.
    pub(crate) async fn create(&self, record: Record) -> Result<Record, Error> {
        let inner = self.0.clone();
        self.detached(async move { inner.insert(record).await }).await
    }

    /// One live stream.
    pub(crate) async fn get(&self, id: &LiveStreamId) -> Result<Record, Error> {
        self.0.store.get(id).await?.ok_or(NO_STREAM)
    }

    /// A page of live streams, newest first.
    pub(crate) async fn list(&self, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<Record>, Error> {
        self.0.store.list(filter, limit, offset).await
    }

    /// What `control` was told at its start.
    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    /// Whether this is an access token of ours; takes the same time whichever part is wrong.
    pub(crate) fn knows(&self, id: &str, secret: &str) -> bool {
        let (id, secret) = (hash(id), hash(secret));
        self.0.tokens.iter().fold(false, |known, token| known | (same(&token.0, &id) & same(&token.1, &secret)))
    }

    async fn detached<F>(&self, change: F) -> Result<Record, Error>
    where
        F: Future<Output = Result<Record, Error>> + Send + 'static,
    {
        if self.0.stop.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        // A panic of ours ends only this change; there is no other reason for the task to be lost.
        self.0.tasks.spawn(change).await.unwrap_or(Err(Error::ShuttingDown))
    }
}

const NO_STREAM: Error = Error::NotFound("live stream");

impl Inner {
    async fn apply<F>(&self, id: &LiveStreamId, input: Input, edit: F) -> Result<Record, Error>
    where
        F: FnOnce(&mut Record) -> Result<(), Error>,
    {
        let door: Door = self.index.door(id).ok_or(NO_STREAM)?;
        let _held = door.lock().await;
        let mut change = self.store.change().await?;
        let old = change.get(id).await?.ok_or(NO_STREAM)?;
        let mut new = old.clone();
        edit(&mut new)?;
        if input == Input::Updated && new == old {
            return Ok(old);
        }
        let deleted = input == Input::Deleted;
        let (state, effects) = lifecycle::step(new.state.clone(), &new.rules(), input, self.clock.now());
        new.state = state;
        if deleted {
            change.delete(id).await?;
        } else if new != old {
            change.update(&old, &new).await?;
        }
        change.commit().await?;
        self.publish(&new, deleted, &effects);
        Ok(new)
    }

    async fn insert(&self, mut record: Record) -> Result<Record, Error> {
        let mut change = self.store.change().await?;
        let (state, effects) = lifecycle::step(record.state.clone(), &record.rules(), Input::Created, self.clock.now());
        record.state = state;
        change.insert(&record).await?;
        change.commit().await?;
        self.publish(&record, false, &effects);
        Ok(record)
    }

    /// Lets everyone know of a change that was committed.
    fn publish(&self, record: &Record, deleted: bool, effects: &[Effect]) {
        let settings = self.index.put(record);
        if deleted {
            self.index.remove(&record.id);
        }
        self.deadlines.set(&record.id, lifecycle::deadline(&record.state, &record.rules()));
        for effect in effects {
            if let Effect::Event(event) = effect {
                let warning = event.warning().map(Warning::message);
                tracing::info!(live_stream = %record.id, event = event.as_str(), warning, "lifecycle");
            }
            self.stage.perform(&settings, effect);
        }
    }
}

/// Sends each live stream its tick when it is due, until the server stops.
async fn run_deadlines(inner: Weak<Inner>, deadlines: Arc<Deadlines>, clock: Clock, stop: CancellationToken) {
    loop {
        let wait = match deadlines.take_due(clock.now()) {
            Ok(id) => {
                let Some(inner) = inner.upgrade() else { return };
                if let Err(error) = inner.apply(&id, Input::Tick, |_| Ok(())).await
                    && !matches!(error, Error::NotFound(_))
                {
                    tracing::error!(live_stream = %id, %error, "a deadline could not be carried out; trying again");
                    deadlines.set(&id, Some(clock.now().shifted(RETRY)));
                }
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

/// The hashes of the access tokens that are accepted, and the one that was made for it if there was none.
async fn tokens(store: &Store, told: Option<&Token>) -> Result<(Vec<(Hash, Hash)>, Option<Token>), Error> {
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
