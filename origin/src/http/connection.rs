//! One connection from accept to close: TLS if configured, HTTP/1.1 or HTTP/2, then requests.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::api::TlsProvider;
use crate::config::Config;
use crate::http::cork::Cork;
use crate::http::http1::write_answer;
use crate::http::prefixed::Prefixed;
use crate::http::response::Answer;
use crate::http::socket::Socket;
use crate::playback::request::{BlockedRequest, Outcome};
use crate::playback::service::ConnectionService;
use crate::worker::activity::ConnectionActivity;
use crate::worker::context::WorkerContext;

/// First bytes of an HTTP/2 connection with prior knowledge (RFC 9113 §3.4). No HTTP/1.1 method begins like this.
const HTTP2_PREFACE_START: &[u8; 3] = b"PRI";

/// Maximum that hyper buffers of what it reads from an HTTP/1.1 connection, in bytes.
const H1_BUFFER: usize = 64 * 1024;
/// Maximum that is kept of what a peer sends while its request is blocked, in bytes.
const MAX_EARLY_BYTES: usize = H1_BUFFER;
/// Maximum that an HTTP/2 stream buffers of what it sends, in bytes, besides the shared pieces.
const H2_SEND_BUFFER: usize = 256 * 1024;

/// Serves `stream` to its end. A failure is the peer's doing, so it is logged at debug level only.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    activity: Arc<ConnectionActivity>,
    context: Arc<WorkerContext>,
    tls: Option<TlsProvider>,
    stop: CancellationToken,
) {
    // Nagle's algorithm would delay small and urgent parts. A failure to disable it costs only that delay.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, Arc::clone(&activity));
    let service = ConnectionService::new(context, activity, peer);
    // The less common protocols are boxed, which keeps the future of the many plain connections small.
    let ended = match tls {
        Some(provider) => Box::pin(serve_tls(socket, service, provider, stop)).await,
        None => serve_cleartext(Prefixed::new(socket), service, stop).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a viewer's connection ended");
    }
}

/// Reason why a connection failed.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

async fn serve_cleartext(
    mut socket: Prefixed<Socket>,
    service: ConnectionService,
    stop: CancellationToken,
) -> Result<(), ConnectionError> {
    if socket.begins_with(HTTP2_PREFACE_START).await? {
        Box::pin(serve_http2(socket, service, stop)).await
    } else {
        serve_http1(socket, service).await
    }
}

async fn serve_tls(
    socket: Socket,
    service: ConnectionService,
    provider: TlsProvider,
    stop: CancellationToken,
) -> Result<(), ConnectionError> {
    let stream = TlsAcceptor::from(provider()).accept(socket).await?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(stream, service, stop).await
    } else {
        serve_http1(Prefixed::new(stream), service).await
    }
}

/// Serves HTTP/1.1. Plain requests are parsed and answered here. The first request that is not plain hands the rest of
/// the connection to hyper. Until then, a reader whose request is blocked holds that request and its subscription to a
/// [`WaitPoint`](crate::worker::wait::WaitPoint), but no buffer.
async fn serve_http1<T>(mut io: Prefixed<T>, service: ConnectionService) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let answer = match poll_fn(|cx| io.poll_parse(cx, |bytes| service.answer_plain(bytes))).await? {
            // The peer has disconnected.
            None => return Ok(()),
            // The request is not plain.
            Some(None) => return serve_with_hyper(io, service).await,
            Some(Some(Outcome::Answer(answer))) => answer,
            Some(Some(Outcome::Blocked(blocked))) => match wait(&mut io, &service, blocked).await {
                None => return Ok(()),
                Some(answer) => answer,
            },
        };
        if !write_answer(&mut io, answer).await? {
            return Ok(io.shutdown().await?);
        }
    }
}

/// Waits for the answer to `blocked`. Returns `None` if the peer disconnects first.
async fn wait<T: AsyncRead + Unpin>(
    io: &mut Prefixed<T>,
    service: &ConnectionService,
    blocked: BlockedRequest,
) -> Option<Answer> {
    let mut waiting = Box::pin(blocked.wait(service.context()));
    let answered = poll_fn(|cx| match waiting.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => io.poll_disconnect(cx, MAX_EARLY_BYTES).map(|()| None),
    });
    answered.await
}

/// Serves the rest of an HTTP/1.1 connection with requests of any kind.
async fn serve_with_hyper<T>(io: Prefixed<T>, service: ConnectionService) -> Result<(), ConnectionError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Boxed, which keeps the future of the many plain connections small.
    Ok(Box::pin(http1_builder(service.config()).serve_connection(TokioIo::new(io), service.clone())).await?)
}

fn http1_builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(true)
        .half_close(false)
        .writev(true)
        // The worker's coarse clock enforces this timeout for all connections at once.
        .header_read_timeout(None)
        .max_header_size(config.max_head_bytes)
        .max_headers(config.max_headers)
        .max_buf_size(H1_BUFFER);
    builder
}

async fn serve_http2(
    io: impl AsyncRead + AsyncWrite + Unpin,
    service: ConnectionService,
    stop: CancellationToken,
) -> Result<(), ConnectionError> {
    service.set_multiplexed();
    let config = service.config();
    let head = u32::try_from(config.max_head_bytes).unwrap_or(u32::MAX);
    let streams = config.max_h2_streams;
    let activity = service.activity();
    let (io, cork) = Cork::pair(io);
    let connection = http2::Builder::new(InlineExecutor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(head)
        .max_send_buf_size(H2_SEND_BUFFER)
        .serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let mut stopping = pin!(stop.cancelled());
    let mut shutting_down = false;
    poll_fn(|cx| {
        loop {
            if !shutting_down && (activity.is_used_up() || stopping.as_mut().poll(cx).is_ready()) {
                shutting_down = true;
                connection.as_mut().graceful_shutdown();
            }
            return match connection.as_mut().poll(cx) {
                Poll::Ready(ended) => Poll::Ready(ended.map_err(ConnectionError::from)),
                // The first request on a spare permit has just arrived, so the shutdown begins at once.
                Poll::Pending if !shutting_down && activity.is_used_up() => continue,
                // Everything is answered that can be, so the answers are sent. If the socket is full, the cork has
                // registered this task to be woken when it is not.
                Poll::Pending => match cork.poll_uncork(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                },
            };
        }
    })
    .await
}

/// Runs the streams of an HTTP/2 connection. A stream that is answered immediately runs within the task of the
/// connection. A stream that has to wait gets a task of its own.
#[derive(Clone, Debug)]
struct InlineExecutor;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for InlineExecutor {
    fn execute(&self, stream: F) {
        let mut stream = Box::pin(stream);
        // The new task polls a pending stream again, so no wake-up is lost through this no-op waker.
        if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(stream);
        }
    }
}
