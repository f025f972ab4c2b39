//! Listeners, TLS, admission and limits; one task for each contribution.
//!
//! Bytes come in here and leave as `media` tracks and frames. The protocol is told by the state machines of `wire`;
//! who may publish is told by the [`Gate`]; where the frames go is the [`Sink`]'s business.

mod budget;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod guard;
pub mod health;
mod rtmp;
mod server;
mod silence;
pub mod srt;
mod stats;

pub use gate::{Admission, Encryption, Gate, Key, LinkFigures, Passphrase, Protocol, Publish, Refusal, Sink, Stop};
pub use guard::Limits;
pub use rtmp::Transport;
pub use server::{Config, Server};
pub use stats::{RefusalCounts, Stats};
pub use wire::Item;
