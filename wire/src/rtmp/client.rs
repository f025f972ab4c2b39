//! The client's side of a session: publishes one stream at a target.
//!
//! ```text
//! Handshake ─► Connecting ─_result─► Creating ─_result─► Requested ─onStatus─► Publishing ─► Closed
//! ```
//!
//! [`Session::new`] writes the first bytes. After [`Event::Published`], [`Session::announce`] sends the metadata and
//! the sequence headers of the tracks, and [`Session::send`] sends their frames. Payloads are shared, not copied: the
//! output is a list of pieces for vectored writes. Time limits are the caller's.

mod auth;
mod call;
mod outcome;
mod output;
mod target;
mod tracks;

use std::collections::VecDeque;

use bytes::Bytes;
use media::{Frame, Kind, Timescale, Timestamp, Track};

use super::chunk::{self, Limits, MessageHeader, RawMessage, Reader, Writer};
use super::handshake;
use super::message::{self, Command, Message, UserControl};
use super::received::Received;
use crate::amf0::Value;
use crate::error::{Error, Place};
use crate::flv::mux;
use auth::Answer;
use outcome::Status;
use output::Output;
use tracks::{Capabilities, Outgoing};

pub use crate::secret::Secret;
pub use handshake::RANDOM_LEN;
pub use outcome::{Refusal, RefusalKind};
pub use target::{Address, Credentials, Target, TargetError};
pub use tracks::TrackError;

/// Most bytes received before the publication starts; with more, the session ends.
const MAX_BEFORE_PUBLISH: u64 = 256 * 1_024;
/// Most bytes of answers that were not taken yet; with more, the session ends.
const MAX_ANSWERS: usize = 256 * 1_024;
/// Most bytes of the first fields of a media message.
const MAX_LEAD: usize = 16;

/// Configuration of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Limits on the server's messages.
    pub limits: Limits,
    /// Chunk size of the client's messages after `connect`.
    pub chunk_size: u32,
    /// Bytes after which received bytes are acknowledged, until the server sets another window.
    pub window: u32,
    /// Whether HEVC is sent as `CodecID` 12 to a target that does not announce `hvc1`. That number is in no standard.
    pub legacy_hevc: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits { message: 64 * 1_024, streams: 16, pending: 128 * 1_024, block: 0 },
            chunk_size: 65_536,
            window: 2_500_000,
            legacy_hevc: false,
        }
    }
}

/// Event of a session. After each one except [`Event::Published`] the session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The publication has started.
    Published,
    /// The server refused the publication before it started.
    Refused(Refusal),
    /// The server asks for another address. Follow it once: a [`Target::parse`] of this text with the same key.
    Redirected(Secret),
    /// The server asks for authentication. Connect again with this query as [`Target::auth_query`].
    ConnectAgain(Secret),
    /// The server ended a publication that had started.
    Closed(Refusal),
}

#[derive(Clone, Debug)]
enum Phase {
    Handshake(handshake::Client),
    Connecting,
    Creating,
    Requested { stream_id: u32 },
    Publishing { stream_id: u32 },
    Closed,
}

/// One connection to a target.
///
/// The memory that a server can make it use is bounded by [`Config::limits`] and by the constants of this module. The
/// output grows with each [`Session::send`] until it is taken, so the caller bounds it by [`Session::output_len`].
#[derive(Clone, Debug)]
pub struct Session {
    config: Config,
    target: Target,
    /// The client's part of a response to a challenge.
    nonce: u32,
    phase: Phase,
    reader: Reader,
    writer: Writer,
    out: Output,
    events: VecDeque<Event>,
    capabilities: Capabilities,
    tracks: Vec<Outgoing>,
    metadata: Option<Value>,
    /// Time that is sent as 0.
    origin: Timestamp,
    received: Received,
    /// Window that the server was given last.
    announced_window: Option<u32>,
}

impl Session {
    /// Creates a session, whose output begins with the handshake. `random` is sent in it and need not be secret.
    pub fn new(config: Config, target: Target, random: [u8; RANDOM_LEN]) -> Self {
        let mut out = Output::default();
        let handshake = out.with(|out| handshake::Client::new(&random, out));
        let [a, b, c, d, ..] = random;
        Self {
            nonce: u32::from_be_bytes([a, b, c, d]),
            phase: Phase::Handshake(handshake),
            reader: Reader::new(config.limits, handshake::CLIENT_LEN),
            writer: Writer::default(),
            out,
            events: VecDeque::new(),
            capabilities: Capabilities::default(),
            tracks: Vec::new(),
            metadata: None,
            origin: Timestamp::ZERO,
            received: Received::new(config.window),
            announced_window: None,
            config,
            target,
        }
    }

