//! RTMP messages by type: protocol control, commands, data and media.

use bytes::Bytes;

use super::chunk::{ABORT, RawMessage, SET_CHUNK_SIZE};
use crate::amf0::{self, Value};
use crate::error::{Error, Place};

const ACK: u8 = 3;
const USER_CONTROL: u8 = 4;
const WINDOW_ACK_SIZE: u8 = 5;
const SET_PEER_BANDWIDTH: u8 = 6;
pub(super) const AUDIO: u8 = 8;
pub(super) const VIDEO: u8 = 9;
const DATA_AMF3: u8 = 15;
const COMMAND_AMF3: u8 = 17;
const DATA: u8 = 18;
const COMMAND: u8 = 20;

const STREAM_BEGIN: u16 = 0;
const STREAM_EOF: u16 = 1;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// A decoded message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The sender's chunk size from now on.
    SetChunkSize(u32),
    /// The sender aborts the incomplete message on this chunk stream.
    Abort(u32),
    /// Total bytes received so far.
    Ack(u32),
    /// A stream event.
    UserControl(UserControl),
    /// The receiver must acknowledge each time it has received this many bytes.
    WindowAckSize(u32),
    /// The receiver must send at most `size` unacknowledged bytes.
    SetPeerBandwidth {
        /// Bytes.
        size: u32,
        /// 0 hard, 1 soft, 2 dynamic.
        limit: u8,
    },
    /// A call or the response to one.
    Command(Command),
    /// Metadata.
    Data(Vec<Value>),
    /// The body of an FLV audio tag.
    Audio(Bytes),
    /// The body of an FLV video tag.
    Video(Bytes),
    /// A type that Weir does not use.
    Other(u8),
}

/// A stream event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The message stream can be used from now on.
    StreamBegin(u32),
    /// The message stream has ended.
    StreamEof(u32),
    /// Asks for a ping response with the same time.
    PingRequest(u32),
    /// Response to a ping request.
    PingResponse(u32),
    /// An event that Weir does not use.
    Other(u16),
}

/// A call or the response to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Name of the procedure, or `_result`, `_error`, `onStatus`.
    pub name: String,
    /// Number that pairs the response with its call; 0 if no response is wanted.
    pub transaction: f64,
    /// The command object; null in most commands.
    pub object: Value,
    /// Arguments after the command object.
    pub arguments: Vec<Value>,
}

impl Command {
    /// Creates a command.
    pub fn new(name: &str, transaction: f64, object: Value, arguments: Vec<Value>) -> Self {
        Self { name: name.to_owned(), transaction, object, arguments }
    }
}

impl RawMessage {
    /// Returns whether the message is audio, video or metadata, which only a publication has.
    pub(super) const fn is_media(&self) -> bool {
        matches!(self.kind, AUDIO | VIDEO | DATA | DATA_AMF3)
    }
}

impl Message {
    /// Decodes a [`RawMessage`].
    pub fn decode(raw: &RawMessage) -> Result<Self, Error> {
        Ok(match raw.kind {
            SET_CHUNK_SIZE => Self::SetChunkSize(number(raw, 0)?),
            ABORT => Self::Abort(number(raw, 0)?),
            ACK => Self::Ack(number(raw, 0)?),
            USER_CONTROL => Self::UserControl(user_control(raw)?),
            WINDOW_ACK_SIZE => Self::WindowAckSize(number(raw, 0)?),
            SET_PEER_BANDWIDTH => {
                Self::SetPeerBandwidth { size: number(raw, 0)?, limit: raw.payload.get(4).copied().unwrap_or(2) }
            }
            COMMAND | COMMAND_AMF3 => Self::Command(command(raw)?),
            DATA | DATA_AMF3 => Self::Data(values(raw)?),
            AUDIO => Self::Audio(raw.payload.clone()),
            VIDEO => Self::Video(raw.payload.clone()),
            other => Self::Other(other),
        })
    }

    /// Returns the message's type and payload.
    pub fn encode(&self) -> (u8, Bytes) {
        let (kind, bytes) = match self {
            Self::SetChunkSize(n) => (SET_CHUNK_SIZE, n.to_be_bytes().to_vec()),
            Self::Abort(n) => (ABORT, n.to_be_bytes().to_vec()),
            Self::Ack(n) => (ACK, n.to_be_bytes().to_vec()),
            Self::UserControl(event) => (USER_CONTROL, event.encode()),
            Self::WindowAckSize(n) => (WINDOW_ACK_SIZE, n.to_be_bytes().to_vec()),
            Self::SetPeerBandwidth { size, limit } => {
                (SET_PEER_BANDWIDTH, size.to_be_bytes().into_iter().chain([*limit]).collect())
            }
            Self::Command(command) => {
                let mut out = Vec::new();
                Value::String(command.name.clone()).encode(&mut out);
                Value::Number(command.transaction).encode(&mut out);
                command.object.encode(&mut out);
                command.arguments.iter().for_each(|value| value.encode(&mut out));
                (COMMAND, out)
            }
            Self::Data(values) => {
                let mut out = Vec::new();
                values.iter().for_each(|value| value.encode(&mut out));
                (DATA, out)
            }
            Self::Audio(bytes) => return (AUDIO, bytes.clone()),
            Self::Video(bytes) => return (VIDEO, bytes.clone()),
            Self::Other(kind) => (*kind, Vec::new()),
        };
        (kind, bytes.into())
    }
}

