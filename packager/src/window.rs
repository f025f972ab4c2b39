//! The live window: the packaged log folded into what a viewer may ask for now.
//!
//! About thirty seconds of segments are listed, and never less than three target durations; the log says where each
//! list begins. A segment that left the playlists is kept for another third of that time, for the players that saw it
//! listed last. Then its bytes are dropped.

mod models;
mod rendition;
mod segment;

use std::collections::BTreeMap;
use std::sync::Arc;

use media::TimeDelta;

use crate::log::{Event, Init, Part, RenditionId, Targets, can_start};
pub use rendition::Rendition;
pub use segment::Segment;

/// The published part of a broadcast that is still available. A clone shares the segments, so it costs a pointer for
/// each.
///
/// Two windows of one log are equal in all that playlists say, wherever their readers joined, as soon as both are
/// [complete](Window::is_complete).
#[derive(Clone, Debug, Default)]
pub struct Window {
    targets: Option<Targets>,
    renditions: BTreeMap<RenditionId, Rendition>,
    playable: bool,
    captions: bool,
    ended: bool,
}

/// Progress of a rendition: everything before part `parts` of segment `msn` is published.
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

    /// Folds the next event of the log, as [`LogWriter`](crate::log::LogWriter) completed it.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Start { .. } => {}
            Event::Targets(targets) => self.targets = Some(*targets),
            Event::Init(init) => {
                let rendition = self.renditions.entry(init.rendition).or_insert_with(|| Rendition::new(init));
                rendition.begin(init);
            }
            Event::Part(part) => {
                if let Some(rendition) = self.renditions.get_mut(&part.rendition) {
                    rendition.add_part(part);
                }
            }
            Event::Segment(end) => {
                let listed = self.targets.map_or(TimeDelta::ZERO, |targets| targets.listed());
                if let Some(rendition) = self.renditions.get_mut(&end.rendition) {
                    rendition.close(end, listed);
                }
                self.playable |= end.playable;
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
                self.playable |= can_start(self.renditions.values().map(Rendition::readiness), 1);
            }
        }
    }

    /// Whether a first playlist can be served: every rendition announced at the start has two whole segments, or the
    /// broadcast has ended with fewer. Dependent renditions are not waited for without a limit. A window that is not
    /// [complete](Self::is_complete) is not playable.
    pub fn is_playable(&self) -> bool {
        self.playable && self.is_complete()
    }

    /// Whether the window has all segments that the log lists. A reader that joined late does not have them at first;
    /// from then on it stays true.
    pub fn is_complete(&self) -> bool {
        self.renditions.values().all(Rendition::is_complete)
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

    /// Progress of a rendition.
    pub fn progress(&self, id: RenditionId) -> Option<Progress> {
        self.rendition(id).map(Rendition::progress)
    }

    /// Whether the playlist of a rendition contains segment `msn`, or part `part` of it if one is given: the
    /// condition that a blocking reload waits for (rfc8216bis §6.2.5.2). A part past the last one of a closed segment
    /// means the first part of the next segment.
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
    use crate::log::{Format, LogWriter, Payload, SegmentEnd};
    use media::{Kind, Timestamp, WallTime};

    fn segment(log: &mut LogWriter, window: &mut Window, rendition: RenditionId, msn: u64, millis: i64) {
        let duration = TimeDelta::from_millis(millis);
        let part = Event::Part(Arc::new(Part {
            rendition,
            msn,
            index: 0,
            init: 0,
            start: Timestamp::ZERO,
            duration,
            independent: true,
            discontinuity: false,
            discontinuity_sequence: 0,
            wall: WallTime::from_unix_millis(0),
            frames: 1,
            data: Payload::default(),
        }));
        for event in [part, Event::Segment(SegmentEnd::new(rendition, msn, duration))] {
            window.apply(&log.append(event).event);
        }
    }

    fn first_listed(window: &Window, rendition: RenditionId) -> Option<u64> {
        window.rendition(rendition)?.listed().next().map(Segment::msn)
    }

    #[test]
    fn playlists_of_all_renditions_begin_at_the_same_segment() {
        let (mut log, mut window) = (LogWriter::new(), Window::new());
        let targets = Targets { segment_secs: 2, part: None, part_grid: None, max_stall: TimeDelta::ZERO };
        window.apply(&log.append(Event::Targets(targets)).event);
        for (rendition, kind) in [(RenditionId::VIDEO, Kind::Video), (RenditionId::AUDIO, Kind::Audio)] {
            let format = Format::new(kind, "");
            let init = Init { rendition, number: 0, bytes: bytes::Bytes::new(), format };
            window.apply(&log.append(Event::Init(Arc::new(init))).event);
        }
        for msn in 0..60 {
            segment(&mut log, &mut window, RenditionId::VIDEO, msn, 2_000);
            // Fifteen of them are a little more or a little less than thirty seconds.
            segment(&mut log, &mut window, RenditionId::AUDIO, msn, if msn % 3 == 0 { 2_005 } else { 1_984 });
            let first = first_listed(&window, RenditionId::VIDEO);
            assert_eq!(first_listed(&window, RenditionId::AUDIO), first, "after segment {msn}");
            assert_eq!(first, Some((msn + 1).saturating_sub(15)));
        }
    }
}
