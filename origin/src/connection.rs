//! One connection, from accept to close: TLS if told, HTTP/1.1 or HTTP/2, then requests.

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

use crate::answer::Answer;
use crate::config::Config;
use crate::cork::Cork;
use crate::pulse::{Pulse, Socket};
use crate::reply;
use crate::rewind::Rewind;
use crate::server::TlsProvider;
use crate::service::{Outcome, Parked, Visitor};
use crate::worker::Worker;

/// The protocols to offer in a TLS handshake (ALPN), the better one first.
pub const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How an HTTP/2 connection with prior knowledge begins (RFC 9113 §3.4); no HTTP/1.1 method does.
const HTTP2_BEGINNING: &[u8; 3] = b"PRI";

/// Bytes an HTTP/1.1 connection may buffer of what it reads.
const H1_BUFFER: usize = 64 * 1024;
/// Bytes kept of what a peer sends while its request waits.
const EARLY: usize = H1_BUFFER;
/// Bytes an HTTP/2 stream may buffer of what it sends, besides the shared pieces.
const H2_SEND_BUFFER: usize = 256 * 1024;

/// Serves `stream` until it ends; its failures are the peer's and worth a debug line only.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    pulse: Arc<Pulse>,
    worker: Arc<Worker>,
    tls: Option<TlsProvider>,
    stop: CancellationToken,
) {
    // Parts are small and urgent, and a failure to say so only makes them late.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, Arc::clone(&pulse));
    let visitor = Visitor::new(worker, pulse, peer);
    // The rarer ways are boxed, so that the many plain connections stay small.
    let ended = match tls {
        Some(provider) => Box::pin(secure(socket, visitor, provider, stop)).await,
        None => clear(Rewind::new(socket), visitor, stop).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a viewer's connection ended");
    }
}

/// How a connection ended badly.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

async fn clear(mut socket: Rewind<Socket>, visitor: Visitor, stop: CancellationToken) -> Result<(), Ended> {
    if socket.begins_with(HTTP2_BEGINNING).await? {
        Box::pin(multiplexed(socket, visitor, stop)).await
    } else {
        sequential(socket, visitor).await
    }
}

async fn secure(socket: Socket, visitor: Visitor, provider: TlsProvider, stop: CancellationToken) -> Result<(), Ended> {
    let stream = TlsAcceptor::from(provider()).accept(socket).await?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        multiplexed(stream, visitor, stop).await
    } else {
        sequential(Rewind::new(stream), visitor).await
    }
}

/// Serves HTTP/1.1: plain requests here, the connection from the first other one on by hyper. So a reader that waits
/// holds its request and a place at a gate, and no buffer.
async fn sequential<T>(mut io: Rewind<T>, visitor: Visitor) -> Result<(), Ended>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let answer = match poll_fn(|cx| io.poll_take(cx, |bytes| visitor.take(bytes))).await? {
            None => return Ok(()),
            Some(None) => return hyper1(io, visitor).await,
            Some(Some(Outcome::Answer(answer))) => answer,
            Some(Some(Outcome::Parked(parked))) => match wait(&mut io, &visitor, parked).await {
                None => return Ok(()),
                Some(answer) => answer,
            },
        };
        if !reply::write(&mut io, answer).await? {
            return Ok(io.shutdown().await?);
        }
    }
}

/// Waits for the answer to a parked request; `None` if the peer leaves before.
async fn wait<T: AsyncRead + Unpin>(io: &mut Rewind<T>, visitor: &Visitor, parked: Parked) -> Option<Answer> {
    let mut waiting = Box::pin(parked.wait(visitor.worker()));
    let answered = poll_fn(|cx| match waiting.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => io.poll_left(cx, EARLY).map(|()| None),
    });
    answered.await
}

/// Serves the rest of an HTTP/1.1 connection with requests of any kind.
async fn hyper1<T>(io: Rewind<T>, visitor: Visitor) -> Result<(), Ended>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Boxed, so that the many plain connections stay small.
    Ok(Box::pin(http1(visitor.config()).serve_connection(TokioIo::new(io), visitor.clone())).await?)
}

fn http1(limits: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(true)
        .half_close(false)
        .writev(true)
        // The worker's rounds keep this time for all connections at once.
        .header_read_timeout(None)
        .max_header_size(limits.max_head_bytes)
        .max_headers(limits.max_headers)
        .max_buf_size(H1_BUFFER);
    builder
}

async fn multiplexed(
    io: impl AsyncRead + AsyncWrite + Unpin,
    visitor: Visitor,
    stop: CancellationToken,
) -> Result<(), Ended> {
    visitor.set_multiplexed();
    let limits = visitor.config();
    let head = u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX);
    let streams = limits.max_h2_streams;
    let pulse = visitor.pulse();
    let (io, cork) = Cork::pair(io);
    let connection = http2::Builder::new(Attempting)
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(head)
        .max_send_buf_size(H2_SEND_BUFFER)
        .serve_connection(TokioIo::new(io), visitor);
    tokio::pin!(connection);
    let mut stopping = pin!(stop.cancelled());
    let mut told = false;
    poll_fn(|cx| {
        loop {
            if !told && (pulse.is_used_up() || stopping.as_mut().poll(cx).is_ready()) {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            return match connection.as_mut().poll(cx) {
                Poll::Ready(ended) => Poll::Ready(ended.map_err(Ended::from)),
                // Its first request has just come.
                Poll::Pending if !told && pulse.is_used_up() => continue,
                // Answers that could not go out are waited for by the cork, on behalf of this task.
                Poll::Pending => match cork.poll_pull(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                },
            };
        }
    })
    .await
}

/// Runs the streams of an HTTP/2 connection: those that are answered at once within the connection's own task, and each
/// that has to wait in a task of its own.
#[derive(Clone, Debug)]
struct Attempting;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Attempting {
    fn execute(&self, stream: F) {
        let mut stream = Box::pin(stream);
        // Whatever waits is polled again in its task, so no wake-up is lost with this waker.
        if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(stream);
        }
    }
}
