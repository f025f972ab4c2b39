//! A broadcast continues after the last entry of its log, for example in a new process.

use std::sync::Arc;

use media::{TimeDelta, Timestamp};

use super::targets::PartSizing;
use super::{Config, EARLIEST, Packager, Phase};
use crate::Error;
use crate::cmaf;
use crate::log::{Event, LogWriter, Part, RenditionId, RenditionLog, SegmentEnd};

/// Segments that a rendition may lack and still get as gaps. One that lacks more begins again with its next segment.
const MAX_MISSING: u64 = 16;

/// Numbers and times that continue those of an earlier packager of the broadcast.
#[derive(Debug)]
pub(super) struct ResumePoint {
    /// No timeline begins earlier.
    pub(super) earliest: Timestamp,
    /// Init sections that were published of each rendition.
    init_counts: Vec<(RenditionId, u32)>,
}

impl Default for ResumePoint {
    fn default() -> Self {
        Self { earliest: Timestamp::ZERO + EARLIEST, init_counts: Vec::new() }
    }
}

impl ResumePoint {
    /// Returns the number of the next init section of a rendition.
    pub(super) fn init_count(&self, id: RenditionId) -> u32 {
        self.init_counts.iter().find(|(known, _)| *known == id).map_or(0, |(_, count)| *count)
    }
}

impl Packager {
    /// Creates a packager that continues a broadcast after the last entry that `log` wrote or
    /// [read](LogWriter::resume).
    ///
    /// Nothing published changes: segments, parts and init sections continue their numbers, and the frozen durations
    /// stay. Segments that were open end where their last part ends, and renditions that were behind get gaps, so
    /// that all continue with the same segment, after a discontinuity. The caller announces the tracks before the
    /// first frame. A rendition whose track is announced later begins its list again.
    pub fn resume(config: Config, log: &LogWriter) -> Result<Self, Error> {
        let mut packager = Self::new(config);
        if log.has_ended() {
            packager.phase = Phase::Ended;
            return Ok(packager);
        }
        let Some(targets) = log.targets() else { return Ok(packager) };
        packager.targets = Some(targets);
        packager.planner.set_target_duration(targets.segment_secs);
        packager.parts = targets.part.map(|target| PartSizing { target, grid: targets.part_grid });
        let begun: Vec<_> = log.renditions().filter(|(_, rendition)| rendition.has_begun()).collect();
        packager.next_msn = begun.iter().map(|(_, rendition)| rendition.msn_after_open()).max().unwrap_or(0);
        let end = begun.iter().map(|(_, rendition)| rendition.end()).max().unwrap_or(Timestamp::ZERO);
        packager.resume_point.earliest = end.max(Timestamp::ZERO + EARLIEST);
        for (id, rendition) in log.renditions() {
            packager.resume_point.init_counts.push((id, rendition.init().number.saturating_add(1)));
            packager.wall_end = packager.wall_end.max(rendition.wall_end());
        }
        packager.wall_floor = packager.wall_end;
        for (id, rendition) in begun {
            if let Some((msn, duration)) = rendition.open() {
                packager.out.events.push_back(Event::Segment(SegmentEnd::new(id, msn, duration)));
            }
            packager.fill_to_resume(id, rendition, end)?;
        }
        Ok(packager)
    }

    /// Publishes gaps for the segments that only other renditions have, as far as `end`.
    fn fill_to_resume(&mut self, id: RenditionId, rendition: &RenditionLog, end: Timestamp) -> Result<(), Error> {
        let (first, next) = (rendition.msn_after_open(), self.next_msn);
        let missing = next.saturating_sub(first);
        if missing == 0 || missing > MAX_MISSING {
            return Ok(());
        }
        let scale = cmaf::timescale(&rendition.init().bytes)?;
        let longest = self.parts.map_or(i64::from(u32::MAX), |sizing| scale.delta_ticks(sizing.target).max(1));
        let (mut start, mut wall) = (scale.ticks(rendition.end()), rendition.wall_end());
        for msn in first..next {
            let rest = scale.ticks(end) - start;
            let share = (rest / i64::try_from(next - msn).unwrap_or(1)).max(1);
            let (segment_start, segment_end) = (start, start + share);
            for index in 0.. {
                let part_end = segment_end.min(start + longest);
                let ticks = u32::try_from(part_end - start).unwrap_or(u32::MAX);
                let duration = scale.delta(part_end - start);
                self.out.events.push_back(Event::Part(Arc::new(Part {
                    rendition: id,
                    msn,
                    index,
                    init: rendition.init().number,
                    start: scale.timestamp(start),
                    duration,
                    independent: false,
                    discontinuity: false,
                    // Counted by the log's writer.
                    discontinuity_sequence: 0,
                    wall,
                    frames: 0,
                    data: cmaf::gap(0, u64::try_from(start).unwrap_or(0), ticks)?,
                })));
                (start, wall) = (part_end, wall.shifted(duration));
                if start >= segment_end {
                    break;
                }
            }
            let duration: TimeDelta = scale.delta(segment_end - segment_start);
            self.out.events.push_back(Event::Segment(SegmentEnd::new(id, msn, duration)));
        }
        Ok(())
    }
}
