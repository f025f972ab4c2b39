//! Makes an uninterrupted output of constant frame rate out of decoded video and audio that come and go.
//!
//! Video drives the timeline. While it arrives, each tick of the output leaves as soon as a frame at or after it is known,
//! and presents the newest frame that is not later. While video is absent, the clock drives the timeline: the last frame is
//! repeated, then the slate is presented. Audio follows up to where the video is, sample by sample, with silence where it
//! is missing. Without a video track the audio drives. There may be several audio tracks, each of them uninterrupted, so
//! that a listener of one does not notice that another is absent.
//!
//! Media time becomes output time by one *timestamp offset*, shared by video and audio so that they stay in sync. It is
//! chosen again when a contribution begins, when media stays behind what is already presented, and when media runs ahead of
//! the clock. Timestamps of contributions are expected as [`crate::Splice`] maps them: end to end, going forward.

mod api;
mod arrival;
mod audio_buffer;
mod audio_track;
mod clock;
mod output;
mod placement;
mod resync;

use std::collections::VecDeque;

use media::{FrameRate, TickGrid, TimeDelta, Timestamp};

pub use api::{Config, Output, Stats, VideoContent};
use arrival::VideoArrival;
pub use audio_buffer::BLOCK_SAMPLES;
use audio_track::AudioTrack;
use clock::Clock;
use resync::{OutputPosition, Placement, Resync};

/// Time after which the output goes on without media that does not arrive, by the clock.
pub const VIDEO_TIMEOUT: TimeDelta = TimeDelta::from_millis(300);
/// Time for which the last frame is repeated before the slate follows.
const MIN_REPEAT: TimeDelta = TimeDelta::from_millis(500);
/// Maximum of that time. At low frame rates the last frame is repeated for two frame intervals, but never longer than this.
const MAX_REPEAT: TimeDelta = TimeDelta::from_secs(10);
/// Time for which audio counts as present after its arrival, because it arrives in bursts.
const AUDIO_PRESENCE: TimeDelta = TimeDelta::from_millis(400);
/// Maximum distance of arriving audio behind the video. Beyond it the output no longer waits for the audio.
const MAX_AUDIO_LAG: TimeDelta = TimeDelta::from_secs(2);
/// Time that audio waits for the first frame of a broadcast. It is longer than [`VIDEO_TIMEOUT`] because no one is watching
/// yet.
const START_TIMEOUT: TimeDelta = TimeDelta::from_secs(2);
/// Maximum number of frames queued for [`Continuity::poll`]. Beyond it the oldest is dropped, and its ticks present the one
/// before it.
const MAX_QUEUED_FRAMES: usize = 16;

/// Turns decoded video and audio into an uninterrupted output. `F` is a raw frame, cheap to clone.
///
/// Time is an argument of every method: the distance from any fixed instant of a monotonic clock.
#[derive(Debug)]
pub struct Continuity<F> {
    config: Config,
    now: TimeDelta,
    /// `None` before the first media.
    timeline: Option<Timeline>,
    audio_tracks: Vec<AudioTrack>,
    resync: Resync,
    /// The frame that ticks present.
    current: Option<Current<F>>,
    /// Frames after `current` with their output times, oldest first.
    upcoming: VecDeque<(Timestamp, F)>,
    video_arrival: VideoArrival,
    /// Arrival time of the first audio that had no timestamp offset yet.
    unplaced_since: Option<TimeDelta>,
    stats: Stats,
}

/// The output's timeline, from the first media on.
#[derive(Debug)]
struct Timeline {
    clock: Clock,
    ticks: TickGrid,
    /// Number of the tick that leaves next.
    tick: i64,
}

#[derive(Debug)]
struct Current<F> {
    at: Timestamp,
    frame: F,
    presented: bool,
}

