//! Policy for SRT handshakes: which callers are accepted, and what became of those that were.
//!
//! The policy runs on the thread that receives for every SRT connection, so it reads from memory only. After it, libsrt
//! checks the passphrase but does not report the result. A caller that does not appear within [`DECISION_TIMEOUT`] had
//! a wrong passphrase or none.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::backoff::{Backoff, network};
use media::id::LiveStreamId;
use parking_lot::Mutex;
use srt::{Handshake, HandshakeHook, Rejection, SocketId};
use tracing::{debug, info, warn};

use super::stream_id::{self, Request};
use crate::authorize::{Key, Refusal};
use crate::connection_limits::{Full, Permit};
use crate::server::Shared;

/// Time after which an accepted caller that did not appear counts as refused. libsrt decides at once.
const DECISION_TIMEOUT: Duration = Duration::from_secs(2);
/// Most callers remembered after failures. Above it, the older half is forgotten.
const MAX_FAILED: usize = 4_096;

/// Decides on the handshakes of one listener.
pub(super) struct HandshakePolicy {
    shared: Arc<Shared>,
    encryption: bool,
    /// Callers that libsrt has not decided on yet; bounded by the number of connections.
    pending: Mutex<HashMap<SocketId, Caller>>,
    failed: Mutex<HashMap<(IpAddr, LiveStreamId), Backoff>>,
    /// Time of the last logged refusal, in milliseconds since `began`, because refused encoders retry all the time.
    logged: AtomicU64,
    began: Instant,
}

/// A caller whose stream key is valid.
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    pub(super) key: Key,
    pub(super) stream: LiveStreamId,
    pub(super) permit: Permit,
    since: Instant,
}

/// Reason why a handshake is rejected.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum HandshakeRejection {
    #[error("its stream id contains no stream key")]
    Malformed,
    #[error("it asks to play, and this port is for publishing")]
    Play,
    #[error("{0}")]
    Authorizer(Refusal),
    #[error("it tries again too soon after wrong passphrases")]
    Throttled,
    #[error("too many connections {0}")]
    Full(&'static str),
    #[error("its passphrase cannot be used")]
    Ours,
}

impl HandshakeHook for HandshakePolicy {
    fn ask(&self, handshake: Handshake<'_>) -> Result<(), Rejection> {
        self.shared.stats.accepted.fetch_add(1, Relaxed);
        let peer = handshake.peer;
        self.judge(&handshake, Instant::now()).map_err(|rejection| self.reject(peer, rejection))
    }
}

