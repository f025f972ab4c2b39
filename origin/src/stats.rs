//! Counters of the server, for the metrics.
//!
//! Each worker has its own [`Counters`], so that counting never makes two cores contend.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// Kind of resource that a request asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteKind {
    /// The multivariant playlist.
    Multivariant,
    /// A media playlist.
    Playlist,
    /// An init section.
    Init,
    /// A segment.
    Segment,
    /// A part.
    Part,
    /// The watch page and the files it loads.
    Watch,
    /// A path under the playback routes that names nothing.
    Unknown,
    /// A request for the [`Fallback`](crate::Fallback): the API, metrics, health.
    Fallback,
}

impl RouteKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Multivariant,
        Self::Playlist,
        Self::Init,
        Self::Segment,
        Self::Part,
        Self::Watch,
        Self::Unknown,
        Self::Fallback,
    ];

    /// Returns the name of this kind as a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Multivariant => "multivariant",
            Self::Playlist => "playlist",
            Self::Init => "init",
            Self::Segment => "segment",
            Self::Part => "part",
            Self::Watch => "watch",
            Self::Unknown => "unknown",
            Self::Fallback => "fallback",
        }
    }
}

/// Number of status classes, from 1xx to 5xx.
pub const STATUS_CLASSES: usize = 5;

/// Counters of one worker, written by its thread only.
#[repr(align(128))]
#[derive(Default, Debug)]
pub(crate) struct Counters {
    requests: [[AtomicU64; STATUS_CLASSES]; RouteKind::ALL.len()],
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) blocked: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) stall_closes: AtomicU64,
    pub(crate) timeout_closes: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, kind: RouteKind, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.requests.get(kind as usize).and_then(|classes| classes.get(class)) {
            add(counter, 1);
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Counters of all workers of a [`Server`](crate::Server). Cheap to clone; outlives the server.
#[derive(Clone, Debug)]
pub struct Stats {
    workers: Arc<[Arc<Counters>]>,
}

impl Stats {
    pub(crate) fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Arc::default()).collect() }
    }

    pub(crate) fn workers(&self) -> &[Arc<Counters>] {
        &self.workers
    }

    fn sum(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        // A gauge may be raised and lowered on different workers, so the sum wraps.
        self.workers.iter().fold(0, |sum, worker| sum.wrapping_add(counter(worker).load(Ordering::Relaxed)))
    }

    /// Returns the number of requests of `kind` answered with a status of the given `class` (2 for 2xx).
    pub fn requests(&self, kind: RouteKind, class: usize) -> u64 {
        self.workers
            .iter()
            .filter_map(|worker| worker.requests.get(kind as usize)?.get(class.checked_sub(1)?))
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }

    /// Returns the number of bytes written to sockets, including TLS and HTTP headers.
    pub fn bytes_sent(&self) -> u64 {
        self.sum(|c| &c.bytes_sent)
    }

    /// Returns the number of bytes read from sockets.
    pub fn bytes_received(&self) -> u64 {
        self.sum(|c| &c.bytes_received)
    }

    /// Returns the number of readers that currently wait for a part, a segment or a first playlist.
    pub fn blocked_readers(&self) -> u64 {
        self.sum(|c| &c.blocked)
    }

    /// Returns the number of open connections.
    pub fn open_connections(&self) -> u64 {
        self.sum(|c| &c.connections)
    }

    /// Returns the number of connections accepted since the start.
    pub fn accepted_connections(&self) -> u64 {
        self.sum(|c| &c.accepted)
    }

    /// Returns the number of connections closed because their peer accepted no byte for too long.
    pub fn stall_closes(&self) -> u64 {
        self.sum(|c| &c.stall_closes)
    }

    /// Returns the number of connections closed because no complete request arrived in time.
    pub fn timeout_closes(&self) -> u64 {
        self.sum(|c| &c.timeout_closes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind_and_class() {
        let stats = Stats::new(2);
        for worker in stats.workers() {
            worker.count(RouteKind::Part, StatusCode::OK);
        }
        stats.workers()[0].count(RouteKind::Fallback, StatusCode::NOT_FOUND);
        assert_eq!(stats.requests(RouteKind::Part, 2), 2);
        assert_eq!(stats.requests(RouteKind::Fallback, 4), 1);
        assert_eq!(stats.requests(RouteKind::Part, 0), 0);
        assert_eq!(stats.requests(RouteKind::Part, 9), 0);
    }

    #[test]
    fn labels_differ() {
        let mut labels: Vec<_> = RouteKind::ALL.iter().map(|kind| kind.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), RouteKind::ALL.len());
    }
}
