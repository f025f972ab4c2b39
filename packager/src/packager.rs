//! Frames in, events out: where segments and parts begin and end.
//!
//! A programme is a row of *runs*, with a break of the programme (a discontinuity) between two of them. A run begins at
//! a picture that decoding may start with. The frames of the very first segment are gathered until it is whole, because
//! nobody may see a playlist before that anyway, and only then is enough known to freeze the durations that hold for the
//! whole broadcast.
//!
//! One rendition leads: it decides the cuts. The others follow, sounds and rungs alike: their frames wait until the
//! leader has come so far, and are cut where it was. What only one kind of rendition does is in the file of its name.

mod audio;
mod boundary_planner;
mod dates;
mod finish;
mod rendition;
mod renditions;
mod targets;
mod tracks;

use std::collections::VecDeque;

use media::{Access, FaultReport, Frame, Kind, LatencyMode, Metadata, TimeDelta, Timestamp, Track, WallTime};

use crate::Error;
use crate::log::{Event, RenditionId, Targets};
use boundary_planner::{Boundaries, GopGuard, Period};
use dates::Dates;
use rendition::{RenditionInput, RenditionWriter, SegmentStart};
use targets::{FrameTiming, PartSizing};

/// Audio that waits for announced video longer than this begins without it. A header came already, so pictures are
/// likely to follow; a viewer who is shown a programme without pictures will not see them when they come.
const START_HOLD: TimeDelta = TimeDelta::from_secs(4);
/// Audio waits no longer than this for video that sends frames but not their codec header: longer than the longest GOP.
const MAX_EXPECTED: TimeDelta = TimeDelta::from_secs(21);
/// Audio is not dated further ahead of video than this: beyond it, video that came once is not alive any more.
const MAX_APART: TimeDelta = TimeDelta::from_secs(10);
/// First segment of a programme that is audio only.
const FIRST_AUDIO_SEGMENT: TimeDelta = TimeDelta::from_secs(1);
/// The least that the first segment of a programme with video lasts: about a second. It is short for a quick start. All
/// others are as long as the mode says, because players that count back three segments from the end of the playlist have
/// to find more there than the next segment takes.
const FIRST_SEGMENT: TimeDelta = TimeDelta::from_millis(950);
/// Longest first segment: a GOP that is longer is cut in the middle.
const MAX_FIRST_SEGMENT: TimeDelta = TimeDelta::from_millis(20_300);
/// No segment is meant to be shorter; a little less, for GOPs of half a second with jitter.
const MIN_SEGMENT: TimeDelta = TimeDelta::from_millis(450);
/// The first segment is taken as whole with so many frames, whatever their times say.
const MAX_GATHERED: usize = 10_000;
/// Reports of faults that are kept until they are polled.
const MAX_FAULTS: usize = 64;
/// Timelines are moved to begin here at the earliest, as `tfdt` has no sign.
const EARLIEST: TimeDelta = TimeDelta::from_secs(1);

/// How a [`Packager`] is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// What segments and parts aim at.
    pub mode: LatencyMode,
    /// How long the frames may pause without a player of parts running dry: it is told to stay that much further back.
    pub max_stall: TimeDelta,
}

/// Turns the frames of one broadcast into its packaged log.
///
/// It takes at most one video track, [`RenditionId::MAX_DEPENDENT_VIDEO`] other renditions of the same pictures and
/// [`RenditionId::MAX_AUDIO`] audio tracks, each with a [`media::TrackId`] of its own. Frames are on the programme's timeline,
/// DTS never going back within a track. What comes out is taken with [`Packager::poll`] after each call.
#[derive(Debug)]
pub struct Packager {
    config: Config,
    out: Output,
    /// It leads wherever it is there.
    video: Option<RenditionInput>,
    /// Sounds and rungs, in the order in which they were announced.
    dependents: Vec<RenditionInput>,
    targets: Option<Targets>,
    /// How parts are made, where they are offered.
    parts: Option<PartSizing>,
    phase: Phase,
    period: Period,
    boundaries: Boundaries,
    gop_guard: GopGuard,
    next_msn: u64,
    /// Where the last run ended in wall time, and where its last segment began: the next run is not dated before that,
    /// whatever its arrival says.
    wall_end: WallTime,
    wall_floor: WallTime,
    /// Moves the programme's timeline by whole seconds, so that it is not negative.
    timestamp_offset: Option<TimeDelta>,
    /// Metadata that was taken.
    metadata_count: u32,
    /// Video without a codec header is on its way.
    expected: ExpectedVideo,
}

