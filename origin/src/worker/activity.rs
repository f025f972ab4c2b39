//! Activity of connections, and the timeouts that follow from it.
//!
//! No connection has a timer. A [`ConnectionActivity`] records, on its worker's coarse clock, since when the connection
//! has been idle, stalled, or without a complete head. Once per step, the worker's [`ConnectionTracker`] checks all of
//! them and closes those past a timeout. Everything is recorded on the worker's own thread.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::config::Config;
use crate::stats::{Counters, add};
use crate::worker::wait::Waker;

/// Step of the clock that stands for no time.
const UNSET: u32 = u32::MAX;

/// Current state of a connection. Times are steps of the worker's coarse clock.
#[derive(Debug)]
pub(crate) struct ConnectionActivity {
    /// Waker of the worker, which keeps the coarse clock.
    waker: Arc<Waker>,
    counters: Arc<Counters>,
    /// Guards of requests whose answers are not completely handed to the socket.
    in_flight: AtomicU32,
    /// Time since which no request is in flight; meaningless while one is.
    idle_since: AtomicU32,
    /// Time of the first byte of a request whose head is not complete, or of the accept; [`UNSET`] otherwise.
    head_since: AtomicU32,
    /// Time since which the socket accepts no byte; [`UNSET`] while it does.
    stalled_since: AtomicU32,
    /// Guards of answers with bytes left to hand to the socket.
    sending: AtomicU32,
    /// Time of the last byte of an answer that was handed to the socket, or of the start of the first pending answer.
    /// Other HTTP/2 frames do not count, because a peer that reads no answer can still ask for them with PING.
    last_progress: AtomicU32,
    /// Whether the connection is beyond [`Config::max_connections`] and holds a spare permit. Playback is refused on
    /// it, and it is closed after one request.
    has_spare_permit: bool,
    /// True once a request has arrived.
    had_request: AtomicBool,
    /// HTTP/2: bytes between requests are normal, and the time of a head means nothing.
    multiplexed: AtomicBool,
}

impl ConnectionActivity {
    pub(crate) fn new(waker: Arc<Waker>, counters: Arc<Counters>, has_spare_permit: bool) -> Arc<Self> {
        let now = waker.now();
        add(&counters.connections, 1);
        add(&counters.accepted, 1);
        Arc::new(Self {
            waker,
            counters,
            has_spare_permit,
            had_request: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            idle_since: AtomicU32::new(now),
            head_since: AtomicU32::new(now),
            stalled_since: AtomicU32::new(UNSET),
            sending: AtomicU32::new(0),
            last_progress: AtomicU32::new(now),
            multiplexed: AtomicBool::new(false),
        })
    }

    /// Returns true if the connection holds a spare permit instead of a viewer's permit.
    pub(crate) fn has_spare_permit(&self) -> bool {
        self.has_spare_permit
    }

    /// Records that a request arrived.
    pub(crate) fn note_request(&self) {
        self.had_request.store(true, Ordering::Relaxed);
    }

    /// Returns true if the connection must be closed because it holds a spare permit and has had a request.
    pub(crate) fn is_used_up(&self) -> bool {
        self.has_spare_permit && self.had_request.load(Ordering::Relaxed)
    }

    fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// Returns true if no request is in flight and no byte waits to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && self.is_flushed()
    }

    /// Returns true if the socket has accepted the last write.
    pub(crate) fn is_flushed(&self) -> bool {
        self.stalled_since.load(Ordering::Relaxed) == UNSET
    }

    /// Returns true if the peer has accepted no byte for `limit` steps although there are bytes to send.
    fn is_stalled(&self, now: u32, limit: u32) -> bool {
        // An HTTP/2 peer can also stall by granting no flow-control window. The socket is never full then.
        let no_window = self.is_multiplexed() && self.sending.load(Ordering::Relaxed) > 0;
        has_passed(&self.stalled_since, now, limit) || (no_window && has_passed(&self.last_progress, now, limit))
    }

    /// Records that the connection speaks HTTP/2.
    pub(crate) fn set_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
        self.head_since.store(UNSET, Ordering::Relaxed);
    }

    /// Records that `n` bytes arrived. The first one while no request is in flight begins a head.
    pub(crate) fn note_received(&self, n: usize) {
        add(&self.counters.bytes_received, n as u64);
        let between_requests = self.in_flight.load(Ordering::Relaxed) == 0 && !self.is_multiplexed();
        if between_requests && self.head_since.load(Ordering::Relaxed) == UNSET {
            self.head_since.store(self.waker.now(), Ordering::Relaxed);
        }
    }

    /// Records the result of a write to the socket.
    pub(crate) fn note_write(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(n)) => {
                add(&self.counters.bytes_sent, *n as u64);
                self.stalled_since.store(UNSET, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if self.stalled_since.load(Ordering::Relaxed) == UNSET => {
                self.stalled_since.store(self.waker.now(), Ordering::Relaxed);
            }
            Poll::Pending => {}
        }
    }
}

