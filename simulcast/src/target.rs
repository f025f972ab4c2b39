//! The task of one target.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::config::Config;
use crate::failure::Failure;
use crate::queue::{Queue, Queued, Tracks};
use crate::state::{Events, Severity, State, TargetId};
use crate::stats::Stats;
use crate::transport::{Connection, Transport};

/// Most payload bytes taken from the queue at once, so that frames wait where they can be dropped. A single frame may
/// be larger.
const MAX_BATCH: usize = 64 * 1_024;

/// The part of a target that the programme and its task share.
pub(crate) struct Shared {
    pub(crate) id: TargetId,
    pub(crate) queue: Queue,
    /// Cancelled when the broadcast ends or the target is removed.
    pub(crate) ended: CancellationToken,
    state: Mutex<State>,
    rtt: Mutex<Option<Duration>>,
    bytes: AtomicU64,
    frames: AtomicU64,
    connects: AtomicU64,
    failures: AtomicU64,
}

impl Shared {
    pub(crate) fn new(id: TargetId, config: &Config) -> Self {
        Self {
            id,
            queue: Queue::new(config.queue),
            ended: CancellationToken::new(),
            state: Mutex::default(),
            rtt: Mutex::default(),
            bytes: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let (queue_bytes, dropped_frames) = self.queue.stats();
        Stats {
            state: self.state.lock().clone(),
            bytes: self.bytes.load(Relaxed),
            frames: self.frames.load(Relaxed),
            dropped_frames,
            queue_bytes: queue_bytes as u64,
            rtt: *self.rtt.lock(),
            connects: self.connects.load(Relaxed),
            failures: self.failures.load(Relaxed),
        }
    }
}

/// The task of a target: connects, sends, and connects again until the end.
pub(crate) struct Task<T> {
    transport: T,
    shared: Arc<Shared>,
    config: Arc<Config>,
    events: Arc<dyn Events>,
    backoff: Backoff,
    /// Since when frames are sent on the current or the last connection; `None` if it has sent none.
    broadcasting_since: Option<Instant>,
}

impl<T: Transport> Task<T> {
    pub(crate) fn new(transport: T, shared: Arc<Shared>, config: Arc<Config>, events: Arc<dyn Events>) -> Self {
        Self { transport, shared, config, events, backoff: Backoff::default(), broadcasting_since: None }
    }

    /// Runs until [`Shared::ended`] is cancelled. The last state is [`State::Idle`].
    pub(crate) async fn run(mut self) {
        self.change(State::Starting);
        let ended = self.shared.ended.clone();
        let mut seen = 0;
        // Without media a target is not dialled, because most targets close a connection that stays silent.
        while ended.run_until_cancelled(self.shared.queue.active_since(seen)).await.is_some() {
            self.broadcasting_since = None;
            let Err(failure) = self.attempt(&ended).await else { break };
            seen = self.shared.queue.activity();
            let delay = self.failed(&failure);
            if failure.severity() == Severity::Fatal {
                ended.cancelled().await;
            }
            if ended.run_until_cancelled(sleep(delay)).await.is_none() {
                break;
            }
        }
        self.change(State::Idle);
    }

    /// Connects and sends until the end of the broadcast.
    async fn attempt(&mut self, ended: &CancellationToken) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        shared.queue.open();
        let published = match ended.run_until_cancelled(self.transport.open()).await {
            Some(Ok(connection)) => self.publish(connection).await,
            Some(Err(failure)) => Err(failure),
            None => Ok(()),
        };
        shared.queue.shut();
        *shared.rtt.lock() = None;
        published
    }

    /// Sends on a connection until the end of the broadcast, then closes it.
    async fn publish(&mut self, mut connection: T::Connection) -> Result<(), Failure> {
        let (shared, limit) = (Arc::clone(&self.shared), self.config.timeouts.close);
        shared.queue.note_publishing();
        shared.connects.fetch_add(1, Relaxed);
        let cut_off = async {
            shared.ended.cancelled().await;
            sleep(limit).await;
        };
        tokio::select! {
            sent = self.send(&mut connection) => sent?,
            () = cut_off => {}
        }
        if timeout(limit, connection.close()).await.is_err() {
            debug!(target_id = %shared.id, "the target did not close the connection in time");
        }
        Ok(())
    }

    /// Sends queued frames. Returns once the broadcast has ended and the queue is empty.
    async fn send(&mut self, connection: &mut T::Connection) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let (mut batch, mut announced) = (Vec::new(), None);
        loop {
            tokio::select! {
                () = shared.queue.ready() => {}
                failure = connection.idle() => return Err(failure),
                () = shared.ended.cancelled() => if shared.queue.is_empty() { return Ok(()) },
            }
            shared.queue.take(&mut batch, MAX_BATCH);
            let mut frames = 0;
            for queued in batch.drain(..) {
                frames += u64::from(write(connection, &queued, &mut announced)?);
            }
            let bytes = connection.flush().await?;
            *shared.rtt.lock() = connection.round_trip();
            shared.bytes.fetch_add(bytes, Relaxed);
            shared.frames.fetch_add(frames, Relaxed);
            if frames > 0 && self.broadcasting_since.is_none() {
                self.broadcasting_since = Some(Instant::now());
                self.change(State::Broadcasting);
            }
        }
    }

    /// Records a failure, and returns the delay of the next attempt.
    fn failed(&mut self, failure: &Failure) -> Duration {
        self.shared.failures.fetch_add(1, Relaxed);
        let healthy_for = self.broadcasting_since.map_or(Duration::ZERO, |since| since.elapsed());
        let delay = self.backoff.failed(&self.config.retry, healthy_for, getrandom::u32().unwrap_or(0));
        if !self.shared.ended.is_cancelled() {
            self.change(State::Errored { severity: failure.severity(), reason: failure.to_string() });
        }
        delay
    }

    /// Takes the state, and reports it once if it is a transition.
    fn change(&self, next: State) {
        let is_transition = {
            let mut state = self.shared.state.lock();
            let is_transition = *state != next;
            *state = next.clone();
            is_transition
        };
        let target_id = &self.shared.id;
        match &next {
            State::Errored { reason, .. } if !is_transition => debug!(%target_id, reason, "the target failed again"),
            State::Errored { reason, severity } => warn!(%target_id, ?severity, reason, "the target failed"),
            other => info!(%target_id, state = ?other, "the state of a target changed"),
        }
        if is_transition {
            self.events.transition(target_id, &next);
        }
    }
}

/// Writes queued media, a frame after the headers of the tracks if they have changed; returns whether the target takes the
/// frame.
fn write(connection: &mut impl Connection, queued: &Queued, announced: &mut Option<Tracks>) -> Result<bool, Failure> {
    match queued {
        Queued::Frame(frame, tracks) => {
            if !announced.as_ref().is_some_and(|known| Arc::ptr_eq(known, tracks)) {
                connection.announce(tracks, frame.dts)?;
                *announced = Some(Arc::clone(tracks));
            }
            connection.send(frame)
        }
        Queued::Metadata(metadata) => {
            connection.metadata(metadata);
            Ok(false)
        }
    }
}
