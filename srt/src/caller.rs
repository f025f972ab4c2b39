//! Calls to listeners: [`Connection::connect`].

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::sleep;

use crate::connection::{BUSY_POLL_INTERVAL, Connection};
use crate::error::Error;
use crate::ffi;
use crate::passphrase::Passphrase;
use crate::rejection::Rejection;
use crate::socket::{Socket, millis};

/// Bytes of messages that a listener can send to a caller before the caller receives them. Callers send media, so more
/// would only be memory for a hostile listener.
const RECEIVE_BUFFER: i32 = 64 * 1_472;

/// Options of [`Connection::connect`].
#[derive(Clone)]
pub struct CallerOptions {
    /// The stream id to send, at most 512 bytes; a secret.
    pub stream_id: String,
    /// [`Passphrase`] to encrypt with, if any: 10 to 79 bytes.
    pub passphrase: Option<Passphrase>,
    /// Length of the encryption key in bits: 128, 192 or 256.
    pub key_bits: u16,
    /// Lowest latency to ask for, in each direction; at most 65 535 ms.
    pub latency: Duration,
    /// Longest time for the listener to answer.
    pub timeout: Duration,
}

impl fmt::Debug for CallerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerOptions")
            .field("key_bits", &self.key_bits)
            .field("latency", &self.latency)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Calls a listener. Dropping the future ends the attempt. Fails with [`Error::Refused`] if the listener gave a reason
    /// or no answer.
    ///
    /// The connection has a UDP socket of its own. libsrt runs two threads for each, so a flood of packets to one
    /// connection does not delay the others.
    pub async fn connect(to: SocketAddr, options: &CallerOptions) -> Result<Self, Error> {
        let socket = Socket::new()?;
        let id = socket.0;
        socket.set_nonblocking()?;
        ffi::set_int(id, ffi::OPT_RCVLATENCY, millis(options.latency))?;
        ffi::set_int(id, ffi::OPT_PEERLATENCY, millis(options.latency))?;
        ffi::set_int(id, ffi::OPT_CONNTIMEO, millis(options.timeout))?;
        ffi::set_int(id, ffi::OPT_RCVBUF, RECEIVE_BUFFER)?;
        ffi::set(id, ffi::OPT_STREAMID, options.stream_id.as_bytes())?;
        if let Some(passphrase) = &options.passphrase {
            ffi::set(id, ffi::OPT_PASSPHRASE, passphrase.reveal().as_bytes())?;
            ffi::set_int(id, ffi::OPT_PBKEYLEN, i32::from(options.key_bits / 8))?;
        }
        let any: SocketAddr =
            if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        ffi::bind(id, UdpSocket::bind(any)?)?;
        ffi::connect(id, to)?;
        let mut seen_neither = false;
        // libsrt itself gives up after the timeout.
        loop {
            let (state, reason) = (ffi::state(id), ffi::reject_reason(id));
            match state {
                ffi::STATE_CONNECTED => return Ok(Self::new(socket)),
                ffi::STATE_CONNECTING => {}
                // Between the two states the socket is briefly in neither, without a reason.
                _ if reason == Rejection::UNKNOWN && !seen_neither => seen_neither = true,
                _ => return Err(Error::Refused(reason)),
            }
            sleep(BUSY_POLL_INTERVAL).await;
        }
    }
}
