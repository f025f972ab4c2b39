//! Decodes a programme once and encodes it as renditions of several sizes; the only crate that links GStreamer.

mod api;
mod audio;
mod clock;
mod error;
mod inbox;
mod input;
mod ladder;
mod metadata_queue;
mod pipeline;
pub mod plan;
mod probe;
mod session;
pub mod slate_clip;
mod source;
mod transcode;
mod video;
mod worker;

pub use api::{Output, Settings, Sink, SlateImages, Stats};
pub use error::Error;
pub use input::decoder::{CHANNELS, Decoded, Decoder, SAMPLE_RATE};
pub use ladder::Ladder;
pub use video::encoder::{EncoderInfo, encoders};
pub use video::overload;
pub use video::raw_frame::RawFrame;
