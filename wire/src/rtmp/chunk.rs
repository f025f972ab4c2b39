//! The chunk stream: messages split into chunks, so that a long message does not delay a short one.

mod read;
mod write;

use bytes::Bytes;

pub use read::{Limits, Reader};
pub use write::{MessageHeader, Writer};

/// Chunk size of both sides until a Set Chunk Size message.
pub const DEFAULT_CHUNK_SIZE: usize = 128;
/// Longest message, because its length has 24 bits. A larger chunk size is equivalent to this one.
pub const MAX_MESSAGE: usize = 0xff_ffff;
/// Message type that sets the sender's chunk size.
pub(super) const SET_CHUNK_SIZE: u8 = 1;
/// Message type that aborts an incomplete message.
pub(super) const ABORT: u8 = 2;
/// Value of a 24-bit time field that announces a 32-bit field.
const EXTENDED: u32 = 0xff_ffff;

/// A complete message, before [`Message::decode`](super::message::Message::decode).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// Message type.
    pub kind: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// Payload of the message, in an allocation of exactly its length.
    pub payload: Bytes,
    /// Offset of the message's first chunk in the connection.
    pub offset: u64,
}
