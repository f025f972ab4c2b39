//! Forwards the contribution's own frames in place of the reference rendition's, so that they are never encoded twice.
//!
//! Each frame that the decoder is given is queued here until its decoded image is presented on an output tick. The
//! frame then leaves with its PTS moved to that tick, and its DTS moved by as much. Images are presented in
//! presentation order and frames leave in decode order, so a frame that was presented may have to wait for others
//! before it.
//!
//! Ticks without a frame of the source (a repeated frame, the slate) are filled by an encoder that writes into the same
//! track, under one header (see [`SharedParameterSets`](super::parameter_sets::SharedParameterSets)). Frames of both
//! leave in the order of the ticks. The track returns to the source only at an IDR frame.

use std::collections::VecDeque;

use media::{Access, Frame, LatencyMode, TickGrid, TimeDelta, Timescale, Timestamp, TrackId};

use super::limits::SourceLimits;

/// Bounds on frames whose images were not presented yet. At a bound all of them are discarded, and the source is
/// forwarded again from its next IDR frame.
const MAX_FRAMES: usize = 600;
const MAX_BYTES: usize = 16 << 20;
/// Largest difference between the PTS of a frame and that of its decoded image, because GStreamer rounds to
/// nanoseconds.
const SAME: TimeDelta = TimeDelta::from_millis(1);
/// Least distance between decode times, where the frames themselves have nothing better.
const MIN_DTS_STEP: TimeDelta = TimeDelta::from_millis(1);
const FLICKS: Timescale = Timescale::new(705_600_000);

/// Source of what the track has on a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TickSource {
    /// The contribution's own frame.
    Passthrough {
        /// Whether the frame is an IDR frame. All renditions have their key frames at these ticks, and only there.
        key: bool,
    },
    /// A frame of the encoder.
    Encoder {
        /// Whether the frame has to be a key frame, because the source's frames ended at this tick.
        begins: bool,
    },
}

/// State of the frames that the contribution sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Intake {
    /// Their header is not the track's, or not known yet: frames are discarded.
    HeaderMismatch,
    /// The next IDR frame is queued, and those before it are discarded.
    AwaitingIdr,
    /// Frames are queued: none is missing since an IDR frame.
    Open,
}

/// Frames of a track, from the source and from the encoder that fills its gaps.
#[derive(Debug)]
pub(crate) struct Passthrough {
    track: TrackId,
    ticks: TickGrid,
    limits: SourceLimits,
    intake: Intake,
    /// Number of the current contribution.
    contribution: u32,
    /// Frames in decode order, from an IDR frame on.
    queued: VecDeque<QueuedFrame>,
    /// Bytes of the frames in `queued`.
    bytes: usize,
    /// Whether the newest tick has a frame of the source, not of the encoder.
    on_air: bool,
    /// PTS of the newest image of the source that was presented, and its tick.
    newest: Option<(Timestamp, Timestamp)>,
    /// Distance from decoding to presentation, as the source's first frame has it.
    reorder_delay: TimeDelta,
    /// Frames in the order in which they leave.
    line: VecDeque<Slot>,
    /// Decode time of the newest frame in `line`.
    last_dts: Option<Timestamp>,
    forwarded: u64,
}

/// A frame whose image may be presented.
#[derive(Debug)]
struct QueuedFrame {
    frame: Frame,
    contribution: u32,
    /// Tick on which the image was presented.
    presented_at: Option<Timestamp>,
}

/// A place in the order in which frames leave.
#[derive(Debug)]
enum Slot {
    Filled(Frame),
    /// Reserved for the frame that the encoder makes of this tick.
    Reserved {
        tick: i64,
        dts: Timestamp,
    },
}

impl Passthrough {
    /// Returns an empty track. A contribution of more than `max_bits` per second is not forwarded.
    pub(crate) fn new(track: TrackId, ticks: TickGrid, mode: LatencyMode, max_bits: u32) -> Self {
        Self {
            track,
            ticks,
            limits: SourceLimits::new(mode, max_bits),
            intake: Intake::AwaitingIdr,
            contribution: 0,
            queued: VecDeque::new(),
            bytes: 0,
            on_air: false,
            newest: None,
            reorder_delay: TimeDelta::ZERO,
            line: VecDeque::new(),
            last_dts: None,
            forwarded: 0,
        }
    }

