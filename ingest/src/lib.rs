//! Listeners, TLS, admission and limits; one task for each contribution.
//!
//! Bytes come in here and leave as `media` tracks and frames. The protocol is told by the state machines of `wire`;
//! who may publish is told by the [`Authorizer`]; where the frames go is the [`FrameSink`]'s business.

mod authorize;
mod budget;
#[doc(hidden)]
pub mod fuzz;
mod guard;
pub mod health;
mod rtmp;
mod server;
mod silence;
pub mod srt;
mod stats;

pub use authorize::{
    Admission, Authorizer, DisconnectReason, Encryption, FrameSink, Key, LinkStats, Passphrase, Protocol, Publish,
    Refusal,
};
pub use guard::Limits;
pub use rtmp::Transport;
pub use server::{Config, Server};
pub use stats::{RefusalCounts, Stats};
pub use wire::Item;
