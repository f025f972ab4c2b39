//! Synthetic contributions and the checker that every scenario goes through.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]
#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

pub mod check;
pub mod dependent;
pub mod source;
