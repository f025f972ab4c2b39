//! Wait points: where readers wait for media that is not there yet.
//!
//! A [`WaitPoint`] belongs to one awaited position of one broadcast on one worker. All readers of that worker that
//! await the position subscribe to it. The writer of a broadcast only hands satisfied wait points to their [`Waker`]s,
//! whatever the number of readers. Each waker then wakes its readers on their own thread, where a wake-up is a push on
//! a local queue. The wait point keeps the deadline on the waker's coarse clock, so a waiting reader has no timer.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Deadline of a [`WaitPoint`] without readers, in steps of the coarse clock.
const NEVER: u32 = u32::MAX;

/// Readers of one worker that wait for the same position.
#[derive(Debug)]
pub(crate) struct WaitPoint {
    notify: Arc<Notify>,
    /// Earliest deadline of the readers, in steps of the [`Waker`]'s coarse clock.
    deadline: AtomicU32,
}

impl WaitPoint {
    /// Subscribes a reader. From this call on, the subscription misses no wake-up.
    pub(crate) fn subscribe(&self, deadline: u32) -> OwnedNotified {
        let subscription = Arc::clone(&self.notify).notified_owned();
        self.deadline.fetch_min(deadline, Ordering::Relaxed);
        subscription
    }

    fn wake(&self) {
        self.deadline.store(NEVER, Ordering::Relaxed);
        self.notify.notify_waiters();
    }
}

/// Wakes the readers of one worker on that worker's thread, and keeps its coarse clock.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    /// Wait points whose readers [`Waker::run`] wakes next.
    ready: Mutex<Vec<Arc<WaitPoint>>>,
    /// Signal that `ready` has a new wait point.
    signal: Notify,
    /// All wait points of this worker that may have readers. Bounded by the positions that may be asked for.
    wait_points: Mutex<Vec<Weak<WaitPoint>>>,
    /// Number of steps that the coarse clock has made.
    now: AtomicU32,
    stopping: AtomicBool,
}

impl Waker {
    /// Creates a wait point of this worker.
    pub(crate) fn new_wait_point(&self) -> Arc<WaitPoint> {
        let point = Arc::new(WaitPoint { notify: Arc::default(), deadline: AtomicU32::new(NEVER) });
        self.wait_points.lock().push(Arc::downgrade(&point));
        point
    }

    /// Schedules the wake-up of the readers at `point`. Called by the writer of a broadcast.
    pub(crate) fn wake_soon(&self, point: Arc<WaitPoint>) {
        self.ready.lock().push(point);
        self.signal.notify_one();
    }

    /// Wakes the readers of scheduled wait points, for as long as the worker runs.
    pub(crate) async fn run(&self) {
        loop {
            self.signal.notified().await;
            let ready = std::mem::take(&mut *self.ready.lock());
            ready.iter().for_each(|point| point.wake());
        }
    }

    /// Returns the number of steps that the worker's clock has made.
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Advances the clock by one step, and wakes the readers of each wait point whose earliest deadline has passed.
    /// Readers with a later deadline subscribe again.
    pub(crate) fn tick(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.wait_points.lock().retain(|point| {
            let Some(point) = point.upgrade() else { return false };
            if point.deadline.load(Ordering::Relaxed) <= now {
                point.wake();
            }
            true
        });
    }

    /// Returns true once the worker stops. No reader may wait after that.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Wakes all readers for the last time.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let wait_points: Vec<_> = self.wait_points.lock().iter().filter_map(Weak::upgrade).collect();
        wait_points.iter().for_each(|point| point.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_satisfied_wait_point_wakes_all_subscribers() {
        let waker = Arc::new(Waker::default());
        let point = waker.new_wait_point();
        let subscriptions: Vec<_> = (0..3).map(|_| point.subscribe(NEVER)).collect();
        let runner = tokio::spawn({
            let waker = Arc::clone(&waker);
            async move { waker.run().await }
        });
        waker.wake_soon(point);
        for subscription in subscriptions {
            subscription.await;
        }
        runner.abort();
    }

    #[tokio::test]
    async fn the_clock_wakes_at_the_earliest_deadline() {
        let waker = Waker::default();
        let point = waker.new_wait_point();
        let (late, early) = (point.subscribe(9), point.subscribe(2));
        tokio::pin!(late);
        waker.tick();
        assert!(futures_util::poll!(&mut late).is_pending());
        waker.tick();
        early.await;
        late.await;
    }

    #[tokio::test]
    async fn a_stop_wakes_readers_and_a_dropped_wait_point_is_forgotten() {
        let waker = Waker::default();
        let point = waker.new_wait_point();
        let subscription = point.subscribe(NEVER);
        drop(waker.new_wait_point());
        waker.stop();
        subscription.await;
        assert!(waker.is_stopping());
        waker.tick();
        assert_eq!(waker.wait_points.lock().len(), 1);
    }
}
