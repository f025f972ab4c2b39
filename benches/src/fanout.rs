//! Fan-out: ten thousand readers blocked on one playlist, server and readers each on one core.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::peers::LOAD_CORE;
use crate::playlist::{Media, with_query};
use crate::push::loopback;
use crate::synthetic::Synthetic;
use crate::{proc, report, stats};

const SPREAD_GOAL_MS: f64 = 100.0;
const CPU_GOAL_US: f64 = 12.0;
const MEMORY_GOAL: f64 = 10_000.0;
/// Connections from one loopback address; a 4-tuple each, well below the range of local ports.
const PER_ADDRESS: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(30);
const OPEN_FILES: u64 = 20_000;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Readers.
    #[arg(long, default_value_t = 10_000)]
    readers: usize,
    /// Releases that are measured.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// When its answer was whole.
    answered: Option<Instant>,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Fan-out");
    proc::raise_open_files(OPEN_FILES)?;
    let mut server = Synthetic::start()?;
    proc::pin_self(LOAD_CORE)?;
    let (address, path) = (server.address, server.playlist.clone());

    let mut poll = Poll::new()?;
    let mut readers = connect(args.readers.min(1), 0, address, &poll)?;
    // One reader goes ahead, so that what the server makes once is not counted as a reader's memory.
    let mut next = round(&mut server, &mut poll, &mut readers, &path)?;
    let idle = proc::memory(server.pid())?.rss;
    readers.extend(connect(args.readers - readers.len(), readers.len(), address, &poll)?);

    let (mut arrivals, mut cpu, mut last, mut blocked_rss) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for n in 0..=args.rounds {
        ask(&mut readers, &with_query(&path, &next))?;
        server.await_blocked(readers.len())?;
        blocked_rss = proc::memory(server.pid())?.rss;
        let before = proc::cpu(server.pid())?;
        let released = Instant::now();
        server.release()?;
        next = await_answers(&mut poll, &mut readers)?;
        // Let the server end its work on this release before its CPU time is read.
        server.await_blocked(0)?;
        let used = proc::cpu(server.pid())?.saturating_sub(before);
        // The first release with all readers warms up both sides.
        if n == 0 {
            continue;
        }
        let mut at: Vec<Instant> = readers.iter_mut().filter_map(|reader| reader.answered.take()).collect();
        ensure!(at.len() == readers.len(), "{} of {} answered", at.len(), readers.len());
        at.sort();
        arrivals.extend(at.iter().map(|t| (*t - at[0]).as_secs_f64() * 1e3));
        last.push((at[at.len() - 1] - released).as_secs_f64() * 1e3);
        cpu.push(used.as_secs_f64() * 1e6 / readers.len() as f64);
    }
    print(&readers, &arrivals, &last, &cpu, blocked_rss.saturating_sub(idle));
    Ok(())
}

fn print(readers: &[Reader], arrivals: &[f64], last: &[f64], cpu: &[f64], grown: u64) {
    report::table(&[
        "readers",
        "answered",
        "spread p50, ms",
        "spread p99, ms",
        "≤ 100 ms",
        "release to last answer, ms (median)",
        "CPU a release, µs (mean)",
        "≤ 12 µs",
        "memory a reader, KB",
        "≤ 10 KB",
    ]);
    let (spread, each) = (stats::quantile(arrivals, 0.99), stats::mean(cpu));
    let memory = grown as f64 / readers.len() as f64;
    report::row(&[
        readers.len().to_string(),
        "all".to_owned(),
        format!("{:.1}", stats::median(arrivals)),
        format!("{spread:.1}"),
        report::met(spread <= SPREAD_GOAL_MS).to_owned(),
        format!("{:.1}", stats::median(last)),
        format!("{each:.2}"),
        report::met(each <= CPU_GOAL_US).to_owned(),
        format!("{:.2}", memory / 1e3),
        report::met(memory <= MEMORY_GOAL).to_owned(),
    ]);
}

/// One release with the readers there are; gives the query for what comes next.
fn round(server: &mut Synthetic, poll: &mut Poll, readers: &mut [Reader], path: &str) -> Result<String> {
    ask(readers, path)?;
    let next = await_answers(poll, readers)?;
    ask(readers, &with_query(path, &next))?;
    server.await_blocked(readers.len())?;
    server.release()?;
    await_answers(poll, readers)
}

fn connect(n: usize, first: usize, address: SocketAddr, poll: &Poll) -> Result<Vec<Reader>> {
    let mut readers = Vec::with_capacity(n);
    for i in first..first + n {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(loopback(i / PER_ADDRESS), 0).into())?;
        socket.connect(&address.into()).with_context(|| format!("reader {i}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        poll.registry().register(&mut stream, Token(i), Interest::READABLE)?;
        readers.push(Reader { stream, buffer: Vec::new(), answered: None });
    }
    Ok(readers)
}

fn ask(readers: &mut [Reader], path: &str) -> Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    for reader in readers {
        reader.buffer.clear();
        reader.answered = None;
        let written = reader.stream.write(request.as_bytes())?;
        ensure!(written == request.len(), "a request does not fit the socket");
    }
    Ok(())
}

/// Waits for every reader's answer; gives the query for what comes next.
fn await_answers(poll: &mut Poll, readers: &mut [Reader]) -> Result<String> {
    let mut events = Events::with_capacity(1_024);
    let deadline = Instant::now() + LIMIT;
    let mut missing = readers.len();
    while missing > 0 {
        ensure!(Instant::now() < deadline, "{missing} readers have no answer");
        // It looks without sleeping: readers on other machines do not cost the server a wake-up across cores each.
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let Some(reader) = readers.get_mut(event.token().0) else { continue };
            if reader.answered.is_none() && reader.read()? {
                reader.answered = Some(Instant::now());
                missing -= 1;
            }
        }
    }
    let first = readers.first().context("no reader")?;
    Ok(Media::parse(&String::from_utf8_lossy(&first.buffer)).next())
}

impl Reader {
    /// Reads what is there; true once the answer is whole.
    fn read(&mut self) -> Result<bool> {
        let mut bytes = [0; 16 * 1_024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(n) => self.buffer.extend_from_slice(&bytes[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
            if whole(&self.buffer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// True if the answer has come to its end; an error if it is not a 200.
fn whole(answer: &[u8]) -> Result<bool> {
    let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200"), "an answer is {head:?}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).context("no content-length")?;
    Ok(answer.len() >= end + 4 + length.trim().parse::<usize>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert!(whole(answer).unwrap());
        assert!(!whole(&answer[..answer.len() - 1]).unwrap());
        assert!(!whole(&answer[..10]).unwrap());
        assert!(whole(b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
    }
}
