//! The life signs of a connection, and the socket that takes them.
//!
//! No connection has a timer. Each notes on its worker's coarse clock since when it waits for what, and once a step the
//! worker looks at all of them and closes the dead. All notes are taken on the worker's own thread.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::gate::Pump;
use crate::stats::{Counters, add};

/// A head and a playlist up to this go out by one plain write of a copy, which is cheaper than a vectored one.
const SMALL: usize = 4_096;
/// A note that is not taken.
const UNSET: u32 = u32::MAX;

/// What a connection waits for, and since which step of the clock.
#[derive(Debug)]
pub(crate) struct Pulse {
    pump: Arc<Pump>,
    counters: Arc<Counters>,
    /// Requests whose answers are not handed over to the socket yet.
    busy: AtomicU32,
    /// Since when there is no request.
    idle: AtomicU32,
    /// When the first byte of a request, or the connection, came.
    head: AtomicU32,
    /// Since when the peer takes no byte.
    stalled: AtomicU32,
    /// Answers with bytes left to hand over.
    sending: AtomicU32,
    /// When the last byte went out, or a first answer began to.
    sent: AtomicU32,
    /// Beyond the bound of viewers: playback is refused here.
    spare: bool,
    /// A request has come.
    asked: AtomicBool,
    /// HTTP/2, where bytes outside requests are usual and a head's time says nothing.
    multiplexed: AtomicBool,
}

impl Pulse {
    pub(crate) fn new(pump: Arc<Pump>, counters: Arc<Counters>, spare: bool) -> Arc<Self> {
        let now = pump.now();
        add(&counters.connections, 1);
        add(&counters.accepted, 1);
        Arc::new(Self {
            pump,
            counters,
            spare,
            asked: AtomicBool::new(false),
            busy: AtomicU32::new(0),
            idle: AtomicU32::new(now),
            head: AtomicU32::new(now),
            stalled: AtomicU32::new(UNSET),
            sending: AtomicU32::new(0),
            sent: AtomicU32::new(now),
            multiplexed: AtomicBool::new(false),
        })
    }

    /// True if the connection has a place that is not a viewer's.
    pub(crate) fn is_spare(&self) -> bool {
        self.spare
    }

    /// Takes note of a request.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// True if the connection has to be given back: its place is not a viewer's, and it has had a request.
    pub(crate) fn is_used_up(&self) -> bool {
        self.spare && self.asked.load(Ordering::Relaxed)
    }

    fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// True if nothing is asked, and nothing waits to go out.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0 && self.is_flushed()
    }

    /// True if all that was written went out.
    pub(crate) fn is_flushed(&self) -> bool {
        self.stalled.load(Ordering::Relaxed) == UNSET
    }

    /// True if the peer took no byte for `limit` steps, though there were some for it.
    fn is_stalled(&self, now: u32, limit: u32) -> bool {
        // An HTTP/2 peer may stall by giving no window, and then the socket is never full.
        let starved = self.is_multiplexed() && self.sending.load(Ordering::Relaxed) > 0;
        past(&self.stalled, now, limit) || (starved && past(&self.sent, now, limit))
    }

    pub(crate) fn set_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
        self.head.store(UNSET, Ordering::Relaxed);
    }

    fn took_bytes(&self, n: usize) {
        add(&self.counters.bytes_received, n as u64);
        let between = self.busy.load(Ordering::Relaxed) == 0 && !self.is_multiplexed();
        if between && self.head.load(Ordering::Relaxed) == UNSET {
            self.head.store(self.pump.now(), Ordering::Relaxed);
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(n)) => {
                add(&self.counters.bytes_sent, *n as u64);
                self.stalled.store(UNSET, Ordering::Relaxed);
                self.sent.store(self.pump.now(), Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if self.stalled.load(Ordering::Relaxed) == UNSET => {
                self.stalled.store(self.pump.now(), Ordering::Relaxed);
            }
            Poll::Pending => {}
        }
    }
}

