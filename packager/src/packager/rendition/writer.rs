//! Writes one rendition: samples in decode order become parts, and parts become segments.
//!
//! The writer keeps a decode clock of its own in ticks of the track. A part is closed before the next frame arrives and
//! shows how long the part's last frame lasts, so that duration is estimated. The next part begins exactly where the last
//! one ended, and its first frame takes up the error. Presentation times stay exact, because the composition offset is
//! counted from this clock.

mod boundaries;
mod freeze_frame;
mod last_frame;
mod metadata;
mod parts;
mod publish;
mod segments;

use bytes::Bytes;
use media::{Access, CodecConfig, Metadata, TimeDelta, Timescale, Timestamp, Track, WallTime};

use super::frame_duration::FrameDuration;
use crate::Error;
use crate::cmaf;
use crate::log::{RenditionId, SegmentEnd};
use crate::packager::boundary_planner::{ExpectedEnd, VideoPosition};
use crate::packager::output::Output;
use crate::packager::targets::{self, PartRule, PartSizing};
use freeze_frame::FreezeFrame;
use last_frame::CurrentGop;
use metadata::MetadataQueue;

/// Frame duration assumed if the header has no frame rate.
const ASSUMED_FRAME: TimeDelta = TimeDelta::from_millis(33);
/// Samples assumed in an audio frame if neither the header nor a packet says: 20 ms of Opus.
const ASSUMED_OPUS_SAMPLES: u32 = 960;
/// The same for other codecs: a block of FLAC.
const ASSUMED_FLAC_SAMPLES: u32 = 4_096;

/// The start of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentStart {
    pub(crate) msn: u64,
    /// Time on the presentation timeline; on the decode timeline inside the writer.
    pub(crate) at: Timestamp,
    pub(crate) discontinuity: bool,
}

/// A sample of the open part, in ticks of the track.
#[derive(Debug)]
struct PendingSample {
    start: i64,
    /// Duration of an audio frame. Zero for video, because a video frame lasts until the next one.
    lasts: i64,
    dts: i64,
    pts: i64,
    access: Access,
    payload: Bytes,
}

/// Frames that can be decoded next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    /// Key frames only, because the frames before are missing.
    KeyFrame,
    /// Key frames only, because the newest key frame is repeated until video returns; see [`FreezeFrame`].
    AfterRepeatedKeyFrame,
    /// All frames.
    Any,
    /// Frames presented at this time or later, because decoding began with the open GOP presented then.
    From(i64),
}

/// The end of the segment before the open one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PendingEnd {
    /// No end to publish, and no end was published yet.
    First,
    /// No end to publish.
    None,
    /// Published together with the next part; see [`RenditionWriter::holds_back_segment_end`].
    Held(SegmentEnd),
}

/// Writes the parts and segments of one rendition to an [`Output`].
#[derive(Debug)]
pub(crate) struct RenditionWriter {
    rendition: RenditionId,
    track: Track,
    /// Init section of `track`, until a part needs it.
    new_init: Option<Bytes>,
    init_count: u32,
    scale: Timescale,
    /// Most likely duration of an audio frame; `None` for video.
    audio_frame: Option<i64>,
    part_rule: Option<PartRule>,
    frame_duration: FrameDuration,
    /// Start of the next sample; `None` at the beginning of a period.
    clock: Option<i64>,
    pending: Vec<PendingSample>,
    freeze_frame: FreezeFrame,
    gop: CurrentGop,
    expected_end: ExpectedEnd,
    /// Whether an event named the next segment's first part as the next part.
    end_announced: bool,
    /// End of what was published because time passed without a frame; `None` after a frame.
    advanced_to: Option<i64>,
    /// Highest steady frame rate of the open segment, in frames per thousand seconds.
    peak_frame_rate: Option<u32>,
    metadata: MetadataQueue,
    sequence: u32,
    /// Start of the open segment, on the decode timeline.
    segment: SegmentStart,
    part_count: u32,
    segment_ticks: i64,
    pending_end: PendingEnd,
    captions_seen: bool,
    /// Whether the newest part has no frames.
    newest_is_gap: bool,
    /// Time from the DTS to the PTS of the newest IDR frame, by which presentation lags decoding. Zero for audio.
    reorder_delay: TimeDelta,
    /// Whether the rendition takes part in the period.
    is_active: bool,
    entry: Entry,
    /// A wall time, and the instant on the decode timeline that it belongs to.
    anchor: (WallTime, Timestamp),
}