impl<F: Clone> Continuity<F> {
    /// Creates an output that begins with the first media.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: TimeDelta::ZERO,
            timeline: None,
            audio_tracks: (0..config.audio_tracks.max(1)).map(|_| AudioTrack::new(&config)).collect(),
            resync: Resync::default(),
            current: None,
            upcoming: VecDeque::new(),
            video_arrival: VideoArrival::default(),
            unplaced_since: None,
            stats: Stats::default(),
        }
    }

    /// Begins another contribution: its first frame takes over on the next tick.
    ///
    /// Discards audio of the previous contribution that is not out. Output of the previous decoder must not be pushed after
    /// this call.
    pub fn begin(&mut self) {
        self.resync.reset();
        self.audio_tracks.iter_mut().for_each(AudioTrack::clear);
        self.video_arrival.begin();
        self.unplaced_since = None;
    }

    /// Queues a decoded frame of the contribution. Frames come in presentation order.
    pub fn push_video(&mut self, pts: Timestamp, frame: F, now: TimeDelta) {
        if !self.config.video {
            return;
        }
        let now = self.advance_now(now);
        self.video_arrival.note(pts, now);
        if self.timeline.is_none() {
            self.start(pts, now);
        }
        let Some(timeline) = &mut self.timeline else { return };
        let first = timeline.ticks.at(0) - timeline.ticks.tolerance();
        let before_first = |at: &Timestamp| timeline.tick == 0 && *at < first;
        if let Some(at) = self.resync.offset().map(|offset| pts + offset).filter(before_first) {
            // The first tick presents it, unless a later frame arrives in time.
            self.current = Some(Current { at, frame, presented: false });
            return;
        }
        let next = self
            .upcoming
            .back()
            .map_or(timeline.tick, |(newest, _)| timeline.tick.max(timeline.ticks.next_after(*newest)));
        let output = OutputPosition {
            oldest: timeline.ticks.at(next - 1) - timeline.ticks.tolerance(),
            next: timeline.ticks.at(next),
            clock: timeline.clock.at(now),
            now,
            max_pause: self.video_arrival.interval().times(2),
        };
        match self.resync.place(pts, output) {
            Placement::At(at) => self.queue_frame(at, frame, now),
            Placement::Resynced(at) => {
                self.stats.resyncs += 1;
                self.queue_frame(at, frame, now);
            }
            Placement::Late(lateness) => {
                self.stats.late_frames += 1;
                if lateness <= VIDEO_TIMEOUT - clock::CLOCK_MARGIN {
                    // The video catches up by itself if the clock waits for it.
                    timeline.clock.follow_media();
                }
            }
            Placement::Early => self.stats.early_frames += 1,
        }
    }

    /// Queues decoded audio of the contribution for audio track `n`, interleaved, with the sample rate and channels of the
    /// [`Config`]. Discards it if there is no such track.
    pub fn push_audio(&mut self, n: usize, pts: Timestamp, samples: Vec<f32>, now: TimeDelta) {
        let now = self.advance_now(now);
        let Some(track) = self.audio_tracks.get_mut(n) else { return };
        track.arrival.note(now);
        let length = track.buffer.duration(samples.len());
        if self.timeline.is_none() {
            self.stats.late_samples += track.buffer.push(pts, samples);
            let waited = now - *self.unplaced_since.get_or_insert(now);
            if !self.config.video || waited >= START_TIMEOUT {
                let first = self.oldest_queued_audio().unwrap_or(pts);
                self.start(first, now - waited.min(START_TIMEOUT));
            }
            return;
        }
        let drives = self.audio_drives(now) && self.is_driving_track(n, now);
        if drives && !self.place_driving_audio(n, pts, length, now) {
            self.stats.late_samples += self.audio_tracks.get(n).map_or(0, |track| track.buffer.per_channel(&samples));
            return;
        }
        self.note_audio(n, pts + length, now);
        self.stats.late_samples += self.audio_tracks.get_mut(n).map_or(0, |track| track.buffer.push(pts, samples));
    }

    /// Adds an audio track at the position of the others, and returns its number. It is silent until
    /// [`Continuity::push_audio`] is called for it.
    pub fn add_audio(&mut self) -> usize {
        let mut track = AudioTrack::new(&self.config);
        if let Some(timeline) = &self.timeline {
            let others = self.audio_tracks.iter().map(|track| track.buffer.position()).min();
            track.begin(others.unwrap_or(timeline.ticks.at(timeline.tick)), self.now);
        }
        self.audio_tracks.push(track);
        self.audio_tracks.len() - 1
    }

    /// Adds video to an output that had none. It begins at the next whole second, and drives the timeline from then on.
    pub fn add_video(&mut self, frame_rate: FrameRate, slate: bool) {
        self.config = Config { frame_rate, slate, video: true, ..self.config };
        let furthest = self.furthest_audio();
        if let (Some(timeline), Some(furthest)) = (&mut self.timeline, furthest) {
            (timeline.ticks, timeline.tick) = (TickGrid::new(frame_rate, whole_second_after(furthest)), 0);
            self.audio_tracks.iter_mut().for_each(|track| track.last_usable = self.now);
        }
    }

    /// Returns the output time of the contribution's timestamp `pts`, as far as it is known now; `None` while the
    /// contribution has no timestamp offset.
    pub fn output_time(&self, pts: Timestamp) -> Option<Timestamp> {
        self.timeline.as_ref()?;
        Some(pts + self.resync.offset()?)
    }

    /// Returns how far the output has come; `None` before the first media.
    pub fn position(&self) -> Option<Timestamp> {
        let timeline = self.timeline.as_ref()?;
        if self.config.video { Some(timeline.ticks.at(timeline.tick)) } else { self.furthest_audio() }
    }

    /// Returns the next step of the output that is due `now`.
    ///
    /// To be called until it returns `None`, after media was pushed and when [`Continuity::wake_at`] says. Media that the
    /// caller already has must be pushed before, otherwise it counts as late. [`Continuity::poll_known`] makes room in
    /// between.
    pub fn poll(&mut self, now: TimeDelta) -> Option<Output<F>> {
        let now = self.advance_now(now);
        self.next(Some(now))
    }

    /// Returns the next step of the output that needs no clock, because the media of its time is known.
    pub fn poll_known(&mut self) -> Option<Output<F>> {
        self.next(None)
    }

    fn next(&mut self, clock: Option<TimeDelta>) -> Option<Output<F>> {
        let timeline = self.timeline.as_ref()?;
        if !self.config.video {
            return self.next_block(clock);
        }
        let is_behind = |track: &AudioTrack| track.buffer.position() < timeline.ticks.at(timeline.tick);
        if self.audio_tracks.iter().any(is_behind) {
            self.next_block(clock).or_else(|| self.next_frame(clock))
        } else {
            self.next_frame(clock).or_else(|| self.next_block(clock))
        }
    }

    /// Returns the counters of presented and discarded media so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the number of queued frames and of queued samples (for each channel, of all audio tracks). Both are bounded.
    pub fn queued(&self) -> (usize, usize) {
        (self.upcoming.len(), self.audio_tracks.iter().map(|track| track.buffer.queued()).sum())
    }

    fn advance_now(&mut self, now: TimeDelta) -> TimeDelta {
        self.now = self.now.max(now);
        self.now
    }

    /// Starts the output with media that has timestamp `first` and arrived at `arrived`.
    ///
    /// The output begins at a whole second.
    // hls.js 1.7: browsers subtract an odd beginning, so that segments end a microsecond early for them, and hls.js requests
    // the same segment again.
    fn start(&mut self, first: Timestamp, arrived: TimeDelta) {
        let begin = whole_second_after(first);
        let (clock, ticks) = (Clock::new(begin, arrived), TickGrid::new(self.config.frame_rate, begin));
        self.timeline = Some(Timeline { clock, ticks, tick: 0 });
        self.audio_tracks.iter_mut().for_each(|track| track.begin(begin, self.now));
        self.resync.begin(begin - first);
        self.unplaced_since = None;
    }

    fn queue_frame(&mut self, at: Timestamp, frame: F, now: TimeDelta) {
        let Some(timeline) = &mut self.timeline else { return };
        timeline.clock.follow_media();
        timeline.clock.correct_drift(at, now);
        let newest = self.upcoming.back().map(|(at, _)| *at).or(self.current.as_ref().map(|current| current.at));
        if newest.is_some_and(|newest| at < newest) {
            self.stats.late_frames += 1;
            return;
        }
        if self.upcoming.len() >= MAX_QUEUED_FRAMES {
            self.upcoming.pop_front();
        }
        self.upcoming.push_back((at, frame));
    }
}

fn whole_second_after(at: Timestamp) -> Timestamp {
    let second = TimeDelta::from_secs(1);
    Timestamp::ZERO + second.times((at - Timestamp::ZERO).whole(second) + 1)
}