    /// Returns the number of frames of the source that were forwarded.
    pub(crate) const fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// Returns the PTS of the newest image of the source that was presented, and its tick.
    pub(crate) const fn newest(&self) -> Option<(Timestamp, Timestamp)> {
        self.newest
    }

    /// Begins another contribution; its frames are discarded until [`Passthrough::set_header`].
    pub(crate) fn begin(&mut self) {
        self.contribution = self.contribution.wrapping_add(1);
        self.limits.begin();
        self.intake = Intake::HeaderMismatch;
    }

    /// Takes note of a header for the frames that follow; `matches` if it is the track's own.
    pub(crate) fn set_header(&mut self, matches: bool) {
        self.intake = match (matches, self.intake) {
            (false, _) => Intake::HeaderMismatch,
            (true, Intake::HeaderMismatch) => Intake::AwaitingIdr,
            (true, intake) => intake,
        };
    }

    /// Queues a frame that the decoder is given.
    pub(crate) fn push(&mut self, frame: &Frame) {
        let key = frame.access.is_independent();
        if self.intake != Intake::HeaderMismatch {
            let continues = self.limits.is_within() && (self.intake == Intake::Open || key);
            self.intake = if continues { Intake::Open } else { Intake::AwaitingIdr };
        }
        if self.queued.len() >= MAX_FRAMES || self.bytes + frame.payload.len() > MAX_BYTES {
            self.queued.clear();
            self.bytes = 0;
            if self.intake == Intake::Open && !key {
                self.intake = Intake::AwaitingIdr;
            }
        }
        if self.intake == Intake::Open {
            self.bytes += frame.payload.len();
            let (frame, contribution) = (frame.clone(), self.contribution);
            self.queued.push_back(QueuedFrame { frame, contribution, presented_at: None });
        }
    }

    /// Decides what the track has on the tick at `at`, where the image with PTS `live` is presented; `None` if the
    /// image is not a live one.
    pub(crate) fn select(&mut self, live: Option<Timestamp>, at: Timestamp, ticks: TickGrid) -> TickSource {
        self.ticks = ticks;
        let tick = ticks.index(at);
        let at = ticks.at(tick);
        if let Some(key) = live.and_then(|pts| self.forward(pts, at)) {
            self.on_air = true;
            return TickSource::Passthrough { key };
        }
        let begins = std::mem::replace(&mut self.on_air, false);
        self.advance();
        self.discard_until(|queued| queued.presented_at.is_none() && live.is_none_or(|pts| queued.frame.pts > pts));
        if self.line.len() >= MAX_FRAMES {
            self.cancel_reserved();
        }
        let dts = self.next_dts(self.reorder_delay, at);
        self.line.push_back(Slot::Reserved { tick, dts });
        TickSource::Encoder { begins }
    }

    /// Gives up the slot of the newest tick, because the encoder was not given its frame.
    pub(crate) fn cancel_newest(&mut self) {
        self.line.pop_back_if(|slot| matches!(slot, Slot::Reserved { .. }));
    }

    /// Gives up all slots that wait for the encoder, because it failed.
    pub(crate) fn cancel_reserved(&mut self) {
        self.line.retain(|slot| matches!(slot, Slot::Filled(_)));
    }

    /// Fills a slot with a frame of the encoder. A frame for a tick that was the source's is discarded.
    pub(crate) fn fill(&mut self, frame: Frame) {
        let index = self.ticks.index(frame.pts);
        let reserved = self.line.iter_mut().find(|slot| matches!(slot, Slot::Reserved { tick, .. } if *tick == index));
        if let Some(slot) = reserved
            && let Slot::Reserved { dts, .. } = *slot
        {
            *slot = Slot::Filled(Frame { track: self.track, dts, ..frame });
        }
    }

    /// Returns the next frame that leaves.
    pub(crate) fn pull(&mut self) -> Option<Frame> {
        match self.line.pop_front_if(|slot| matches!(slot, Slot::Filled(_)))? {
            Slot::Filled(frame) => Some(frame),
            Slot::Reserved { .. } => None,
        }
    }

