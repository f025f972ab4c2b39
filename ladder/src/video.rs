//! Scales video and encodes it, one rendition after another.

pub(crate) mod captions;
pub(crate) mod colorimetry;
pub(crate) mod encoder;
pub(crate) mod output;
pub mod overload;
pub(crate) mod raw_frame;
mod rendition;
pub(crate) mod renditions;
mod resampler;
mod scaler;
pub(crate) mod slate_image;
mod tone_map;