impl RenditionWriter {
    pub(crate) fn new(rendition: RenditionId, track: Track) -> Result<Self, Error> {
        Ok(Self {
            rendition,
            new_init: Some(cmaf::init(&track)?),
            init_count: 0,
            scale: track.timescale(),
            audio_frame: audio_frame(&track),
            part_rule: None,
            frame_duration: frame_duration(&track),
            track,
            clock: None,
            pending: Vec::new(),
            freeze_frame: FreezeFrame::default(),
            gop: CurrentGop::default(),
            expected_end: ExpectedEnd::Unknown,
            end_announced: false,
            advanced_to: None,
            peak_frame_rate: None,
            metadata: MetadataQueue::default(),
            sequence: 0,
            segment: SegmentStart { msn: 0, at: Timestamp::ZERO, discontinuity: false },
            part_count: 0,
            segment_ticks: 0,
            pending_end: PendingEnd::First,
            captions_seen: false,
            newest_is_gap: false,
            reorder_delay: TimeDelta::ZERO,
            is_active: false,
            entry: Entry::KeyFrame,
            anchor: (WallTime::default(), Timestamp::ZERO),
        })
    }

    /// Changes the track. The writer must be between segments, at a discontinuity. The same header needs no new init
    /// section.
    pub(crate) fn change_track(&mut self, track: Track) -> Result<(), Error> {
        if !self.has_same_header(&track) {
            self.new_init = Some(cmaf::init(&track)?);
            let (old, new) = (self.scale, track.timescale());
            if old != new {
                self.scale = new;
                self.clock = self.clock.map(|ticks| new.ticks(old.timestamp(ticks)));
            }
            self.audio_frame = audio_frame(&track);
            self.frame_duration = frame_duration(&track);
            self.entry = Entry::KeyFrame;
            self.freeze_frame = FreezeFrame::default();
            self.gop = CurrentGop::default();
            self.set_parts(self.part_rule.map(|rule| rule.sizing));
        }
        self.track = track;
        Ok(())
    }

    /// Returns true if the init section serves `track` too.
    pub(crate) fn has_same_header(&self, track: &Track) -> bool {
        self.track.codec == track.codec && self.track.language == track.language
    }

    /// Sets the measured duration of a video frame, before the writer gets its first one.
    pub(crate) fn set_frame_duration(&mut self, frame: TimeDelta) {
        self.frame_duration = FrameDuration::new(self.scale.delta_ticks(frame));
    }

    /// Learns the duration of audio frames from an example, before the writer gets its first one.
    pub(crate) fn learn_audio_frame(&mut self, payload: &[u8]) {
        if let Some(samples) = self.track.codec.packet_samples(payload) {
            self.set_audio_frame(i64::from(samples).max(1));
        }
    }

    /// Sets the duration of an audio frame, and adapts the part rule to it.
    fn set_audio_frame(&mut self, lasts: i64) {
        if self.audio_frame.is_some_and(|audio_frame| audio_frame != lasts) {
            self.audio_frame = Some(lasts);
            self.set_parts(self.part_rule.map(|rule| rule.sizing));
        }
    }

    /// Offers parts from now on, or none for `None`.
    pub(crate) fn set_parts(&mut self, sizing: Option<PartSizing>) {
        self.part_rule = sizing.map(|sizing| targets::part_rule(sizing, self.frame_duration(), self.is_audio()));
    }

    /// Queues metadata until the part of its time is published.
    pub(crate) fn queue_metadata(&mut self, number: u32, metadata: Metadata) {
        self.metadata.push(number, metadata);
    }

    /// Discards metadata before `at`, on the presentation timeline, because viewers of another rendition got it while this
    /// one was absent.
    pub(crate) fn discard_metadata_before(&mut self, at: Timestamp) {
        self.metadata.discard_before(at);
    }

    /// Begins a period; the clock takes the time of the first frame. `start` and `anchor`, the wall time of an instant of
    /// the programme, are on the presentation timeline. Video frames are decoded `reorder_delay` earlier.
    pub(crate) fn begin_period(
        &mut self,
        start: SegmentStart,
        anchor: (WallTime, Timestamp),
        reorder_delay: TimeDelta,
    ) {
        self.reorder_delay = if self.is_audio() { TimeDelta::ZERO } else { reorder_delay };
        self.segment = SegmentStart { at: self.to_decode_time(start.at), ..start };
        self.anchor = (anchor.0, self.to_decode_time(anchor.1));
        self.clock = None;
        self.is_active = true;
        self.freeze_frame = FreezeFrame::default();
        self.gop = CurrentGop::default();
        self.advanced_to = None;
        self.entry = Entry::KeyFrame;
        self.frame_duration.restart();
    }

    /// Ends the rendition's part in the period.
    pub(crate) fn leave_period(&mut self, out: &mut Output) {
        self.publish_held_end(out);
        self.is_active = false;
    }

    /// Goes on with a key frame after an absence.
    pub(crate) fn restart(&mut self) {
        self.require_key_frame();
        self.frame_duration.restart();
    }

    /// Rejects frames until the next key frame, because frames before it are missing.
    fn require_key_frame(&mut self) {
        if !self.repeats_key_frame() {
            self.entry = Entry::KeyFrame;
        }
    }

