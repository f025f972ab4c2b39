//! Delays between the attempts to reach a target.

use std::time::Duration;

use crate::config::Retry;

/// Consecutive failures of a target.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Records a failed attempt, and returns the delay of the next one.
    ///
    /// The delay starts over at [`Retry::first`] if the attempt was `healthy_for` at least [`Retry::healthy_after`].
    /// `jitter` takes off up to half of the delay, so that the targets of one server are not dialled all at once.
    pub(crate) fn failed(&mut self, retry: &Retry, healthy_for: Duration, jitter: u32) -> Duration {
        if healthy_for >= retry.healthy_after {
            self.failures = 0;
        }
        let whole = retry.first.saturating_mul(1 << self.failures.min(16)).min(retry.max);
        self.failures = self.failures.saturating_add(1);
        whole.saturating_sub((whole / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry =
        Retry { first: Duration::from_secs(1), max: Duration::from_secs(60), healthy_after: Duration::from_secs(60) };

    #[test]
    fn each_failure_doubles_the_delay_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..40).map(|_| backoff.failed(&RETRY, Duration::ZERO, 0).as_secs()).collect();
        assert_eq!(delays[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(delays[39], 60);
    }

    #[test]
    fn a_minute_of_health_starts_over() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed(&RETRY, Duration::from_secs(59), 0);
        }
        assert_eq!(backoff.failed(&RETRY, Duration::from_secs(60), 0), Duration::from_secs(1));
        assert_eq!(backoff.failed(&RETRY, Duration::ZERO, 0), Duration::from_secs(2));
    }

    #[test]
    fn jitter_takes_off_up_to_half() {
        let delay = |jitter| Backoff::default().failed(&RETRY, Duration::ZERO, jitter).as_millis();
        assert_eq!((delay(0), delay(u32::MAX), delay(u32::MAX / 2)), (1_000, 500, 750));
    }
}
