//! The chunk writer.

use super::{DEFAULT_CHUNK_SIZE, EXTENDED, MAX_MESSAGE};

/// Header of a message for a [`Writer`].
#[derive(Clone, Copy, Debug)]
pub struct MessageHeader {
    /// Chunk stream id, 2 to 63.
    pub chunk_stream: u8,
    /// Message type.
    pub kind: u8,
    /// Message stream id.
    pub stream_id: u32,
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
}

/// Splits messages into chunks of the size last announced.
#[derive(Clone, Debug)]
pub struct Writer {
    chunk_size: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self { chunk_size: DEFAULT_CHUNK_SIZE }
    }
}

impl Writer {
    /// Sets the chunk size from now on. The peer must have been notified before, by a Set Chunk Size message.
    pub fn set_chunk_size(&mut self, size: usize) {
        self.chunk_size = size.clamp(1, MAX_MESSAGE);
    }

    /// Appends a message to `out`, with a full header first and type 3 headers after it.
    ///
    /// A payload longer than [`MAX_MESSAGE`] bytes is truncated. The chunk stream id is clamped to 2 to 63.
    pub fn write(&self, out: &mut Vec<u8>, header: MessageHeader, payload: &[u8]) {
        let MessageHeader { chunk_stream, kind, stream_id, timestamp } = header;
        let payload = payload.get(..MAX_MESSAGE).unwrap_or(payload);
        let id = chunk_stream.clamp(2, 63);
        let extension = (timestamp >= EXTENDED).then(|| timestamp.to_be_bytes());
        let time = timestamp.min(EXTENDED).to_be_bytes();
        let length = (payload.len() as u32).to_be_bytes();
        out.reserve(payload.len() + (payload.len() / self.chunk_size + 1) * 5 + 15);
        out.push(id);
        out.extend_from_slice(&time[1..]);
        out.extend_from_slice(&length[1..]);
        out.push(kind);
        out.extend_from_slice(&stream_id.to_le_bytes());
        out.extend_from_slice(extension.as_ref().map_or(&[], |e| &e[..]));
        for (index, part) in payload.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                out.push(0xc0 | id);
                out.extend_from_slice(extension.as_ref().map_or(&[], |e| &e[..]));
            }
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut() {
        let mut out = Vec::new();
        Writer::default().write(
            &mut out,
            MessageHeader { chunk_stream: 3, kind: 20, stream_id: 1, timestamp: 5 },
            &[9; 130],
        );
        assert_eq!(out[..12], [3, 0, 0, 5, 0, 0, 130, 20, 1, 0, 0, 0]);
        assert_eq!((out.len(), out[12 + 128], &out[12 + 129..]), (12 + 131, 0xc3, &[9u8, 9][..]));
    }

    #[test]
    fn a_late_time_is_repeated_in_each_chunk() {
        let mut out = Vec::new();
        Writer::default().write(
            &mut out,
            MessageHeader { chunk_stream: 4, kind: 9, stream_id: 1, timestamp: 0x0100_0000 },
            &[9; 129],
        );
        assert_eq!(out[1..4], [0xff; 3]);
        assert_eq!(out[12..16], [1, 0, 0, 0]);
        assert_eq!(out[16 + 128..], [0xc4, 1, 0, 0, 0, 9]);
    }
}
