//! Brings audio to the wanted loudness and encodes it.

mod encoder;
mod limiter;
mod loudness;
pub(crate) mod outputs;
