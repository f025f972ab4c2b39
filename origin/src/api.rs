//! Interfaces that the program around the server implements, and the types they exchange.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use hyper::body::Incoming;

/// Error of a [`FallbackBody`].
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Body of a response from a [`Fallback`].
pub type FallbackBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Returns the TLS configuration for the next connection, so that a renewed certificate needs no restart. The configuration
/// must offer [`ALPN_PROTOCOLS`]; otherwise every connection speaks HTTP/1.1.
pub type TlsProvider = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

/// Protocols to offer in a TLS handshake (ALPN), the preferred one first.
pub const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Answers every request that is neither for playback nor for the watch page: the API, metrics, health.
///
/// The future runs on the single-threaded runtime of a playback worker. It must not block, and longer work belongs on
/// another runtime. Requests carry a [`PeerAddress`] extension.
pub trait Fallback: Send + Sync + 'static {
    /// Answers `request`.
    fn call(&self, request: http::Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>>;
}

impl<F> Fallback for F
where
    F: Fn(http::Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> + Send + Sync + 'static,
{
    fn call(&self, request: http::Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> {
        self(request)
    }
}

/// Address of the client that sent a request to the [`Fallback`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress(pub SocketAddr);
