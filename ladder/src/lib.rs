//! Decodes a programme once and encodes it as renditions of several sizes; the only crate that links GStreamer.

mod audio;
pub mod clip;
mod error;
mod inbox;
mod input;
mod ladder;
mod metadata_queue;
mod pipeline;
pub mod plan;
pub mod rate;
mod source;
mod video;
mod worker;

pub use error::Error;
pub use input::decoder::{CHANNELS, Decoded, Decoder, SAMPLE_RATE};
pub use ladder::{Ladder, Output, Settings, Sink, SlateImages, Stats};
pub use video::encoder::{EncoderInfo, encoders};
pub use video::overload;
pub use video::raw_frame::RawFrame;
