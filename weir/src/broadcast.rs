//! One broadcast: from the frames of its contributions to the packaged log that viewers read.
//!
//! In a passthrough programme the task of a contribution carries each batch of frames all the way: splice, packager,
//! window. There is no queue on this path that could grow. If the programme is transcoded, the task carries the batch
//! as far as the ladder, whose threads do the rest.

mod clip_cache;
mod clock;
mod input;
mod relay;
mod state;
mod stats;
mod targets;
mod transcode;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::lifecycle::Warning;
use control::{SimulcastRendition, SimulcastTargetSettings};
use ingest::health::Health;
use ingest::{DisconnectReason, Item, LinkStats};
use ladder::Ladder;
use media::id::{BroadcastId, ContributionId, LiveStreamId};
use media::{Frame, LatencyMode, TimeDelta, WallTime};
use packager::Packager;
use parking_lot::Mutex;
use simulcast::Events;
use slate::gap::{ClipRequest, ClipResult, GapPolicy};
use tracing::{error, info, warn};

use crate::faults::{Faults, Warn};
pub(crate) use clip_cache::ClipCache;
use clock::wall_now;
use input::Input;
use state::{Phase, State};
pub(crate) use stats::Stats;
pub(crate) use targets::Targets;
pub(crate) use transcode::level;
use writer::BroadcastWriter;

/// A broadcast that is running or has just ended.
pub(crate) struct Broadcast {
    pub(crate) id: BroadcastId,
    pub(crate) stream: LiveStreamId,
    origin: Arc<origin::Broadcast>,
    faults: Arc<Faults>,
    targets: Arc<Targets>,
    mode: LatencyMode,
    state: Arc<Mutex<State>>,
}

/// Settings of a broadcast.
pub(crate) struct Settings {
    pub(crate) id: BroadcastId,
    pub(crate) stream: LiveStreamId,
    pub(crate) mode: LatencyMode,
    pub(crate) audio_only: bool,
    pub(crate) processing: Processing,
    /// Images of the slate; `None` if the live stream has none.
    pub(crate) slate: Option<ladder::SlateImages>,
}

/// Processing of the contributions into a programme.
pub(crate) enum Processing {
    /// The encoder's frames are packaged as they are, with a slate in their gaps if there are images for it.
    Passthrough,
    /// The programme is decoded and encoded again by a ladder.
    Transcode(ladder::Settings),
}

/// Result of [`Broadcast::poll`].
pub(crate) struct NextPoll {
    /// Time until the next poll.
    pub(crate) sleep: Duration,
    /// A slate clip to make, for [`Broadcast::take_clip`].
    pub(crate) clip_request: Option<ClipRequest>,
}

/// Result of [`Broadcast::push`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PushResult {
    /// The frames were accepted.
    Accepted,
    /// The frames were accepted, and viewers can play a segment of this contribution.
    Playable,
    /// The frames were discarded, because the contribution is not the current one.
    Superseded,
    /// The contribution must end, because its media cannot be packaged any further.
    Rejected(DisconnectReason),
}

impl Broadcast {
    pub(crate) fn new(settings: Settings, targets: Targets, warn: Warn) -> Self {
        let Settings { id, stream, mode, audio_only, processing, slate } = settings;
        let faults = Arc::new(Faults::new(stream.clone(), warn));
        let origin = Arc::new(origin::Broadcast::new(id.clone()));
        // The longest time for which a programme without media stops, before a repeated frame or the slate continues
        // it.
        let max_stall = match &processing {
            Processing::Transcode(..) => slate::continuity::VIDEO_TIMEOUT,
            Processing::Passthrough if slate.is_some() => slate::filler::gap_timeout(mode),
            Processing::Passthrough => TimeDelta::ZERO,
        };
        let config = packager::Config { mode, max_stall };
        let writer = BroadcastWriter::new(config, Arc::clone(&origin), Arc::clone(&faults), wall_now());
        let targets = Arc::new(targets);
        let is_passthrough = matches!(processing, Processing::Passthrough);
        let gap_policy = slate.clone().filter(|_| is_passthrough).map(|images| GapPolicy::new(mode, images));
        let input = Input::new(gap_policy, audio_only, Arc::clone(&targets), slate);
        let state = Arc::new(Mutex::new(State { phase: Phase::Running, input, writer, has_ladder_failed: false }));
        let broadcast = Self { id, stream, origin, faults, targets, mode, state };
        if let Processing::Transcode(settings) = processing {
            broadcast.transcode(settings);
        }
        broadcast
    }

