//! Tests of the server from outside: real sockets, a hand-made playback resolver, and logs of synthetic parts.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod media;
mod playlists;
mod requests;
mod support;
mod transport;
