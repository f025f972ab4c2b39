//! Settings of the server, each with what happens at the bound.

use std::time::Duration;

/// Shortest step of the workers' coarse clock.
const MIN_TICK: Duration = Duration::from_millis(20);
/// Longest step of the workers' coarse clock.
const MAX_TICK: Duration = Duration::from_millis(500);

/// Settings of a [`crate::Server`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that serve, each with a runtime of its own.
    pub workers: usize,
    /// Connections of viewers open at once, over all workers; at the bound playback is refused with 503 on further ones.
    pub max_connections: usize,
    /// Connections beyond those of viewers, so that the fallback is reached however many viewers there are; at the bound
    /// new ones wait in the kernel's queue.
    pub spare_connections: usize,
    /// A request's line and headers, and a TLS handshake, must be complete after this long, or the connection is closed.
    pub header_timeout: Duration,
    /// A connection without a request is closed after this long.
    pub idle_timeout: Duration,
    /// A connection whose peer takes no byte of an answer for this long is closed.
    pub write_stall: Duration,
    /// Bytes of a request's line and headers; beyond, the answer is 431.
    pub max_head_bytes: usize,
    /// Header fields in a request; beyond, the answer is 431.
    pub max_headers: usize,
    /// Streams open at once on an HTTP/2 connection; the peer must not open more.
    pub max_h2_streams: u32,
    /// How long the first answer of a broadcast waits for a whole segment; then 503.
    pub first_answer: Duration,
    /// How long answers in flight may take to finish once the server stops; then their connections are closed.
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
    /// Step of the coarse clock: fine enough for the shortest of the timeouts.
    pub(crate) fn tick(&self) -> Duration {
        let shortest = self.header_timeout.min(self.idle_timeout).min(self.write_stall).min(self.first_answer);
        (shortest / 4).clamp(MIN_TICK, MAX_TICK)
    }

    /// `duration` in steps of the coarse clock, rounded up, and one more because the step under way counts for nothing.
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
