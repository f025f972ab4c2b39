//! One broadcast: from the frames of its contributions to the packaged log that viewers read.
//!
//! The task of a contribution carries each batch of frames all the way: splice, packager, window. There is no queue in
//! between that could grow, and nothing a viewer does is on this path.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ingest::health::Health;
use ingest::{Item, LinkFigures, Stop};
use media::id::{BroadcastId, ContributionId, LiveStreamId};
use media::{Access, Kind, LatencyMode, TrackId, WallTime};
use packager::Packager;
use packager::log::Event;
use parking_lot::Mutex;
use slate::Splice;
use tracing::{error, warn};

use crate::figures::Figures;

/// Contributions of a broadcast whose health is kept; beyond that the oldest one's goes.
const HEALTH_KEPT: usize = 16;

/// A broadcast that is running or has just ended.
pub(crate) struct Broadcast {
    pub(crate) id: BroadcastId,
    pub(crate) stream: LiveStreamId,
    pub(crate) origin: Arc<origin::Broadcast>,
    audio_only: bool,
    programme: Mutex<Programme>,
}

struct Programme {
    splice: Splice,
    packager: Packager,
    /// The contribution whose frames are taken; those of one that was taken over are not.
    current: Option<ContributionId>,
    /// The track whose key frames are counted.
    video: Option<TrackId>,
    figures: Figures,
    /// How the contributions did, the current one last.
    health: VecDeque<Health>,
    ended: bool,
    // Kept between batches so that a frame costs no allocation.
    spliced: Vec<slate::Item>,
    events: Vec<Event>,
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
    Unusable(Stop),
}

impl Broadcast {
    pub(crate) fn new(id: BroadcastId, stream: LiveStreamId, mode: LatencyMode, audio_only: bool) -> Self {
        let origin = Arc::new(origin::Broadcast::new(id.clone()));
        let programme = Programme {
            splice: Splice::new(),
            packager: Packager::new(packager::Config { mode }),
            current: None,
            video: None,
            figures: Figures::default(),
            health: VecDeque::new(),
            ended: false,
            spliced: Vec::new(),
            events: Vec::new(),
        };
        Self { id, stream, origin, audio_only, programme: Mutex::new(programme) }
    }

    /// Makes `contribution` the one whose frames count.
    pub(crate) fn begin(&self, contribution: ContributionId) {
        let mut programme = self.programme.lock();
        programme.current = Some(contribution);
        programme.splice.begin();
        programme.figures.begin();
        if programme.health.len() == HEALTH_KEPT {
            programme.health.pop_front();
        }
        programme.health.push_back(Health::new(Instant::now()));
    }

    /// Takes a batch of frames through to the window.
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
        let arrival = wall_now();
        let mut refused = None;
        for item in items.drain(..) {
            if let Err(error) = programme.take(item, arrival, self.audio_only) {
                // Its successor may do better.
                warn!(stream = %self.stream, %contribution, %error, "the contribution is refused");
                programme.current = None;
                refused = Some(stop_for(&error));
                break;
            }
        }
        programme.events.extend(std::iter::from_fn(|| programme.packager.poll()));
        let playable = programme.events.iter().any(|event| matches!(event, Event::Segment(_)));
        self.origin.append(&programme.events);
        programme.events.clear();
        if let Some(stop) = refused {
            return Outcome::Unusable(stop);
        }
        if playable { Outcome::Playable } else { Outcome::Taken }
    }

    /// Notes how the link of the contribution does whose frames count.
    pub(crate) fn link(&self, contribution: &ContributionId, figures: &LinkFigures) {
        let mut programme = self.programme.lock();
        if programme.current.as_ref() == Some(contribution) {
            programme.figures.link = Some(*figures);
        }
    }

    /// Ends the playlists. Frames that come later are dropped.
    pub(crate) fn finish(&self) {
        let mut guard = self.programme.lock();
        let programme = &mut *guard;
        if !std::mem::replace(&mut programme.ended, true) {
            if let Err(error) = programme.packager.end() {
                error!(stream = %self.stream, %error, "the last part of the broadcast is lost");
            }
            programme.events.extend(std::iter::from_fn(|| programme.packager.poll()));
            self.origin.append(&programme.events);
            programme.events.clear();
        }
    }

    /// The stream's figures as they stand.
    pub(crate) fn figures(&self) -> Figures {
        let programme = self.programme.lock();
        let mut figures = programme.figures.clone();
        figures.repairs = programme.splice.repairs();
        figures.drift = programme.health.back().map(Health::drift).unwrap_or_default();
        figures
    }
}

impl Programme {
    fn take(&mut self, item: Item, arrival: WallTime, audio_only: bool) -> Result<(), packager::Error> {
        match item {
            Item::Track(track) if audio_only && track.kind() == Kind::Video => {}
            Item::Track(track) => {
                if track.kind() == Kind::Video {
                    self.video = Some(track.id);
                }
                self.splice.track(track, &mut self.spliced);
            }
            Item::Frame(frame) => {
                let keyframe = self.video == Some(frame.track) && frame.access != Access::Dependent;
                self.figures.frame(keyframe);
                if let Some(health) = self.health.back_mut() {
                    health.frame(frame.dts, keyframe, Instant::now());
                }
                self.splice.frame(frame, &mut self.spliced);
            }
            Item::Metadata(metadata) => {
                if let Some(metadata) = self.splice.metadata(metadata) {
                    self.packager.metadata(metadata);
                }
            }
        }
        for item in self.spliced.drain(..) {
            match item {
                slate::Item::Track(track) => self.packager.add_track(track),
                slate::Item::Frame(frame) => self.packager.push(frame, arrival),
                slate::Item::Discontinuity => self.packager.discontinuity(),
            }?;
        }
        Ok(())
    }
}

const fn stop_for(error: &packager::Error) -> Stop {
    match error {
        packager::Error::LongGop { .. } => Stop::LongGop,
        packager::Error::Record(_) | packager::Error::Init(_) | packager::Error::Fragment(_) => Stop::Unpackageable,
    }
}

/// The wall clock, read at the edge only.
pub(crate) fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
