//! Decodes a programme once and encodes it as renditions of several sizes; the only crate that links GStreamer.

pub mod plan;
pub mod rate;
