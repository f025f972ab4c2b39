//! The words every other crate speaks: time, ids, tracks, frames and codec headers.
//!
//! Nothing here reads a clock, opens a socket or knows a transport. Media time is exact (see [`time`]), payloads are
//! shared [`bytes::Bytes`], and a [`track::Track`] says all that a packager needs to describe a stream.

pub mod backoff;
pub mod bits;
pub mod codec;
pub mod delay;
pub mod fault;
pub mod frame;
pub mod id;
pub mod time;
pub mod track;

pub use codec::{CodecConfig, VideoRange};
pub use delay::LeastDelay;
pub use fault::{Fault, FaultReport};
pub use frame::{Access, Frame, Metadata, MetadataKind};
pub use time::{TimeDelta, Timescale, Timestamp, WallTime};
pub use track::{Kind, Language, LatencyMode, Track, TrackId};
