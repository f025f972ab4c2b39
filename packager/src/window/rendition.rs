//! One rendition in the live window.

use std::collections::VecDeque;
use std::sync::Arc;

use media::TimeDelta;

use super::Progress;
use super::measure::Measure;
use super::segment::Segment;
use crate::log::{Format, Init, NextPart, Part, RenditionId, SegmentEnd};

/// One part in so many of the listed duration: how long segments are kept after they left the playlists.
const KEPT_AFTER: i64 = 3;

/// A rendition: its init sections, its segments and what was measured of them.
#[derive(Clone, Debug)]
pub struct Rendition {
    id: RenditionId,
    format: Format,
    inits: VecDeque<Arc<Init>>,
    /// Ascending, without a number left out; only the last one may be open.
    segments: VecDeque<Arc<Segment>>,
    /// How many of the first segments are kept but no longer listed.
    unlisted: usize,
    next_msn: u64,
    measure: Measure,
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
            measure: Measure::default(),
            bytes: 0,
            withdrawn: false,
            next: None,
        }
    }

    pub(super) fn begin(&mut self, init: &Arc<Init>) {
        self.format = init.format.clone();
        self.bytes += init.bytes.len() as u64;
        self.inits.push_back(Arc::clone(init));
        self.measure.format_changed();
    }

    pub(super) fn add_part(&mut self, part: &Arc<Part>, discontinuities_elsewhere: u64) {
        self.bytes += part.data.len();
        self.measure.part(part);
        self.withdrawn &= part.frames == 0;
        self.next = None;
        if self.segments.back().is_none_or(|last| last.msn() != part.msn) {
            let before = self.segments.back().map_or(discontinuities_elsewhere, |last| discontinuities_after(last));
            self.next_msn = part.msn;
            self.segments.push_back(Arc::new(Segment::new(part.msn, before)));
        }
        if let Some(open) = self.segments.back_mut() {
            Arc::make_mut(open).add_part(part);
        }
    }

    pub(super) fn close(&mut self, end: &SegmentEnd, target_secs: u32) {
        self.next_msn = end.msn + 1;
        self.next = None;
        if let Some(open) = self.segments.back_mut().filter(|s| s.msn() == end.msn) {
            let open = Arc::make_mut(open);
            open.close();
            if !open.is_gap() {
                self.measure.segment(open.len(), end, target_secs);
            }
        }
    }

    /// The first segment of a list that lasts at least `listed`.
    pub(super) fn first_to_list(&self, listed: TimeDelta) -> u64 {
        let mut total = self.listed().fold(TimeDelta::ZERO, |sum, s| sum + s.duration());
        let superfluous = self.listed().take_while(|s| {
            total = total - s.duration();
            s.is_closed() && total >= listed
        });
        let count = superfluous.count();
        self.listed().nth(count).map_or(self.next_msn, Segment::msn)
    }

    /// Removes the segments before `first` from the list, and drops those that left it long enough ago.
    pub(super) fn slide(&mut self, first: u64, listed: TimeDelta) {
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

    pub(super) fn discontinuity_sequence(&self, msn: u64) -> Option<u64> {
        match self.segment(msn) {
            Some(segment) => Some(segment.discontinuity_sequence()),
            None => self.segments.back().filter(|s| s.msn() < msn).map(|last| discontinuities_after(last)),
        }
    }

    pub(super) fn withdraw(&mut self) {
        self.withdrawn = true;
    }

    /// The number of whole segments in the window.
    pub(super) fn closed(&self) -> usize {
        self.segments.len() - usize::from(self.segments.back().is_some_and(|s| !s.is_closed()))
    }

    pub(super) fn init(&self, number: u32) -> Option<&Arc<Init>> {
        let first = self.inits.front()?.number;
        self.inits.get(number.checked_sub(first)? as usize)
    }

    pub(super) fn segment(&self, msn: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.front()?.msn();
        self.segments.get(usize::try_from(msn.checked_sub(first)?).ok()?)
    }

    /// How far it has come.
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

    /// Its number.
    pub fn id(&self) -> RenditionId {
        self.id
    }

    /// What its newest init section describes.
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

    /// Whether a multivariant playlist lists it: it has a closed segment, and if it is a dependent rendition, it was not
    /// withdrawn and its newest closed segment is no gap.
    pub fn is_offered(&self) -> bool {
        let newest = self.listed().rev().find(|segment| segment.is_closed());
        newest.is_some_and(|newest| !self.id.is_dependent_video() || !self.withdrawn && !newest.is_gap())
    }

    /// The segments of the playlist, oldest first, the open one last.
    pub fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> + Clone {
        self.segments.range(self.unlisted..).map(Arc::as_ref)
    }

    /// Peak segment bit rate so far (rfc8216bis §4.4.6.2), in bits per second.
    pub fn peak(&self) -> u64 {
        self.measure.peak()
    }

    /// `BANDWIDTH`: the peak so far with headroom for what is to come, in bits per second.
    pub fn bandwidth(&self) -> u64 {
        self.measure.bandwidth()
    }

    /// Average bit rate so far, in bits per second.
    pub fn average_bandwidth(&self) -> u64 {
        self.measure.average()
    }

    /// Frames per thousand seconds, snapped to the usual rates.
    pub fn millihertz(&self) -> Option<u32> {
        self.measure.millihertz()
    }
}

fn discontinuities_after(segment: &Segment) -> u64 {
    segment.discontinuity_sequence() + u64::from(segment.discontinuity())
}
