//! Synthetic contributions and the checker that every scenario goes through.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]

pub mod check;
pub mod source;
