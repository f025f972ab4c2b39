//! State of one period of the programme.

use media::{Kind, LeastDelay, TimeDelta, Timestamp, WallTime};

/// Most that two GOPs may differ and still count as equally long.
const GOP_JITTER: TimeDelta = TimeDelta::from_millis(10);

/// Start of a [`Period`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeriodStart {
    /// Kind of the track that decides the boundaries.
    pub(crate) reference_kind: Kind,
    /// DTS of the first frame.
    pub(crate) dts: Timestamp,
    /// PTS of the first frame.
    pub(crate) pts: Timestamp,
    /// Wall time of the first frame.
    pub(crate) wall: WallTime,
    /// Media sequence number of the first segment.
    pub(crate) msn: u64,
    /// Whether it is the first period of the broadcast, which begins with a short segment.
    pub(crate) is_first: bool,
}

/// State that begins again with each period: at the start, after a contribution, and after a jump of the timestamps.
#[derive(Debug)]
pub(crate) struct Period {
    pub(crate) start: PeriodStart,
    /// Kind of the track that decides the boundaries: [`PeriodStart::reference_kind`], until video joins.
    pub(crate) reference_kind: Kind,
    /// Relation of the frames' clock to the clock of their arrival.
    pub(crate) delay: LeastDelay,
    /// Whether video takes part. In a period that audio began alone, video waits for a key frame that audio has not
    /// passed.
    pub(crate) video_joined: bool,
    /// DTS of the newest frame of the reference video.
    pub(crate) newest_video: Option<Timestamp>,
    /// PTS of the newest audio that was written in any audio rendition.
    pub(crate) newest_audio: Option<Timestamp>,
    /// Duration of the audio before the first video frame.
    pub(super) audio_lead: TimeDelta,
    pub(super) key_frames: KeyFrames,
    /// Whether the open segment began without a key frame, or repeats one because video stalled.
    pub(crate) lacks_key_frame: bool,
}

impl Period {
    pub(super) fn new(start: PeriodStart) -> Self {
        Self {
            start,
            reference_kind: start.reference_kind,
            delay: LeastDelay::default(),
            video_joined: start.reference_kind == Kind::Video,
            newest_video: None,
            newest_audio: None,
            audio_lead: TimeDelta::ZERO,
            key_frames: KeyFrames::default(),
            lacks_key_frame: false,
        }
    }
}

impl Default for Period {
    fn default() -> Self {
        let (wall, zero) = (WallTime::default(), Timestamp::ZERO);
        Self::new(PeriodStart { reference_kind: Kind::Video, dts: zero, pts: zero, wall, msn: 0, is_first: true })
    }
}

/// Times of the reference video's key frames, to predict the next ones.
#[derive(Debug, Default)]
pub(super) struct KeyFrames {
    newest: Option<Timestamp>,
    /// Distance between the last two.
    gop: TimeDelta,
    /// Whether the GOP before was as long, so that the next key frame can be predicted.
    is_regular: bool,
}

impl KeyFrames {
    /// Records a key frame presented at `at`.
    pub(super) fn note(&mut self, at: Timestamp) {
        if let Some(before) = self.newest.replace(at) {
            let gop = at - before;
            self.is_regular = (gop - self.gop).abs() <= GOP_JITTER;
            self.gop = gop;
        }
    }

    /// Returns the presentation time of the newest key frame.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Returns the duration of the newest complete GOP.
    pub(super) fn gop(&self) -> TimeDelta {
        self.gop
    }

    /// Predicts the presentation times of the next `count` key frames; `None` if GOPs are irregular.
    pub(super) fn predict(&self, count: i64) -> Option<impl Iterator<Item = Timestamp>> {
        let (newest, gop) = (self.newest.filter(|_| self.is_regular)?, self.gop);
        Some((1..=count).map(move |n| newest + gop.times(n)))
    }
}
