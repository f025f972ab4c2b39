//! An SRT connection, as caller or as listener, without blocking a thread.
//!
//! libsrt delivers packets one by one when their time comes, and its own way to wait for several sockets is a loop that
//! wakes up all the time. Each receiver polls instead, 25 times a second, and takes everything that is due at once.
//! That costs fewer wake-ups than there are packets, and no queue is needed in between. A connection that does not poll
//! delays no other: libsrt fills its receive buffer and then drops packets. A sender need not wait at all as long as
//! the peer acknowledges what it receives.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::error::Error;
use crate::ffi;
use crate::socket::Socket;
use crate::stats::{self, Stats};

/// Interval at which a connection is polled for media that is due.
///
/// Media is 20 ms late because of it on average, which is little compared to the latency of an SRT link and to a part's
/// duration.
const POLL_INTERVAL: Duration = Duration::from_millis(40);
/// Poll interval while connecting, and while the send buffer is full.
pub(crate) const BUSY_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Poll interval after [`IDLE_AFTER`] without media, as from an encoder that is paused.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Time without media after which a connection counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// Longest message in SRT's live mode: an Ethernet frame.
const MESSAGE: usize = 1_500;
/// Time beyond the latency that a peer has for the delivery, because its estimate of the sender's clock is late by the
/// delay of the handshake.
const DELIVERY_MARGIN: Duration = Duration::from_millis(500);
/// Age of unacknowledged messages above which libsrt drops them when the next one is sent, if the latency is shorter.
const MIN_DROP_AGE: Duration = Duration::from_secs(1);

/// An established connection, from [`Connection::connect`] or from [`Incoming::open`](crate::Incoming::open).
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    /// Whether nothing was left when the connection was last polled.
    drained: bool,
    last_received: Instant,
    retransmitted: u64,
}

impl Connection {
    /// Takes over a connected socket, which must be non-blocking.
    pub(crate) fn new(socket: Socket) -> Self {
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

    /// Sends one message of at most 1 456 bytes; waits while the send buffer is full, which has room for 8 192 messages.
    ///
    /// [`Connection::wait_for_acknowledgements`] waits earlier.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        while ffi::send(self.socket.0, message)?.is_none() {
            sleep(BUSY_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until what is sent next does not exceed what libsrt keeps for retransmission: 1 s or the latency of the
    /// connection, whichever is longer. Beyond that libsrt drops messages.
    ///
    /// A sender with a queue waits here, so that messages wait where it can drop them as it likes. Returns at the end of
    /// the connection too.
    pub async fn wait_for_acknowledgements(&self) -> Result<(), Error> {
        while self.is_open() {
            let (_, millis) = ffi::unacknowledged(self.socket.0)?;
            let age = Duration::from_millis(millis.into());
            if age < MIN_DROP_AGE || age < self.send_latency()? {
                return Ok(());
            }
            sleep(BUSY_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until the peer has acknowledged all messages and has had the time to deliver them, or until the end of the
    /// connection.
    ///
    /// A peer discards what it has not delivered when the connection is closed.
    pub async fn wait_for_delivery(&self) -> Result<(), Error> {
        while self.is_open() && ffi::unacknowledged(self.socket.0)?.0 > 0 {
            sleep(BUSY_POLL_INTERVAL).await;
        }
        sleep(self.send_latency()? + DELIVERY_MARGIN).await;
        Ok(())
    }

    /// Waits until the connection is over. Messages that the peer sends are not received.
    pub async fn wait_for_end(&self) {
        while self.is_open() {
            sleep(IDLE_POLL_INTERVAL).await;
        }
    }

    /// Returns the smoothed round-trip time.
    pub fn round_trip(&self) -> Result<Duration, Error> {
        Ok(stats::round_trip(&ffi::stats(self.socket.0, false)?))
    }

    /// Returns the [`Stats`] of the connection. Rates are since the last call.
    pub fn stats(&mut self) -> Result<Stats, Error> {
        let stats = ffi::stats(self.socket.0, true)?;
        self.retransmitted = self.retransmitted.saturating_add(stats::count(stats.retransmitted));
        Ok(Stats::new(&stats, self.retransmitted))
    }

    fn is_open(&self) -> bool {
        ffi::state(self.socket.0) == ffi::STATE_CONNECTED
    }

    /// Returns the latency of sent media that both sides agreed on.
    fn send_latency(&self) -> Result<Duration, Error> {
        let stats = ffi::stats(self.socket.0, false)?;
        Ok(Duration::from_millis(stats::count(stats.send_latency_millis)))
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
