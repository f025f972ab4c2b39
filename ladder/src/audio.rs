//! Brings audio to the wanted loudness and encodes it.

pub(crate) mod encoder;
pub(crate) mod limiter;
pub(crate) mod loudness;
pub(crate) mod outputs;
