//! Forwards the contribution's own frames instead of encoding them again: in place of the reference rendition's frames,
//! or as one more rendition.
//!
//! Each frame that the decoder is given is queued here until its raw frame is presented on an output tick. The coded
//! frame is then forwarded with its PTS moved to that tick, and its DTS moved by as much. Raw frames are presented in
//! presentation order and coded frames are forwarded in decode order, so a coded frame whose raw frame was presented
//! may have to wait for those before it.
//!
//! Ticks without a frame of the source (a repeated frame, the slate) are filled by an encoder that writes into the same
//! track, under one header (see [`SharedParameterSets`](super::parameter_sets::SharedParameterSets)). Frames of the
//! source and of the encoder leave in the order of the ticks. The track returns to the source only at an IDR frame.
//! A [`SourceRendition`](super::rendition::SourceRendition) has no encoder, and hence no frame on ticks without one of
//! the source.

use std::collections::VecDeque;

use media::{Access, Frame, LatencyMode, TickGrid, TimeDelta, Timescale, Timestamp, TrackId};

use super::limits::SourceLimits;

/// Bounds on queued frames, whose raw frames were not presented yet. At a bound all of them are discarded, and the
/// source is forwarded again from its next IDR frame.
const MAX_FRAMES: usize = 600;
const MAX_BYTES: usize = 16 << 20;
/// Largest difference between the PTS of a coded frame and that of its raw frame, because GStreamer rounds to
/// nanoseconds.
const PTS_TOLERANCE: TimeDelta = TimeDelta::from_millis(1);
/// Least distance between the DTS of two frames, where their own would be equal or go back.
const MIN_DTS_STEP: TimeDelta = TimeDelta::from_millis(1);
/// Timescale of one flick per tick.
const FLICKS: Timescale = Timescale::new(705_600_000);

/// Source of the track's coded frame on a tick.
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

/// Decision on the frames that the contribution sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Admission {
    /// Frames are discarded: their header is not the track's, or not known yet.
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
    admission: Admission,
    /// Number of the current contribution.
    contribution: u32,
    /// Frames of the source in decode order, from an IDR frame on.
    queued: VecDeque<QueuedFrame>,
    /// Bytes of the frames in `queued`.
    bytes: usize,
    /// Whether the newest tick has a frame of the source, not of the encoder.
    on_air: bool,
    /// PTS of the source's newest raw frame that was presented, and its tick.
    newest: Option<(Timestamp, Timestamp)>,
    /// PTS less DTS of the first IDR frame that was forwarded. The encoder's frames get the same distance.
    reorder_delay: TimeDelta,
    /// Frames in the order in which they leave, and slots for those that the encoder has not delivered yet.
    outgoing: VecDeque<Slot>,
    /// DTS of the newest slot in `outgoing`.
    last_dts: Option<Timestamp>,
    forwarded: u64,
}

