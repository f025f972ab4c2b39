//! The chunk reader: one buffer for each chunk stream, input cut anywhere, limits on everything.

use bytes::BytesMut;

use super::{ABORT, DEFAULT_CHUNK_SIZE, EXTENDED, MAX_MESSAGE, RawMessage, SET_CHUNK_SIZE};
use crate::error::{Error, Place};

/// Longest header: basic 3, message 11, extended timestamp 4 bytes.
const MAX_HEADER: usize = 18;

/// Limits of a [`Reader`]. A peer that exceeds one of them is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message, in bytes.
    pub message: usize,
    /// Most chunk streams in use.
    pub streams: usize,
    /// Most declared bytes of all incomplete messages.
    pub pending: usize,
    /// Bytes of memory allocated at once for the next messages; 0 gives each message its own allocation.
    pub block: usize,
}

/// Reassembles messages from chunks.
///
/// Each message is assembled once, in memory of exactly its length. The only copy is the one from the caller's read
/// buffer. With [`Limits::block`] that memory is cut from larger blocks, each freed with the last of its messages.
/// Frames of a stream are kept for about the same time, so they do not fragment the heap.
#[derive(Clone, Debug)]
pub struct Reader {
    limits: Limits,
    chunk_size: usize,
    streams: Vec<Stream>,
    pending: usize,
    /// Rest of the newest block.
    block: BytesMut,
    state: State,
    header: Header,
    /// Bytes read as an extended timestamp that turned out to be payload.
    carry: Carry,
    /// Number of bytes read from the connection, `carry` included.
    consumed: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Payload { stream: usize, left: usize },
}

#[derive(Clone, Debug, Default)]
struct Header {
    bytes: [u8; MAX_HEADER],
    len: usize,
    start: u64,
}

#[derive(Clone, Debug, Default)]
struct Carry {
    bytes: [u8; 4],
    at: usize,
    len: usize,
}

/// State of a chunk stream between chunks.
#[derive(Clone, Debug)]
struct Stream {
    id: u32,
    kind: u8,
    stream_id: u32,
    length: usize,
    timestamp: u32,
    /// The last time field, absolute or relative, as a type 3 chunk repeats it.
    time_field: u32,
    extended: bool,
    /// Offset of the incomplete message in the connection.
    start: u64,
    body: Option<BytesMut>,
}

/// The fields of one chunk header.
struct Fields {
    format: u8,
    chunk_stream: u32,
    /// Bytes of the basic header.
    basic: usize,
}

impl Fields {
    /// Returns the bytes of the basic and the message header, without an extended timestamp.
    fn fixed(&self) -> usize {
        self.basic + [11, 7, 3, 0][usize::from(self.format & 3)]
    }
}

impl Reader {
    /// Creates a reader whose first byte is byte `offset` of the connection.
    pub fn new(limits: Limits, offset: u64) -> Self {
        Self {
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: Vec::new(),
            pending: 0,
            block: BytesMut::new(),
            state: State::Header,
            header: Header::default(),
            carry: Carry::default(),
            consumed: offset,
        }
    }

