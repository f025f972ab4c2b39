//! One broadcast: from the frames of its contributions to the packaged log that viewers read.
//!
//! The task of a contribution carries each batch of frames all the way where they are passed through: splice, packager,
//! window. There is no queue in between that could grow, and nothing a viewer does is on this path. Where they are encoded
//! it carries them as far as the ladder, whose threads do the rest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use control::lifecycle::Warning;
use ingest::health::Health;
use ingest::{DisconnectReason, Item, LinkStats};
use media::id::{BroadcastId, ContributionId, LiveStreamId};
use media::{Access, Frame, Kind, LatencyMode, TimeDelta, Timescale, TrackId, WallTime};
use packager::Packager;
use parking_lot::Mutex;
use slate::{Intake, Splice};
use tracing::{error, info, warn};

use crate::encoding::Encoding;
use crate::faults::{Faults, Warn};
use crate::figures::Figures;
use crate::gaps::{self, Arrival, Gaps, Made, Order, Verdict};
use crate::packaging::Packaging;

/// Contributions of a broadcast whose health is kept; beyond that the oldest one's goes.
const HEALTH_KEPT: usize = 16;

/// A broadcast that is running or has just ended.
pub(crate) struct Broadcast {
    pub(crate) id: BroadcastId,
    pub(crate) stream: LiveStreamId,
    audio_only: bool,
    packaging: Arc<Packaging>,
    faults: Arc<Faults>,
    programme: Mutex<Programme>,
}

struct Programme {
    /// SpliceStats the timestamps of the current contribution.
    intake: Intake,
    splice: Splice,
    /// Encodes what is not passed through.
    encoding: Option<Encoding>,
    /// Fills the gaps of what is passed through, where a slate is asked for.
    gaps: Option<Gaps>,
    /// What the gaps' clock counts from.
    clock: Instant,
    /// The contribution whose frames are taken; those of one that was taken over are not.
    current: Option<ContributionId>,
    /// Segments that were closed before it came.
    before: u64,
    /// The track whose key frames are counted.
    video: Option<TrackId>,
    figures: Figures,
    /// How the contributions did, the current one last.
    health: VecDeque<Health>,
    ended: bool,
    /// The batch in hand ended a gap: its segments come behind those of the slate.
    is_back: bool,
    // Kept between batches so that a frame costs no allocation.
    spliced: Vec<slate::Item>,
}

/// How a programme is made.
pub(crate) enum Making {
    /// It is passed through, with a slate in its gaps or without.
    PassedThrough(Option<ladder::SlateImages>),
    /// It is encoded.
    Encoded(ladder::Settings),
}

/// What is to be done for the gaps of a broadcast.
pub(crate) struct Tending {
    /// How long to wait before the next look.
    pub(crate) sleep: Duration,
    /// What is to be made for a slate.
    pub(crate) order: Option<Order>,
}

/// What a batch brought about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Frames were taken.
    Taken,
    /// Frames were taken, and a segment of this contribution is there to be played.
    Playable,
    /// The contribution is not the current one.
    Stale,
    /// Nothing sound can follow from this contribution: it must end.
    Unusable(DisconnectReason),
}

impl Broadcast {
    pub(crate) fn new(
        id: BroadcastId,
        stream: LiveStreamId,
        mode: LatencyMode,
        audio_only: bool,
        making: Making,
        warn: Warn,
    ) -> Self {
        let faults = Arc::new(Faults::new(stream.clone(), warn));
        let origin = Arc::new(origin::Broadcast::new(id.clone()));
        // What has a slate goes on by itself, but not at once.
        let max_stall = match &making {
            Making::Encoded(..) => slate::continuity::VIDEO_TIMEOUT,
            Making::PassedThrough(Some(_)) => slate::filler::gap_timeout(mode),
            Making::PassedThrough(None) => TimeDelta::ZERO,
        };
        let packaging = Arc::new(Packaging::new(packager::Config { mode, max_stall }, origin, Arc::clone(&faults)));
        let (encoding, gaps) = match making {
            Making::PassedThrough(slate) => (None, slate.map(|slate| Gaps::new(mode, slate))),
            Making::Encoded(settings) => {
                let started = Encoding::start(settings, stream.clone(), Arc::clone(&packaging), Arc::clone(&faults));
                let failed = |error: &_| error!(%stream, %error, "the programme is passed through, not encoded");
                (started.inspect_err(failed).ok(), None)
            }
        };
        let programme = Programme {
            intake: Intake::default(),
            splice: if encoding.is_some() { Splice::new() } else { Splice::for_passthrough() },
            encoding,
            gaps,
            clock: Instant::now(),
            current: None,
            before: 0,
            video: None,
            figures: Figures::default(),
            health: VecDeque::new(),
            ended: false,
            is_back: false,
            spliced: Vec::new(),
        };
        Self { id, stream, audio_only, packaging, faults, programme: Mutex::new(programme) }
    }

