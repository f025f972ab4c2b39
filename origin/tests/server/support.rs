//! A server with one live stream, and a client that sends exact bytes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::media::{Kind, TimeDelta, Timescale, WallTime};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use origin::{
    Broadcast, Config, Fallback, FallbackBody, Listener, PeerAddress, Playback, PlaybackResolver, Server, TlsProvider,
};
use packager::log::{
    Event, Format, Init, LogReader, LogWriter, Part, Payload, RenditionId, RenditionRole, SegmentEnd, Targets,
};
use tokio_util::sync::CancellationToken;

/// Timeout of every wait. A test that waits longer has failed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
/// Playback id of the live stream.
pub(crate) const LIVE: &str = "live";
/// Playback id without a broadcast.
pub(crate) const IDLE: &str = "idle";
/// Playback id that is not public.
pub(crate) const SIGNED: &str = "signed";
/// Number of parts in a segment of the synthetic log.
pub(crate) const PARTS: u32 = 5;
/// Both renditions.
pub(crate) const BOTH: [RenditionId; 2] = [RenditionId::VIDEO, RenditionId::AUDIO];

/// A running server with one broadcast.
pub(crate) struct TestOrigin {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) broadcast: Arc<Broadcast>,
    log: Mutex<LogWriter>,
    pub(crate) stop: CancellationToken,
}

struct OneStream(Arc<Broadcast>);

impl PlaybackResolver for OneStream {
    fn resolve(&self, playback_id: &str, _broadcast: Option<&media::id::BroadcastId>) -> Playback {
        match playback_id {
            LIVE => Playback::Live(Arc::clone(&self.0)),
            IDLE => Playback::Idle,
            SIGNED => Playback::Protected,
            _ => Playback::Unknown,
        }
    }

    fn title(&self, playback_id: &str) -> Option<String> {
        (playback_id == LIVE).then(|| "Tea & <b>{{playback_id}}</b>".to_owned())
    }
}

fn fallback(request: Request<Incoming>) -> BoxFuture<'static, Response<FallbackBody>> {
    Box::pin(async move {
        let peer = request.extensions().get::<PeerAddress>().copied();
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = format!("fallback {path} {} {}", peer.is_some(), String::from_utf8_lossy(&body));
        Response::new(FallbackBody::new(Full::from(text).map_err(|never| match never {})))
    })
}

/// Settings with two workers, whatever the machine has.
pub(crate) fn config() -> Config {
    Config { workers: 2, ..Config::default() }
}

impl TestOrigin {
    pub(crate) fn new() -> Self {
        Self::with(config(), None)
    }

    pub(crate) fn with(config: Config, tls: Option<TlsProvider>) -> Self {
        let broadcast = Arc::new(Broadcast::new("b1".parse().unwrap()));
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = match tls {
            Some(provider) => Listener::tls(socket, provider),
            None => Listener::plain(socket),
        };
        let stop = CancellationToken::new();
        let directory = Arc::new(OneStream(Arc::clone(&broadcast)));
        let fallback: Arc<dyn Fallback> = Arc::new(fallback);
        let server = Server::start(config, directory, fallback, vec![listener], stop.clone()).unwrap();
        Self { server, address, broadcast, log: Mutex::default(), stop }
    }

    /// Creates an origin whose broadcast has the segments 0 and 1, and three parts of segment 2.
    pub(crate) fn playing() -> Self {
        let origin = Self::new();
        origin.append(&opening());
        (0..2).for_each(|msn| origin.append(&segment(msn)));
        (0..3).for_each(|index| origin.append(&parts(2, index)));
        origin
    }

    /// Appends the next events of the broadcast to its log.
    pub(crate) fn append(&self, events: &[Event]) {
        let mut log = self.log.lock().unwrap();
        let entries: Vec<_> = events.iter().map(|event| log.append(event.clone())).collect();
        self.broadcast.append(&entries);
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.client().get(path)
    }

    pub(crate) fn await_blocked(&self, readers: u64) {
        eventually(|| self.server.stats().blocked_readers() == readers);
    }
}