    /// Sets new limits for everything that follows.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Returns the declared bytes of all incomplete messages; at most [`Limits::pending`].
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Takes bytes from the front of `input` up to the end of a message and returns it; `None` if all of `input` was
    /// taken first.
    ///
    /// Set Chunk Size and Abort take effect here, and are returned like all other messages.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<RawMessage>, Error> {
        loop {
            let message = if self.carry.at < self.carry.len {
                let bytes = self.carry.bytes;
                let mut carried = bytes.get(self.carry.at..self.carry.len).unwrap_or_default();
                let message = self.step(&mut carried)?;
                self.carry.at = self.carry.len - carried.len();
                message
            } else if input.is_empty() {
                return Ok(None);
            } else {
                let before = input.len();
                let message = self.step(input)?;
                self.consumed += (before - input.len()) as u64;
                message
            };
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// Continues one header or one payload; takes at least one byte.
    fn step(&mut self, input: &mut &[u8]) -> Result<Option<RawMessage>, Error> {
        match self.state {
            State::Header => {
                if self.header.len == 0 {
                    self.header.start = self.consumed - (self.carry.len - self.carry.at) as u64;
                }
                loop {
                    let need = self.header_len()?;
                    if self.header.len == need {
                        break;
                    }
                    let (taken, rest) = input.split_at(input.len().min(need - self.header.len));
                    if taken.is_empty() {
                        return Ok(None);
                    }
                    if let Some(slot) = self.header.bytes.get_mut(self.header.len..self.header.len + taken.len()) {
                        slot.copy_from_slice(taken);
                    }
                    self.header.len += taken.len();
                    *input = rest;
                }
                self.begin_chunk()
            }
            State::Payload { stream, left } => {
                let (taken, rest) = input.split_at(input.len().min(left));
                *input = rest;
                self.append(stream, left, taken)
            }
        }
    }

    /// Returns the length of the header as far as it is known. It grows while bytes arrive.
    fn header_len(&self) -> Result<usize, Error> {
        let Some(fields) = self.fields() else {
            return Ok(match self.header.bytes.first() {
                Some(first) if self.header.len > 0 => basic_len(*first),
                _ => 1,
            });
        };
        let fixed = fields.fixed();
        if self.header.len < fixed {
            return Ok(fixed);
        }
        let extended = if fields.format == 3 {
            match self.find(fields.chunk_stream) {
                Some(stream) => stream.extended,
                None => return Err(self.range("chunk > format of a new chunk stream", 3)),
            }
        } else {
            self.number(fields.basic, 3) == EXTENDED
        };
        Ok(if extended { fixed + 4 } else { fixed })
    }

    /// Parses the basic header; `None` if it is incomplete.
    fn fields(&self) -> Option<Fields> {
        let first = *self.header.bytes.first()?;
        let basic = basic_len(first);
        if self.header.len < basic {
            return None;
        }
        let [_, low, high, ..] = self.header.bytes;
        let chunk_stream = match first & 0x3f {
            0 => 64 + u32::from(low),
            1 => 64 + u32::from(low) + 256 * u32::from(high),
            id => id.into(),
        };
        Some(Fields { format: first >> 6, chunk_stream, basic })
    }

    /// Acts on a complete header: starts or continues a message.
    fn begin_chunk(&mut self) -> Result<Option<RawMessage>, Error> {
        let Some(fields) = self.fields() else { return Ok(None) };
        let index = self.open(&fields)?;
        let fixed = fields.fixed();
        let extension = (self.header.len > fixed).then(|| self.number(fixed, 4));
        let resumed = self.resume(index, &fields, extension);
        self.header.len = 0;
        if !resumed {
            self.start_message(index, &fields, extension)?;
        }
        let Some(stream) = self.streams.get(index) else { return Ok(None) };
        let left = stream.length - stream.body.as_ref().map_or(0, BytesMut::len);
        self.append(index, left.min(self.chunk_size), &[])
    }

    /// Returns whether the chunk continues the incomplete message.
    ///
    /// Only type 3 should, but encoders repeat longer headers. Type 3 must repeat the extended timestamp, but some
    /// encoders omit it: four bytes that differ from that timestamp are treated as payload.
    fn resume(&mut self, index: usize, fields: &Fields, extension: Option<u32>) -> bool {
        let (time, length) = (self.number(fields.basic, 3), self.number(fields.basic + 3, 3) as usize);
        let kind = self.header.bytes.get(fields.basic + 6).copied();
        let Some(stream) = self.streams.get_mut(index) else { return false };
        if stream.body.is_none() {
            return false;
        }
        match fields.format {
            0 => {
                let time = if time == EXTENDED { extension.unwrap_or(time) } else { time };
                time == stream.timestamp && length == stream.length && kind == Some(stream.kind)
            }
            1 => length == stream.length && kind == Some(stream.kind),
            2 => true,
            _ => {
                if extension.is_some_and(|e| stream.extended && e != stream.time_field && e != stream.timestamp) {
                    // This header had five bytes or more, so nothing of an earlier carry is left.
                    let bytes = extension.unwrap_or(0).to_be_bytes();
                    self.carry = Carry { bytes, at: 0, len: bytes.len() };
                }
                true
            }
        }
    }

    /// Takes the fields of a header that starts a message, and allocates the message.
    fn start_message(&mut self, index: usize, fields: &Fields, extension: Option<u32>) -> Result<(), Error> {
        let (field, length) = (self.number(fields.basic, 3), self.number(fields.basic + 3, 3) as usize);
        let kind = self.header.bytes.get(fields.basic + 6).copied().unwrap_or(0);
        let stream_id = self
            .header
            .bytes
            .get(fields.basic + 7..fields.basic + 11)
            .map_or(0, |bytes| bytes.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)));
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        // An incomplete message is aborted by the new one.
        self.pending -= stream.body.take().map_or(0, |_| stream.length);
        if fields.format < 3 {
            stream.extended = field == EXTENDED;
            stream.time_field = field;
        }
        if let Some(extension) = extension.filter(|_| stream.extended) {
            stream.time_field = extension;
        }
        // A type 3 chunk after a type 0 chunk adds the whole time of that chunk, as the specification says.
        stream.timestamp =
            if fields.format == 0 { stream.time_field } else { stream.timestamp.wrapping_add(stream.time_field) };
        if fields.format < 2 {
            (stream.length, stream.kind) = (length, kind);
        }
        if fields.format == 0 {
            stream.stream_id = stream_id;
        }
        stream.start = self.header.start;
        let length = stream.length;
        if length > self.limits.message {
            return Err(self.over("chunk > message length", length, self.limits.message));
        }
        if length > self.limits.pending - self.pending.min(self.limits.pending) {
            return Err(self.over("chunk > bytes under assembly", self.pending + length, self.limits.pending));
        }
        self.pending += length;
        let body = self.allocate(length);
        if let Some(stream) = self.streams.get_mut(index) {
            stream.body = Some(body);
        }
        Ok(())
    }

    /// Allocates `length` bytes, from the current block if possible.
    fn allocate(&mut self, length: usize) -> BytesMut {
        if length > self.block.capacity() {
            self.block = BytesMut::with_capacity(length.max(self.limits.block));
        }
        let rest = self.block.split_off(length);
        std::mem::replace(&mut self.block, rest)
    }

    /// Appends payload bytes to a message, of which this chunk has `left`; returns the message once it is complete.
    fn append(&mut self, index: usize, left: usize, bytes: &[u8]) -> Result<Option<RawMessage>, Error> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        let Some(body) = &mut stream.body else { return Ok(None) };
        body.extend_from_slice(bytes);
        let left = left - bytes.len();
        if body.len() < stream.length {
            self.state = if left == 0 { State::Header } else { State::Payload { stream: index, left } };
            return Ok(None);
        }
        self.state = State::Header;
        self.pending -= stream.length;
        let message = RawMessage {
            kind: stream.kind,
            stream_id: stream.stream_id,
            timestamp: stream.timestamp,
            payload: stream.body.take().unwrap_or_default().freeze(),
            offset: stream.start,
        };
        self.control(&message)?;
        Ok(Some(message))
    }

    /// Executes the two messages for the chunk layer itself.
    fn control(&mut self, message: &RawMessage) -> Result<(), Error> {
        if !matches!(message.kind, SET_CHUNK_SIZE | ABORT) {
            return Ok(());
        }
        let place = |path| Place::new("rtmp", message.offset, path);
        let Some(&[a, b, c, d]) = message.payload.get(..4) else {
            return Err(Error::Short { place: place("protocol control message") });
        };
        let value = u32::from_be_bytes([a, b, c, d]);
        if message.kind == ABORT {
            if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == value) {
                self.pending -= stream.body.take().map_or(0, |_| stream.length);
            }
            return Ok(());
        }
        if value == 0 || value > i32::MAX as u32 {
            return Err(Error::Range { place: place("set chunk size"), value: value.into() });
        }
        // No message is longer than that, so a larger chunk size changes nothing.
        self.chunk_size = (value as usize).min(MAX_MESSAGE);
        Ok(())
    }

    /// Returns the index of the header's chunk stream, which is added if it is new.
    fn open(&mut self, fields: &Fields) -> Result<usize, Error> {
        if let Some(index) = self.streams.iter().position(|stream| stream.id == fields.chunk_stream) {
            return Ok(index);
        }
        // A first chunk of type 1 lacks only the message stream id. librtmp sends such pings.
        if fields.format > 1 {
            return Err(self.range("chunk > format of a new chunk stream", fields.format.into()));
        }
        if self.streams.len() >= self.limits.streams {
            return Err(self.over("chunk > chunk streams", self.streams.len() + 1, self.limits.streams));
        }
        self.streams.push(Stream {
            id: fields.chunk_stream,
            kind: 0,
            stream_id: 0,
            length: 0,
            timestamp: 0,
            time_field: 0,
            extended: false,
            start: self.header.start,
            body: None,
        });
        Ok(self.streams.len() - 1)
    }

    fn find(&self, id: u32) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    /// Returns `len` bytes of the header as a big-endian number; zero beyond its end.
    fn number(&self, at: usize, len: usize) -> u32 {
        let bytes = self.header.bytes.get(at..at + len).unwrap_or_default();
        bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
    }

    fn range(&self, path: &str, value: u64) -> Error {
        Error::Range { place: Place::new("rtmp", self.header.start, path), value }
    }

    fn over(&self, path: &str, value: usize, limit: usize) -> Error {
        let place = Place::new("rtmp", self.header.start, path);
        Error::Limit { place, value: value as u64, limit: limit as u64 }
    }
}

/// Returns the length of the basic header that `first` begins.
const fn basic_len(first: u8) -> usize {
    match first & 0x3f {
        0 => 2,
        1 => 3,
        _ => 1,
    }
}
