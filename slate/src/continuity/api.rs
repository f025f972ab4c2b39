//! Configuration, output and stats of a [`Continuity`](super::Continuity).

use media::{FrameRate, Timestamp};

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Frame rate of the video.
    pub frame_rate: FrameRate,
    /// Audio samples per second, for each channel.
    pub sample_rate: u32,
    /// Number of audio channels. Their samples are interleaved.
    pub channels: u32,
    /// Number of audio tracks at the start, at least one. [`Continuity::add_audio`](super::Continuity::add_audio) adds others.
    pub audio_tracks: usize,
    /// Whether the output has video. Without video the audio drives the timeline, and no [`Output::Video`] is produced.
    pub video: bool,
    /// Whether the slate follows once a frame has been repeated for long enough. Without a slate the frame is repeated
    /// until video returns.
    pub slate: bool,
}

/// One step of the output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<F> {
    /// The frame of the next tick.
    Video {
        /// Presentation time, a whole number of ticks after the first one.
        pts: Timestamp,
        /// The frame to present.
        content: VideoContent<F>,
    },
    /// The next block of an audio track, directly after the previous one.
    Audio {
        /// Number of the audio track, from 0.
        track: usize,
        /// Presentation time of the first sample, a whole number of samples after the track's first one.
        pts: Timestamp,
        /// [`BLOCK_SAMPLES`](super::BLOCK_SAMPLES) samples for each channel, interleaved.
        samples: Vec<f32>,
    },
}

/// Content of one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoContent<F> {
    /// The contribution's frame for this time.
    Live(F),
    /// The previous frame again, because the one for this time is missing.
    Repeated(F),
    /// The slate, also in place of a repeated frame if there has not been any frame yet.
    Slate,
}

/// Counters of presented and discarded media, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Ticks that presented the contribution's frame.
    pub live: u64,
    /// Ticks that presented the previous frame again because there was no other.
    pub repeated: u64,
    /// Ticks that presented the slate.
    pub slate: u64,
    /// Samples of silence inserted, for each channel.
    pub silent_samples: u64,
    /// Audio samples discarded because they arrived after their time, for each channel.
    pub late_samples: u64,
    /// Video frames discarded because they arrived after their time.
    pub late_frames: u64,
    /// Video frames discarded because they arrived too far ahead of the clock.
    pub early_frames: u64,
    /// Number of times that media received a new timestamp offset, starts of contributions included.
    pub resyncs: u64,
}
