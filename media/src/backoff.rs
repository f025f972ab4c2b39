//! Delays that grow with each failure, against guessing of secrets: stream keys, passphrases, access tokens.
//!
//! Time is an argument of each call, as everywhere in this crate.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures without a delay: a secret mistyped once or twice.
pub const FREE_FAILURES: u32 = 3;
/// First delay; each further failure doubles it.
pub const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest delay.
pub const MAX_WAIT: Duration = Duration::from_secs(8);
/// Time without a failure after which earlier ones are forgotten.
pub const FORGIVE_AFTER: Duration = Duration::from_secs(60);

/// Consecutive failures, and the delay of the next attempt that follows from them.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    last_failure: Option<Instant>,
}

impl Backoff {
    /// Returns the delay of the next attempt, counted from the last failure.
    pub fn wait(&self, now: Instant) -> Duration {
        if self.forgiven(now) || self.failures < FREE_FAILURES {
            return Duration::ZERO;
        }
        FIRST_WAIT.saturating_mul(1 << (self.failures - FREE_FAILURES).min(16)).min(MAX_WAIT)
    }

    /// Returns the rest of [`Backoff::wait`].
    pub fn left(&self, now: Instant) -> Duration {
        let passed = self.last_failure.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        self.wait(now).saturating_sub(passed)
    }

    /// Returns whether an attempt at this time, which cannot be delayed, comes too early.
    pub fn is_too_soon(&self, now: Instant) -> bool {
        !self.left(now).is_zero()
    }

    /// Records a failed attempt.
    pub fn failed(&mut self, now: Instant) {
        let failures = if self.forgiven(now) { 0 } else { self.failures };
        self.failures = failures.saturating_add(1);
        self.last_failure = Some(now);
    }

    /// Returns the number of consecutive failures; see [`FORGIVE_AFTER`].
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the time of the last failure.
    pub const fn last_failure(&self) -> Option<Instant> {
        self.last_failure
    }

    fn forgiven(&self, now: Instant) -> bool {
        self.last_failure.is_none_or(|at| now.saturating_duration_since(at) >= FORGIVE_AFTER)
    }
}

/// Returns the part of an address that an attacker cannot cheaply change: the IPv4 address, or the /64 of IPv6.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_longest() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(backoff.wait(now));
            backoff.failed(now);
        }
        assert_eq!(waits[..5], [Duration::ZERO, Duration::ZERO, Duration::ZERO, FIRST_WAIT, FIRST_WAIT * 2]);
        assert_eq!(waits[9], MAX_WAIT);
        let later = now + Duration::from_secs(3);
        assert_eq!((backoff.left(later), backoff.is_too_soon(later)), (Duration::from_secs(5), true));
        assert!(!backoff.is_too_soon(now + MAX_WAIT));
        assert_eq!(backoff.wait(now + FORGIVE_AFTER), Duration::ZERO);
        backoff.failed(now + FORGIVE_AFTER);
        assert_eq!(backoff.failures(), 1);
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
