//! RTMP (Adobe, "Real Time Messaging Protocol", 1.0), from the handshake up to a publishing session.
//!
//! The layers know no role but [`server`]: [`handshake`] before anything, [`chunk`] cuts messages into chunks and puts
//! them together again, [`message`] gives them a type, [`clock`] makes their 32-bit times whole.

pub mod chunk;
pub mod clock;
pub mod handshake;
pub mod message;
pub mod server;