    /// Finds the frame of the image with this PTS, which is presented at `at`. Returns whether it is an IDR frame, and
    /// `None` if the image has to be encoded.
    fn forward(&mut self, pts: Timestamp, at: Timestamp) -> Option<bool> {
        let same = |other: Timestamp| (other - pts).abs() < SAME;
        if self.on_air && self.newest.is_some_and(|(newest, _)| same(newest)) {
            // The image is presented for another tick.
            return self.limits.check_gop(at, self.on_air).then_some(false);
        }
        let found = self.queued.iter().position(|queued| queued.presented_at.is_none() && same(queued.frame.pts))?;
        let QueuedFrame { frame, contribution, .. } = self.queued.get(found)?;
        let (key, contribution) = (frame.access.is_independent(), *contribution);
        let reorder_delay = frame.pts - frame.dts;
        let decodable = key || self.on_air;
        if !decodable || !self.limits.check_gop(at, self.on_air) || key && !self.limits.check_idr(at, self.on_air) {
            return None;
        }
        if key {
            self.reorder_delay = if self.newest.is_none() { reorder_delay } else { self.reorder_delay };
            self.limits.note_idr(at);
        }
        self.discard_others(contribution, if self.on_air { 0 } else { found });
        self.present_skipped(pts, at);
        let presented =
            self.queued.iter_mut().find(|queued| queued.presented_at.is_none() && same(queued.frame.pts))?;
        presented.presented_at = Some(at);
        self.newest = Some((pts, at));
        self.advance();
        Some(key)
    }

    /// Discards frames of other contributions than this one, and the first `count` frames, none of which was presented.
    fn discard_others(&mut self, contribution: u32, count: usize) {
        self.queued.drain(..count.min(self.queued.len()));
        self.queued.retain(|queued| queued.contribution == contribution);
        self.bytes = self.queued.iter().map(|queued| queued.frame.payload.len()).sum();
    }

    /// Gives times to frames before `pts` whose images were not presented, for example because two fell on one tick.
    ///
    /// Later frames need them as references, so they leave between the newest presented frame and the one at `at`. None
    /// of them is a key frame, because no other rendition has one there.
    fn present_skipped(&mut self, pts: Timestamp, at: Timestamp) {
        let Some((_, before)) = self.newest.filter(|_| self.on_air) else { return };
        let mut skipped: Vec<_> = self
            .queued
            .iter_mut()
            .filter(|queued| queued.presented_at.is_none() && queued.frame.pts < pts - SAME)
            .collect();
        skipped.sort_by_key(|queued| queued.frame.pts);
        let (room, steps) = ((at - before).flicks(), i64::try_from(skipped.len()).unwrap_or(i64::MAX - 1) + 1);
        // Viewers cannot join at an IDR frame that shares its tick, but the encoder's GOPs are no longer because of it.
        if skipped.iter().any(|queued| queued.frame.access.is_independent()) {
            self.limits.note_idr(at);
        }
        for (n, queued) in (1..).zip(skipped) {
            queued.presented_at = Some(before + FLICKS.delta(room / steps * n));
            queued.frame.access = Access::Dependent;
        }
    }

    /// Moves frames into the line that were presented and have no frame before them that was not.
    fn advance(&mut self) {
        while let Some(QueuedFrame { frame, presented_at: Some(at), .. }) =
            self.queued.pop_front_if(|queued| queued.presented_at.is_some())
        {
            let Frame { dts, pts, access, payload, .. } = frame;
            self.bytes -= payload.len();
            self.limits.add_bytes(payload.len());
            self.forwarded += 1;
            let dts = self.next_dts(pts - dts, at);
            // An open GOP is no key frame here, because no other rendition has one at its first frame.
            let access = Access::independent_if(access.is_independent());
            self.line.push_back(Slot::Filled(Frame { track: self.track, dts, pts: at, access, payload }));
        }
    }

    /// Discards frames up to the first IDR frame that is `wanted`.
    fn discard_until(&mut self, wanted: impl Fn(&QueuedFrame) -> bool) {
        let unwanted = |queued: &mut QueuedFrame| !(queued.frame.access.is_independent() && wanted(queued));
        while let Some(discarded) = self.queued.pop_front_if(unwanted) {
            self.bytes -= discarded.frame.payload.len();
        }
    }

    /// Returns the decode time of the next frame in the line, which is decoded `before` it is presented at `at`.
    fn next_dts(&mut self, before: TimeDelta, at: Timestamp) -> Timestamp {
        let dts = self.ticks.at(self.ticks.index(at - before)).min(at);
        let dts = self.last_dts.map_or(dts, |last| dts.max(last + MIN_DTS_STEP));
        self.last_dts = Some(dts);
        dts
    }
}

#[cfg(test)]
mod tests;
