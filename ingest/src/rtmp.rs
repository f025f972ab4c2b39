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
use crate::connection_limits::{Full, Permit};
use crate::server::{CloseReason, NoFramesReason, Server, Shared, Source};
use crate::stats::Stats;

/// Size of a connection's read buffer: about one large frame of a 5 Mbit/s stream per call.
const READ_BUFFER: usize = 64 * 1024;
/// Size of the read buffer before the publish request, because commands are far smaller than frames.
const READ_BUFFER_BEFORE: usize = 4 * 1024;
/// Longest time to send an answer. An encoder that does not read that long counts as broken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a peer gets to read the last answer and close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept, so that the loop does not spin when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Number of TCP keepalive probes to a silent peer within [`Config::idle_timeout`](crate::Config::idle_timeout).
const PROBES: u32 = 3;

/// Layer between TCP and RTMP.
#[derive(Clone)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls(Arc<rustls::ServerConfig>),
}

/// An admitted connection, before its protocol.
struct Client {
    peer: SocketAddr,
    id: ContributionId,
    permit: Permit,
    started: Instant,
}

/// Makes the kernel close a connection whose peer disappeared, `idle` after its last packet.
///
/// Half of that time is waiting, half is probing. An encoder that is only silent stays connected, because its system
/// answers the probes.
fn set_keepalive(stream: &TcpStream, idle: Duration) {
    let keepalive = TcpKeepalive::new()
        .with_time((idle / 2).max(Duration::from_secs(1)))
        .with_interval((idle / 2 / PROBES).max(Duration::from_secs(1)))
        .with_retries(PROBES);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        debug!(%error, "TCP keepalive cannot be set, so a dead encoder connection is noticed late");
    }
}

impl Server {
    /// Accepts RTMP connections from `listener` in a task of its own.
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
                // Out of descriptors or memory: logged once, then retried.
                Err(error) => {
                    if !failing {
                        warn!(%error, "encoder connections cannot be accepted, retrying");
                    }
                    failing = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts a task for the connection if [`ConnectionLimits`](crate::connection_limits::ConnectionLimits) admits it;
    /// otherwise closes it at once.
    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, transport: &Transport) {
        self.stats.accepted.fetch_add(1, Relaxed);
        let permit = match self.connections.enter(peer.ip()) {
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
                shared.connection(stream, Client { peer, id, permit, started: Instant::now() }, transport).await;
                shared.stats.open.fetch_sub(1, Relaxed);
            }
            .instrument(span),
        );
    }

    async fn connection(&self, stream: TcpStream, client: Client, transport: Transport) {
        // With Nagle's algorithm, acknowledgements and rejections would be delayed. A failure is harmless.
        let _ = stream.set_nodelay(true);
        set_keepalive(&stream, self.config.idle_timeout);
        let ended = match transport {
            Transport::Plain => self.serve(stream, Protocol::Rtmp, &client).await,
            Transport::Tls(tls) => {
                match timeout(self.config.handshake_timeout, TlsAcceptor::from(tls).accept(stream)).await {
                    Ok(Ok(stream)) => self.serve(stream, Protocol::Rtmps, &client).await,
                    Ok(Err(error)) => Err(CloseReason::Io(error)),
                    Err(_) => Err(CloseReason::NoPublishRequest),
                }
            }
        };
        self.account(&client.permit, ended);
    }

    /// Runs RTMP on `stream` until one side ends.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        stream: S,
        protocol: Protocol,
        client: &Client,
    ) -> Result<(), CloseReason> {
        let mut session = server::Config::default();
        session.after.message = self.config.max_message;
        let mut link = Link {
            stream,
            session: Session::new(session, handshake_bytes()),
            buffer: BytesMut::new(),
            demuxer: Demuxer::new(),
        };
        let left = self.config.handshake_timeout.saturating_sub(client.started.elapsed());
        let request = timeout(left, link.publish_request(&self.stats));
        let key = tokio::select! {
            key = request => key.map_err(|_| CloseReason::NoPublishRequest)??,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        // Earlier failures delay this answer, after the key was sent: that makes guessing slow.
        sleep(client.permit.wait(Instant::now())).await;
        match self.ask(Publish { contribution: client.id.clone(), peer: client.peer, protocol, key }).await {
            Ok(admitted) => {
                client.permit.succeeded();
                link.session.accept()?;
                link.send_output().await?;
                info!(stream = %admitted.0.stream, ?protocol, "publishing");
                let ended = self.pump(&mut link, admitted).await;
                if let Err(CloseReason::Unsupported(reason) | CloseReason::NoMedia(reason)) = &ended {
                    link.session.reject(Rejection { code: RejectionCode::Unsupported, description: reason.clone() });
                    link.send_output().await?;
                    link.close().await;
                }
                ended
            }
            Err(refusal) => {
                let code = match refusal {
                    Refusal::UnknownKey => RejectionCode::BadName,
                    Refusal::Disabled => RejectionCode::Denied,
                    Refusal::Unavailable | Refusal::Memory => RejectionCode::Failed,
                };
                link.session.reject(Rejection { code, description: refusal.to_string() });
                link.send_output().await?;
                link.close().await;
                Err(CloseReason::Refused(refusal))
            }
        }
    }
}

