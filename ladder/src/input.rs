//! Decodes the tracks of the current contribution.

pub(crate) mod audio_inputs;
pub(crate) mod decoder;
pub(crate) mod track_decoder;