/// True if the note `since` was taken `limit` steps ago or more.
fn past(since: &AtomicU32, now: u32, limit: u32) -> bool {
    match since.load(Ordering::Relaxed) {
        UNSET => false,
        since => now.saturating_sub(since) >= limit,
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request under way; its connection is not idle for as long as this lives.
#[derive(Debug)]
pub(crate) struct InFlight {
    pulse: Arc<Pulse>,
    sending: bool,
}

impl InFlight {
    pub(crate) fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.busy.fetch_add(1, Ordering::Relaxed);
        pulse.head.store(UNSET, Ordering::Relaxed);
        Self { pulse: Arc::clone(pulse), sending: false }
    }

    /// Its answer begins to go out.
    pub(crate) fn sending(mut self) -> Self {
        if self.pulse.sending.fetch_add(1, Ordering::Relaxed) == 0 {
            self.pulse.sent.store(self.pulse.pump.now(), Ordering::Relaxed);
        }
        self.sending = true;
        self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.sending {
            self.pulse.sending.fetch_sub(1, Ordering::Relaxed);
        }
        if self.pulse.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.pulse.idle.store(self.pulse.pump.now(), Ordering::Relaxed);
        }
    }
}

/// A socket that keeps the notes of its connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl Socket {
    pub(crate) const fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let n = buf.filled().len().saturating_sub(before);
        if n > 0 {
            this.pulse.took_bytes(n);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.pulse.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut flat = [0; SMALL];
        let result = match gather(bufs, &mut flat) {
            Some(text) => Pin::new(&mut self.stream).poll_write(cx, text),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.pulse.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The timeouts of a connection in steps of the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    head: u32,
    idle: u32,
    stall: u32,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            head: config.ticks(config.header_timeout),
            idle: config.ticks(config.idle_timeout),
            stall: config.ticks(config.write_stall),
        }
    }
}

impl Limits {
    /// A spare place is not kept for somebody who asks nothing.
    fn idle_of(&self, pulse: &Pulse) -> u32 {
        if pulse.spare { self.head.min(self.idle) } else { self.idle }
    }
}

/// The connections of one worker. Bounded by the server's permits, plus those that ended since the last step.
#[derive(Debug, Default)]
pub(crate) struct Ward {
    connections: Mutex<Vec<(Weak<Pulse>, AbortHandle)>>,
}

impl Ward {
    pub(crate) fn admit(&self, pulse: &Arc<Pulse>, task: AbortHandle) {
        self.connections.lock().push((Arc::downgrade(pulse), task));
    }

    /// Closes the connections that are past a limit.
    pub(crate) fn round(&self, now: u32, limits: Limits, counters: &Counters) {
        self.connections.lock().retain(|(pulse, task)| {
            let Some(pulse) = pulse.upgrade() else { return false };
            if pulse.is_stalled(now, limits.stall) {
                add(&counters.stall_closes, 1);
                tracing::debug!("a reader took no byte for too long, its connection is closed");
            } else if pulse.is_idle()
                && (past(&pulse.head, now, limits.head) || past(&pulse.idle, now, limits.idle_of(&pulse)))
            {
                add(&counters.timeout_closes, 1);
            } else {
                return true;
            }
            task.abort();
            false
        });
    }

    /// Closes the connections with nothing under way.
    pub(crate) fn dismiss_idle(&self) {
        self.connections.lock().retain(|(pulse, task)| {
            let Some(pulse) = pulse.upgrade() else { return false };
            // HTTP/2 says farewell by itself.
            if pulse.is_idle() && !pulse.is_multiplexed() {
                task.abort();
                return false;
            }
            true
        });
    }

    /// Closes all that are left.
    pub(crate) fn dismiss_all(&self) {
        self.connections.lock().drain(..).for_each(|(_, task)| task.abort());
    }
}

/// All of `bufs` in `room`, if it fits.
fn gather<'a>(bufs: &[IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut filled = 0;
    for buf in bufs {
        room.get_mut(filled..filled + buf.len())?.copy_from_slice(buf);
        filled += buf.len();
    }
    room.get(..filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_is_gathered() {
        let bufs = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(gather(&bufs, &mut [0; 5]), Some(&b"abcde"[..]));
        assert_eq!(gather(&bufs, &mut [0; 4]), None);
    }
}
