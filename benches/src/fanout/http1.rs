//! HTTP/1.1 readers, each with its own connection.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::{APPEND_PERIOD, Crowd, LIMIT, PER_ADDRESS};
use crate::playlist::with_query;
use crate::push::loopback;
use crate::synthetic::{PART_MS, PARTS, Synthetic};
use crate::{report, stats};

const EVENTS: usize = 1_024;

/// Readers, most of them blocked.
pub(super) struct Readers {
    address: SocketAddr,
    path: String,
    poll: Poll,
    readers: Vec<Reader>,
}

struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    answered: bool,
}

impl Crowd for Readers {
    fn new(server: &Synthetic) -> Result<Self> {
        let path = server.playlist.clone();
        Ok(Self { address: server.address, path, poll: Poll::new()?, readers: Vec::new() })
    }

    fn grow(&mut self, readers: usize) -> Result<()> {
        for _ in 0..readers {
            let n = self.readers.len();
            let mut stream = TcpStream::from_std(connect(self.address, n)?);
            self.poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
            self.readers.push(Reader { stream, buffer: Vec::new(), answered: false });
        }
        Ok(())
    }

    fn ask(&mut self, path: &str) -> Result<()> {
        self.readers.iter_mut().try_for_each(|reader| reader.ask(path))
    }

    fn answers(&mut self) -> Result<Vec<Instant>> {
        let mut events = Events::with_capacity(EVENTS);
        let deadline = Instant::now() + LIMIT;
        let mut answers = Vec::with_capacity(self.readers.len());
        while answers.len() < self.readers.len() {
            ensure!(Instant::now() < deadline, "{} of {} answered", answers.len(), self.readers.len());
            // Polls without sleeping: readers on other machines would not cost the server a wake-up across cores each.
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                let Some(reader) = self.readers.get_mut(event.token().0) else { continue };
                if !reader.answered && reader.read()? {
                    reader.answered = true;
                    answers.push(Instant::now());
                }
            }
        }
        Ok(answers)
    }
}

/// Opens the `n`th connection of its protocol.
pub(super) fn connect(address: SocketAddr, n: usize) -> Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(loopback(n / PER_ADDRESS), 0).into())?;
    socket.connect(&address.into()).with_context(|| format!("connection {n}"))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Readers {
    /// Follows `parts` parts as players do: each reader asks for the next part as soon as it has one. Prints whether
    /// every reader got every part, and how long after its release. Returns the time of each append.
    pub(super) fn follow(&mut self, server: &mut Synthetic, parts: usize) -> Result<Vec<Duration>> {
        let next = server.next_part()?;
        let first = ordinal(&next).context("no next part")?;
        self.ask(&with_query(&self.path, &next))?;
        server.await_blocked(self.readers.len())?;
        let mut released = Vec::with_capacity(parts);
        let mut delays = Vec::with_capacity(parts * self.readers.len());
        let mut events = Events::with_capacity(EVENTS);
        let period = Duration::from_millis(PART_MS as u64);
        let start = Instant::now();
        let end = start + period * (parts as u32 + 1);
        while Instant::now() < end && delays.len() < parts * self.readers.len() {
            if released.len() < parts && Instant::now() >= start + period * released.len() as u32 {
                released.push(Instant::now());
                server.post_release()?;
            }
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                let Some(reader) = self.readers.get_mut(event.token().0) else { continue };
                if !reader.read()? {
                    continue;
                }
                let next = next_part(&reader.buffer).context("an answer without a hint")?;
                let newest = ordinal(&next).context("a hint without numbers")?.saturating_sub(first + 1);
                let at = released.get(newest).context("a part that is not released")?;
                delays.push(at.elapsed().as_secs_f64() * 1e3);
                // A reader that has all parts sends no further request.
                if newest + 1 < parts {
                    reader.ask(&with_query(&self.path, &next))?;
                }
            }
        }
        let appends = server.await_posted()?;
        let wanted = parts * self.readers.len();
        report::table(&["readers", "parts, one each 200 ms", "answers", "of all", "p50, ms after release", "p99, ms"]);
        report::row(&[
            self.readers.len().to_string(),
            parts.to_string(),
            delays.len().to_string(),
            format!("{:.2} %", delays.len() as f64 * 100.0 / wanted as f64),
            format!("{:.1}", stats::median(&delays)),
            format!("{:.1}", stats::quantile(&delays, 0.99)),
        ]);
        Ok(appends)
    }

    /// Has all readers reload without pause while parts are published, so that each append competes with requests for the
    /// lock. Returns the time of each append.
    pub(super) fn reload(&mut self, server: &mut Synthetic, appends: usize) -> Result<Vec<Duration>> {
        let next = server.next_part()?;
        self.ask(&with_query(&self.path, &next))?;
        server.await_blocked(self.readers.len())?;
        let (start, mut posted) = (Instant::now(), 0);
        let mut events = Events::with_capacity(EVENTS);
        while posted < appends {
            if Instant::now() >= start + APPEND_PERIOD * posted as u32 {
                server.post_release()?;
                posted += 1;
            }
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                let Some(reader) = self.readers.get_mut(event.token().0) else { continue };
                if reader.read()? {
                    let next = next_part(&reader.buffer).context("an answer without a hint")?;
                    reader.ask(&with_query(&self.path, &next))?;
                }
            }
        }
        server.await_posted()
    }
}

