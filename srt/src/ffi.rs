//! The C interface of libsrt, and safe functions over it: the server's only unsafe code.
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

use crate::rejection::Rejection;

/// Number of a socket. It stays the same from the handshake to the end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SocketId(c_int);

// Option, state and error numbers as in srt.h of libsrt 1.5.
pub(crate) const OPT_RCVSYN: c_int = 2;
pub(crate) const OPT_SNDSYN: c_int = 1;
pub(crate) const OPT_RCVBUF: c_int = 6;
pub(crate) const OPT_PASSPHRASE: c_int = 26;
pub(crate) const OPT_PBKEYLEN: c_int = 27;
pub(crate) const OPT_VERSION_MIN: c_int = 45;
pub(crate) const OPT_CONNTIMEO: c_int = 36;
pub(crate) const OPT_RCVLATENCY: c_int = 43;
pub(crate) const OPT_PEERLATENCY: c_int = 44;
/// Pending events of a socket; read only.
const OPT_EVENT: c_int = 18;
pub(crate) const OPT_STREAMID: c_int = 46;
pub(crate) const OPT_IPV6ONLY: c_int = 54;
pub(crate) const STATE_LISTENING: c_int = 3;
pub(crate) const STATE_CONNECTING: c_int = 4;
pub(crate) const STATE_CONNECTED: c_int = 5;
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
/// Only critical messages: libsrt logs each refused caller as an error, and there may be a hundred per second.
const LOG_CRITICAL: c_int = 2;

#[link(name = "srt-gnutls")]
unsafe extern "C" {
    safe fn srt_startup() -> c_int;
    safe fn srt_setloglevel(level: c_int);
    safe fn srt_create_socket() -> c_int;
    safe fn srt_bind_acquire(socket: SocketId, udp: c_int) -> c_int;
    safe fn srt_listen(socket: SocketId, backlog: c_int) -> c_int;
    safe fn srt_close(socket: SocketId) -> c_int;
    safe fn srt_getsockstate(socket: SocketId) -> c_int;
    safe fn srt_getrejectreason(socket: SocketId) -> c_int;
    safe fn srt_setrejectreason(socket: SocketId, reason: c_int) -> c_int;
    fn srt_listen_callback(socket: SocketId, hook: Callback, opaque: *mut c_void) -> c_int;
    fn srt_accept(socket: SocketId, address: *mut c_void, length: *mut c_int) -> c_int;
    fn srt_connect(socket: SocketId, address: *const c_void, length: c_int) -> c_int;
    fn srt_setsockflag(socket: SocketId, option: c_int, value: *const c_void, length: c_int) -> c_int;
    fn srt_getsockflag(socket: SocketId, option: c_int, value: *mut c_void, length: *mut c_int) -> c_int;
    fn srt_recv(socket: SocketId, buffer: *mut c_char, length: c_int) -> c_int;
    fn srt_send(socket: SocketId, buffer: *const c_char, length: c_int) -> c_int;
    fn srt_bistats(socket: SocketId, stats: *mut PaddedStats, clear: c_int, instantaneous: c_int) -> c_int;
    fn srt_getsndbuffer(socket: SocketId, packets: *mut usize, bytes: *mut usize) -> c_int;
    fn srt_getlasterror(system: *mut c_int) -> c_int;
    fn srt_strerror(code: c_int, system: c_int) -> *const c_char;
}

type Callback = extern "C" fn(*mut c_void, SocketId, c_int, *const c_void, *const c_char) -> c_int;

/// `SRT_TRACEBSTATS` of libsrt 1.5.1, with all fields in order. Fields without a use here begin with an underscore.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SrtStats {
    _time: i64,
    _sent_total: i64,
    pub(crate) received: i64,
    _send_lost: c_int,
    pub(crate) lost: c_int,
    _retransmitted_by_us: c_int,
    _acks: [c_int; 4],
    _sending: i64,
    _send_dropped: c_int,
    pub(crate) dropped: c_int,
    pub(crate) undecrypted: c_int,
    _bytes: [u64; 7],
    _interval_packets: [i64; 2],
    _interval_counts: [c_int; 3],
    pub(crate) retransmitted: c_int,
    _interval_acks: [c_int; 4],
    pub(crate) send_megabits: f64,
    pub(crate) receive_megabits: f64,
    _interval_sending: i64,
    _reorder_distance: c_int,
    _belated_time: f64,
    _belated: i64,
    _interval_drops: [c_int; 3],
    _interval_bytes: [u64; 7],
    _send_period: f64,
    _windows: [c_int; 3],
    pub(crate) round_trip_millis: f64,
    pub(crate) capacity_megabits: f64,
    _room: [c_int; 2],
    _ceiling: f64,
    _mss: c_int,
    _send_buffer: [c_int; 3],
    pub(crate) send_latency_millis: c_int,
    _receive_buffer: [c_int; 2],
    pub(crate) buffered_millis: c_int,
    pub(crate) latency_millis: c_int,
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
    pub const fn is_lost(&self) -> bool {
        matches!(self.code, ERROR_LOST | ERROR_NOT_CONNECTED | ERROR_FORGOTTEN)
    }
}