    /// What viewers read.
    pub(crate) fn origin(&self) -> &Arc<origin::Broadcast> {
        &self.packaging.origin
    }

    /// Makes `contribution` the one whose frames count.
    pub(crate) fn begin(&self, contribution: ContributionId) {
        let mut programme = self.programme.lock();
        self.faults.begin();
        self.leave_last(&mut programme);
        programme.current = Some(contribution);
        programme.before = self.packaging.segments();
        programme.splice.begin();
        programme.intake = Intake::default();
        if let Some(encoding) = &programme.encoding {
            encoding.ladder.begin();
        }
        programme.figures.begin();
        if programme.health.len() == HEALTH_KEPT {
            programme.health.pop_front();
        }
        programme.health.push_back(Health::new(Instant::now()));
    }

    /// Takes a batch of frames through to the window, or to the ladder.
    pub(crate) fn push(&self, contribution: &ContributionId, items: &mut Vec<Item>, bytes: usize) -> Outcome {
        let mut guard = self.programme.lock();
        let programme = &mut *guard;
        if programme.ended || programme.current.as_ref() != Some(contribution) {
            items.clear();
            return Outcome::Stale;
        }
        programme.figures.bytes(bytes);
        if let Some(health) = programme.health.back_mut() {
            health.bytes(bytes, Instant::now());
        }
        let taken = match programme.encoding.take() {
            None => self.packaging.write(|packager| programme.pass_through(items, self, packager)).map_err(|error| {
                warn!(stream = %self.stream, %contribution, %error, "the contribution is refused");
                stop_for(&error)
            }),
            Some(encoding) => {
                programme.encode(items, &encoding.ladder, &self.faults);
                let failed = encoding.has_failed();
                programme.encoding = Some(encoding);
                if failed { Err(DisconnectReason::Unpackageable) } else { Ok(()) }
            }
        };
        items.clear();
        match taken {
            Err(stop) => {
                // Its successor may do better.
                programme.current = None;
                Outcome::Unusable(stop)
            }
            Ok(()) if std::mem::take(&mut programme.is_back) => {
                programme.before = self.packaging.segments();
                Outcome::Taken
            }
            Ok(()) if programme.gaps.as_ref().is_some_and(Gaps::is_away) => Outcome::Taken,
            Ok(()) if self.packaging.segments() > programme.before => Outcome::Playable,
            Ok(()) => Outcome::Taken,
        }
    }

    /// The contribution has left.
    pub(crate) fn gone(&self, contribution: &ContributionId) {
        let programme = self.programme.lock();
        if let Some(encoding) = programme.encoding.as_ref().filter(|_| programme.current.as_ref() == Some(contribution))
        {
            encoding.ladder.gone();
        }
    }

    /// Another slate picture, from the next gap on.
    pub(crate) fn set_slate(&self, slate: ladder::SlateImages) {
        let mut programme = self.programme.lock();
        if let Some(gaps) = &mut programme.gaps {
            gaps.set_slate(slate);
        } else if let Some(encoding) = &programme.encoding {
            encoding.ladder.set_slate(slate);
        }
    }

