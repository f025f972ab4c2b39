//! The chunk stream: messages cut into chunks, so that a long one does not hold up a short one.

mod read;
mod write;

use bytes::Bytes;

pub use read::{Limits, Reader};
pub use write::Writer;

/// Chunk size of both sides until they say otherwise.
pub const DEFAULT_CHUNK_SIZE: usize = 128;
/// Longest message: its length has 24 bits. A larger chunk size means the same as this.
pub const MAX_MESSAGE: usize = 0xff_ffff;
/// Message type that sets the sender's chunk size.
pub(super) const SET_CHUNK_SIZE: u8 = 1;
/// Message type that gives up a message in the making.
pub(super) const ABORT: u8 = 2;
/// A 24-bit time of this value says that 32 bits follow.
const EXTENDED: u32 = 0xff_ffff;

/// A whole message, not yet looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// Message type.
    pub kind: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// The message's bytes, in an allocation of exactly their length.
    pub payload: Bytes,
    /// Offset in the connection of the message's first chunk.
    pub offset: u64,
}
