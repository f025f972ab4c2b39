//! The ladder of one broadcast, from its outside.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use media::{FaultReport, Frame, LatencyMode, Metadata, Track, TrackId};
use slate::{Item, continuity};

use crate::error::Error;
use crate::inbox::Inbox;
use crate::plan::{Level, Rung};
use crate::worker::Work;

/// What is inside has so long to come out at the end; what has not is lost.
const MAX_END: Duration = Duration::from_secs(2);

/// How a ladder is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is spent on it.
    pub level: Level,
    /// The largest short side of a rung.
    pub max_height: u32,
    /// How early viewers get the programme.
    pub mode: LatencyMode,
    /// What is shown when pictures stay away; the last picture is held for good without it.
    pub slate: Option<SlateImages>,
    /// Whether encoders of the machine's hardware may be used where there are some.
    pub hardware: bool,
    /// The loudness that the sound is brought to, in LUFS; it stays as it is without.
    pub loudness: Option<f64>,
    /// Whether the contribution's own frames may be passed on where they can be: H.264 as the largest rung, HEVC, AV1 and
    /// VP9 as one more.
    pub source: bool,
}

/// The pictures of the slate, each PNG or JPEG; the one whose shape fits is shown.
#[derive(Clone, Debug)]
pub struct SlateImages {
    /// For programmes that are wider than high.
    pub landscape: Bytes,
    /// For programmes that are higher than wide.
    pub portrait: Bytes,
}

/// One step of what comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A rung begins, or comes back with another header. The first one, number 0, is the largest: the leader.
    Rung {
        /// Its number, which is also that of its track.
        n: usize,
        /// What it is like.
        rung: Rung,
        /// Its track.
        track: Track,
    },
    /// An encoding of the sound begins.
    Audio(Track),
    /// A frame of one of the tracks.
    Frame(Frame),
    /// Metadata of the contribution, dated as the frames of its time are; it comes before those.
    Metadata(Metadata),
    /// A rung is given up; it has no frames until it is restored.
    Shed {
        /// Its number.
        rung: usize,
        /// Its encoders fail, one after another. The machine cannot keep up where this is false.
        failed: bool,
    },
    /// A rung that is the contribution's own has no frames until it is restored.
    Absent {
        /// Its number.
        rung: usize,
    },
    /// A rung is taken back, or is back; it goes on with the next key frame.
    Restored {
        /// Its number.
        rung: usize,
    },
    /// Something of the contribution was dropped.
    Fault(FaultReport),
    /// The slate's picture cannot be used, and the last picture is held in its place.
    NoSlate(String),
    /// Nothing more can be encoded; the ladder has stopped.
    Stopped(String),
}

/// Takes what comes out of a ladder, on the ladder's own thread.
pub type Sink = Box<dyn FnMut(&mut Vec<Output>) + Send>;

/// What a ladder does, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// What the continuous output was made of.
    pub continuity: continuity::Stats,
    /// Frames that were not taken because the ladder was behind with those before them.
    pub refused_frames: u64,
    /// Frames that could not be decoded.
    pub bad_frames: u64,
    /// Pictures left out because an encoder was behind.
    pub skipped_frames: u64,
    /// Decoders that failed and were replaced.
    pub decoders_replaced: u64,
    /// Encoders that failed and were replaced.
    pub encoders_replaced: u64,
    /// Frames that are the contribution's own.
    pub source_frames: u64,
    /// How often a rung was given up.
    pub times_shed: u64,
    /// Rungs that are given up now.
    pub rungs_shed: usize,
    /// Rungs that there are, the shed ones included.
    pub rungs: usize,
}

/// The ladder of one broadcast. Dropping it ends all its threads, whatever is inside.
#[derive(Debug)]
pub struct Ladder {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
    /// Hung up by the thread when it ends.
    done: Receiver<()>,
}

impl Ladder {
    /// The track of the first sound that comes out; those of the others are numbered from there, and behind
    /// [`MAX_AUDIO_TRACKS`](crate::plan::MAX_AUDIO_TRACKS) of them their poorer encodings in the same order. Rung `n` is track `n`.
    pub const AUDIO: TrackId = TrackId(64);
    pub(crate) const REFERENCE: TrackId = TrackId(0);

    /// Starts the thread of a ladder. `output` is called there with what comes out, in order for each track; it has to
    /// take it without waiting, and empties the list or leaves it to be emptied.
    pub fn start(settings: Settings, output: Sink) -> Result<Self, Error> {
        gst::init().map_err(|error| Error::Start(error.to_string()))?;
        let inbox = Arc::new(Inbox::default());
        let work = Work::new(settings, inbox.clone(), output)?;
        let (alive, done) = channel();
        let thread = Builder::new().name("ladder".to_owned()).spawn(move || {
            work.run();
            drop(alive);
        });
        let thread = thread.map_err(|error| Error::Start(error.to_string()))?;
        Ok(Self { inbox, thread: Some(thread), done })
    }

    /// Another contribution follows.
    pub fn begin(&self) {
        self.inbox.begin();
    }

    /// The next step of the contribution, as [`slate::Splice`] lays it. Never waits: when too much waits already, frames
    /// are refused up to the next key frame, and counted.
    pub fn push(&self, item: Item) {
        self.inbox.push(item);
    }

    /// The contribution has video whose codec header has not come yet: a programme that has not begun waits for it.
    pub fn expect_video(&self) {
        self.inbox.expect_video();
    }

    /// Metadata of the contribution, dated as [`slate::Splice::metadata`] does.
    pub fn metadata(&self, metadata: Metadata) {
        self.inbox.metadata(metadata);
    }

    /// The contribution has left: what its decoders hold back is shown.
    pub fn gone(&self) {
        self.inbox.gone();
    }

    /// Other pictures for a slate that there is; those that cannot be decoded change nothing.
    pub fn set_slate(&self, slate: SlateImages) {
        self.inbox.set_slate(slate);
    }

    /// Nothing follows: what is inside comes out, and then the ladder ends. Waits for it, for two seconds at the most.
    pub fn finish(self) {
        self.inbox.end();
        // It hangs up, or it is too slow: both are the end.
        let _hung_up = self.done.recv_timeout(MAX_END);
    }

    /// What it did so far.
    pub fn stats(&self) -> Stats {
        self.inbox.stats()
    }
}

impl Drop for Ladder {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take() {
            // A panic in there was told by its own message; nothing is left to end.
            let _ended = thread.join();
        }
    }
}
