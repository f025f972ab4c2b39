//! Receives contributions: listeners, TLS, admission and limits, with one task for each connection.
//!
//! Bytes come in here and leave as `media` tracks and frames. The state machines of [`wire`] speak the protocols, an
//! [`Authorizer`] decides who may publish, and a [`FrameSink`] receives the frames.

mod authorize;
mod budget;
mod connection_limits;
#[doc(hidden)]
pub mod fuzz;
pub mod health;
mod rtmp;
mod server;
pub mod srt;
mod stall;
mod stats;

pub use ::srt::Passphrase;
pub use authorize::{
    Admission, Authorizer, DisconnectReason, Encryption, FrameSink, Key, LinkStats, Protocol, Publish, Refusal,
};
pub use connection_limits::Limits;
pub use rtmp::Transport;
pub use server::{Config, Server};
pub use stats::{RefusalCounts, Stats};
pub use wire::Item;
