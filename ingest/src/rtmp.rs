//! The RTMP and RTMPS listeners, and the task of each contribution.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::id::ContributionId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, warn};
use wire::Item;
use wire::flv::Demuxer;
use wire::rtmp::server::{self, Rejection, RejectionCode, Session};

use crate::gate::{Admission, Gate, Key, Protocol, Publish, Refusal, Stop};
use crate::guard::{Full, Guard, Limits, Permit};
use crate::stats::Stats;

/// Read buffer of a connection: about one large picture of a 5 Mbit/s stream in one call.
const READ_BUFFER: usize = 64 * 1024;
/// Read buffer before the publish request: a command is far smaller.
const READ_BUFFER_BEFORE: usize = 4 * 1024;
/// How long an answer may take to leave; an encoder that does not read is taken for broken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer gets to read our last words and close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept, so that running out of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of RTMP connections.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many there may be.
    pub limits: Limits,
    /// From accept to a publish request.
    pub handshake_timeout: Duration,
    /// Without a byte, once publishing.
    pub idle_timeout: Duration,
    /// Largest message an admitted encoder may send, in bytes.
    pub max_message: usize,
}

/// What lies between TCP and RTMP.
#[derive(Clone)]
pub enum Transport {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Arc<rustls::ServerConfig>),
}

/// The RTMP server; one may serve several listeners.
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    gate: Arc<dyn Gate>,
    guard: Arc<Guard>,
    stats: Arc<Stats>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    /// A server that asks `gate` and ends with `shutdown`; its connections run on `tasks`.
    pub fn new(
        config: Config,
        gate: Arc<dyn Gate>,
        stats: Arc<Stats>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let guard = Guard::new(config.limits);
        Self { shared: Arc::new(Shared { config, gate, guard, stats, tasks, shutdown }) }
    }

    /// Starts to accept connections.
    pub fn listen(&self, listener: TcpListener, transport: Transport) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move { shared.accept(listener, transport).await });
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener, transport: Transport) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &transport),
                Err(error) => {
                    warn!(%error, "an encoder's connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Gives the connection a place and a task, or closes it at once.
    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, transport: &Transport) {
        self.stats.accepted.fetch_add(1, Relaxed);
        let permit = match self.guard.enter(peer.ip()) {
            Ok(permit) => permit,
            Err(full) => {
                self.stats.full.fetch_add(1, Relaxed);
                let limit = match full {
                    Full::Server => "in all",
                    Full::Address => "from one address",
                };
                debug!(%peer, "connection closed: too many {limit}");
                return;
            }
        };
        let shared = Arc::clone(self);
        let transport = transport.clone();
        let id = ContributionId::generate();
        let span = tracing::info_span!("contribution", %id, %peer);
        self.tasks.spawn(
            async move {
                shared.stats.open.fetch_add(1, Relaxed);
                shared.connection(stream, peer, id, permit, transport).await;
                shared.stats.open.fetch_sub(1, Relaxed);
            }
            .instrument(span),
        );
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        id: ContributionId,
        permit: Permit,
        transport: Transport,
    ) {
        // Without it acknowledgements and rejections wait for Nagle; failing is harmless.
        let _ = stream.set_nodelay(true);
        let started = Instant::now();
        let ended = match transport {
            Transport::Plain => self.serve(stream, peer, id, Protocol::Rtmp, &permit, started).await,
            Transport::Tls(tls) => {
                match timeout(self.config.handshake_timeout, TlsAcceptor::from(tls).accept(stream)).await {
                    Ok(Ok(stream)) => self.serve(stream, peer, id, Protocol::Rtmps, &permit, started).await,
                    Ok(Err(error)) => Err(End::Io(error)),
                    Err(_) => Err(End::Late),
                }
            }
        };
        self.account(&permit, ended);
    }

    /// Speaks RTMP on `stream` until one side ends.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: SocketAddr,
        id: ContributionId,
        protocol: Protocol,
        permit: &Permit,
        started: Instant,
    ) -> Result<(), End> {
        let mut session = server::Config::default();
        session.after.message = self.config.max_message;
        let mut link = Link { stream, session: Session::new(session, handshake_bytes()), buffer: BytesMut::new() };
        let left = self.config.handshake_timeout.saturating_sub(started.elapsed());
        let key = tokio::select! {
            asked = timeout(left, link.publish_request(&self.stats)) => asked.map_err(|_| End::Late)??,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        // Only a failed attempt makes the next one wait, and only once its key was sent: guessing gets slow.
        sleep(permit.wait(Instant::now())).await;
        match self.gate.admit(Publish { contribution: id, peer, protocol, key }).await {
            Ok(admission) => {
                permit.succeeded();
                link.session.accept()?;
                link.flush().await?;
                info!(stream = %admission.stream, ?protocol, "publishing");
                self.pump(&mut link, admission).await
            }
            Err(refusal) => {
                let code = match refusal {
                    Refusal::UnknownKey => RejectionCode::BadName,
                    Refusal::Disabled | Refusal::Unavailable => RejectionCode::Denied,
                };
                link.session.reject(Rejection { code, description: refusal.to_string() });
                link.flush().await?;
                link.close().await;
                Err(End::Refused(refusal))
            }
        }
    }

    /// Hands frames to the sink until the encoder, the program or time ends the contribution.
    async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        link: &mut Link<S>,
        admission: Admission,
    ) -> Result<(), End> {
        let Admission { mut sink, stop, .. } = admission;
        let mut stop = pin!(stopped(stop));
        // One timer looks now and then instead of one set anew for each read.
        let idle = self.config.idle_timeout;
        let mut heard = Instant::now();
        let mut look = pin!(sleep(idle));
        let mut demuxer = Demuxer::new();
        let mut items: Vec<Item> = Vec::new();
        // What came behind the publish request is in the session already.
        let mut going = link.demux(&mut demuxer, &mut items);
        sink.push(&mut items, 0);
        while going {
            tokio::select! {
                read = link.read(READ_BUFFER, &self.stats) => {
                    let bytes = read?;
                    if bytes == 0 {
                        return Ok(());
                    }
                    heard = Instant::now();
                    going = link.demux(&mut demuxer, &mut items);
                    sink.push(&mut items, bytes);
                    link.flush().await?;
                }
                reason = &mut stop => {
                    info!(%reason, "contribution ended");
                    return Ok(());
                }
                () = self.shutdown.cancelled() => return Ok(()),
                () = &mut look => {
                    let quiet = heard.elapsed();
                    if quiet >= idle {
                        return Err(End::Idle);
                    }
                    look.as_mut().reset(tokio::time::Instant::now() + (idle - quiet));
                }
            }
        }
        // The end is told before the connection is: encoders like to be the ones that close it.
        drop(sink);
        link.close().await;
        Ok(())
    }

    /// Counts and logs how a connection ended: the one place where it is told.
    fn account(&self, permit: &Permit, ended: Result<(), End>) {
        let Err(end) = ended else {
            debug!("connection closed");
            return;
        };
        match &end {
            End::Refused(refusal) => {
                self.stats.refused(*refusal);
                info!(reason = %refusal, "publisher refused");
                if *refusal != Refusal::Unavailable {
                    permit.failed(Instant::now());
                }
            }
            End::Late | End::Idle => {
                self.stats.timeout.fetch_add(1, Relaxed);
                info!("{end}");
            }
            End::Protocol(_) => {
                self.stats.protocol.fetch_add(1, Relaxed);
                permit.failed(Instant::now());
                warn!("{end}");
            }
            End::Io(_) => info!("{end}"),
        }
    }
}