    /// Sets what is known about the end of the open segment.
    pub(crate) fn expect_end(&mut self, expected_end: ExpectedEnd) {
        self.expected_end = expected_end;
    }

    pub(crate) fn rendition(&self) -> RenditionId {
        self.rendition
    }

    pub(crate) fn is_audio(&self) -> bool {
        self.audio_frame.is_some()
    }

    pub(crate) fn is_dependent_video(&self) -> bool {
        self.rendition.is_dependent_video()
    }

    pub(crate) fn track(&self) -> &Track {
        &self.track
    }

    /// Converts a presentation time to the writer's decode timeline.
    pub(crate) fn to_decode_time(&self, at: Timestamp) -> Timestamp {
        at - self.reorder_delay
    }

    /// Converts a decode time to the presentation timeline, for a frame that is not reordered.
    pub(crate) fn to_presentation_time(&self, at: Timestamp) -> Timestamp {
        at + self.reorder_delay
    }

    /// Returns the sequence number of the segment that is open or comes next.
    pub(crate) fn msn(&self) -> u64 {
        self.segment.msn
    }

    /// Returns the most likely duration of a frame.
    pub(crate) fn frame_duration(&self) -> TimeDelta {
        self.scale.delta(self.audio_frame.unwrap_or(self.frame_duration.value()))
    }

    /// Returns the position that the boundaries of the reference video depend on.
    pub(crate) fn position(&self) -> VideoPosition {
        VideoPosition {
            segment_start: self.segment_start(),
            frame_duration: self.frame_duration(),
            reorder_delay: self.reorder_delay,
        }
    }

    /// Returns true if the open segment has frames or gaps.
    pub(crate) fn has_content(&self) -> bool {
        self.part_count > 0 || !self.pending.is_empty()
    }

    /// Returns true once the period has frames or gaps of the rendition.
    pub(crate) fn has_begun(&self) -> bool {
        self.clock.is_some() || !self.pending.is_empty()
    }

    /// Returns true once an init section of the rendition was published.
    pub(crate) fn is_announced(&self) -> bool {
        self.init_count > 0
    }

    /// Returns true while the rendition takes part in the period.
    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    /// Returns the start of the open segment, on the writer's decode timeline.
    pub(crate) fn segment_start(&self) -> Timestamp {
        match (self.pending.first(), self.clock) {
            (Some(first), _) => self.scale.timestamp(first.start - self.segment_ticks),
            (None, Some(clock)) => self.scale.timestamp(clock - self.segment_ticks),
            (None, None) => self.segment.at,
        }
    }

    /// Returns where the next sample would start, on the writer's decode timeline.
    pub(crate) fn end(&self) -> Timestamp {
        let lasts = |p: &PendingSample| if self.audio_frame.is_some() { p.lasts } else { self.frame_duration.value() };
        let last = self.pending.last().map(|p| p.dts.max(p.start) + lasts(p));
        last.or(self.clock).map_or(self.segment.at, |ticks| self.scale.timestamp(ticks))
    }

    /// Returns [`Self::end`] on the presentation timeline.
    pub(crate) fn presentation_end(&self) -> Timestamp {
        self.to_presentation_time(self.end())
    }

    /// Drops the last frames of the open part until its middle is presented before `end`. Reordered frames are kept.
    pub(crate) fn drop_frames_beyond(&mut self, end: Timestamp) {
        let end = self.to_decode_time(end);
        while let Some(first) = self.pending.first().map(|first| self.scale.timestamp(first.start))
            && self.pending.is_sorted_by_key(|p| p.pts)
            && (first - end) + (self.end() - end) > TimeDelta::ZERO
        {
            self.pending.pop();
        }
    }

    /// Converts a duration to ticks, rounding down.
    fn floor_ticks(&self, delta: TimeDelta) -> i64 {
        let ticks = self.scale.delta_ticks(delta);
        if self.scale.delta(ticks) > delta { ticks - 1 } else { ticks }
    }
}

/// Returns the duration of an audio frame in ticks; `None` for video.
fn audio_frame(track: &Track) -> Option<i64> {
    let assumed = match &track.codec {
        CodecConfig::Opus(_) => ASSUMED_OPUS_SAMPLES,
        _ => ASSUMED_FLAC_SAMPLES,
    };
    track.codec.sample_rate().map(|_| track.codec.samples_per_frame().unwrap_or(assumed).into())
}

/// Returns a first estimate from the header, if it has a plausible frame rate.
fn frame_duration(track: &Track) -> FrameDuration {
    let plausible =
        track.codec.frame_duration().filter(|f| (TimeDelta::from_millis(4)..TimeDelta::from_secs(1)).contains(f));
    FrameDuration::new(track.timescale().delta_ticks(plausible.unwrap_or(ASSUMED_FRAME)))
}
