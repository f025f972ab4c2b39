//! The live window: the packaged log folded into what a viewer may ask for now.
//!
//! About thirty seconds of segments are listed, and never less than three target durations. A segment that left the
//! playlists is kept for another third of that time, for the players that saw it listed last. Then its bytes are dropped.

mod measure;
mod models;
mod rendition;
mod segment;

use std::collections::BTreeMap;
use std::sync::Arc;

use media::TimeDelta;

use crate::log::{Event, Init, Part, RenditionId, Targets};
pub use rendition::Rendition;
pub use segment::Segment;

/// How much is listed, unless three target durations are more.
const LISTED: TimeDelta = TimeDelta::from_secs(30);
/// Least number of target durations that is listed (rfc8216bis §6.2.2).
const LISTED_TARGETS: i64 = 3;
/// Decisions to slide that are remembered for the renditions that close a segment later. Beyond it, the oldest is forgotten
/// and made again if it is needed.
const SLIDES: usize = 32;
/// Whole segments that the first playlist lists. Players of whole segments begin with the first one and see a new one listed
/// only when it is whole. With the first segment alone their buffer would run empty before the next one comes, and again
/// if a short first segment is followed by longer ones.
const FIRST_LISTED: usize = 2;
/// Dependent renditions are waited for until the reference rendition has so many segments, because players that start
/// without one may never discover it.
const MAX_SEGMENTS_WITHOUT: usize = 3;

/// The published part of a broadcast that is still available. A clone shares the segments, so it costs a pointer for each.
#[derive(Clone, Debug, Default)]
pub struct Window {
    targets: Option<Targets>,
    renditions: BTreeMap<RenditionId, Rendition>,
    /// The first listed segment, by the newest closed one.
    slides: BTreeMap<u64, u64>,
    playable: bool,
    captions: bool,
    ended: bool,
}

/// How far a rendition has come: everything before part `parts` of segment `msn` is published.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Progress {
    /// The open segment, or the next one.
    pub msn: u64,
    /// Parts of it that are published.
    pub parts: u32,
}

