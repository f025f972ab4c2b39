//! Forwards the contribution's own frames instead of encoding them again.

mod limits;
pub(crate) mod parameter_sets;
pub(crate) mod passthrough;
pub(crate) mod rendition;
