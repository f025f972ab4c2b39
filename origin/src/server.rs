//! The server: starts the workers on their listeners, and waits for their end.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Fallback, TlsProvider};
use crate::config::Config;
use crate::error::Error;
use crate::playback::resolver::PlaybackResolver;
use crate::stats::Stats;
use crate::worker::context::Shared;
use crate::worker::{Admission, Worker, WorkerListener};

/// Bound socket to serve.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsProvider>,
}

impl Listener {
    /// Serves cleartext HTTP/1.1 and HTTP/2 with prior knowledge.
    pub const fn plain(socket: TcpListener) -> Self {
        Self { socket, tls: None }
    }

    /// Serves HTTP/1.1 and HTTP/2 over TLS.
    pub fn tls(socket: TcpListener, provider: TlsProvider) -> Self {
        Self { socket, tls: Some(provider) }
    }

    /// Clones the socket for one more worker. Must be called within that worker's runtime.
    fn for_worker(&self) -> std::io::Result<WorkerListener> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        Ok(WorkerListener { socket: tokio::net::TcpListener::from_std(socket)?, tls: self.tls.clone() })
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    stats: Stats,
    workers: TaskTracker,
}

impl Server {
    /// Starts the workers, which serve `listeners` until `stop` is cancelled. A request that is not for playback goes
    /// to `fallback`, on the worker's own single-threaded runtime.
    pub fn start(
        config: Config,
        resolver: Arc<dyn PlaybackResolver>,
        fallback: Arc<dyn Fallback>,
        listeners: Vec<Listener>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let count = config.workers.max(1);
        let stats = Stats::new(count);
        let workers = TaskTracker::new();
        let permits = |number: usize| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));
        let admission = Admission {
            viewers: permits(config.max_connections),
            // Each worker holds one permit per listener while it waits for a connection there.
            spare: permits(config.spare_connections.saturating_add(count.saturating_mul(listeners.len()))),
        };
        let shared = Arc::new(Shared { config, resolver, fallback });
        for (number, counters) in stats.workers().iter().enumerate() {
            let worker = Worker::new(Arc::clone(&shared), Arc::clone(counters), admission.clone(), stop.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Worker)?;
            let inside = runtime.enter();
            let listeners =
                listeners.iter().map(Listener::for_worker).collect::<Result<Vec<_>, _>>().map_err(Error::Listen)?;
            drop(inside);
            let alive = workers.token();
            let serve = move || {
                runtime.block_on(worker.run(listeners));
                drop(alive);
            };
            thread::Builder::new().name(format!("playback-{number}")).spawn(serve).map_err(Error::Worker)?;
        }
        workers.close();
        Ok(Self { stats, workers })
    }

    /// Returns the counters of the server.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Waits until the stopped server has sent all answers in flight, or has closed their connections.
    pub async fn stopped(&self) {
        self.workers.wait().await;
    }
}
