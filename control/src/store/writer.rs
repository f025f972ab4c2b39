//! The writer: the only task that writes to the store, with a [`Queue`] before it.
//!
//! Transitions of the lifecycle are queued, because a broadcast runs from memory and never waits for a disk. Edits are
//! queued among them, and everything is written in the order of the queue. The caller of an edit waits until it is
//! written, because an acknowledged edit must be durable. While the store is down, transitions stay in the queue and an
//! edit is refused at once. A panic of the task is a failure that lasts until the restart of the server.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::id::LiveStreamId;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::queue::{Ack, Batch, Item, Queue};
use super::{Store, Write};
use crate::error::Error;
use crate::lifecycle::State;
use crate::secret::Keyring;

/// Most edits that wait for the disk; further edits are refused.
const MAX_EDITS: usize = 1_000;
/// Interval at which the writer checks that the database file exists.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Interval at which an idle store is probed, so that a failure is known before there is something to write.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// Interval at which a failed store is retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time after which an unfinished write is reported as a failure of the store. The write itself goes on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Description of the failure after a panic of the task.
const PANICKED: &str = "a bug has ended the task that writes to the store; restart the server";

/// Health of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// Description of the current failure; `None` while the store accepts writes.
    pub fault: Option<String>,
    /// Number of transitions of live streams that are not written yet.
    pub queued: usize,
    /// Number of failures since the start.
    pub failures: u64,
    /// Time at which the current failure began.
    since: Option<Instant>,
}

/// The handle of the writer. When it is dropped, the task writes what is queued and ends.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    _guard: DropGuard,
}

/// State that [`Writer`] and [`WriterTask`] share.
struct Shared {
    queue: Mutex<Queue>,
    /// Signal that the queue has a new item.
    wake: Notify,
    status: watch::Sender<StoreStatus>,
}

impl Writer {
    /// Starts the task, which owns the store from then on.
    pub(crate) fn start(store: Store, keyring: Keyring) -> Self {
        Self::spawn(|shared, closing| WriterTask { shared, store, keyring, last_write: Instant::now() }.run(closing))
    }

    /// Runs `task`, and reports its panic as a failure of the store.
    fn spawn<F>(task: impl FnOnce(Arc<Shared>, CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Notify::new(),
            status: watch::Sender::new(StoreStatus::default()),
        });
        let closing = CancellationToken::new();
        let running = tokio::spawn(task(shared.clone(), closing.clone()));
        let supervised = tokio::spawn({
            let shared = shared.clone();
            async move {
                if running.await.is_err_and(|error| error.is_panic()) {
                    shared.panicked();
                }
            }
        });
        Self { shared, closing: closing.clone(), task: Mutex::new(Some(supervised)), _guard: closing.drop_guard() }
    }

    /// Queues the new state of a live stream.
    pub(crate) fn transition(&self, id: &LiveStreamId, state: &State) {
        let queue = &mut *self.shared.queue.lock();
        queue.push(Item::Transition(id.clone(), state.clone()));
        let queued = queue.transitions();
        self.shared.status.send_modify(|status| status.queued = queued);
        self.shared.wake.notify_one();
    }

    /// Writes an edit, after everything that was queued before it.
    pub(crate) async fn write(&self, write: Write) -> Result<(), Error> {
        let (ack, written) = oneshot::channel();
        {
            let queue = &mut *self.shared.queue.lock();
            // Under the lock, so that no edit enters the queue after [`Shared::panicked`] has emptied it.
            if let Some(fault) = &self.shared.status.borrow().fault {
                return Err(Error::Unavailable(fault.clone()));
            }
            if queue.edits() >= MAX_EDITS {
                return Err(Error::Unavailable("too many changes wait for the disk".to_owned()));
            }
            queue.push(Item::Edit(write, ack));
            self.shared.wake.notify_one();
        }
        written.await.unwrap_or_else(|_| {
            Err(if self.closing.is_cancelled() {
                Error::ShuttingDown
            } else {
                // The task panicked during this very write, which may have succeeded.
                Error::Unavailable(PANICKED.to_owned())
            })
        })
    }

    /// Returns the health of the store.
    pub(crate) fn status(&self) -> StoreStatus {
        self.shared.status.borrow().clone()
    }

    /// Waits until no transition is queued, or the store fails.
    pub(crate) async fn settled(&self) {
        let settled = |status: &StoreStatus| status.queued == 0 || status.fault.is_some();
        // An error means that the writer has ended, so there is nothing left to wait for.
        let _ = self.shared.status.subscribe().wait_for(settled).await;
    }

    /// Writes what is queued, if the store accepts it, and closes the store.
    pub(crate) async fn finish(&self) {
        self.closing.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // Without an error, because the supervising task does not panic.
            let _ = task.await;
        }
    }
}

