//! An SRT connection, as caller or as listener, without blocking a thread.
//!
//! libsrt delivers packets one by one when their time comes, and its own way to wait for several sockets is a loop that
//! wakes up all the time. Each contribution polls instead, 25 times a second, and takes everything that is due at once.
//! That costs fewer wake-ups than there are packets, and no queue is needed in between. A connection that does not poll
//! delays no other: libsrt fills its receive buffer and then drops packets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ffi::{self, CallError, Id};
use crate::authorize::{Key, LinkStats, Passphrase};

/// Interval at which a connection is polled for media that is due.
///
/// Media is 20 ms late because of it on average, which is little compared to the latency of an SRT link and to a part's
/// duration.
const POLL_INTERVAL: Duration = Duration::from_millis(40);
/// Poll interval while connecting, and while the send buffer is full.
const BUSY_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Poll interval after [`IDLE_AFTER`] without media, as from an encoder that is paused.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Time without media after which a connection counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// Longest message in SRT's live mode: an Ethernet frame.
const MESSAGE: usize = 1_500;

/// Errors of SRT connections.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call of libsrt failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The UDP socket could not be created.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The listener refused the connection with this reason.
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

/// Options for calling a listener.
#[derive(Clone, Debug)]
pub struct CallerOptions {
    /// The stream id to send: a key, in any of its forms.
    pub stream_id: Key,
    /// Passphrase to encrypt with, if any.
    pub passphrase: Option<Passphrase>,
    /// Length of the encryption key in bits: 128, 192 or 256.
    pub key_bits: u16,
    /// Lowest latency to ask for, in each direction.
    pub latency: Duration,
    /// Longest time for the listener to answer.
    pub timeout: Duration,
}

/// An established connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    /// Whether nothing was left when the connection was last polled.
    drained: bool,
    last_received: Instant,
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
        let mut seen_neither = false;
        // libsrt itself gives up after the timeout.
        loop {
            let (state, reason) = (ffi::state(id), ffi::reject_reason(id));
            match state {
                ffi::STATE_CONNECTED => return Ok(Self::new(socket)),
                ffi::STATE_CONNECTING => {}
                // Between the two states the socket is briefly in neither, without a reason.
                _ if reason == 0 && !seen_neither => seen_neither = true,
                _ => return Err(Error::Refused(reason)),
            }
            sleep(BUSY_POLL_INTERVAL).await;
        }
    }

    /// Takes over a caller that a listener accepted.
    pub(super) fn accepted(id: Id) -> Result<Self, CallError> {
        let socket = Socket(id);
        ffi::set_bool(id, ffi::OPT_RCVSYN, false)?;
        ffi::set_bool(id, ffi::OPT_SNDSYN, false)?;
        Ok(Self::new(socket))
    }

    fn new(socket: Socket) -> Self {
        Self { socket, drained: true, last_received: Instant::now(), retransmitted: 0 }
    }

    /// Waits for messages and appends all that fit to `buffer`; returns their total length, 0 at the end of the
    /// connection.
    ///
    /// Dropping the future loses no messages.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.drained {
                sleep(if self.last_received.elapsed() < IDLE_AFTER { POLL_INTERVAL } else { IDLE_POLL_INTERVAL }).await;
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
            sleep(BUSY_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Returns the statistics of the connection. Rates are since the last call.
    pub fn stats(&mut self) -> Result<LinkStats, Error> {
        let stats = ffi::stats(self.socket.0, true)?;
        self.retransmitted = self.retransmitted.saturating_add(count(stats.retransmitted));
        Ok(LinkStats {
            round_trip: Duration::try_from_secs_f64(stats.round_trip_millis / 1e3).unwrap_or_default(),
            latency: Duration::from_millis(count(stats.latency_millis)),
            buffered: Duration::from_millis(count(stats.buffered_millis)),
            receive_rate: bits(stats.receive_megabits),
            send_rate: bits(stats.send_megabits),
            capacity: bits(stats.capacity_megabits),
            packets: count(stats.received),
            lost: count(stats.lost),
            retransmitted: self.retransmitted,
            dropped: count(stats.dropped),
            undecrypted: count(stats.undecrypted),
            ..LinkStats::default()
        })
    }

    /// Receives the messages that are due; returns their total length and whether more can come.
    fn take(&mut self, buffer: &mut [u8]) -> Result<(usize, bool), Error> {
        let mut taken = 0;
        while let Some(room) = buffer.get_mut(taken..).filter(|room| room.len() >= MESSAGE) {
            let message = if ffi::is_due(self.socket.0) { ffi::receive(self.socket.0, room) } else { Ok(None) };
            match message {
                Ok(Some(bytes)) => taken += bytes,
                Ok(None) => {
                    self.drained = true;
                    self.last_received = if taken > 0 { Instant::now() } else { self.last_received };
                    return Ok((taken, true));
                }
                Err(error) if error.is_lost() => return Ok((taken, false)),
                Err(error) => return Err(error.into()),
            }
        }
        self.drained = false;
        Ok((taken, true))
    }
}

/// Converts a counter of libsrt, which is negative only by a mistake of libsrt's.
fn count(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(0)
}

fn bits(megabits: f64) -> u64 {
    (megabits * 1e6) as u64
}

pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
