//! Fixtures, a driver for a client and a server, and a scripted server.

use bytes::Bytes;
use media::{Frame, Kind, Track, TrackId};
use wire::Item;
use wire::amf0::Value;
use wire::flv::{self, Demuxer, Tag};
use wire::rtmp::chunk::{Limits, MessageHeader, Reader, Writer};
use wire::rtmp::client::{self, Config, Event, RANDOM_LEN, Session, Target};
use wire::rtmp::handshake::CLIENT_LEN;
use wire::rtmp::message::{Command, Message};
use wire::rtmp::server;

use crate::flv_file;

/// Returns the tracks and frames of tags, in order.
pub(crate) fn demux(tags: impl IntoIterator<Item = Tag>) -> Vec<Item> {
    let mut demuxer = Demuxer::new();
    let mut items: Vec<Item> = tags.into_iter().flat_map(|tag| demuxer.push(tag)).collect();
    items.extend(demuxer.finish());
    items.retain(|item| matches!(item, Item::Track(_) | Item::Frame(_)));
    items
}

/// Returns the tags in the bodies of an FLV file.
pub(crate) fn packets(bodies: &[(Kind, i64, Bytes)]) -> Vec<Tag> {
    let mut tags = Vec::new();
    for (kind, millis, body) in bodies {
        flv::read(*kind, body, |packet| tags.push(Tag { millis: *millis, packet })).expect("a valid tag");
    }
    tags
}

/// Returns the tracks and frames of a file of the tree.
pub(crate) fn file(name: &str) -> Vec<Item> {
    demux(packets(&flv_file::tags(name)))
}

/// Returns only the items of tracks that `keep` selects.
pub(crate) fn only(items: Vec<Item>, keep: impl Fn(TrackId) -> bool) -> Vec<Item> {
    let wanted = |item: &Item| match item {
        Item::Track(track) => keep(track.id),
        Item::Frame(frame) => keep(frame.track),
        _ => false,
    };
    items.into_iter().filter(wanted).collect()
}

/// Returns the tracks and the frames of one track, so that the order between tracks does not count.
pub(crate) fn of(items: &[Item], id: TrackId) -> Vec<&Item> {
    let is_it = |item: &&Item| match item {
        Item::Track(track) => track.id == id,
        Item::Frame(frame) => frame.track == id,
        _ => false,
    };
    items.iter().filter(is_it).collect()
}

/// Returns the target of most tests.
pub(crate) fn target() -> Target {
    Target::parse("rtmp://localhost/app/one", "KEY-1?token=x").expect("an address")
}

/// Creates a session for [`target`].
pub(crate) fn client(config: Config) -> Session {
    Session::new(config, target(), [7; RANDOM_LEN])
}

/// A client and our own server, connected in memory.
pub(crate) struct Pair {
    pub(crate) client: Session,
    pub(crate) server: server::Session,
    /// Most bytes passed on at once.
    pub(crate) step: usize,
    pub(crate) client_events: Vec<Event>,
    pub(crate) server_events: Vec<server::Event>,
    /// Pieces that the client sent since the publication started.
    pub(crate) pieces: Vec<Bytes>,
    tracks: Vec<Track>,
}

impl Pair {
    pub(crate) fn new(config: Config, step: usize) -> Self {
        Self {
            client: client(config),
            server: server::Session::new(server::Config::default(), [9; RANDOM_LEN]),
            step,
            client_events: Vec::new(),
            server_events: Vec::new(),
            pieces: Vec::new(),
            tracks: Vec::new(),
        }
    }

    /// Creates a pair whose publication has started.
    pub(crate) fn published(config: Config, step: usize) -> Self {
        let mut pair = Self::new(config, step);
        pair.run();
        assert_eq!(pair.client_events, [Event::Published]);
        pair.pieces.clear();
        pair
    }

    /// Passes bytes on until neither side has any, and accepts the publication.
    pub(crate) fn run(&mut self) {
        loop {
            let pieces = self.client.take_output();
            let to_server = pieces.concat();
            self.pieces.extend(pieces);
            for part in to_server.chunks(self.step) {
                self.server.input(part).expect("a valid client");
                while let Some(event) = self.server.poll() {
                    if matches!(event, server::Event::Publish(_)) {
                        self.server.accept().expect("nothing waits");
                    }
                    self.server_events.push(event);
                }
            }
            let to_client = self.server.take_output();
            for part in to_client.chunks(self.step) {
                self.client.input(part).expect("a valid server");
                self.client_events.extend(std::iter::from_fn(|| self.client.poll()));
            }
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
        }
    }

