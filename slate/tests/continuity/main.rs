//! Decoded media that comes and goes, and the output that does not, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod chance;
mod flow;
mod gaps;
mod sounds;
mod spliced;
mod stage;
