//! Folds a broadcast's packaged log into a window in memory and serves it.
//!
//! The writer of a broadcast appends events to a [`Broadcast`]; a [`Server`] finds it by its playback id in a
//! [`PlaybackResolver`] and answers viewers: playlists, init sections, segments, parts, and the page to watch them on. All other
//! requests go to a [`Fallback`].
//!
//! ```text
//! append ─► window ─► gates ─► pump of each worker ─► its blocked readers
//!                └──► playlists, rendered once a version ─► bytes shared by all readers
//! ```
//!
//! Invariants: a payload byte is never copied on its way to the socket; nothing about a reader is ever waited for by the
//! writer; no connection has a timer, and none that is plain HTTP/1.1 a buffer, of its own.

mod answer;
mod body;
mod broadcast;
mod config;
mod connection;
mod cork;
mod directory;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod host;
mod playlists;
mod pulse;
mod range;
mod rendered;
mod reply;
mod request;
mod rewind;
mod route;
mod server;
mod service;
mod stats;
mod watch;
mod worker;

pub use body::{BoxError, FallbackBody};
pub use broadcast::{Broadcast, BroadcastStats};
pub use config::Config;
pub use connection::ALPN_PROTOCOLS;
pub use directory::{Playback, PlaybackResolver};
pub use error::Error;
pub use server::{Listener, Server, TlsProvider};
pub use service::{Fallback, PeerAddress};
pub use stats::{RouteKind, STATUS_CLASSES, Stats};