/// Why a contribution ended other than by its encoder's word.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed: no publish request in time")]
    Late,
    #[error("closed: nothing was received for too long")]
    Idle,
    #[error("closed: {0}")]
    Protocol(#[from] wire::Error),
    #[error("connection lost: {0}")]
    Io(#[from] std::io::Error),
    #[error("refused: {0}")]
    Refused(Refusal),
}

/// Filler of the handshake; it need not be secret, so zeros do when the system gives no randomness.
fn handshake_bytes() -> [u8; server::RANDOM_LEN] {
    let mut bytes = [0; server::RANDOM_LEN];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// A reason, or never: a sender that is gone has nothing to say.
async fn stopped(stop: oneshot::Receiver<Stop>) -> Stop {
    match stop.await {
        Ok(reason) => reason,
        Err(_) => std::future::pending().await,
    }
}

/// A socket with its protocol state.
struct Link<S> {
    stream: S,
    session: Session,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Reads once and feeds the session; gives the number of bytes, 0 at the end of the stream.
    async fn read(&mut self, size: usize, stats: &Stats) -> Result<usize, End> {
        self.buffer.clear();
        self.buffer.reserve(size);
        let bytes = self.stream.read_buf(&mut self.buffer).await?;
        stats.bytes.fetch_add(bytes as u64, Relaxed);
        self.session.input(&self.buffer)?;
        Ok(bytes)
    }

    /// Goes through handshake and commands up to the request to publish.
    async fn publish_request(&mut self, stats: &Stats) -> Result<Key, End> {
        loop {
            let bytes = self.read(READ_BUFFER_BEFORE, stats).await?;
            self.flush().await?;
            while let Some(event) = self.session.poll() {
                if let server::Event::Publish(publish) = event {
                    return Ok(Key(publish.key.reveal().to_owned()));
                }
            }
            if bytes == 0 || self.session.is_closed() {
                return Err(End::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Turns what the session has into items; false once the encoder has ended its stream.
    fn demux(&mut self, demuxer: &mut Demuxer, items: &mut Vec<Item>) -> bool {
        while let Some(event) = self.session.poll() {
            match event {
                server::Event::Media(tag) => items.extend(demuxer.push(tag)),
                server::Event::Ended(how) => {
                    debug!(?how, "the encoder ended its stream");
                    return false;
                }
                server::Event::Skipped(error) => debug!(%error, "a message was left out"),
                server::Event::Publish(_) | server::Event::Metadata(_) => {}
            }
        }
        !self.session.is_closed()
    }

    /// Sends what the session has to say.
    async fn flush(&mut self) -> Result<(), End> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let sent = timeout(WRITE_TIMEOUT, async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        });
        sent.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?.map_err(End::Io)
    }

    /// Closes our side and waits a moment for the peer to read what was said: a reset would throw it away.
    async fn close(&mut self) {
        let _ = timeout(CLOSE_TIMEOUT, async {
            self.stream.shutdown().await?;
            // Bounded by the time-out; what still comes is of no use.
            loop {
                self.buffer.clear();
                self.buffer.reserve(READ_BUFFER_BEFORE);
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Ok::<(), std::io::Error>(());
                }
            }
        })
        .await;
    }
}
