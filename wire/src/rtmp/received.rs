//! Counts the bytes of the peer, and acknowledges them each time a window is full.

use super::chunk::{RawMessage, Reader};
use super::message::Message;
use crate::error::Error;

/// Smallest window that is honoured, so that a peer cannot ask for an answer to each byte.
const MIN_WINDOW: u64 = 4_096;

/// Bytes that were received after the handshake.
#[derive(Clone, Debug)]
pub(super) struct Received {
    total: u64,
    acknowledged: u64,
    window: u64,
}

impl Received {
    /// Starts at zero, with a window of this many bytes until the peer sets another one.
    pub(super) fn new(window: u32) -> Self {
        Self { total: 0, acknowledged: 0, window: u64::from(window).max(MIN_WINDOW) }
    }

    /// Returns the number of bytes so far.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Takes the window that the peer sets with [`Message::WindowAckSize`].
    pub(super) fn set_window(&mut self, size: u32) {
        // Half the window: the acknowledgement then arrives before the peer stops to wait for it.
        self.window = u64::from(size / 2).max(MIN_WINDOW);
    }

    /// Reads at most one message from the beginning of `input`, and counts the bytes it took. Returns `None` if more
    /// input is needed, or at a cut.
    ///
    /// The input is cut where the next acknowledgement is due and where the total reaches `limit`, so that neither
    /// depends on the size of the input.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        input: &mut &[u8],
        limit: u64,
    ) -> Result<Option<RawMessage>, Error> {
        let due = (self.acknowledged + self.window).min(limit).saturating_sub(self.total);
        let (mut head, _) = input.split_at(input.len().min(usize::try_from(due).unwrap_or(usize::MAX)));
        let before = head.len();
        let message = reader.read(&mut head)?;
        let taken = before - head.len();
        self.total += taken as u64;
        *input = input.get(taken..).unwrap_or_default();
        Ok(message)
    }

    /// Returns the acknowledgement that is due, if one is: the total modulo 2^32.
    pub(super) fn acknowledgement(&mut self) -> Option<Message> {
        (self.total >= self.acknowledged + self.window).then(|| {
            self.acknowledged = self.total;
            Message::Ack(self.total as u32)
        })
    }
}
