//! Bodies of answers: shared pieces of memory, written to the socket without a copy.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use packager::log::Payload;

use crate::api::{BoxError, FallbackBody};
use crate::worker::activity::RequestGuard;

/// One or many pieces of shared memory that read as one buffer, so that a single vectored write sends a whole part.
#[derive(Debug)]
pub(crate) struct Chunk {
    source: Source,
    /// Index of the next piece.
    piece: usize,
    /// Bytes of that piece already sent.
    offset: usize,
    remaining: usize,
    /// Dropped with the bytes, because hyper drops a [`Body`] before the last of them are written.
    guard: Option<RequestGuard>,
}

/// Bytes to answer with, shared with the packaged log. A clone costs one reference count, whatever the number of
/// pieces.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    One(Bytes),
    Many(Payload),
}

impl Source {
    /// Returns the total number of bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::One(bytes) => bytes.len() as u64,
            Self::Many(payload) => payload.len(),
        }
    }

    fn piece(&self, piece: usize) -> Option<&Bytes> {
        match self {
            Self::One(bytes) => Some(bytes).filter(|_| piece == 0),
            Self::Many(payload) => payload.pieces().get(piece),
        }
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self::One(bytes)
    }
}

impl From<Payload> for Source {
    fn from(payload: Payload) -> Self {
        Self::Many(payload)
    }
}

impl Chunk {
    /// Returns `len` bytes of `source` after the first `skip`, or fewer if `source` ends before.
    pub(crate) fn range(source: Source, skip: u64, len: u64) -> Self {
        let remaining = usize::try_from(len.min(source.len().saturating_sub(skip))).unwrap_or(usize::MAX);
        let mut offset = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut piece = 0;
        while let Some(bytes) = source.piece(piece).filter(|bytes| bytes.len() <= offset) {
            offset -= bytes.len();
            piece += 1;
        }
        Self { source, piece, offset, remaining, guard: None }
    }

    fn get(&self, piece: usize) -> &[u8] {
        self.source.piece(piece).map_or(&[], |bytes| bytes.as_ref())
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        let remaining = bytes.len();
        Self { source: Source::One(bytes), piece: 0, offset: 0, remaining, guard: None }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        let rest = self.get(self.piece).get(self.offset..).unwrap_or_default();
        rest.get(..self.remaining).unwrap_or(rest)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let (mut piece, mut offset, mut left) = (self.piece, self.offset, self.remaining);
        let mut filled = 0;
        for slot in out {
            if left == 0 {
                break;
            }
            let rest = self.get(piece).get(offset..).unwrap_or_default();
            let rest = rest.get(..left).unwrap_or(rest);
            *slot = IoSlice::new(rest);
            left -= rest.len();
            filled += 1;
            piece += 1;
            offset = 0;
        }
        filled
    }

    fn advance(&mut self, cnt: usize) {
        let mut cnt = cnt.min(self.remaining);
        if let Some(guard) = self.guard.as_ref().filter(|_| cnt > 0) {
            guard.note_progress();
        }
        self.remaining -= cnt;
        while self.remaining > 0 {
            let rest = self.get(self.piece).len().saturating_sub(self.offset);
            if cnt < rest {
                self.offset += cnt;
                return;
            }
            cnt -= rest;
            self.piece += 1;
            self.offset = 0;
        }
    }
}

/// Body of every answer. The connection counts as busy while the body or its [`Chunk`] lives.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    guard: Option<RequestGuard>,
}

#[derive(Debug)]
enum Content {
    Nothing,
    Once(Chunk),
    Streamed(FallbackBody),
}

impl Body {
    pub(crate) fn empty(guard: RequestGuard) -> Self {
        Self { content: Content::Nothing, guard: Some(guard) }
    }

    pub(crate) fn once(chunk: impl Into<Chunk>, guard: RequestGuard) -> Self {
        Self { content: Content::Once(chunk.into()), guard: Some(guard.sending()) }
    }

    pub(crate) fn streamed(body: FallbackBody, guard: RequestGuard) -> Self {
        Self { content: Content::Streamed(body), guard: Some(guard) }
    }
}

impl http_body::Body for Body {
    type Data = Chunk;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, BoxError>>> {
        let Self { content, guard } = &mut *self;
        match content {
            Content::Nothing => Poll::Ready(None),
            Content::Streamed(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                // Only a chunk is an answer to send: the peer is not to blame while the fallback has none.
                let guarded = |bytes: Bytes| Chunk {
                    guard: guard.as_ref().map(|guard| guard.share().sending()),
                    ..Chunk::from(bytes)
                };
                Poll::Ready(frame.map(|frame| Ok(frame?.map_data(guarded))))
            }
            Content::Once(_) => match std::mem::replace(content, Content::Nothing) {
                Content::Once(mut chunk) if chunk.has_remaining() => {
                    chunk.guard = guard.take();
                    Poll::Ready(Some(Ok(Frame::data(chunk))))
                }
                _ => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Nothing => true,
            Content::Once(chunk) => !chunk.has_remaining(),
            Content::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Nothing => SizeHint::with_exact(0),
            Content::Once(chunk) => SizeHint::with_exact(chunk.remaining() as u64),
            Content::Streamed(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Source {
        let pieces: Vec<_> = [&b"abc"[..], b"", b"d", b"efgh"].into_iter().map(Bytes::from_static).collect();
        Payload::new(pieces).into()
    }

    fn drain(mut chunk: Chunk, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while chunk.has_remaining() {
            let n = chunk.chunk().len().min(step);
            assert!(n > 0, "a buffer with remaining bytes returns some");
            out.extend_from_slice(&chunk.chunk()[..n]);
            chunk.advance(n);
        }
        out
    }

    #[test]
    fn every_range_reads_like_the_same_range_of_the_whole() {
        let whole = b"abcdefgh";
        for skip in 0..=8usize {
            for len in 0..=9usize {
                let want = &whole[skip..(skip + len).min(8)];
                for step in 1..=8 {
                    assert_eq!(
                        drain(Chunk::range(pieces(), skip as u64, len as u64), step),
                        want,
                        "{skip}+{len}/{step}"
                    );
                }
                let chunk = Chunk::range(pieces(), skip as u64, len as u64);
                let mut slices = [IoSlice::new(&[]); 8];
                let n = chunk.chunks_vectored(&mut slices);
                let flat: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
                assert_eq!(flat, want);
            }
        }
    }

    #[test]
    fn a_short_slice_list_is_filled_in_order() {
        let chunk = Chunk::range(pieces(), 2, 5);
        let mut slices = [IoSlice::new(&[]); 3];
        assert_eq!(chunk.chunks_vectored(&mut slices), 3);
        assert_eq!(&*slices[0], b"c");
    }

    #[test]
    fn ranges_beyond_the_end_are_empty() {
        assert_eq!(Chunk::range(pieces(), u64::MAX, 3).remaining(), 0);
        assert_eq!(Chunk::range(pieces(), 3, u64::MAX).remaining(), 5);
    }
}
