//! Gaps of a passthrough programme: when the slate begins, and which frame of a contribution ends it.
//!
//! The slate is a [`SlateClip`] in the programme's own codecs, played by a [`Filler`]. [`GapPolicy::clip_request`] asks
//! for the clip as soon as the format of the video is known, so that it is ready before the first gap.

mod clip;

pub use clip::{ClipError, ClipRequest, ClipResult, ClipSpec, SlateImages, VideoCodec, VideoRequest};

use media::{CodecConfig, Fault, FaultReport, Frame, FrameRate, FrameRateEstimator, Kind, LatencyMode};
use media::{TimeDelta, Timestamp, Track};

use crate::filler::{LoopedVideo, SilentAudio, SlateClip, gap_timeout};
use crate::{Filler, Item, Splice, TrackEnd};

/// Time from the return of a contribution, with audio only, until its audio ends the slate. Video that is announced by
/// then ends the slate instead.
const VIDEO_TIMEOUT: TimeDelta = TimeDelta::from_secs(2);
/// The same timeout if video was signalled and only its codec header is missing: longer than the longest GOP that is
/// packaged.
const HEADER_TIMEOUT: TimeDelta = TimeDelta::from_secs(21);
/// Maximum time from the start of the slate until the same contribution goes on, if that gap is to count as a stutter.
/// Each stutter doubles the time without media before the next slate, up to [`MAX_TIMEOUT`].
const MAX_STUTTER: TimeDelta = TimeDelta::from_secs(2);
/// Maximum time without media before the slate begins.
const MAX_TIMEOUT: TimeDelta = TimeDelta::from_secs(4);
/// Maximum additional age of media that ends the slate, compared with media before the gap. Viewers stay that much
/// further behind live until the next gap.
const MAX_BACKLOG: TimeDelta = TimeDelta::from_millis(300);
/// Time in which a backlog has to shrink by [`MAX_BACKLOG`]. One that shrinks less is the network's new delay, and
/// accepted.
const DRAIN_TIME: TimeDelta = TimeDelta::from_millis(1_500);
/// Maximum delay of the slate in a gap of a programme that is ahead of the clock, as after a burst: the clock catches
/// up meanwhile.
const MAX_AHEAD: TimeDelta = TimeDelta::from_secs(1);
/// Maximum amount of the slate that is overdue at its start in a gap of a programme that is behind the clock. It is
/// sent at once, so that the programme catches up.
const MAX_BEHIND: TimeDelta = TimeDelta::from_secs(4);
/// Minimum number of missing video frames before media counts as absent.
const MIN_MISSING_FRAMES: i64 = 3;
/// Poll interval while there is no clip yet.
const CLIP_POLL_INTERVAL: TimeDelta = TimeDelta::from_millis(500);
/// Maximum number of audio codecs with encoded silence. Beyond it, another codec replaces the newest one.
const MAX_SILENCES: usize = 8;

/// Decides which frames of a passthrough programme are forwarded, and fills its gaps.
///
/// Time is an argument of every method: the distance from any fixed instant of a monotonic clock.
#[derive(Debug)]
pub struct GapPolicy {
    mode: LatencyMode,
    images: SlateImages,
    /// Images to use if `images` cannot be presented.
    fallback: Option<SlateImages>,
    /// Codec header of the contribution's video.
    codec: Option<CodecConfig>,
    /// Whether the contribution has video whose codec header has not arrived yet.
    video_expected: bool,
    rate: FrameRateEstimator,
    /// Format of the clip that fits the contribution's video.
    wanted: Option<ClipSpec>,
    /// Format of the clip that was requested last.
    requested: Option<ClipSpec>,
    /// Video of the clip that was made last.
    video: Option<LoopedVideo>,
    /// Audio tracks whose silence has to be requested.
    missing_silence: Vec<Track>,
    /// Encoded silence, for codecs without a built-in silent frame.
    silences: Vec<(CodecConfig, SilentAudio)>,
    /// Time without media before the slate begins.
    timeout: TimeDelta,
    /// Arrival time of the newest media that was forwarded.
    last_arrival: TimeDelta,
    /// Programme time less clock time of media that arrives with the least delay, as forwarded media is placed now.
    position: Option<TimeDelta>,
    /// Smallest `position` at the gaps so far, within [`MAX_AHEAD`] of the newest one. Bursts and delays increase the
    /// position, and the slate starts so much later in the next gap that the programme returns to this
    /// position.
    reference: Option<TimeDelta>,
    gap: Option<Gap>,
    /// Number of video frames sent in earlier gaps.
    slate_frames: u64,
    /// Whether a failure to make a clip was reported.
    failure_reported: bool,
}

