//! Configuration of all targets of a programme.

use std::sync::Arc;
use std::time::Duration;

use media::TimeDelta;

use crate::address::Policy;

/// Configuration of a [`Simulcast`](crate::Simulcast).
#[derive(Clone, Debug)]
pub struct Config {
    /// Most targets of the programme. [`Simulcast::add`](crate::Simulcast::add) refuses further ones.
    pub max_targets: usize,
    /// Bounds of each target's queue.
    pub queue: QueueLimits,
    /// Time limits of a connection.
    pub timeouts: Timeouts,
    /// Delays between attempts.
    pub retry: Retry,
    /// Addresses that may be dialled.
    pub addresses: Policy,
    /// TLS of `rtmps` targets; see [`tls::client_config`](crate::tls::client_config).
    pub tls: Arc<rustls::ClientConfig>,
}

impl Config {
    /// Creates the default configuration with the given TLS configuration.
    pub fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            max_targets: 6,
            queue: QueueLimits::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            addresses: Policy::default(),
            tls,
        }
    }
}

/// Bounds of a target's queue. At a bound the queue is emptied, and continues with the next key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most bytes of payload. A single frame may be larger.
    pub bytes: usize,
    /// Longest time between the oldest and the newest frame.
    pub duration: TimeDelta,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, duration: TimeDelta::from_secs(10) }
    }
}

/// Time limits of a connection. The attempt fails where one passes, and is repeated after a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution and TCP connection.
    pub connect: Duration,
    /// TLS and RTMP up to the confirmed publication.
    pub handshake: Duration,
    /// Longest time in which the target accepts no byte although there is something to send.
    pub write: Duration,
    /// At the end of the broadcast: the rest of the queue, and after that the closing of the connection.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(15),
            write: Duration::from_secs(10),
            close: Duration::from_secs(3),
        }
    }
}

/// Delays between the attempts to reach a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// First delay; each further failure doubles it.
    pub first: Duration,
    /// Longest delay.
    pub max: Duration,
    /// Time of broadcasting after which the delay starts over.
    pub healthy_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(60), healthy_after: Duration::from_secs(60) }
    }
}
