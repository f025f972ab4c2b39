//! Servers of the tests, as tasks on the runtime of a [`Rig`](crate::rig::Rig).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::media::{Frame, Track};
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use wire::amf0::Value;
use wire::flv::Tag;
use wire::rtmp::chunk::{MessageHeader, Writer};
use wire::rtmp::handshake::CLIENT_LEN;
use wire::rtmp::message::{Command, Message, UserControl};
use wire::rtmp::server::{Config, End, Event, RANDOM_LEN, Rejection, RejectionCode, Session};

use crate::media;

/// Receive buffer of a server's sockets, in bytes: small, so that a client soon notices a server that does not read.
const RECEIVE_BUFFER: usize = 16 * 1_024;

/// Behaviour towards a connection.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Closes it.
    Closes,
    /// Never reads.
    NeverReads,
    /// Sends a byte of the handshake now and then.
    EndlessHandshake,
    /// Sends bytes that are no RTMP.
    Garbage,
    /// Sends its handshake, the answers that start a publication if it `publishes`, and pings without end.
    Floods { publishes: bool },
    /// Refuses the stream key.
    RefusesKey,
    /// Accepts the publication, and reads on once the channel says so.
    Frozen(watch::Receiver<bool>),
    /// Refuses `connect` with this information object, in the connection of this number; accepts later ones.
    Answers(Vec<Value>),
}

/// Media and ends that a server has received.
#[derive(Default)]
struct Received {
    tags: Vec<Tag>,
    ends: Vec<End>,
}

/// A server that keeps what it receives.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Received>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    pub(crate) fn start(runtime: &Runtime, behaviour: Behaviour) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("a valid size");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(16).expect("a listener");
        socket.set_nonblocking(true).expect("a socket");
        let _guard = runtime.enter();
        let listener = TcpListener::from_std(socket.into()).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let (received, connections) = (Arc::<Mutex<Received>>::default(), Arc::new(Mutex::new(0)));
        let server = Self { address, received: Arc::clone(&received), connections: Arc::clone(&connections) };
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = *connections.lock();
                *connections.lock() += 1;
                tokio::spawn(handle(stream, behaviour.clone(), number, Arc::clone(&received)));
            }
        });
        server
    }

    /// Returns the frames received so far.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        media::frames(&media::demux(self.received.lock().tags.clone()))
    }

    /// Returns the tracks received so far, each time their header changes.
    pub(crate) fn tracks(&self) -> Vec<Track> {
        let items = media::demux(self.received.lock().tags.clone());
        items
            .into_iter()
            .filter_map(|item| if let wire::Item::Track(track) = item { Some(track) } else { None })
            .collect()
    }

    /// Returns the messages that ended publications.
    pub(crate) fn ends(&self) -> Vec<End> {
        self.received.lock().ends.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock()
    }
}

async fn handle(mut stream: TcpStream, behaviour: Behaviour, number: usize, received: Arc<Mutex<Received>>) {
    match behaviour {
        Behaviour::Closes => {}
        Behaviour::NeverReads => std::future::pending().await,
        Behaviour::EndlessHandshake => {
            while stream.write_all(&[3]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Behaviour::Garbage => while stream.write_all(&[0xa5; 4_096]).await.is_ok() {},
        Behaviour::Floods { publishes } => {
            let answers = if publishes { published() } else { Vec::new() };
            let Ok(()) = stream.write_all(&script(&answers)).await else { return };
            let pings = messages(&vec![Message::UserControl(UserControl::PingRequest(1)); 1_000]);
            while stream.write_all(&pings).await.is_ok() {}
        }
        Behaviour::Answers(answers) => match answers.get(number) {
            Some(info) => {
                let refusal = Command::new("_error", 1.0, Value::Null, vec![info.clone()]);
                let mut hello = vec![0; CLIENT_LEN as usize];
                let bytes = script(&[Message::Command(refusal)]);
                let (head, rest) = bytes.split_at(CLIENT_LEN as usize);
                let Ok(()) = stream.write_all(head).await else { return };
                let Ok(_) = stream.read_exact(&mut hello).await else { return };
                let Ok(()) = stream.write_all(rest).await else { return };
                while let Ok(1..) = stream.read(&mut hello).await {}
            }
            None => serve(stream, Behaviour::Answers(answers), received).await,
        },
        other => serve(stream, other, received).await,
    }
}

/// Runs a server's session.
async fn serve(mut stream: TcpStream, behaviour: Behaviour, received: Arc<Mutex<Received>>) {
    let mut session = Session::new(Config::default(), [9; RANDOM_LEN]);
    let mut buffer = vec![0; 4_096];
    let mut frozen = None;
    while let Ok(len @ 1..) = stream.read(&mut buffer).await {
        session.input(&buffer[..len]).expect("a valid client");
        while let Some(event) = session.poll() {
            match (event, &behaviour) {
                (Event::Publish(_), Behaviour::RefusesKey) => {
                    session.reject(Rejection { code: RejectionCode::Denied, description: "unknown: key".to_owned() });
                }
                (Event::Publish(_), _) => {
                    session.accept().expect("nothing waits");
                    frozen = if let Behaviour::Frozen(frozen) = &behaviour { Some(frozen.clone()) } else { None };
                }
                (Event::Media(tag), _) => received.lock().tags.push(tag),
                (Event::Ended(end), _) => received.lock().ends.push(end),
                _ => {}
            }
        }
        if stream.write_all(&session.take_output()).await.is_err() {
            return;
        }
        if let Some(mut frozen) = frozen.take() {
            let _ = frozen.wait_for(|reads| *reads).await;
        }
    }
}

/// Returns the answers to `connect`, `createStream` and `publish`.
fn published() -> Vec<Message> {
    let info = |code: &str| Value::object([("level", "status".into()), ("code", code.into())]);
    let connected = info("NetConnection.Connect.Success");
    vec![
        Message::Command(Command::new("_result", 1.0, Value::Null, vec![connected])),
        Message::Command(Command::new("_result", 4.0, Value::Null, vec![1.0.into()])),
        Message::Command(Command::new("onStatus", 0.0, Value::Null, vec![info("NetStream.Publish.Start")])),
    ]
}

/// Returns the bytes of a server: its handshake, then messages.
fn script(after: &[Message]) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.resize(CLIENT_LEN as usize, 0x5a);
    bytes.extend(messages(after));
    bytes
}

fn messages(messages: &[Message]) -> Vec<u8> {
    let (mut bytes, writer) = (Vec::new(), Writer::default());
    for message in messages {
        let (kind, payload) = message.encode();
        let header = MessageHeader { chunk_stream: 3, kind, stream_id: 0, timestamp: 0 };
        writer.write(&mut bytes, header, &payload);
    }
    bytes
}
