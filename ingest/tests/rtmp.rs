//! The RTMP listener over real sockets: admission, refusals, limits, and the end of a contribution.

// A helper of a test may panic like the test itself.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use common::{Event, Rig, config};
use ingest::{Config, DisconnectReason, Item, Limits, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::amf0::Value;
use wire::rtmp::chunk::{Limits as ChunkLimits, MessageHeader, Reader, Writer};
use wire::rtmp::message::{Command, Message};

const SPS_RECORD: &[u8] = &[
    1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 25, 0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00,
    0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb,
];

struct Listening {
    rig: Rig,
    address: SocketAddr,
}

impl Listening {
    async fn new(config: Config) -> Self {
        Self::with(config, Transport::Plain).await
    }

    async fn with(config: Config, transport: Transport) -> Self {
        let rig = Rig::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        rig.server.listen(listener, transport);
        Self { rig, address }
    }
}

impl Deref for Listening {
    type Target = Rig;
    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl DerefMut for Listening {
    fn deref_mut(&mut self) -> &mut Rig {
        &mut self.rig
    }
}

/// An encoder that speaks just enough RTMP.
struct Encoder<S> {
    stream: S,
    writer: Writer,
    out: Vec<u8>,
}

impl Encoder<TcpStream> {
    async fn publish(address: SocketAddr, key: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), key).await
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Encoder<S> {
    async fn over(mut stream: S, key: &str) -> Self {
        let mut hello = vec![0u8; 1 + 1536];
        hello[0] = 3;
        stream.write_all(&hello).await.unwrap();
        let mut answer = vec![0u8; 1 + 2 * 1536];
        stream.read_exact(&mut answer).await.unwrap();
        stream.write_all(&answer[1..=1536]).await.unwrap();
        let mut encoder = Self { stream, writer: Writer::default(), out: Vec::new() };
        let text = |t: &str| Value::String(t.to_owned());
        encoder.command(0, "connect", Value::object([("app", text("app"))]), vec![]);
        encoder.command(0, "createStream", Value::Null, vec![]);
        encoder.command(1, "publish", Value::Null, vec![text(key), text("live")]);
        encoder.send().await;
        encoder
    }

    fn command(&mut self, stream: u32, name: &str, object: Value, arguments: Vec<Value>) {
        let (kind, body) = Message::Command(Command::new(name, 1.0, object, arguments)).encode();
        self.writer.write(
            &mut self.out,
            MessageHeader { chunk_stream: 3, kind, stream_id: stream, timestamp: 0 },
            &body,
        );
    }

    fn video(&mut self, millis: u32, body: &[u8]) {
        self.writer.write(
            &mut self.out,
            MessageHeader { chunk_stream: 6, kind: 9, stream_id: 1, timestamp: millis },
            body,
        );
    }

    async fn send(&mut self) {
        self.stream.write_all(&std::mem::take(&mut self.out)).await.unwrap();
    }

    /// Returns the code of the first status that the server sends before it closes.
    async fn status(&mut self) -> Option<(String, String)> {
        let limits = ChunkLimits { message: 65_536, streams: 8, pending: 65_536, block: 0 };
        let mut reader = Reader::new(limits, 0);
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), self.stream.read_to_end(&mut bytes)).await;
        let mut rest = bytes.as_slice();
        while let Ok(Some(raw)) = reader.read(&mut rest) {
            if let Ok(Message::Command(command)) = Message::decode(&raw)
                && command.name == "onStatus"
            {
                let object = command.arguments.first()?;
                let field = |name| object.get(name).and_then(Value::as_str).map(str::to_owned);
                return Some((field("code")?, field("description")?));
            }
        }
        None
    }

    async fn closed(&mut self) {
        let mut sink = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_to_end(&mut sink)).await;
        assert!(read.is_ok(), "the server closes the connection");
    }
}

