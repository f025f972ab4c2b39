//! Decodes the tracks of the current contribution.

mod audio_inputs;
pub(crate) mod decoder;
pub(crate) mod inputs;
mod track_decoder;