    /// Fills a gap as far as it is due; none where nothing will ever have to be filled.
    pub(crate) fn tend(&self) -> Option<Tending> {
        let mut guard = self.programme.lock();
        let programme = &mut *guard;
        let gaps = programme.gaps.as_mut().filter(|_| !programme.ended)?;
        let now = elapsed(programme.clock);
        let (wake, late) = gaps.poll(now, &mut programme.splice, &mut programme.spliced);
        let order = gaps.order();
        self.write_spliced(programme, wall_now().shifted(TimeDelta::ZERO - late));
        let micros = Timescale::new(1_000_000).delta_ticks(wake - elapsed(programme.clock));
        Some(Tending { sleep: Duration::from_micros(u64::try_from(micros).unwrap_or(0)), order })
    }

    /// Takes what was made for a slate; gives what its owner is to know where something could not be.
    pub(crate) fn made(&self, made: Made) -> Option<Warning> {
        let failed = self.programme.lock().gaps.as_mut().and_then(|gaps| gaps.take(made));
        match &failed {
            Some(error) => warn!(stream = %self.stream, %error, "there is no slate as it was asked for"),
            None => info!(stream = %self.stream, "the slate is ready"),
        }
        failed.map(|error| gaps::warning(&error))
    }

    /// The last contribution's media is over; what fills the gap up to the next one goes on where that ended.
    fn leave_last(&self, programme: &mut Programme) {
        if let Some(gaps) = programme.gaps.as_mut().filter(|_| !programme.ended) {
            gaps.begin(&mut programme.splice, &mut programme.spliced);
            self.write_spliced(programme, wall_now());
        }
    }

    /// Packages what stands in for media; the first frame of it was due at `arrival`, the others as they are dated.
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
        if let Err(error) = self.packaging.write(|packager| programme.hand_over(packager, due, &self.faults)) {
            error!(stream = %self.stream, %error, "the slate cannot be packaged: there is none from now on");
            programme.gaps = None;
        }
    }

    /// Notes how the link of the contribution does whose frames count.
    pub(crate) fn link(&self, contribution: &ContributionId, figures: &LinkStats) {
        let mut programme = self.programme.lock();
        if programme.current.as_ref() == Some(contribution) {
            programme.figures.link = Some(*figures);
        }
    }

    /// Ends the broadcast: frames that come later are dropped. Gives the ladder, where there is one: that has to be drained.
    #[must_use]
    pub(crate) fn finish(&self) -> Option<Encoding> {
        let mut programme = self.programme.lock();
        programme.ended = true;
        programme.encoding.take()
    }

    /// Publishes the last media; what is inside the ladder comes out first, which is waited for. True if the playlists are
    /// to [end](Self::end) a moment later: players take what they learn of together with the end for unneeded.
    pub(crate) fn drain(&self, encoding: Option<Encoding>) -> bool {
        encoding.into_iter().for_each(|encoding| encoding.ladder.finish());
        let drained = self.packaging.last_parts();
        drained
            .inspect_err(|error| error!(stream = %self.stream, %error, "the last part of the broadcast is lost"))
            .unwrap_or(false)
    }

    /// Ends the playlists.
    pub(crate) fn end(&self) {
        if let Err(error) = self.packaging.end() {
            error!(stream = %self.stream, %error, "the last part of the broadcast is lost");
        }
    }

    /// The stream's figures as they stand.
    pub(crate) fn figures(&self) -> Figures {
        let programme = self.programme.lock();
        let mut figures = programme.figures.clone();
        figures.faults = self.faults.totals();
        figures.live_edge = self.packaging.live_edge(wall_now());
        figures.repairs = programme.splice.stats();
        figures.drift = programme.health.back().map(Health::drift).unwrap_or_default();
        figures.slate_frames = programme.gaps.as_ref().map(Gaps::shown);
        figures.ladder = programme.encoding.as_ref().map(|encoding| encoding.ladder.stats());
        figures
    }
}

impl Programme {
    fn pass_through(
        &mut self,
        items: &mut Vec<Item>,
        broadcast: &Broadcast,
        packager: &mut Packager,
    ) -> Result<(), packager::Error> {
        let arrival = wall_now();
        for item in items.drain(..) {
            if let Item::Metadata(metadata) = item {
                let live = self.gaps.as_ref().is_none_or(|gaps| !gaps.is_away());
                let metadata = self.intake.metadata(metadata);
                if let Some(metadata) = self.splice.metadata(metadata).filter(|_| live) {
                    packager.metadata(metadata);
                }
                continue;
            }
            if let Item::Fault(report) = item {
                broadcast.faults.record(report);
                continue;
            }
            if item == Item::VideoExpected {
                if !broadcast.audio_only {
                    self.gaps.as_mut().into_iter().for_each(Gaps::expect_video);
                    packager.expect_video();
                }
                continue;
            }
            self.splice(item, broadcast.audio_only);
            self.hand_over(packager, |_| arrival, &broadcast.faults)?;
        }
        Ok(())
    }

