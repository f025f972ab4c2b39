//! One rendition in the live window.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use media::TimeDelta;

use super::Progress;
use super::measure::Measure;
use crate::log::{Format, Init, NextPart, Part, Payload, RenditionId, SegmentEnd};

/// The share of the listed window that is kept after it left the playlists.
const KEPT_AFTER: i64 = 3;

/// A rendition: its init sections, its segments and what was measured of them.
#[derive(Clone, Debug)]
pub struct Rendition {
    id: RenditionId,
    format: Format,
    inits: VecDeque<Arc<Init>>,
    /// Ascending without holes; only the last one may be open.
    segments: VecDeque<Arc<Segment>>,
    /// How many of the first segments are kept but no longer listed.
    unlisted: usize,
    next_msn: u64,
    measure: Measure,
    bytes: u64,
    /// Nobody new is to be sent to it.
    withdrawn: bool,
    /// What the packager says comes next, where it is not the part after the newest.
    next: Option<Progress>,
}

/// A segment, closed or still growing.
#[derive(Clone, Debug)]
pub struct Segment {
    msn: u64,
    parts: Vec<Arc<Part>>,
    duration: TimeDelta,
    closed: bool,
    /// Breaks of the programme before the segment, its own not counted.
    breaks: u64,
    bytes: u64,
    /// All its bytes, put together for the first reader who asks.
    whole: OnceLock<Payload>,
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

    pub(super) fn add_part(&mut self, part: &Arc<Part>, breaks_elsewhere: u64) {
        let len = part.data.len();
        self.bytes += len;
        self.measure.part(part);
        self.withdrawn &= part.frames == 0;
        self.next = None;
        if let Some(open) = self.segments.back_mut().filter(|s| s.msn == part.msn) {
            let open = Arc::make_mut(open);
            open.parts.push(Arc::clone(part));
            open.duration += part.duration;
            open.bytes += len;
            return;
        }
        let breaks = self.segments.back().map_or(breaks_elsewhere, |last| last.breaks_after());
        self.next_msn = part.msn;
        self.segments.push_back(Arc::new(Segment {
            msn: part.msn,
            parts: vec![Arc::clone(part)],
            duration: part.duration,
            closed: false,
            breaks,
            bytes: len,
            whole: OnceLock::new(),
        }));
    }

    pub(super) fn close(&mut self, end: &SegmentEnd, target_secs: u32) {
        self.next_msn = end.msn + 1;
        self.next = None;
        if let Some(open) = self.segments.back_mut().filter(|s| s.msn == end.msn) {
            let open = Arc::make_mut(open);
            open.closed = true;
            if !open.is_gap() {
                self.measure.segment(open.bytes, end, target_secs);
            }
        }
    }

    /// The first segment that is needed for a list of `listed`.
    pub(super) fn first_to_list(&self, listed: TimeDelta) -> u64 {
        let mut total = self.listed().fold(TimeDelta::ZERO, |sum, s| sum + s.duration);
        let superfluous = self.listed().take_while(|s| {
            total = total - s.duration;
            s.closed && total >= listed
        });
        let count = superfluous.count();
        self.listed().nth(count).map_or(self.next_msn, Segment::msn)
    }

    /// Takes the segments before `first` out of the list, and drops those that were out for long enough.
    pub(super) fn slide(&mut self, first: u64, listed: TimeDelta) {
        while self.segments.get(self.unlisted).is_some_and(|s| s.closed && s.msn < first) {
            self.unlisted += 1;
        }
        let kept = TimeDelta::from_millis(listed.as_millis() / KEPT_AFTER);
        let mut out = self.segments.iter().take(self.unlisted).fold(TimeDelta::ZERO, |sum, s| sum + s.duration);
        while self.unlisted > 0 && out > kept {
            let Some(gone) = self.segments.pop_front() else { break };
            self.unlisted -= 1;
            self.bytes -= gone.bytes;
            out = out - gone.duration;
        }
        self.drop_inits();
    }

    fn drop_inits(&mut self) {
        let Some(oldest) = self.segments.front().and_then(|s| s.parts.first()).map(|p| p.init) else { return };
        while let Some(init) = self.inits.pop_front_if(|init| init.number < oldest) {
            self.bytes -= init.bytes.len() as u64;
        }
    }

