//! The programme of a broadcast: maps the frames of its contributions to one timeline, and passes them on.

use std::collections::VecDeque;
use std::time::Instant;

use ingest::Item;
use ingest::health::Health;
use media::id::ContributionId;
use media::{Access, Frame, Kind, TimeDelta, Track, TrackId, WallTime};
use packager::Packager;
use slate::gap::{Arrival, FrameAction, GapPolicy};
use slate::{Intake, Splice};

use super::clock::wall_now;
use super::stats::Stats;
use super::transcode::Transcode;
use crate::faults::Faults;

/// Maximum number of contributions whose health is kept. Beyond it the oldest is dropped.
const MAX_HEALTH: usize = 16;

pub(super) struct Programme {
    /// Repairs the timestamps of the current contribution.
    intake: Intake,
    pub(super) splice: Splice,
    /// Encodes the programme, unless it is passed through.
    pub(super) transcode: Option<Transcode>,
    /// Fills the gaps of a passthrough programme that has a slate.
    pub(super) gap_policy: Option<GapPolicy>,
    /// Origin of the clock of `intake` and `gap_policy`.
    clock: Instant,
    audio_only: bool,
    /// The contribution whose frames are accepted.
    pub(super) current: Option<ContributionId>,
    /// Number of segments closed before the current contribution, or before it ended a gap.
    pub(super) segments_before: u64,
    /// The track whose key frames are counted.
    video: Option<TrackId>,
    pub(super) stats: Stats,
    /// Health of the contributions, the current one last.
    pub(super) health: VecDeque<Health>,
    pub(super) ended: bool,
    /// Whether the current batch ended a gap, so that its segments follow those of the slate.
    pub(super) gap_ended: bool,
    // Kept between batches so that a frame costs no allocation.
    pub(super) spliced: Vec<slate::Item>,
}

impl Programme {
    pub(super) fn new(transcode: Option<Transcode>, gap_policy: Option<GapPolicy>, audio_only: bool) -> Self {
        Self {
            intake: Intake::default(),
            splice: if transcode.is_some() { Splice::new() } else { Splice::for_passthrough() },
            transcode,
            gap_policy,
            clock: Instant::now(),
            audio_only,
            current: None,
            segments_before: 0,
            video: None,
            stats: Stats::default(),
            health: VecDeque::new(),
            ended: false,
            gap_ended: false,
            spliced: Vec::new(),
        }
    }

    /// Makes `contribution` the current one.
    pub(super) fn begin(&mut self, contribution: ContributionId, segments: u64) {
        self.current = Some(contribution);
        self.segments_before = segments;
        self.splice.begin();
        self.intake = Intake::default();
        if let Some(transcode) = &self.transcode {
            transcode.ladder.begin();
        }
        self.stats.begin();
        if self.health.len() == MAX_HEALTH {
            self.health.pop_front();
        }
        self.health.push_back(Health::new(Instant::now()));
    }

    /// Time since the programme began, the clock of its [`GapPolicy`].
    pub(super) fn elapsed(&self) -> TimeDelta {
        TimeDelta::from_duration(self.clock.elapsed())
    }

    /// Packages a batch of a contribution as it is.
    pub(super) fn pass_through(
        &mut self,
        items: &mut Vec<Item>,
        packager: &mut Packager,
        faults: &Faults,
    ) -> Result<(), packager::Error> {
        let arrival = wall_now();
        for item in items.drain(..) {
            match item {
                Item::Metadata(metadata) => {
                    let live = self.gap_policy.as_ref().is_none_or(|policy| !policy.is_in_gap());
                    let metadata = self.intake.metadata(metadata);
                    if let Some(metadata) = self.splice.metadata(metadata).filter(|_| live) {
                        packager.metadata(metadata);
                    }
                }
                Item::Fault(report) => faults.record(report),
                Item::VideoExpected if self.audio_only => {}
                Item::VideoExpected => {
                    self.gap_policy.as_mut().into_iter().for_each(GapPolicy::expect_video);
                    packager.expect_video();
                }
                Item::Track(track) if self.audio_only && track.kind() == Kind::Video => {}
                Item::Track(track) => {
                    self.track(track);
                    self.package(packager, |_| arrival, faults)?;
                }
                Item::Frame(frame) => {
                    self.frame(frame);
                    self.package(packager, |_| arrival, faults)?;
                }
            }
        }
        Ok(())
    }