impl Window {
    /// An empty window.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds the next event of the log.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Targets(targets) => self.targets = Some(*targets),
            Event::Init(init) => {
                let rendition = self.renditions.entry(init.rendition).or_insert_with(|| Rendition::new(init));
                rendition.begin(init);
            }
            Event::Part(part) => self.add_part(part),
            Event::Segment(end) => {
                if let Some(rendition) = self.renditions.get_mut(&end.rendition) {
                    rendition.close(end, self.targets.map_or(0, |t| t.segment_secs));
                }
                self.slide(end.rendition, end.msn);
                self.playable |= self.can_be_started(FIRST_LISTED);
            }
            Event::Next(next) => {
                if let Some(rendition) = self.renditions.get_mut(&next.rendition) {
                    rendition.announce(*next);
                }
            }
            Event::Withdrawn(rendition) => {
                if let Some(rendition) = self.renditions.get_mut(rendition) {
                    rendition.withdraw();
                }
            }
            Event::Captions => self.captions = true,
            Event::End => {
                self.ended = true;
                self.playable |= self.can_be_started(1);
            }
        }
    }

    /// Whether every rendition that is waited for has so many whole segments.
    fn can_be_started(&self, segments: usize) -> bool {
        let reference = self.rendition(RenditionId::VIDEO);
        let overdue = reference.is_some_and(|reference| reference.closed() >= MAX_SEGMENTS_WITHOUT);
        let ready =
            |r: &Rendition| r.closed() >= segments || r.is_withdrawn() || r.id().is_dependent_video() && overdue;
        !self.renditions.is_empty() && self.renditions.values().all(ready)
    }

    fn add_part(&mut self, part: &Arc<Part>) {
        let elsewhere = self.discontinuity_sequence(part.rendition, part.msn);
        if let Some(rendition) = self.renditions.get_mut(&part.rendition) {
            rendition.add_part(part, elsewhere);
        }
    }

    /// Discontinuities before segment `msn`, as the renditions other than `but` count them.
    fn discontinuity_sequence(&self, but: RenditionId, msn: u64) -> u64 {
        let others = self.renditions.iter().filter(|(id, _)| **id != but);
        others.filter_map(|(_, r)| r.discontinuity_sequence(msn)).max().unwrap_or(0)
    }

    /// Slides the list of a rendition that closed segment `msn`.
    ///
    /// Video.js 8.24: playlists that begin at different segments confuse it. Audio segments are a frame longer or shorter
    /// than video segments, so renditions that each count their own seconds would begin at different ones. The first
    /// rendition to close a segment therefore decides for all, unless it appeared late and has little to list.
    fn slide(&mut self, id: RenditionId, msn: u64) {
        let listed = self.listed_duration();
        let oldest = |r: &&Rendition| r.listed().next().map_or(u64::MAX, Segment::msn);
        let closing = self.renditions.get(&id);
        let Some(decides) = closing.into_iter().chain(self.renditions.values()).min_by_key(oldest) else { return };
        let decision = decides.first_to_list(listed);
        let first = *self.slides.entry(msn).or_insert(decision);
        if let Some(rendition) = self.renditions.get_mut(&id) {
            rendition.slide(first, listed);
        }
        if self.slides.len() > SLIDES {
            self.slides.pop_first();
        }
    }

    fn listed_duration(&self) -> TimeDelta {
        let secs = self.targets.map_or(0, |t| i64::from(t.segment_secs));
        LISTED.max(TimeDelta::from_secs(secs * LISTED_TARGETS))
    }

    /// Whether a first playlist can be served: every rendition announced at the start has `FIRST_LISTED` whole segments, or
    /// the broadcast has ended with fewer. Dependent renditions are not waited for without a limit. Never false again.
    pub fn is_playable(&self) -> bool {
        self.playable
    }

    /// Whether the video has carried closed captions.
    pub fn has_captions(&self) -> bool {
        self.captions
    }

    /// Whether the broadcast is over.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The frozen durations; known from the first segment on.
    pub fn targets(&self) -> Option<Targets> {
        self.targets
    }

    /// The renditions announced so far, in the order of their numbers.
    pub fn renditions(&self) -> impl Iterator<Item = &Rendition> {
        self.renditions.values()
    }

    /// One rendition.
    pub fn rendition(&self, id: RenditionId) -> Option<&Rendition> {
        self.renditions.get(&id)
    }

    /// An init section.
    pub fn init(&self, id: RenditionId, number: u32) -> Option<&Arc<Init>> {
        self.rendition(id)?.init(number)
    }

    /// A closed segment.
    pub fn segment(&self, id: RenditionId, msn: u64) -> Option<&Arc<Segment>> {
        self.rendition(id)?.segment(msn).filter(|s| s.is_closed())
    }

    /// A part, of an open or a closed segment.
    pub fn part(&self, id: RenditionId, msn: u64, index: u32) -> Option<&Arc<Part>> {
        self.rendition(id)?.segment(msn)?.parts().get(index as usize)
    }

    /// How far a rendition has come.
    pub fn progress(&self, id: RenditionId) -> Option<Progress> {
        self.rendition(id).map(Rendition::progress)
    }

    /// Whether the playlist of a rendition contains segment `msn`, or part `part` of it if one is given: the condition that
    /// a blocking reload waits for (rfc8216bis §6.2.5.2). A part past the last one of a closed segment means the first
    /// part of the next segment.
    pub fn contains(&self, id: RenditionId, msn: u64, part: Option<u32>) -> bool {
        let Some(rendition) = self.rendition(id) else { return false };
        let at = rendition.progress();
        let Some(part) = part else { return msn < at.msn };
        let past_its_end = rendition.segment(msn).is_some_and(|s| s.is_closed() && part as usize >= s.parts().len());
        let asked = if past_its_end { Progress { msn: msn + 1, parts: 0 } } else { Progress { msn, parts: part } };
        asked < at
    }

    /// Whether playlists hint at this part, because it is the one that comes next.
    pub fn hints_at(&self, id: RenditionId, msn: u64, index: u32) -> bool {
        !self.ended && self.rendition(id).is_some_and(|rendition| rendition.hint() == Progress { msn, parts: index })
    }

    /// Bytes of the segments and init sections in the window.
    pub fn bytes(&self) -> u64 {
        self.renditions.values().map(Rendition::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Format, Payload, SegmentEnd};
    use media::{Kind, Timestamp, WallTime};

    fn segment(window: &mut Window, rendition: RenditionId, msn: u64, millis: i64) {
        let duration = TimeDelta::from_millis(millis);
        window.apply(&Event::Part(Arc::new(Part {
            rendition,
            msn,
            index: 0,
            init: 0,
            start: Timestamp::ZERO,
            duration,
            independent: true,
            discontinuity: false,
            wall: WallTime::from_unix_millis(0),
            frames: 1,
            data: Payload::default(),
        })));
        window.apply(&Event::Segment(SegmentEnd { rendition, msn, duration, millihertz: None }));
    }

    fn first_listed(window: &Window, rendition: RenditionId) -> Option<u64> {
        window.rendition(rendition)?.listed().next().map(Segment::msn)
    }

    #[test]
    fn playlists_of_all_renditions_begin_at_the_same_segment() {
        let mut window = Window::new();
        window.apply(&Event::Targets(Targets { segment_secs: 2, part: None, pause: TimeDelta::ZERO }));
        for (rendition, kind) in [(RenditionId::VIDEO, Kind::Video), (RenditionId::AUDIO, Kind::Audio)] {
            let format = Format::new(kind, "");
            window.apply(&Event::Init(Arc::new(Init { rendition, number: 0, bytes: bytes::Bytes::new(), format })));
        }
        for msn in 0..60 {
            segment(&mut window, RenditionId::VIDEO, msn, 2_000);
            // Fifteen of them are a little more or a little less than thirty seconds.
            segment(&mut window, RenditionId::AUDIO, msn, if msn % 3 == 0 { 2_005 } else { 1_984 });
            let first = first_listed(&window, RenditionId::VIDEO);
            assert_eq!(first_listed(&window, RenditionId::AUDIO), first, "after segment {msn}");
            assert_eq!(first, Some((msn + 1).saturating_sub(15)));
        }
    }
}
