//! What waits for the thread of a ladder.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use media::{Access, Frame, Kind, Metadata, TimeDelta, Timestamp, Track, TrackId};
use parking_lot::{Condvar, Mutex};
use slate::Item;

use crate::ladder::{SlateImages, Stats};

/// Bytes, frames and time that wait. At any of the bounds frames are refused up to the next key frame. What an encoder
/// sends at once after a gap in the network fits; what a machine cannot decode in time does not add up.
const MAX_BYTES: usize = 16 << 20;
const MAX_FRAMES: usize = 2_000;
const LONGEST: TimeDelta = TimeDelta::from_secs(4);
/// Tracks, beginnings and metadata that wait; a peer that announces more is not heard.
const MAX_WORDS: usize = 1_000;

/// A step for the thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// Another contribution follows.
    Begin,
    /// The contribution has video whose codec header has not come yet.
    VideoExpected,
    /// A track begins or has another header.
    Track(Track),
    /// A frame.
    Frame(Frame),
    /// Metadata of the contribution.
    Metadata(Metadata),
    /// Other pictures for the slate.
    SlateImages(SlateImages),
    /// The contribution has left.
    Gone,
    /// Nothing follows.
    End,
}

/// The queue to the thread, and the bell that wakes it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    frames: usize,
    /// Decode time of the oldest frame that waits.
    oldest: Option<Timestamp>,
    /// Tracks of pictures, and those of them that wait for a key frame after one was refused.
    pictures: HashSet<TrackId>,
    broken: HashSet<TrackId>,
    rung: bool,
    closed: bool,
    refused: u64,
    figures: Stats,
}

impl Inbox {
    pub(crate) fn begin(&self) {
        let mut state = self.state.lock();
        state.pictures.clear();
        state.broken.clear();
        state.tell(Message::Begin);
        self.bell.notify_one();
    }

    pub(crate) fn metadata(&self, metadata: Metadata) {
        self.state.lock().tell(Message::Metadata(metadata));
        self.bell.notify_one();
    }

    pub(crate) fn expect_video(&self) {
        self.state.lock().tell(Message::VideoExpected);
        self.bell.notify_one();
    }

    pub(crate) fn gone(&self) {
        self.state.lock().tell(Message::Gone);
        self.bell.notify_one();
    }

    pub(crate) fn end(&self) {
        // Told even where too many words wait: it is the last one.
        self.state.lock().messages.push_back(Message::End);
        self.bell.notify_one();
    }

    pub(crate) fn set_slate(&self, slate: SlateImages) {
        self.state.lock().tell(Message::SlateImages(slate));
        self.bell.notify_one();
    }

    pub(crate) fn push(&self, item: Item) {
        let mut state = self.state.lock();
        match item {
            Item::Track(track) => {
                if track.kind() == Kind::Video {
                    state.pictures.insert(track.id);
                }
                state.tell(Message::Track(track));
            }
            Item::Frame(frame) => state.frame(frame),
            Item::Discontinuity | Item::Fault(_) => return,
        }
        self.bell.notify_one();
    }

    /// Wakes the thread.
    pub(crate) fn ring(&self) {
        self.state.lock().rung = true;
        self.bell.notify_one();
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.bell.notify_one();
    }

    /// Waits for something to do, no longer than `most`, and puts what came into `out`; false when it is over.
    pub(crate) fn wait(&self, most: Duration, blocked: bool, out: &mut VecDeque<Message>) -> bool {
        let mut state = self.state.lock();
        let idle = |state: &State| !state.rung && !state.closed && (blocked || state.messages.is_empty());
        if idle(&state) {
            self.bell.wait_for(&mut state, most);
        }
        state.rung = false;
        // What the thread cannot take yet stays here, where it counts.
        if !blocked {
            out.extend(state.messages.drain(..));
            (state.bytes, state.frames, state.oldest) = (0, 0, None);
        }
        !state.closed
    }

    pub(crate) fn set_figures(&self, figures: Stats) {
        self.state.lock().figures = figures;
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.state.lock();
        Stats { refused_frames: state.refused, ..state.figures }
    }
}

impl State {
    fn tell(&mut self, message: Message) {
        if self.messages.len() - self.frames < MAX_WORDS {
            self.messages.push_back(message);
        }
    }

    fn frame(&mut self, frame: Frame) {
        let long = frame.dts - *self.oldest.get_or_insert(frame.dts) >= LONGEST;
        let full = long || self.frames >= MAX_FRAMES || self.bytes >= MAX_BYTES;
        let is_picture = self.pictures.contains(&frame.track);
        let starts = frame.access != Access::Dependent;
        let broken = is_picture && !starts && self.broken.contains(&frame.track);
        if full || broken {
            self.refused += 1;
            if is_picture {
                self.broken.insert(frame.track);
            }
            return;
        }
        self.broken.remove(&frame.track);
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
    fn at_the_bound_it_waits_for_a_key_frame() {
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
    fn bytes_are_bounded_too() {
        let inbox = Inbox::default();
        for _ in 0..20 {
            inbox.push(frame(Access::Independent, 1 << 20));
        }
        assert_eq!(inbox.stats().refused_frames, 4);
    }

    #[test]
    fn so_is_time() {
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
    fn it_is_over_when_it_is_closed() {
        let inbox = Inbox::default();
        inbox.close();
        assert!(!inbox.wait(Duration::from_secs(60), true, &mut VecDeque::new()));
    }
}