/// Handshake of a caller, before the answer.
#[derive(Debug)]
pub struct Handshake<'a> {
    /// The caller's socket if it is accepted.
    pub socket: SocketId,
    /// Address of the caller.
    pub peer: SocketAddr,
    /// The stream id that the caller sent; empty if it sent none.
    pub stream_id: &'a [u8],
}

/// Decides on handshakes.
pub trait HandshakeHook: Send + Sync {
    /// Accepts the caller, or rejects it with a reason. Called on libsrt's receiving thread, so it must not wait.
    fn ask(&self, handshake: Handshake<'_>) -> Result<(), Rejection>;
}

/// Hooks of the open listeners. libsrt gets a listener's number to find its hook by, instead of a pointer, so nothing
/// can be freed too early.
static HOOKS: RwLock<BTreeMap<SocketId, Arc<dyn HandshakeHook>>> = RwLock::new(BTreeMap::new());

/// Starts libsrt, once per process. It is never stopped, because its threads may run until the process ends.
pub(crate) fn start() -> Result<(), CallError> {
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

pub(crate) fn create() -> Result<SocketId, CallError> {
    checked(srt_create_socket(), "srt_create_socket").map(SocketId)
}

/// Passes a bound UDP socket to libsrt, which closes it when it is no longer needed.
pub(crate) fn bind(socket: SocketId, udp: impl IntoRawFd) -> Result<(), CallError> {
    checked(srt_bind_acquire(socket, udp.into_raw_fd()), "srt_bind_acquire").map(drop)
}

/// Starts to listen. `hook` answers handshakes until the socket is closed.
pub(crate) fn listen(socket: SocketId, backlog: i32, hook: Arc<dyn HandshakeHook>) -> Result<(), CallError> {
    HOOKS.write().insert(socket, hook);
    let opaque = std::ptr::without_provenance_mut(usize::try_from(socket.0).unwrap_or(0));
    // SAFETY: the callback has the signature that srt.h names, lives as long as the program, and takes `opaque` for a
    // number.
    let set = unsafe { srt_listen_callback(socket, on_handshake, opaque) };
    checked(set, "srt_listen_callback")?;
    checked(srt_listen(socket, backlog), "srt_listen").map(drop)
}

/// Returns the next accepted caller; waits for one if the listener is a blocking socket.
pub(crate) fn accept(listener: SocketId) -> Result<SocketId, CallError> {
    // SAFETY: libsrt takes null pointers to mean that the caller's address is not wanted.
    checked(unsafe { srt_accept(listener, std::ptr::null_mut(), std::ptr::null_mut()) }, "srt_accept").map(SocketId)
}

pub(crate) fn connect(socket: SocketId, to: SocketAddr) -> Result<(), CallError> {
    let to = SockAddr::from(to);
    let length = c_int::try_from(to.len()).unwrap_or(0);
    // SAFETY: `to` is a socket address of `length` bytes and outlives the call, which copies it.
    checked(unsafe { srt_connect(socket, to.as_ptr().cast(), length) }, "srt_connect").map(drop)
}

pub(crate) fn close(socket: SocketId) {
    // The only possible error is that the socket is already closed.
    let _ = srt_close(socket);
    HOOKS.write().remove(&socket);
}

pub(crate) fn state(socket: SocketId) -> c_int {
    srt_getsockstate(socket)
}

pub(crate) fn reject_reason(socket: SocketId) -> Rejection {
    Rejection(srt_getrejectreason(socket))
}

pub(crate) fn set_int(socket: SocketId, option: c_int, value: c_int) -> Result<(), CallError> {
    set(socket, option, &value.to_ne_bytes())
}

pub(crate) fn set_bool(socket: SocketId, option: c_int, value: bool) -> Result<(), CallError> {
    set_int(socket, option, c_int::from(value))
}

/// Sets an option to a text or to the bytes of a number.
pub(crate) fn set(socket: SocketId, option: c_int, value: &[u8]) -> Result<(), CallError> {
    let length = c_int::try_from(value.len()).unwrap_or(c_int::MAX);
    // SAFETY: `value` is readable for its length during the call; libsrt checks that the length fits the option and
    // copies a number bytewise.
    checked(unsafe { srt_setsockflag(socket, option, value.as_ptr().cast(), length) }, "srt_setsockflag").map(drop)
}

/// Returns whether a message is due or the connection is broken.
///
/// Asking first is cheaper than receiving nothing, which throws an exception inside libsrt.
pub(crate) fn is_due(socket: SocketId) -> bool {
    let (mut events, mut length): (c_int, c_int) = (0, size_of::<c_int>() as c_int);
    // SAFETY: libsrt writes a number of `length` bytes there during the call.
    let got = unsafe { srt_getsockflag(socket, OPT_EVENT, (&raw mut events).cast(), &raw mut length) };
    got == ERROR || events & (EVENT_IN | EVENT_BROKEN) != 0
}

/// Receives the next message; `None` if none is due. A message longer than `buffer` is truncated.
pub(crate) fn receive(socket: SocketId, buffer: &mut [u8]) -> Result<Option<usize>, CallError> {
    let length = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
    // SAFETY: `buffer` is writable for `length` bytes during the call.
    let got = unsafe { srt_recv(socket, buffer.as_mut_ptr().cast(), length) };
    unless_it_would_block(got, ERROR_RECEIVE_WOULD_BLOCK, "srt_recv")
}

/// Sends one message; `None` if the send buffer is full.
pub(crate) fn send(socket: SocketId, message: &[u8]) -> Result<Option<usize>, CallError> {
    let length = c_int::try_from(message.len()).unwrap_or(c_int::MAX);
    // SAFETY: `message` is readable for `length` bytes during the call, which copies it.
    let sent = unsafe { srt_send(socket, message.as_ptr().cast(), length) };
    unless_it_would_block(sent, ERROR_SEND_WOULD_BLOCK, "srt_send")
}

/// Returns the number of messages that the peer has not acknowledged, and the milliseconds between the oldest and the
/// newest of them.
pub(crate) fn unacknowledged(socket: SocketId) -> Result<(usize, u32), CallError> {
    let mut packets = 0;
    // SAFETY: libsrt writes a number to `packets` during the call, and takes a null pointer to mean that the other one is
    // not wanted.
    let millis = unsafe { srt_getsndbuffer(socket, &raw mut packets, std::ptr::null_mut()) };
    checked(millis, "srt_getsndbuffer").map(|millis| (packets, millis.unsigned_abs()))
}

/// Returns the statistics of a connection. Interval values are since the last call with `clear`.
pub(crate) fn stats(socket: SocketId, clear: bool) -> Result<SrtStats, CallError> {
    // SAFETY: the structure is made of numbers only, for which zero is a value.
    let mut padded: PaddedStats = unsafe { std::mem::zeroed() };
    // SAFETY: libsrt writes its structure, which is no longer than ours with the room behind it.
    let got = unsafe { srt_bistats(socket, &raw mut padded, c_int::from(clear), 1) };
    checked(got, "srt_bistats").map(|_| padded.stats)
}

/// Callback of libsrt for a caller whose handshake is about to be answered.
extern "C" fn on_handshake(
    opaque: *mut c_void,
    socket: SocketId,
    _version: c_int,
    peer: *const c_void,
    stream_id: *const c_char,
) -> c_int {
    let hook = c_int::try_from(opaque.addr()).ok().and_then(|listener| HOOKS.read().get(&SocketId(listener)).cloned());
    // SAFETY: both pointers are libsrt's own for the time of this call: a socket address as the system writes it, and a
    // string that ends with a zero.
    let (peer, stream_id) = unsafe { (address(peer), (!stream_id.is_null()).then(|| CStr::from_ptr(stream_id))) };
    let answer = match (hook, peer) {
        (Some(hook), Some(peer)) => {
            let stream_id = stream_id.map(CStr::to_bytes).unwrap_or_default();
            // A panic must not unwind into libsrt's stack frames.
            catch_unwind(AssertUnwindSafe(|| hook.ask(Handshake { socket, peer, stream_id })))
                .unwrap_or(Err(Rejection::INTERNAL))
        }
        _ => Err(Rejection::INTERNAL),
    };
    match answer {
        Ok(()) => LET_IN,
        Err(Rejection(reason)) => {
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
