//! The C interface of libsrt, and safe functions over it: the only unsafe code of this crate.
//!
//! libsrt identifies sockets by number. It looks up the number under its own locks and returns an error for an unknown
//! one, so a stale number cannot break memory safety. Only pointers can, and none of them outlives its call.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::RwLock;
use socket2::SockAddr;

/// A socket of libsrt.
pub(super) type Id = c_int;

// Option, state and error numbers as in srt.h of libsrt 1.5.
pub(super) const OPT_RCVSYN: c_int = 2;
pub(super) const OPT_SNDSYN: c_int = 1;
pub(super) const OPT_PASSPHRASE: c_int = 26;
pub(super) const OPT_PBKEYLEN: c_int = 27;
pub(super) const OPT_VERSION_MIN: c_int = 45;
pub(super) const OPT_CONNTIMEO: c_int = 36;
pub(super) const OPT_RCVLATENCY: c_int = 43;
pub(super) const OPT_PEERLATENCY: c_int = 44;
/// Pending events of a socket; read only.
const OPT_EVENT: c_int = 18;
pub(super) const OPT_STREAMID: c_int = 46;
pub(super) const OPT_IPV6ONLY: c_int = 54;
pub(super) const STATE_LISTENING: c_int = 3;
pub(super) const STATE_CONNECTING: c_int = 4;
pub(super) const STATE_CONNECTED: c_int = 5;
const ERROR: c_int = -1;
const ERROR_LOST: c_int = 2001;
const ERROR_NOT_CONNECTED: c_int = 2002;
/// libsrt forgets a socket a while after its connection broke.
const ERROR_FORGOTTEN: c_int = 5004;
const ERROR_SEND_WOULD_BLOCK: c_int = 6001;
const ERROR_RECEIVE_WOULD_BLOCK: c_int = 6002;
/// A message can be received.
const EVENT_IN: c_int = 0x1;
/// The connection is broken.
const EVENT_BROKEN: c_int = 0x8;
/// The callback's answer to a handshake.
const LET_IN: c_int = 0;
/// Rejection reason for an error of this program.
const REJECT_OURS: c_int = 1500;
/// Only critical messages: libsrt logs each refused caller as an error, and there may be a hundred per second.
const LOG_CRITICAL: c_int = 2;

#[link(name = "srt-gnutls")]
unsafe extern "C" {
    safe fn srt_startup() -> c_int;
    safe fn srt_setloglevel(level: c_int);
    safe fn srt_create_socket() -> Id;
    safe fn srt_bind_acquire(socket: Id, udp: c_int) -> c_int;
    safe fn srt_listen(socket: Id, backlog: c_int) -> c_int;
    safe fn srt_close(socket: Id) -> c_int;
    safe fn srt_getsockstate(socket: Id) -> c_int;
    safe fn srt_getrejectreason(socket: Id) -> c_int;
    safe fn srt_setrejectreason(socket: Id, reason: c_int) -> c_int;
    fn srt_listen_callback(socket: Id, hook: Callback, opaque: *mut c_void) -> c_int;
    fn srt_accept(socket: Id, address: *mut c_void, length: *mut c_int) -> Id;
    fn srt_connect(socket: Id, address: *const c_void, length: c_int) -> c_int;
    fn srt_setsockflag(socket: Id, option: c_int, value: *const c_void, length: c_int) -> c_int;
    fn srt_getsockflag(socket: Id, option: c_int, value: *mut c_void, length: *mut c_int) -> c_int;
    fn srt_recv(socket: Id, buffer: *mut c_char, length: c_int) -> c_int;
    fn srt_send(socket: Id, buffer: *const c_char, length: c_int) -> c_int;
    fn srt_bistats(socket: Id, stats: *mut PaddedStats, clear: c_int, instantaneous: c_int) -> c_int;
    fn srt_getlasterror(system: *mut c_int) -> c_int;
    fn srt_strerror(code: c_int, system: c_int) -> *const c_char;
}

