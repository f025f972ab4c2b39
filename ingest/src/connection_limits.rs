//! Admission before the first byte: the number of connections, and the wait of an address after failures.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::backoff::{Backoff, network};
use parking_lot::Mutex;

/// Most addresses remembered. Above it, those without a connection are forgotten, the oldest failures first.
const MAX_ADDRESSES: usize = 65_536;

/// Most encoder connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections in all; a further one is closed at once.
    pub connections: usize,
    /// Most connections from one address (one /64 of IPv6); a further one is closed at once.
    pub per_address: usize,
}

/// Counts connections and failures by address, within its [`Limits`].
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    limits: Limits,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    addresses: HashMap<IpAddr, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    open: usize,
    backoff: Backoff,
}

/// An admitted connection. Dropping it frees its slot in [`ConnectionLimits`].
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<ConnectionLimits>,
    address: IpAddr,
}

/// Reason why [`ConnectionLimits::enter`] refused a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    Server,
    Address,
}

impl ConnectionLimits {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default() })
    }

    /// Admits a connection from `ip`, if the limits allow one more.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Permit, Full> {
        let address = network(ip);
        let mut table = self.table.lock();
        if table.open >= self.limits.connections {
            return Err(Full::Server);
        }
        table.make_room();
        let entry = table.addresses.entry(address).or_default();
        if entry.open >= self.limits.per_address {
            return Err(Full::Address);
        }
        entry.open += 1;
        table.open += 1;
        Ok(Permit { limits: Arc::clone(self), address })
    }
}

impl Permit {
    /// Returns how long this address waits for an answer because of earlier failures.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let table = self.limits.table.lock();
        table.addresses.get(&self.address).map_or(Duration::ZERO, |entry| entry.backoff.wait(now))
    }

    /// Records a failed attempt.
    pub(crate) fn failed(&self, now: Instant) {
        if let Some(entry) = self.limits.table.lock().addresses.get_mut(&self.address) {
            entry.backoff.failed(now);
        }
    }

    /// Records a successful attempt, which clears earlier failures.
    pub(crate) fn succeeded(&self) {
        if let Some(entry) = self.limits.table.lock().addresses.get_mut(&self.address) {
            entry.backoff = Backoff::default();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = self.limits.table.lock();
        table.open = table.open.saturating_sub(1);
        if let Some(entry) = table.addresses.get_mut(&self.address) {
            entry.open = entry.open.saturating_sub(1);
            if entry.open == 0 && entry.backoff.failures() == 0 {
                table.addresses.remove(&self.address);
            }
        }
    }
}

impl Table {
    /// Keeps the table within [`MAX_ADDRESSES`] by forgetting the older half of the addresses without a connection.
    fn make_room(&mut self) {
        if self.addresses.len() < MAX_ADDRESSES {
            return;
        }
        let mut idle: Vec<_> =
            self.addresses.values().filter(|e| e.open == 0).filter_map(|e| e.backoff.last_failure()).collect();
        idle.sort_unstable();
        let Some(median) = idle.get(idle.len() / 2).copied() else { return };
        self.addresses.retain(|_, e| e.open > 0 || e.backoff.last_failure().is_some_and(|at| at > median));
    }
}

#[cfg(test)]
mod tests {
    use media::backoff::{FIRST_WAIT, FORGIVE_AFTER, MAX_WAIT};

    use super::*;

    fn connection_limits(connections: usize, per_address: usize) -> Arc<ConnectionLimits> {
        ConnectionLimits::new(Limits { connections, per_address })
    }

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let limits = connection_limits(3, 2);
        let a = limits.enter(ip(1)).unwrap();
        let _b = limits.enter(ip(1)).unwrap();
        assert_eq!(limits.enter(ip(1)).unwrap_err(), Full::Address);
        let _c = limits.enter(ip(2)).unwrap();
        assert_eq!(limits.enter(ip(3)).unwrap_err(), Full::Server);
        drop(a);
        assert!(limits.enter(ip(1)).is_ok());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let limits = connection_limits(9, 1);
        let _a = limits.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(limits.enter("2001:db8::2".parse().unwrap()).unwrap_err(), Full::Address);
        assert!(limits.enter("2001:db8:0:1::2".parse().unwrap()).is_ok());
    }

    #[test]
    fn failures_make_an_address_wait_and_are_forgiven() {
        let limits = connection_limits(9, 9);
        let permit = limits.enter(ip(1)).unwrap();
        let now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(permit.wait(now));
            permit.failed(now);
        }
        assert_eq!(waits[..4], [Duration::ZERO, Duration::ZERO, Duration::ZERO, FIRST_WAIT]);
        assert_eq!(waits[9], MAX_WAIT);
        assert_eq!(limits.enter(ip(2)).unwrap().wait(now), Duration::ZERO);
        assert_eq!(permit.wait(now + FORGIVE_AFTER), Duration::ZERO);
        permit.succeeded();
        assert_eq!(permit.wait(now), Duration::ZERO);
    }

    #[test]
    fn memory_is_bounded() {
        let limits = connection_limits(9, 9);
        let now = Instant::now();
        for n in 0..(MAX_ADDRESSES as u32 + 10) {
            let permit = limits.enter(IpAddr::from(n.to_be_bytes())).unwrap();
            permit.failed(now + Duration::from_millis(n.into()));
        }
        assert!(limits.table.lock().addresses.len() <= MAX_ADDRESSES);
    }
}
