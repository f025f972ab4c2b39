//! The server for encoders: the part that all protocols share, from admission to the end of a contribution.

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

use crate::authorize::{Admission, Authorizer, DisconnectReason, FrameSink, LinkStats, Publish, Refusal};
use crate::budget::{MemoryBudget, RateCeiling, Share};
use crate::connection_limits::{ConnectionLimits, Limits, Permit};
use crate::stall::{Stall, StallDetector};
use crate::stats::Stats;

/// Interval at which a contribution is checked for stalls, memory and link statistics.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Configuration of encoder connections.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most connections ([`Limits`]).
    pub limits: Limits,
    /// Longest time from accept to a publish request.
    pub handshake_timeout: Duration,
    /// Time after which a TCP connection whose peer no longer answers is closed.
    pub idle_timeout: Duration,
    /// Longest time without a byte, or without a frame among the bytes, once publishing.
    pub media_timeout: Duration,
    /// Largest message an admitted encoder may send, in bytes.
    pub max_message: usize,
    /// Bits per second that one contribution may send in the long run.
    pub max_bitrate: u64,
    /// Bytes of memory for all contributions, media kept for viewers included.
    pub max_memory: u64,
}

/// The server for encoders. One server may have several listeners.
pub struct Server {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) connections: Arc<ConnectionLimits>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// An admitted connection of any protocol.
pub(crate) trait Source {
    /// Waits for bytes and buffers them; returns their number, 0 at the end of the stream.
    ///
    /// Dropping the future loses no bytes.
    fn read(&mut self) -> impl Future<Output = Result<usize, CloseReason>> + Send;

    /// Demultiplexes the buffered bytes into `items`; returns false once the encoder has ended its stream.
    fn demux(&mut self, items: &mut Vec<Item>) -> Result<bool, CloseReason>;

    /// Appends the access units that were waiting for more data, because the connection is over.
    fn finish(&mut self, items: &mut Vec<Item>) {
        let _ = items;
    }

    /// Sends the pending output of the protocol.
    fn flush(&mut self) -> impl Future<Output = Result<(), CloseReason>> + Send;

    /// Closes the connection in the way that encoders expect.
    fn close(&mut self) -> impl Future<Output = ()> + Send;

    /// Returns the reason why no frame has come out of the received bytes. Called when one should have.
    fn no_frames_reason(&self) -> NoFramesReason;

    /// Returns the number of bytes in incomplete messages.
    fn buffered_bytes(&self) -> usize {
        0
    }

    /// Returns the [`LinkStats`]; `None` if the protocol has none.
    fn link_stats(&mut self) -> Option<LinkStats> {
        None
    }
}

/// Reason why a contribution has bytes but no frame, in words for its owner.
#[derive(Debug)]
pub(crate) enum NoFramesReason {
    /// All of its media is unsupported.
    Unsupported(String),
    /// There is no media.
    NoMedia(String),
}