impl UserControl {
    fn encode(self) -> Vec<u8> {
        let (event, value) = match self {
            Self::StreamBegin(n) => (STREAM_BEGIN, Some(n)),
            Self::StreamEof(n) => (STREAM_EOF, Some(n)),
            Self::PingRequest(n) => (PING_REQUEST, Some(n)),
            Self::PingResponse(n) => (PING_RESPONSE, Some(n)),
            Self::Other(event) => (event, None),
        };
        event.to_be_bytes().into_iter().chain(value.into_iter().flat_map(u32::to_be_bytes)).collect()
    }
}

fn user_control(raw: &RawMessage) -> Result<UserControl, Error> {
    let Some(&[high, low]) = raw.payload.get(..2) else {
        return Err(Error::Short { place: Place::new("rtmp", raw.offset, "user control > event") });
    };
    Ok(match u16::from_be_bytes([high, low]) {
        STREAM_BEGIN => UserControl::StreamBegin(number(raw, 2)?),
        STREAM_EOF => UserControl::StreamEof(number(raw, 2)?),
        PING_REQUEST => UserControl::PingRequest(number(raw, 2)?),
        PING_RESPONSE => UserControl::PingResponse(number(raw, 2)?),
        other => UserControl::Other(other),
    })
}

fn number(raw: &RawMessage, at: usize) -> Result<u32, Error> {
    match raw.payload.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => Err(Error::Short { place: Place::new("rtmp", raw.offset, format!("message type {}", raw.kind)) }),
    }
}

fn command(raw: &RawMessage) -> Result<Command, Error> {
    let mut values = values(raw)?.into_iter();
    let short = |field: &str| Error::Short {
        place: Place::new("rtmp", raw.offset, format!("message type {} > command > {field}", raw.kind)),
    };
    let Some(Value::String(name) | Value::LongString(name)) = values.next() else { return Err(short("name")) };
    // Calls without a response may omit everything else.
    let transaction = values.next().and_then(|value| value.as_f64()).unwrap_or(0.0);
    let object = values.next().unwrap_or(Value::Null);
    Ok(Command { name, transaction, object, arguments: values.collect() })
}

/// Decodes the AMF0 values of a command or data message. Those of the AMF3 types also are AMF0, after a zero byte.
fn values(raw: &RawMessage) -> Result<Vec<Value>, Error> {
    let mut bytes = &raw.payload[..];
    if let (DATA_AMF3 | COMMAND_AMF3, [0, rest @ ..]) = (raw.kind, bytes) {
        bytes = rest;
    }
    amf0::decode_all(bytes).map_err(|err| err.within("rtmp", raw.offset, &format!("message type {}", raw.kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(kind: u8, payload: &[u8]) -> RawMessage {
        RawMessage { kind, stream_id: 0, timestamp: 0, payload: Bytes::copy_from_slice(payload), offset: 4_193 }
    }

    #[test]
    fn every_type_comes_back() {
        for message in [
            Message::SetChunkSize(4_096),
            Message::Abort(4),
            Message::Ack(77),
            Message::UserControl(UserControl::StreamBegin(1)),
            Message::UserControl(UserControl::StreamEof(1)),
            Message::UserControl(UserControl::PingRequest(9)),
            Message::UserControl(UserControl::PingResponse(9)),
            Message::UserControl(UserControl::Other(31)),
            Message::WindowAckSize(2_500_000),
            Message::SetPeerBandwidth { size: 2_500_000, limit: 2 },
            Message::Command(Command::new("publish", 5.0, Value::Null, vec!["key".into(), "live".into()])),
            Message::Data(vec!["onMetaData".into(), Value::object([("width", 1280.0.into())])]),
            Message::Audio(Bytes::from_static(&[0xaf, 1])),
            Message::Video(Bytes::from_static(&[0x17, 1])),
            Message::Other(22),
        ] {
            let (kind, payload) = message.encode();
            assert_eq!(Message::decode(&raw(kind, &payload)).unwrap(), message);
        }
    }

    #[test]
    fn a_zero_length_command_is_an_error() {
        for kind in [COMMAND, COMMAND_AMF3] {
            let err = Message::decode(&raw(kind, &[])).unwrap_err();
            let place = format!("rtmp byte 4193: message type {kind} > command > name");
            assert_eq!(err.to_string(), format!("{place}: ends before the field is complete"));
        }
        for kind in [DATA, DATA_AMF3] {
            assert_eq!(Message::decode(&raw(kind, &[])).unwrap(), Message::Data(vec![]));
        }
    }

    #[test]
    fn any_short_control_message_is_an_error() {
        for kind in [SET_CHUNK_SIZE, ABORT, ACK, USER_CONTROL, WINDOW_ACK_SIZE, SET_PEER_BANDWIDTH] {
            for len in 0..4 {
                assert!(Message::decode(&raw(kind, &[0; 3][..len.min(3)])).is_err(), "type {kind}, {len} bytes");
            }
        }
    }

    #[test]
    fn the_amf3_types_contain_amf0_after_a_zero() {
        let (_, payload) = Message::Command(Command::new("play", 0.0, Value::Null, vec![])).encode();
        let payload = [&[0][..], &payload].concat();
        assert!(matches!(Message::decode(&raw(COMMAND_AMF3, &payload)), Ok(Message::Command(c)) if c.name == "play"));
    }

    #[test]
    fn an_error_in_a_command_names_its_path() {
        let err = Message::decode(&raw(COMMAND, &[2, 0, 1, b'x', 3, 0, 5])).unwrap_err();
        let place = "rtmp byte 4193: message type 20 > amf0 byte 7 > argument 1 > object > key";
        assert_eq!(err.to_string(), format!("{place}: ends before the field is complete"));
    }
}
