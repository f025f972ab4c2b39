//! Counters of ingest as a whole; what a single stream sends is counted by its sink.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::authorize::Refusal;

/// What happened at the listeners.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) protocol: AtomicU64,
    pub(crate) timeout: AtomicU64,
    pub(crate) unknown_key: AtomicU64,
    pub(crate) disabled: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    pub(crate) passphrase: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) not_publishing: AtomicU64,
    pub(crate) unsupported: AtomicU64,
    pub(crate) no_media: AtomicU64,
    pub(crate) bitrate: AtomicU64,
    pub(crate) memory: AtomicU64,
}

/// How many connections were turned away, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalCounts {
    /// Over a limit of connections.
    pub full: u64,
    /// Broke the protocol.
    pub protocol: u64,
    /// Did not ask to publish in time, or fell silent.
    pub timeout: u64,
    /// Came with an unknown stream key.
    pub unknown_key: u64,
    /// Came for a disabled live stream.
    pub disabled: u64,
    /// Came when the program could not take a stream.
    pub unavailable: u64,
    /// Came by SRT without the passphrase, or with a wrong one.
    pub passphrase: u64,
    /// Tried again by SRT too soon after such failures.
    pub throttled: u64,
    /// Came by SRT with a stream id that names no key or asks to play.
    pub not_publishing: u64,
    /// Sent only what cannot be carried.
    pub unsupported: u64,
    /// Sent bytes for a while, and no frame.
    pub no_media: u64,
    /// Sent more than the highest bit rate.
    pub bitrate: u64,
    /// Came when the memory for media was full, or held the most of it then.
    pub memory: u64,
}

impl Stats {
    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Bytes received since the start.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Connections turned away since the start.
    pub fn refusals(&self) -> RefusalCounts {
        RefusalCounts {
            full: self.full.load(Relaxed),
            protocol: self.protocol.load(Relaxed),
            timeout: self.timeout.load(Relaxed),
            unknown_key: self.unknown_key.load(Relaxed),
            disabled: self.disabled.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            passphrase: self.passphrase.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            not_publishing: self.not_publishing.load(Relaxed),
            unsupported: self.unsupported.load(Relaxed),
            no_media: self.no_media.load(Relaxed),
            bitrate: self.bitrate.load(Relaxed),
            memory: self.memory.load(Relaxed),
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::UnknownKey => &self.unknown_key,
            Refusal::Disabled => &self.disabled,
            Refusal::Unavailable => &self.unavailable,
            Refusal::Memory => &self.memory,
        };
        counter.fetch_add(1, Relaxed);
    }
}