/// Reason why a contribution ended, other than by the encoder's own request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    #[error("closed: no publish request in time")]
    NoPublishRequest,
    #[error("closed: nothing was received for too long")]
    Idle,
    #[error("closed: no audio and no video came for too long, although the connection is in use")]
    NoFrames,
    #[error("closed: {0}")]
    Protocol(#[from] wire::Error),
    #[error("connection lost: {0}")]
    Io(#[from] std::io::Error),
    #[error("connection lost: {0}")]
    Srt(Box<dyn std::error::Error + Send + Sync>),
    #[error("closed: more than {0} bits per second: lower the encoder's bit rate, or raise ingest.max_bitrate")]
    BitRate(u64),
    #[error("closed: the memory for media is full and no contribution uses more of it: see ingest.max_memory")]
    Memory,
    #[error("closed: none of its tracks can be carried: {0}")]
    Unsupported(String),
    #[error("closed: no frame came: {0}")]
    NoMedia(String),
    #[error("refused: {0}")]
    Refused(Refusal),
}

impl From<NoFramesReason> for CloseReason {
    fn from(reason: NoFramesReason) -> Self {
        match reason {
            NoFramesReason::Unsupported(text) => Self::Unsupported(text),
            NoFramesReason::NoMedia(text) => Self::NoMedia(text),
        }
    }
}

impl Server {
    /// Creates a server that asks `authorizer` about each publisher. Its connections run on `tasks` until `shutdown`.
    pub fn new(
        config: Config,
        authorizer: Arc<dyn Authorizer>,
        stats: Arc<Stats>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let connections = ConnectionLimits::new(config.limits);
        let memory = MemoryBudget::new(config.max_memory);
        Self { shared: Arc::new(Shared { config, authorizer, connections, memory, stats, tasks, shutdown }) }
    }
}

impl Shared {
    /// Admits a publisher if there is memory for its media and the [`Authorizer`] agrees.
    pub(crate) async fn ask(&self, publish: Publish) -> Result<(Admission, Share), Refusal> {
        let share = self.memory.open().ok_or(Refusal::Memory)?;
        Ok((self.authorizer.admit(publish).await?, share))
    }

    /// Passes frames to the [`FrameSink`] until the encoder, the program or a timeout ends the contribution.
    pub(crate) async fn pump(
        &self,
        source: &mut impl Source,
        (admission, share): (Admission, Share),
    ) -> Result<(), CloseReason> {
        let Admission { mut sink, stop, .. } = admission;
        let mut ceiling = RateCeiling::new(self.config.max_bitrate, Instant::now());
        let mut stop = pin!(stopped(stop));
        // One periodic timer is cheaper than one that is reset at each read.
        let mut stalls = StallDetector::new(self.config.media_timeout, Instant::now());
        let mut poll_timer = pin!(sleep(self.config.media_timeout.min(POLL_INTERVAL)));
        let mut items: Vec<Item> = Vec::new();
        // Bytes that followed the publish request are already in the source.
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
                        return Err(CloseReason::BitRate(self.config.max_bitrate));
                    }
                    going = source.demux(&mut items)?;
                    stalls.received(&items, now);
                    sink.push(&mut items, bytes);
                    source.flush().await?;
                }
                reason = &mut stop => {
                    info!(%reason, "contribution ended");
                    return Ok(());
                }
                () = self.shutdown.cancelled() => return Ok(()),
                () = &mut poll_timer => {
                    let left = check(source, &mut *sink, &share, &stalls)?;
                    poll_timer.as_mut().reset(tokio::time::Instant::now() + left.min(POLL_INTERVAL));
                }
            }
        }
        // The sink is dropped before the connection is closed, because encoders prefer to close it themselves and may
        // take a while.
        drop(sink);
        source.close().await;
        Ok(())
    }

    /// Counts and logs the end of a connection, in this place only.
    pub(crate) fn account(&self, permit: &Permit, ended: Result<(), CloseReason>) {
        let Err(end) = ended else {
            debug!("connection closed");
            return;
        };
        match &end {
            CloseReason::Refused(refusal) => {
                self.stats.refused(*refusal);
                info!(reason = %refusal, "publisher refused");
                if !matches!(refusal, Refusal::Unavailable | Refusal::Memory) {
                    permit.failed(Instant::now());
                }
            }
            CloseReason::NoPublishRequest | CloseReason::Idle | CloseReason::NoFrames => {
                self.stats.timeout.fetch_add(1, Relaxed);
                info!("{end}");
            }
            CloseReason::Protocol(_) => {
                self.stats.protocol.fetch_add(1, Relaxed);
                permit.failed(Instant::now());
                warn!("{end}");
            }
            CloseReason::BitRate(_) => {
                self.stats.bitrate.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            CloseReason::Memory => {
                self.stats.memory.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            CloseReason::Unsupported(_) => {
                self.stats.unsupported.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            CloseReason::NoMedia(_) => {
                self.stats.no_media.fetch_add(1, Relaxed);
                warn!("{end}");
            }
            CloseReason::Io(_) | CloseReason::Srt(_) => info!("{end}"),
        }
    }
}

/// Checks a contribution for stalls and memory, and passes on its [`LinkStats`]; returns the time left until a stall.
fn check(
    source: &mut impl Source,
    sink: &mut dyn FrameSink,
    share: &Share,
    stalls: &StallDetector,
) -> Result<Duration, CloseReason> {
    let left = stalls.check(Instant::now()).map_err(|stall| match stall {
        Stall::Bytes => CloseReason::Idle,
        Stall::MoreFrames => CloseReason::NoFrames,
        Stall::FirstFrame => source.no_frames_reason().into(),
    })?;
    if !share.hold(sink.buffered_bytes().saturating_add(source.buffered_bytes() as u64)) {
        return Err(CloseReason::Memory);
    }
    if let Some(stats) = source.link_stats() {
        sink.link(&stats);
    }
    Ok(left)
}

/// Waits for a reason to stop; never returns if the sender is dropped, because then there is no reason.
async fn stopped(stop: oneshot::Receiver<DisconnectReason>) -> DisconnectReason {
    match stop.await {
        Ok(reason) => reason,
        Err(_) => std::future::pending().await,
    }
}
