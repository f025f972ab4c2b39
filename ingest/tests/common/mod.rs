//! An authorizer that knows a few keys and reports its events to a test.

// A helper of a test may panic like the test itself, and not every test uses every helper.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ingest::{
    Admission, Authorizer, Config, DisconnectReason, Encryption, FrameSink, Item, Key, Limits, LinkStats, Passphrase,
    Publish, Refusal, Server, Stats,
};
use media::id::LiveStreamId;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The passphrase of the stream with the key `good`.
pub const PASSPHRASE: &str = "a passphrase of the stream";

/// Event of the authorizer or of a sink.
#[derive(Debug)]
pub enum Event {
    Asked(String),
    Items(Vec<Item>),
    Ended,
}

/// Data that all sinks received.
#[derive(Clone, Copy, Default)]
pub struct Received {
    pub bytes: usize,
    pub link: Option<LinkStats>,
}

pub struct TestAuthorizer {
    events: mpsc::UnboundedSender<Event>,
    received: watch::Sender<Received>,
    stream: LiveStreamId,
    pub stops: Mutex<Vec<oneshot::Sender<DisconnectReason>>>,
}

fn known(key: &str) -> Result<(), Refusal> {
    match key {
        "good" => Ok(()),
        "disabled" => Err(Refusal::Disabled),
        _ => Err(Refusal::UnknownKey),
    }
}

impl Authorizer for TestAuthorizer {
    fn admit(&self, publish: Publish) -> BoxFuture<'_, Result<Admission, Refusal>> {
        let _ = self.events.send(Event::Asked(publish.key.0.clone()));
        let answer = known(&publish.key.0).map(|()| {
            let (stop, stopped) = oneshot::channel();
            self.stops.lock().push(stop);
            let sink = Box::new(Tap(self.events.clone(), self.received.clone(), 0));
            Admission { stream: self.stream.clone(), sink, stop: stopped }
        });
        Box::pin(std::future::ready(answer))
    }

    fn passphrase(&self, key: &Key) -> Result<Encryption, Refusal> {
        known(&key.0)?;
        Ok(Encryption { stream: self.stream.clone(), passphrase: Passphrase::new(PASSPHRASE) })
    }
}

/// A sink that claims to keep all received bytes in memory.
struct Tap(mpsc::UnboundedSender<Event>, watch::Sender<Received>, u64);

impl FrameSink for Tap {
    fn push(&mut self, items: &mut Vec<Item>, bytes: usize) {
        self.1.send_modify(|received| received.bytes += bytes);
        self.2 += bytes as u64;
        if !items.is_empty() {
            let _ = self.0.send(Event::Items(std::mem::take(items)));
        }
    }

    fn buffered_bytes(&self) -> u64 {
        self.2
    }

    fn link(&mut self, stats: &LinkStats) {
        self.1.send_modify(|received| received.link = Some(*stats));
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Ended);
    }
}

/// A server without a listener, and the events of its [`TestAuthorizer`].
pub struct Rig {
    pub server: Server,
    pub authorizer: Arc<TestAuthorizer>,
    pub stats: Arc<Stats>,
    pub received: watch::Receiver<Received>,
    events: mpsc::UnboundedReceiver<Event>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

impl Rig {
    pub fn new(config: Config) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (received_sender, received) = watch::channel(Received::default());
        let authorizer = TestAuthorizer {
            events: sender,
            received: received_sender,
            stream: LiveStreamId::generate(),
            stops: Mutex::default(),
        };
        let authorizer = Arc::new(authorizer);
        let (stats, tasks, shutdown) = (Arc::new(Stats::default()), TaskTracker::new(), CancellationToken::new());
        let shared = Arc::clone(&authorizer) as Arc<dyn Authorizer>;
        let server = Server::new(config, shared, Arc::clone(&stats), tasks.clone(), shutdown.clone());
        Self { server, authorizer, stats, received, events, tasks, shutdown }
    }

    pub async fn next(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// Waits until the data that the sinks received meets a condition.
    pub async fn wait_for(&mut self, condition: impl FnMut(&Received) -> bool) -> Received {
        let wait = self.received.wait_for(condition);
        *tokio::time::timeout(Duration::from_secs(20), wait).await.expect("received in time").unwrap()
    }

    /// Shuts down the server like the program does.
    pub async fn end(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(8), self.tasks.wait())
            .await
            .expect("everything ends within the drain");
    }
}

pub fn config() -> Config {
    Config {
        limits: Limits { connections: 8, per_address: 8 },
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        media_timeout: Duration::from_secs(10),
        max_message: 1 << 20,
        max_bitrate: 100_000_000,
        max_memory: 1 << 30,
    }
}
