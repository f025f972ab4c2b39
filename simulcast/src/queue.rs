//! The queue between the programme and the task of one target.

use std::collections::VecDeque;
use std::sync::Arc;

use media::{Frame, Metadata, Timestamp, Track};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::QueueLimits;
use crate::gate::Gate;

/// Tracks of the programme at one moment, shared by all frames of that time.
pub(crate) type Tracks = Arc<[Track]>;

/// Media that waits for a target.
#[derive(Debug)]
pub(crate) enum Queued {
    /// A frame, with the tracks that are valid for it.
    Frame(Frame, Tracks),
    /// Timed metadata.
    Metadata(Metadata),
}

impl Queued {
    fn len(&self) -> usize {
        match self {
            Self::Frame(frame, _) => frame.payload.len(),
            Self::Metadata(metadata) => metadata.payload.len(),
        }
    }

    const fn time(&self) -> Timestamp {
        match self {
            Self::Frame(frame, _) => frame.dts,
            Self::Metadata(metadata) => metadata.pts,
        }
    }
}

/// Frames and metadata that a target has not sent yet.
///
/// The programme pushes, and never waits: no lock here is held over an await. One task takes. At a bound of
/// [`QueueLimits`] all queued frames are dropped, and the queue continues with the next key frame. A target that was
/// too slow is then live again, instead of late by the length of the queue permanently.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    content: Mutex<Content>,
    /// Signals pushed media. Only the target's task waits for it, in one place at a time.
    pushed: Notify,
}

#[derive(Debug, Default)]
struct Content {
    media: VecDeque<Queued>,
    bytes: usize,
    /// `None` between two attempts: frames are then ignored.
    gate: Option<Gate>,
    /// Whether the publication has started, so that dropped frames are missing from it.
    is_publishing: bool,
    /// Whether frames that the [`Gate`] refuses are lost because the queue was full.
    has_overflowed: bool,
    dropped: u64,
    /// Whether the programme has a track, and how often media was pushed since.
    activity: u64,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { limits, content: Mutex::default(), pushed: Notify::new() }
    }

    /// Notes that the programme has tracks.
    pub(crate) fn note_tracks(&self) {
        self.content.lock().activity += 1;
        self.pushed.notify_one();
    }

    /// Queues a frame if the target is connected and can use it. The payload is shared.
    pub(crate) fn push(&self, frame: &Frame, tracks: &Tracks) {
        let mut content = self.content.lock();
        content.activity += 1;
        if content.gate.is_some() {
            if content.is_full(frame, &self.limits) {
                content.overflow();
            }
            content.admit(frame, tracks);
        }
        drop(content);
        self.pushed.notify_one();
    }

    /// Queues metadata if the target has been sent a frame or will be. The payload is shared.
    pub(crate) fn push_metadata(&self, metadata: &Metadata) {
        let mut content = self.content.lock();
        if content.gate.as_ref().is_some_and(|gate| gate.is_past_start(metadata.pts)) {
            content.bytes += metadata.payload.len();
            content.media.push_back(Queued::Metadata(metadata.clone()));
        }
    }

    /// Starts to queue frames for the next attempt, from the next key frame on, unless that has been done.
    ///
    /// Frames are queued while the target is dialled. At the start of a broadcast the target would otherwise miss the
    /// first key frame, and wait for the second one.
    pub(crate) fn open(&self) {
        self.content.lock().gate.get_or_insert_default();
    }

    /// Notes that the publication has started. From here on dropped frames are counted.
    pub(crate) fn note_publishing(&self) {
        self.content.lock().is_publishing = true;
    }

    /// Discards the queued frames and ignores further ones.
    pub(crate) fn shut(&self) {
        let mut content = self.content.lock();
        content.clear();
        (content.gate, content.is_publishing, content.has_overflowed) = (None, false, false);
    }

    /// Waits for a frame.
    pub(crate) async fn ready(&self) {
        while self.is_empty() {
            self.pushed.notified().await;
        }
    }

    /// Returns a number that grows with all media of the programme; 0 before its first track.
    pub(crate) fn activity(&self) -> u64 {
        self.content.lock().activity
    }

    /// Waits until [`Queue::activity`] is no longer `seen`.
    pub(crate) async fn active_since(&self, seen: u64) {
        while self.activity() == seen {
            self.pushed.notified().await;
        }
    }

    /// Moves frames of up to `max` bytes to `batch`, but at least one.
    pub(crate) fn take(&self, batch: &mut Vec<Queued>, max: usize) {
        let (mut content, mut bytes) = (self.content.lock(), 0);
        while let Some(len) = content.media.front().map(Queued::len) {
            if !batch.is_empty() && bytes + len > max {
                break;
            }
            bytes += len;
            content.bytes -= len;
            batch.extend(content.media.pop_front());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.content.lock().media.is_empty()
    }

    /// Returns the bytes of queued payloads, and the number of frames dropped because the queue was full.
    pub(crate) fn stats(&self) -> (usize, u64) {
        let content = self.content.lock();
        (content.bytes, content.dropped)
    }
}

impl Content {
    /// Returns whether the queue cannot take `frame`. An empty queue takes any frame.
    fn is_full(&self, frame: &Frame, limits: &QueueLimits) -> bool {
        let Some(oldest) = self.media.front() else { return false };
        self.bytes + frame.payload.len() > limits.bytes || frame.dts - oldest.time() > limits.duration
    }

    /// Drops everything up to the next key frame.
    fn overflow(&mut self) {
        if self.is_publishing {
            self.dropped += self.media.iter().filter(|queued| matches!(queued, Queued::Frame(..))).count() as u64;
            self.has_overflowed = true;
        }
        self.clear();
        self.gate = Some(Gate::default());
    }

    fn admit(&mut self, frame: &Frame, tracks: &Tracks) {
        if self.gate.as_mut().is_some_and(|gate| gate.admits(frame, tracks)) {
            self.bytes += frame.payload.len();
            self.media.push_back(Queued::Frame(frame.clone(), Arc::clone(tracks)));
        } else if self.has_overflowed {
            self.dropped += 1;
        }
    }

    fn clear(&mut self) {
        self.media.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests;