    /// Passes the output of the splice to the packager.
    pub(super) fn package(
        &mut self,
        packager: &mut Packager,
        arrival: impl Fn(&Frame) -> WallTime,
        faults: &Faults,
    ) -> Result<(), packager::Error> {
        self.spliced.drain(..).try_for_each(|item| match item {
            slate::Item::Track(track) => packager.add_track(track),
            slate::Item::Frame(frame) => {
                let arrival = arrival(&frame);
                packager.push(frame, arrival)
            }
            slate::Item::Discontinuity => packager.discontinuity(),
            slate::Item::Fault(report) => {
                faults.record(report);
                Ok(())
            }
        })
    }

    /// Passes a batch of a contribution to the ladder.
    pub(super) fn encode(&mut self, items: &mut Vec<Item>, ladder: &ladder::Ladder, faults: &Faults) {
        for item in items.drain(..) {
            match item {
                Item::Metadata(metadata) => {
                    let metadata = self.intake.metadata(metadata);
                    self.splice.metadata(metadata).into_iter().for_each(|metadata| ladder.metadata(metadata));
                    continue;
                }
                Item::Fault(report) => {
                    faults.record(report);
                    continue;
                }
                Item::VideoExpected => {
                    ladder.expect_video();
                    continue;
                }
                Item::Track(track) => self.track(track),
                Item::Frame(frame) => self.frame(frame),
            }
            self.spliced.drain(..).for_each(|item| match item {
                slate::Item::Fault(report) => faults.record(report),
                item => ladder.push(item),
            });
        }
    }

    fn track(&mut self, track: Track) {
        if track.kind() == Kind::Video {
            self.video = Some(track.id);
        }
        if let Some(policy) = &mut self.gap_policy {
            policy.track(&track);
        }
        self.intake.track(&track);
        self.splice.track(track, &mut self.spliced);
        if self.gap_policy.as_ref().is_some_and(GapPolicy::is_in_gap) {
            // The splice announces the track again when the slate ends.
            self.spliced.retain(|item| matches!(item, slate::Item::Fault(_)));
        }
    }

    fn frame(&mut self, frame: Frame) {
        let keyframe = self.video == Some(frame.track) && frame.access != Access::Dependent;
        self.stats.frame(keyframe);
        if let Some(health) = self.health.back_mut() {
            health.frame(frame.dts, keyframe, Instant::now());
        }
        self.place(frame);
    }

    /// Maps a frame to the timeline, unless it arrives in a gap that it cannot end.
    fn place(&mut self, frame: Frame) {
        let now = self.elapsed();
        let frame = self.intake.frame(frame, now, &mut self.spliced);
        let track = self.gap_policy.as_ref().and_then(|_| self.splice.tracks().find(|track| track.id == frame.track));
        let kind = track.map(Track::kind);
        let Some((policy, kind)) = self.gap_policy.as_mut().zip(kind) else {
            self.splice.frame(frame, &mut self.spliced);
            return;
        };
        let lateness = self.intake.lateness(&frame, now);
        match policy.frame(Arrival { frame: &frame, kind, now, lateness }, &mut self.spliced) {
            FrameAction::Discard => return,
            FrameAction::Resume { slate_end } => {
                self.gap_ended = true;
                self.splice.advance(slate_end, &mut self.spliced);
            }
            FrameAction::Forward => {}
        }
        self.splice.frame(frame, &mut self.spliced);
        let captured = self.splice.offset().zip(self.intake.least_delay());
        policy.note_position(captured.map(|(offset, delay)| offset - delay));
    }
}
