//! Scales video and encodes it, one rendition after another.

pub(crate) mod captions;
pub(crate) mod encoder;
pub mod overload;
pub(crate) mod raw_frame;
pub(crate) mod renditions;
pub(crate) mod resampler;
pub(crate) mod slate_image;
pub(crate) mod tone_map;
