//! One rendition of the log, as its writer remembers it.

use std::collections::VecDeque;
use std::sync::Arc;

use media::{TimeDelta, Timestamp, WallTime};

use crate::log::stats::RecentSegments;
use crate::log::{Init, Part, Readiness, RenditionStats, SegmentEnd};

/// The listed segments of a rendition and its totals.
#[derive(Clone, Debug)]
pub(crate) struct RenditionLog {
    init: Arc<Init>,
    stats: RenditionStats,
    recent: RecentSegments,
    /// The segments that playlists list, oldest first; only the last one may be open.
    segments: VecDeque<Segment>,
    /// Whole segments so far.
    closed: usize,
    /// The open segment, or the next one.
    next_msn: u64,
    /// Discontinuities before the end of the newest segment; `None` before the first one.
    discontinuities: Option<u64>,
    withdrawn: bool,
    /// End of the newest part, on the programme's timeline and in wall time.
    end: Timestamp,
    wall_end: WallTime,
}

/// A segment that playlists list.
#[derive(Clone, Copy, Debug)]
struct Segment {
    msn: u64,
    duration: TimeDelta,
    bytes: u64,
    gap: bool,
    closed: bool,
    /// Discontinuities before it, its own not counted.
    discontinuity_sequence: u64,
}

impl RenditionLog {
    pub(super) fn new(init: &Arc<Init>) -> Self {
        Self {
            init: Arc::clone(init),
            stats: RenditionStats::default(),
            recent: RecentSegments::default(),
            segments: VecDeque::new(),
            closed: 0,
            next_msn: 0,
            discontinuities: None,
            withdrawn: false,
            end: Timestamp::ZERO,
            wall_end: WallTime::default(),
        }
    }

    pub(super) fn begin(&mut self, init: &Arc<Init>) {
        self.init = Arc::clone(init);
        self.stats.format_changed();
    }

    pub(super) fn add_part(&mut self, part: &Part) {
        self.stats.part(part);
        self.withdrawn &= part.frames == 0;
        self.end = part.start + part.duration;
        self.wall_end = part.wall.shifted(part.duration);
        if self.segments.back().is_none_or(|last| last.msn != part.msn) {
            if self.segments.back().is_some_and(|last| last.msn + 1 != part.msn) {
                // A playlist cannot leave a number out.
                self.segments.clear();
            }
            self.next_msn = part.msn;
            self.discontinuities = Some(part.discontinuity_sequence + u64::from(part.discontinuity));
            self.segments.push_back(Segment {
                msn: part.msn,
                duration: TimeDelta::ZERO,
                bytes: 0,
                gap: true,
                closed: false,
                discontinuity_sequence: part.discontinuity_sequence,
            });
        }
        if let Some(open) = self.segments.back_mut() {
            open.duration += part.duration;
            open.bytes += part.data.len();
            open.gap &= part.frames == 0;
        }
    }

    /// The totals once the segment that ends with `end` is counted.
    pub(super) fn stats_after(&self, end: &SegmentEnd, target_secs: u32) -> RenditionStats {
        let mut stats = self.stats;
        if let Some(open) = self.segments.back().filter(|s| s.msn == end.msn && !s.closed && !s.gap) {
            self.recent.count(&mut stats, open.bytes, end, target_secs);
        }
        stats
    }

    pub(super) fn mark_closed(&mut self, msn: u64) {
        self.next_msn = msn + 1;
        if let Some(open) = self.segments.back_mut().filter(|s| s.msn == msn && !s.closed) {
            open.closed = true;
            self.closed += 1;
            if !open.gap {
                self.recent.push(open.bytes, open.duration);
            }
        }
    }

    /// Folds the end of a segment.
    pub(super) fn close(&mut self, end: &SegmentEnd) {
        self.mark_closed(end.msn);
        self.stats = end.stats;
        while self.segments.pop_front_if(|s| s.closed && s.msn < end.first_listed).is_some() {}
    }

    pub(super) fn withdraw(&mut self) {
        self.withdrawn = true;
    }

    pub(super) fn readiness(&self) -> Readiness {
        Readiness { role: self.init.format.role, segments: self.closed, withdrawn: self.withdrawn }
    }

    /// Discontinuities before segment `msn`, its own not counted; `None` if the rendition does not know.
    pub(super) fn discontinuities(&self, msn: u64) -> Option<u64> {
        match self.segments.iter().rev().find(|segment| segment.msn == msn) {
            Some(segment) => Some(segment.discontinuity_sequence),
            None => self.discontinuities.filter(|_| self.next_msn <= msn),
        }
    }

    /// The newest init section.
    pub(crate) fn init(&self) -> &Init {
        &self.init
    }

    /// Whether it has a part.
    pub(crate) fn has_begun(&self) -> bool {
        self.discontinuities.is_some()
    }

    /// The number and the duration so far of the open segment, if there is one.
    pub(crate) fn open(&self) -> Option<(u64, TimeDelta)> {
        self.segments.back().filter(|segment| !segment.closed).map(|open| (open.msn, open.duration))
    }

    /// The segment after the open one, or the next one if none is open.
    pub(crate) fn msn_after_open(&self) -> u64 {
        self.open().map_or(self.next_msn, |(msn, _)| msn + 1)
    }

    /// End of the newest part on the programme's timeline.
    pub(crate) fn end(&self) -> Timestamp {
        self.end
    }

    /// End of the newest part in wall time.
    pub(crate) fn wall_end(&self) -> WallTime {
        self.wall_end
    }

    pub(super) fn oldest_listed(&self) -> Option<u64> {
        self.segments.front().map(|segment| segment.msn)
    }

    /// The first segment of a list that lasts at least `listed`.
    pub(super) fn first_to_list(&self, listed: TimeDelta) -> u64 {
        self.first_after(|segment, rest| segment.closed && rest >= listed)
    }

    /// The first segment of the list once those before `first` left it.
    pub(super) fn first_listed_from(&self, first: u64) -> u64 {
        self.first_after(|segment, _| segment.closed && segment.msn < first)
    }

    /// The first segment of which `leaves` is false; its second argument is the duration of the list after the segment.
    fn first_after(&self, leaves: impl Fn(&Segment, TimeDelta) -> bool) -> u64 {
        let mut rest = self.segments.iter().fold(TimeDelta::ZERO, |sum, segment| sum + segment.duration);
        let first = self.segments.iter().find(|segment| {
            rest = rest - segment.duration;
            !leaves(segment, rest)
        });
        first.map_or(self.next_msn, |segment| segment.msn)
    }
}
