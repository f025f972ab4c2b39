//! Frames in, events out: the public face of the packager.
//!
//! A programme is a sequence of *periods*, with a discontinuity between two of them. A period begins at a
//! frame at which decoding may start. The frames of the very first segment are gathered until the segment is complete.
//! No player may see a playlist before that anyway, and only then is enough known to freeze the durations that hold for
//! the whole broadcast.
//!
//! One rendition is the *reference rendition*: it decides the segment boundaries. The others are *dependent renditions*,
//! audio and further video alike. Their frames are queued until the reference rendition has come as far, and their
//! segments end at the same boundaries.
//!
//! - [`boundary_planner`] decides the boundaries, and sees times only.
//! - [`rendition`] writes the parts and segments of one rendition.
//! - `start`, `scheduler`, `video`, `audio`, `renditions` and `finish` connect the two: they are methods of [`Packager`].

mod audio;
mod boundary_planner;
mod dates;
mod finish;
mod interleaving;
mod output;
mod rendition;
mod renditions;
mod resume;
mod scheduler;
mod slot;
mod start;
mod targets;
mod tracks;
mod video;

use media::{FaultReport, Frame, Kind, LatencyMode, Metadata, TimeDelta, Timestamp, Track, WallTime};

use crate::Error;
use crate::log::{Event, Targets};
use boundary_planner::BoundaryPlanner;
use interleaving::Interleaving;
use output::Output;
use rendition::{RenditionInput, RenditionWriter};
use resume::ResumePoint;
use slot::Slot;
use targets::PartSizing;

/// Longest time that audio waits for video whose codec header does not arrive: longer than the longest GOP.
const MAX_EXPECTED: TimeDelta = TimeDelta::from_secs(21);
/// Earliest time at which a timeline begins, because `tfdt` has no sign. Earlier timelines are moved.
const EARLIEST: TimeDelta = TimeDelta::from_secs(1);

/// Settings of a [`Packager`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Durations that segments and parts aim at.
    pub mode: LatencyMode,
    /// Longest pause of the frames that players of parts must survive. Playlists tell them to stay that much further from
    /// the live edge.
    pub max_stall: TimeDelta,
}

/// Turns the frames of one broadcast into its packaged log.
///
/// A broadcast has at most one reference video track, [`RenditionId::MAX_DEPENDENT_VIDEO`] other renditions of the same
/// video and [`RenditionId::MAX_AUDIO`] audio tracks, each with a [`media::TrackId`] of its own. Frames are on the
/// programme's timeline, and their DTS never goes back within a track. The caller takes the events with
/// [`Packager::poll`] after each call.
///
/// [`RenditionId::MAX_DEPENDENT_VIDEO`]: crate::log::RenditionId::MAX_DEPENDENT_VIDEO
/// [`RenditionId::MAX_AUDIO`]: crate::log::RenditionId::MAX_AUDIO
#[derive(Debug)]
pub struct Packager {
    config: Config,
    out: Output,
    /// Reference video. It decides the boundaries wherever it is present.
    video: Option<RenditionInput>,
    /// Audio and dependent video renditions, in the order in which they were announced.
    dependents: Vec<RenditionInput>,
    targets: Option<Targets>,
    /// Size of the parts; `None` before the durations are frozen, and in modes without parts.
    parts: Option<PartSizing>,
    phase: Phase,
    planner: BoundaryPlanner,
    interleaving: Interleaving,
    /// Media sequence number of the first segment of the next period.
    next_msn: u64,
    /// Wall time at which the last period ended, and at which its last segment began. The next period is not dated before
    /// that, whatever its arrival says.
    wall_end: WallTime,
    wall_floor: WallTime,
    /// Whole seconds added to the programme's timeline, so that it is not negative; `None` before the first frame.
    timestamp_offset: Option<TimeDelta>,
    /// Number of the next metadata event.
    metadata_count: u32,
    expected_video: ExpectedVideo,
    resume_point: ResumePoint,
}

/// Video that was announced with [`Packager::expect_video`] and whose codec header has not arrived.
#[derive(Clone, Copy, Debug, Default)]
struct ExpectedVideo {
    is_expected: bool,
    /// PTS of the newest audio when the video was first expected.
    since: Option<Timestamp>,
}

/// Progress of a broadcast.
#[derive(Debug)]
enum Phase {
    /// Outside a period: waits for the first video frame to start with, or for audio if there is no video.
    Waiting {
        /// DTS of the newest video frame that could not start a period.
        newest_video: Option<Timestamp>,
    },
    /// The first segment is not complete; at most [`start::MAX_FIRST_SEGMENT`] of it.
    Gathering(Vec<(Slot, Frame)>),
    /// Inside a period.
    Running,
    /// After [`Packager::end`].
    Ended,
}

impl Phase {
    /// The phase between two periods.
    const WAITING: Self = Self::Waiting { newest_video: None };
}

