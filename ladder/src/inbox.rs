//! Queue of messages to the thread of a ladder.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use media::{Access, Frame, Kind, Metadata, TimeDelta, Timestamp, Track, TrackId};
use parking_lot::{Condvar, Mutex};
use slate::Item;

use crate::api::{SlateImages, Stats};

/// Bounds on queued frames: bytes, number and time. At any of them frames are refused, and then video frames up to the
/// next key frame. The bounds leave room for the burst that an encoder sends after an interruption of the network, and
/// keep the backlog of a machine that is too slow to decode from growing.
const MAX_BYTES: usize = 16 << 20;
const MAX_FRAMES: usize = 2_000;
const MAX_DURATION: TimeDelta = TimeDelta::from_secs(4);
/// Bound on queued messages that are not frames. Beyond it they are dropped: no contribution needs as many.
const MAX_SIGNALS: usize = 1_000;

/// Message to the thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// Start of another contribution.
    Begin,
    /// Announcement of video whose codec header has not come yet.
    VideoExpected,
    /// Start of a track, or its new header.
    Track(Track),
    /// Frame of a track.
    Frame(Frame),
    /// Metadata of the contribution.
    Metadata(Metadata),
    /// Other images for the slate.
    SlateImages(SlateImages),
    /// Departure of the contribution.
    Gone,
    /// End of the ladder: no message follows.
    End,
}

/// The queue, and the condition that wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    frames: usize,
    /// DTS of the first frame since the queue was emptied.
    oldest: Option<Timestamp>,
    /// Video tracks of the contribution.
    video: HashSet<TrackId>,
    /// Video tracks whose frames are refused up to the next key frame, because one before it was refused.
    awaiting_key_frame: HashSet<TrackId>,
    /// Whether [`Inbox::wake`] was called since the last [`Inbox::wait`].
    woken: bool,
    closed: bool,
    /// Number of frames refused so far.
    refused: u64,
    stats: Stats,
}

impl Inbox {
    /// Queues [`Message::Begin`].
    pub(crate) fn begin(&self) {
        let mut state = self.state.lock();
        state.video.clear();
        state.awaiting_key_frame.clear();
        state.post(Message::Begin);
        self.wake.notify_one();
    }

    /// Queues [`Message::Metadata`].
    pub(crate) fn metadata(&self, metadata: Metadata) {
        self.state.lock().post(Message::Metadata(metadata));
        self.wake.notify_one();
    }

    /// Queues [`Message::VideoExpected`].
    pub(crate) fn expect_video(&self) {
        self.state.lock().post(Message::VideoExpected);
        self.wake.notify_one();
    }

    /// Queues [`Message::Gone`].
    pub(crate) fn gone(&self) {
        self.state.lock().post(Message::Gone);
        self.wake.notify_one();
    }

    /// Queues [`Message::End`].
    pub(crate) fn end(&self) {
        // Not subject to `MAX_SIGNALS`, because no message follows.
        self.state.lock().messages.push_back(Message::End);
        self.wake.notify_one();
    }

    /// Queues [`Message::SlateImages`].
    pub(crate) fn set_slate(&self, slate: SlateImages) {
        self.state.lock().post(Message::SlateImages(slate));
        self.wake.notify_one();
    }

    /// Queues a track or a frame; other items do not concern the ladder.
    pub(crate) fn push(&self, item: Item) {
        let mut state = self.state.lock();
        match item {
            Item::Track(track) => {
                if track.kind() == Kind::Video {
                    state.video.insert(track.id);
                }
                state.post(Message::Track(track));
            }
            Item::Frame(frame) => state.frame(frame),
            Item::Discontinuity | Item::Fault(_) => return,
        }
        self.wake.notify_one();
    }

    /// Wakes the thread, because something was decoded or encoded.
    pub(crate) fn wake(&self) {
        self.state.lock().woken = true;
        self.wake.notify_one();
    }

