//! A gate that knows a few keys and tells a test what it saw.

// A helper of a test may panic as the test itself may, and not each test uses each helper.
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

/// What the gate saw and did.
#[derive(Debug)]
pub enum News {
    Asked(String),
    Items(Vec<Item>),
    Gone,
}

/// What came to all sinks.
#[derive(Clone, Copy, Default)]
pub struct Received {
    pub bytes: usize,
    pub link: Option<LinkStats>,
}

pub struct Door {
    news: mpsc::UnboundedSender<News>,
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

impl Authorizer for Door {
    fn admit(&self, publish: Publish) -> BoxFuture<'_, Result<Admission, Refusal>> {
        let _ = self.news.send(News::Asked(publish.key.0.clone()));
        let answer = known(&publish.key.0).map(|()| {
            let (stop, stopped) = oneshot::channel();
            self.stops.lock().push(stop);
            let sink = Box::new(Tap(self.news.clone(), self.received.clone(), 0));
            Admission { stream: self.stream.clone(), sink, stop: stopped }
        });
        Box::pin(std::future::ready(answer))
    }

    fn passphrase(&self, key: &Key) -> Result<Encryption, Refusal> {
        known(&key.0)?;
        Ok(Encryption { stream: self.stream.clone(), passphrase: Passphrase::new(PASSPHRASE) })
    }
}

/// It keeps, as far as it says, all bytes that came.
struct Tap(mpsc::UnboundedSender<News>, watch::Sender<Received>, u64);

impl FrameSink for Tap {
    fn push(&mut self, items: &mut Vec<Item>, bytes: usize) {
        self.1.send_modify(|received| received.bytes += bytes);
        self.2 += bytes as u64;
        if !items.is_empty() {
            let _ = self.0.send(News::Items(std::mem::take(items)));
        }
    }

    fn buffered_bytes(&self) -> u64 {
        self.2
    }

    fn link(&mut self, figures: &LinkStats) {
        self.1.send_modify(|received| received.link = Some(*figures));
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.0.send(News::Gone);
    }
}

/// A server without a listener, and what happens behind its gate.
pub struct Rig {
    pub server: Server,
    pub door: Arc<Door>,
    pub stats: Arc<Stats>,
    pub received: watch::Receiver<Received>,
    news: mpsc::UnboundedReceiver<News>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

impl Rig {
    pub fn new(config: Config) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let (tell_received, received) = watch::channel(Received::default());
        let door =
            Door { news: tell, received: tell_received, stream: LiveStreamId::generate(), stops: Mutex::default() };
        let door = Arc::new(door);
        let (stats, tasks, shutdown) = (Arc::new(Stats::default()), TaskTracker::new(), CancellationToken::new());
        let gate = Arc::clone(&door) as Arc<dyn Authorizer>;
        let server = Server::new(config, gate, Arc::clone(&stats), tasks.clone(), shutdown.clone());
        Self { server, door, stats, received, news, tasks, shutdown }
    }

    pub async fn next(&mut self) -> News {
        tokio::time::timeout(Duration::from_secs(20), self.news.recv()).await.expect("news in time").unwrap()
    }

    /// Waits for what came to the sinks to be so.
    pub async fn wait_for(&mut self, condition: impl FnMut(&Received) -> bool) -> Received {
        let wait = self.received.wait_for(condition);
        *tokio::time::timeout(Duration::from_secs(20), wait).await.expect("received in time").unwrap()
    }

    /// Ends the server as the program does.
    pub async fn end(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(8), self.tasks.wait()).await.expect("all ends within the drain");
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