type Callback = extern "C" fn(*mut c_void, Id, c_int, *const c_void, *const c_char) -> c_int;

/// `SRT_TRACEBSTATS` of libsrt 1.5.1, with all fields in order. Fields without a use here begin with an underscore.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SrtStats {
    _time: i64,
    _sent_total: i64,
    pub(super) received: i64,
    _send_lost: c_int,
    pub(super) lost: c_int,
    _retransmitted_by_us: c_int,
    _acks: [c_int; 4],
    _sending: i64,
    _send_dropped: c_int,
    pub(super) dropped: c_int,
    pub(super) undecrypted: c_int,
    _bytes: [u64; 7],
    _interval_packets: [i64; 2],
    _interval_counts: [c_int; 3],
    pub(super) retransmitted: c_int,
    _interval_acks: [c_int; 4],
    pub(super) send_megabits: f64,
    pub(super) receive_megabits: f64,
    _interval_sending: i64,
    _reorder_distance: c_int,
    _belated_time: f64,
    _belated: i64,
    _interval_drops: [c_int; 3],
    _interval_bytes: [u64; 7],
    _send_period: f64,
    _windows: [c_int; 3],
    pub(super) round_trip_millis: f64,
    pub(super) capacity_megabits: f64,
    _room: [c_int; 2],
    _ceiling: f64,
    _mss: c_int,
    _send_buffer: [c_int; 4],
    _receive_buffer: [c_int; 2],
    pub(super) buffered_millis: c_int,
    pub(super) latency_millis: c_int,
    _filter: [c_int; 9],
    _unique: [i64; 8],
}

const _: () = assert!(size_of::<SrtStats>() == 496, "the size that srt.h of libsrt 1.5.1 gives");

/// [`SrtStats`] with room behind it, because libsrt writes every field of its own version, and later versions append
/// some.
#[repr(C)]
struct PaddedStats {
    stats: SrtStats,
    _room: [u64; 64],
}

/// Error of a libsrt call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: {text} ({code})")]
pub struct CallError {
    call: &'static str,
    code: i32,
    text: String,
}

impl CallError {
    /// Returns the error of the last call on this thread.
    fn last(call: &'static str) -> Self {
        let mut system = 0;
        // SAFETY: `system` is a c_int that is written during the call only.
        let code = unsafe { srt_getlasterror(&raw mut system) };
        // SAFETY: libsrt returns a C string of this thread, which it keeps until the thread's next error; it is copied
        // here.
        let text = unsafe {
            let text = srt_strerror(code, system);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Self { call, code, text }
    }

    /// Returns whether the peer, or the network to it, is gone.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.code, ERROR_LOST | ERROR_NOT_CONNECTED | ERROR_FORGOTTEN)
    }
}

/// Handshake of a caller, before the answer.
pub(super) struct Handshake<'a> {
    /// The caller's socket if it is accepted; options can still be set.
    pub(super) socket: Id,
    pub(super) peer: SocketAddr,
    pub(super) stream_id: &'a [u8],
}

