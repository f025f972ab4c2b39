//! Gates: where readers wait for what is not there yet.
//!
//! A [`Gate`] belongs to one awaited position of one broadcast on one worker; all that worker's readers of the position
//! wait at it. The writer of a broadcast only hands opened gates to their [`Pump`]s, whatever the number of readers;
//! each pump then wakes its readers on their own thread, where a wake-up is a push on a local queue. Deadlines are kept
//! by the gate, on the pump's coarse clock, so a waiting reader has no timer.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// No reader waits with a deadline.
const NEVER: u32 = u32::MAX;

/// Readers of one worker that wait for the same position.
#[derive(Debug)]
pub(crate) struct Gate {
    notify: Arc<Notify>,
    /// The earliest deadline of those who wait.
    deadline: AtomicU32,
}

impl Gate {
    /// Joins those who wait; whoever holds the ticket from here on misses no wake-up.
    pub(crate) fn ticket(&self, deadline: u32) -> OwnedNotified {
        let ticket = Arc::clone(&self.notify).notified_owned();
        self.deadline.fetch_min(deadline, Ordering::Relaxed);
        ticket
    }

    fn wake(&self) {
        self.deadline.store(NEVER, Ordering::Relaxed);
        self.notify.notify_waiters();
    }
}

/// Wakes the readers of one worker, on that worker's thread, and keeps its coarse clock.
#[derive(Debug, Default)]
pub(crate) struct Pump {
    opened: Mutex<Vec<Arc<Gate>>>,
    bell: Notify,
    /// Every gate of this worker that somebody may wait at. Bounded by the positions that may be asked for.
    gates: Mutex<Vec<Weak<Gate>>>,
    now: AtomicU32,
    stopping: AtomicBool,
}

impl Pump {
    /// A new closed gate of this worker.
    pub(crate) fn gate(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate { notify: Arc::default(), deadline: AtomicU32::new(NEVER) });
        self.gates.lock().push(Arc::downgrade(&gate));
        gate
    }

    /// Has the readers at `gate` woken, soon; called by the writer of a broadcast.
    pub(crate) fn open(&self, gate: Arc<Gate>) {
        self.opened.lock().push(gate);
        self.bell.notify_one();
    }

    /// Wakes readers as gates open; runs for as long as the worker.
    pub(crate) async fn run(&self) {
        loop {
            self.bell.notified().await;
            let opened = std::mem::take(&mut *self.opened.lock());
            opened.iter().for_each(|gate| gate.wake());
        }
    }

    /// Steps on the clock of the worker.
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// The clock makes a step: readers past their deadline are woken to see it.
    pub(crate) fn tick(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.gates.lock().retain(|gate| {
            let Some(gate) = gate.upgrade() else { return false };
            if gate.deadline.load(Ordering::Relaxed) <= now {
                gate.wake();
            }
            true
        });
    }

    /// True once the worker stops; nobody may wait any more.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sends everybody who waits home.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let gates: Vec<_> = self.gates.lock().iter().filter_map(Weak::upgrade).collect();
        gates.iter().for_each(|gate| gate.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_gate_wakes_all_who_hold_a_ticket() {
        let pump = Arc::new(Pump::default());
        let gate = pump.gate();
        let tickets: Vec<_> = (0..3).map(|_| gate.ticket(NEVER)).collect();
        let runner = tokio::spawn({
            let pump = Arc::clone(&pump);
            async move { pump.run().await }
        });
        pump.open(gate);
        for ticket in tickets {
            ticket.await;
        }
        runner.abort();
    }

    #[tokio::test]
    async fn the_clock_wakes_at_the_earliest_deadline() {
        let pump = Pump::default();
        let gate = pump.gate();
        let (late, early) = (gate.ticket(9), gate.ticket(2));
        tokio::pin!(late);
        pump.tick();
        assert!(futures_util::poll!(&mut late).is_pending());
        pump.tick();
        early.await;
        late.await;
    }

    #[tokio::test]
    async fn a_stop_wakes_and_a_dropped_gate_is_forgotten() {
        let pump = Pump::default();
        let gate = pump.gate();
        let ticket = gate.ticket(NEVER);
        drop(pump.gate());
        pump.stop();
        ticket.await;
        assert!(pump.stopping());
        pump.tick();
        assert_eq!(pump.gates.lock().len(), 1);
    }
}
