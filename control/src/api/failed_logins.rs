//! Delays for clients that guess the secrets of access tokens, by the address that the guesses come from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use media::backoff::{Backoff, FREE_FAILURES, network};
use parking_lot::Mutex;

/// Most addresses that are remembered at once. At this bound, the older half of the failures is forgotten.
const MAX_ADDRESSES: usize = 65_536;

/// The failed logins of each address ([`network`]: each /64 of IPv6).
#[derive(Debug, Default)]
pub(crate) struct FailedLogins(Mutex<HashMap<IpAddr, Backoff>>);

impl FailedLogins {
    /// Returns how long `from` must wait before its next attempt is evaluated; `None` if it need not wait.
    ///
    /// Even the right secret is refused until then. Otherwise the response would reveal that a guess was right.
    pub(crate) fn wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let left = self.0.lock().get(&network(from))?.left(now);
        Some(left).filter(|left| !left.is_zero())
    }

    /// Records a wrong secret.
    pub(crate) fn failed(&self, from: IpAddr, now: Instant) {
        let address = network(from);
        let mut table = self.0.lock();
        make_room(&mut table);
        let backoff = table.entry(address).or_default();
        backoff.failed(now);
        if backoff.failures() == FREE_FAILURES {
            tracing::warn!(%address, "repeated wrong access tokens: this address has to wait between attempts");
        }
    }

    /// Records a right secret, which forgets the earlier failures of `from`.
    pub(crate) fn succeeded(&self, from: IpAddr) {
        self.0.lock().remove(&network(from));
    }
}

fn make_room(table: &mut HashMap<IpAddr, Backoff>) {
    if table.len() < MAX_ADDRESSES {
        return;
    }
    let mut failures: Vec<_> = table.values().filter_map(Backoff::last_failure).collect();
    failures.sort_unstable();
    let Some(median) = failures.get(failures.len() / 2).copied() else { return };
    table.retain(|_, backoff| backoff.last_failure().is_some_and(|at| at > median));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_with_failures_waits() {
        let (logins, now) = (FailedLogins::default(), Instant::now());
        let [bad, good] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        for _ in 0..FREE_FAILURES {
            assert_eq!(logins.wait(bad, now), None);
            logins.failed(bad, now);
        }
        let wait = logins.wait(bad, now).unwrap();
        assert_eq!(logins.wait(good, now), None);
        assert_eq!(logins.wait(bad, now + wait), None);
        logins.succeeded(bad);
        assert_eq!(logins.wait(bad, now), None);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_failures_remain() {
        let (logins, now) = (FailedLogins::default(), Instant::now());
        for n in 0..(MAX_ADDRESSES as u32 + 10) {
            logins.failed(IpAddr::from(n.to_be_bytes()), now + Duration::from_millis(n.into()));
        }
        let table = logins.0.lock();
        assert!(table.len() <= MAX_ADDRESSES);
        assert!(table.contains_key(&IpAddr::from((MAX_ADDRESSES as u32 + 9).to_be_bytes())));
    }
}
