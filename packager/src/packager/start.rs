//! The start of a period, and the first segment of a broadcast, whose end freezes the durations.

use media::{Access, Frame, Kind, TimeDelta, Timestamp, WallTime};

use super::boundary_planner::{FIRST_AUDIO_SEGMENT, FIRST_SEGMENT, PeriodStart};
use super::interleaving::Interleaving;
use super::rendition::{MAX_QUEUED_FRAMES, SegmentStart};
use super::targets::FrameTiming;
use super::{ExpectedVideo, Packager, Phase, Slot, audio, dates, targets};
use crate::Error;
use crate::log::{Event, RenditionId};

/// Longest time that audio waits for announced video before it begins alone. A codec header has arrived, so video is
/// likely to follow, and a viewer whose player starts without video will not see it when it comes.
const START_HOLD: TimeDelta = TimeDelta::from_secs(4);
/// Furthest that audio may be dated ahead of the newest video frame. Beyond that, the video counts as stopped.
const MAX_APART: TimeDelta = TimeDelta::from_secs(10);
/// Longest first segment: a longer GOP is divided.
pub(super) const MAX_FIRST_SEGMENT: TimeDelta = TimeDelta::from_millis(20_300);
/// Most frames of the first segment, whatever their timestamps say.
const MAX_GATHERED: usize = 10_000;

impl Packager {
    /// Takes a frame outside a period, and begins a period as soon as one can start with what has arrived.
    pub(super) fn wait_for_start(&mut self, slot: Slot, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        let Phase::Waiting { newest_video } = &mut self.phase else { return Ok(()) };
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
        let is_full = self.dependents.get(n).is_some_and(|audio| audio.queued.len() > MAX_QUEUED_FRAMES);
        while let Some((n, dts, pts)) = audio::oldest_queued(&self.dependents) {
            let is_overdue = is_full || newest - pts > START_HOLD;
            if (self.video.is_some() || self.expected_video.is_expected) && !is_overdue {
                break;
            }
            if is_overdue && newest_video.is_some_and(|video| video + MAX_APART >= pts) {
                // Video arrives but is between two key frames: a start without video would be wrong.
                self.dependents.get_mut(n).map(|audio| audio.queued.pop_front());
                continue;
            }
            self.begin_period(Kind::Audio, dts, pts, arrival.shifted(pts - newest));
            return self.forward_queued(arrival);
        }
        Ok(())
    }

    /// Passes a frame to the phase after [`Phase::Waiting`].
    fn forward(&mut self, slot: Slot, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        match self.phase {
            Phase::Gathering(_) => self.gather(slot, frame),
            _ => self.process(slot, frame, arrival),
        }
    }

    /// Passes all queued frames to the phase after [`Phase::Waiting`], in the order of their timestamps.
    fn forward_queued(&mut self, arrival: WallTime) -> Result<(), Error> {
        let mut queued: Vec<(Slot, Frame)> = Vec::new();
        for (n, input) in self.dependents.iter_mut().enumerate() {
            let slot = input.slot(n);
            queued.extend(input.queued.drain(..).map(|frame| (slot, frame)));
        }
        queued.sort_by_key(|(slot, frame)| if matches!(slot, Slot::Audio(_)) { frame.pts } else { frame.dts });
        queued.into_iter().try_for_each(|(slot, frame)| self.forward(slot, frame, arrival))
    }

    fn begin_period(&mut self, reference_kind: Kind, dts: Timestamp, pts: Timestamp, arrival: WallTime) {
        let is_first = self.targets.is_none();
        self.expected_video = ExpectedVideo::default();
        // A programme that ran ahead of the clock is dated by the clock again.
        let is_ahead = self.wall_end.since(arrival) > dates::TOLERANCE;
        let wall = arrival.max(if is_ahead { self.wall_floor } else { self.wall_end });
        let msn = self.next_msn;
        self.begin_dates(msn);
        self.interleaving = Interleaving::default();
        self.planner.begin_period(PeriodStart { reference_kind, dts, pts, wall, msn, is_first });
        let start = SegmentStart { msn, at: pts, discontinuity: !is_first };
        for input in self.inputs_mut() {
            let is_reference = reference_kind == Kind::Video && input.writer.rendition() == RenditionId::VIDEO;
            if is_reference || input.writer.is_announced() {
                input.writer.begin_period(start, (wall, pts), pts - dts);
            }
        }
        self.phase = if is_first { Phase::Gathering(Vec::new()) } else { Phase::Running };
    }

