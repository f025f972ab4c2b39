//! The server's side of a session: from the handshake to the end of one publication.
//!
//! ```text
//! Handshake ─► Open ─connect─► Connected ─publish─► Waiting ─accept()─► Publishing ─► Closed
//! ```
//!
//! [`Event::Publish`] asks the caller to [`accept`](Session::accept) or [`reject`](Session::reject). Until then,
//! further bytes of the peer are buffered and not parsed. Unknown commands are ignored without a response, as other
//! servers do, because encoders rely on it.

mod publish;
mod reply;

use std::collections::VecDeque;

use bytes::Bytes;
use media::Kind;

use super::chunk::{self, Limits, MessageHeader, RawMessage, Reader, Writer};
use super::clock::Unwrap;
use super::handshake;
use super::message::{Command, Message, UserControl};
use super::received::Received;
use crate::amf0::Value;
use crate::error::{Error, Place};
use crate::flv::{self, Tag};

pub use crate::secret::Secret;
pub use handshake::RANDOM_LEN;
pub use publish::{ConnectInfo, Publish};

/// Most bytes buffered while a publication waits for its answer; with more, the session ends.
const MAX_WAITING: usize = 256 * 1_024;
/// Most bytes of answers in one call of [`Session::input`]; with more, the session ends.
const MAX_OUTPUT: usize = 256 * 1_024;

/// Configuration of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Limits on the peer's messages before [`Session::accept`].
    pub before: Limits,
    /// Limits on a publisher's messages.
    pub after: Limits,
    /// Chunk size of the server's messages.
    pub chunk_size: u32,
    /// Bytes after which the peer is asked to acknowledge. Also the server's own window until the peer sets another
    /// one.
    pub window: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            before: Limits { message: 64 * 1_024, streams: 8, pending: 128 * 1_024, block: 0 },
            after: Limits { message: chunk::MAX_MESSAGE, streams: 64, pending: 32 * 1_024 * 1_024, block: 512 * 1_024 },
            chunk_size: 4_096,
            window: 2_500_000,
        }
    }
}

/// Event of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The peer asks to publish. Answer with [`Session::accept`] or [`Session::reject`].
    Publish(Box<Publish>),
    /// [`Tag`] of an audio or video message, for one track.
    Media(Tag),
    /// The value of `onMetaData`. Encoders fill it with wrong values, so it is for information only.
    Metadata(Value),
    /// An audio, video or data message was invalid and skipped. The session continues.
    Skipped(Error),
    /// The publication ended, and the session with it. Closing the connection without a message also ends it.
    Ended(End),
}

/// Message with which a peer ended its publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// `FCUnpublish`.
    Unpublished,
    /// `deleteStream`.
    StreamDeleted,
    /// `closeStream`.
    StreamClosed,
    /// The user control message Stream EOF.
    StreamEof,
    /// A request to play, which was refused.
    PlayRefused,
}

/// Reason for refusing a publication, for the encoder's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Code that encoders evaluate.
    pub code: RejectionCode,
    /// Text that many encoders display.
    pub description: String,
}

/// The code of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// The key is unknown, or its stream is already being published: `NetStream.Publish.BadName`. GStreamer reports that
    /// to its user.
    BadName,
    /// The stream must not be published: `NetStream.Publish.Denied`.
    Denied,
    /// The server cannot take the stream now: `NetStream.Publish.Failed`.
    Failed,
    /// None of the published tracks is supported: `NetStream.Publish.Rejected`.
    Unsupported,
}

#[derive(Clone, Debug)]
enum Phase {
    Handshake(handshake::Server),
    Open,
    Connected,
    Waiting { stream_id: u32 },
    Publishing { stream_id: u32 },
    Closed,
}

/// One connection of an encoder.
///
/// Its memory is bounded by its [`Config`], except for the events and answers of the last [`input`](Self::input), which
/// are bounded by the size of that input.
#[derive(Clone, Debug)]
pub struct Session {
    config: Config,
    phase: Phase,
    reader: Reader,
    writer: Writer,
    out: Vec<u8>,
    events: VecDeque<Event>,
    info: ConnectInfo,
    waiting: Vec<u8>,
    clock: Unwrap,
    refusal: Option<Rejection>,
    received: Received,
}

impl Session {
    /// Creates a session at its first byte. `random` is sent in the handshake and need not be secret.
    pub fn new(config: Config, random: [u8; RANDOM_LEN]) -> Self {
        Self {
            phase: Phase::Handshake(handshake::Server::new(random)),
            reader: Reader::new(config.before, handshake::CLIENT_LEN),
            writer: Writer::default(),
            out: Vec::new(),
            events: VecDeque::new(),
            info: ConnectInfo::default(),
            waiting: Vec::new(),
            clock: Unwrap::default(),
            refusal: None,
            received: Received::new(config.window),
            config,
        }
    }

