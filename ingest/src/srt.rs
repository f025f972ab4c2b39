//! SRT: the listener, and the task of each connection.
//!
//! The crate [`srt`] runs the protocol. This module adds the policy for each handshake, a thread that waits for
//! accepted callers, and a task for each of them that receives its MPEG-TS.

mod handshake;
pub(crate) mod stream_id;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media::id::ContributionId;
use srt::{Acceptor, Connection, Error, HandshakeHook, Incoming, Listener, ListenerOptions};
use tokio::time::interval;
use tracing::{Instrument, info, warn};
use wire::Item;
use wire::ts::{self, Demuxer, Limits};

use handshake::{Caller, HandshakePolicy};

use crate::authorize::{LinkStats, Protocol, Publish};
use crate::server::{CloseReason, NoFramesReason, Server, Shared, Source};

/// Bytes received at once: 33 ms of a 16 Mbit/s stream. Further bytes are received on the next turn.
const READ_BUFFER: usize = 64 * 1024;
/// Accepted callers that wait for their task; libsrt refuses more.
const BACKLOG: i32 = 128;
/// Pause after a failed accept, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Interval between calls of [`HandshakePolicy::sweep`].
const SWEEP: Duration = Duration::from_secs(1);

/// Options of an SRT listener.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Lowest latency; the caller may ask for more.
    pub latency: Duration,
    /// Whether callers must encrypt with their live stream's passphrase. If false, they must not encrypt at all.
    ///
    /// libsrt has no option in between that works for a caller with default settings.
    pub encryption: bool,
}

impl From<Error> for CloseReason {
    fn from(error: Error) -> Self {
        Self::Srt(Box::new(error))
    }
}

impl Server {
    /// Accepts SRT connections on a bound socket.
    pub fn listen_srt(&self, socket: UdpSocket, options: Options) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let policy = Arc::new(HandshakePolicy::new(Arc::clone(&shared), options.encryption));
        let hook = Arc::clone(&policy) as Arc<dyn HandshakeHook>;
        let listener = Listener::new(socket, ListenerOptions { latency: options.latency, backlog: BACKLOG }, hook)?;

        let (waiting, acceptor) = ((Arc::clone(&shared), Arc::clone(&policy)), listener.acceptor());
        self.shared.tasks.spawn_blocking(move || waiting.0.wait_for_callers(acceptor, &waiting.1));
        self.shared.tasks.spawn(async move {
            let mut tick = interval(SWEEP);
            loop {
                tokio::select! {
                    _ = tick.tick() => policy.sweep(Instant::now()),
                    () = shared.shutdown.cancelled() => break,
                }
            }
            // Wakes the thread that waits for callers, which then finds the listener closed.
            drop(listener);
        });
        Ok(())
    }
}

impl Shared {
    /// Starts a task for each accepted caller until the listener is closed.
    fn wait_for_callers(self: &Arc<Self>, acceptor: Acceptor, policy: &Arc<HandshakePolicy>) {
        loop {
            match acceptor.accept() {
                Ok(Some(incoming)) => self.take_caller(incoming, policy),
                Ok(None) => return,
                Err(error) => {
                    warn!(%error, "an SRT caller could not be accepted");
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn take_caller(self: &Arc<Self>, incoming: Incoming, policy: &Arc<HandshakePolicy>) {
        let socket = incoming.id();
        let connection = match incoming.open() {
            Ok(connection) => connection,
            Err(error) => return warn!(%error, "an SRT caller was gone before it was accepted"),
        };
        // A caller that was given up is no longer known. Dropping the connection closes it.
        let Some(caller) = policy.take(socket) else { return };
        policy.passed(&caller);
        let shared = Arc::clone(self);
        let id = ContributionId::generate();
        let span = tracing::info_span!("contribution", %id, peer = %caller.peer);
        self.tasks.spawn(
            async move {
                shared.stats.open.fetch_add(1, Relaxed);
                shared.contribute(connection, caller, id).await;
                shared.stats.open.fetch_sub(1, Relaxed);
            }
            .instrument(span),
        );
    }

    async fn contribute(&self, connection: Connection, caller: Caller, contribution: ContributionId) {
        let Caller { peer, key, permit, .. } = caller;
        let publish = Publish { contribution, peer, protocol: Protocol::Srt, key };
        let ended = match self.ask(publish).await {
            Ok(admitted) => {
                permit.succeeded();
                info!(stream = %admitted.0.stream, protocol = ?Protocol::Srt, "publishing");
                self.pump(&mut TransportStream::new(connection), admitted).await
            }
            Err(refusal) => Err(CloseReason::Refused(refusal)),
        };
        self.account(&permit, ended);
    }
}

/// An MPEG transport stream received over SRT.
struct TransportStream {
    connection: Connection,
    demuxer: Demuxer,
    buffer: Box<[u8]>,
    filled: usize,
}

impl TransportStream {
    fn new(connection: Connection) -> Self {
        Self { connection, demuxer: Demuxer::new(Limits::default()), buffer: vec![0; READ_BUFFER].into(), filled: 0 }
    }
}

impl Source for TransportStream {
    async fn read(&mut self) -> Result<usize, CloseReason> {
        self.filled = self.connection.receive(&mut self.buffer).await?;
        Ok(self.filled)
    }

    fn demux(&mut self, items: &mut Vec<Item>) -> Result<bool, CloseReason> {
        let filled = std::mem::take(&mut self.filled);
        self.demuxer.push(self.buffer.get(..filled).unwrap_or_default(), items)?;
        self.demuxer.report(items);
        Ok(true)
    }

    fn finish(&mut self, items: &mut Vec<Item>) {
        // A frame truncated by the end of the connection is not a fault of the media.
        self.demuxer.finish(items);
    }

    async fn flush(&mut self) -> Result<(), CloseReason> {
        Ok(())
    }

    async fn close(&mut self) {}

    fn no_frames_reason(&self) -> NoFramesReason {
        match self.demuxer.no_frames_reason() {
            ts::NoFramesReason::NotCarried(unsupported) => NoFramesReason::Unsupported(unsupported.to_string()),
            reason => NoFramesReason::NoMedia(reason.to_string()),
        }
    }

    fn link_stats(&mut self) -> Option<LinkStats> {
        let (media, link) = (*self.demuxer.stats(), self.connection.stats().ok()?);
        Some(LinkStats {
            round_trip: link.round_trip,
            latency: link.latency,
            buffered: link.buffered,
            receive_rate: link.receive_rate,
            send_rate: link.send_rate,
            capacity: link.capacity,
            packets: link.packets,
            lost: link.lost,
            retransmitted: link.retransmitted,
            dropped: link.dropped,
            undecrypted: link.undecrypted,
            continuity_errors: media.continuity_errors,
            dropped_units: media.dropped,
        })
    }
}
