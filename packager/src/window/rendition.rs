//! One rendition in the live window.

use std::collections::VecDeque;
use std::sync::Arc;

use media::TimeDelta;

use super::Progress;
use super::segment::Segment;
use crate::log::{Format, Init, NextPart, Part, Readiness, RenditionId, RenditionRole, RenditionStats, SegmentEnd};

/// One part in so many of the listed duration: how long segments are kept after they left the playlists.
const KEPT_AFTER: i64 = 3;

/// A rendition: its init sections, its segments and their totals.
#[derive(Clone, Debug)]
pub struct Rendition {
    id: RenditionId,
    format: Format,
    inits: VecDeque<Arc<Init>>,
    /// Ascending, without a number left out; only the last one may be open.
    segments: VecDeque<Arc<Segment>>,
    /// Number of the first segments that are kept but no longer listed.
    unlisted: usize,
    next_msn: u64,
    stats: RenditionStats,
    /// The first segment that the log lists; `None` before the first closed segment.
    first_listed: Option<u64>,
    bytes: u64,
    /// No new player is to be sent to it.
    withdrawn: bool,
    /// The next part as announced by [`Event::Next`](crate::log::Event::Next), if it is not the one after the newest.
    next: Option<Progress>,
}

impl Rendition {
    pub(super) fn new(init: &Init) -> Self {
        Self {
            id: init.rendition,
            format: init.format.clone(),
            inits: VecDeque::new(),
            segments: VecDeque::new(),
            unlisted: 0,
            next_msn: 0,
            stats: RenditionStats::default(),
            first_listed: None,
            bytes: 0,
            withdrawn: false,
            next: None,
        }
    }

    pub(super) fn begin(&mut self, init: &Arc<Init>) {
        self.format = init.format.clone();
        self.bytes += init.bytes.len() as u64;
        self.inits.push_back(Arc::clone(init));
        self.stats.format_changed();
    }

    /// Adds a part. In the middle of a segment whose start it has not seen, which a reader that joins late may be,
    /// there is nothing to add it to.
    pub(super) fn add_part(&mut self, part: &Arc<Part>) {
        self.stats.part(part);
        self.withdrawn &= part.frames == 0;
        self.next = None;
        if self.segments.back().is_none_or(|last| last.msn() != part.msn) {
            if part.index > 0 {
                self.first_listed = self.first_listed.or(Some(part.msn));
                return;
            }
            self.forget_unless_next(part.msn);
            self.next_msn = part.msn;
            self.segments.push_back(Arc::new(Segment::new(part.msn, part.discontinuity_sequence)));
        }
        if let Some(open) = self.segments.back_mut() {
            self.bytes += part.data.len();
            Arc::make_mut(open).add_part(part);
        }
    }

    /// Forgets all segments if `msn` does not follow the newest one, because a playlist cannot leave a number out.
    fn forget_unless_next(&mut self, msn: u64) {
        if self.segments.back().is_some_and(|last| last.msn().checked_add(1) != Some(msn)) {
            self.bytes -= self.segments.iter().map(|segment| segment.len()).sum::<u64>();
            self.segments.clear();
            self.unlisted = 0;
        }
    }

    pub(super) fn close(&mut self, end: &SegmentEnd, listed: TimeDelta) {
        self.next_msn = end.msn.saturating_add(1);
        self.next = None;
        self.stats = end.stats;
        self.first_listed = Some(end.first_listed);
        if let Some(open) = self.segments.back_mut().filter(|s| s.msn() == end.msn) {
            Arc::make_mut(open).close();
        }
        self.slide(end.first_listed, listed);
    }

    /// Removes the segments before `first` from the list, and drops those that left it long enough ago.
    fn slide(&mut self, first: u64, listed: TimeDelta) {
        while self.segments.get(self.unlisted).is_some_and(|s| s.is_closed() && s.msn() < first) {
            self.unlisted += 1;
        }
        let kept = TimeDelta::from_millis(listed.as_millis() / KEPT_AFTER);
        let mut out = self.segments.iter().take(self.unlisted).fold(TimeDelta::ZERO, |sum, s| sum + s.duration());
        while self.unlisted > 0 && out > kept {
            let Some(gone) = self.segments.pop_front() else { break };
            self.unlisted -= 1;
            self.bytes -= gone.len();
            out = out - gone.duration();
        }
        self.drop_inits();
    }

    fn drop_inits(&mut self) {
        let Some(oldest) = self.segments.front().and_then(|s| s.parts().first()).map(|p| p.init) else { return };
        while let Some(init) = self.inits.pop_front_if(|init| init.number < oldest) {
            self.bytes -= init.bytes.len() as u64;
        }
    }

    pub(super) fn withdraw(&mut self) {
        self.withdrawn = true;
    }

    pub(super) fn readiness(&self) -> Readiness {
        let segments = self.segments.len() - usize::from(self.segments.back().is_some_and(|s| !s.is_closed()));
        Readiness { role: self.format.role, segments, withdrawn: self.withdrawn }
    }

    /// Whether it has all segments that the log lists.
    pub(super) fn is_complete(&self) -> bool {
        let oldest = self.segments.front().map(|segment| segment.msn());
        self.first_listed.is_none_or(|first| oldest.map_or(first == self.next_msn, |oldest| oldest <= first))
    }

    pub(super) fn init(&self, number: u32) -> Option<&Arc<Init>> {
        let first = self.inits.front()?.number;
        self.inits.get(number.checked_sub(first)? as usize)
    }

    pub(super) fn segment(&self, msn: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.front()?.msn();
        self.segments.get(usize::try_from(msn.checked_sub(first)?).ok()?)
    }

    /// Returns the [`Progress`] of the rendition.
    pub fn progress(&self) -> Progress {
        match self.segments.back().filter(|s| !s.is_closed()) {
            Some(open) => Progress { msn: open.msn(), parts: open.parts().len() as u32 },
            None => Progress { msn: self.next_msn, parts: 0 },
        }
    }

    pub(super) fn announce(&mut self, next: NextPart) {
        self.next = Some(Progress { msn: next.msn, parts: next.index });
    }

    /// The part that comes next: the announced one, or else the one after the newest.
    pub fn hint(&self) -> Progress {
        self.next.unwrap_or_else(|| self.progress())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of the rendition.
    pub fn id(&self) -> RenditionId {
        self.id
    }

    /// Returns the format of its newest [`Init`].
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The formats of the listed segments, newest first: more than one after a change of the codec header.
    pub(super) fn formats(&self) -> impl Iterator<Item = &Format> {
        let oldest = self.listed().next().and_then(|s| s.parts().first()).map_or(0, |part| part.init);
        self.inits.iter().rev().filter(move |init| init.number >= oldest).map(|init| &init.format)
    }

    /// Whether it was withdrawn, and no frame came since.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }

    /// Whether a multivariant playlist lists it: it has a closed segment, and if it is a dependent rendition, it was
    /// not withdrawn and its newest closed segment is no gap.
    pub fn is_offered(&self) -> bool {
        let newest = self.listed().rev().find(|segment| segment.is_closed());
        let dependent = self.format.role == RenditionRole::Dependent;
        newest.is_some_and(|newest| !dependent || !self.withdrawn && !newest.is_gap())
    }

    /// The segments of the playlist, oldest first, the open one last.
    pub fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> + Clone {
        self.segments.range(self.unlisted..).map(Arc::as_ref)
    }

    /// Totals of its bit rate and frame rate.
    pub fn stats(&self) -> &RenditionStats {
        &self.stats
    }
}
