//! End to end: the real binary, real encoders, real players. Each test is a scenario that a user meets.

#![allow(clippy::print_stderr, reason = "a failing scenario shows what the server and the encoder said")]

mod bad;
mod commands;
mod encoded;
mod enhanced;
mod fidelity;
mod going_down;
mod hevc;
mod lifecycle;
mod loss;
mod nothing;
mod operator;
mod players;
mod playlists;
mod publish;
mod readers;
mod refusal;
mod rejoin;
mod slates;
mod srt;
mod store;
mod support;
mod unbroken;
