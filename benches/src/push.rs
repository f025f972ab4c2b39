//! A small RTMP publisher: the handshake, three commands, and then chunks in real time.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, BytesMut};
use socket2::{Domain, Socket, Type};

use crate::clip::{CHUNK_SIZE, Schedule, Timing, message};

const HANDSHAKE: usize = 1_536;
const COMMAND_CSID: u8 = 3;
const SET_CHUNK_SIZE: u8 = 1;
const COMMAND_AMF0: u8 = 20;
/// Timeout of reads and writes.
const STALL: Duration = Duration::from_secs(10);
/// Maximum length of the response to a command.
const MAX_RESPONSE: usize = 16 * 1_024;

/// The destination of a publication.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The RTMP listener.
    pub(crate) address: SocketAddr,
    /// The stream key.
    pub(crate) key: String,
    /// The loopback address to connect from, because servers limit connections per address.
    pub(crate) source: IpAddr,
}

/// One publication.
pub(crate) struct Push {
    stream: TcpStream,
    message_stream: u32,
    schedule: Arc<Schedule>,
    start: Instant,
    next: u64,
}

/// Returns the `n`-th loopback address to connect from, starting at 127.0.1.1.
pub(crate) fn loopback(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1 + (n / 250) as u8, 1 + (n % 250) as u8))
}

impl Push {
    /// Connects and publishes. The first video frame is due at `start`.
    pub(crate) fn publish(target: &Target, schedule: Arc<Schedule>, start: Instant) -> Result<Self> {
        let mut stream = connect(target).with_context(|| format!("connect to {}", target.address))?;
        handshake(&mut stream).context("RTMP handshake")?;
        let message_stream = commands(&mut stream, target).context("RTMP publish")?;
        stream.write_all(&schedule.prologue(message_stream))?;
        Ok(Self { stream, message_stream, schedule, start, next: 0 })
    }

    /// Returns the time at which the next video frame is due.
    pub(crate) fn due(&self) -> Instant {
        self.start + Schedule::due(self.next)
    }

    /// Sends the next video frame and the audio before it. Returns its number, and the time at which its last byte was
    /// written.
    pub(crate) fn send(&mut self) -> Result<(u64, Instant)> {
        let n = self.next;
        self.stream.write_all(self.schedule.tick(n)).context("the server no longer takes the stream")?;
        self.next += 1;
        Ok((n, Instant::now()))
    }

    /// Ends the publication as encoders do, so that the server can tell it from a lost connection.
    pub(crate) fn end(mut self) -> Result<()> {
        let mut body = BytesMut::new();
        amf_string(&mut body, "deleteStream");
        amf_number(&mut body, 4.0);
        body.put_u8(AMF_NULL);
        amf_number(&mut body, f64::from(self.message_stream));
        let mut out = BytesMut::new();
        message(&mut out, COMMAND_CSID, COMMAND_AMF0, Timing::Absolute(0, 0), &body);
        self.stream.write_all(&out)?;
        // Unread acknowledgements would turn the close into a reset.
        self.stream.set_nonblocking(true)?;
        let mut sink = [0; 4_096];
        while self.stream.read(&mut sink).is_ok_and(|n| n > 0) {}
        Ok(())
    }
}

/// Sends the video frames of all publications when they are due, until `until`. Returns the maximum delay.
pub(crate) fn drive(
    pushes: &mut [Push],
    until: Instant,
    mut sent: impl FnMut(usize, u64, Instant),
) -> Result<Duration> {
    let mut worst = Duration::ZERO;
    loop {
        let Some((n, push)) = pushes.iter_mut().enumerate().min_by_key(|(_, push)| push.due()) else {
            bail!("there is nothing to push");
        };
        let due = push.due();
        if due >= until {
            return Ok(worst);
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (frame, at) = push.send().with_context(|| format!("publisher {n}"))?;
        worst = worst.max(at.saturating_duration_since(due));
        sent(n, frame, at);
    }
}

fn connect(target: &Target) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(target.source, 0).into())?;
    socket.connect_timeout(&target.address.into(), STALL)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    Ok(stream)
}

/// The simple handshake, in which each side echoes the bytes of the other.
fn handshake(stream: &mut TcpStream) -> Result<()> {
    let mut hello = [0; 1 + HANDSHAKE];
    hello[0] = 3;
    fastrand::fill(&mut hello[9..]);
    stream.write_all(&hello)?;
    let mut answer = [0; 1 + HANDSHAKE];
    stream.read_exact(&mut answer)?;
    ensure!(answer[0] == 3, "version {} is not RTMP", answer[0]);
    stream.write_all(&answer[1..])?;
    stream.read_exact(&mut answer[1..])?;
    Ok(())
}

