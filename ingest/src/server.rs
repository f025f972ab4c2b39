//! The server for encoders: what all protocols share, from the limits to the end of a contribution.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};
use wire::Item;

use crate::authorize::{Admission, Authorizer, DisconnectReason, LinkStats, Publish, Refusal};
use crate::budget::{MemoryBudget, RateCeiling, Share};
use crate::guard::{Guard, Limits, Permit};
use crate::silence::{Missing, Silence};
use crate::stats::Stats;

/// How often a contribution is looked at: whether it fell silent, and how its link does.
const LOOK: Duration = Duration::from_secs(1);

/// Limits of encoder connections.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many there may be.
    pub limits: Limits,
    /// From accept to a publish request.
    pub handshake_timeout: Duration,
    /// After so long a TCP connection whose other end does not answer any more is dead.
    pub idle_timeout: Duration,
    /// Without a byte, or without a frame behind those that came, once publishing.
    pub media_timeout: Duration,
    /// Largest message an admitted encoder may send, in bytes.
    pub max_message: usize,
    /// Bits a second that one contribution may send in the long run.
    pub max_bitrate: u64,
    /// Bytes that all contributions may hold, what is kept of them for viewers included.
    pub max_memory: u64,
}

/// The server for encoders; one may serve several listeners.
pub struct Server {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) gate: Arc<dyn Authorizer>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// An admitted connection, whatever it speaks.
pub(crate) trait Source {
    /// Waits for bytes and takes them in; gives their number, 0 at the end of the stream. Dropping the future in
    /// between loses nothing.
    fn read(&mut self) -> impl Future<Output = Result<usize, End>> + Send;

    /// Turns what was taken in into items; false once the encoder has ended its stream.
    fn demux(&mut self, items: &mut Vec<Item>) -> Result<bool, End>;

    /// The connection is over: gives what waited for more.
    fn finish(&mut self, items: &mut Vec<Item>) {
        let _ = items;
    }

    /// Sends what the protocol has to say.
    fn answer(&mut self) -> impl Future<Output = Result<(), End>> + Send;

    /// Ends the connection in the way the encoder expects.
    fn close(&mut self) -> impl Future<Output = ()> + Send;

    /// Why no frame has come of what was taken in; asked when one should have.
    fn obstacle(&self) -> Obstacle;

    /// Bytes of what is not whole yet.
    fn buffered_bytes(&self) -> usize {
        0
    }

    /// How the link does, where the protocol can tell.
    fn link(&mut self) -> Option<LinkStats> {
        None
    }
}

/// What stands between the bytes of a contribution and a frame, in words for its owner.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// It has media, but none that can be carried.
    Unsupported(String),
    /// It has none.
    NoMedia(String),
}

/// Why a contribution ended other than by its encoder's word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed: no publish request in time")]
    Late,
    #[error("closed: nothing was received for too long")]
    Idle,
    #[error("closed: no audio and no video came for too long, though the connection is in use")]
    Frameless,
    #[error("closed: {0}")]
    Protocol(#[from] wire::Error),
    #[error("connection lost: {0}")]
    Io(#[from] std::io::Error),
    #[error("connection lost: {0}")]
    Srt(#[from] crate::srt::Error),
    #[error("closed: more than {0} bits a second: lower the encoder's bit rate, or raise ingest.max_bitrate")]
    Fast(u64),
    #[error("closed: the memory for media is full and nobody holds more of it: see ingest.max_memory")]
    Memory,
    #[error("closed: none of its tracks can be carried: {0}")]
    Unsupported(String),
    #[error("closed: no frame came: {0}")]
    NoMedia(String),
    #[error("refused: {0}")]
    Refused(Refusal),
}

impl From<Obstacle> for End {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Unsupported(reason) => Self::Unsupported(reason),
            Obstacle::NoMedia(reason) => Self::NoMedia(reason),
        }
    }
}

impl Server {
    /// A server that asks `gate` and ends with `shutdown`; its connections run on `tasks`.
    pub fn new(
        config: Config,
        gate: Arc<dyn Authorizer>,
        stats: Arc<Stats>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let guard = Guard::new(config.limits);
        let memory = MemoryBudget::new(config.max_memory);
        Self { shared: Arc::new(Shared { config, gate, guard, memory, stats, tasks, shutdown }) }
    }
}

