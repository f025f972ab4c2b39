//! End to end: the real binary, real encoders, real players. Each test is a scenario that a user meets.

#![allow(clippy::print_stderr, reason = "a failing scenario shows what the server and the encoder said")]

mod auth;
mod commands;
mod continuity;
mod encoder_change;
mod enhanced_rtmp;
mod fidelity;
mod hevc;
mod lifecycle;
mod malformed_input;
mod no_media;
mod operator;
mod packet_loss;
mod players;
mod playlists;
mod publish;
mod readers;
mod shutdown;
mod slates;
mod srt;
mod store;
mod support;
mod transcoded;