    /// Takes a frame of the first segment.
    pub(super) fn gather(&mut self, slot: Slot, frame: Frame) -> Result<(), Error> {
        self.note_received(slot, &frame);
        let stalls = self.video_stalls();
        let Phase::Gathering(frames) = &mut self.phase else { return Ok(()) };
        let elapsed = frame.pts - self.planner.period.start.pts;
        let is_complete = match (self.planner.period.reference_kind, slot) {
            (_, Slot::DependentVideo(_)) => false,
            (Kind::Audio, _) => elapsed >= FIRST_AUDIO_SEGMENT,
            (Kind::Video, Slot::Video) => {
                let is_next = frames.iter().any(|(slot, _)| *slot == Slot::Video);
                let is_key_frame = frame.access != Access::Dependent;
                (is_key_frame && is_next && elapsed >= FIRST_SEGMENT) || elapsed >= MAX_FIRST_SEGMENT
            }
            (Kind::Video, Slot::Audio(_)) => stalls,
        };
        frames.push((slot, frame));
        if is_complete || frames.len() >= MAX_GATHERED { self.freeze_targets() } else { Ok(()) }
    }

    /// Freezes the durations with the frames that have arrived, if the first segment is not complete.
    pub(super) fn freeze_targets_early(&mut self) -> Result<(), Error> {
        if matches!(self.phase, Phase::Gathering(_)) { self.freeze_targets() } else { Ok(()) }
    }

    /// Freezes the durations, and processes the frames of the first segment.
    fn freeze_targets(&mut self) -> Result<(), Error> {
        let Phase::Gathering(frames) = std::mem::replace(&mut self.phase, Phase::Running) else { return Ok(()) };
        let of = |wanted| frames.iter().filter(move |(slot, _)| *slot == wanted).map(|(_, frame)| frame);
        let mut keys = of(Slot::Video).filter(|frame| frame.access != Access::Dependent).map(|frame| frame.pts);
        let gop = match (keys.next(), keys.next()) {
            (Some(first), Some(second)) => second - first,
            (Some(first), None) => of(Slot::Video).map(|frame| frame.pts - first).max().unwrap_or_default(),
            _ => targets::segment_target(self.config.mode),
        };
        let mut timings: Vec<FrameTiming> = Vec::new();
        let video = self.video.iter_mut().map(|input| (Slot::Video, input));
        let dependents = self.dependents.iter_mut().enumerate().map(|(n, input)| (input.slot(n), input));
        for (slot, input) in video.chain(dependents) {
            timings.extend(input.learn_timing(of(slot), timings.first().copied()));
        }
        let (targets, parts) = targets::freeze(self.config, gop, &timings);
        (self.targets, self.parts) = (Some(targets), parts);
        self.planner.set_target_duration(targets.segment_secs);
        self.out.events.push_back(Event::Targets(targets));
        let is_video = self.planner.period.reference_kind == Kind::Video;
        for input in self.video.iter_mut().chain(&mut self.dependents) {
            input.writer.set_parts(parts);
            if input.writer.is_dependent_video() && input.is_assigned && is_video {
                // Announced from the start, so that the first multivariant playlist can wait for it.
                input.writer.announce(&mut self.out);
            }
        }
        self.date_first();
        let wall = self.planner.period.start.wall;
        frames.into_iter().try_for_each(|(slot, frame)| self.process(slot, frame, wall))
    }
}