/// Decides on handshakes: `Err` holds the reason of a rejection. Called on libsrt's receiving thread, so it must not
/// wait.
pub(super) trait HandshakeHook: Send + Sync {
    fn ask(&self, handshake: Handshake<'_>) -> Result<(), i32>;
}

/// Hooks of the open listeners. libsrt gets a listener's number to find its hook by, instead of a pointer, so nothing
/// can be freed too early.
static HOOKS: RwLock<BTreeMap<Id, Arc<dyn HandshakeHook>>> = RwLock::new(BTreeMap::new());

/// Starts libsrt, once per process. It is never stopped, because its threads may run until the process ends.
pub(super) fn start() -> Result<(), CallError> {
    let started = srt_startup();
    srt_setloglevel(LOG_CRITICAL);
    checked(started, "srt_startup").map(drop)
}

/// Ends the process without exit handlers.
///
/// libsrt's exit handler closes all sockets and waits for its threads. With a thread in `srt_accept`, or with sockets
/// in use, it may wait forever.
pub fn exit(code: u8) -> ! {
    // SAFETY: the system ends all threads at once, so nothing of this process runs afterwards.
    unsafe { libc::_exit(c_int::from(code)) }
}

pub(super) fn create() -> Result<Id, CallError> {
    checked(srt_create_socket(), "srt_create_socket")
}

/// Passes a bound UDP socket to libsrt, which closes it when it is no longer needed.
pub(super) fn bind(socket: Id, udp: impl IntoRawFd) -> Result<(), CallError> {
    checked(srt_bind_acquire(socket, udp.into_raw_fd()), "srt_bind_acquire").map(drop)
}

/// Starts to listen. `hook` answers handshakes until the socket is closed.
pub(super) fn listen(socket: Id, backlog: i32, hook: Arc<dyn HandshakeHook>) -> Result<(), CallError> {
    HOOKS.write().insert(socket, hook);
    let opaque = std::ptr::without_provenance_mut(usize::try_from(socket).unwrap_or(0));
    // SAFETY: the callback has the signature that srt.h names, lives as long as the program, and takes `opaque` for a
    // number.
    let set = unsafe { srt_listen_callback(socket, on_handshake, opaque) };
    checked(set, "srt_listen_callback")?;
    checked(srt_listen(socket, backlog), "srt_listen").map(drop)
}

/// Returns the next accepted caller; waits for one if the listener is a blocking socket.
pub(super) fn accept(listener: Id) -> Result<Id, CallError> {
    // SAFETY: libsrt takes null pointers to mean that the caller's address is not wanted.
    checked(unsafe { srt_accept(listener, std::ptr::null_mut(), std::ptr::null_mut()) }, "srt_accept")
}

pub(super) fn connect(socket: Id, to: SocketAddr) -> Result<(), CallError> {
    let to = SockAddr::from(to);
    let length = c_int::try_from(to.len()).unwrap_or(0);
    // SAFETY: `to` is a socket address of `length` bytes and outlives the call, which copies it.
    checked(unsafe { srt_connect(socket, to.as_ptr().cast(), length) }, "srt_connect").map(drop)
}

pub(super) fn close(socket: Id) {
    // The only possible error is that the socket is already closed.
    let _ = srt_close(socket);
    HOOKS.write().remove(&socket);
}

pub(super) fn state(socket: Id) -> c_int {
    srt_getsockstate(socket)
}

pub(super) fn reject_reason(socket: Id) -> i32 {
    srt_getrejectreason(socket)
}

pub(super) fn set_int(socket: Id, option: c_int, value: c_int) -> Result<(), CallError> {
    set(socket, option, &value.to_ne_bytes())
}

pub(super) fn set_bool(socket: Id, option: c_int, value: bool) -> Result<(), CallError> {
    set_int(socket, option, c_int::from(value))
}

/// Sets an option to a text or to the bytes of a number.
pub(super) fn set(socket: Id, option: c_int, value: &[u8]) -> Result<(), CallError> {
    let length = c_int::try_from(value.len()).unwrap_or(c_int::MAX);
    // SAFETY: `value` is readable for its length during the call; libsrt checks that the length fits the option and
    // copies a number bytewise.
    checked(unsafe { srt_setsockflag(socket, option, value.as_ptr().cast(), length) }, "srt_setsockflag").map(drop)
}

/// Returns whether a message is due or the connection is broken.
///
/// Asking first is cheaper than receiving nothing, which throws an exception inside libsrt.
pub(super) fn is_due(socket: Id) -> bool {
    let (mut events, mut length): (c_int, c_int) = (0, size_of::<c_int>() as c_int);
    // SAFETY: libsrt writes a number of `length` bytes there during the call.
    let got = unsafe { srt_getsockflag(socket, OPT_EVENT, (&raw mut events).cast(), &raw mut length) };
    got == ERROR || events & (EVENT_IN | EVENT_BROKEN) != 0
}

/// Receives the next message; `None` if none is due. A message longer than `buffer` is truncated.
pub(super) fn receive(socket: Id, buffer: &mut [u8]) -> Result<Option<usize>, CallError> {
    let length = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
    // SAFETY: `buffer` is writable for `length` bytes during the call.
    let got = unsafe { srt_recv(socket, buffer.as_mut_ptr().cast(), length) };
    unless_it_would_block(got, ERROR_RECEIVE_WOULD_BLOCK, "srt_recv")
}

/// Sends one message; `None` if the send buffer is full.
pub(super) fn send(socket: Id, message: &[u8]) -> Result<Option<usize>, CallError> {
    let length = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
    // SAFETY: `message` is readable for `length` bytes during the call, which copies it.
    let sent = unsafe { srt_send(socket, message.as_ptr().cast(), length) };
    unless_it_would_block(sent, ERROR_SEND_WOULD_BLOCK, "srt_send")
}

/// Returns the statistics of a connection. Interval values are since the last call with `clear`.
pub(super) fn stats(socket: Id, clear: bool) -> Result<SrtStats, CallError> {
    // SAFETY: the structure is made of numbers only, for which zero is a value.
    let mut padded: PaddedStats = unsafe { std::mem::zeroed() };
    // SAFETY: libsrt writes its structure, which is no longer than ours with the room behind it.
    let got = unsafe { srt_bistats(socket, &raw mut padded, c_int::from(clear), 1) };
    checked(got, "srt_bistats").map(|_| padded.stats)
}

/// Callback of libsrt for a caller whose handshake is about to be answered.
extern "C" fn on_handshake(
    opaque: *mut c_void,
    socket: Id,
    _version: c_int,
    peer: *const c_void,
    stream_id: *const c_char,
) -> c_int {
    let hook = Id::try_from(opaque.addr()).ok().and_then(|listener| HOOKS.read().get(&listener).cloned());
    // SAFETY: both pointers are libsrt's own for the time of this call: a socket address as the system writes it, and a
    // string that ends with a zero.
    let (peer, stream_id) = unsafe { (address(peer), (!stream_id.is_null()).then(|| CStr::from_ptr(stream_id))) };
    let answer = match (hook, peer) {
        (Some(hook), Some(peer)) => {
            let stream_id = stream_id.map(CStr::to_bytes).unwrap_or_default();
            // A panic must not unwind into libsrt's stack frames.
            catch_unwind(AssertUnwindSafe(|| hook.ask(Handshake { socket, peer, stream_id })))
                .unwrap_or(Err(REJECT_OURS))
        }
        _ => Err(REJECT_OURS),
    };
    match answer {
        Ok(()) => LET_IN,
        Err(reason) => {
            let _ = srt_setrejectreason(socket, reason);
            ERROR
        }
    }
}

/// Reads a socket address.
///
/// # Safety
///
/// `from` is null or points to a `sockaddr_in` or `sockaddr_in6`, or to another kind that begins with its family.
unsafe fn address(from: *const c_void) -> Option<SocketAddr> {
    if from.is_null() {
        return None;
    }
    // SAFETY: by this function's contract there is a family, followed by as many bytes as the kind that it names has.
    // The storage is larger than each of the two.
    unsafe {
        let family = from.cast::<libc::sa_family_t>().read_unaligned();
        let length = match c_int::from(family) {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
            _ => return None,
        };
        let ((), address) = SockAddr::try_init(|storage, room| {
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), storage.cast(), length);
            *room = length as libc::socklen_t;
            Ok(())
        })
        .ok()?;
        address.as_socket()
    }
}

fn checked(result: c_int, call: &'static str) -> Result<c_int, CallError> {
    if result == ERROR { Err(CallError::last(call)) } else { Ok(result) }
}

fn unless_it_would_block(result: c_int, block: c_int, call: &'static str) -> Result<Option<usize>, CallError> {
    match checked(result, call) {
        Ok(bytes) => Ok(usize::try_from(bytes).ok()),
        Err(error) if error.code == block => Ok(None),
        Err(error) => Err(error),
    }
}
