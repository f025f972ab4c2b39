//! The live window: the packaged log folded into what a viewer may ask for now.
//!
//! About thirty seconds of segments are listed, and never less than three target durations. A segment that left the
//! playlists is kept for a third of the window more, for the players that learnt of it last; then its bytes go.

mod measure;
mod rendition;

use std::collections::BTreeMap;
use std::sync::Arc;

use media::TimeDelta;

use crate::log::{Event, Init, Part, RenditionId, Targets};
pub use rendition::{Rendition, Segment};

/// How much is listed, where three target durations are not more.
const LISTED: TimeDelta = TimeDelta::from_secs(30);
/// Target durations that are listed at least (rfc8216bis §6.2.2).
const LISTED_TARGETS: i64 = 3;
/// Decisions to slide that are remembered for renditions behind the first one; past it, the oldest is made anew.
const SLIDES: usize = 32;
/// Whole segments that the first playlist lists. Players of whole segments begin with the first one and learn of a new one
/// when it is whole: with the first segment alone they would run dry before the next one comes, and once more where a short
/// first segment is followed by longer ones.
const FIRST_LISTED: usize = 2;
/// Rungs are waited for until the leader has so many segments: players that start without one may never learn of it.
const PATIENCE: usize = 3;

/// What is published of a broadcast and still there. A clone shares the segments, so it costs a pointer for each of them.
#[derive(Clone, Debug, Default)]
pub struct Window {
    targets: Option<Targets>,
    renditions: BTreeMap<RenditionId, Rendition>,
    /// By the newest closed segment, the first one that is listed with it.
    slides: BTreeMap<u64, u64>,
    playable: bool,
    captions: bool,
    ended: bool,
}

/// How far a rendition has come: everything before part `parts` of segment `msn` is published.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Progress {
    /// The segment that is being made, or comes next.
    pub msn: u64,
    /// Parts of it that are published.
    pub parts: u32,
}

impl Window {
    /// An empty window.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event of the log.
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

    /// True if every rendition that is waited for has so many whole segments.
    fn can_be_started(&self, segments: usize) -> bool {
        let patience = self.rendition(RenditionId::VIDEO).is_none_or(|leader| leader.closed() < PATIENCE);
        let ready =
            |r: &Rendition| r.closed() >= segments || r.is_withdrawn() || r.id().is_dependent_video() && !patience;
        !self.renditions.is_empty() && self.renditions.values().all(ready)
    }

    fn add_part(&mut self, part: &Arc<Part>) {
        let breaks = self.discontinuity_sequence(part.rendition, part.msn);
        if let Some(rendition) = self.renditions.get_mut(&part.rendition) {
            rendition.add_part(part, breaks);
        }
    }

    /// Discontinuities before segment `msn`, as the renditions other than `but` count them.
    fn discontinuity_sequence(&self, but: RenditionId, msn: u64) -> u64 {
        let others = self.renditions.iter().filter(|(id, _)| **id != but);
        others.filter_map(|(_, r)| r.discontinuity_sequence(msn)).max().unwrap_or(0)
    }

    /// Audio segments are a frame longer or shorter than those of video: were each rendition to count its own seconds,
    /// their playlists would begin at different segments, which confuses Video.js 8.24. So the first to close a segment
    /// decides for all; not one that appeared late, which has little to list.
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

    /// True once every rendition that was announced at the start has `FIRST_LISTED` whole segments, or the broadcast has
    /// ended with fewer; rungs are not waited for without end. From then on it stays true.
    pub fn is_playable(&self) -> bool {
        self.playable
    }

    /// True once there were closed captions in the pictures.
    pub fn has_captions(&self) -> bool {
        self.captions
    }

    /// True once nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The frozen durations; there from the first segment on.
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

    /// Whether the playlist of a rendition holds segment `msn`, or part `part` of it where one is asked for: what a
    /// blocking reload waits for (rfc8216bis §6.2.5.2). A part past the last one of a closed segment stands for the
    /// first part of the segment after it.
    pub fn holds(&self, id: RenditionId, msn: u64, part: Option<u32>) -> bool {
        let Some(rendition) = self.rendition(id) else { return false };
        let at = rendition.progress();
        let Some(part) = part else { return msn < at.msn };
        let past_its_end = rendition.segment(msn).is_some_and(|s| s.is_closed() && part as usize >= s.parts().len());
        let asked = if past_its_end { Progress { msn: msn + 1, parts: 0 } } else { Progress { msn, parts: part } };
        asked < at
    }

    /// True while playlists hint at this part: it is the one that comes next.
    pub fn hints_at(&self, id: RenditionId, msn: u64, index: u32) -> bool {
        !self.ended && self.rendition(id).is_some_and(|rendition| rendition.hint() == Progress { msn, parts: index })
    }

    /// Bytes held, of segments and init sections.
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