/// An open gap, in which frames of contributions are discarded.
#[derive(Debug)]
struct Gap {
    filler: Filler,
    /// Time at which the slate began; `None` before the first poll of `filler`.
    slate_began: Option<TimeDelta>,
    /// Whether another contribution has begun since the gap opened.
    new_contribution: bool,
    /// Arrival time of the contribution's first frame since the gap opened.
    returned: Option<TimeDelta>,
    /// Time of the last measurement of the backlog, and its result.
    backlog: Option<(TimeDelta, TimeDelta)>,
    /// Number of frames discarded because the slate has covered their time.
    late: u64,
    /// Number of frames discarded because a key frame was missing.
    undecodable: u64,
}

/// Arrival of a frame of a contribution.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// Kind of its track.
    pub kind: Kind,
    /// Current time of the clock.
    pub now: TimeDelta,
    /// Delay of the frame beyond the least delay, see [`Intake::lateness`](crate::Intake::lateness).
    pub lateness: TimeDelta,
}

/// Decision on a frame from the encoder while a gap may be open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameAction {
    /// Forward it to the [`Splice`].
    Forward,
    /// Discard it: the slate is on air, and this frame cannot end it.
    Discard,
    /// Forward it and end the slate, which has filled the timeline up to `slate_end`. [`Splice::advance`] takes that
    /// time.
    Resume {
        /// End of the slate.
        slate_end: Timestamp,
    },
}

/// Result of [`GapPolicy::poll`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlatePoll {
    /// Time of the next poll.
    pub wake_at: TimeDelta,
    /// Lateness of the first frame of this poll.
    pub lateness: TimeDelta,
}

impl GapPolicy {
    /// Creates a policy that fills gaps with `images`.
    pub fn new(mode: LatencyMode, images: SlateImages) -> Self {
        Self {
            mode,
            images,
            fallback: None,
            codec: None,
            video_expected: false,
            rate: FrameRateEstimator::default(),
            wanted: None,
            requested: None,
            video: None,
            missing_silence: Vec::new(),
            silences: Vec::new(),
            timeout: gap_timeout(mode),
            last_arrival: TimeDelta::ZERO,
            position: None,
            reference: None,
            gap: None,
            slate_frames: 0,
            failure_reported: false,
        }
    }

    /// Sets other images, from the next gap on.
    pub fn set_images(&mut self, images: SlateImages) {
        self.fallback = Some(std::mem::replace(&mut self.images, images));
        self.requested = None;
    }

    /// Whether frames of contributions are discarded now.
    pub const fn is_in_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// Returns the number of video frames of the slate sent so far.
    pub fn slate_frames(&self) -> u64 {
        self.slate_frames + self.gap.as_ref().map_or(0, |gap| gap.filler.video_frames() as u64)
    }

    /// Begins another contribution. Must be called before [`Splice::begin`], while `splice` still has the previous
    /// tracks.
    pub fn begin(&mut self, splice: &mut Splice, out: &mut Vec<Item>) {
        self.open_gap(splice, out);
        if let Some(gap) = &mut self.gap {
            (gap.new_contribution, gap.returned, gap.backlog) = (true, None, None);
        }
        self.codec = None;
        self.video_expected = false;
        self.timeout = gap_timeout(self.mode);
    }

    /// Opens a gap after the current contribution's media, if there is a clip to fill it.
    fn open_gap(&mut self, splice: &mut Splice, out: &mut Vec<Item>) {
        if self.gap.is_none()
            && splice.end().is_some()
            && let Some(clip) = self.clip(splice)
        {
            let ends = splice.pause(out);
            let filler = Filler::new(clip, &ends, self.filler_start(&ends));
            self.gap = Some(Gap {
                filler,
                slate_began: None,
                new_contribution: false,
                returned: None,
                backlog: None,
                late: 0,
                undecodable: 0,
            });
        }
    }

