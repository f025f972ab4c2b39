//! Counters of ingest as a whole. Each [`FrameSink`](crate::FrameSink) counts the media of its own stream.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::authorize::Refusal;

/// Counters of all listeners.
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

/// Number of refused connections, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalCounts {
    /// Exceeded a limit of connections.
    pub full: u64,
    /// Violated the protocol.
    pub protocol: u64,
    /// Did not ask to publish in time, or stalled.
    pub timeout: u64,
    /// Presented an unknown stream key.
    pub unknown_key: u64,
    /// Presented the key of a disabled live stream.
    pub disabled: u64,
    /// Arrived when the program could not accept a stream.
    pub unavailable: u64,
    /// Connected by SRT without the passphrase, or with a wrong one.
    pub passphrase: u64,
    /// Retried by SRT too soon after such failures.
    pub throttled: u64,
    /// Connected by SRT with a stream id that contains no key or asks to play.
    pub not_publishing: u64,
    /// Sent only unsupported media.
    pub unsupported: u64,
    /// Sent bytes for a while, but no frame.
    pub no_media: u64,
    /// Exceeded the highest bit rate.
    pub bitrate: u64,
    /// Arrived when the memory for media was full, or used the most of it at that time.
    pub memory: u64,
}

impl Stats {
    /// Returns the number of accepted connections since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Returns the number of open connections.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Returns the number of received bytes since the start.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Returns the number of refused connections since the start.
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