/// Sends `connect`, `createStream` and `publish`. Returns the message stream id.
fn commands(stream: &mut TcpStream, target: &Target) -> Result<u32> {
    let mut out = BytesMut::new();
    message(&mut out, 2, SET_CHUNK_SIZE, Timing::Absolute(0, 0), &(CHUNK_SIZE as u32).to_be_bytes());
    let mut body = BytesMut::new();
    amf_string(&mut body, "connect");
    amf_number(&mut body, 1.0);
    body.put_u8(AMF_OBJECT);
    for (name, value) in [("app", "app".to_owned()), ("tcUrl", format!("rtmp://{}/app", target.address))] {
        amf_name(&mut body, name);
        amf_string(&mut body, &value);
    }
    body.put_slice(&AMF_OBJECT_END);
    message(&mut out, COMMAND_CSID, COMMAND_AMF0, Timing::Absolute(0, 0), &body);
    stream.write_all(&out)?;
    let mut received = Vec::new();
    await_text(stream, &mut received, b"_result", 0)?;

    body.clear();
    amf_string(&mut body, "createStream");
    amf_number(&mut body, 2.0);
    body.put_u8(AMF_NULL);
    send_command(stream, 0, &body)?;
    // The response has the name, the transaction id, a null and the message stream id.
    received.clear();
    let number = await_text(stream, &mut received, b"_result", 7 + 9 + 1 + 9)? + 7 + 9 + 2;
    let id = received.get(number..number + 8).and_then(|b| b.try_into().ok()).map(f64::from_be_bytes);
    let id = id.context("no message stream")? as u32;

    body.clear();
    amf_string(&mut body, "publish");
    amf_number(&mut body, 3.0);
    body.put_u8(AMF_NULL);
    amf_string(&mut body, &target.key);
    amf_string(&mut body, "live");
    send_command(stream, id, &body)?;
    received.clear();
    await_text(stream, &mut received, b"NetStream.Publish.Start", 0)?;
    Ok(id)
}

fn send_command(stream: &mut TcpStream, message_stream: u32, body: &[u8]) -> Result<()> {
    let mut out = BytesMut::new();
    message(&mut out, COMMAND_CSID, COMMAND_AMF0, Timing::Absolute(0, message_stream), body);
    Ok(stream.write_all(&out)?)
}

/// Reads until `text` and `len` bytes from its start have arrived. Returns its position. The expected responses are
/// within the first chunk of 128 bytes, so no chunk header can split them.
fn await_text(stream: &mut TcpStream, received: &mut Vec<u8>, text: &[u8], len: usize) -> Result<usize> {
    let mut buffer = [0; 4_096];
    loop {
        let position = received.windows(text.len()).position(|window| window == text);
        if let Some(position) = position.filter(|position| received.len() >= position + len) {
            return Ok(position);
        }
        let n = stream.read(&mut buffer)?;
        let wanted = String::from_utf8_lossy(text);
        ensure!(
            n > 0 && received.len() < MAX_RESPONSE,
            "expected {wanted}, received {:?}",
            String::from_utf8_lossy(received)
        );
        received.extend_from_slice(&buffer[..n]);
    }
}

const AMF_STRING: u8 = 2;
const AMF_OBJECT: u8 = 3;
const AMF_NULL: u8 = 5;
const AMF_OBJECT_END: [u8; 3] = [0, 0, 9];

fn amf_name(out: &mut BytesMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn amf_string(out: &mut BytesMut, text: &str) {
    out.put_u8(AMF_STRING);
    amf_name(out, text);
}

fn amf_number(out: &mut BytesMut, number: f64) {
    out.put_u8(0);
    out.put_f64(number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_differ() {
        assert_eq!(loopback(0).to_string(), "127.0.1.1");
        assert_eq!(loopback(250).to_string(), "127.0.2.1");
    }

    #[test]
    fn amf_values_have_their_markers() {
        let mut out = BytesMut::new();
        amf_string(&mut out, "ab");
        amf_number(&mut out, 1.0);
        assert_eq!(&out[..], &[2, 0, 2, b'a', b'b', 0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
    }
}