    /// Ends the [`Worker`](crate::worker::Worker)'s thread, whatever is queued.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits for a message or a call of [`Inbox::wake`], no longer than `max`, and moves all messages to `out`. A
    /// thread that is `blocked`, because it has no room for messages, takes none. Returns false once the inbox is
    /// closed.
    pub(crate) fn wait(&self, max: Duration, blocked: bool, out: &mut VecDeque<Message>) -> bool {
        let mut state = self.state.lock();
        let idle = |state: &State| !state.woken && !state.closed && (blocked || state.messages.is_empty());
        if idle(&state) {
            self.wake.wait_for(&mut state, max);
        }
        state.woken = false;
        // Messages that a blocked thread cannot take stay in the queue, where the bounds apply.
        if !blocked {
            out.extend(state.messages.drain(..));
            (state.bytes, state.frames, state.oldest) = (0, 0, None);
        }
        !state.closed
    }

    /// Publishes the counters of the thread, for [`Inbox::stats`].
    pub(crate) fn set_stats(&self, stats: Stats) {
        self.state.lock().stats = stats;
    }

    /// Returns the counters of the thread and of the queue.
    pub(crate) fn stats(&self) -> Stats {
        let state = self.state.lock();
        Stats { refused_frames: state.refused, ..state.stats }
    }
}

impl State {
    fn post(&mut self, message: Message) {
        if self.messages.len() - self.frames < MAX_SIGNALS {
            self.messages.push_back(message);
        }
    }

    fn frame(&mut self, frame: Frame) {
        let long = frame.dts - *self.oldest.get_or_insert(frame.dts) >= MAX_DURATION;
        let full = long || self.frames >= MAX_FRAMES || self.bytes >= MAX_BYTES;
        let is_video = self.video.contains(&frame.track);
        let starts = frame.access != Access::Dependent;
        let undecodable = is_video && !starts && self.awaiting_key_frame.contains(&frame.track);
        if full || undecodable {
            self.refused += 1;
            if is_video {
                self.awaiting_key_frame.insert(frame.track);
            }
            return;
        }
        self.awaiting_key_frame.remove(&frame.track);
        self.frames += 1;
        self.bytes += frame.payload.len();
        self.messages.push_back(Message::Frame(frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::CodecConfig;
    use media::codec::vp9;

    fn frame(access: Access, size: usize) -> Item {
        let payload = Bytes::from(vec![0; size]);
        Item::Frame(Frame { track: TrackId(1), dts: Timestamp::ZERO, pts: Timestamp::ZERO, access, payload })
    }

    fn video() -> Track {
        let record = Bytes::from_static(&[0, 31, 0x82, 2, 2, 2, 0, 0]);
        Track::new(TrackId(1), CodecConfig::Vp9(vp9::Config::parse(record).unwrap()))
    }

    #[test]
    fn frames_are_refused_at_the_bound_until_a_key_frame() {
        let inbox = Inbox::default();
        inbox.push(Item::Track(video()));
        for _ in 0..MAX_FRAMES + 5 {
            inbox.push(frame(Access::Dependent, 1));
        }
        assert_eq!(inbox.stats().refused_frames, 5);
        let mut out = VecDeque::new();
        assert!(inbox.wait(Duration::ZERO, false, &mut out));
        assert_eq!(out.len(), MAX_FRAMES + 1);
        inbox.push(frame(Access::Dependent, 1));
        inbox.push(frame(Access::Independent, 1));
        inbox.push(frame(Access::Dependent, 1));
        assert_eq!(inbox.stats().refused_frames, 6);
        out.clear();
        inbox.wait(Duration::ZERO, false, &mut out);
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn bytes_are_bounded() {
        let inbox = Inbox::default();
        for _ in 0..20 {
            inbox.push(frame(Access::Independent, 1 << 20));
        }
        assert_eq!(inbox.stats().refused_frames, 4);
    }

    #[test]
    fn duration_is_bounded() {
        let inbox = Inbox::default();
        for second in 0..6 {
            let dts = Timestamp::ZERO + TimeDelta::from_secs(second);
            let Item::Frame(frame) = frame(Access::Independent, 1) else { unreachable!() };
            inbox.push(Item::Frame(Frame { dts, ..frame }));
        }
        assert_eq!(inbox.stats().refused_frames, 2);
        inbox.wait(Duration::ZERO, false, &mut VecDeque::new());
        inbox.push(frame(Access::Independent, 1));
        assert_eq!(inbox.stats().refused_frames, 2);
    }

    #[test]
    fn wait_ends_when_the_inbox_is_closed() {
        let inbox = Inbox::default();
        inbox.close();
        assert!(!inbox.wait(Duration::from_secs(60), true, &mut VecDeque::new()));
    }
}
