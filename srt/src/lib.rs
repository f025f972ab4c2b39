//! SRT connections, as caller or as listener, without blocking a thread for each.
//!
//! libsrt runs the protocol on its own threads. This crate is the only one with unsafe code: safe functions over the C
//! interface, a [`Listener`] with a policy for each handshake ([`HandshakeHook`]), and a [`Connection`] that polls.

mod caller;
mod connection;
mod error;
mod ffi;
mod listener;
mod passphrase;
mod rejection;
mod socket;
mod stats;

pub use caller::CallerOptions;
pub use connection::Connection;
pub use error::Error;
pub use ffi::{CallError, Handshake, HandshakeHook, SocketId, exit};
pub use listener::{Acceptor, Incoming, Listener, ListenerOptions};
pub use passphrase::Passphrase;
pub use rejection::Rejection;
pub use stats::Stats;
