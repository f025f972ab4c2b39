//! One broadcast: from the frames of its contributions to the packaged log that viewers read.
//!
//! In a passthrough programme the task of a contribution carries each batch of frames all the way: splice, packager, window.
//! There is no queue on this path that could grow. If the programme is transcoded, the task carries the batch as far as the
//! ladder, whose threads do the rest.

mod clip_cache;
mod clock;
mod programme;
mod stats;
mod transcode;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::lifecycle::Warning;
use ingest::health::Health;
use ingest::{DisconnectReason, Item, LinkStats};
use media::id::{BroadcastId, ContributionId, LiveStreamId};
use media::{Frame, LatencyMode, TimeDelta, WallTime};
use parking_lot::Mutex;
use slate::gap::{ClipRequest, ClipResult, GapPolicy};
use tracing::{error, info, warn};

use crate::faults::{Faults, Warn};
pub(crate) use clip_cache::ClipCache;
use clock::wall_now;
use programme::Programme;
pub(crate) use stats::Stats;
pub(crate) use transcode::{Transcode, level};
use writer::BroadcastWriter;

/// A broadcast that is running or has just ended.
pub(crate) struct Broadcast {
    pub(crate) id: BroadcastId,
    pub(crate) stream: LiveStreamId,
    writer: Arc<BroadcastWriter>,
    faults: Arc<Faults>,
    programme: Mutex<Programme>,
}

/// Processing of the contributions into a programme.
pub(crate) enum Processing {
    /// The encoder's frames are packaged as they are, with a slate in their gaps if there are images for it.
    Passthrough(Option<ladder::SlateImages>),
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
    pub(crate) fn new(
        id: BroadcastId,
        stream: LiveStreamId,
        mode: LatencyMode,
        audio_only: bool,
        processing: Processing,
        warn: Warn,
    ) -> Self {
        let faults = Arc::new(Faults::new(stream.clone(), warn));
        let origin = Arc::new(origin::Broadcast::new(id.clone()));
        // A programme with a slate continues by itself, but not at once.
        let max_stall = match &processing {
            Processing::Transcode(..) => slate::continuity::VIDEO_TIMEOUT,
            Processing::Passthrough(Some(_)) => slate::filler::gap_timeout(mode),
            Processing::Passthrough(None) => TimeDelta::ZERO,
        };
        let config = packager::Config { mode, max_stall };
        let writer = Arc::new(BroadcastWriter::new(config, origin, Arc::clone(&faults), wall_now()));
        let (transcode, gap_policy) = match processing {
            Processing::Passthrough(slate) => (None, slate.map(|images| GapPolicy::new(mode, images))),
            Processing::Transcode(settings) => {
                let started = Transcode::start(settings, stream.clone(), Arc::clone(&writer), Arc::clone(&faults));
                let failed = |error: &_| error!(%stream, %error, "transcoding failed, the programme is passed through");
                (started.inspect_err(failed).ok(), None)
            }
        };
        let programme = Mutex::new(Programme::new(transcode, gap_policy, audio_only));
        Self { id, stream, writer, faults, programme }
    }

    /// Returns the viewers' side of the broadcast.
    pub(crate) fn origin(&self) -> &Arc<origin::Broadcast> {
        &self.writer.origin
    }

    /// Makes `contribution` the one whose frames are accepted.
    pub(crate) fn begin(&self, contribution: ContributionId) {
        let mut programme = self.programme.lock();
        self.faults.begin();
        self.end_previous(&mut programme);
        programme.begin(contribution, self.writer.segments());
    }

    /// Passes a batch of frames through to the window, or to the ladder.
    pub(crate) fn push(&self, contribution: &ContributionId, items: &mut Vec<Item>, bytes: usize) -> PushResult {
        let mut guard = self.programme.lock();
        let programme = &mut *guard;
        if programme.ended || programme.current.as_ref() != Some(contribution) {
            items.clear();
            return PushResult::Superseded;
        }
        programme.stats.bytes(bytes);
        if let Some(health) = programme.health.back_mut() {
            health.bytes(bytes, Instant::now());
        }
        let taken = match programme.transcode.take() {
            None => {
                let written = self.writer.write(|packager| programme.pass_through(items, packager, &self.faults));
                written.map_err(|error| {
                    warn!(stream = %self.stream, %contribution, %error, "the contribution is rejected");
                    disconnect_reason(&error)
                })
            }
            Some(transcode) => {
                programme.encode(items, &transcode.ladder, &self.faults);
                let failed = transcode.has_failed();
                programme.transcode = Some(transcode);
                if failed { Err(DisconnectReason::Unpackageable) } else { Ok(()) }
            }
        };
        items.clear();
        match taken {
            Err(reason) => {
                // The next contribution may be accepted.
                programme.current = None;
                PushResult::Rejected(reason)
            }
            Ok(()) if std::mem::take(&mut programme.gap_ended) => {
                programme.segments_before = self.writer.segments();
                PushResult::Accepted
            }
            Ok(()) if programme.gap_policy.as_ref().is_some_and(GapPolicy::is_in_gap) => PushResult::Accepted,
            Ok(()) if self.writer.segments() > programme.segments_before => PushResult::Playable,
            Ok(()) => PushResult::Accepted,
        }
    }

