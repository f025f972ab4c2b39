//! Bytes to send, as pieces for vectored writes.

use std::fmt;

use bytes::Bytes;

use crate::rtmp::chunk::{MessageHeader, Writer};
use crate::rtmp::message::Message;

/// Pieces in order. Small messages are collected in one piece.
#[derive(Clone, Default)]
pub(super) struct Output {
    pieces: Vec<Bytes>,
    small: Vec<u8>,
    /// Bytes of `pieces`.
    queued: usize,
    /// Bytes of small messages since the last [`Output::take`].
    small_total: usize,
}

impl Output {
    /// Appends whatever `write` appends.
    pub(super) fn with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.small.len();
        let result = write(&mut self.small);
        self.small_total += self.small.len() - before;
        result
    }

    /// Appends a message without a payload worth sharing.
    pub(super) fn message(&mut self, writer: &Writer, chunk_stream: u8, stream_id: u32, message: &Message) {
        let (kind, payload) = message.encode();
        let header = MessageHeader { chunk_stream, kind, stream_id, timestamp: 0 };
        self.with(|out| writer.write(out, header, &payload));
    }

    /// Appends a message of which `payload` is shared, not copied.
    pub(super) fn shared(&mut self, writer: &Writer, header: MessageHeader, lead: &[u8], payload: &Bytes) {
        self.flush();
        let before = self.pieces.len();
        writer.write_shared(&mut self.pieces, header, lead, payload);
        self.queued += self.pieces.iter().skip(before).map(Bytes::len).sum::<usize>();
    }

    /// Takes everything.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.flush();
        (self.queued, self.small_total) = (0, 0);
        std::mem::take(&mut self.pieces)
    }

    /// Returns the number of bytes that were not taken yet.
    pub(super) const fn len(&self) -> usize {
        self.queued + self.small.len()
    }

    /// Returns the number of those bytes that small messages have.
    pub(super) const fn small_len(&self) -> usize {
        self.small_total
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.queued += self.small.len();
            self.pieces.push(std::mem::take(&mut self.small).into());
        }
    }
}

/// Shows only the length, because the messages contain the stream key.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({} bytes)", self.len())
    }
}
