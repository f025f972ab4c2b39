//! One worker: a thread with its own runtime that accepts connections and serves them to their end.
//!
//! All workers accept from the same sockets, so whoever has time takes the next connection; from then on nothing of the
//! connection leaves its thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connection;
use crate::directory::PlaybackResolver;
use crate::gate::Pump;
use crate::pulse::{Limits, Pulse, Ward};
use crate::server::TlsProvider;
use crate::service::Fallback;
use crate::stats::Counters;

/// How long accepting rests after the machine had no descriptor or memory left.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How often a stopping worker looks for connections that came to rest.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// What all workers of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) directory: Arc<dyn PlaybackResolver>,
    pub(crate) fallback: Arc<dyn Fallback>,
    /// Places of viewers.
    pub(crate) viewers: Arc<Semaphore>,
    /// Places for what is not playback when there are as many viewers as may be.
    pub(crate) spare: Arc<Semaphore>,
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pump: Arc<Pump>,
    pub(crate) counters: Arc<Counters>,
    ward: Ward,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A listening socket of one worker.
pub(crate) struct Door {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<TlsProvider>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, counters: Arc<Counters>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            shared,
            pump: Arc::default(),
            counters,
            ward: Ward::default(),
            tasks: TaskTracker::new(),
            stop,
        })
    }

    /// Serves until told to stop, and then until the answers in flight are out, bounded by the configuration's drain.
    pub(crate) async fn run(self: Arc<Self>, doors: Vec<Door>) {
        let pump = Arc::clone(&self.pump);
        let waking = tokio::spawn(async move { pump.run().await });
        for door in doors {
            self.tasks.spawn(Arc::clone(&self).accept(door));
        }
        self.make_rounds().await;
        self.pump.stop();
        self.tasks.close();
        if timeout(self.shared.config.drain, self.drain()).await.is_err() {
            tracing::info!("answers still in flight after the drain time are cut off");
            self.ward.dismiss_all();
            self.tasks.wait().await;
        }
        waking.abort();
    }

    async fn make_rounds(&self) {
        let limits = Limits::new(&self.shared.config);
        let mut clock = interval(self.shared.config.tick());
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = clock.tick() => {
                    self.pump.tick();
                    self.ward.round(self.pump.now(), limits, &self.counters);
                }
            }
        }
    }

    async fn drain(&self) {
        loop {
            self.ward.dismiss_idle();
            tokio::select! {
                () = self.tasks.wait() => return,
                () = sleep(DRAIN_STEP) => {}
            }
        }
    }

    async fn accept(self: Arc<Self>, door: Door) {
        let mut failing = false;
        loop {
            // Admission comes before accept: at the bound a connection waits in the kernel's queue.
            let next = async {
                let spare = Arc::clone(&self.shared.spare).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((spare, door.socket.accept().await?))
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((spare, (stream, peer))) => {
                    failing = false;
                    self.admit(stream, peer, door.tls.clone(), spare);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "cannot accept connections, trying on");
                    }
                    failing = true;
                    sleep(ACCEPT_REST).await;
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
        let viewer = Arc::clone(&self.shared.viewers).try_acquire_owned().ok();
        let pulse = Pulse::new(Arc::clone(&self.pump), Arc::clone(&self.counters), viewer.is_none());
        // One place is enough, and the spare ones are few.
        let place = viewer.unwrap_or(spare);
        let serving = connection::serve(stream, peer, Arc::clone(&pulse), Arc::clone(self), tls, self.stop.clone());
        let task = self.tasks.spawn(async move {
            serving.await;
            drop(place);
        });
        self.ward.admit(&pulse, task.abort_handle());
    }
}
