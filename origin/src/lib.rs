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

mod api;
mod config;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod playback;
mod server;
mod stats;
mod worker;

pub use api::{ALPN_PROTOCOLS, BoxError, Fallback, FallbackBody, PeerAddress, TlsProvider};
pub use config::Config;
pub use error::Error;
pub use playback::broadcast::{Broadcast, BroadcastStats};
pub use playback::resolver::{Playback, PlaybackResolver};
pub use server::{Listener, Server};
pub use stats::{RouteKind, STATUS_CLASSES, Stats};