fn avc(kind: u8, packet: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind << 4 | 7, packet, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn frames_and_the_end_reach_the_sink() {
    let mut rig = Listening::new(config()).await;
    let mut encoder = Encoder::publish(rig.address, "good?token=1").await;
    assert!(matches!(rig.next().await, Event::Asked(key) if key == "good"));
    encoder.video(0, &avc(1, 0, SPS_RECORD));
    // The second frame shows that the first one is complete.
    encoder.video(40, &avc(1, 1, &[0, 0, 0, 2, 0x65, 0x88]));
    encoder.video(80, &avc(2, 1, &[0, 0, 0, 2, 0x41, 0x9a]));
    encoder.send().await;
    let mut items = Vec::new();
    while items.len() < 2 {
        let Event::Items(more) = rig.next().await else { panic!("items") };
        items.extend(more);
    }
    assert!(matches!(&items[0], Item::Track(_)));
    assert!(
        matches!(&items[1], Item::Frame(f) if f.access.is_independent() && f.payload.as_ref() == [0, 0, 0, 2, 0x65, 0x88])
    );
    drop(encoder);
    assert!(matches!(rig.next().await, Event::Ended));
}

#[tokio::test]
async fn refusals_say_why() {
    let rig = Listening::new(config()).await;
    for (key, code, hint) in
        [("wrong", "NetStream.Publish.BadName", "not known"), ("disabled", "NetStream.Publish.Denied", "disabled")]
    {
        let (found, description) = Encoder::publish(rig.address, key).await.status().await.unwrap();
        assert_eq!(found, code);
        assert!(description.contains(hint), "{description}");
    }
    rig.end().await;
    let refusals = rig.stats.refusals();
    assert_eq!((refusals.unknown_key, refusals.disabled), (1, 1));
}

#[tokio::test]
async fn the_program_can_end_a_contribution() {
    let mut rig = Listening::new(config()).await;
    let mut encoder = Encoder::publish(rig.address, "good").await;
    assert!(matches!(rig.next().await, Event::Asked(_)));
    let stop = rig.authorizer.stops.lock().pop().unwrap();
    stop.send(DisconnectReason::TakenOver).unwrap();
    encoder.closed().await;
    assert!(matches!(rig.next().await, Event::Ended));
}

#[tokio::test]
async fn silence_and_slow_handshakes_are_cut_off() {
    let short = Duration::from_millis(100);
    let mut rig = Listening::new(Config { handshake_timeout: short, media_timeout: short, ..config() }).await;
    let mut mute = TcpStream::connect(rig.address).await.unwrap();
    assert_eq!(mute.read(&mut [0; 1]).await.unwrap(), 0);
    let mut encoder = Encoder::publish(rig.address, "good").await;
    assert!(matches!(rig.next().await, Event::Asked(_)));
    encoder.closed().await;
    assert!(matches!(rig.next().await, Event::Ended));
    rig.end().await;
    assert_eq!(rig.stats.refusals().timeout, 2);
}

#[tokio::test]
async fn an_encoder_that_sends_too_much_is_cut_off() {
    let mut rig = Listening::new(Config { max_bitrate: 8_000, ..config() }).await;
    let mut encoder = Encoder::publish(rig.address, "good").await;
    assert!(matches!(rig.next().await, Event::Asked(_)));
    encoder.video(0, &avc(1, 1, &[0; 20_000]));
    encoder.send().await;
    encoder.closed().await;
    rig.end().await;
    assert_eq!(rig.stats.refusals().bitrate, 1);
}

#[tokio::test]
async fn when_memory_is_full_the_largest_is_closed_and_new_ones_are_refused() {
    let rig = Listening::new(Config { max_memory: 60_000, ..config() }).await;
    let mut small = Encoder::publish(rig.address, "good").await;
    let mut large = Encoder::publish(rig.address, "good").await;
    large.video(0, &avc(1, 1, &[0; 100_000]));
    large.send().await;
    large.closed().await;
    small.video(0, &avc(1, 1, &[0; 80_000]));
    small.send().await;
    small.closed().await;
    rig.end().await;
    assert_eq!(rig.stats.refusals().memory, 2);
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_garbage_harms_no_one() {
    let limits = Limits { connections: 8, per_address: 2 };
    let mut rig = Listening::new(Config { limits, ..config() }).await;
    let mut first = Encoder::publish(rig.address, "good").await;
    assert!(matches!(rig.next().await, Event::Asked(_)));
    let mut garbage = TcpStream::connect(rig.address).await.unwrap();
    let mut third = TcpStream::connect(rig.address).await.unwrap();
    assert!(matches!(third.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    garbage.write_all(&[0xff; 4_096]).await.unwrap();
    let _ = garbage.read_to_end(&mut Vec::new()).await;
    first.video(0, &avc(1, 0, SPS_RECORD));
    first.send().await;
    assert!(matches!(rig.next().await, Event::Items(_)));
    assert_eq!(rig.stats.refusals().full, 1);
}

#[tokio::test]
async fn rtmps_speaks_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut rig = Listening::with(config(), Transport::Tls(Arc::new(server))).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(rig.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, tcp).await.unwrap();
    let _encoder = Encoder::over(stream, "good").await;
    assert!(matches!(rig.next().await, Event::Asked(key) if key == "good"));
}
