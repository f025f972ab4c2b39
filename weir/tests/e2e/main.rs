//! End-to-end tests with the real binary, real encoders and real players. Each test is a scenario of a user.

#![allow(clippy::print_stderr, reason = "a failing test shows the output of the server and of the encoder")]

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
mod simulcast;
mod slates;
mod srt;
mod store;
mod support;
mod targets;
mod transcoded;
