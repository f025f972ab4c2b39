//! Bytes in pieces, so that a frame's payload is never copied.

use std::sync::Arc;

use bytes::Bytes;

/// Bytes in pieces: newly written boxes between frame payloads that are shared with the contribution they came from.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    pieces: Arc<[Bytes]>,
    len: u64,
}

impl Payload {
    /// The pieces one after another.
    pub fn new(pieces: impl Into<Arc<[Bytes]>>) -> Self {
        let pieces = pieces.into();
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, len }
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The length of all pieces in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no byte.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> impl Iterator<Item = &u8> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }
}

/// Equal bytes, however they are cut into pieces.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.bytes().eq(other.bytes())
    }
}

impl Eq for Payload {}