    pub(super) fn discontinuity_sequence(&self, msn: u64) -> Option<u64> {
        match self.segment(msn) {
            Some(segment) => Some(segment.breaks),
            None => self.segments.back().filter(|s| s.msn < msn).map(|last| last.breaks_after()),
        }
    }

    pub(super) fn withdraw(&mut self) {
        self.withdrawn = true;
    }

    /// How many whole segments are there.
    pub(super) fn closed(&self) -> usize {
        self.segments.len() - usize::from(self.segments.back().is_some_and(|s| !s.closed))
    }

    pub(super) fn init(&self, number: u32) -> Option<&Arc<Init>> {
        let first = self.inits.front()?.number;
        self.inits.get(number.checked_sub(first)? as usize)
    }

    pub(super) fn segment(&self, msn: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.front()?.msn;
        self.segments.get(usize::try_from(msn.checked_sub(first)?).ok()?)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        match self.segments.back().filter(|s| !s.closed) {
            Some(open) => Progress { msn: open.msn, parts: open.parts.len() as u32 },
            None => Progress { msn: self.next_msn, parts: 0 },
        }
    }

    pub(super) fn announce(&mut self, next: NextPart) {
        self.next = Some(Progress { msn: next.msn, parts: next.index });
    }

    /// The part that comes next: the one after the newest, or what the packager said.
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

    /// What the segments of the playlist need, newest first: more than one format behind a change of the codec header.
    pub fn formats(&self) -> impl Iterator<Item = &Format> {
        let oldest = self.listed().next().and_then(|s| s.parts.first()).map_or(0, |part| part.init);
        self.inits.iter().rev().filter(move |init| init.number >= oldest).map(|init| &init.format)
    }

    /// True if it was shed, and nothing came since.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }

    /// True if a multivariant playlist lists it: it has a closed segment, and if it is a rung, it was not shed and its
    /// newest one is no gap.
    pub fn is_offered(&self) -> bool {
        let newest = self.listed().rev().find(|segment| segment.closed);
        newest.is_some_and(|newest| !self.id.is_dependent_video() || !self.withdrawn && !newest.is_gap())
    }

    /// The segments of the playlist, oldest first, the open one last.
    pub fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> + Clone {
        self.segments.range(self.unlisted..).map(Arc::as_ref)
    }

    /// Peak segment bit rate so far (rfc8216bis §4.4.6.2), in bits a second.
    pub fn peak(&self) -> u64 {
        self.measure.peak()
    }

    /// `BANDWIDTH`: the peak so far with room for what comes, in bits a second.
    pub fn bandwidth(&self) -> u64 {
        self.measure.bandwidth()
    }

    /// Average bit rate so far, in bits a second.
    pub fn average_bandwidth(&self) -> u64 {
        self.measure.average()
    }

    /// Frames in a thousand seconds, snapped to the usual rates.
    pub fn millihertz(&self) -> Option<u32> {
        self.measure.millihertz()
    }
}

impl Segment {
    /// Its media sequence number.
    pub fn msn(&self) -> u64 {
        self.msn
    }

    /// Its parts so far.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// What its parts last together.
    pub fn duration(&self) -> TimeDelta {
        self.duration
    }

    /// True once no part will be added.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// True if the programme breaks before it.
    pub fn discontinuity(&self) -> bool {
        self.parts.first().is_some_and(|p| p.discontinuity)
    }

    /// True if a decoder may start with it; a gap at its beginning is in nobody's way.
    pub fn independent(&self) -> bool {
        self.parts.iter().find(|p| p.frames > 0).is_some_and(|p| p.independent)
    }

    /// True if there is no frame in it.
    pub fn is_gap(&self) -> bool {
        self.parts.iter().all(|p| p.frames == 0)
    }

    /// Breaks of the programme before it, its own not counted.
    pub fn discontinuity_sequence(&self) -> u64 {
        self.breaks
    }

    fn breaks_after(&self) -> u64 {
        self.breaks + u64::from(self.discontinuity())
    }

    /// The bytes of a closed segment, in pieces that are shared with its parts. Gathered once and kept, because every
    /// reader asks for the same.
    pub fn whole(&self) -> &Payload {
        self.whole.get_or_init(|| {
            let pieces = self.parts.iter().flat_map(|part| part.data.pieces());
            Payload::new(pieces.cloned().collect::<Arc<[_]>>())
        })
    }

    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}
