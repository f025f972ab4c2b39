//! Folds the packaged log of a broadcast into a window in memory, and serves that window over HTTP.
//!
//! The writer of a broadcast appends events to a [`Broadcast`]. A [`Server`] finds the broadcast by its playback id
//! with a [`PlaybackResolver`], and answers viewers: playlists, init sections, segments, parts, and the watch page. A
//! [`Fallback`] answers all other requests.
//!
//! ```text
//! append ─► window ─► wait points ─► waker of each worker ─► its blocked readers
//!                └──► playlists, rendered once per version ─► bytes shared by all readers
//! ```
//!
//! Invariants: no payload byte is copied on its way to the socket. The writer never waits for a reader. No connection
//! has a timer of its own, and no plain HTTP/1.1 connection has a buffer of its own.

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