impl Reader {
    fn ask(&mut self, path: &str) -> Result<()> {
        self.buffer.clear();
        self.answered = false;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        let written = self.stream.write(request.as_bytes())?;
        ensure!(written == request.len(), "a request does not fit the socket");
        Ok(())
    }

    /// Reads the available bytes. Returns true once the answer is complete.
    fn read(&mut self) -> Result<bool> {
        let mut bytes = [0; 4 * 1_024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(n) => self.buffer.extend_from_slice(&bytes[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if whole(&self.buffer)? {
                return Ok(true);
            }
        }
    }
}

/// Returns true if the answer is complete, or an error if it is not a 200.
fn whole(answer: &[u8]) -> Result<bool> {
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else { return Ok(false) };
    let head = &answer[..end];
    ensure!(head.starts_with(b"HTTP/1.1 200"), "an answer is {:?}", String::from_utf8_lossy(head));
    let at = memmem::find(head, b"content-length: ").context("no content-length")?;
    let digits = head[at + 16..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Ok(answer.len() >= end + 4 + length)
}

/// Returns the query that waits for the part of the preload hint.
fn next_part(playlist: &[u8]) -> Option<String> {
    let hint = memmem::rfind(playlist, b"TYPE=PART,URI=\"")?;
    let name = playlist[hint..].split(|byte| *byte == b'"').nth(1)?;
    let name = std::str::from_utf8(name).ok()?;
    let (msn, part) = name.rsplit_once('-')?.1.split_once(".m4s")?.0.split_once('.')?;
    Some(format!("_HLS_msn={msn}&_HLS_part={part}"))
}

/// Returns the number of a part within the broadcast, from the query that waits for it.
fn ordinal(query: &str) -> Option<usize> {
    let (msn, part) = query.strip_prefix("_HLS_msn=")?.split_once("&_HLS_part=")?;
    Some(msn.parse::<usize>().ok()? * PARTS as usize + part.parse::<usize>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert!(whole(answer).unwrap());
        assert!(!whole(&answer[..answer.len() - 1]).unwrap());
        assert!(!whole(&answer[..10]).unwrap());
        assert!(whole(b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
    }

    #[test]
    fn the_next_part_is_the_hinted_one() {
        let next = next_part(b"#EXTM3U\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"video-7.3.m4s\"\n").unwrap();
        assert_eq!(next, "_HLS_msn=7&_HLS_part=3");
        assert_eq!(ordinal(&next), Some(7 * PARTS as usize + 3));
        assert_eq!(next_part(b"#EXTM3U\n"), None);
    }
}
