//! Callers and listeners over real sockets.

// A helper of a test may panic like the test itself.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use srt::{
    CallerOptions, Connection, Error, Handshake, HandshakeHook, Listener, ListenerOptions, Passphrase, Rejection,
};
use tokio::sync::mpsc;

const LATENCY: Duration = Duration::from_millis(80);
const TIMEOUT: Duration = Duration::from_secs(20);
const PASSPHRASE: &str = "a passphrase";

/// Accepts the stream id `good` with the passphrase, and the stream id `open` without one.
struct Hook;

impl HandshakeHook for Hook {
    fn ask(&self, handshake: Handshake<'_>) -> Result<(), Rejection> {
        match handshake.stream_id {
            b"good" => handshake.set_passphrase(&Passphrase::new(PASSPHRASE)).map_err(|_| Rejection::INTERNAL),
            b"open" => Ok(()),
            _ => Err(Rejection(2_042)),
        }
    }
}

/// Listens, and passes on the connections.
fn listen(at: &str) -> (SocketAddr, Listener, mpsc::UnboundedReceiver<Connection>) {
    let socket = UdpSocket::bind(at).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener::new(socket, ListenerOptions { latency: LATENCY, backlog: 4 }, Arc::new(Hook)).unwrap();
    let (acceptor, (sender, connections)) = (listener.acceptor(), mpsc::unbounded_channel());
    std::thread::spawn(move || {
        while let Some(incoming) = acceptor.accept().unwrap() {
            let _ = sender.send(incoming.open().unwrap());
        }
    });
    (address, listener, connections)
}

fn options(stream_id: &str, passphrase: Option<&str>) -> CallerOptions {
    CallerOptions {
        stream_id: stream_id.to_owned(),
        passphrase: passphrase.map(Passphrase::new),
        key_bits: 256,
        latency: Duration::ZERO,
        timeout: TIMEOUT,
    }
}

async fn refusal(to: SocketAddr, options: &CallerOptions) -> Rejection {
    match Connection::connect(to, options).await {
        Err(Error::Refused(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_arrive_until_the_end() {
    for (at, id, passphrase) in [("127.0.0.1:0", "good", Some(PASSPHRASE)), ("[::1]:0", "open", None)] {
        let (address, listener, mut connections) = listen(at);
        let mut caller = Connection::connect(address, &options(id, passphrase)).await.unwrap();
        let mut receiver = connections.recv().await.unwrap();
        assert_eq!(receiver.stats().unwrap().latency, LATENCY, "the larger of both");
        let sent: Vec<u8> = (0..200u32).flat_map(|number| vec![number as u8; 1_316]).collect();
        for message in sent.chunks(1_316) {
            caller.wait_for_acknowledgements().await.unwrap();
            caller.send(message).await.unwrap();
        }
        let end = tokio::spawn(async move {
            caller.wait_for_delivery().await.unwrap();
            assert!(caller.round_trip().unwrap() > Duration::ZERO);
        });
        let (mut received, mut buffer) = (Vec::new(), vec![0; 64 * 1_024]);
        while let len @ 1.. = receiver.receive(&mut buffer).await.unwrap() {
            received.extend_from_slice(&buffer[..len]);
        }
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
        end.await.unwrap();
        drop(listener);
        assert!(connections.recv().await.is_none(), "the acceptor ends with its listener");
    }
}

#[tokio::test]
async fn refusals_have_a_reason() {
    let (address, _listener, _connections) = listen("127.0.0.1:0");
    assert_eq!(refusal(address, &options("other", None)).await, Rejection(2_042));
    assert_eq!(refusal(address, &options("good", Some("another passphrase"))).await, Rejection::BAD_SECRET);
    assert_eq!(refusal(address, &options("good", None)).await, Rejection::UNSECURE);
    assert_eq!(refusal(address, &options("open", Some(PASSPHRASE))).await, Rejection::UNSECURE);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let soon = CallerOptions { timeout: Duration::from_millis(100), ..options("good", None) };
    assert_eq!(refusal(silent.local_addr().unwrap(), &soon).await, Rejection::TIMEOUT);
}

#[tokio::test]
async fn the_end_of_a_connection_is_noticed() {
    let (address, _listener, mut connections) = listen("127.0.0.1:0");
    let mut caller = Connection::connect(address, &options("open", None)).await.unwrap();
    drop(connections.recv().await.unwrap());
    tokio::time::timeout(TIMEOUT, caller.wait_for_end()).await.unwrap();
    match caller.send(&[0; 188]).await {
        Err(Error::Call(error)) => assert!(error.is_lost(), "{error}"),
        other => panic!("{other:?}"),
    }
    // Neither waits for a peer that is gone.
    caller.wait_for_acknowledgements().await.unwrap();
    caller.wait_for_delivery().await.unwrap_or_default();
}

#[tokio::test]
async fn the_stream_id_is_not_printed() {
    let options = options("hush", Some("hush hush hush"));
    assert!(!format!("{options:?} {:?}", options.passphrase).contains("hush"));
}
