//! SRT: the listener, and the task of each connection.
//!
//! libsrt does the protocol on threads of its own. What is done here: the answer to each handshake (`door`), a thread
//! that waits for callers that were let in, and a task for each of them that takes its MPEG-TS in.

mod connection;
mod door;
mod ffi;
pub(crate) mod stream_id;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media::id::ContributionId;
use tokio::time::interval;
use tracing::{Instrument, info, warn};
use wire::Item;
use wire::ts::{self, Demuxer, Limits};

pub use connection::{CallerOptions, Connection, Error};
pub use ffi::{CallError, exit};

use connection::{Socket, millis};
use door::{Caller, Door};
use ffi::Hook;

use crate::authorize::{LinkStats, Protocol, Publish};
use crate::server::{End, Obstacle, Server, Shared, Source};

/// Bytes taken at once: 33 ms of a 16 Mbit/s stream. What is more is taken in the next turn.
const READ_BUFFER: usize = 64 * 1024;
/// Callers that were let in and wait for their task; libsrt refuses more.
const BACKLOG: i32 = 128;
/// The oldest libsrt that sends a stream id.
const OLDEST_PEER: i32 = 0x01_03_00;
/// Pause after a failed accept, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often callers that did not pass are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How to listen for SRT.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The least latency; the caller may ask for more.
    pub latency: Duration,
    /// Whether callers must encrypt with their live stream's passphrase; if not, they must not encrypt at all. libsrt has no
    /// way in between that a caller with its own defaults would take.
    pub encryption: bool,
}

impl Server {
    /// Starts to accept SRT connections on a bound socket.
    pub fn listen_srt(&self, socket: UdpSocket, options: Options) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let door = Arc::new(Door::new(Arc::clone(&shared), options.encryption));
        let listener = Arc::new(Socket::new()?);
        let id = listener.0;
        if socket.local_addr()?.is_ipv6() {
            ffi::set_bool(id, ffi::OPT_IPV6ONLY, false)?;
        }
        ffi::set_int(id, ffi::OPT_RCVLATENCY, millis(options.latency))?;
        ffi::set_int(id, ffi::OPT_VERSION_MIN, OLDEST_PEER)?;
        ffi::bind(id, socket)?;
        ffi::listen(id, BACKLOG, Arc::clone(&door) as Arc<dyn Hook>)?;

        let waiting = (Arc::clone(&shared), Arc::clone(&door));
        self.shared.tasks.spawn_blocking(move || waiting.0.wait_for_callers(id, &waiting.1));
        self.shared.tasks.spawn(async move {
            let mut tick = interval(SWEEP);
            loop {
                tokio::select! {
                    _ = tick.tick() => door.sweep(Instant::now()),
                    () = shared.shutdown.cancelled() => break,
                }
            }
            // Wakes the thread that waits for callers, which finds the listener gone.
            drop(listener);
        });
        Ok(())
    }
}

impl Shared {
    /// Takes callers that were let in, until the listener is closed.
    fn wait_for_callers(self: &Arc<Self>, listener: ffi::Id, door: &Arc<Door>) {
        loop {
            match ffi::accept(listener) {
                Ok(id) => self.take_caller(id, door),
                Err(_) if ffi::state(listener) != ffi::STATE_LISTENING => return,
                Err(error) => {
                    warn!(%error, "an SRT caller could not be accepted");
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn take_caller(self: &Arc<Self>, socket: ffi::Id, door: &Arc<Door>) {
        let connection = match Connection::accepted(socket) {
            Ok(connection) => connection,
            Err(error) => return warn!(%error, "an SRT caller was gone before it was accepted"),
        };
        // One that was given up is not known any more; dropping the connection closes it.
        let Some(caller) = door.take(socket) else { return };
        door.passed(&caller);
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
                self.pump(&mut Feed::new(connection), admitted).await
            }
            Err(refusal) => Err(End::Refused(refusal)),
        };
        self.account(&permit, ended);
    }
}

/// MPEG-TS from an SRT connection.
struct Feed {
    connection: Connection,
    demuxer: Demuxer,
    buffer: Box<[u8]>,
    filled: usize,
}

impl Feed {
    fn new(connection: Connection) -> Self {
        Self { connection, demuxer: Demuxer::new(Limits::default()), buffer: vec![0; READ_BUFFER].into(), filled: 0 }
    }
}

impl Source for Feed {
    async fn read(&mut self) -> Result<usize, End> {
        self.filled = self.connection.receive(&mut self.buffer).await?;
        Ok(self.filled)
    }

    fn demux(&mut self, items: &mut Vec<Item>) -> Result<bool, End> {
        let filled = std::mem::take(&mut self.filled);
        self.demuxer.push(self.buffer.get(..filled).unwrap_or_default(), items)?;
        self.demuxer.report(items);
        Ok(true)
    }

    fn finish(&mut self, items: &mut Vec<Item>) {
        // A frame that is cut short by the end is no fault in the media.
        self.demuxer.finish(items);
    }

    async fn answer(&mut self) -> Result<(), End> {
        Ok(())
    }

    async fn close(&mut self) {}

    fn obstacle(&self) -> Obstacle {
        match self.demuxer.obstacle() {
            ts::Obstacle::NotCarried(left_out) => Obstacle::Unsupported(left_out.to_string()),
            obstacle => Obstacle::NoMedia(obstacle.to_string()),
        }
    }

    fn link(&mut self) -> Option<LinkStats> {
        let stats = *self.demuxer.stats();
        let (continuity_errors, dropped_units) = (stats.continuity_errors, stats.dropped);
        self.connection.figures().ok().map(|link| LinkStats { continuity_errors, dropped_units, ..link })
    }
}
