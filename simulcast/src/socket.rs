//! Sockets to RTMP targets: TCP and TLS.

use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::debug;
use wire::rtmp::client::Address;

use crate::config::Config;
use crate::failure::Failure;
use crate::resolve::resolve;

/// Most bytes that the kernel takes and has not sent. More would only delay the moment at which the queue notices a slow
/// target.
const MAX_UNSENT: u32 = 128 * 1_024;
/// Number of TCP keepalive probes to a silent target within [`Timeouts::write`](crate::config::Timeouts::write).
const PROBES: u32 = 3;

/// A connected socket, with or without TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Resolves the name once, checks every address, and connects to the first allowed address that accepts.
pub(crate) async fn dial(address: &Address, config: &Config) -> Result<TcpStream, Failure> {
    let (limit, mut failure) = (config.timeouts.connect, Failure::NoAddress);
    for address in resolve(&address.host, address.port, config).await? {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                configure(&stream, config.timeouts.write);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = Failure::Connect(error),
            Err(_) => failure = Failure::ConnectTimeout,
        }
    }
    Err(failure)
}

/// Sets the options of the socket. A failure is harmless, because the timeouts of this crate remain.
fn configure(stream: &TcpStream, idle: Duration) {
    // With Nagle's algorithm, the end of each frame would wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time((idle / 2).max(Duration::from_secs(1)))
        .with_interval((idle / 2 / PROBES).max(Duration::from_secs(1)))
        .with_retries(PROBES);
    let socket = SockRef::from(stream);
    let set = socket
        .set_tcp_keepalive(&keepalive)
        .and_then(|()| socket.set_tcp_user_timeout(Some(idle)))
        .and_then(|()| socket.set_tcp_notsent_lowat(MAX_UNSENT));
    if let Err(error) = set {
        debug!(%error, "an option of a target's socket cannot be set");
    }
}

/// Adds TLS to the connection. The certificate must be valid for the name of the target.
pub(crate) async fn encrypt(
    stream: TcpStream,
    address: &Address,
    config: &Config,
) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(address.host.clone()).map_err(|_| Failure::TlsName)?;
    TlsConnector::from(config.tls.clone()).connect(name, stream).await.map_err(Failure::Tls)
}