/// What is known of video whose codec header has not come.
#[derive(Clone, Copy, Debug, Default)]
struct ExpectedVideo {
    is_expected: bool,
    /// The newest audio when it was first expected.
    since: Option<Timestamp>,
}

/// Events that were not polled yet.
#[derive(Debug, Default)]
struct Output {
    events: VecDeque<Event>,
    faults: VecDeque<FaultReport>,
    dates: Dates,
}

impl Output {
    /// Queues a report.
    fn fault(&mut self, report: FaultReport) {
        if self.faults.len() == MAX_FAULTS {
            self.faults.pop_front();
        }
        self.faults.push_back(report);
    }
}

/// The rendition that a frame goes to; followers by their place in the list of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    Video,
    Audio(usize),
    DependentVideo(usize),
}

#[derive(Debug)]
enum Phase {
    /// No run: for the first picture to start with, or audio where there is no video. Remembers the newest video frame.
    Waiting(Option<Timestamp>),
    /// The first segment is not whole; bounded by [`MAX_FIRST_SEGMENT`].
    Gathering(Vec<(Slot, Frame)>),
    Running,
    Ended,
}

impl Packager {
    /// A packager for a new broadcast.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            out: Output::default(),
            video: None,
            dependents: Vec::new(),
            targets: None,
            parts: None,
            phase: Phase::Waiting(None),
            period: Period::default(),
            boundaries: Boundaries::default(),
            gop_guard: GopGuard::default(),
            next_msn: 0,
            wall_end: WallTime::default(),
            wall_floor: WallTime::default(),
            timestamp_offset: None,
            metadata_count: 0,
            expected: ExpectedVideo::default(),
        }
    }

    /// Takes the next event.
    pub fn poll(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// Returns the next report of something that was repaired or dropped. The caller drains the reports as it does the
    /// events; beyond `MAX_FAULTS` the oldest ones are forgotten.
    pub fn poll_fault(&mut self) -> Option<FaultReport> {
        self.out.faults.pop_front()
    }

    /// Announces a track, or changes one: a new codec header begins a new segment behind a discontinuity, with a new
    /// init section. Audio tracks beyond the most that a broadcast carries are ignored.
    pub fn add_track(&mut self, track: Track) -> Result<(), Error> {
        match track.kind() {
            Kind::Video => self.add_video(track),
            Kind::Audio => self.add_audio(track),
        }
    }

    /// Announces video whose codec header is not known yet; to be called again with each of its frames. Audio waits for it
    /// as it does for the first key frame of a track, for `MAX_EXPECTED` at the most.
    pub fn expect_video(&mut self) {
        self.expected.is_expected = true;
        self.reconsider_audio_only();
        let newest = self.dependents.iter().filter_map(|input| input.queued.back()).map(|frame| frame.pts).max();
        if let (Phase::Waiting(newest_video), Some(newest)) = (&mut self.phase, newest) {
            let since = *self.expected.since.get_or_insert(newest);
            *newest_video = (newest - since < MAX_EXPECTED).then_some(newest);
        }
    }

    /// Takes the next frame; `arrival` is when it came in. Frames of unknown tracks are ignored. After an error nothing
    /// of the contribution can be used; another may follow behind a [`Packager::discontinuity`].
    pub fn push(&mut self, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        let Some(slot) = self.slot_of(frame.track) else { return Ok(()) };
        if slot == Slot::Video {
            self.gop_guard.frame(frame.dts, frame.access)?;
        }
        let timestamp_offset = *self.timestamp_offset.get_or_insert_with(|| {
            let behind = (Timestamp::ZERO + EARLIEST - frame.dts).as_millis().max(0);
            TimeDelta::from_secs((behind + 999) / 1_000)
        });
        let frame = Frame { dts: frame.dts + timestamp_offset, pts: frame.pts + timestamp_offset, ..frame };
        let (dts, waits) = (frame.dts, matches!(self.phase, Phase::Waiting(_)));
        if !waits {
            self.note_arrival(slot, dts, arrival);
        }
        match self.phase {
            Phase::Waiting(_) => {
                self.wait_for_start(slot, frame, arrival)?;
                self.note_arrival(slot, dts, arrival);
                Ok(())
            }
            Phase::Gathering(_) => self.gather(slot, frame),
            Phase::Running => self.process(slot, frame, arrival),
            Phase::Ended => Ok(()),
        }
    }

    /// Takes metadata: it goes with the pictures of its time in all their renditions, or where there are none with the
    /// first sound. What comes before the first frame is of no use to anyone.
    pub fn metadata(&mut self, metadata: Metadata) {
        let Some(timestamp_offset) = self.timestamp_offset else { return };
        let metadata = Metadata { pts: metadata.pts + timestamp_offset, ..metadata };
        let number = self.metadata_count;
        self.metadata_count = number.wrapping_add(1);
        if let Some(video) = self.video.as_mut().filter(|input| input.writer.is_active()) {
            video.writer.queue_metadata(number, metadata.clone());
            let dependents = self.dependents.iter_mut().filter(|input| input.writer.rendition().is_dependent_video());
            dependents.for_each(|dependent| dependent.writer.queue_metadata(number, metadata.clone()));
        } else if let Some(audio) = self.dependents.iter_mut().find(|input| input.writer.is_audio()) {
            audio.writer.queue_metadata(number, metadata);
        }
    }

    /// The programme breaks here: all renditions close their segments, and their next ones begin with a discontinuity.
    /// The tracks that are announced next are another contribution's; rungs stay as they were announced.
    pub fn discontinuity(&mut self) -> Result<(), Error> {
        self.freeze_targets_early()?;
        if matches!(self.phase, Phase::Running) {
            self.end_period()?;
        }
        self.gop_guard = GopGuard::default();
        self.dependents.iter_mut().for_each(RenditionInput::end_contribution);
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Waiting(None);
        }
        Ok(())
    }

    fn writers(&self) -> impl Iterator<Item = &RenditionWriter> {
        self.video.iter().chain(&self.dependents).map(|input| &input.writer)
    }

    fn reference(&self) -> Option<&RenditionWriter> {
        self.video.as_ref().map(|input| &input.writer)
    }

    fn wait_for_start(&mut self, slot: Slot, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        let Phase::Waiting(newest_video) = &mut self.phase else { return Ok(()) };
        if slot == Slot::Video {
            *newest_video = Some(frame.dts);
            if frame.access == Access::Dependent {
                return Ok(());
            }
            self.begin_period(Kind::Video, frame.dts, frame.pts, arrival);
            self.forward_queued(arrival)?;
            return self.forward(Slot::Video, frame, arrival);
        }
        let (newest_video, newest) = (*newest_video, frame.pts);
        self.queue(slot, frame);
        let Slot::Audio(n) = slot else { return Ok(()) };
        let full = self.dependents.get(n).is_some_and(|audio| audio.queued.len() > rendition::MAX_QUEUED_FRAMES);
        while let Some((n, dts, pts)) = audio::oldest_queued(&self.dependents) {
            let overdue = full || newest - pts > START_HOLD;
            if (self.video.is_some() || self.expected.is_expected) && !overdue {
                break;
            }
            if overdue && newest_video.is_some_and(|video| video + MAX_APART >= pts) {
                // Video is alive but between two IDRs: sound without pictures would be the wrong start.
                self.dependents.get_mut(n).map(|audio| audio.queued.pop_front());
                continue;
            }
            self.begin_period(Kind::Audio, dts, pts, arrival.shifted(pts - newest));
            return self.forward_queued(arrival);
        }
        Ok(())
    }

    /// Hands a frame to the phase that follows waiting.
    fn forward(&mut self, slot: Slot, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        match self.phase {
            Phase::Gathering(_) => self.gather(slot, frame),
            _ => self.process(slot, frame, arrival),
        }
    }

    /// Hands all that waited to the phase that follows, in the order of its times.
    fn forward_queued(&mut self, arrival: WallTime) -> Result<(), Error> {
        let mut queued: Vec<(Slot, Frame)> = Vec::new();
        for (n, input) in self.dependents.iter_mut().enumerate() {
            let slot = input.slot(n);
            queued.extend(input.queued.drain(..).map(|frame| (slot, frame)));
        }
        queued.sort_by_key(|(slot, frame)| if matches!(slot, Slot::Audio(_)) { frame.pts } else { frame.dts });
        queued.into_iter().try_for_each(|(slot, frame)| self.forward(slot, frame, arrival))
    }

    fn begin_period(&mut self, reference_kind: Kind, dts: Timestamp, pts: Timestamp, wall: WallTime) {
        let first = self.targets.is_none();
        self.expected = ExpectedVideo::default();
        // A programme that ran ahead of the clock is dated by the clock again.
        let ahead = self.wall_end.since(wall) > dates::TOLERANCE;
        let wall = wall.max(if ahead { self.wall_floor } else { self.wall_end });
        self.begin_dates(self.next_msn);
        self.period = Period::new(reference_kind, dts, pts, wall, self.next_msn, first);
        self.boundaries = Boundaries::new(self.next_msn, pts, !first);
        let start = SegmentStart { msn: self.next_msn, at: pts, discontinuity: !first };
        for input in self.video.iter_mut().chain(&mut self.dependents) {
            let leads = reference_kind == Kind::Video && input.writer.rendition() == RenditionId::VIDEO;
            if leads || input.writer.is_announced() {
                input.writer.begin_period(start, (wall, pts), pts - dts);
            }
        }
        self.phase = if first { Phase::Gathering(Vec::new()) } else { Phase::Running };
    }

    fn gather(&mut self, slot: Slot, frame: Frame) -> Result<(), Error> {
        self.period.note(slot, &frame);
        let stalls = self.video_stalls();
        let Phase::Gathering(frames) = &mut self.phase else { return Ok(()) };
        let elapsed = frame.pts - self.period.start_pts;
        let whole = match (self.period.reference_kind, slot) {
            (_, Slot::DependentVideo(_)) => false,
            (Kind::Audio, _) => elapsed >= FIRST_AUDIO_SEGMENT,
            (Kind::Video, Slot::Video) => {
                let entry = frame.access != Access::Dependent;
                let followed = frames.iter().any(|(slot, _)| *slot == Slot::Video);
                (entry && followed && elapsed >= FIRST_SEGMENT) || elapsed >= MAX_FIRST_SEGMENT
            }
            (Kind::Video, Slot::Audio(_)) => stalls,
        };
        frames.push((slot, frame));
        if whole || frames.len() >= MAX_GATHERED { self.freeze_targets() } else { Ok(()) }
    }

    /// Freezes the durations with what there is, where the first segment cannot be awaited.
    fn freeze_targets_early(&mut self) -> Result<(), Error> {
        if matches!(self.phase, Phase::Gathering(_)) { self.freeze_targets() } else { Ok(()) }
    }

    fn freeze_targets(&mut self) -> Result<(), Error> {
        let Phase::Gathering(frames) = std::mem::replace(&mut self.phase, Phase::Running) else { return Ok(()) };
        let of = |wanted| frames.iter().filter(move |(slot, _)| *slot == wanted).map(|(_, frame)| frame);
        let mut keys = of(Slot::Video).filter(|u| u.access != Access::Dependent).map(|u| u.pts);
        let gop = match (keys.next(), keys.next()) {
            (Some(first), Some(second)) => second - first,
            (Some(first), None) => of(Slot::Video).map(|u| u.pts - first).max().unwrap_or_default(),
            _ => targets::segment_target(self.config.mode),
        };
        let mut timings: Vec<FrameTiming> = Vec::new();
        let video = self.video.iter_mut().map(|input| (Slot::Video, input));
        let dependents = self.dependents.iter_mut().enumerate().map(|(n, input)| (input.slot(n), input));
        for (slot, input) in video.chain(dependents) {
            timings.extend(input.learn_timing(of(slot), timings.first().copied()));
        }
        let (targets, parts) = targets::targets(self.config, gop, &timings);
        (self.targets, self.parts) = (Some(targets), parts);
        self.out.events.push_back(Event::Targets(targets));
        for input in self.video.iter_mut().chain(&mut self.dependents) {
            input.writer.set_parts(parts);
            if input.writer.rendition().is_dependent_video() && input.bound && self.period.reference_kind == Kind::Video
            {
                // It is known of from the start, so that the first multivariant playlist can wait for it.
                input.writer.announce(&mut self.out);
            }
        }
        self.date_first();
        let wall = self.period.wall;
        frames.into_iter().try_for_each(|(slot, frame)| self.process(slot, frame, wall))
    }
}
