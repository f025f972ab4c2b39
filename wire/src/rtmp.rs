//! RTMP (Adobe, "Real Time Messaging Protocol", 1.0), from the handshake to a publishing session.
//!
//! Two modules have a role: [`server`] receives a publication, [`client`] sends one. The layers below have none:
//! [`handshake`] comes first, [`chunk`] splits messages into chunks and reassembles them, [`message`] decodes them by
//! type, and [`clock`] unwraps their 32-bit times.

pub mod chunk;
pub mod client;
pub mod clock;
mod enhanced;
pub mod handshake;
pub mod message;
mod received;
pub mod server;
