//! The server from outside: real sockets, a directory made by hand, and logs made of synthetic parts.

mod media;
mod playlists;
mod support;
mod transport;
