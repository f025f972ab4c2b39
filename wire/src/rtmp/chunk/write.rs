//! The chunk writer.

use bytes::Bytes;

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
        let payload = payload.get(..MAX_MESSAGE).unwrap_or(payload);
        out.reserve(payload.len() + self.header_bytes(payload.len()));
        header.begin(out, payload.len());
        for (index, part) in payload.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                header.resume(out);
            }
            out.extend_from_slice(part);
        }
    }

    /// Appends a message to `out` as pieces for a vectored write: `lead`, which is copied between the headers, and then
    /// `payload`, of which only slices are handed out.
    ///
    /// A payload that makes the message longer than [`MAX_MESSAGE`] bytes is truncated.
    pub fn write_shared(&self, out: &mut Vec<Bytes>, header: MessageHeader, lead: &[u8], payload: &Bytes) {
        let lead = lead.get(..MAX_MESSAGE).unwrap_or(lead);
        let payload = payload.slice(..payload.len().min(MAX_MESSAGE - lead.len()));
        let total = lead.len() + payload.len();
        let mut fresh = Vec::with_capacity(lead.len() + self.header_bytes(total));
        // Where in `fresh` a slice of the payload belongs, and the slice.
        let mut slices = Vec::with_capacity(total / self.chunk_size + 1);
        header.begin(&mut fresh, total);
        for start in (0..total).step_by(self.chunk_size) {
            if start > 0 {
                header.resume(&mut fresh);
            }
            let end = total.min(start + self.chunk_size);
            fresh.extend_from_slice(lead.get(start..end.min(lead.len())).unwrap_or_default());
            if end > lead.len() {
                slices.push((fresh.len(), payload.slice(start.saturating_sub(lead.len())..end - lead.len())));
            }
        }
        let (mut fresh, mut written) = (Bytes::from(fresh), 0);
        for (at, slice) in slices {
            out.extend([fresh.split_to(at - written), slice]);
            written = at;
        }
        out.extend((!fresh.is_empty()).then_some(fresh));
    }

    /// Returns the most bytes that the headers of a message of `len` bytes have.
    const fn header_bytes(&self, len: usize) -> usize {
        (len / self.chunk_size + 1) * 5 + 15
    }
}

impl MessageHeader {
    /// Appends the full header of a message of `len` bytes.
    fn begin(&self, out: &mut Vec<u8>, len: usize) {
        let time = self.timestamp.min(EXTENDED).to_be_bytes();
        let length = (len as u32).to_be_bytes();
        out.push(self.id());
        out.extend_from_slice(&time[1..]);
        out.extend_from_slice(&length[1..]);
        out.push(self.kind);
        out.extend_from_slice(&self.stream_id.to_le_bytes());
        self.extend(out);
    }

    /// Appends the header of a chunk that continues the message.
    fn resume(&self, out: &mut Vec<u8>) {
        out.push(0xc0 | self.id());
        self.extend(out);
    }

    /// Appends the extended timestamp, if there is one.
    fn extend(&self, out: &mut Vec<u8>) {
        if self.timestamp >= EXTENDED {
            out.extend_from_slice(&self.timestamp.to_be_bytes());
        }
    }

    fn id(&self) -> u8 {
        self.chunk_stream.clamp(2, 63)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shared_pieces_are_the_same_bytes_and_no_copies(
            (chunk_size, lead, payload) in (1usize..40, 0usize..20, 0usize..200),
            timestamp in prop::sample::select(vec![0, EXTENDED - 1, EXTENDED, u32::MAX]),
        ) {
            let writer = Writer { chunk_size };
            let header = MessageHeader { chunk_stream: 6, kind: 9, stream_id: 1, timestamp };
            let lead: Vec<u8> = (0..lead as u8).collect();
            let payload: Bytes = (0..payload).map(|n| n as u8).collect();
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            writer.write(&mut whole, header, &[&lead[..], &payload].concat());
            writer.write_shared(&mut pieces, header, &lead, &payload);
            prop_assert_eq!(pieces.concat(), whole);
            let range = payload.as_ptr_range();
            let shared: usize = pieces.iter().filter(|p| range.contains(&p.as_ptr())).map(Bytes::len).sum();
            prop_assert_eq!(shared, payload.len());
        }
    }

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
