//! Gathers the writes of an HTTP/2 connection into one.
//!
//! An HTTP/2 connection writes and flushes each answer separately, and every write costs a TLS record and a system
//! call. The task that polls the connection holds a second handle of the [`Cork`] and uncorks it after each poll, so
//! that all answers that were ready leave together. Media is not gathered: it passes through in whole records, without
//! a copy.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum of gathered bytes: four full TLS records. More are sent immediately.
const MAX_GATHERED: usize = 4 * RECORD;
/// Size of a full TLS record in bytes. The payload of an HTTP/2 DATA frame of media alone has this size, so that its
/// frame header would need a second record.
const RECORD: usize = 16 * 1_024;
/// Smallest write that passes through without a copy, in bytes. A write of this size is taken for media.
const LARGE: usize = RECORD / 2;
/// Maximum of pieces that one write forwards. The rest follows in the next one.
const MAX_PIECES: usize = 64;

thread_local! {
    /// Spare buffer, currently used by no connection of this worker. One is enough, because almost every connection
    /// returns its buffer within the same poll. A connection that finds none allocates.
    static SPARE_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Stream that gathers what is written to it until it is uncorked or full.
#[derive(Debug)]
pub(crate) struct Cork<T>(Arc<Mutex<Gathered<T>>>);

#[derive(Debug)]
struct Gathered<T> {
    inner: T,
    /// Gathered bytes, of which the first `sent` are already written to `inner`. Holds no memory while empty.
    bytes: Vec<u8>,
    /// Number of `bytes` already written to `inner`.
    sent: usize,
    /// True while `inner` may still hold bytes that were written to it.
    unflushed: bool,
}

impl<T> Cork<T> {
    /// Returns two handles of one stream: one for the connection, one to uncork.
    pub(crate) fn pair(inner: T) -> (Self, Self) {
        let shared = Arc::new(Mutex::new(Gathered { inner, bytes: Vec::new(), sent: 0, unflushed: false }));
        (Self(Arc::clone(&shared)), Self(shared))
    }
}

impl<T: AsyncWrite + Unpin> Cork<T> {
    /// Writes and flushes the gathered bytes.
    pub(crate) fn poll_uncork(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_send(cx)
    }
}

impl<T: AsyncWrite + Unpin> Gathered<T> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
            self.unflushed = true;
        }
        self.release_buffer();
        if self.unflushed {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the number of bytes not yet written to `inner`.
    fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Copies all of `bufs`, which hold `total` bytes. Sends the gathered bytes first if the buffer has no room for
    /// both.
    fn poll_gather(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>], total: usize) -> Poll<io::Result<usize>> {
        if self.bytes.len() + total > MAX_GATHERED {
            ready!(self.poll_send(cx))?;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE_BUFFER.take();
            self.bytes.reserve_exact(MAX_GATHERED);
        }
        bufs.iter().for_each(|buf| self.bytes.extend_from_slice(buf));
        Poll::Ready(Ok(total))
    }

    /// Writes the gathered bytes and then `bufs`, as far as both together fill whole records, without a copy. Returns
    /// how many bytes of `bufs` were taken. The caller writes the rest next, which is gathered if it fills no
    /// record.
    fn poll_pass_through(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        total: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let gathered = self.waiting();
            // Bytes of whole records that are not among the pieces yet.
            let mut left = (gathered + total) / RECORD * RECORD;
            if left == 0 {
                return self.poll_gather(cx, bufs, total);
            }
            let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
            let rest = self.bytes.get(self.sent..).unwrap_or_default();
            let mut filled = 0;
            for (piece, buf) in pieces.iter_mut().zip(std::iter::once(rest).chain(bufs.iter().map(|buf| &**buf))) {
                let buf = buf.get(..left).unwrap_or(buf);
                *piece = IoSlice::new(buf);
                left -= buf.len();
                filled += 1;
            }
            let n =
                ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, pieces.get(..filled).unwrap_or_default()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.sent += n.min(gathered);
            if self.waiting() == 0 {
                self.release_buffer();
            }
            if n > gathered {
                return Poll::Ready(Ok(n - gathered));
            }
        }
    }

    /// Returns the buffer, all of whose bytes are sent, to `SPARE_BUFFER`.
    fn release_buffer(&mut self) {
        if self.bytes.capacity() > 0 {
            self.bytes.clear();
            self.sent = 0;
            SPARE_BUFFER.set(std::mem::take(&mut self.bytes));
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Cork<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = self.0.lock();
        let total = bufs.iter().map(|buf| buf.len()).sum();
        if total < LARGE { gathered.poll_gather(cx, bufs, total) } else { gathered.poll_pass_through(cx, bufs, total) }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing, because [`Cork::poll_uncork`] flushes.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = self.0.lock();
        ready!(gathered.poll_send(cx))?;
        Pin::new(&mut gathered.inner).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Cork<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().inner).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    #[tokio::test]
    async fn nothing_is_sent_before_uncorking_and_then_everything() {
        let (mut peer, inner) = duplex(1 << 20);
        let (mut io, cork) = Cork::pair(inner);
        for text in ["ab", "cd"] {
            io.write_all(text.as_bytes()).await.unwrap();
            io.flush().await.unwrap();
        }
        let mut room = [0; 8];
        assert!(poll!(Box::pin(peer.read(&mut room))).is_pending());
        poll_fn(|cx| cork.poll_uncork(cx)).await.unwrap();
        assert_eq!(peer.read(&mut room).await.unwrap(), 4);
        assert_eq!(&room[..4], b"abcd");
        assert_eq!(cork.0.lock().bytes.capacity(), 0, "an idle connection holds no buffer");
    }

    #[tokio::test]
    async fn gathered_bytes_are_bounded_and_a_slow_peer_is_awaited() {
        let (mut peer, inner) = duplex(10);
        let (mut io, cork) = Cork::pair(inner);
        let line = [7; 1_024];
        for _ in 0..MAX_GATHERED / line.len() {
            assert_eq!(io.write(&line).await.unwrap(), line.len());
        }
        assert!(poll!(Box::pin(io.write(b"x"))).is_pending());
        assert!(poll!(poll_fn(|cx| cork.poll_uncork(cx))).is_pending());
        let closing = async {
            io.write_all(b"end").await.unwrap();
            io.shutdown().await.unwrap();
        };
        let (bytes, ()) = tokio::join!(all(&mut peer), closing);
        assert_eq!(bytes, [&[7; MAX_GATHERED][..], b"end"].concat());
    }

    #[tokio::test]
    async fn media_passes_through_in_whole_records_and_in_order() {
        let (mut peer, inner) = duplex(1 << 20);
        let (mut io, cork) = Cork::pair(inner);
        io.write_all(b"head").await.unwrap();
        let media = vec![9; RECORD];
        assert_eq!(io.write(&media).await.unwrap(), RECORD - 4);
        assert_eq!(cork.0.lock().waiting(), 0);
        io.write_all(&media[RECORD - 4..]).await.unwrap();
        let mut record = vec![0; RECORD];
        peer.read_exact(&mut record).await.unwrap();
        assert_eq!(record, [b"head", &media[4..]].concat());
        assert!(poll!(Box::pin(peer.read(&mut [0; 8]))).is_pending(), "the rest waits for more");
        io.shutdown().await.unwrap();
        assert_eq!(all(&mut peer).await, [9; 4]);
    }

    async fn all(peer: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).await.unwrap();
        bytes
    }
}
