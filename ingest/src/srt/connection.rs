//! A connection, seen from either side, without blocking a thread.
//!
//! libsrt hands out packets when their time comes, each by itself, and its own way of waiting for several sockets is a
//! loop that wakes up all the time. A contribution looks for itself instead, 25 times a second, and takes
//! all that has become due at once: that costs fewer wake-ups than packets, and no queue lies in between. Who does not
//! look keeps nobody else waiting: libsrt fills that connection's receive buffer and then drops.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ffi::{self, CallError, Id};
use crate::authorize::{Key, LinkStats, Passphrase};

/// How often a connection is looked at for what is due. Media is 20 ms late by it on average, which is little beside the latency
/// of any SRT link and a part's length.
const LOOK: Duration = Duration::from_millis(40);
/// How often while a connection is made, or has no room for what is to be sent.
const LOOK_AHEAD: Duration = Duration::from_millis(20);
/// How often when nothing came for a while, as from an encoder that is on hold.
const LOOK_IDLE: Duration = Duration::from_millis(100);
/// After how long this is.
const IDLE: Duration = Duration::from_secs(1);
/// The longest message that SRT has in live mode: an Ethernet frame.
const MESSAGE: usize = 1_500;

/// What can go wrong with SRT.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call of libsrt failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The socket for it could not be had.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The listener refused the connection, with its reason.
    #[error("the listener refused the connection: reason {0}")]
    Refused(i32),
}

/// A socket that is closed when dropped.
#[derive(Debug)]
pub(super) struct Socket(pub(super) Id);

impl Socket {
    pub(super) fn new() -> Result<Self, CallError> {
        static STARTED: OnceLock<Result<(), CallError>> = OnceLock::new();
        STARTED.get_or_init(ffi::start).clone()?;
        ffi::create().map(Self)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        ffi::close(self.0);
    }
}

/// How to call a listener.
#[derive(Clone, Debug)]
pub struct CallerOptions {
    /// The stream id as it is sent: a key, in whatever form.
    pub stream_id: Key,
    /// Encrypts with it.
    pub passphrase: Option<Passphrase>,
    /// How long the key is, in bits: 128, 192 or 256.
    pub key_bits: u16,
    /// The least latency to ask for, each way.
    pub latency: Duration,
    /// How long the listener may take to answer.
    pub timeout: Duration,
}

/// An established connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    /// There was nothing more when it was last looked at.
    dry: bool,
    last_heard: Instant,
    retransmitted: u64,
}

impl Connection {
    /// Calls a listener.
    pub async fn connect(to: SocketAddr, options: &CallerOptions) -> Result<Self, Error> {
        let socket = Socket::new()?;
        let id = socket.0;
        ffi::set_bool(id, ffi::OPT_RCVSYN, false)?;
        ffi::set_bool(id, ffi::OPT_SNDSYN, false)?;
        ffi::set_int(id, ffi::OPT_RCVLATENCY, millis(options.latency))?;
        ffi::set_int(id, ffi::OPT_PEERLATENCY, millis(options.latency))?;
        ffi::set_int(id, ffi::OPT_CONNTIMEO, millis(options.timeout))?;
        ffi::set(id, ffi::OPT_STREAMID, options.stream_id.0.as_bytes())?;
        if let Some(passphrase) = &options.passphrase {
            ffi::set(id, ffi::OPT_PASSPHRASE, passphrase.reveal().as_bytes())?;
            ffi::set_int(id, ffi::OPT_PBKEYLEN, i32::from(options.key_bits / 8))?;
        }
        let any: SocketAddr =
            if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        ffi::bind(id, UdpSocket::bind(any)?)?;
        ffi::connect(id, to)?;
        let mut doubted = false;
        // libsrt gives up by itself after the time-out.
        loop {
            let (state, reason) = (ffi::state(id), ffi::reject_reason(id));
            match state {
                ffi::STATE_CONNECTED => return Ok(Self::new(socket)),
                ffi::STATE_CONNECTING => {}
                // For a moment on its way from one to the other it is in neither state, without a reason.
                _ if reason == 0 && !doubted => doubted = true,
                _ => return Err(Error::Refused(reason)),
            }
            sleep(LOOK_AHEAD).await;
        }
    }

    /// Takes over a caller that a listener let in.
    pub(super) fn accepted(id: Id) -> Result<Self, CallError> {
        let socket = Socket(id);
        ffi::set_bool(id, ffi::OPT_RCVSYN, false)?;
        ffi::set_bool(id, ffi::OPT_SNDSYN, false)?;
        Ok(Self::new(socket))
    }

    fn new(socket: Socket) -> Self {
        Self { socket, dry: true, last_heard: Instant::now(), retransmitted: 0 }
    }

    /// Waits for messages and takes all that fit, one behind the other; gives their length, 0 when the connection has
    /// ended. Dropping the future in between loses nothing.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.dry {
                sleep(if self.last_heard.elapsed() < IDLE { LOOK } else { LOOK_IDLE }).await;
            }
            let (taken, more) = self.take(buffer)?;
            if taken > 0 || !more {
                return Ok(taken);
            }
        }
    }

    /// Sends one message of at most 1 456 bytes; waits while the send buffer is full.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        while ffi::send(self.socket.0, message)?.is_none() {
            sleep(LOOK_AHEAD).await;
        }
        Ok(())
    }

    /// How the connection does; the rates are since the last call.
    pub fn figures(&mut self) -> Result<LinkStats, Error> {
        let figures = ffi::figures(self.socket.0, true)?;
        self.retransmitted = self.retransmitted.saturating_add(count(figures.retransmitted));
        Ok(LinkStats {
            round_trip: Duration::try_from_secs_f64(figures.round_trip_millis / 1e3).unwrap_or_default(),
            latency: Duration::from_millis(count(figures.latency_millis)),
            buffered: Duration::from_millis(count(figures.buffered_millis)),
            receive_rate: bits(figures.receive_megabits),
            send_rate: bits(figures.send_megabits),
            capacity: bits(figures.capacity_megabits),
            packets: count(figures.received),
            lost: count(figures.lost),
            retransmitted: self.retransmitted,
            dropped: count(figures.dropped),
            undecrypted: count(figures.undecrypted),
            ..LinkStats::default()
        })
    }

    /// Takes what is due: the bytes, and whether more can come.
    fn take(&mut self, buffer: &mut [u8]) -> Result<(usize, bool), Error> {
        let mut taken = 0;
        while let Some(room) = buffer.get_mut(taken..).filter(|room| room.len() >= MESSAGE) {
            let message = if ffi::is_due(self.socket.0) { ffi::receive(self.socket.0, room) } else { Ok(None) };
            match message {
                Ok(Some(bytes)) => taken += bytes,
                Ok(None) => {
                    self.dry = true;
                    self.last_heard = if taken > 0 { Instant::now() } else { self.last_heard };
                    return Ok((taken, true));
                }
                Err(error) if error.is_lost() => return Ok((taken, false)),
                Err(error) => return Err(error.into()),
            }
        }
        self.dry = false;
        Ok((taken, true))
    }
}

/// The figures are never below zero but for a mistake of libsrt's.
fn count(figure: impl TryInto<u64>) -> u64 {
    figure.try_into().unwrap_or(0)
}

fn bits(megabits: f64) -> u64 {
    (megabits * 1e6) as u64
}

pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