/// Returns the random filler of the handshake. It need not be secret, so zeros do if the system provides no randomness.
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
    /// Reads once and passes the bytes to the [`Session`]; returns their number, 0 at the end of the stream.
    async fn fill(&mut self, size: usize) -> Result<usize, CloseReason> {
        self.buffer.clear();
        self.buffer.reserve(size);
        let bytes = self.stream.read_buf(&mut self.buffer).await?;
        self.session.input(&self.buffer)?;
        Ok(bytes)
    }

    /// Runs handshake and commands up to the publish request; returns its key.
    async fn publish_request(&mut self, stats: &Stats) -> Result<Key, CloseReason> {
        loop {
            let bytes = self.fill(READ_BUFFER_BEFORE).await?;
            stats.bytes.fetch_add(bytes as u64, Relaxed);
            self.send_output().await?;
            while let Some(event) = self.session.poll() {
                if let server::Event::Publish(publish) = event {
                    return Ok(Key(publish.key.reveal().to_owned()));
                }
            }
            if bytes == 0 || self.session.is_closed() {
                return Err(CloseReason::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends the pending output of the [`Session`].
    async fn send_output(&mut self) -> Result<(), CloseReason> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let sent = timeout(WRITE_TIMEOUT, async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        });
        sent.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?.map_err(CloseReason::Io)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Source for Link<S> {
    async fn read(&mut self) -> Result<usize, CloseReason> {
        self.fill(READ_BUFFER).await
    }

    fn demux(&mut self, items: &mut Vec<Item>) -> Result<bool, CloseReason> {
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
        if let Some(reason) = self.demuxer.unsupported_reason() {
            return Err(CloseReason::Unsupported(reason.to_string()));
        }
        Ok(!self.session.is_closed())
    }

    fn finish(&mut self, items: &mut Vec<Item>) {
        items.extend(self.demuxer.finish());
    }

    async fn flush(&mut self) -> Result<(), CloseReason> {
        self.send_output().await
    }

    fn no_frames_reason(&self) -> NoFramesReason {
        match (self.demuxer.unsupported(), self.demuxer.dropped()) {
            (Some(unsupported), _) => NoFramesReason::Unsupported(unsupported.to_string()),
            (None, 1..) => {
                NoFramesReason::NoMedia("its frames are empty, or come without a sequence header".to_owned())
            }
            (None, 0) => NoFramesReason::NoMedia("it sends neither video nor audio".to_owned()),
        }
    }

    fn buffered_bytes(&self) -> usize {
        self.session.pending()
    }

    /// Shuts down the sending side and waits up to [`CLOSE_TIMEOUT`] for the peer to close.
    ///
    /// Closing at once could reset the connection, and the peer would lose the last answer.
    async fn close(&mut self) {
        let _ = timeout(CLOSE_TIMEOUT, async {
            self.stream.shutdown().await?;
            // Bounded by the timeout. Further input is discarded.
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
