//! A socket with its RTMP session.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};
use wire::rtmp::client::{Event, Session};

use crate::failure::Failure;
use crate::socket::Socket;

/// Size of the read buffer, because answers of a target are small.
const READ_BUFFER: usize = 4 * 1_024;
/// Most pieces of one vectored write. Further ones follow with the next write.
const MAX_SLICES: usize = 64;
/// Most bytes that a target may send beyond an eighth of what it receives. With more, the connection ends, because the
/// answers of a target are few, and each costs time.
const MAX_RECEIVED: u64 = 1 << 20;

/// Result of one step of a [`Link`].
enum Step {
    Read(usize),
    Wrote(usize),
    Flushed,
}

/// A socket with the [`Session`] on it.
pub(super) struct Link {
    pub(super) session: Session,
    socket: Box<dyn Socket>,
    /// Pieces taken from the session. New ones are taken when these are sent, so that the session notices when its
    /// answers pile up.
    output: VecDeque<Bytes>,
    input: [u8; READ_BUFFER],
    /// Whether TLS may hold back bytes.
    needs_flush: bool,
    /// Whether the next step reads before it writes. The two take turns, so that neither can starve the other.
    reads_first: bool,
    write_timeout: Duration,
    /// Time of the last progress in writing, or since when there is something to write.
    progress_at: Instant,
    sent: u64,
    received: u64,
}

impl Link {
    pub(super) fn new(socket: Box<dyn Socket>, session: Session, write_timeout: Duration) -> Self {
        Self {
            session,
            socket,
            output: VecDeque::new(),
            input: [0; READ_BUFFER],
            needs_flush: false,
            reads_first: true,
            write_timeout,
            progress_at: Instant::now(),
            sent: 0,
            received: 0,
        }
    }

    /// Returns the number of bytes sent so far.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns whether there is something to send.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty() || self.needs_flush || self.session.output_len() > 0
    }

    /// Exchanges bytes until the session has an event.
    pub(super) async fn until_event(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.session.poll() {
                return Ok(event);
            }
            self.step().await?;
        }
    }

    /// Reads or writes once. Dropping the future loses nothing.
    pub(super) async fn step(&mut self) -> Result<(), Failure> {
        if self.output.is_empty() && self.session.output_len() > 0 {
            if !self.needs_flush {
                self.progress_at = Instant::now();
            }
            self.output.extend(self.session.take_output());
        }
        let is_writing = !self.output.is_empty() || self.needs_flush;
        let deadline = self.progress_at + self.write_timeout;
        let step = poll_fn(|context| self.poll_step(context));
        let step =
            if is_writing { timeout_at(deadline, step).await.map_err(|_| Failure::Stalled)? } else { step.await };
        match step.map_err(Failure::Lost)? {
            Step::Read(0) => return Err(Failure::Closed),
            Step::Read(len) => {
                self.received += len as u64;
                self.session.input(self.input.get(..len).unwrap_or_default())?;
                if self.received > MAX_RECEIVED + self.sent / 8 {
                    return Err(Failure::TooMuchReceived);
                }
            }
            Step::Wrote(len) => self.wrote(len),
            Step::Flushed => {
                self.needs_flush = false;
                self.progress_at = Instant::now();
            }
        }
        // Checked here too, because a target that sends without a pause keeps the timer from running out.
        let has_stalled = is_writing && self.progress_at.elapsed() > self.write_timeout;
        if has_stalled { Err(Failure::Stalled) } else { Ok(()) }
    }

    fn wrote(&mut self, mut len: usize) {
        self.sent += len as u64;
        self.progress_at = Instant::now();
        self.needs_flush = true;
        while let Some(piece) = self.output.front_mut() {
            let part = piece.len().min(len);
            piece.advance(part);
            len -= part;
            if !piece.is_empty() {
                return;
            }
            self.output.pop_front();
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        self.reads_first = !self.reads_first;
        if self.reads_first
            && let Poll::Ready(read) = self.poll_read(context)
        {
            return Poll::Ready(read);
        }
        match self.poll_write(context) {
            Poll::Pending if !self.reads_first => self.poll_read(context),
            // The target's last words explain why it takes no more.
            Poll::Ready(Err(error)) => match self.poll_read(context) {
                Poll::Ready(Ok(Step::Read(len @ 1..))) => Poll::Ready(Ok(Step::Read(len))),
                _ => Poll::Ready(Err(error)),
            },
            written => written,
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        let mut buffer = ReadBuf::new(&mut self.input);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(Step::Read(buffer.filled().len())))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        if self.output.is_empty() {
            if !self.needs_flush {
                return Poll::Pending;
            }
            ready!(Pin::new(&mut self.socket).poll_flush(context))?;
            return Poll::Ready(Ok(Step::Flushed));
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        for (slice, piece) in slices.iter_mut().zip(&self.output) {
            *slice = IoSlice::new(piece);
        }
        let used = self.output.len().min(MAX_SLICES);
        let slices = slices.get(..used).unwrap_or_default();
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(context, slices))?;
        Poll::Ready(if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(Step::Wrote(written)) })
    }

    /// Ends the publication, sends what remains, and reads until the target has closed the connection. Closing at once
    /// could reset the connection, and the target would lose the last frames.
    pub(super) async fn close(mut self) {
        self.session.close();
        while self.has_output() {
            if self.step().await.is_err() {
                return;
            }
        }
        if self.socket.shutdown().await.is_ok() {
            while let Ok(1..) = self.socket.read(&mut self.input).await {}
        }
    }
}