impl HandshakePolicy {
    pub(super) fn new(shared: Arc<Shared>, encryption: bool) -> Self {
        Self {
            shared,
            encryption,
            pending: Mutex::default(),
            failed: Mutex::default(),
            logged: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Removes and returns the caller of a socket that libsrt accepted.
    pub(super) fn take(&self, socket: SocketId) -> Option<Caller> {
        self.pending.lock().remove(&socket)
    }

    /// Clears the failures of a caller that libsrt accepted.
    pub(super) fn passed(&self, caller: &Caller) {
        self.failed.lock().remove(&(network(caller.peer.ip()), caller.stream.clone()));
    }

    /// Gives up the callers that did not appear within [`DECISION_TIMEOUT`].
    pub(super) fn sweep(&self, now: Instant) {
        let gone = |caller: &Caller| now.saturating_duration_since(caller.since) >= DECISION_TIMEOUT;
        let gone: Vec<_> = self.pending.lock().extract_if(|_, caller| gone(caller)).collect();
        gone.iter().for_each(|(_, caller)| self.wrong_passphrase(caller));
    }

    /// Counts a caller whose passphrase was wrong, missing, or not allowed.
    fn wrong_passphrase(&self, caller: &Caller) {
        self.shared.stats.passphrase.fetch_add(1, Relaxed);
        let Caller { peer, stream, .. } = caller;
        if self.may_log() {
            info!(%peer, %stream, "SRT caller refused: its passphrase is wrong or missing");
        }
    }

    fn judge(&self, handshake: &Handshake<'_>, now: Instant) -> Result<(), HandshakeRejection> {
        let Handshake { socket, peer, stream_id } = *handshake;
        let key = match stream_id::parse(stream_id) {
            Request::Publish(key) => key,
            Request::Other => return Err(HandshakeRejection::Play),
            Request::Malformed => return Err(HandshakeRejection::Malformed),
        };
        let encryption = self.shared.authorizer.passphrase(&key).map_err(HandshakeRejection::Authorizer)?;
        // Deriving a key from a passphrase takes a millisecond of the receiving thread. Callers that keep failing must
        // not use it.
        self.attempt((network(peer.ip()), encryption.stream.clone()), now)?;
        let permit = self.shared.connections.enter(peer.ip()).map_err(|full| match full {
            Full::Server => HandshakeRejection::Full("in all"),
            Full::Address => HandshakeRejection::Full("from one address"),
        })?;
        if self.encryption
            && let Err(error) = handshake.set_passphrase(&encryption.passphrase)
        {
            warn!(%error, stream = %encryption.stream, "the passphrase of a live stream cannot be used");
            return Err(HandshakeRejection::Ours);
        }
        self.pending.lock().insert(socket, Caller { peer, key, stream: encryption.stream, permit, since: now });
        Ok(())
    }

    /// Counts an attempt on a live stream as failed until the caller appears. Refuses one that comes too soon after
    /// others.
    fn attempt(&self, caller: (IpAddr, LiveStreamId), now: Instant) -> Result<(), HandshakeRejection> {
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_FAILED && !failed.contains_key(&caller) {
            let mut ages: Vec<_> = failed.values().filter_map(Backoff::last_failure).collect();
            ages.sort_unstable();
            let median = ages.get(ages.len() / 2).copied();
            failed.retain(|_, backoff| backoff.last_failure() > median);
        }
        let backoff = failed.entry(caller).or_default();
        if backoff.is_too_soon(now) {
            return Err(HandshakeRejection::Throttled);
        }
        backoff.failed(now);
        Ok(())
    }

    /// Counts and logs a rejection; returns what the caller learns of it.
    fn reject(&self, peer: SocketAddr, rejection: HandshakeRejection) -> Rejection {
        let stats = &self.shared.stats;
        let reason = match rejection {
            HandshakeRejection::Malformed => count(&stats.not_publishing, Rejection::BAD_REQUEST),
            HandshakeRejection::Play => count(&stats.not_publishing, Rejection::BAD_MODE),
            HandshakeRejection::Throttled => count(&stats.throttled, Rejection::OVERLOAD),
            HandshakeRejection::Full(_) => count(&stats.full, Rejection::OVERLOAD),
            HandshakeRejection::Ours => Rejection::INTERNAL,
            HandshakeRejection::Authorizer(refusal) => {
                stats.refused(refusal);
                match refusal {
                    Refusal::UnknownKey => Rejection::NOT_FOUND,
                    Refusal::Disabled => Rejection::FORBIDDEN,
                    Refusal::Unavailable | Refusal::Memory => Rejection::DOWN,
                }
            }
        };
        if self.may_log() {
            info!(%peer, reason = %rejection, "SRT caller refused");
        } else {
            debug!(%peer, reason = %rejection, "SRT caller refused");
        }
        reason
    }

    /// Returns whether a refusal may be logged now: at most one per second.
    fn may_log(&self) -> bool {
        const PAUSE_MILLIS: u64 = 1_000;
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(PAUSE_MILLIS);
        let free = |last: u64| (now.saturating_sub(last) >= PAUSE_MILLIS).then_some(now);
        self.logged.fetch_update(Relaxed, Relaxed, free).is_ok()
    }
}

fn count(counter: &AtomicU64, reason: Rejection) -> Rejection {
    counter.fetch_add(1, Relaxed);
    reason
}
