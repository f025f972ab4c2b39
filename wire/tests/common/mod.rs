//! A small publishing client, and a driver that passes its bytes to a session, cut anywhere.

use wire::amf0::Value;
use wire::rtmp::chunk::{MessageHeader, Writer};
use wire::rtmp::message::{Command, Message};
use wire::rtmp::server::{Config, Event, RANDOM_LEN, Session};

/// Bytes of the client's handshake.
pub(crate) const HANDSHAKE: usize = 1 + 2 * 1_536;

/// AVC sequence header tag: x264, 1280x720, High profile.
pub(crate) const AVC_HEADER: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0, 25, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05,
    0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 1, 0, 4, 0x68,
    0xeb, 0xe3, 0xcb,
];
/// AAC sequence header tag: AAC-LC, 48 kHz, stereo.
pub(crate) const AAC_HEADER: &[u8] = &[0xaf, 0, 0x11, 0x90];

/// Writes the messages of a publisher.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) bytes: Vec<u8>,
    pub(crate) writer: Writer,
}

impl Client {
    /// Creates a client after its handshake.
    pub(crate) fn new() -> Self {
        let mut bytes = vec![3];
        bytes.resize(HANDSHAKE, 0x5a);
        Self { bytes, writer: Writer::default() }
    }

    /// Creates a client that has asked to publish `key` on `app`.
    pub(crate) fn publishing(app: &str, key: &str) -> Self {
        let mut client = Self::new();
        client.connect(app);
        client.command(4, "releaseStream", 2.0, vec![key.into()]);
        client.command(4, "FCPublish", 3.0, vec![key.into()]);
        client.command(4, "createStream", 4.0, vec![]);
        client.command(1, "publish", 5.0, vec![key.into(), "live".into()]);
        client
    }

    pub(crate) fn connect(&mut self, app: &str) {
        let object = Value::object([
            ("app", app.into()),
            ("type", "nonprivate".into()),
            ("flashVer", "FMLE/3.0 (compatible; test)".into()),
            ("tcUrl", format!("rtmp://localhost/{app}").as_str().into()),
            ("fourCcList", Value::StrictArray(vec!["av01".into(), "hvc1".into()])),
            ("capsEx", 5.0.into()),
        ]);
        self.send(3, 0, 0, &Message::Command(Command::new("connect", 1.0, object, vec![])));
    }

    pub(crate) fn command(&mut self, stream: u32, name: &str, transaction: f64, arguments: Vec<Value>) {
        self.send(3, stream, 0, &Message::Command(Command::new(name, transaction, Value::Null, arguments)));
    }

    pub(crate) fn chunk_size(&mut self, size: u32) {
        self.send(2, 0, 0, &Message::SetChunkSize(size));
        self.writer.set_chunk_size(size as usize);
    }

    pub(crate) fn video(&mut self, timestamp: u32, body: &[u8]) {
        self.send(6, 1, timestamp, &Message::Video(body.to_vec().into()));
    }

    pub(crate) fn audio(&mut self, timestamp: u32, body: &[u8]) {
        self.send(4, 1, timestamp, &Message::Audio(body.to_vec().into()));
    }

    pub(crate) fn send(&mut self, chunk_stream: u8, stream: u32, timestamp: u32, message: &Message) {
        let (kind, payload) = message.encode();
        self.writer.write(
            &mut self.bytes,
            MessageHeader { chunk_stream, kind, stream_id: stream, timestamp },
            &payload,
        );
    }
}

/// Creates a session with the default configuration.
pub(crate) fn session() -> Session {
    Session::new(Config::default(), [7; RANDOM_LEN])
}

/// Passes `parts` to the session and accepts requests to publish; returns the events, the answers and the first error.
pub(crate) fn drive(session: &mut Session, parts: &[&[u8]]) -> (Vec<Event>, Vec<u8>, Option<String>) {
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for part in parts {
        let mut result = session.input(part);
        while let Some(event) = session.poll() {
            if matches!(event, Event::Publish(_)) {
                result = result.and_then(|()| session.accept());
            }
            events.push(event);
        }
        out.extend(session.take_output());
        if let Err(err) = result {
            return (events, out, Some(err.to_string()));
        }
    }
    (events, out, None)
}