    /// Sends items as a source has them: each track is announced when it comes or changes.
    pub(crate) fn send(&mut self, items: &[Item]) {
        for (index, item) in items.iter().enumerate() {
            match item {
                Item::Track(track) => {
                    let next =
                        items[index..].iter().find_map(|i| if let Item::Frame(f) = i { Some(f.dts) } else { None });
                    match self.tracks.iter_mut().find(|known| known.id == track.id) {
                        Some(known) => *known = track.clone(),
                        None => self.tracks.push(track.clone()),
                    }
                    self.client.announce(&self.tracks, next.unwrap_or_default()).expect("a supported track");
                }
                Item::Frame(frame) => self.client.send(frame).expect("a frame of an announced track"),
                other => panic!("{other:?}"),
            }
        }
        self.run();
    }

    /// Returns what the server's side demuxes.
    pub(crate) fn received(&self) -> Vec<Item> {
        let media = |event: &server::Event| match event {
            server::Event::Media(tag) => Some(tag.clone()),
            server::Event::Skipped(err) => panic!("{err}"),
            _ => None,
        };
        demux(self.server_events.iter().filter_map(media))
    }
}

/// Asserts that the payload of `frame` is among `pieces` as slices of the same memory.
pub(crate) fn assert_shared(pieces: &[Bytes], frame: &Frame) {
    let range = frame.payload.as_ptr_range();
    let shared: usize = pieces.iter().filter(|piece| range.contains(&piece.as_ptr())).map(Bytes::len).sum();
    assert_eq!(shared, frame.payload.len(), "{frame:?}");
}

/// Returns the messages that a client sent after its handshake, with their message streams.
pub(crate) fn messages(sent: &[u8]) -> Vec<(u32, Message)> {
    let mut input = &sent[CLIENT_LEN as usize..];
    let mut reader = Reader::new(Limits { message: 1 << 16, streams: 8, pending: 1 << 16, block: 0 }, 0);
    let mut messages = Vec::new();
    while let Some(raw) = reader.read(&mut input).expect("valid chunks") {
        messages.push((raw.stream_id, Message::decode(&raw).expect("a valid message")));
    }
    messages
}

/// Writes the bytes of a server: its handshake, then messages.
pub(crate) struct Script(pub(crate) Vec<u8>, Writer);

impl Script {
    pub(crate) fn new() -> Self {
        let mut bytes = vec![3];
        bytes.resize(CLIENT_LEN as usize, 0x5a);
        Self(bytes, Writer::default())
    }

    /// Creates a server that has accepted `connect`, with `properties` in its result, and `createStream`.
    pub(crate) fn connected(properties: Value) -> Self {
        let info = status("status", "NetConnection.Connect.Success", "");
        Self::new().command(Command::new("_result", 1.0, properties, vec![info])).command(Command::new(
            "_result",
            4.0,
            Value::Null,
            vec![1.0.into()],
        ))
    }

    /// Creates a server that has accepted the publication.
    pub(crate) fn published(properties: Value) -> Self {
        Self::connected(properties).on_status(status("status", "NetStream.Publish.Start", ""))
    }

    pub(crate) fn on_status(self, info: Value) -> Self {
        self.command(Command::new("onStatus", 0.0, Value::Null, vec![info]))
    }

    pub(crate) fn command(self, command: Command) -> Self {
        self.message(&Message::Command(command))
    }

    pub(crate) fn message(mut self, message: &Message) -> Self {
        let (kind, payload) = message.encode();
        let header = MessageHeader { chunk_stream: 3, kind, stream_id: 0, timestamp: 0 };
        self.1.write(&mut self.0, header, &payload);
        self
    }

    /// Passes the bytes to a session in parts of `step`, and returns its events and the first error.
    pub(crate) fn run(&self, session: &mut client::Session, step: usize) -> (Vec<Event>, Option<String>) {
        let mut events = Vec::new();
        for part in self.0.chunks(step) {
            let result = session.input(part);
            events.extend(std::iter::from_fn(|| session.poll()));
            if let Err(err) = result {
                return (events, Some(err.to_string()));
            }
        }
        (events, None)
    }
}

/// Returns a status object.
pub(crate) fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([("level", level.into()), ("code", code.into()), ("description", description.into())])
}
