//! A simulcast with the transitions of its targets, and waiting for conditions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::TimeDelta;
use parking_lot::Mutex;
use simulcast::{Config, Events, QueueLimits, Retry, Secret, Settings, Simulcast, State, Stats, TargetId, Timeouts};
use slate::Item;
use tokio::runtime::{Builder, Runtime};

/// Longest wait for a condition.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Calls `attempt` until it returns a value.
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < TIMEOUT, "{what} took too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The transitions of all targets.
#[derive(Default)]
struct Log(Mutex<Vec<(TargetId, State)>>);

impl Events for Log {
    fn transition(&self, target: &TargetId, state: &State) {
        self.0.lock().push((target.clone(), state.clone()));
    }
}

/// Returns a configuration with short delays, which allows targets on this machine.
pub(crate) fn config() -> Config {
    let (tls, _) = simulcast::tls::client_config(None).expect("the system's roots are valid");
    let mut config = Config::new(tls);
    config.addresses.allow_private = true;
    config.queue = QueueLimits { bytes: 512 * 1_024, duration: TimeDelta::from_secs(60) };
    config.timeouts = Timeouts {
        connect: Duration::from_secs(20),
        handshake: Duration::from_secs(20),
        write: Duration::from_secs(60),
        close: Duration::from_secs(20),
    };
    let (first, max) = (Duration::from_millis(20), Duration::from_millis(200));
    config.retry = Retry { first, max, healthy_after: Duration::from_secs(60) };
    config
}

/// A [`Simulcast`] with its runtime, on which the servers of a test run too.
pub(crate) struct Rig {
    pub(crate) simulcast: Simulcast,
    pub(crate) runtime: Runtime,
    limit: u64,
    log: Arc<Log>,
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let limit = config.queue.bytes as u64 / 2;
        Self { simulcast: Simulcast::new(config, runtime.handle().clone()), runtime, limit, log: Arc::default() }
    }

    /// Adds a target, with the stream key `key` if it is one of RTMP.
    pub(crate) fn add(&self, name: &str, url: &str) {
        let key = if url.starts_with("srt:") { "" } else { "key" };
        let settings = Settings { url: Secret::from(url), stream_key: Secret::from(key) };
        self.simulcast.add(name.into(), &settings, self.log.clone()).expect("a valid target");
    }

    pub(crate) fn add_at(&self, name: &str, address: SocketAddr) {
        self.add(name, &format!("rtmp://{address}/app"));
    }

    pub(crate) fn stats(&self, name: &str) -> Stats {
        let stats = self.simulcast.stats();
        stats.into_iter().find(|(id, _)| id.as_str() == name).expect("a target").1
    }

    pub(crate) fn push(&self, items: &[Item]) {
        items.iter().for_each(|item| self.simulcast.push(item));
    }

    /// Pushes items, each when the queues of the targets in `healthy` have room for it.
    pub(crate) fn push_paced(&self, healthy: &[&str], items: &[Item]) {
        for item in items {
            for name in healthy {
                wait_for("room in a queue", || (self.stats(name).queue_bytes < self.limit).then_some(()));
            }
            self.simulcast.push(item);
        }
    }

    /// Waits until the target is connected `count` times.
    pub(crate) fn connected(&self, name: &str, count: u64) {
        wait_for("a connection", || (self.stats(name).connects >= count).then_some(()));
    }

    /// Waits until the newest transition of the target is `state`.
    pub(crate) fn until(&self, name: &str, state: &str) {
        wait_for(&format!("{name}: {state}"), || self.states(name).last().filter(|last| **last == state).map(drop));
    }

    /// Returns the states of the target in order. An error that follows another with a different reason is left out.
    pub(crate) fn states(&self, name: &str) -> Vec<String> {
        let log = self.log.0.lock();
        let all: Vec<&State> = log.iter().filter(|(id, _)| id.as_str() == name).map(|(_, state)| state).collect();
        let before = std::iter::once(None).chain(all.iter().copied().map(Some));
        // The same state twice is a mistake, and must be seen.
        let is_new = |state: &State, last: &State| state == last || label(state) != label(last);
        let states = all.iter().zip(before).filter(|(state, last)| last.is_none_or(|last| is_new(state, last)));
        states.map(|(state, _)| label(state)).collect()
    }

    /// Returns the reason of the target's first failure.
    pub(crate) fn reason(&self, name: &str) -> String {
        let log = self.log.0.lock();
        let reasons = log.iter().filter(|(id, _)| id.as_str() == name).filter_map(|(_, state)| match state {
            State::Errored { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        reasons.into_iter().next().expect("a failure")
    }

    /// Ends the broadcast and waits for the targets.
    pub(crate) fn finish(&self) {
        self.simulcast.finish();
        self.runtime.block_on(self.simulcast.closed());
    }
}

fn label(state: &State) -> String {
    match state {
        State::Errored { severity, .. } => format!("errored {severity:?}").to_lowercase(),
        other => format!("{other:?}").to_lowercase(),
    }
}
