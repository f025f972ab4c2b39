//! HTTP/2 readers over TLS, ten on a connection. They implement just enough of RFC 9113 to send requests and to count
//! answers, so that the measurement is of the server.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::http1::connect;
use super::{Crowd, LIMIT};
use crate::synthetic::{Synthetic, trusting};

/// Readers that share a connection.
const STREAMS: usize = 10;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A window of this size never runs out.
const WINDOW: u32 = 1 << 30;
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Fields of the static table (RFC 7541, appendix A).
const METHOD_GET: u8 = 0x82;
const SCHEME_HTTPS: u8 = 0x87;
const STATUS_200: u8 = 0x88;
const AUTHORITY: u8 = 1;
const PATH: u8 = 4;

/// Connections, most of whose streams are blocked.
pub(super) struct Readers {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    poll: Poll,
    connections: Vec<Connection>,
    readers: usize,
}

struct Connection {
    stream: TcpStream,
    tls: ClientConnection,
    input: Vec<u8>,
    /// Readers on this connection.
    readers: usize,
    next_stream: u32,
}

impl Crowd for Readers {
    fn new(server: &Synthetic) -> Result<Self> {
        let mut tls = trusting(&server.certificate)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let (address, tls) = (server.tls_address, Arc::new(tls));
        Ok(Self { address, tls, poll: Poll::new()?, connections: Vec::new(), readers: 0 })
    }

    fn grow(&mut self, readers: usize) -> Result<()> {
        self.readers += readers;
        let here = self.connections.iter().map(|connection| connection.readers).sum::<usize>();
        let mut missing = self.readers - here;
        if let Some(last) = self.connections.last_mut() {
            let more = missing.min(STREAMS - last.readers);
            last.readers += more;
            missing -= more;
        }
        while missing > 0 {
            let readers = missing.min(STREAMS);
            let (n, tls) = (self.connections.len(), Arc::clone(&self.tls));
            self.connections.push(Connection::open(self.address, n, tls, readers, &self.poll)?);
            missing -= readers;
        }
        Ok(())
    }

    fn ask(&mut self, path: &str) -> Result<()> {
        let block = fields(path);
        self.connections.iter_mut().try_for_each(|connection| connection.ask(&block))
    }

    fn answers(&mut self) -> Result<Vec<Instant>> {
        let mut events = Events::with_capacity(1_024);
        let deadline = Instant::now() + LIMIT;
        let mut answers = Vec::with_capacity(self.readers);
        while answers.len() < self.readers {
            ensure!(Instant::now() < deadline, "{} of {} answered", answers.len(), self.readers);
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                connection.read(&mut answers)?;
            }
        }
        Ok(answers)
    }
}

impl Connection {
    fn open(address: SocketAddr, n: usize, tls: Arc<ClientConfig>, readers: usize, poll: &Poll) -> Result<Self> {
        let mut stream = connect(address, n)?;
        let mut tls = ClientConnection::new(tls, ServerName::try_from("localhost")?)?;
        stream.set_nonblocking(false)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        ensure!(tls.alpn_protocol() == Some(b"h2"), "the server does not speak HTTP/2");
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
        let mut connection = Self { stream, tls, input: Vec::new(), readers, next_stream: 1 };
        let mut hello = PREFACE.to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        hello.extend(frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes()));
        connection.send(&hello)?;
        Ok(connection)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.tls.writer().write_all(bytes)?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).context("a request does not fit the socket")?;
        }
        Ok(())
    }

    /// Sends one request for each of the connection's readers, in one write.
    fn ask(&mut self, block: &[u8]) -> Result<()> {
        let mut requests = Vec::new();
        for _ in 0..self.readers {
            requests.extend(frame(HEADERS, END_STREAM | END_HEADERS, self.next_stream, block));
            self.next_stream += 2;
        }
        self.send(&requests)
    }

    /// Reads the available bytes and records each stream that ends.
    fn read(&mut self, answers: &mut Vec<Instant>) -> Result<()> {
        loop {
            match self.tls.read_tls(&mut self.stream) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let plain = self.tls.process_new_packets()?.plaintext_bytes_to_read();
            let start = self.input.len();
            self.input.resize(start + plain, 0);
            self.tls.reader().read_exact(&mut self.input[start..])?;
            self.frames(answers)?;
        }
    }

    fn frames(&mut self, answers: &mut Vec<Instant>) -> Result<()> {
        let mut at = 0;
        while let Some(head) = self.input.get(at..at + HEAD) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let Some(payload) = self.input.get(at + HEAD..at + HEAD + length) else { break };
            match kind {
                DATA if flags & END_STREAM != 0 => answers.push(Instant::now()),
                HEADERS => ensure!(payload.first() == Some(&STATUS_200), "an answer begins with {payload:x?}"),
                SETTINGS if flags & ACK == 0 => {
                    let bytes = frame(SETTINGS, ACK, 0, &[]);
                    self.send(&bytes)?;
                }
                PING if flags & ACK == 0 => bail!("a ping, which nobody asked for"),
                RESET | GO_AWAY => bail!("frame {kind}: {payload:x?}"),
                _ => {}
            }
            at += HEAD + length;
        }
        self.input.drain(..at);
        Ok(())
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Returns the header block of a request for `path`, in literals without indexing (RFC 7541 §6.2.2).
fn fields(path: &str) -> Vec<u8> {
    let mut block = vec![METHOD_GET, SCHEME_HTTPS];
    for (name, value) in [(AUTHORITY, "localhost"), (PATH, path)] {
        block.push(name);
        integer(&mut block, value.len());
        block.extend(value.as_bytes());
    }
    block
}

/// Appends an integer with a prefix of seven bits (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, n: usize) {
    let Some(mut rest) = n.checked_sub(127) else { return block.push(n as u8) };
    block.push(127);
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_frames_are_as_the_standards_have_them() {
        let bytes = |n| {
            let mut block = Vec::new();
            integer(&mut block, n);
            block
        };
        assert_eq!([bytes(5), bytes(127), bytes(1_464)], [vec![5], vec![127, 0], vec![127, 0xb9, 0x0a]]);
        assert_eq!(frame(HEADERS, 5, 3, b"ab"), [0, 0, 2, 1, 5, 0, 0, 0, 3, b'a', b'b']);
    }
}