impl Packager {
    /// Creates a packager for a new broadcast.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            out: Output::default(),
            video: None,
            dependents: Vec::new(),
            targets: None,
            parts: None,
            phase: Phase::WAITING,
            planner: BoundaryPlanner::new(config.mode),
            interleaving: Interleaving::default(),
            next_msn: 0,
            wall_end: WallTime::default(),
            wall_floor: WallTime::default(),
            timestamp_offset: None,
            metadata_count: 0,
            expected_video: ExpectedVideo::default(),
            resume_point: ResumePoint::default(),
        }
    }

    /// Takes the next event.
    pub fn poll(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// Takes the next report of a repaired or dropped frame. The caller drains the reports as it drains the events of
    /// [`Packager::poll`]; beyond 64 the oldest reports are discarded.
    pub fn poll_fault(&mut self) -> Option<FaultReport> {
        self.out.pop_fault()
    }

    /// Announces a track, or changes one. A new codec header begins a new segment after a discontinuity, with a new init
    /// section. Audio tracks beyond [`RenditionId::MAX_AUDIO`](crate::log::RenditionId::MAX_AUDIO) are ignored.
    pub fn add_track(&mut self, track: Track) -> Result<(), Error> {
        match track.kind() {
            Kind::Video => self.add_video(track),
            Kind::Audio => self.add_audio(track),
        }
    }

    /// Announces video whose codec header is not known yet. The caller repeats this with each frame of that video. Audio
    /// waits for it as it waits for the first key frame of a track, for 21 s at most.
    pub fn expect_video(&mut self) {
        self.expected_video.is_expected = true;
        self.reconsider_audio_only();
        let newest = self.dependents.iter().filter_map(|input| input.queued.back()).map(|frame| frame.pts).max();
        if let (Phase::Waiting { newest_video }, Some(newest)) = (&mut self.phase, newest) {
            let since = *self.expected_video.since.get_or_insert(newest);
            *newest_video = (newest - since < MAX_EXPECTED).then_some(newest);
        }
    }

    /// Packages the next frame, which arrived at `arrival`. Frames of unknown tracks are ignored. After an error nothing
    /// of the contribution can be used; another contribution may follow after a [`Packager::discontinuity`].
    pub fn push(&mut self, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        let Some(slot) = self.slot_of(frame.track) else { return Ok(()) };
        if slot == Slot::Video {
            self.planner.check_gop(&frame)?;
        }
        let earliest = self.resume_point.earliest;
        let offset = *self.timestamp_offset.get_or_insert_with(|| {
            let missing = (earliest - frame.dts).as_millis().max(0);
            TimeDelta::from_secs((missing + 999) / 1_000)
        });
        let frame = Frame { dts: frame.dts + offset, pts: frame.pts + offset, ..frame };
        let (dts, waits) = (frame.dts, matches!(self.phase, Phase::Waiting { .. }));
        if !waits {
            self.note_arrival(slot, dts, arrival);
        }
        match self.phase {
            Phase::Waiting { .. } => {
                self.wait_for_start(slot, frame, arrival)?;
                self.note_arrival(slot, dts, arrival);
                Ok(())
            }
            Phase::Gathering(_) => self.gather(slot, frame),
            Phase::Running => self.process(slot, frame, arrival),
            Phase::Ended => Ok(()),
        }
    }

    /// Queues metadata. It is published with the video of its time, in each video rendition; in a programme without video
    /// it goes with the first audio rendition. Metadata before the first frame is discarded.
    pub fn metadata(&mut self, metadata: Metadata) {
        let Some(offset) = self.timestamp_offset else { return };
        let metadata = Metadata { pts: metadata.pts + offset, ..metadata };
        let number = self.metadata_count;
        self.metadata_count = number.wrapping_add(1);
        if let Some(video) = self.video.as_mut().filter(|input| input.writer.is_active()) {
            video.writer.queue_metadata(number, metadata.clone());
            for input in self.dependents.iter_mut().filter(|input| input.writer.is_dependent_video()) {
                input.writer.queue_metadata(number, metadata.clone());
            }
        } else if let Some(audio) = self.dependents.iter_mut().find(|input| input.writer.is_audio()) {
            audio.writer.queue_metadata(number, metadata);
        }
    }

    /// Ends the period: all renditions close their segments, and their next ones begin with a discontinuity.
    /// The tracks that are announced next are another contribution's; dependent video renditions stay as they were
    /// announced.
    pub fn discontinuity(&mut self) -> Result<(), Error> {
        self.freeze_targets_early()?;
        if matches!(self.phase, Phase::Running) {
            self.end_period()?;
        }
        self.planner.end_contribution();
        self.dependents.iter_mut().for_each(RenditionInput::end_contribution);
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::WAITING;
        }
        Ok(())
    }

    fn inputs_mut(&mut self) -> impl Iterator<Item = &mut RenditionInput> {
        self.video.iter_mut().chain(&mut self.dependents)
    }

    fn active_writers(&self) -> impl Iterator<Item = &RenditionWriter> {
        let all = self.video.iter().chain(&self.dependents).map(|input| &input.writer);
        all.filter(|writer| writer.is_active())
    }

    /// Returns the writer of the reference video.
    fn reference(&self) -> Option<&RenditionWriter> {
        self.video.as_ref().map(|input| &input.writer)
    }

    /// Returns true if the reference video has not arrived for so long that no more of it is to be expected.
    fn video_stalls(&self) -> bool {
        self.interleaving.video_stalls(self.parts.is_some())
    }
}
