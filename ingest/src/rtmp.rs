//! RTMP and RTMPS: the listeners, and the task of each connection.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use media::id::ContributionId;
use media::{Fault, FaultReport};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{Instrument, debug, info, warn};
use wire::Item;
use wire::flv::Demuxer;
use wire::rtmp::server::{self, Rejection, RejectionCode, Session};

use crate::authorize::{Key, Protocol, Publish, Refusal};
use crate::guard::{Full, Permit};
use crate::server::{End, Obstacle, Server, Shared, Source};
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

/// How often a silent peer's system is asked whether it is there, within the idle time-out.
const PROBES: u32 = 3;

/// What lies between TCP and RTMP.
#[derive(Clone)]
pub enum Transport {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Arc<rustls::ServerConfig>),
}

/// Has the kernel end a connection whose other end is gone without a word, `idle` after the last one: half of it is waiting, half
/// asking. An encoder that is only silent answers, as its system does it.
fn watch_over(stream: &TcpStream, idle: Duration) {
    let keepalive = TcpKeepalive::new()
        .with_time((idle / 2).max(Duration::from_secs(1)))
        .with_interval((idle / 2 / PROBES).max(Duration::from_secs(1)))
        .with_retries(PROBES);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        debug!(%error, "an encoder that goes without a word is noticed late");
    }
}

impl Server {
    /// Starts to accept RTMP connections.
    pub fn listen(&self, listener: TcpListener, transport: Transport) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move { shared.accept(listener, transport).await });
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener, transport: Transport) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    self.admit(stream, peer, &transport);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                // No descriptor or memory is left: said once, tried on.
                Err(error) => {
                    if !failing {
                        warn!(%error, "encoders' connections cannot be accepted, trying on");
                    }
                    failing = true;
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
        watch_over(&stream, self.config.idle_timeout);
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
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
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
        let mut link = Link {
            stream,
            session: Session::new(session, handshake_bytes()),
            buffer: BytesMut::new(),
            demuxer: Demuxer::new(),
        };
        let left = self.config.handshake_timeout.saturating_sub(started.elapsed());
        let key = tokio::select! {
            asked = timeout(left, link.publish_request(&self.stats)) => asked.map_err(|_| End::Late)??,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        // Only a failed attempt makes the next one wait, and only once its key was sent: guessing gets slow.
        sleep(permit.wait(Instant::now())).await;
        match self.ask(Publish { contribution: id, peer, protocol, key }).await {
            Ok(admitted) => {
                permit.succeeded();
                link.session.accept()?;
                link.flush().await?;
                info!(stream = %admitted.0.stream, ?protocol, "publishing");
                let ended = self.pump(&mut link, admitted).await;
                if let Err(End::Unsupported(reason) | End::NoMedia(reason)) = &ended {
                    link.session.reject(Rejection { code: RejectionCode::Unsupported, description: reason.clone() });
                    link.flush().await?;
                    link.close().await;
                }
                ended
            }
            Err(refusal) => {
                let code = match refusal {
                    Refusal::UnknownKey => RejectionCode::BadName,
                    Refusal::Disabled | Refusal::Unavailable | Refusal::Memory => RejectionCode::Denied,
                };
                link.session.reject(Rejection { code, description: refusal.to_string() });
                link.flush().await?;
                link.close().await;
                Err(End::Refused(refusal))
            }
        }
    }
}

/// Filler of the handshake; it need not be secret, so zeros do when the system gives no randomness.
fn handshake_bytes() -> [u8; server::RANDOM_LEN] {
    let mut bytes = [0; server::RANDOM_LEN];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// A socket with its protocol state.
struct Link<S> {
    stream: S,
    session: Session,
    buffer: BytesMut,
    demuxer: Demuxer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Reads once and feeds the session; gives the number of bytes, 0 at the end of the stream.
    async fn fill(&mut self, size: usize) -> Result<usize, End> {
        self.buffer.clear();
        self.buffer.reserve(size);
        let bytes = self.stream.read_buf(&mut self.buffer).await?;
        self.session.input(&self.buffer)?;
        Ok(bytes)
    }

    /// Goes through handshake and commands up to the request to publish.
    async fn publish_request(&mut self, stats: &Stats) -> Result<Key, End> {
        loop {
            let bytes = self.fill(READ_BUFFER_BEFORE).await?;
            stats.bytes.fetch_add(bytes as u64, Relaxed);
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
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Source for Link<S> {
    async fn read(&mut self) -> Result<usize, End> {
        self.fill(READ_BUFFER).await
    }

    fn demux(&mut self, items: &mut Vec<Item>) -> Result<bool, End> {
        while let Some(event) = self.session.poll() {
            match event {
                server::Event::Media(tag) => items.extend(self.demuxer.push(tag)),
                server::Event::Ended(how) => {
                    debug!(?how, "the encoder ended its stream");
                    self.finish(items);
                    return Ok(false);
                }
                server::Event::Skipped(error) => {
                    let report = FaultReport::new(Fault::DamagedFrames, None).with_detail(error.to_string());
                    items.push(Item::Fault(report));
                }
                server::Event::Publish(_) | server::Event::Metadata(_) => {}
            }
        }
        if let Some(reason) = self.demuxer.hopeless() {
            return Err(End::Unsupported(reason.to_string()));
        }
        Ok(!self.session.is_closed())
    }

    fn finish(&mut self, items: &mut Vec<Item>) {
        items.extend(self.demuxer.finish());
    }

    async fn answer(&mut self) -> Result<(), End> {
        self.flush().await
    }

    fn obstacle(&self) -> Obstacle {
        match (self.demuxer.left_out(), self.demuxer.dropped()) {
            (Some(left_out), _) => Obstacle::Unsupported(left_out.to_string()),
            (None, 1..) => Obstacle::NoMedia("its frames are empty, or come without a sequence header".to_owned()),
            (None, 0) => Obstacle::NoMedia("it sends neither video nor audio".to_owned()),
        }
    }

    fn buffered_bytes(&self) -> usize {
        self.session.pending()
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
