//! The server from outside: real sockets, a directory made by hand, and logs made of synthetic parts.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod media;
mod playlists;
mod requests;
mod support;
mod transport;
