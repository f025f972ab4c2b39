//! A worker: a thread with its own runtime that accepts connections and serves each of them to its end.
//!
//! All workers accept from the same sockets, so that an idle one takes the next connection. From then on, everything about
//! the connection stays on that worker's thread, except for requests that a [`Fallback`](crate::api::Fallback) moves.

pub(crate) mod activity;
pub(crate) mod context;
pub(crate) mod wait;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::TlsProvider;
use crate::config::Config;
use crate::http::connection;
use crate::stats::Counters;
use crate::worker::activity::{ConnectionActivity, ConnectionTracker, Limits};
use crate::worker::context::{Shared, WorkerContext};

/// Pause before the next accept after the machine ran out of file descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Interval at which a stopping worker closes connections that have become idle.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Permits for connections, shared by all workers of a server.
#[derive(Clone)]
pub(crate) struct Admission {
    /// Permits of viewers.
    pub(crate) viewers: Arc<Semaphore>,
    /// Permits of connections beyond those. They serve the fallback while the server has its maximum of viewers.
    pub(crate) spare: Arc<Semaphore>,
}

/// Accepts connections and closes those that exceed a timeout.
pub(crate) struct Worker {
    context: Arc<WorkerContext>,
    admission: Admission,
    connections: ConnectionTracker,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Listening socket as one [`Worker`] sees it.
pub(crate) struct WorkerListener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<TlsProvider>,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        admission: Admission,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            context: Arc::new(WorkerContext { shared, waker: Arc::default(), counters }),
            admission,
            connections: ConnectionTracker::default(),
            tasks: TaskTracker::new(),
            stop,
        })
    }

    /// Serves until `stop` is cancelled, and then until all answers in flight are sent or [`Config::drain`] has passed.
    pub(crate) async fn run(self: Arc<Self>, listeners: Vec<WorkerListener>) {
        let waker = Arc::clone(&self.context.waker);
        let waking = tokio::spawn(async move { waker.run().await });
        for listener in listeners {
            self.tasks.spawn(Arc::clone(&self).accept(listener));
        }
        self.run_clock().await;
        self.context.waker.stop();
        self.tasks.close();
        if timeout(self.config().drain, self.drain()).await.is_err() {
            tracing::info!("closing connections whose answers are still in flight after the drain time");
            self.connections.close_all();
            self.tasks.wait().await;
        }
        waking.abort();
    }

    fn config(&self) -> &Config {
        &self.context.shared.config
    }

    /// Advances the coarse clock and enforces the timeouts of waiting readers and of connections.
    async fn run_clock(&self) {
        let limits = Limits::new(self.config());
        let mut clock = interval(self.config().tick());
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = clock.tick() => {
                    self.context.waker.tick();
                    self.connections.close_timed_out(self.context.waker.now(), limits, &self.context.counters);
                }
            }
        }
    }

    async fn drain(&self) {
        loop {
            self.connections.close_idle();
            tokio::select! {
                () = self.tasks.wait() => return,
                () = sleep(DRAIN_POLL_INTERVAL) => {}
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: WorkerListener) {
        let mut failing = false;
        loop {
            // The permit comes before the accept: at the bound, a connection waits in the kernel's queue.
            let next = async {
                let spare = Arc::clone(&self.admission.spare).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((spare, listener.socket.accept().await?))
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((spare, (stream, peer))) => {
                    failing = false;
                    self.admit(stream, peer, listener.tls.clone(), spare);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "cannot accept connections; retrying");
                    }
                    failing = true;
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<TlsProvider>,
        spare: OwnedSemaphorePermit,
    ) {
        let context = Arc::clone(&self.context);
        let viewer = Arc::clone(&self.admission.viewers).try_acquire_owned().ok();
        let activity =
            ConnectionActivity::new(Arc::clone(&context.waker), Arc::clone(&context.counters), viewer.is_none());
        // A viewer needs one permit only, and the spare ones are few.
        let permit = viewer.unwrap_or(spare);
        let serving = connection::serve(stream, peer, Arc::clone(&activity), context, tls, self.stop.clone());
        let task = self.tasks.spawn(async move {
            serving.await;
            drop(permit);
        });
        self.connections.track(&activity, task.abort_handle());
    }
}