    /// Gives the packager what is laid on the timeline.
    fn hand_over(
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

    fn encode(&mut self, items: &mut Vec<Item>, ladder: &ladder::Ladder, faults: &Faults) {
        for item in items.drain(..) {
            if let Item::Metadata(metadata) = item {
                let metadata = self.intake.metadata(metadata);
                self.splice.metadata(metadata).into_iter().for_each(|metadata| ladder.metadata(metadata));
                continue;
            }
            if let Item::Fault(report) = item {
                faults.record(report);
                continue;
            }
            if item == Item::VideoExpected {
                ladder.expect_video();
                continue;
            }
            self.splice(item, false);
            self.spliced.drain(..).for_each(|item| match item {
                slate::Item::Fault(report) => faults.record(report),
                item => ladder.push(item),
            });
        }
    }

    /// Lays tracks and frames on the programme's timeline.
    fn splice(&mut self, item: Item, audio_only: bool) {
        match item {
            Item::Track(track) if audio_only && track.kind() == Kind::Video => {}
            Item::Track(track) => {
                if track.kind() == Kind::Video {
                    self.video = Some(track.id);
                }
                if let Some(gaps) = &mut self.gaps {
                    gaps.track(&track);
                }
                self.intake.track(&track);
                self.splice.track(track, &mut self.spliced);
                if self.gaps.as_ref().is_some_and(Gaps::is_away) {
                    // It is told again when the slate ends.
                    self.spliced.retain(|item| matches!(item, slate::Item::Fault(_)));
                }
            }
            Item::Frame(frame) => {
                let keyframe = self.video == Some(frame.track) && frame.access != Access::Dependent;
                self.figures.frame(keyframe);
                if let Some(health) = self.health.back_mut() {
                    health.frame(frame.dts, keyframe, Instant::now());
                }
                self.lay(frame);
            }
            // They go their own way.
            Item::Metadata(_) | Item::Fault(_) | Item::VideoExpected => {}
        }
    }

    /// Lays a frame on the timeline, unless it comes into a gap that it cannot end.
    fn lay(&mut self, frame: Frame) {
        let now = elapsed(self.clock);
        let frame = self.intake.frame(frame, now, &mut self.spliced);
        let track = self.gaps.as_ref().and_then(|_| self.splice.tracks().find(|track| track.id == frame.track));
        let kind = track.map(media::Track::kind);
        let Some((gaps, kind)) = self.gaps.as_mut().zip(kind) else {
            self.splice.frame(frame, &mut self.spliced);
            return;
        };
        let lateness = self.intake.lateness(&frame, now);
        match gaps.frame(Arrival { frame: &frame, kind, now, lateness }, &mut self.spliced) {
            Verdict::Drop => return,
            Verdict::Back(end) => {
                self.is_back = true;
                self.splice.advance(end, &mut self.spliced);
            }
            Verdict::Pass => {}
        }
        self.splice.frame(frame, &mut self.spliced);
        let captured = self.splice.offset().zip(self.intake.least_delay());
        gaps.passed(captured.map(|(offset, delay)| offset - delay));
    }
}

/// Time since an instant, as the floors below count it.
fn elapsed(since: Instant) -> TimeDelta {
    Timescale::new(1_000_000).delta(i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX))
}

const fn stop_for(error: &packager::Error) -> DisconnectReason {
    match error {
        packager::Error::LongGop { .. } => DisconnectReason::LongGop,
        packager::Error::Record(_) | packager::Error::Init(_) | packager::Error::Fragment(_) => {
            DisconnectReason::Unpackageable
        }
    }
}

/// The wall clock, read at the edge only.
pub(crate) fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