    /// Notes that a contribution has ended.
    pub(crate) fn contribution_ended(&self, contribution: &ContributionId) {
        let programme = self.programme.lock();
        let is_current = programme.current.as_ref() == Some(contribution);
        if let Some(transcode) = programme.transcode.as_ref().filter(|_| is_current) {
            transcode.ladder.gone();
        }
    }

    /// Sets other slate images, from the next gap on.
    pub(crate) fn set_slate(&self, images: ladder::SlateImages) {
        let mut programme = self.programme.lock();
        if let Some(policy) = &mut programme.gap_policy {
            policy.set_images(images);
        } else if let Some(transcode) = &programme.transcode {
            transcode.ladder.set_slate(images);
        }
    }

    /// Fills a gap as far as it is due; `None` if no gap will have to be filled any more.
    pub(crate) fn poll(&self) -> Option<NextPoll> {
        let mut guard = self.programme.lock();
        let programme = &mut *guard;
        let now = programme.elapsed();
        let policy = programme.gap_policy.as_mut().filter(|_| !programme.ended)?;
        let polled = policy.poll(now, &mut programme.splice, &mut programme.spliced);
        let clip_request = policy.clip_request();
        self.write_spliced(programme, wall_now().shifted(TimeDelta::ZERO - polled.lateness));
        Some(NextPoll { sleep: (polled.wake_at - programme.elapsed()).to_duration(), clip_request })
    }

    /// Takes the answer to a [`NextPoll::clip_request`]. Returns the warning for the live stream's owner if it failed.
    pub(crate) fn take_clip(&self, result: ClipResult<ladder::Error>) -> Option<Warning> {
        let failed = self.programme.lock().gap_policy.as_mut().and_then(|policy| policy.take_clip(result));
        match &failed {
            Some(error) => warn!(stream = %self.stream, %error, "the slate could not be made as requested"),
            None => info!(stream = %self.stream, "the slate is ready"),
        }
        failed.as_ref().map(clip_cache::warning)
    }

    /// Ends the previous contribution's media. A slate continues where it ended, up to the next contribution.
    fn end_previous(&self, programme: &mut Programme) {
        if let Some(policy) = programme.gap_policy.as_mut().filter(|_| !programme.ended) {
            policy.begin(&mut programme.splice, &mut programme.spliced);
            self.write_spliced(programme, wall_now());
        }
    }

    /// Packages the slate's frames. The first of them was due at `arrival`, the others according to their timestamps.
    fn write_spliced(&self, programme: &mut Programme, arrival: WallTime) {
        if programme.spliced.is_empty() {
            return;
        }
        let clip = programme.spliced.iter().rposition(|item| *item == slate::Item::Discontinuity).unwrap_or(0);
        let first = programme.spliced.iter().skip(clip).find_map(|item| match item {
            slate::Item::Frame(frame) => Some(frame.dts),
            _ => None,
        });
        let due = |frame: &Frame| first.map_or(arrival, |first| arrival.shifted(frame.dts - first));
        if let Err(error) = self.writer.write(|packager| programme.package(packager, due, &self.faults)) {
            error!(stream = %self.stream, %error, "the slate cannot be packaged and is switched off");
            programme.gap_policy = None;
        }
    }

    /// Stores the stats of the current contribution's link.
    pub(crate) fn link(&self, contribution: &ContributionId, stats: &LinkStats) {
        let mut programme = self.programme.lock();
        if programme.current.as_ref() == Some(contribution) {
            programme.stats.link = Some(*stats);
        }
    }

    /// Ends the broadcast, so that later frames are dropped. Returns the ladder, if any, for [`Broadcast::drain`].
    #[must_use]
    pub(crate) fn finish(&self) -> Option<Transcode> {
        let mut programme = self.programme.lock();
        programme.ended = true;
        programme.transcode.take()
    }

    /// Publishes the last media, after waiting for the output of the ladder. Returns whether [`Broadcast::end`] has to follow
    /// later, because players ignore media that they learn of together with the end.
    pub(crate) fn drain(&self, transcode: Option<Transcode>) -> bool {
        transcode.into_iter().for_each(|transcode| transcode.ladder.finish());
        let drained = self.writer.last_parts();
        drained
            .inspect_err(|error| error!(stream = %self.stream, %error, "the last part of the broadcast is lost"))
            .unwrap_or(false)
    }

    /// Ends the playlists.
    pub(crate) fn end(&self) {
        if let Err(error) = self.writer.end() {
            error!(stream = %self.stream, %error, "the last part of the broadcast is lost");
        }
    }

    /// Returns the current stats.
    pub(crate) fn stats(&self) -> Stats {
        let programme = self.programme.lock();
        let mut stats = programme.stats.clone();
        stats.faults = self.faults.totals();
        stats.live_edge = self.writer.live_edge(wall_now());
        stats.splice = programme.splice.stats();
        stats.drift = programme.health.back().map(Health::drift).unwrap_or_default();
        stats.slate_frames = programme.gap_policy.as_ref().map(GapPolicy::slate_frames);
        stats.ladder = programme.transcode.as_ref().map(|transcode| transcode.ladder.stats());
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
