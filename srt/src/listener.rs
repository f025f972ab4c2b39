//! Listeners, and the callers that they accept.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::Connection;
use crate::error::Error;
use crate::ffi::{self, CallError, Handshake, HandshakeHook, SocketId};
use crate::passphrase::Passphrase;
use crate::socket::{Socket, millis};

/// Oldest version of libsrt that sends a stream id.
const OLDEST_PEER: i32 = 0x01_03_00;

/// Options of a [`Listener`].
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// Lowest latency; the caller may ask for more.
    pub latency: Duration,
    /// Accepted callers that wait for [`Acceptor::accept`]; libsrt refuses more.
    pub backlog: i32,
}

impl Handshake<'_> {
    /// Requires that the caller encrypts with this passphrase, which libsrt checks after [`HandshakeHook::ask`].
    pub fn set_passphrase(&self, passphrase: &Passphrase) -> Result<(), CallError> {
        ffi::set(self.socket, ffi::OPT_PASSPHRASE, passphrase.reveal().as_bytes())
    }
}

/// A listener. Dropping it closes it, and ends [`Acceptor::accept`].
#[derive(Debug)]
pub struct Listener(Socket);

impl Listener {
    /// Listens on a bound UDP socket. `hook` answers each [`Handshake`].
    pub fn new(udp: UdpSocket, options: ListenerOptions, hook: Arc<dyn HandshakeHook>) -> Result<Self, Error> {
        let socket = Socket::new()?;
        let id = socket.0;
        if udp.local_addr()?.is_ipv6() {
            ffi::set_bool(id, ffi::OPT_IPV6ONLY, false)?;
        }
        ffi::set_int(id, ffi::OPT_RCVLATENCY, millis(options.latency))?;
        ffi::set_int(id, ffi::OPT_VERSION_MIN, OLDEST_PEER)?;
        ffi::bind(id, udp)?;
        ffi::listen(id, options.backlog, hook)?;
        Ok(Self(socket))
    }

    /// Returns the [`Acceptor`], with which a thread waits for callers.
    pub const fn acceptor(&self) -> Acceptor {
        Acceptor(self.0.0)
    }
}

/// Waits for the callers of a [`Listener`], which it does not keep open.
#[derive(Clone, Copy, Debug)]
pub struct Acceptor(SocketId);

impl Acceptor {
    /// Returns the next accepted caller; blocks the thread until there is one. Returns `None` once the [`Listener`] is
    /// closed.
    pub fn accept(&self) -> Result<Option<Incoming>, CallError> {
        match ffi::accept(self.0) {
            Ok(id) => Ok(Some(Incoming(Socket(id)))),
            Err(_) if ffi::state(self.0) != ffi::STATE_LISTENING => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A caller that was accepted. Dropping it closes its connection.
#[derive(Debug)]
pub struct Incoming(Socket);

impl Incoming {
    /// Returns the number of the socket, which [`Handshake::socket`] was.
    pub const fn id(&self) -> SocketId {
        self.0.0
    }

    /// Opens the [`Connection`]. Fails if it is over already.
    pub fn open(self) -> Result<Connection, CallError> {
        self.0.set_nonblocking()?;
        Ok(Connection::new(self.0))
    }
}
