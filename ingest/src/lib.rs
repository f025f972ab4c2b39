//! Listeners, TLS, admission and limits; one task for each contribution.
//!
//! Bytes come in here and leave as `media` tracks and frames. The protocol is told by the state machines of `wire`;
//! who may publish is told by the [`Gate`]; where the frames go is the [`Sink`]'s business.

mod gate;
mod guard;
mod rtmp;
mod stats;

pub use gate::{Admission, Gate, Protocol, Publish, Refusal, Sink, Stop};
pub use guard::Limits;
pub use rtmp::{Config, Server, Transport};
pub use stats::{RefusalCounts, Stats};
pub use wire::Item;
