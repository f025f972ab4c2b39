//! A segment in the live window.

use std::sync::{Arc, OnceLock};

use media::{TimeDelta, WallTime};

use crate::log::{Part, Payload};
use crate::playlist::{PartInfo, SegmentInfo};

/// A segment, closed or still growing.
#[derive(Clone, Debug)]
pub struct Segment {
    msn: u64,
    parts: Vec<Arc<Part>>,
    /// The same parts as playlists list them.
    listed: Vec<PartInfo>,
    duration: TimeDelta,
    closed: bool,
    /// Discontinuities before the segment, its own not counted.
    discontinuity_sequence: u64,
    bytes: u64,
    /// All its bytes, gathered for the first reader that asks.
    whole: OnceLock<Payload>,
}

impl Segment {
    /// An open segment without parts.
    pub(super) fn new(msn: u64, discontinuity_sequence: u64) -> Self {
        Self {
            msn,
            parts: Vec::new(),
            listed: Vec::new(),
            duration: TimeDelta::ZERO,
            closed: false,
            discontinuity_sequence,
            bytes: 0,
            whole: OnceLock::new(),
        }
    }

    pub(super) fn add_part(&mut self, part: &Arc<Part>) {
        let info = PartInfo { duration: part.duration, independent: part.independent, gap: part.frames == 0 };
        self.listed.push(info);
        self.parts.push(Arc::clone(part));
        self.duration += part.duration;
        self.bytes += part.data.len();
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Returns the media sequence number.
    pub fn msn(&self) -> u64 {
        self.msn
    }

    /// Returns the parts so far.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// Returns the sum of the durations of its parts.
    pub fn duration(&self) -> TimeDelta {
        self.duration
    }

    /// Whether no more parts will be added.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a discontinuity lies before it.
    pub fn discontinuity(&self) -> bool {
        self.parts.first().is_some_and(|p| p.discontinuity)
    }

    /// Whether a decoder may start with it; a gap at its beginning does not matter.
    pub fn independent(&self) -> bool {
        self.parts.iter().find(|p| p.frames > 0).is_some_and(|p| p.independent)
    }

    /// Whether it has no frame.
    pub fn is_gap(&self) -> bool {
        self.parts.iter().all(|p| p.frames == 0)
    }

    /// Discontinuities before it, its own not counted.
    pub fn discontinuity_sequence(&self) -> u64 {
        self.discontinuity_sequence
    }

    /// Describes the segment for playlists.
    pub(super) fn info(&self) -> SegmentInfo<'_> {
        let first = self.parts.first();
        SegmentInfo {
            msn: self.msn,
            duration: self.duration,
            wall: first.map_or(WallTime::default(), |part| part.wall),
            init: first.map_or(0, |part| part.init),
            discontinuity: self.discontinuity(),
            gap: self.is_gap(),
            independent: self.independent(),
            open: !self.closed,
            parts: &self.listed,
        }
    }

    /// The bytes of a closed segment, in pieces that are shared with its parts. The list of pieces is made once and
    /// kept, because every reader asks for the same one.
    pub fn whole(&self) -> &Payload {
        self.whole.get_or_init(|| {
            let pieces = self.parts.iter().flat_map(|part| part.data.pieces());
            Payload::new(pieces.cloned().collect::<Arc<[_]>>())
        })
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}
