//! Settings, input and output of a ladder.

use media::{FaultReport, Frame, LatencyMode, Metadata, Track};
pub use slate::SlateImages;
use slate::continuity;

use crate::plan::{Level, Rung};

/// Settings of a ladder.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Effort that is spent on the broadcast.
    pub level: Level,
    /// Largest short side of a rung, in pixels.
    pub max_height: u32,
    /// Latency mode, which decides on the length of GOPs and on what encoders may hold back.
    pub mode: LatencyMode,
    /// Images that are presented while video is missing. With `None` the last frame is repeated permanently.
    pub slate: Option<SlateImages>,
    /// Whether hardware encoders may be used, if the machine has any.
    pub hardware: bool,
    /// Loudness that the audio is brought to, in LUFS; `None` leaves it as it is.
    pub loudness: Option<f64>,
    /// Whether the contribution's own frames may be forwarded where possible: H.264 in place of the largest rung, HEVC,
    /// AV1 and VP9 as one more rung.
    pub source: bool,
}

/// One item of a ladder's output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Rungs that will start, the largest first. A contribution's own frames may become one more.
    Plan(Vec<Rung>),
    /// Start of a rung, or another header for it. Rung 0, the largest, is the reference rendition and the first to
    /// start.
    Rung {
        /// Number of the rung, which is also the id of its track.
        n: usize,
        /// Size, frame rate and bit rate.
        rung: Rung,
        /// Track of the rung.
        track: Track,
    },
    /// Start of an encoding of an audio output.
    Audio(Track),
    /// Frame of one of the tracks.
    Frame(Frame),
    /// Metadata of the contribution, on the timeline of the output. It comes before the frames of its time.
    Metadata(Metadata),
    /// Drop of a rung, which has no frames until [`Output::Restored`].
    Shed {
        /// Number of the rung.
        rung: usize,
        /// Whether its encoders failed, one after another. With `false` the machine cannot keep up.
        failed: bool,
    },
    /// Absence of the rung that has the contribution's own frames, until [`Output::Restored`].
    Absent {
        /// Number of the rung.
        rung: usize,
    },
    /// Return of a rung that was dropped or absent. It continues with the next key frame.
    Restored {
        /// Number of the rung.
        rung: usize,
    },
    /// Report on something of the contribution that was dropped.
    Fault(FaultReport),
    /// Reason why the slate's image cannot be used. The last frame is repeated instead.
    NoSlate(String),
    /// Reason why the ladder has stopped: nothing more can be encoded.
    Stopped(String),
}

/// Callback that takes the [`Output`] of a ladder, on the ladder's own thread.
pub type Sink = Box<dyn FnMut(&mut Vec<Output>) + Send>;

/// Counters of a [`Ladder`](crate::Ladder), for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Composition of the continuous output.
    pub continuity: continuity::Stats,
    /// Frames that were refused because too many were queued.
    pub refused_frames: u64,
    /// Frames that could not be decoded.
    pub bad_frames: u64,
    /// Frames left out because too many waited for an encoder.
    pub skipped_frames: u64,
    /// Decoders that failed and were replaced.
    pub decoders_replaced: u64,
    /// Encoders that failed and were replaced.
    pub encoders_replaced: u64,
    /// Frames of the contribution that were forwarded.
    pub source_frames: u64,
    /// Number of times that a rung was dropped.
    pub times_shed: u64,
    /// Rungs that are dropped now.
    pub rungs_shed: usize,
    /// All rungs, including those that are dropped now.
    pub rungs: usize,
}
