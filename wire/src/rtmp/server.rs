//! The server's side of a session: from the handshake to the end of one publication.
//!
//! ```text
//! Handshake ─► Open ─connect─► Connected ─publish─► Waiting ─accept()─► Publishing ─► Closed
//! ```
//!
//! [`Event::Publish`] asks the caller to [`accept`](Session::accept) or [`reject`](Session::reject); until it does, what
//! the peer sends on is kept and not looked at. Commands that Weir does not know are passed over without an answer, as
//! other servers do: encoders rely on it.

mod publish;
mod reply;

use std::collections::VecDeque;

use bytes::Bytes;
use media::Kind;

use super::chunk::{self, Limits, RawMessage, Reader, Writer};
use super::clock::Unwrap;
use super::handshake;
use super::message::{Command, Message, UserControl};
use crate::amf0::Value;
use crate::error::{Error, Place};
use crate::flv::{self, Tag};

pub use handshake::RANDOM_LEN;
pub use publish::{ConnectInfo, Publish, Secret};

/// Bytes kept while a publication waits for its answer; the session ends beyond.
const MAX_WAITING: usize = 256 * 1_024;
/// Bytes of answers that the peer made us owe it in one call of [`Session::input`]; the session ends beyond.
const MAX_OUTPUT: usize = 256 * 1_024;
/// Smallest acknowledgement window obeyed: a peer cannot make us answer each byte.
const MIN_WINDOW: u64 = 4_096;

/// How a session is to behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What a peer may make us hold before [`Session::accept`].
    pub before: Limits,
    /// What a publisher may make us hold.
    pub after: Limits,
    /// Our own chunk size.
    pub chunk_size: u32,
    /// Bytes after which we ask the peer to acknowledge, and after which we do until it says otherwise.
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

/// What a session has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The peer wants to publish. Answer with [`Session::accept`] or [`Session::reject`].
    Publish(Box<Publish>),
    /// What an audio or video message says of one track.
    Media(Tag),
    /// The value of `onMetaData`. It lies: for information only.
    Metadata(Value),
    /// An audio, video or data message that made no sense was left out; the session goes on.
    Skipped(Error),
    /// The publication is over, and with it the session. A bare close of the connection ends it as well.
    Ended(End),
}

/// How a peer ended its publication.
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
    /// It asked to play, which was refused.
    PlayRefused,
}

/// Why a publication is refused, in words for the encoder's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The code encoders know.
    pub code: RejectionCode,
    /// The sentence many of them show.
    pub description: String,
}

/// The code of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// The stream is being published already: `NetStream.Publish.BadName`. GStreamer tells its user so.
    BadName,
    /// The key is unknown, or its stream may not be published now: `NetStream.Publish.Denied`.
    Denied,
    /// Nothing that is published can be carried: `NetStream.Publish.Rejected`.
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

/// One connection of an encoder. It holds no more than its [`Config`] allows, the events and answers of the last call
/// of [`input`](Self::input) apart, which its slice bounds.
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
    received: u64,
    acknowledged: u64,
    window: u64,
}

impl Session {
    /// A session at its first byte. `random` goes into the handshake and need not be secret.
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
            received: 0,
            acknowledged: 0,
            window: u64::from(config.window).max(MIN_WINDOW),
            config,
        }
    }

    /// Takes bytes that the peer sent, cut anywhere; then drain [`poll`](Self::poll) and
    /// [`take_output`](Self::take_output). After an error the session is of no use.
    ///
    /// Events wait to be drained, one for each two bytes at the worst: feed some 64 KiB at a time.
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

    /// The next event.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes the bytes to send to the peer.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// True once there is nothing more to come: send the output, then close when the peer has, or a moment later. A
    /// `rtmp2sink` that finds the connection closed before it closes it itself reports an error.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Bytes of the messages under assembly.
    pub const fn pending(&self) -> usize {
        self.reader.pending()
    }

    /// True between [`accept`](Self::accept) and the end.
    pub const fn is_publishing(&self) -> bool {
        matches!(self.phase, Phase::Publishing { .. })
    }

    /// Lets the waiting publication begin, and looks at what was kept meanwhile. Nothing waits: nothing happens.
    pub fn accept(&mut self) -> Result<(), Error> {
        let Phase::Waiting { stream_id } = self.phase else { return Ok(()) };
        self.phase = Phase::Publishing { stream_id };
        self.reader.set_limits(self.config.after);
        self.send(reply::CONTROL, 0, &Message::UserControl(UserControl::StreamBegin(stream_id)));
        self.send(reply::STREAM, stream_id, &reply::publish_start());
        let waiting = std::mem::take(&mut self.waiting);
        self.run(&waiting)
    }

    /// Refuses the waiting publication, or ends the one under way. Before there is one, it refuses the coming `connect`:
    /// for a peer that shall get no further. The session is closed by it.
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
            // Cut where the next acknowledgement is due, so that it does not depend on how the bytes came in.
            let due = (self.acknowledged + self.window).saturating_sub(self.received);
            let (mut head, _) = input.split_at(input.len().min(usize::try_from(due).unwrap_or(usize::MAX)));
            let before = head.len();
            let message = self.reader.read(&mut head)?;
            let taken = before - head.len();
            self.received += taken as u64;
            input = input.get(taken..).unwrap_or_default();
            let idle = message.is_none() && input.is_empty();
            if let Some(raw) = message {
                self.message(&raw)?;
            }
            self.acknowledge();
            if self.out.len() > MAX_OUTPUT {
                return Err(self.over("answers", self.out.len(), MAX_OUTPUT));
            }
            if idle {
                return Ok(());
            }
        }
    }

    /// Tells the total of bytes received, modulo 2^32, each time a window is full.
    fn acknowledge(&mut self) {
        if self.received >= self.acknowledged + self.window {
            self.acknowledged = self.received;
            self.send(reply::CONTROL, 0, &Message::Ack(self.received as u32));
        }
    }

    fn message(&mut self, raw: &RawMessage) -> Result<(), Error> {
        let media = raw.is_media();
        if media && !self.is_publishing() {
            // Nobody asked for it yet: passed over unread.
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
            // Half the window leaves the acknowledgement time to arrive before the peer stops to wait for it.
            Message::WindowAckSize(size) => self.window = u64::from(size / 2).max(MIN_WINDOW),
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
        // The clock goes on also where the body is of no use.
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

    /// Ends the publication; some encoders tidy up before they publish, which ends nothing.
    fn end(&mut self, end: End) {
        if self.is_publishing() {
            self.phase = Phase::Closed;
            self.events.push_back(Event::Ended(end));
        }
    }

    fn send(&mut self, chunk_stream: u8, stream_id: u32, message: &Message) {
        let (kind, payload) = message.encode();
        self.writer.write(&mut self.out, chunk_stream, kind, stream_id, 0, &payload);
    }

    fn over(&self, path: &str, value: usize, limit: usize) -> Error {
        let place = Place::new("rtmp", handshake::CLIENT_LEN.saturating_add(self.received), path);
        Error::Limit { place, value: value as u64, limit: limit as u64 }
    }
}

fn unexpected(raw: &RawMessage, what: &'static str) -> Error {
    Error::Unexpected { place: Place::new("rtmp", raw.offset, format!("message type {}", raw.kind)), what }
}
