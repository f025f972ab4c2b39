//! The types that all other crates share: time, ids, tracks, frames and codec headers.
//!
//! Nothing here reads a clock, opens a socket or knows a transport. Media time is exact (see [`time`]), payloads are
//! shared [`bytes::Bytes`], and a [`track::Track`] holds everything that a packager needs to describe a stream.

pub mod backoff;
pub mod bits;
pub mod codec;
pub mod delay;
pub mod fault;
#[cfg(feature = "fixtures")]
pub mod fixtures;
pub mod frame;
pub mod frame_rate;
pub mod id;
pub mod tick_grid;
pub mod time;
pub mod track;

pub use codec::{CodecConfig, VideoRange};
pub use delay::LeastDelay;
pub use fault::{Fault, FaultReport};
pub use frame::{Access, Frame, Metadata, MetadataKind};
pub use frame_rate::{FrameRate, FrameRateEstimator};
pub use tick_grid::TickGrid;
pub use time::{TimeDelta, Timescale, Timestamp, WallTime};
pub use track::{Kind, Language, LatencyMode, Track, TrackId};