/// A frame of the source that waits until its raw frame, and those of the frames before it, are presented.
#[derive(Debug)]
struct QueuedFrame {
    frame: Frame,
    contribution: u32,
    /// Output time at which the raw frame was presented.
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
            admission: Admission::AwaitingIdr,
            contribution: 0,
            queued: VecDeque::new(),
            bytes: 0,
            on_air: false,
            newest: None,
            reorder_delay: TimeDelta::ZERO,
            outgoing: VecDeque::new(),
            last_dts: None,
            forwarded: 0,
        }
    }

    /// Returns the number of frames of the source that were forwarded.
    pub(crate) const fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// Returns the PTS of the source's newest raw frame that was presented, and its tick.
    pub(crate) const fn newest(&self) -> Option<(Timestamp, Timestamp)> {
        self.newest
    }

    /// Begins another contribution; its frames are discarded until [`Passthrough::set_header`] accepts their header.
    pub(crate) fn begin(&mut self) {
        self.contribution = self.contribution.wrapping_add(1);
        self.limits.begin();
        self.admission = Admission::HeaderMismatch;
    }

    /// Takes note of a header for the frames that follow; `matches` if it is the track's own.
    pub(crate) fn set_header(&mut self, matches: bool) {
        self.admission = match (matches, self.admission) {
            (false, _) => Admission::HeaderMismatch,
            (true, Admission::HeaderMismatch) => Admission::AwaitingIdr,
            (true, admission) => admission,
        };
    }

    /// Queues a frame that the decoder is given.
    pub(crate) fn push(&mut self, frame: &Frame) {
        let key = frame.access.is_independent();
        if self.admission != Admission::HeaderMismatch {
            let continues = self.limits.is_within() && (self.admission == Admission::Open || key);
            self.admission = if continues { Admission::Open } else { Admission::AwaitingIdr };
        }
        if self.queued.len() >= MAX_FRAMES || self.bytes + frame.payload.len() > MAX_BYTES {
            self.queued.clear();
            self.bytes = 0;
            if self.admission == Admission::Open && !key {
                self.admission = Admission::AwaitingIdr;
            }
        }
        if self.admission == Admission::Open {
            self.bytes += frame.payload.len();
            let (frame, contribution) = (frame.clone(), self.contribution);
            self.queued.push_back(QueuedFrame { frame, contribution, presented_at: None });
        }
    }

    /// Decides what the track has on the tick at `at`. `live` is the PTS of the raw frame presented there; `None` if
    /// that is the slate or a repeated frame.
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
        // The encoder takes over, so the source can be forwarded again from its next IDR frame only.
        self.discard_until(|queued| queued.presented_at.is_none() && live.is_none_or(|pts| queued.frame.pts > pts));
        if self.outgoing.len() >= MAX_FRAMES {
            self.cancel_reserved();
        }
        let dts = self.next_dts(self.reorder_delay, at);
        self.outgoing.push_back(Slot::Reserved { tick, dts });
        TickSource::Encoder { begins }
    }

    /// Gives up the slot of the newest tick, because the encoder was not given its frame.
    pub(crate) fn cancel_newest(&mut self) {
        self.outgoing.pop_back_if(|slot| matches!(slot, Slot::Reserved { .. }));
    }

    /// Gives up all slots that wait for the encoder, because it failed.
    pub(crate) fn cancel_reserved(&mut self) {
        self.outgoing.retain(|slot| matches!(slot, Slot::Filled(_)));
    }

    /// Fills a slot with a frame of the encoder. A frame for a tick without a reserved slot is discarded.
    pub(crate) fn fill(&mut self, frame: Frame) {
        let index = self.ticks.index(frame.pts);
        let reserved =
            self.outgoing.iter_mut().find(|slot| matches!(slot, Slot::Reserved { tick, .. } if *tick == index));
        if let Some(slot) = reserved
            && let Slot::Reserved { dts, .. } = *slot
        {
            *slot = Slot::Filled(Frame { track: self.track, dts, ..frame });
        }
    }

    /// Returns the next frame that leaves.
    pub(crate) fn pull(&mut self) -> Option<Frame> {
        match self.outgoing.pop_front_if(|slot| matches!(slot, Slot::Filled(_)))? {
            Slot::Filled(frame) => Some(frame),
            Slot::Reserved { .. } => None,
        }
    }

    /// Forwards the coded frame of the raw frame with this PTS, which is presented at `at`. Returns whether the tick
    /// has an IDR frame; `None` if the raw frame has to be encoded.
    fn forward(&mut self, pts: Timestamp, at: Timestamp) -> Option<bool> {
        let same = |other: Timestamp| (other - pts).abs() < PTS_TOLERANCE;
        if self.on_air && self.newest.is_some_and(|(newest, _)| same(newest)) {
            // The raw frame is presented on one more tick. Its coded frame was forwarded on the first one.
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

    /// Discards the first `count` frames, none of which was presented, and all frames of other contributions.
    fn discard_others(&mut self, contribution: u32, count: usize) {
        self.queued.drain(..count.min(self.queued.len()));
        self.queued.retain(|queued| queued.contribution == contribution);
        self.bytes = self.queued.iter().map(|queued| queued.frame.payload.len()).sum();
    }

    /// Assigns output times to frames before `pts` whose raw frames were not presented, for example because two fell on
    /// one tick.
    ///
    /// Later frames need them as references, so they get times between the newest presented frame and the one at `at`.
    /// None of them counts as a key frame, because no other rendition has one there.
    fn present_skipped(&mut self, pts: Timestamp, at: Timestamp) {
        let Some((_, before)) = self.newest.filter(|_| self.on_air) else { return };
        let mut skipped: Vec<_> = self
            .queued
            .iter_mut()
            .filter(|queued| queued.presented_at.is_none() && queued.frame.pts < pts - PTS_TOLERANCE)
            .collect();
        skipped.sort_by_key(|queued| queued.frame.pts);
        let (room, steps) = ((at - before).flicks(), i64::try_from(skipped.len()).unwrap_or(i64::MAX - 1) + 1);
        // Viewers cannot join at a skipped IDR frame, but it still begins a GOP of the source, whose length is limited.
        if skipped.iter().any(|queued| queued.frame.access.is_independent()) {
            self.limits.note_idr(at);
        }
        for (n, queued) in (1..).zip(skipped) {
            queued.presented_at = Some(before + FLICKS.delta(room / steps * n));
            queued.frame.access = Access::Dependent;
        }
    }

    /// Moves queued frames to `outgoing`, up to the first one whose raw frame was not presented.
    fn advance(&mut self) {
        while let Some(QueuedFrame { frame, presented_at: Some(at), .. }) =
            self.queued.pop_front_if(|queued| queued.presented_at.is_some())
        {
            let Frame { dts, pts, access, payload, .. } = frame;
            self.bytes -= payload.len();
            self.limits.add_bytes(payload.len());
            self.forwarded += 1;
            let dts = self.next_dts(pts - dts, at);
            // The first frame of an open GOP is no key frame here, because no other rendition has one on its tick.
            let access = Access::independent_if(access.is_independent());
            self.outgoing.push_back(Slot::Filled(Frame { track: self.track, dts, pts: at, access, payload }));
        }
    }

    /// Discards frames up to the first IDR frame that is `wanted`.
    fn discard_until(&mut self, wanted: impl Fn(&QueuedFrame) -> bool) {
        let unwanted = |queued: &mut QueuedFrame| !(queued.frame.access.is_independent() && wanted(queued));
        while let Some(discarded) = self.queued.pop_front_if(unwanted) {
            self.bytes -= discarded.frame.payload.len();
        }
    }

    /// Returns the DTS of the next frame in `outgoing`, which is decoded `reorder_delay` before it is presented at
    /// `at`.
    fn next_dts(&mut self, reorder_delay: TimeDelta, at: Timestamp) -> Timestamp {
        let dts = self.ticks.at(self.ticks.index(at - reorder_delay)).min(at);
        let dts = self.last_dts.map_or(dts, |last| dts.max(last + MIN_DTS_STEP));
        self.last_dts = Some(dts);
        dts
    }
}

#[cfg(test)]
mod tests;
