//! Who is let in: the answer to a handshake, and what became of those whose handshake went on.
//!
//! The answer is given on the thread that receives for every SRT connection, so it looks in memory only. libsrt itself
//! then checks the passphrase and does not tell the outcome: a caller that does not appear soon had a wrong one, or none.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::backoff::{Backoff, network};
use media::id::LiveStreamId;
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use super::ffi::{self, Handshake, Hook, Id};
use super::stream_id::{self, Request};
use crate::authorize::{Key, Refusal};
use crate::guard::{Full, Permit};
use crate::server::Shared;

// Reasons of rejection as in access_control.h of libsrt; a caller sees them as they are, or with 1000 added.
const BAD_REQUEST: i32 = 1400;
const OVERLOAD: i32 = 1402;
const FORBIDDEN: i32 = 1403;
const NOT_FOUND: i32 = 1404;
const BAD_MODE: i32 = 1405;
const OURS: i32 = 1500;
const DOWN: i32 = 1503;

/// After how long a caller that was answered and did not appear is taken for refused. libsrt decides at once.
const DECIDED: Duration = Duration::from_secs(2);
/// Callers remembered for having failed; past it, the longer half is forgotten.
const MAX_FAILED: usize = 4_096;

/// Answers handshakes of one listener.
pub(super) struct Door {
    shared: Arc<Shared>,
    encryption: bool,
    /// Callers that libsrt has still to judge; no more than there may be connections.
    asked: Mutex<HashMap<Id, Caller>>,
    failed: Mutex<HashMap<(IpAddr, LiveStreamId), Backoff>>,
    /// When a refusal was logged last, in milliseconds since `began`: refused encoders try again all the time.
    logged: AtomicU64,
    began: Instant,
}

/// A caller whose key is good.
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    pub(super) key: Key,
    pub(super) stream: LiveStreamId,
    pub(super) permit: Permit,
    since: Instant,
}

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Turned {
    #[error("its stream id names no stream key")]
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

impl Hook for Door {
    fn ask(&self, handshake: Handshake<'_>) -> Result<(), i32> {
        let Handshake { socket, peer, stream_id } = handshake;
        self.shared.stats.accepted.fetch_add(1, Relaxed);
        self.judge(socket, peer, stream_id, Instant::now()).map_err(|turned| self.turned_away(peer, turned))
    }
}

impl Door {
    pub(super) fn new(shared: Arc<Shared>, encryption: bool) -> Self {
        Self {
            shared,
            encryption,
            asked: Mutex::default(),
            failed: Mutex::default(),
            logged: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// The caller that libsrt has let in.
    pub(super) fn take(&self, socket: Id) -> Option<Caller> {
        self.asked.lock().remove(&socket)
    }

    /// A caller is in: what it failed before is forgotten.
    pub(super) fn passed(&self, caller: &Caller) {
        self.failed.lock().remove(&(network(caller.peer.ip()), caller.stream.clone()));
    }

    /// Gives up those that were answered and did not appear.
    pub(super) fn sweep(&self, now: Instant) {
        let gone = |caller: &Caller| now.saturating_duration_since(caller.since) >= DECIDED;
        let gone: Vec<_> = self.asked.lock().extract_if(|_, caller| gone(caller)).collect();
        gone.iter().for_each(|(_, caller)| self.wrong_passphrase(caller));
    }

    /// Counts a caller whose passphrase was wrong, missing, or not wanted.
    fn wrong_passphrase(&self, caller: &Caller) {
        self.shared.stats.passphrase.fetch_add(1, Relaxed);
        let Caller { peer, stream, .. } = caller;
        if self.may_log() {
            info!(%peer, %stream, "SRT caller refused: its passphrase is wrong or missing");
        }
    }

    fn judge(&self, socket: Id, peer: SocketAddr, stream_id: &[u8], now: Instant) -> Result<(), Turned> {
        let key = match stream_id::parse(stream_id) {
            Request::Publish(key) => key,
            Request::Other => return Err(Turned::Play),
            Request::Malformed => return Err(Turned::Malformed),
        };
        let lock = self.shared.gate.passphrase(&key).map_err(Turned::Authorizer)?;
        // Deriving a key from a passphrase takes a millisecond of the receiving thread: not for who keeps failing.
        self.attempt((network(peer.ip()), lock.stream.clone()), now)?;
        let permit = self.shared.guard.enter(peer.ip()).map_err(|full| match full {
            Full::Server => Turned::Full("in all"),
            Full::Address => Turned::Full("from one address"),
        })?;
        if self.encryption
            && let Err(error) = ffi::set(socket, ffi::OPT_PASSPHRASE, lock.passphrase.reveal().as_bytes())
        {
            warn!(%error, stream = %lock.stream, "the passphrase of a live stream cannot be used");
            return Err(Turned::Ours);
        }
        self.asked.lock().insert(socket, Caller { peer, key, stream: lock.stream, permit, since: now });
        Ok(())
    }

    /// Notes an attempt on a live stream as failed until the caller appears; refuses one that comes too soon.
    fn attempt(&self, who: (IpAddr, LiveStreamId), now: Instant) -> Result<(), Turned> {
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_FAILED && !failed.contains_key(&who) {
            let mut ages: Vec<_> = failed.values().filter_map(Backoff::last_failure).collect();
            ages.sort_unstable();
            let cut = ages.get(ages.len() / 2).copied();
            failed.retain(|_, backoff| backoff.last_failure() > cut);
        }
        let backoff = failed.entry(who).or_default();
        if backoff.is_too_soon(now) {
            return Err(Turned::Throttled);
        }
        backoff.failed(now);
        Ok(())
    }

    /// Counts and logs a refusal; gives libsrt's number for it.
    fn turned_away(&self, peer: SocketAddr, turned: Turned) -> i32 {
        let stats = &self.shared.stats;
        let reason = match turned {
            Turned::Malformed => count(&stats.not_publishing, BAD_REQUEST),
            Turned::Play => count(&stats.not_publishing, BAD_MODE),
            Turned::Throttled => count(&stats.throttled, OVERLOAD),
            Turned::Full(_) => count(&stats.full, OVERLOAD),
            Turned::Ours => OURS,
            Turned::Authorizer(refusal) => {
                stats.refused(refusal);
                match refusal {
                    Refusal::UnknownKey => NOT_FOUND,
                    Refusal::Disabled => FORBIDDEN,
                    Refusal::Unavailable | Refusal::Memory => DOWN,
                }
            }
        };
        if self.may_log() {
            info!(%peer, reason = %turned, "SRT caller refused");
        } else {
            debug!(%peer, reason = %turned, "SRT caller refused");
        }
        reason
    }

    /// Whether a refusal may be logged now: one a second, however many there are.
    fn may_log(&self) -> bool {
        const PAUSE_MILLIS: u64 = 1_000;
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(PAUSE_MILLIS);
        let free = |last: u64| (now.saturating_sub(last) >= PAUSE_MILLIS).then_some(now);
        self.logged.fetch_update(Relaxed, Relaxed, free).is_ok()
    }
}

fn count(counter: &AtomicU64, reason: i32) -> i32 {
    counter.fetch_add(1, Relaxed);
    reason
}