    /// Notes that the contribution has video whose codec header has not arrived yet.
    pub const fn expect_video(&mut self) {
        self.video_expected = true;
    }

    /// Returns when the slate's first frame after `ends` is due, so that the programme returns to the `reference`, its
    /// position before bursts and delays.
    fn filler_start(&mut self, ends: &[TrackEnd]) -> TimeDelta {
        let end = ends.iter().map(|end| end.dts).max();
        let Some((position, end)) = self.position.zip(end) else { return self.last_arrival };
        let reference = self.reference.map_or(position, |before| before.min(position).max(position - MAX_AHEAD));
        self.reference = Some(reference);
        let due = end - Timestamp::ZERO - reference;
        due.clamp(self.last_arrival - MAX_BEHIND, self.last_arrival + MAX_AHEAD)
    }

    /// Notes the position of forwarded media: programme time less clock time, for media that arrives with the least
    /// delay. `None` keeps the previous one.
    pub fn note_position(&mut self, position: Option<TimeDelta>) {
        self.position = position.or(self.position);
    }

    /// Announces a track of the contribution, or a change of it.
    pub fn track(&mut self, track: &Track) {
        if track.kind() == Kind::Video {
            if self.codec.as_ref() != Some(&track.codec) {
                self.codec = Some(track.codec.clone());
                self.rate = FrameRateEstimator::default();
            }
        } else if SilentAudio::of(track.clone()).is_none() && !self.has_silence(&track.codec) {
            self.missing_silence.truncate(MAX_SILENCES - 1);
            self.missing_silence.push(track.clone());
        }
    }

    /// Whether silence in this codec is encoded, or about to be requested.
    fn has_silence(&self, codec: &CodecConfig) -> bool {
        self.missing_silence.iter().any(|track| track.codec == *codec)
            || self.silences.iter().any(|(encoded, _)| encoded == codec)
    }

    /// Decides on a frame of the contribution. Reports discarded frames when the gap ends.
    pub fn frame(&mut self, arrival: Arrival<'_>, out: &mut Vec<Item>) -> FrameAction {
        let Arrival { frame, kind, now, lateness } = arrival;
        if kind == Kind::Video {
            self.learn_rate(frame.pts);
        }
        let Some(gap) = &mut self.gap else {
            self.last_arrival = now;
            return FrameAction::Forward;
        };
        let waited = now - *gap.returned.get_or_insert(now);
        let video_timeout = if self.video_expected { HEADER_TIMEOUT } else { VIDEO_TIMEOUT };
        let audio_only = self.codec.is_none() && waited >= video_timeout;
        let live = self.reference.map(|reference| Timestamp::ZERO + (now - lateness + reference));
        let backlog = live.map_or(TimeDelta::ZERO, |live| gap.filler.end() - live);
        let can_begin = audio_only || gap.filler.ends_with(kind, frame.access);
        if !can_begin || !gap.has_drained(backlog, now) {
            let discarded = if backlog > MAX_BACKLOG { &mut gap.late } else { &mut gap.undecodable };
            *discarded += 1;
            return FrameAction::Discard;
        }
        let stutters =
            gap.slate_began.zip(gap.returned).is_some_and(|(began, returned)| returned - began < MAX_STUTTER);
        if !gap.new_contribution && stutters {
            self.timeout = self.timeout.times(2).min(MAX_TIMEOUT);
        }
        for (fault, count) in [(Fault::BacklogDropped, gap.late), (Fault::FramesBeforeKeyFrame, gap.undecodable)] {
            if count > 0 {
                out.push(Item::Fault(FaultReport::new(fault, None).times(count)));
            }
        }
        let slate_end = gap.filler.end();
        self.slate_frames = self.slate_frames();
        self.gap = None;
        self.last_arrival = now;
        FrameAction::Resume { slate_end }
    }

    /// Appends the slate's frames that are due `now` to `out`, and opens a gap if media has been absent for long
    /// enough.
    pub fn poll(&mut self, now: TimeDelta, splice: &mut Splice, out: &mut Vec<Item>) -> SlatePoll {
        let due = self.last_arrival + self.timeout.max(self.min_timeout());
        if now < due {
            return SlatePoll { wake_at: due, lateness: TimeDelta::ZERO };
        }
        self.open_gap(splice, out);
        let Some(gap) = &mut self.gap else {
            return SlatePoll { wake_at: now + CLIP_POLL_INTERVAL, lateness: TimeDelta::ZERO };
        };
        gap.slate_began.get_or_insert(now);
        let lateness = (now - gap.filler.wake_at()).max(TimeDelta::ZERO);
        gap.filler.poll(now, out);
        SlatePoll { wake_at: gap.filler.wake_at(), lateness }
    }