impl Shared {
    /// Lets a publisher in if there is room for what it will send and the gate says so.
    pub(crate) async fn ask(&self, publish: Publish) -> Result<(Admission, Share), Refusal> {
        let share = self.memory.open().ok_or(Refusal::Memory)?;
        Ok((self.gate.admit(publish).await?, share))
    }

    /// Hands frames to the sink until the encoder, the program or time ends the contribution.
    pub(crate) async fn pump(
        &self,
        source: &mut impl Source,
        (admission, share): (Admission, Share),
    ) -> Result<(), End> {
        let Admission { mut sink, stop, .. } = admission;
        let mut ceiling = RateCeiling::new(self.config.max_bitrate, Instant::now());
        let mut stop = pin!(stopped(stop));
        // One timer looks now and then instead of one set anew for each read.
        let mut silence = Silence::new(self.config.media_timeout, Instant::now());
        let mut look = pin!(sleep(self.config.media_timeout.min(LOOK)));
        let mut items: Vec<Item> = Vec::new();
        // What came behind the request to publish is in the source already.
        let mut going = source.demux(&mut items)?;
        sink.push(&mut items, 0);
        while going {
            tokio::select! {
                read = source.read() => {
                    let bytes = read?;
                    if bytes == 0 {
                        source.finish(&mut items);
                        sink.push(&mut items, 0);
                        return Ok(());
                    }
                    self.stats.bytes.fetch_add(bytes as u64, Relaxed);
                    let now = Instant::now();
                    if !ceiling.take(bytes, now) {
                        return Err(End::Fast(self.config.max_bitrate));
                    }
                    going = source.demux(&mut items)?;
                    silence.heard(&items, now);
                    sink.push(&mut items, bytes);
                    source.answer().await?;
                }
                reason = &mut stop => {
                    info!(%reason, "contribution ended");
                    return Ok(());
                }
                () = self.shutdown.cancelled() => return Ok(()),
                () = &mut look => {
                    let left = silence.judge(Instant::now()).map_err(|missing| match missing {
                        Missing::Bytes => End::Idle,
                        Missing::MoreFrames => End::Frameless,
                        Missing::FirstFrame => source.obstacle().into(),
                    })?;
                    if !share.hold(sink.buffered_bytes().saturating_add(source.buffered_bytes() as u64)) {
                        return Err(End::Memory);
                    }
                    if let Some(figures) = source.link() {
                        sink.link(&figures);
                    }
                    look.as_mut().reset(tokio::time::Instant::now() + left.min(LOOK));
                }
            }
        }
        // The end is told before the connection is: encoders like to be the ones that close it.
        drop(sink);
        source.close().await;
        Ok(())
    }

    /// Counts and logs how a connection ended: the one place where it is told.
    pub(crate) fn account(&self, permit: &Permit, ended: Result<(), End>) {
        let Err(end) = ended else {
            debug!("connection closed");
            return;
        };
        match &end {
            End::Refused(refusal) => {
                self.stats.refused(*refusal);
                info!(reason = %refusal, "publisher refused");
                if !matches!(refusal, Refusal::Unavailable | Refusal::Memory) {
                    permit.failed(Instant::now());
                }
            }
            End::Late | End::Idle | End::Frameless => {
                self.stats.timeout.fetch_add(1, Relaxed);
                info!("{end}");
            }
            End::Protocol(_) => {
                self.stats.protocol.fetch_add(1, Relaxed);
                permit.failed(Instant::now());
                warn!("{end}");
            }
            End::Fast(_) => {
                self.stats.bitrate.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            End::Memory => {
                self.stats.memory.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            End::Unsupported(_) => {
                self.stats.unsupported.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            End::NoMedia(_) => {
                self.stats.no_media.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            End::Io(_) | End::Srt(_) => info!("{end}"),
        }
    }
}

/// A reason, or never: a sender that is gone has nothing to say.
async fn stopped(stop: oneshot::Receiver<DisconnectReason>) -> DisconnectReason {
    match stop.await {
        Ok(reason) => reason,
        Err(_) => std::future::pending().await,
    }
}