impl Drop for TestOrigin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until `condition` is true.
pub(crate) fn eventually(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "the condition did not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns targets of one second with parts of 0.2 s, and both init sections.
pub(crate) fn opening() -> Vec<Event> {
    let targets = Targets {
        segment_secs: 1,
        part: Some(TimeDelta::from_millis(200)),
        part_grid: None,
        max_stall: TimeDelta::ZERO,
    };
    let mut events = vec![Event::Targets(targets)];
    events.extend(BOTH.map(|rendition| Event::Init(init(rendition))));
    events
}

pub(crate) fn init(rendition: RenditionId) -> Arc<Init> {
    let video = rendition != RenditionId::AUDIO;
    let format = Format {
        role: match rendition {
            RenditionId::VIDEO => RenditionRole::Reference,
            RenditionId::AUDIO => RenditionRole::Audio,
            _ => RenditionRole::Dependent,
        },
        resolution: video.then_some((1280, 720)),
        channels: (!video).then_some(2),
        ..if video { Format::new(Kind::Video, "avc1.64001f") } else { Format::new(Kind::Audio, "mp4a.40.2") }
    };
    Arc::new(Init { rendition, number: 0, bytes: Bytes::from(format!("init of {rendition:?}")), format })
}

/// Returns the bytes of a part: two pieces, one of which names the part.
pub(crate) fn part_bytes(rendition: RenditionId, msn: u64, index: u32) -> Vec<u8> {
    format!("moof {} {msn} {index};{}", rendition.0, "x".repeat(100)).into_bytes()
}

pub(crate) fn part_with(rendition: RenditionId, msn: u64, index: u32, data: Payload) -> Event {
    let millis = i64::try_from(msn).unwrap() * 1_000 + i64::from(index) * 200;
    Event::Part(Arc::new(Part {
        rendition,
        msn,
        index,
        init: 0,
        start: Timescale::MILLIS.timestamp(millis),
        duration: TimeDelta::from_millis(200),
        independent: index == 0 || rendition == RenditionId::AUDIO,
        discontinuity: false,
        discontinuity_sequence: 0,
        wall: WallTime::from_unix_millis(millis),
        frames: 6,
        data,
    }))
}

pub(crate) fn part(rendition: RenditionId, msn: u64, index: u32) -> Event {
    let bytes = Bytes::from(part_bytes(rendition, msn, index));
    let pieces = vec![bytes.slice(..7), bytes.slice(7..)];
    part_with(rendition, msn, index, Payload::new(pieces))
}

/// Returns a part without a frame.
pub(crate) fn gap(rendition: RenditionId, msn: u64, index: u32) -> Event {
    let Event::Part(like) = part(rendition, msn, index) else { unreachable!("a part") };
    Event::Part(Arc::new(Part { frames: 0, ..(*like).clone() }))
}

/// Returns the same part of both renditions.
pub(crate) fn parts(msn: u64, index: u32) -> Vec<Event> {
    BOTH.map(|rendition| part(rendition, msn, index)).into()
}

/// Returns the end of a segment in both renditions.
pub(crate) fn close(msn: u64) -> Vec<Event> {
    BOTH.map(|rendition| close_of(rendition, msn)).into()
}

/// Returns the end of a segment in one rendition.
pub(crate) fn close_of(rendition: RenditionId, msn: u64) -> Event {
    Event::Segment(SegmentEnd::new(rendition, msn, TimeDelta::from_secs(1)))
}

/// Returns a whole segment of both renditions.
pub(crate) fn segment(msn: u64) -> Vec<Event> {
    (0..PARTS).flat_map(|index| parts(msn, index)).chain(close(msn)).collect()
}

/// HTTP/1.1 client on one connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// Answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends a request with extra header lines, each with its line ending.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str) {
        self.send_raw(&format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"));
    }

    pub(crate) fn send_raw(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    pub(crate) fn get_with(&mut self, path: &str, headers: &str) -> Answer {
        self.send("GET", path, headers);
        self.receive(true)
    }

    /// Reads one answer, without a body if the request was `HEAD`.
    pub(crate) fn receive(&mut self, with_body: bool) -> Answer {
        let status = self.line().split(' ').nth(1).expect("a status line").parse().unwrap();
        let mut headers = HashMap::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let bodiless = !with_body || status == 204 || status == 304;
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if bodiless { 0 } else { length }];
        self.stream.read_exact(&mut body).unwrap();
        Answer { status, headers, body }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Returns true if the server closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
