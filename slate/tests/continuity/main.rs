//! Uninterrupted output of decoded media that comes and goes, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod audio_tracks;
mod flow;
mod gaps;
mod random;
mod simulation;
mod spliced;
