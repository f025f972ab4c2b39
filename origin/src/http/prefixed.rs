//! A stream with a prefix of bytes that were already read: to inspect how it begins, and to keep what arrives early.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes read at once from a peer that sends ahead of its turn.
const EARLY_READ: usize = 512;
/// Bytes read at once while waiting for a request. A browser's request has about a thousand.
const HEAD_READ: usize = 4 * 1_024;

/// Stream whose reads return the prefix first.
#[derive(Debug)]
pub(crate) struct Prefixed<T> {
    prefix: BytesMut,
    inner: T,
}

impl<T: AsyncRead + Unpin> Prefixed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { prefix: BytesMut::new(), inner }
    }

    /// Reads ahead until the stream begins with `expected` (true), or can no longer do so (false).
    pub(crate) async fn begins_with<const N: usize>(&mut self, expected: &[u8; N]) -> io::Result<bool> {
        while self.prefix.len() < N && expected.starts_with(&self.prefix) {
            let mut room = [0; N];
            let missing = N.saturating_sub(self.prefix.len());
            let n = self.inner.read(room.get_mut(..missing).unwrap_or_default()).await?;
            if n == 0 {
                return Ok(false);
            }
            self.prefix.extend_from_slice(room.get(..n).unwrap_or_default());
        }
        Ok(self.prefix.starts_with(expected))
    }

    /// Reads until `parse` finds something, and drops the bytes that it reports as consumed. Returns `None` if the peer
    /// disconnects first. `parse` sees all bytes again on every call, so it has to stop at a bound of its own.
    pub(crate) fn poll_parse<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut parse: impl FnMut(&[u8]) -> Option<(usize, R)>,
    ) -> Poll<io::Result<Option<R>>> {
        if let Some((n, parsed)) =
            Some(&self.prefix).filter(|prefix| !prefix.is_empty()).and_then(|prefix| parse(prefix))
        {
            self.skip(n);
            return Poll::Ready(Ok(Some(parsed)));
        }
        loop {
            let mut room = [MaybeUninit::uninit(); HEAD_READ];
            let mut buf = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(None));
            }
            // Most requests arrive whole and alone, and then nothing is kept.
            if self.prefix.is_empty() {
                if let Some((n, parsed)) = parse(bytes) {
                    self.prefix.extend_from_slice(bytes.get(n..).unwrap_or_default());
                    return Poll::Ready(Ok(Some(parsed)));
                }
                self.prefix.extend_from_slice(bytes);
            } else {
                self.prefix.extend_from_slice(bytes);
                if let Some((n, parsed)) = parse(&self.prefix) {
                    self.skip(n);
                    return Poll::Ready(Ok(Some(parsed)));
                }
            }
        }
    }

    /// Drops the first `n` bytes of the prefix, and frees its memory when it becomes empty.
    fn skip(&mut self, n: usize) {
        self.prefix.advance(n.min(self.prefix.len()));
        if self.prefix.is_empty() {
            self.prefix = BytesMut::new();
        }
    }

    /// Keeps up to `most` bytes that the peer sends early. Ready when the peer disconnects.
    pub(crate) fn poll_disconnect(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        while self.prefix.len() < most {
            if !ready!(self.poll_early(cx)) {
                return Poll::Ready(());
            }
        }
        // Nothing is read beyond the bound, so the disconnect of a peer that sends more is noticed only by the next
        // write.
        Poll::Pending
    }

    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut room = [0; EARLY_READ];
        let mut buf = ReadBuf::new(&mut room);
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf));
        self.prefix.extend_from_slice(buf.filled());
        Poll::Ready(read.is_ok() && !buf.filled().is_empty())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.prefix.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let n = this.prefix.len().min(buf.remaining());
        buf.put_slice(this.prefix.get(..n).unwrap_or_default());
        this.skip(n);
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Reads on into the same buffer; otherwise the caller would make room for the rest twice.
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Pending => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn over(text: &[u8]) -> Prefixed<tokio::io::DuplexStream> {
        let (mut writer, reader) = tokio::io::duplex(1_024);
        writer.write_all(text).await.unwrap();
        Prefixed::new(reader)
    }

    async fn rest(mut io: Prefixed<tokio::io::DuplexStream>) -> Vec<u8> {
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        rest
    }

    #[tokio::test]
    async fn inspecting_the_beginning_consumes_nothing() {
        for (text, begins) in
            [(&b"PRI * HTTP"[..], true), (b"PRI", true), (b"PR", false), (b"POST", false), (b"", false)]
        {
            let mut io = over(text).await;
            assert_eq!(io.begins_with(b"PRI").await.unwrap(), begins);
            assert_eq!(rest(io).await, text);
        }
    }

    #[tokio::test]
    async fn parsed_bytes_are_consumed_and_the_rest_follows() {
        let line = |bytes: &[u8]| bytes.iter().position(|b| *b == b';').map(|end| (end + 1, bytes[..end].to_vec()));
        let mut io = over(b"ab;cd;ef").await;
        for want in [b"ab", b"cd"] {
            assert_eq!(std::future::poll_fn(|cx| io.poll_parse(cx, line)).await.unwrap(), Some(want.to_vec()));
        }
        assert_eq!(std::future::poll_fn(|cx| io.poll_parse(cx, line)).await.unwrap(), None, "the peer disconnected");
        assert_eq!(rest(io).await, b"ef");
    }

    #[tokio::test]
    async fn early_bytes_are_kept_up_to_the_bound_and_a_disconnect_is_noticed() {
        let mut io = over(&[7; 1_000]).await;
        assert!(futures_util::poll!(std::future::poll_fn(|cx| io.poll_disconnect(cx, 600))).is_pending());
        assert_eq!(io.prefix.len(), 1_000, "reads are of {EARLY_READ} bytes");
        std::future::poll_fn(|cx| io.poll_disconnect(cx, 2_000)).await;
        assert_eq!(rest(io).await.len(), 1_000);
    }
}
