//! Limits of contributions: a bit rate for each ([`RateCeiling`]), and memory for all of them together
//! ([`MemoryBudget`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

/// Seconds of the highest rate that may arrive at once, as from an encoder whose connection was interrupted for a
/// moment.
const BURST_SECS: u64 = 10;

/// Limit on the bit rate of one contribution.
#[derive(Debug)]
pub(crate) struct RateCeiling {
    bytes_per_second: f64,
    left: f64,
    newest: Instant,
}

impl RateCeiling {
    pub(crate) fn new(bits_per_second: u64, now: Instant) -> Self {
        let bytes_per_second = bits_per_second as f64 / 8.0;
        Self { bytes_per_second, left: bytes_per_second * BURST_SECS as f64, newest: now }
    }

    /// Accounts for received bytes; returns false if they exceed the limit.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.newest).as_secs_f64() * self.bytes_per_second;
        self.newest = now;
        self.left = (self.left + gained).min(self.bytes_per_second * BURST_SECS as f64) - bytes as f64;
        self.left >= 0.0
    }
}

/// Memory that all contributions may use together, media kept for viewers included.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    ceiling: u64,
    shares: Mutex<Vec<Arc<AtomicU64>>>,
}

/// Part of the [`MemoryBudget`] that one contribution uses; returned when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<MemoryBudget>,
    bytes: Arc<AtomicU64>,
}

impl MemoryBudget {
    pub(crate) fn new(ceiling: u64) -> Arc<Self> {
        Arc::new(Self { ceiling, shares: Mutex::default() })
    }

    /// Returns the [`Share`] of a new contribution; `None` if the memory is used up.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Share> {
        let mut shares = self.shares.lock();
        if total(&shares) >= self.ceiling {
            return None;
        }
        let bytes = Arc::<AtomicU64>::default();
        shares.push(Arc::clone(&bytes));
        Some(Share { budget: Arc::clone(self), bytes })
    }
}

fn total(shares: &[Arc<AtomicU64>]) -> u64 {
    shares.iter().fold(0, |sum, share| sum.saturating_add(share.load(Relaxed)))
}

impl Share {
    /// Records how much the contribution uses. Returns false if the total is too high and no other contribution uses
    /// more than this one, so that the others do not suffer for it.
    pub(crate) fn hold(&self, bytes: u64) -> bool {
        self.bytes.store(bytes, Relaxed);
        let shares = self.budget.shares.lock();
        let largest = shares.iter().all(|share| share.load(Relaxed) <= bytes);
        !largest || total(&shares) <= self.budget.ceiling
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.shares.lock().retain(|share| !Arc::ptr_eq(share, &self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_above_the_ceiling_is_found_and_a_burst_is_not() {
        let start = Instant::now();
        let mut ceiling = RateCeiling::new(8_000, start);
        assert!(ceiling.take(10_000, start), "ten seconds at once");
        assert!(!ceiling.take(1, start));
        let mut ceiling = RateCeiling::new(8_000, start);
        let second = |n: u64| start + Duration::from_secs(n);
        assert!((1..1_000).all(|n| ceiling.take(1_000, second(n))), "the rate itself may last");
        let over = (1_000..2_000).find(|n| !ceiling.take(1_100, second(*n)));
        assert_eq!(over, Some(1_090), "a tenth more lasts for a while");
    }

    #[test]
    fn at_the_ceiling_no_contribution_is_added_and_the_largest_is_closed() {
        let budget = MemoryBudget::new(100);
        let (a, b) = (budget.open().unwrap(), budget.open().unwrap());
        assert!(a.hold(40) && b.hold(60));
        assert!(budget.open().is_none());
        assert!(a.hold(50), "not the largest");
        assert!(!b.hold(61));
        drop(b);
        assert!(a.hold(100));
        assert!(budget.open().is_none());
        assert!(a.hold(99));
        assert!(budget.open().is_some());
    }
}
