//! The writer: the one task that writes to the store, with the queue before it.
//!
//! Transitions of the lifecycle are queued, because a broadcast lives from memory and never waits for a disk. They are written
//! in order, before and after the edits that came between them. An edit waits for its own write, because what was
//! acknowledged must be durable; while the store is down it is refused at once.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::id::LiveStreamId;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;
use crate::lifecycle::State;
use crate::secret::Keyring;
use crate::store::queue::{Ack, Item, Queue, Work};
use crate::store::{Store, Write};

/// Edits that wait for the disk; more are refused.
const MAX_EDITS: usize = 1_000;
/// How often the database file is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often an idle store is tried, so that its failure is known before something has to be written.
const PROBE: Duration = Duration::from_secs(10);
/// How often a store that failed is tried.
const RETRY: Duration = Duration::from_secs(1);
/// A write that takes longer is a failure of the disk, until it returns.
const SLOW: Duration = Duration::from_secs(5);

/// How the store is.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// What is wrong with it; none while it takes writes.
    pub fault: Option<String>,
    /// Transitions of live streams that are not written yet.
    pub queued: usize,
    /// How often it failed since the start.
    pub failures: u64,
    /// When the fault began.
    since: Option<Instant>,
}

/// The handle of the writer. Dropped, it lets the task write what is queued and end.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    _guard: DropGuard,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    status: watch::Sender<StoreStatus>,
}

impl Writer {
    /// Takes the store over.
    pub(crate) fn start(store: Store, keyring: Keyring) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Notify::new(),
            status: watch::Sender::new(StoreStatus::default()),
        });
        let closing = CancellationToken::new();
        let task = Task { shared: shared.clone(), store, keyring, wrote: Instant::now() };
        let task = tokio::spawn(task.run(closing.clone()));
        Self { shared, closing: closing.clone(), task: Mutex::new(Some(task)), _guard: closing.drop_guard() }
    }

    /// Queues the state that a live stream is in now.
    pub(crate) fn transition(&self, id: &LiveStreamId, state: &State) {
        let queue = &mut *self.shared.queue.lock();
        queue.push(Item::Transition(id.clone(), state.clone()));
        let queued = queue.transitions();
        self.shared.status.send_modify(|status| status.queued = queued);
        self.shared.wake.notify_one();
    }

    /// Writes an edit, behind what was queued before it.
    pub(crate) async fn write(&self, write: Write) -> Result<(), Error> {
        self.available()?;
        let (ack, written) = oneshot::channel();
        {
            let queue = &mut *self.shared.queue.lock();
            if queue.edits() >= MAX_EDITS {
                return Err(Error::Unavailable("too many changes wait for the disk".to_owned()));
            }
            queue.push(Item::Edit(write, ack));
            self.shared.wake.notify_one();
        }
        written.await.unwrap_or(Err(Error::ShuttingDown))
    }

    /// Refuses while the store is known to fail.
    pub(crate) fn available(&self) -> Result<(), Error> {
        match &self.shared.status.borrow().fault {
            Some(fault) => Err(Error::Unavailable(fault.clone())),
            None => Ok(()),
        }
    }

    /// How the store is.
    pub(crate) fn status(&self) -> StoreStatus {
        self.shared.status.borrow().clone()
    }

    /// Waits until no transition is queued any more, or the store fails.
    pub(crate) async fn settled(&self) {
        let settled = |status: &StoreStatus| status.queued == 0 || status.fault.is_some();
        // It ends when the writer does, and then there is nothing to wait for.
        let _ = self.shared.status.subscribe().wait_for(settled).await;
    }

    /// Writes what is queued, if the store takes it, and closes the store.
    pub(crate) async fn finish(&self) {
        self.closing.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // One that panicked has told of it.
            let _ = task.await;
        }
    }
}

/// What the task works with.
struct Task {
    shared: Arc<Shared>,
    store: Store,
    keyring: Keyring,
    /// The last write that succeeded.
    wrote: Instant,
}

impl Task {
    async fn run(mut self, closing: CancellationToken) {
        while !closing.is_cancelled() {
            let down = self.shared.is_down();
            tokio::select! {
                () = self.shared.wake.notified(), if !down => {}
                () = tokio::time::sleep(if down { RETRY } else { LOOK }) => {}
                () = closing.cancelled() => break,
            }
            self.turn().await;
        }
        // The last attempt, even if it failed a moment ago.
        self.turn().await;
        if let left @ 1.. = self.shared.status.borrow().queued {
            tracing::warn!(transitions = left, "the store does not have the last transitions of live streams");
        }
        self.store.close().await;
    }