    /// Starts the ladder, before the first contribution.
    fn transcode(&self, settings: ladder::Settings) {
        let output = transcode::Destination {
            stream: self.stream.clone(),
            state: Arc::clone(&self.state),
            faults: Arc::clone(&self.faults),
            targets: Arc::clone(&self.targets),
        };
        match transcode::start(settings, output) {
            Ok(ladder) => self.state.lock().input.transcode(ladder),
            Err(error) => {
                error!(stream = %self.stream, %error, "transcoding failed, the programme is passed through");
            }
        }
    }

    /// Returns the viewers' side of the broadcast.
    pub(crate) fn origin(&self) -> &Arc<origin::Broadcast> {
        &self.origin
    }

    /// Makes `contribution` the one whose frames are accepted. If there is a slate, a gap opens where the media of the
    /// previous contribution ended.
    pub(crate) fn begin(&self, contribution: ContributionId) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.phase != Phase::Running {
            return;
        }
        self.faults.begin();
        state.input.begin(contribution);
        self.write_output(state, wall_now());
        state.input.segments_before = state.writer.segments();
    }

    /// Passes a batch of frames through to the window, or to the ladder.
    pub(crate) fn push(&self, contribution: &ContributionId, items: &mut Vec<Item>, bytes: usize) -> PushResult {
        let mut guard = self.state.lock();
        let State { phase, input, writer, has_ladder_failed } = &mut *guard;
        if *phase != Phase::Running || input.current.as_ref() != Some(contribution) {
            items.clear();
            return PushResult::Superseded;
        }
        input.stats.bytes(bytes);
        if let Some(health) = input.health.back_mut() {
            health.bytes(bytes, Instant::now());
        }
        let outcome = match input.ladder.take() {
            None => {
                let written = writer.write(|packager| input.pass_through(items, packager, &self.faults));
                written.map_err(|error| {
                    warn!(stream = %self.stream, %contribution, %error, "the contribution is rejected");
                    disconnect_reason(&error)
                })
            }
            Some(ladder) => {
                input.encode(items, &ladder, &self.faults);
                input.ladder = Some(ladder);
                if *has_ladder_failed { Err(DisconnectReason::Unpackageable) } else { Ok(()) }
            }
        };
        items.clear();
        match outcome {
            Err(reason) => {
                // Later frames of this contribution are discarded; another contribution may begin.
                input.current = None;
                PushResult::Rejected(reason)
            }
            Ok(()) if std::mem::take(&mut input.gap_ended) => {
                input.segments_before = writer.segments();
                PushResult::Accepted
            }
            Ok(()) if input.programme.is_in_gap() => PushResult::Accepted,
            Ok(()) if writer.segments() > input.segments_before => PushResult::Playable,
            Ok(()) => PushResult::Accepted,
        }
    }

    /// Notes that a contribution has ended, so that its last frames leave the decoders of a ladder.
    pub(crate) fn contribution_ended(&self, contribution: &ContributionId) {
        let input = &self.state.lock().input;
        let is_current = input.current.as_ref() == Some(contribution);
        if let Some(ladder) = input.ladder.as_ref().filter(|_| is_current) {
            ladder.gone();
        }
    }

    /// Sets other slate images, from the next gap on.
    pub(crate) fn set_slate(&self, images: ladder::SlateImages) {
        let input = &mut self.state.lock().input;
        if let Some(policy) = input.gap_policy_mut() {
            policy.set_images(images.clone());
        }
        if let Some(ladder) = &input.ladder {
            ladder.set_slate(images.clone());
        }
        input.slate = Some(images);
    }

    /// Adds a simulcast target, whose transitions `events` receives. Returns whether [`Broadcast::poll`] is needed from now
    /// on.
    pub(crate) fn add_target(&self, target: &SimulcastTargetSettings, events: Arc<dyn Events>) -> anyhow::Result<bool> {
        self.targets.add(target, events)?;
        if target.rendition != SimulcastRendition::Source {
            return Ok(false);
        }
        let input = &mut self.state.lock().input;
        let gap_policy = input.slate.clone().map(|images| GapPolicy::new(self.mode, images));
        let has_slate = gap_policy.is_some();
        Ok(input.start_relay(gap_policy) && has_slate)
    }

    /// Returns the simulcast targets.
    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Packages the slate's frames that are due; `None` once the broadcast has ended or has no slate any more.
    pub(crate) fn poll(&self) -> Option<NextPoll> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.phase != Phase::Running {
            return None;
        }
        let polled = state.input.poll_slate()?;
        let clip_request = state.input.gap_policy_mut().and_then(GapPolicy::clip_request);
        self.write_output(state, wall_now().shifted(TimeDelta::ZERO - polled.lateness));
        Some(NextPoll { sleep: (polled.wake_at - state.input.elapsed()).to_duration(), clip_request })
    }

    /// Takes the answer to a [`NextPoll::clip_request`]. Returns the warning for the live stream's owner if it failed.
    pub(crate) fn take_clip(&self, result: ClipResult<ladder::Error>) -> Option<Warning> {
        let failed = self.state.lock().input.gap_policy_mut().and_then(|policy| policy.take_clip(result));
        match &failed {
            Some(error) => warn!(stream = %self.stream, %error, "the slate could not be made as requested"),
            None => info!(stream = %self.stream, "the slate is ready"),
        }
        failed.as_ref().map(clip_cache::warning)
    }

    /// Packages the output of a gap. The slate's first frame was due at `arrival`, the others according to their
    /// timestamps.
    fn write_output(&self, state: &mut State, arrival: WallTime) {
        let State { input, writer, .. } = state;
        if input.output.is_empty() {
            return;
        }
        // Silence that completes the audio before the gap precedes the discontinuity, and was due earlier.
        let slate_start = input.output.iter().rposition(|item| *item == slate::Item::Discontinuity).unwrap_or(0);
        let first = input.output.iter().skip(slate_start).find_map(|item| match item {
            slate::Item::Frame(frame) => Some(frame.dts),
            _ => None,
        });
        let due = |frame: &Frame| first.map_or(arrival, |first| arrival.shifted(frame.dts - first));
        if let Err(error) = writer.write(|packager| input.package(packager, due, &self.faults)) {
            error!(stream = %self.stream, %error, "the slate cannot be packaged and is switched off");
            input.programme.remove_slate();
        }
    }

    /// Stores the stats of the current contribution's SRT connection.
    pub(crate) fn link(&self, contribution: &ContributionId, stats: &LinkStats) {
        let input = &mut self.state.lock().input;
        if input.current.as_ref() == Some(contribution) {
            input.stats.link = Some(*stats);
        }
    }

    /// Ends the broadcast, so that later frames are dropped. Returns the ladder, if any, for [`Broadcast::drain`].
    #[must_use]
    pub(crate) fn finish(&self) -> Option<Ladder> {
        let mut state = self.state.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Ending;
        }
        state.input.ladder.take()
    }

    /// Publishes the last media, after waiting for the output of the ladder. Returns whether [`Broadcast::end`] has to
    /// follow later, because players ignore media that they learn of together with the end.
    pub(crate) fn drain(&self, ladder: Option<Ladder>) -> bool {
        ladder.into_iter().for_each(Ladder::finish);
        let mut state = self.state.lock();
        if state.phase == Phase::Ended {
            return false;
        }
        state.writer.write(Packager::last_parts).unwrap_or_else(|error| {
            error!(stream = %self.stream, %error, "the last part of the broadcast is lost");
            false
        })
    }

    /// Ends the playlists.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        if let Err(error) = state.writer.write(Packager::end) {
            error!(stream = %self.stream, %error, "the last part of the broadcast is lost");
        }
    }

    /// Returns the current stats.
    pub(crate) fn stats(&self) -> Stats {
        let State { phase, input, writer, .. } = &*self.state.lock();
        let mut stats = input.stats.clone();
        stats.faults = self.faults.totals();
        stats.live_edge = writer.live_edge(wall_now()).filter(|_| *phase != Phase::Ended);
        stats.splice = input.programme.stats();
        stats.drift = input.health.back().map(Health::drift).unwrap_or_default();
        stats.slate_frames = input.programme.gap_policy().map(GapPolicy::slate_frames);
        stats.ladder = input.ladder.as_ref().map(Ladder::stats);
        stats
    }
}

const fn disconnect_reason(error: &packager::Error) -> DisconnectReason {
    match error {
        packager::Error::LongGop { .. } => DisconnectReason::LongGop,
        packager::Error::Record(_) | packager::Error::Init(_) | packager::Error::Fragment(_) => {
            DisconnectReason::Unpackageable
        }
    }
}