/// The task of the [`Writer`].
struct WriterTask {
    shared: Arc<Shared>,
    store: Store,
    keyring: Keyring,
    /// Time of the last write or probe that succeeded.
    last_write: Instant,
}

impl WriterTask {
    /// Writes the queue until `closing`, and then whatever is left of it.
    async fn run(mut self, closing: CancellationToken) {
        while !closing.is_cancelled() {
            let down = self.shared.is_down();
            tokio::select! {
                () = self.shared.wake.notified(), if !down => {}
                () = tokio::time::sleep(if down { RETRY_INTERVAL } else { FILE_CHECK_INTERVAL }) => {}
                () = closing.cancelled() => break,
            }
            self.flush().await;
        }
        // The last attempt, even if the store failed a moment ago.
        self.flush().await;
        if let left @ 1.. = self.shared.status.borrow().queued {
            tracing::warn!(transitions = left, "the last transitions of live streams were not stored");
        }
        self.store.close().await;
    }

    /// Writes everything that is queued. With an empty queue, checks whether the store still accepts writes.
    async fn flush(&mut self) {
        let mut idle = true;
        loop {
            let batch = self.shared.queue.lock().next();
            // Whether the store was written or probed, or a description of its failure.
            let done = match batch {
                Some(Batch::States(states, last)) => self.write_states(&states, last).await,
                Some(Batch::Edit(write, ack)) => self.write_edit(&write, ack).await,
                None if idle => self.check().await,
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

    /// Writes transitions, and removes them from the queue up to number `last`. Fails if the store does.
    async fn write_states(&mut self, states: &[(LiveStreamId, State)], last: u64) -> Result<bool, String> {
        let written = report_if_slow(&self.shared, WRITE_TIMEOUT, self.store.write_states(states)).await;
        if let Err(error) = written {
            match error.store_fault() {
                Some(fault) => return Err(fault),
                // The store works, so a retry would fail again and block all other writes: these transitions are
                // dropped.
                None => tracing::error!(%error, "transitions of live streams could not be stored"),
            }
        }
        let queue = &mut *self.shared.queue.lock();
        queue.remove_until(last);
        let queued = queue.transitions();
        self.shared.status.send_modify(|status| status.queued = queued);
        Ok(true)
    }

    /// Writes an edit, and reports the result to its caller. Fails if the store does, but not if only the edit does.
    async fn write_edit(&mut self, write: &Write, ack: Ack) -> Result<bool, String> {
        let written = report_if_slow(&self.shared, WRITE_TIMEOUT, self.store.write(write, &self.keyring)).await;
        let fault = written.as_ref().err().and_then(Error::store_fault);
        // The caller may have stopped waiting.
        let _ = ack.send(match &fault {
            Some(fault) => Err(Error::Unavailable(fault.clone())),
            None => written,
        });
        fault.map_or(Ok(true), Err)
    }

    /// Probes the store if that is due, and otherwise only checks its file. Returns whether the store was probed.
    async fn check(&mut self) -> Result<bool, String> {
        let due = self.shared.is_down() || self.last_write.elapsed() >= PROBE_INTERVAL;
        let checked = async { if due { self.store.probe().await } else { self.store.file().check().await } };
        match report_if_slow(&self.shared, WRITE_TIMEOUT, checked).await {
            Ok(()) => Ok(due),
            Err(error) => Err(error.store_fault().unwrap_or_else(|| error.to_string())),
        }
    }

    fn succeeded(&mut self) {
        self.last_write = Instant::now();
        self.shared.recover();
    }

    /// Publishes a failure of the store, and refuses all queued edits. Transitions stay in the queue.
    fn failed(&mut self, fault: String) {
        self.shared.refuse_edits(&fault);
        self.shared.fail(fault);
    }
}

impl Shared {
    fn is_down(&self) -> bool {
        self.status.borrow().fault.is_some()
    }

    /// Refuses all queued edits.
    fn refuse_edits(&self, fault: &str) {
        for ack in self.queue.lock().take_edits() {
            // The caller may have stopped waiting.
            let _ = ack.send(Err(Error::Unavailable(fault.to_owned())));
        }
    }

    /// Publishes and logs that the task panicked, and refuses the edits that wait for it.
    fn panicked(&self) {
        self.publish_fault(PANICKED);
        self.refuse_edits(PANICKED);
        tracing::error!(
            reason = PANICKED,
            "the store fails until the server is restarted: live streams go on from memory, and changes of settings are \
             refused"
        );
    }

    /// Publishes a failure in [`StoreStatus`]. Returns whether it begins now.
    fn publish_fault(&self, reason: &str) -> bool {
        let mut begins = false;
        self.status.send_modify(|status| {
            begins = status.fault.replace(reason.to_owned()).is_none();
            status.failures += u64::from(begins);
            status.since.get_or_insert_with(Instant::now);
        });
        begins
    }

    /// Publishes a failure in [`StoreStatus`]. Logs it only when it begins.
    fn fail(&self, reason: String) {
        if self.publish_fault(&reason) {
            tracing::error!(
                reason,
                "the store fails: live streams go on from memory, and changes of settings are refused until it is back"
            );
        }
    }

    /// Publishes in [`StoreStatus`] that the store accepts writes. Logs the end of a failure once.
    fn recover(&self) {
        let mut since = None;
        self.status.send_if_modified(|status| {
            since = status.since.take();
            status.fault.take().is_some()
        });
        if let Some(seconds) = since.map(|since| since.elapsed().as_secs()) {
            tracing::info!(
                seconds,
                "the store takes writes again: transitions of live streams are written, and settings can be changed"
            );
        }
    }
}

/// Waits for `work` on the disk however long it takes, and reports a failure of the store once it takes longer than
/// `limit`.
async fn report_if_slow<T>(shared: &Shared, limit: Duration, work: impl Future<Output = T>) -> T {
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
    async fn a_slow_disk_is_reported_before_it_answers() {
        let status = watch::Sender::new(StoreStatus::default());
        let mut seen = status.subscribe();
        let shared = Shared { queue: Mutex::default(), wake: Notify::new(), status };
        // A write that returns only after its slowness was reported.
        let write = async { seen.wait_for(|status| status.fault.is_some()).await.unwrap().fault.clone() };
        assert_eq!(report_if_slow(&shared, Duration::ZERO, write).await.as_deref(), Some("the disk does not answer"));
        assert!(shared.is_down());
        shared.recover();
        let status = shared.status.borrow();
        assert_eq!((status.fault.as_deref(), status.failures), (None, 1));
    }

    /// Starts a writer whose task panics at the first item, before or after it takes it.
    fn panicking(takes: bool) -> Writer {
        Writer::spawn(move |shared, _| async move {
            shared.wake.notified().await;
            let _taken = if takes { shared.queue.lock().next() } else { None };
            panic!("a bug");
        })
    }

    #[tokio::test]
    async fn a_panic_of_the_task_refuses_edits_at_once_and_lasts() {
        for takes in [false, true] {
            let writer = panicking(takes);
            let id = LiveStreamId::generate();
            let refused = |result| matches!(result, Err(Error::Unavailable(fault)) if fault == PANICKED);
            // One edit that waits for the task when it panics, and one that comes afterwards.
            let waiting = writer.write(Write::Delete(id.clone()));
            assert!(refused(timeout(Duration::from_secs(20), waiting).await.expect("an answer")));
            let mut status = writer.shared.status.subscribe();
            status.wait_for(|status| status.fault.is_some()).await.unwrap();
            assert!(refused(writer.write(Write::Delete(id.clone())).await));
            writer.transition(&id, &State { enabled: true, broadcast: None });
            writer.settled().await;
            writer.finish().await;
            let status = writer.status();
            assert_eq!((status.fault.as_deref(), status.queued, status.failures), (Some(PANICKED), 1, 1));
        }
    }
}
