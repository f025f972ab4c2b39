//! Settings of the server, each with the effect of reaching its bound.

use std::time::Duration;

/// Shortest step of the workers' coarse clock.
const MIN_TICK: Duration = Duration::from_millis(20);
/// Longest step of the workers' coarse clock.
const MAX_TICK: Duration = Duration::from_millis(500);

/// Settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct Config {
    /// Number of serving threads, each with its own runtime.
    pub workers: usize,
    /// Maximum of open viewer connections over all workers. Beyond it, playback on a further connection is refused with
    /// 503.
    pub max_connections: usize,
    /// Connections beyond [`max_connections`](Self::max_connections), so that the [`Fallback`](crate::Fallback) stays
    /// reachable however many viewers there are. Beyond them, a new connection waits in the kernel's queue.
    pub spare_connections: usize,
    /// Time limit for the request line and headers, and for the TLS handshake. The connection is closed after it.
    pub header_timeout: Duration,
    /// Time after which a connection without a request is closed.
    pub idle_timeout: Duration,
    /// Time after which a connection is closed because its peer accepts no byte of an answer.
    pub write_stall: Duration,
    /// Maximum size of a request line with its headers, in bytes. A larger one gets 431.
    pub max_head_bytes: usize,
    /// Maximum number of header fields in a request. A request with more gets 431.
    pub max_headers: usize,
    /// Maximum number of concurrent streams on an HTTP/2 connection. The peer must not open more.
    pub max_h2_streams: u32,
    /// Time that the first request of a broadcast waits for a whole segment. The answer after it is 503.
    pub first_answer: Duration,
    /// Time that answers in flight get to finish after the server stops. Their connections are closed after it.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_connections: 65_536,
            spare_connections: 64,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_stall: Duration::from_secs(10),
            max_head_bytes: 16 * 1024,
            max_headers: 64,
            max_h2_streams: 128,
            first_answer: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Returns the step of the coarse clock, which is fine enough for the shortest of the timeouts.
    pub(crate) fn tick(&self) -> Duration {
        let shortest = self.header_timeout.min(self.idle_timeout).min(self.write_stall).min(self.first_answer);
        (shortest / 4).clamp(MIN_TICK, MAX_TICK)
    }

    /// Converts `duration` to steps of the coarse clock, rounded up. One step is added because the current one counts
    /// for nothing.
    pub(crate) fn ticks(&self, duration: Duration) -> u32 {
        let steps = duration.as_nanos().div_ceil(self.tick().as_nanos());
        u32::try_from(steps).unwrap_or(u32::MAX - 1).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_follows_the_shortest_timeout() {
        let config = Config { write_stall: Duration::from_millis(200), ..Config::default() };
        assert_eq!(config.tick(), Duration::from_millis(50));
        assert_eq!(config.ticks(Duration::from_millis(200)), 5);
        assert_eq!(config.ticks(Duration::MAX), u32::MAX);
        assert_eq!(Config { write_stall: Duration::ZERO, ..config }.tick(), MIN_TICK);
    }
}
