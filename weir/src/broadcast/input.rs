//! Input of a broadcast: its contributions, and the programme that they make.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use ingest::Item;
use ingest::health::Health;
use ladder::{Ladder, SlateImages};
use media::id::ContributionId;
use media::{Access, Frame, Kind, TimeDelta, Track, TrackId, WallTime};
use packager::Packager;
use slate::Programme;
use slate::gap::{FrameAction, GapPolicy, SlatePoll};

use super::clock::wall_now;
use super::relay::Relay;
use super::stats::Stats;
use super::targets::Targets;
use crate::faults::Faults;

/// Maximum number of contributions whose health is kept. Beyond it the oldest is dropped.
const MAX_HEALTH: usize = 16;

pub(super) struct Input {
    pub(super) programme: Programme,
    /// Encodes the programme, unless it is passthrough.
    pub(super) ladder: Option<Ladder>,
    /// Feeds the targets of a transcoded broadcast that receive the source; `None` until there is one.
    pub(super) relay: Option<Relay>,
    pub(super) targets: Arc<Targets>,
    /// Images of the slate; `None` if the live stream has none.
    pub(super) slate: Option<SlateImages>,
    /// Tracks of the current contribution, for a relay that joins it.
    tracks: Vec<Track>,
    /// Start of the broadcast, from which the programme's clock counts.
    started_at: Instant,
    /// Whether the video of contributions is ignored.
    audio_only: bool,
    /// The contribution whose frames are accepted.
    pub(super) current: Option<ContributionId>,
    /// Number of segments that were closed when the current contribution began, or when it ended a gap.
    pub(super) segments_before: u64,
    /// The track whose key frames are counted.
    video: Option<TrackId>,
    pub(super) stats: Stats,
    /// Health of the contributions, the current one last.
    pub(super) health: VecDeque<Health>,
    /// Whether the current batch ended a gap, so that its segments follow those of the slate.
    pub(super) gap_ended: bool,
    /// Output of the programme, kept between batches so that a frame costs no allocation.
    pub(super) output: Vec<slate::Item>,
}

impl Input {
    /// Creates the input of a passthrough broadcast, see [`Input::transcode`].
    pub(super) fn new(
        gap_policy: Option<GapPolicy>,
        audio_only: bool,
        targets: Arc<Targets>,
        slate: Option<SlateImages>,
    ) -> Self {
        Self {
            programme: Programme::for_passthrough(gap_policy),
            ladder: None,
            relay: None,
            targets,
            slate,
            tracks: Vec::new(),
            started_at: Instant::now(),
            audio_only,
            current: None,
            segments_before: 0,
            video: None,
            stats: Stats::default(),
            health: VecDeque::new(),
            gap_ended: false,
            output: Vec::new(),
        }
    }

    /// Transcodes the programme, which has not begun.
    pub(super) fn transcode(&mut self, ladder: Ladder) {
        self.programme = Programme::for_transcode();
        self.ladder = Some(ladder);
    }

    /// Makes `contribution` the current one. Silence that completes the audio before a gap is left in `output`.
    pub(super) fn begin(&mut self, contribution: ContributionId) {
        self.current = Some(contribution);
        self.tracks.clear();
        self.programme.begin(&mut self.output);
        if let Some(ladder) = &self.ladder {
            ladder.begin();
        }
        if let Some(relay) = &mut self.relay {
            relay.begin(self.targets.source());
        }
        self.stats.begin();
        if self.health.len() == MAX_HEALTH {
            self.health.pop_front();
        }
        self.health.push_back(Health::new(Instant::now()));
    }

    /// Returns the time since the broadcast began, which is the clock of its [`Programme`].
    pub(super) fn elapsed(&self) -> TimeDelta {
        TimeDelta::from_duration(self.started_at.elapsed())
    }

    /// Packages a batch of a contribution without transcoding it.
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
                    if let Some(metadata) = self.programme.metadata(metadata) {
                        self.targets.source().metadata(&metadata);
                        packager.metadata(metadata);
                    }
                }
                Item::Fault(report) => faults.record(report),
                Item::VideoExpected if self.audio_only => {}
                Item::VideoExpected => {
                    self.programme.expect_video();
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

    /// Passes the output of the programme to the packager.
    pub(super) fn package(
        &mut self,
        packager: &mut Packager,
        arrival: impl Fn(&Frame) -> WallTime,
        faults: &Faults,
    ) -> Result<(), packager::Error> {
        let source = self.targets.source();
        self.output.drain(..).inspect(|item| source.push(item)).try_for_each(|item| match item {
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
    pub(super) fn encode(&mut self, items: &mut Vec<Item>, ladder: &Ladder, faults: &Faults) {
        for item in items.drain(..) {
            match item {
                Item::Metadata(metadata) => {
                    if let Some(relay) = &self.relay {
                        relay.metadata(metadata.clone(), self.targets.source());
                    }
                    self.programme.metadata(metadata).into_iter().for_each(|metadata| ladder.metadata(metadata));
                }
                Item::Fault(report) => faults.record(report),
                Item::VideoExpected => {
                    ladder.expect_video();
                    self.relay.iter_mut().for_each(|relay| relay.programme.expect_video());
                }
                Item::Track(track) => {
                    self.relay_track(&track);
                    self.track(track);
                }
                Item::Frame(frame) => {
                    let now = self.elapsed();
                    if let Some(relay) = &mut self.relay {
                        relay.frame(frame.clone(), now, self.targets.source());
                    }
                    self.frame(frame);
                }
            }
            self.output.drain(..).for_each(|item| match item {
                slate::Item::Fault(report) => faults.record(report),
                item => ladder.push(item),
            });
        }
    }

    /// Starts to relay the encoder's own frames of a transcoded broadcast. Returns whether that begins now.
    pub(super) fn start_relay(&mut self, gap_policy: Option<GapPolicy>) -> bool {
        let begins = self.ladder.is_some() && self.relay.is_none();
        if begins {
            self.relay = Some(Relay::new(gap_policy, &self.tracks, self.targets.source()));
        }
        begins
    }

    /// Returns the policy that fills gaps with a slate in the encoder's own codecs.
    pub(super) fn gap_policy_mut(&mut self) -> Option<&mut GapPolicy> {
        self.relay.as_mut().map_or(&mut self.programme, |relay| &mut relay.programme).gap_policy_mut()
    }

    /// Passes on the slate's frames that are due now; `None` without a slate. Those of a passthrough broadcast are left in
    /// `output`.
    pub(super) fn poll_slate(&mut self) -> Option<SlatePoll> {
        let now = self.elapsed();
        match &mut self.relay {
            Some(relay) => relay.poll(now, self.targets.source()),
            None => self.programme.poll(now, &mut self.output),
        }
    }

    fn relay_track(&mut self, track: &Track) {
        self.tracks.retain(|known| known.id != track.id);
        self.tracks.push(track.clone());
        if let Some(relay) = &mut self.relay {
            relay.track(track.clone(), self.targets.source());
        }
    }

    fn track(&mut self, track: Track) {
        if track.kind() == Kind::Video {
            self.video = Some(track.id);
        }
        self.programme.track(track, &mut self.output);
    }

    fn frame(&mut self, frame: Frame) {
        let keyframe = self.video == Some(frame.track) && frame.access != Access::Dependent;
        self.stats.frame(keyframe);
        if let Some(health) = self.health.back_mut() {
            health.frame(frame.dts, keyframe, Instant::now());
        }
        let action = self.programme.frame(frame, self.elapsed(), &mut self.output);
        self.gap_ended |= matches!(action, FrameAction::Resume { .. });
    }
}
