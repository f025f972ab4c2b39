//! Statistics of a connection.

use std::time::Duration;

use crate::ffi::SrtStats;

/// Statistics of a [`Connection`](crate::Connection). Counts are since it was established; packets are those with media.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Stats {
    /// Round-trip time, smoothed.
    pub round_trip: Duration,
    /// The latency of received media that both sides agreed on.
    pub latency: Duration,
    /// Received media that waits for its time of delivery.
    pub buffered: Duration,
    /// Bits per second received since the last call, retransmissions included.
    pub receive_rate: u64,
    /// Bits per second sent since the last call.
    pub send_rate: u64,
    /// Capacity of the link in bits per second, as estimated from pairs of packets.
    pub capacity: u64,
    /// Packets received.
    pub packets: u64,
    /// Packets that were missing when they were due to arrive.
    pub lost: u64,
    /// Packets received as retransmissions.
    pub retransmitted: u64,
    /// Packets dropped because they had not arrived when their media was due.
    pub dropped: u64,
    /// Packets that could not be decrypted.
    pub undecrypted: u64,
}

impl Stats {
    /// Converts what libsrt returns. `retransmitted` is the sum over all calls, because libsrt counts since the last
    /// one.
    pub(crate) fn new(stats: &SrtStats, retransmitted: u64) -> Self {
        Self {
            round_trip: round_trip(stats),
            latency: Duration::from_millis(count(stats.latency_millis)),
            buffered: Duration::from_millis(count(stats.buffered_millis)),
            receive_rate: bits(stats.receive_megabits),
            send_rate: bits(stats.send_megabits),
            capacity: bits(stats.capacity_megabits),
            packets: count(stats.received),
            lost: count(stats.lost),
            retransmitted,
            dropped: count(stats.dropped),
            undecrypted: count(stats.undecrypted),
        }
    }
}

/// Returns the smoothed round-trip time.
pub(crate) fn round_trip(stats: &SrtStats) -> Duration {
    Duration::try_from_secs_f64(stats.round_trip_millis / 1e3).unwrap_or_default()
}

/// Converts a counter of libsrt, which is negative only by a mistake of libsrt's.
pub(crate) fn count(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(0)
}

fn bits(megabits: f64) -> u64 {
    (megabits * 1e6) as u64
}
