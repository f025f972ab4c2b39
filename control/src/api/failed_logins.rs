//! Slows down whoever guesses the secrets of access tokens, by the address the guesses come from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use media::backoff::{Backoff, FREE_FAILURES, network};
use parking_lot::Mutex;

/// Addresses remembered at once; past it, the older half of the failures is forgotten.
const MAX_ADDRESSES: usize = 65_536;

/// Where a request comes from, as an extension of it. One without is not slowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientAddress(pub IpAddr);

/// The failures of each address (each /64 of IPv6).
#[derive(Debug, Default)]
pub(crate) struct FailedLogins(Mutex<HashMap<IpAddr, Backoff>>);

impl FailedLogins {
    /// Returns how long `from` must wait before its next attempt is looked at; `None` if it need not. Not even the right
    /// secret is let in before, or a guess would show by its answer that it was right.
    pub(crate) fn wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let left = self.0.lock().get(&network(from))?.left(now);
        Some(left).filter(|left| !left.is_zero())
    }

    /// Notes a wrong secret.
    pub(crate) fn failed(&self, from: IpAddr, now: Instant) {
        let address = network(from);
        let mut table = self.0.lock();
        make_room(&mut table);
        let backoff = table.entry(address).or_default();
        backoff.failed(now);
        if backoff.failures() == FREE_FAILURES {
            tracing::warn!(%address, "wrong access tokens again and again: this address has to wait between its attempts");
        }
    }

    /// Notes a right secret: what went before is forgotten.
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
    let Some(cut) = failures.get(failures.len() / 2).copied() else { return };
    table.retain(|_, backoff| backoff.last_failure().is_some_and(|at| at > cut));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_and_the_others_do_not() {
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
    fn memory_is_bounded_and_the_newest_failures_stay() {
        let (logins, now) = (FailedLogins::default(), Instant::now());
        for n in 0..(MAX_ADDRESSES as u32 + 10) {
            logins.failed(IpAddr::from(n.to_be_bytes()), now + Duration::from_millis(n.into()));
        }
        let table = logins.0.lock();
        assert!(table.len() <= MAX_ADDRESSES);
        assert!(table.contains_key(&IpAddr::from((MAX_ADDRESSES as u32 + 9).to_be_bytes())));
    }
}
