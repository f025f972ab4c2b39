//! RTMP (Adobe, "Real Time Messaging Protocol", 1.0), from the handshake to a publishing session.
//!
//! Only [`server`] has a role. The layers below have none: [`handshake`] comes first, [`chunk`] splits messages into
//! chunks and reassembles them, [`message`] decodes them by type, and [`clock`] unwraps their 32-bit times.

pub mod chunk;
pub mod clock;
mod enhanced;
pub mod handshake;
pub mod message;
mod secret;
pub mod server;