    /// Writes all that is queued, or finds out whether something could be written.
    async fn turn(&mut self) {
        let mut idle = true;
        loop {
            let work = self.shared.queue.lock().next();
            let done = match work {
                Some(Work::States(states, last)) => self.write_states(&states, last).await,
                Some(Work::Edit(write, ack)) => self.write_edit(&write, ack).await,
                None if idle => self.look().await,
                None => return,
            };
            match done {
                Ok(true) => self.succeeded(),
                Ok(false) => return,
                Err(fault) => return self.failed(fault),
            }
            idle = false;
        }
    }

    async fn write_states(&mut self, states: &[(LiveStreamId, State)], last: u64) -> Result<bool, String> {
        let written = patiently(&self.shared, SLOW, self.store.write_states(states)).await;
        if let Err(error) = written {
            match error.store_fault() {
                Some(fault) => return Err(fault),
                // It would fail again and hold up all others.
                None => tracing::error!(%error, "transitions of live streams could not be stored"),
            }
        }
        let queue = &mut *self.shared.queue.lock();
        queue.forget_until(last);
        let queued = queue.transitions();
        self.shared.status.send_modify(|status| status.queued = queued);
        Ok(true)
    }

    async fn write_edit(&mut self, write: &Write, ack: Ack) -> Result<bool, String> {
        let written = patiently(&self.shared, SLOW, self.store.write(write, &self.keyring)).await;
        let fault = written.as_ref().err().and_then(Error::store_fault);
        // Nobody may be waiting any more.
        let _ = ack.send(match &fault {
            Some(fault) => Err(Error::Unavailable(fault.clone())),
            None => written,
        });
        fault.map_or(Ok(true), Err)
    }

    /// Tries the store where that is due; gives whether it was.
    async fn look(&mut self) -> Result<bool, String> {
        let due = self.shared.is_down() || self.wrote.elapsed() >= PROBE;
        let looked = async { if due { self.store.probe().await } else { self.store.file().check().await } };
        match patiently(&self.shared, SLOW, looked).await {
            Ok(()) => Ok(due),
            Err(error) => Err(error.store_fault().unwrap_or_else(|| error.to_string())),
        }
    }

    fn succeeded(&mut self) {
        self.wrote = Instant::now();
        self.shared.recover();
    }

    fn failed(&mut self, fault: String) {
        for ack in self.shared.queue.lock().take_edits() {
            // Nobody may be waiting any more.
            let _ = ack.send(Err(Error::Unavailable(fault.clone())));
        }
        self.shared.fail(fault);
    }
}

impl Shared {
    fn is_down(&self) -> bool {
        self.status.borrow().fault.is_some()
    }

    /// Makes a failure known; its beginning is told once.
    fn fail(&self, reason: String) {
        let mut begins = false;
        self.status.send_modify(|status| {
            begins = status.fault.replace(reason.clone()).is_none();
            status.failures += u64::from(begins);
            status.since.get_or_insert_with(Instant::now);
        });
        if begins {
            tracing::error!(
                reason,
                "the store fails: live streams go on from memory, changes of settings are refused until it is back"
            );
        }
    }

    /// Makes known that the store takes writes, if it did not; told once as well.
    fn recover(&self) {
        let mut since = None;
        self.status.send_if_modified(|status| {
            since = status.since.take();
            status.fault.take().is_some()
        });
        if let Some(seconds) = since.map(|since| since.elapsed().as_secs()) {
            tracing::info!(
                seconds,
                "the store takes writes again: transitions of live streams are written, settings can be changed"
            );
        }
    }
}

/// Waits for the disk, however long it takes, and makes known that it takes too long.
async fn patiently<T>(shared: &Shared, limit: Duration, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match timeout(limit, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            shared.fail("the disk does not answer".to_owned());
            work.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_known_before_it_does() {
        let status = watch::Sender::new(StoreStatus::default());
        let mut seen = status.subscribe();
        let shared = Shared { queue: Mutex::default(), wake: Notify::new(), status };
        // A write that returns when everyone knows that it does not.
        let write = async { seen.wait_for(|status| status.fault.is_some()).await.unwrap().fault.clone() };
        assert_eq!(patiently(&shared, Duration::ZERO, write).await.as_deref(), Some("the disk does not answer"));
        assert!(shared.is_down());
        shared.recover();
        let status = shared.status.borrow();
        assert_eq!((status.fault.as_deref(), status.failures), (None, 1));
    }
}