    /// Takes bytes from the server, cut anywhere. Afterwards, drain [`poll`](Self::poll) and
    /// [`take_output`](Self::take_output). After an error the session cannot be used any more.
    pub fn input(&mut self, mut input: &[u8]) -> Result<(), Error> {
        if let Phase::Handshake(handshake) = &mut self.phase {
            if !self.out.with(|out| handshake.read(&mut input, out))? {
                return Ok(());
            }
            self.phase = Phase::Connecting;
            self.write(call::COMMAND, 0, &call::connect(&self.target));
        }
        while !matches!(self.phase, Phase::Closed) {
            let limit = if self.is_publishing() { u64::MAX } else { MAX_BEFORE_PUBLISH + 1 };
            let message = self.received.read(&mut self.reader, &mut input, limit)?;
            let is_idle = message.is_none() && input.is_empty();
            if let Some(raw) = message {
                self.message(&raw)?;
            }
            if !self.is_closed()
                && let Some(acknowledgement) = self.received.acknowledgement()
            {
                self.write(call::CONTROL, 0, &acknowledgement);
            }
            self.check_limits()?;
            if is_idle {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the next [`Event`].
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the bytes to send to the server, as pieces in order. Payloads are slices of [`Frame::payload`].
    pub fn take_output(&mut self) -> Vec<Bytes> {
        self.out.take()
    }

    /// Returns the number of bytes that [`take_output`](Self::take_output) would return.
    pub const fn output_len(&self) -> usize {
        self.out.len()
    }

    /// Returns whether the publication has started and is not over.
    pub const fn is_publishing(&self) -> bool {
        matches!(self.phase, Phase::Publishing { .. })
    }

    /// Returns whether the session is over: send the output, then close.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Sets the time that is sent as 0, before the first [`announce`](Self::announce); else it is the origin of the
    /// timeline. Frames before it are sent with time 0 too.
    pub const fn set_origin(&mut self, origin: Timestamp) {
        self.origin = origin;
    }

    /// Sends the metadata and the sequence headers of `tracks`, as far as they differ from those sent before, with the
    /// time `at`. The list replaces the previous one. After an error nothing was sent.
    ///
    /// The first track of each kind is the one that every target knows. Further ones need a target that announces
    /// multitrack.
    pub fn announce(&mut self, tracks: &[Track], at: Timestamp) -> Result<(), TrackError> {
        let Phase::Publishing { stream_id } = self.phase else { return Err(TrackError::NotPublishing) };
        let tracks = self.capabilities.plan(tracks, self.config.legacy_hevc)?;
        let metadata = tracks::metadata(&tracks);
        if self.metadata.as_ref() != Some(&metadata) {
            self.write(call::STREAM, stream_id, &call::metadata(metadata.clone()));
            self.metadata = Some(metadata);
        }
        let timestamp = self.millis(at).max(0) as u32;
        for track in tracks.iter().filter(|track| !self.tracks.contains(track)) {
            let mut lead = Vec::with_capacity(MAX_LEAD);
            let header = mux::header(&track.config, track.form, &mut lead);
            let message = media_header(track.config.kind(), stream_id, timestamp);
            self.out.shared(&self.writer, message, &lead, &header);
        }
        self.tracks = tracks;
        Ok(())
    }

    /// Sends a frame of an announced track. Its payload is shared with the output.
    pub fn send(&mut self, frame: &Frame) -> Result<(), TrackError> {
        let Phase::Publishing { stream_id } = self.phase else { return Err(TrackError::NotPublishing) };
        let len = frame.payload.len();
        if len > chunk::MAX_MESSAGE - MAX_LEAD {
            return Err(TrackError::TooLong { track: frame.track, len });
        }
        let (dts, pts) = (self.millis(frame.dts), self.millis(frame.pts));
        let track = self.tracks.iter().find(|track| track.id == frame.track);
        let track = track.ok_or(TrackError::Unknown(frame.track))?;
        let mut lead = Vec::with_capacity(MAX_LEAD);
        mux::frame(&track.config, track.form, frame.access, pts - dts, &mut lead);
        // The low 32 bits: the clock wraps after 49.7 days.
        let message = media_header(track.config.kind(), stream_id, dts.max(0) as u32);
        self.out.shared(&self.writer, message, &lead, &frame.payload);
        Ok(())
    }

    /// Ends the publication, if there is one, and the session.
    pub fn close(&mut self) {
        if let Phase::Publishing { stream_id } | Phase::Requested { stream_id } = self.phase {
            self.write(call::COMMAND, 0, &call::fc_unpublish(self.target.key.reveal()));
            self.write(call::COMMAND, 0, &call::delete_stream(stream_id));
        }
        self.phase = Phase::Closed;
    }

    /// Returns the time that is sent for `at`, before it is cut to 32 bits.
    fn millis(&self, at: Timestamp) -> i64 {
        Timescale::MILLIS.delta_ticks(at - self.origin)
    }

    fn check_limits(&self) -> Result<(), Error> {
        let over = |path, value, limit| {
            let place = Place::new("rtmp", handshake::CLIENT_LEN.saturating_add(self.received.total()), path);
            Error::Limit { place, value, limit }
        };
        if self.received.total() > MAX_BEFORE_PUBLISH && !self.is_publishing() && !self.is_closed() {
            return Err(over("bytes before the publication starts", self.received.total(), MAX_BEFORE_PUBLISH));
        }
        if self.out.small_len() > MAX_ANSWERS {
            return Err(over("answers", self.out.small_len() as u64, MAX_ANSWERS as u64));
        }
        Ok(())
    }

    fn message(&mut self, raw: &RawMessage) -> Result<(), Error> {
        if raw.is_media() {
            // Ignored, because a publisher plays nothing.
            return Ok(());
        }
        match Message::decode(raw)? {
            Message::Command(command) => self.command(&command, raw)?,
            Message::UserControl(UserControl::PingRequest(time)) => {
                self.write(call::CONTROL, 0, &Message::UserControl(UserControl::PingResponse(time)));
            }
            Message::WindowAckSize(size) => self.received.set_window(size),
            Message::SetPeerBandwidth { size, .. } if self.announced_window != Some(size) => {
                self.announced_window = Some(size);
                self.write(call::CONTROL, 0, &Message::WindowAckSize(size));
            }
            _ => {}
        }
        Ok(())
    }

    fn command(&mut self, command: &Command, raw: &RawMessage) -> Result<(), Error> {
        let status = Status::find(&command.arguments);
        match (command.name.as_str(), &self.phase) {
            ("_result", Phase::Connecting) if command.transaction == call::CONNECT && !status.is_error() => {
                self.connected(command);
            }
            ("_result", Phase::Creating) if command.transaction == call::CREATE_STREAM => {
                self.created(command, raw)?;
            }
            // The only call under way, whatever number the server gives it.
            ("_error", Phase::Connecting) => self.refused(&status),
            ("_result", Phase::Connecting) if status.is_error() => self.refused(&status),
            ("_error", Phase::Creating) if command.transaction == call::CREATE_STREAM => self.refused(&status),
            ("onStatus", Phase::Requested { stream_id }) if status.is_start() => {
                self.phase = Phase::Publishing { stream_id: *stream_id };
                self.events.push_back(Event::Published);
            }
            ("onStatus", _) if status.is_end() => self.refused(&status),
            ("close", _) => self.refused(&status),
            _ => {}
        }
        Ok(())
    }

    fn connected(&mut self, result: &Command) {
        self.capabilities = Capabilities::read(result);
        let chunk_size = self.config.chunk_size.clamp(1, chunk::MAX_MESSAGE as u32);
        self.write(call::CONTROL, 0, &Message::SetChunkSize(chunk_size));
        self.writer.set_chunk_size(chunk_size as usize);
        let key = self.target.key.clone();
        self.write(call::COMMAND, 0, &call::release_stream(key.reveal()));
        self.write(call::COMMAND, 0, &call::fc_publish(key.reveal()));
        self.write(call::COMMAND, 0, &call::create_stream());
        self.phase = Phase::Creating;
    }

    fn created(&mut self, result: &Command, raw: &RawMessage) -> Result<(), Error> {
        let place = || Place::new("rtmp", raw.offset, "message type 20 > createStream > stream id");
        let Some(number) = result.arguments.first().and_then(Value::as_f64) else {
            return Err(Error::Short { place: place() });
        };
        let stream_id = number as u32;
        if f64::from(stream_id) != number {
            return Err(Error::Range { place: place(), value: number as u64 });
        }
        self.write(call::STREAM, stream_id, &call::publish(self.target.key.reveal()));
        self.phase = Phase::Requested { stream_id };
        Ok(())
    }

    /// Ends the session with the event that `status` means.
    fn refused(&mut self, status: &Status<'_>) {
        let password = self.target.credentials.as_ref().map_or("", |credentials| credentials.password.reveal());
        let key = self.target.key.reveal();
        let mut refusal = status.refusal(&[key, key.split('?').next().unwrap_or_default(), password]);
        let event = if self.is_publishing() {
            Event::Closed(refusal)
        } else if let Some(url) = status.redirect() {
            Event::Redirected(url.into())
        } else {
            match auth::answer(status.description(), &self.target, self.nonce) {
                Answer::Query(query) => Event::ConnectAgain(query.as_str().into()),
                Answer::Failed(why) => {
                    (refusal.kind, refusal.description) = (RefusalKind::Authentication, why.to_owned());
                    Event::Refused(refusal)
                }
                Answer::NotAsked => Event::Refused(refusal),
            }
        };
        self.events.push_back(event);
        self.phase = Phase::Closed;
    }

    fn write(&mut self, chunk_stream: u8, stream_id: u32, message: &Message) {
        self.out.message(&self.writer, chunk_stream, stream_id, message);
    }
}

/// Returns the header of an audio or video message.
const fn media_header(kind: Kind, stream_id: u32, timestamp: u32) -> MessageHeader {
    let (chunk_stream, kind) = match kind {
        Kind::Video => (call::VIDEO, message::VIDEO),
        Kind::Audio => (call::AUDIO, message::AUDIO),
    };
    MessageHeader { chunk_stream, kind, stream_id, timestamp }
}