/// Returns true if `since` is `limit` steps ago or more.
fn has_passed(since: &AtomicU32, now: u32, limit: u32) -> bool {
    match since.load(Ordering::Relaxed) {
        UNSET => false,
        since => now.saturating_sub(since) >= limit,
    }
}

impl Drop for ConnectionActivity {
    fn drop(&mut self) {
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request in flight. Its connection is not idle before the guard is dropped.
#[derive(Debug)]
pub(crate) struct RequestGuard {
    activity: Arc<ConnectionActivity>,
    sending: bool,
}

impl RequestGuard {
    pub(crate) fn new(activity: &Arc<ConnectionActivity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.head_since.store(UNSET, Ordering::Relaxed);
        Self { activity: Arc::clone(activity), sending: false }
    }

    /// Records that the answer begins to be sent.
    pub(crate) fn sending(mut self) -> Self {
        if self.activity.sending.fetch_add(1, Ordering::Relaxed) == 0 {
            self.note_progress();
        }
        self.sending = true;
        self
    }

    /// Returns another guard of the same request.
    pub(crate) fn share(&self) -> Self {
        Self::new(&self.activity)
    }

    /// Records that bytes of the answer were handed to the socket.
    pub(crate) fn note_progress(&self) {
        self.activity.last_progress.store(self.activity.waker.now(), Ordering::Relaxed);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if self.sending {
            self.activity.sending.fetch_sub(1, Ordering::Relaxed);
        }
        if self.activity.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.activity.idle_since.store(self.activity.waker.now(), Ordering::Relaxed);
        }
    }
}

/// Timeouts of a connection, in steps of the clock.
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
    /// Returns the idle timeout. A connection with a spare permit has the shorter of the head and the idle timeout,
    /// because spare permits are few.
    fn idle_limit(&self, activity: &ConnectionActivity) -> u32 {
        if activity.has_spare_permit { self.head.min(self.idle) } else { self.idle }
    }
}

/// Connections of one worker. Bounded by the server's permits, plus the connections that ended since the last step.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTracker {
    connections: Mutex<Vec<(Weak<ConnectionActivity>, AbortHandle)>>,
}

impl ConnectionTracker {
    pub(crate) fn track(&self, activity: &Arc<ConnectionActivity>, task: AbortHandle) {
        self.connections.lock().push((Arc::downgrade(activity), task));
    }

    /// Closes the connections that have exceeded a timeout.
    pub(crate) fn close_timed_out(&self, now: u32, limits: Limits, counters: &Counters) {
        self.connections.lock().retain(|(activity, task)| {
            let Some(activity) = activity.upgrade() else { return false };
            if activity.is_stalled(now, limits.stall) {
                add(&counters.stall_closes, 1);
                tracing::debug!("a reader accepted no byte for too long; closing its connection");
            } else if activity.is_idle()
                && (has_passed(&activity.head_since, now, limits.head)
                    || has_passed(&activity.idle_since, now, limits.idle_limit(&activity)))
            {
                add(&counters.timeout_closes, 1);
            } else {
                return true;
            }
            task.abort();
            false
        });
    }

    /// Closes the connections that have neither a request in flight nor unsent bytes.
    pub(crate) fn close_idle(&self) {
        self.connections.lock().retain(|(activity, task)| {
            let Some(activity) = activity.upgrade() else { return false };
            // HTTP/2 connections are closed by their own graceful shutdown.
            if activity.is_idle() && !activity.is_multiplexed() {
                task.abort();
                return false;
            }
            true
        });
    }

    /// Closes all remaining connections.
    pub(crate) fn close_all(&self) {
        self.connections.lock().drain(..).for_each(|(_, task)| task.abort());
    }
}
