//! Forwards the contribution's own frames instead of encoding them again.

pub(crate) mod parameter_sets;
pub(crate) mod passthrough;
pub(crate) mod rendition;
