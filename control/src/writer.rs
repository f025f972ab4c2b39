//! The writer: the one task that writes to the store, with the queue before it.
//!
//! Transitions of the lifecycle are queued, because a broadcast lives from memory and never waits for a disk. They are written
//! in order, before and after the edits that came between them. An edit waits for its own write, because what was
//! acknowledged must be durable; while the store is down it is refused at once.

use std::collections::{HashSet, VecDeque};
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
use crate::store::{Store, Write};

/// Transitions that wait. At the bound those that a later one of the same live stream follows are forgotten: what stays is
/// where each live stream is.
const MAX_TRANSITIONS: usize = 10_000;
/// Edits that wait for the disk; more are refused.
const MAX_EDITS: usize = 1_000;
/// Transitions written together.
const BATCH: usize = 500;
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

struct Queue {
    items: VecDeque<(u64, Item)>,
    /// The number of the newest item.
    newest: u64,
    edits: usize,
    /// Transitions at which the next clean-up is due.
    bound: usize,
}

enum Item {
    Transition(LiveStreamId, State),
    Edit(Write, Ack),
}

type Ack = oneshot::Sender<Result<(), Error>>;

enum Work {
    /// Transitions, with the number of the last one.
    States(Vec<(LiveStreamId, State)>, u64),
    Edit(Write, Ack),
}

impl Writer {
    /// Takes the store over.
    pub(crate) fn start(store: Store, keyring: Keyring) -> Self {
        let queue = Queue { items: VecDeque::new(), newest: 0, edits: 0, bound: MAX_TRANSITIONS };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
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
            if queue.edits >= MAX_EDITS {
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

impl Queue {
    fn push(&mut self, item: Item) {
        match item {
            Item::Edit(..) => self.edits += 1,
            Item::Transition(..) if self.transitions() >= self.bound => self.forget_what_is_followed(),
            Item::Transition(..) => {}
        }
        self.newest += 1;
        self.items.push_back((self.newest, item));
    }

    fn transitions(&self) -> usize {
        self.items.len() - self.edits
    }

    fn forget_what_is_followed(&mut self) {
        let mut seen = HashSet::new();
        let mut kept: VecDeque<_> = std::mem::take(&mut self.items)
            .into_iter()
            .rev()
            .filter(|(_, item)| match item {
                Item::Transition(id, _) => seen.insert(id.clone()),
                Item::Edit(..) => true,
            })
            .collect();
        kept.make_contiguous().reverse();
        self.items = kept;
        // With more live streams than that the next clean-up has to be worth its time as well.
        self.bound = MAX_TRANSITIONS.max(2 * self.transitions());
    }

    /// What is to be written next. Transitions stay in the queue until they are.
    fn next(&mut self) -> Option<Work> {
        match self.items.pop_front()? {
            (_, Item::Edit(write, ack)) => {
                self.edits -= 1;
                Some(Work::Edit(write, ack))
            }
            transition => {
                self.items.push_front(transition);
                let mut last = 0;
                let states = self.items.iter().map_while(|(number, item)| match item {
                    Item::Transition(id, state) => {
                        last = *number;
                        Some((id.clone(), state.clone()))
                    }
                    Item::Edit(..) => None,
                });
                let states = states.take(BATCH).collect();
                Some(Work::States(states, last))
            }
        }
    }

    fn forget_until(&mut self, last: u64) {
        while self.items.pop_front_if(|(number, _)| *number <= last).is_some() {}
    }

    fn take_edits(&mut self) -> Vec<Ack> {
        let mut acks = Vec::with_capacity(self.edits);
        let items = std::mem::take(&mut self.items);
        for (number, item) in items {
            match item {
                Item::Edit(_, ack) => acks.push(ack),
                transition => self.items.push_back((number, transition)),
            }
        }
        self.edits = 0;
        acks
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

    fn queue(bound: usize) -> Queue {
        Queue { items: VecDeque::new(), newest: 0, edits: 0, bound }
    }

    fn transition(id: &LiveStreamId, enabled: bool) -> Item {
        Item::Transition(id.clone(), State { enabled, broadcast: None })
    }

    fn edit(id: &LiveStreamId) -> Item {
        Item::Edit(Write::Delete(id.clone()), oneshot::channel().0)
    }

    /// What is next, as text: the live streams of transitions with whether they are enabled, or an edit.
    fn next(queue: &mut Queue, names: &[&LiveStreamId]) -> String {
        let name = |id| names.iter().position(|known| *known == id).unwrap();
        match queue.next() {
            Some(Work::States(states, last)) => {
                queue.forget_until(last);
                states
                    .iter()
                    .map(|(id, state)| format!("{}{}", name(id), if state.enabled { '+' } else { '-' }))
                    .collect()
            }
            Some(Work::Edit(Write::Delete(id), _)) => format!("edit {}", name(&id)),
            Some(Work::Edit(..)) => unreachable!(),
            None => String::new(),
        }
    }

    #[test]
    fn everything_is_written_in_order() {
        let ids = [(); 2].map(|()| LiveStreamId::generate());
        let [a, b] = ids.each_ref();
        let mut queue = queue(100);
        for item in
            [transition(a, true), transition(b, true), transition(a, false), edit(a), transition(a, true), edit(b)]
        {
            queue.push(item);
        }
        let order = [(); 5].map(|()| next(&mut queue, &[a, b]));
        assert_eq!(order, ["0+1+0-", "edit 0", "0+", "edit 1", ""]);
    }

    #[test]
    fn at_the_bound_what_is_followed_is_forgotten() {
        let ids = [(); 3].map(|()| LiveStreamId::generate());
        let [a, b, c] = ids.each_ref();
        let mut queue = queue(4);
        for item in [transition(a, true), transition(b, true), transition(a, false), edit(b), transition(b, false)] {
            queue.push(item);
        }
        queue.push(transition(c, true));
        assert_eq!((queue.transitions(), queue.bound), (3, MAX_TRANSITIONS));
        let order = [(); 4].map(|()| next(&mut queue, &[a, b, c]));
        assert_eq!(order, ["0-", "edit 1", "1-2+", ""]);
        // One that is written while the queue is cleaned up is not written over by an older one.
        queue.push(transition(a, true));
        let Some(Work::States(_, last)) = queue.next() else { unreachable!() };
        queue.push(transition(a, false));
        queue.forget_what_is_followed();
        queue.forget_until(last);
        assert_eq!(next(&mut queue, &[a, b, c]), "0-");
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_known_before_it_does() {
        let status = watch::Sender::new(StoreStatus::default());
        let mut seen = status.subscribe();
        let shared = Shared { queue: Mutex::new(queue(4)), wake: Notify::new(), status };
        // A write that returns when everyone knows that it does not.
        let write = async { seen.wait_for(|status| status.fault.is_some()).await.unwrap().fault.clone() };
        assert_eq!(patiently(&shared, Duration::ZERO, write).await.as_deref(), Some("the disk does not answer"));
        assert!(shared.is_down());
        shared.recover();
        let status = shared.status.borrow();
        assert_eq!((status.fault.as_deref(), status.failures), (None, 1));
    }

    #[test]
    fn edits_leave_a_queue_that_is_not_written() {
        let id = LiveStreamId::generate();
        let mut queue = queue(4);
        for item in [transition(&id, true), edit(&id), transition(&id, false), edit(&id)] {
            queue.push(item);
        }
        assert_eq!(queue.take_edits().len(), 2);
        assert_eq!((queue.transitions(), queue.edits), (2, 0));
        assert_eq!(next(&mut queue, &[&id]), "0+0-");
    }
}
