//! Decodes a programme once and encodes it as renditions of several sizes; the only crate that links GStreamer.

mod beside;
mod captions;
pub mod clip;
mod decoder;
mod encoder;
mod error;
mod inbox;
mod ladder;
mod lane;
mod limiter;
mod loudness;
pub mod overload;
mod own;
mod picture;
mod pipe;
pub mod plan;
pub mod rate;
mod resample;
mod rungs;
mod sound;
mod sounds;
mod source;
mod still;
mod told;
mod tone;
mod voices;
mod work;

pub use decoder::{CHANNELS, Decoded, Decoder, SAMPLE_RATE};
pub use encoder::{EncoderInfo, encoders};
pub use error::Error;
pub use ladder::{Ladder, Output, Settings, Sink, SlateImages, Stats};
pub use picture::RawFrame;
