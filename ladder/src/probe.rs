//! Finds out what a contribution consists of, before the encoders start.

use std::collections::VecDeque;

use crate::input::decoder::Decoded;
use crate::video::raw_frame::RawFrame;
use media::{CodecConfig, Frame, FrameRate, FrameRateEstimator, TimeDelta, Timestamp, TrackId};

/// Longest wait for the frame rate, from the first frame on: video of few frames does not delay the start further.
const MAX_RATE_WAIT: TimeDelta = TimeDelta::from_millis(1_500);
/// Wait of a programme of audio for a video track.
const NO_TRACK: TimeDelta = TimeDelta::from_secs(1);
/// Wait of a programme of audio for the first frame of a video track.
const NO_FRAME: TimeDelta = TimeDelta::from_secs(4);
/// Wait of a programme of audio for the codec header of video that is expected: longer than the longest GOP.
const NO_HEADER: TimeDelta = TimeDelta::from_secs(21);
/// Decoded items that wait for the start. At the bound the oldest one is discarded.
const MAX_DECODED: usize = 2_000;
/// Coded frames of the source that wait for the start. At the bound all are discarded, and the source is forwarded from
/// a later key frame.
const MAX_CODED: usize = 300;

/// An item that was decoded before the start, and when.
pub(crate) type EarlyItem = (TimeDelta, TrackId, Decoded);

/// Facts about a contribution, gathered until a [`Transcode`](crate::transcode::Transcode) can start.
#[derive(Default)]
pub(crate) struct Probe {
    estimator: FrameRateEstimator,
    decoded: VecDeque<EarlyItem>,
    /// Coded frames of the video track, where they may be forwarded.
    coded: VecDeque<Frame>,
    /// Time of the first decoded item, or of a video header that was expected.
    since: Option<TimeDelta>,
    /// Whether the contribution has video whose codec header has not come.
    expects_video: bool,
}

impl Probe {
    /// Takes note whether the contribution has video whose codec header has not come, for which [`Probe::is_ready`]
    /// waits.
    pub(crate) const fn expect_video(&mut self, expected: bool) {
        self.expects_video = expected;
    }

    /// Takes note of a video track.
    pub(crate) fn announce_video(&mut self, now: TimeDelta) {
        if let Some(since) = &mut self.since
            && std::mem::take(&mut self.expects_video)
        {
            *since = now;
        }
    }

    /// Keeps a coded frame of the video track, which may be forwarded later.
    pub(crate) fn push_coded(&mut self, frame: Frame) {
        if self.coded.len() >= MAX_CODED {
            self.coded.clear();
        }
        self.coded.push_back(frame);
    }

    /// Keeps a decoded item for the start.
    pub(crate) fn push_decoded(&mut self, now: TimeDelta, track: TrackId, decoded: Decoded) {
        if let Decoded::Video { pts, .. } = &decoded {
            self.estimator.add(*pts);
        }
        self.since.get_or_insert(now);
        if self.decoded.len() >= MAX_DECODED {
            self.decoded.pop_front();
        }
        self.decoded.push_back((now, track, decoded));
    }

    /// Returns whether enough is known to start. With `ending` nothing more comes, so that everything is known.
    pub(crate) fn is_ready(&mut self, has_video_track: bool, now: TimeDelta, ending: bool) -> bool {
        let Some(since) = self.since else { return false };
        if self.expects_video && now - since < NO_HEADER {
            // The programme begins with the first video frame. Of the audio before it no more is needed than for a
            // track whose frames are awaited.
            while self.decoded.pop_front_if(|(at, ..)| now - *at > NO_FRAME).is_some() {}
        }
        let first = self.decoded.iter().find(|(.., decoded)| matches!(decoded, Decoded::Video { .. }));
        let first = first.map(|(at, ..)| *at);
        match (first, has_video_track) {
            _ if ending => true,
            (Some(at), _) => self.estimator.is_settled() || now - at >= MAX_RATE_WAIT,
            (None, true) => now - since >= NO_FRAME,
            (None, false) => now - since >= if self.expects_video { NO_HEADER } else { NO_TRACK },
        }
    }

    /// Returns the first decoded video frame.
    pub(crate) fn first_frame(&self) -> Option<RawFrame> {
        self.decoded.iter().find_map(|(.., decoded)| match decoded {
            Decoded::Video { frame, .. } => Some(frame.clone()),
            Decoded::Audio { .. } => None,
        })
    }

    /// Returns the frame rate by all that is known; see [`FrameRateEstimator::rate`].
    pub(crate) fn rate(&self, header: Option<&CodecConfig>, first: Option<&RawFrame>) -> FrameRate {
        self.estimator.rate(declared_rate(header, first))
    }

    /// Takes what was kept for the start: decoded items, and coded frames of the source.
    pub(crate) fn take(self) -> (VecDeque<EarlyItem>, VecDeque<Frame>) {
        (self.decoded, self.coded)
    }
}

/// Facts about video that joins a programme of audio, gathered until encoders can start.
pub(crate) struct JoiningVideo {
    estimator: FrameRateEstimator,
    since: TimeDelta,
}

impl JoiningVideo {
    /// Returns a probe for video whose first frame is decoded at `now`.
    pub(crate) fn new(now: TimeDelta) -> Self {
        Self { estimator: FrameRateEstimator::default(), since: now }
    }

    /// Adds a frame. Returns whether the frame rate is known, or [`MAX_RATE_WAIT`] is over.
    pub(crate) fn add(&mut self, pts: Timestamp, now: TimeDelta) -> bool {
        self.estimator.add(pts);
        self.estimator.is_settled() || now - self.since >= MAX_RATE_WAIT
    }

    /// Returns the frame rate by all that is known.
    pub(crate) fn rate(&self, header: Option<&CodecConfig>, frame: &RawFrame) -> FrameRate {
        self.estimator.rate(declared_rate(header, Some(frame)))
    }
}

/// Returns the frame rate that a contribution declares, in its codec header or by its decoder.
fn declared_rate(header: Option<&CodecConfig>, frame: Option<&RawFrame>) -> Option<FrameRate> {
    let declared = header.and_then(CodecConfig::frame_rate).map(|(frames, seconds)| FrameRate::new(frames, seconds));
    declared.or_else(|| frame?.declared_rate())
}