    /// Returns what has to be made for the clip. Each part is requested once.
    pub fn clip_request(&mut self) -> Option<ClipRequest> {
        let wanted = self.wanted.filter(|wanted| self.requested != Some(*wanted));
        self.requested = self.wanted;
        let silence = std::mem::take(&mut self.missing_silence);
        let seconds = if self.mode == LatencyMode::Low { 1 } else { 2 };
        let video = wanted.map(|spec| VideoRequest { spec, images: self.images.clone(), seconds });
        (video.is_some() || !silence.is_empty()).then_some(ClipRequest { video, silence })
    }

    /// Takes the answer to a [`GapPolicy::clip_request`]. Returns the first failure of this programme, and none after
    /// it.
    ///
    /// If the images cannot be presented, the previous ones are requested again.
    pub fn take_clip<E>(&mut self, result: ClipResult<E>) -> Option<ClipError<E>> {
        let mut failed = None;
        match result.video {
            Some(Ok(video)) => self.video = Some(video),
            Some(Err(error)) => {
                if let (ClipError::Image(_), Some(fallback)) = (&error, self.fallback.take()) {
                    (self.images, self.requested) = (fallback, None);
                }
                failed = Some(error);
            }
            None => {}
        }
        for (track, silence) in result.silence {
            match silence {
                Ok(silence) => {
                    self.silences.truncate(MAX_SILENCES - 1);
                    self.silences.push((track.codec, silence));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let reported = failed.is_some() && std::mem::replace(&mut self.failure_reported, true);
        failed.filter(|_| !reported)
    }

    /// Adds the timestamp of a video frame to the estimate of the frame rate, until the [`ClipSpec`] is known.
    fn learn_rate(&mut self, pts: Timestamp) {
        if self.rate.is_settled() {
            return;
        }
        self.rate.add(pts);
        if self.rate.is_settled()
            && let Some(codec) = &self.codec
        {
            let claimed = codec.frame_rate().map(|(frames, seconds)| FrameRate::new(frames, seconds));
            self.wanted = ClipSpec::of(codec, self.rate.rate(claimed)).or(self.wanted);
        }
    }

    /// Returns the duration of [`MIN_MISSING_FRAMES`] at the frame rate of the contribution.
    fn min_timeout(&self) -> TimeDelta {
        let spec = self.wanted.filter(|_| self.codec.is_some());
        spec.map_or(TimeDelta::ZERO, |spec| spec.rate.span(MIN_MISSING_FRAMES))
    }

    /// Returns the clip for the tracks of a contribution; `None` if its video is not made yet, or there are no tracks.
    fn clip(&self, splice: &Splice) -> Option<SlateClip> {
        let mut clip = SlateClip::default();
        for track in splice.tracks() {
            if track.kind() == Kind::Video {
                clip.video = Some(self.video.as_ref()?.in_place_of(track.id));
                continue;
            }
            let encoded = || self.silences.iter().find(|(codec, _)| *codec == track.codec);
            let silence = SilentAudio::of(track.clone());
            clip.audio.extend(silence.or_else(|| encoded().map(|(_, silence)| silence.in_place_of(track))));
        }
        (clip.video.is_some() || !clip.audio.is_empty()).then_some(clip)
    }
}

impl Gap {
    /// Whether the slate may end: the `backlog`, media still to come whose time the slate has covered, is at most
    /// [`MAX_BACKLOG`], so viewers may get it all; or it does not shrink, and waiting brings viewers no closer to live.
    fn has_drained(&mut self, backlog: TimeDelta, now: TimeDelta) -> bool {
        if backlog <= MAX_BACKLOG {
            return true;
        }
        let (measured_at, before) = *self.backlog.get_or_insert((now, backlog));
        if now - measured_at < DRAIN_TIME {
            return false;
        }
        self.backlog = Some((now, backlog));
        before - backlog < MAX_BACKLOG
    }
}