    /// Takes bytes from the peer, cut anywhere. Afterwards, drain [`poll`](Self::poll) and
    /// [`take_output`](Self::take_output). After an error the session cannot be used any more.
    ///
    /// Up to one event per two bytes may result, so pass about 64 KiB at a time.
    pub fn input(&mut self, input: &[u8]) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Waiting { .. }) {
            return self.run(input);
        }
        let size = self.waiting.len().saturating_add(input.len());
        if size > MAX_WAITING {
            return Err(self.over("bytes before the answer to publish", size, MAX_WAITING));
        }
        self.waiting.extend_from_slice(input);
        Ok(())
    }

    /// Returns the next [`Event`].
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the bytes to send to the peer.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Returns whether the session is over: send the output, then close after the peer does, or a moment later.
    ///
    /// GStreamer's `rtmp2sink` reports an error if it finds the connection closed before it closes it itself.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Returns the number of bytes of incomplete messages.
    pub const fn pending(&self) -> usize {
        self.reader.pending()
    }

    /// Returns true between [`accept`](Self::accept) and the end.
    pub const fn is_publishing(&self) -> bool {
        matches!(self.phase, Phase::Publishing { .. })
    }

    /// Starts the waiting publication and parses the bytes buffered meanwhile. Does nothing if no publication waits.
    pub fn accept(&mut self) -> Result<(), Error> {
        let Phase::Waiting { stream_id } = self.phase else { return Ok(()) };
        self.phase = Phase::Publishing { stream_id };
        self.reader.set_limits(self.config.after);
        self.send(reply::CONTROL, 0, &Message::UserControl(UserControl::StreamBegin(stream_id)));
        self.send(reply::STREAM, stream_id, &reply::publish_start());
        let waiting = std::mem::take(&mut self.waiting);
        self.run(&waiting)
    }

    /// Refuses the waiting publication, or ends the current one. Before there is one, refuses the next `connect`.
    /// Closes the session.
    pub fn reject(&mut self, rejection: Rejection) {
        match self.phase {
            Phase::Waiting { stream_id } | Phase::Publishing { stream_id } => {
                self.waiting = Vec::new();
                self.send(reply::STREAM, stream_id, &reply::publish_refused(&rejection));
                self.phase = Phase::Closed;
            }
            Phase::Handshake(_) | Phase::Open => self.refusal = Some(rejection),
            Phase::Connected | Phase::Closed => self.phase = Phase::Closed,
        }
    }

    fn run(&mut self, mut input: &[u8]) -> Result<(), Error> {
        if let Phase::Handshake(handshake) = &mut self.phase {
            if !handshake.read(&mut input, &mut self.out)? {
                return Ok(());
            }
            self.phase = Phase::Open;
        }
        loop {
            match self.phase {
                Phase::Closed => return Ok(()),
                Phase::Waiting { .. } => {
                    self.waiting = input.to_vec();
                    return Ok(());
                }
                _ => {}
            }
            let message = self.received.read(&mut self.reader, &mut input, u64::MAX)?;
            let idle = message.is_none() && input.is_empty();
            if let Some(raw) = message {
                self.message(&raw)?;
            }
            if let Some(acknowledgement) = self.received.acknowledgement() {
                self.send(reply::CONTROL, 0, &acknowledgement);
            }
            if self.out.len() > MAX_OUTPUT {
                return Err(self.over("answers", self.out.len(), MAX_OUTPUT));
            }
            if idle {
                return Ok(());
            }
        }
    }

    fn message(&mut self, raw: &RawMessage) -> Result<(), Error> {
        let media = raw.is_media();
        if media && !self.is_publishing() {
            // Ignored, because no publication was accepted yet.
            return Ok(());
        }
        let message = match Message::decode(raw) {
            Err(err) if media => {
                self.events.push_back(Event::Skipped(err));
                return Ok(());
            }
            decoded => decoded?,
        };
        match message {
            Message::Command(command) => self.command(command, raw)?,
            Message::Audio(body) => self.media(raw, Kind::Audio, &body),
            Message::Video(body) => self.media(raw, Kind::Video, &body),
            Message::Data(values) => self.data(values),
            Message::UserControl(UserControl::PingRequest(time)) => {
                self.send(reply::CONTROL, 0, &Message::UserControl(UserControl::PingResponse(time)));
            }
            Message::UserControl(UserControl::StreamEof(_)) => self.end(End::StreamEof),
            Message::WindowAckSize(size) => self.received.set_window(size),
            Message::SetChunkSize(_)
            | Message::Abort(_)
            | Message::Ack(_)
            | Message::UserControl(_)
            | Message::SetPeerBandwidth { .. }
            | Message::Other(_) => {}
        }
        Ok(())
    }

    fn media(&mut self, raw: &RawMessage, kind: Kind, body: &Bytes) {
        // The clock advances even if the body is unusable.
        let millis = self.clock.millis(raw.timestamp);
        let read = flv::read(kind, body, |packet| self.events.push_back(Event::Media(Tag { millis, packet })));
        if let Err(err) = read {
            let err = err.within("rtmp", raw.offset, &format!("message type {}", raw.kind));
            self.events.push_back(Event::Skipped(err));
        }
    }

    /// Finds `onMetaData`, which most encoders wrap in `@setDataFrame`.
    fn data(&mut self, values: Vec<Value>) {
        let mut values = values.into_iter().peekable();
        values.next_if(|value| value.as_str() == Some("@setDataFrame"));
        if values.next().is_some_and(|name| name.as_str() == Some("onMetaData")) {
            self.events.extend(values.next().map(Event::Metadata));
        }
    }

    fn command(&mut self, command: Command, raw: &RawMessage) -> Result<(), Error> {
        match command.name.as_str() {
            "connect" => self.connect(&command, raw)?,
            "createStream" => self.send(reply::COMMAND, 0, &reply::stream_created(command.transaction)),
            "releaseStream" | "_checkbw" => self.send(reply::COMMAND, 0, &reply::done(command.transaction)),
            "getStreamLength" => self.send(reply::COMMAND, 0, &reply::stream_length(command.transaction)),
            "FCPublish" => {
                self.send(reply::COMMAND, 0, &reply::done(command.transaction));
                self.send(reply::COMMAND, 0, &reply::on_fc_publish());
            }
            "publish" => self.publish(&command, raw)?,
            "play" | "play2" => {
                self.send(reply::STREAM, raw.stream_id, &reply::play_refused());
                self.phase = Phase::Closed;
                self.events.push_back(Event::Ended(End::PlayRefused));
            }
            "FCUnpublish" => self.end(End::Unpublished),
            "deleteStream" => self.end(End::StreamDeleted),
            "closeStream" => self.end(End::StreamClosed),
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, command: &Command, raw: &RawMessage) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Open) {
            return Err(unexpected(raw, "a second connect"));
        }
        if let Some(rejection) = self.refusal.take() {
            self.send(reply::COMMAND, 0, &reply::connect_refused(command.transaction, &rejection.description));
            self.phase = Phase::Closed;
            return Ok(());
        }
        self.info = ConnectInfo::read(&command.object);
        self.send(reply::CONTROL, 0, &Message::WindowAckSize(self.config.window));
        self.send(reply::CONTROL, 0, &Message::SetPeerBandwidth { size: self.config.window, limit: 2 });
        self.send(reply::CONTROL, 0, &Message::SetChunkSize(self.config.chunk_size));
        self.writer.set_chunk_size(self.config.chunk_size as usize);
        self.send(reply::COMMAND, 0, &reply::connected(command.transaction, self.info.is_enhanced()));
        self.phase = Phase::Connected;
        Ok(())
    }

    fn publish(&mut self, command: &Command, raw: &RawMessage) -> Result<(), Error> {
        if !matches!(self.phase, Phase::Connected) {
            return Err(unexpected(raw, "publish"));
        }
        let name = command.arguments.first().and_then(Value::as_str).unwrap_or_default();
        let info = std::mem::take(&mut self.info);
        self.events.push_back(Event::Publish(Box::new(Publish::new(info, name))));
        self.phase = Phase::Waiting { stream_id: raw.stream_id };
        Ok(())
    }

    /// Ends the publication. Some encoders send these commands before they publish; then they have no effect.
    fn end(&mut self, end: End) {
        if self.is_publishing() {
            self.phase = Phase::Closed;
            self.events.push_back(Event::Ended(end));
        }
    }

    fn send(&mut self, chunk_stream: u8, stream_id: u32, message: &Message) {
        let (kind, payload) = message.encode();
        self.writer.write(&mut self.out, MessageHeader { chunk_stream, kind, stream_id, timestamp: 0 }, &payload);
    }

    fn over(&self, path: &str, value: usize, limit: usize) -> Error {
        let place = Place::new("rtmp", handshake::CLIENT_LEN.saturating_add(self.received.total()), path);
        Error::Limit { place, value: value as u64, limit: limit as u64 }
    }
}

fn unexpected(raw: &RawMessage, what: &'static str) -> Error {
    Error::Unexpected { place: Place::new("rtmp", raw.offset, format!("message type {}", raw.kind)), what }
}
