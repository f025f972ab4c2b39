//! Frames become samples of the open part, which is closed when it is full.

use media::{Access, Fault, Frame, TimeDelta};

use super::freeze_frame::Fill;
use super::publish::{ClosedPart, composition_offset};
use super::{Entry, PendingSample, RenditionWriter};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::{Event, RenditionId};
use crate::packager::boundary_planner::ExpectedEnd;
use crate::packager::output::Output;

/// Most that the DTS of a video frame may be before the end of what is published. A later frame is dropped, with all
/// frames up to the next key frame: its time was filled without it.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// Least duration of a part, in percent of PART-TARGET. A shorter part takes more frames than [`PartRule::frames`].
///
/// [`PartRule::frames`]: crate::packager::targets::PartRule::frames
const FULL_PERCENT: i64 = 86;
/// Most frames of a fragment if no parts are offered. A segment should have no more: 20 s of audio packets of 2.5 ms
/// are 8 000.
const MAX_FRAMES: usize = 10_000;

impl RenditionWriter {
    /// Adds a frame to the open part.
    pub(crate) fn push(&mut self, frame: Frame, out: &mut Output) -> Result<(), Error> {
        match self.audio_frame {
            Some(audio_frame) => self.push_audio(frame, audio_frame, out),
            None => self.push_video(frame, out),
        }
    }

    fn push_audio(&mut self, frame: Frame, audio_frame: i64, out: &mut Output) -> Result<(), Error> {
        let lasts = self.track.codec.packet_samples(&frame.payload).map_or(audio_frame, i64::from).max(1);
        let dts = self.scale.ticks(frame.pts);
        let expected = self.next_audio_start().unwrap_or(dts);
        if dts - expected < -(lasts / 2) {
            // Time that a frame or a gap already covers cannot be covered again.
            self.report(Fault::BacklogDropped, out);
            return Ok(());
        }
        if dts - expected > lasts / 2 {
            self.report(Fault::MissingMedia, out);
            self.close_part(expected, out)?;
            self.fill(dts, Fill::Gap, out)?;
        }
        self.announce(out);
        let start = self.next_audio_start().unwrap_or(dts);
        if self.part_limit().is_some_and(|limit| start + lasts > limit) {
            self.close_part(start, out)?;
        }
        self.set_audio_frame(lasts);
        let (access, payload) = (Access::Independent, frame.payload);
        self.pending.push(PendingSample { start, lasts, dts: start, pts: start, access, payload });
        let has_no_room = self.part_limit().is_some_and(|limit| start + lasts.saturating_mul(2) > limit);
        let is_full = self.pending.len() >= self.max_frames() || self.reaches_grid_line(start + lasts);
        if has_no_room || is_full {
            self.close_part(start + lasts, out)?;
        }
        Ok(())
    }

    /// Returns true if the open part of audio, which ends at `end`, has reached the next line of the grid: the next
    /// multiple of [`PartSizing::grid`] after the start of the segment.
    ///
    /// [`PartSizing::grid`]: crate::packager::targets::PartSizing::grid
    fn reaches_grid_line(&self, end: i64) -> bool {
        let grid = self.part_rule.and_then(|rule| rule.sizing.grid);
        let (Some(grid), Some(first)) = (grid, self.pending.first()) else { return false };
        // No part ends at a line with more than one frame too few. Audio that is off the grid, as at the start of a
        // period, therefore approaches it over several parts.
        if self.pending.len() + 1 < self.max_frames() {
            return false;
        }
        // An audio segment may begin a little before the grid line at which the video segment begins.
        let passed = self.since_segment_start(self.scale.timestamp(first.start)).whole(grid);
        self.scale.timestamp(end) >= self.segment.at + grid.times(passed + 1)
    }

    /// Returns the start of the next audio frame: the end of the last one.
    fn next_audio_start(&self) -> Option<i64> {
        self.pending.last().map(|p| p.start + p.lasts).or(self.clock)
    }

    fn push_video(&mut self, frame: Frame, out: &mut Output) -> Result<(), Error> {
        let (dts, pts) = (self.scale.ticks(frame.dts), self.scale.ticks(frame.pts));
        if let Some(clock) = self.clock.filter(|_| self.pending.is_empty())
            && dts < clock - self.scale.delta_ticks(VIDEO_LATE)
        {
            self.require_key_frame();
            self.report(Fault::BacklogDropped, out);
            return Ok(());
        }
        if self.needs_key_frame() && frame.access == Access::Dependent {
            self.report(Fault::FramesBeforeKeyFrame, out);
            return Ok(());
        }
        self.correct_next_part(out);
        self.make_room(dts, frame.access, out)?;
        let Some(access) = self.enter(frame.access, pts) else { return Ok(()) };
        self.announce(out);
        self.note_captions(&frame, out);
        self.frame_duration.frame(dts);
        self.peak_frame_rate = self.peak_frame_rate.max(self.frame_duration.steady_rate(self.scale));
        self.record_key_frame(&frame);
        self.record_gop(&frame);
        let start = match (self.pending.last(), self.clock) {
            (Some(last), _) => dts.max(last.start + 1),
            (None, clock) => clock.unwrap_or(dts),
        };
        self.advanced_to = None;
        self.pending.push(PendingSample { start, lasts: 0, dts, pts, access, payload: frame.payload });
        self.close_full(dts, out)
    }

    /// Closes the open part after its newest frame, with decode time `dts`, if no other frame fits and the end of the
    /// segment is known. The duration of that frame is estimated. If the estimate is more than half a part, the part
    /// stays open until the next frame arrives, because an error of the estimate could put the decode clock far ahead
    /// of the frames.
    fn close_full(&mut self, dts: i64, out: &mut Output) -> Result<(), Error> {
        let estimate = self.frame_duration.value();
        let end = dts + estimate;
        let has_most_frames = self.pending.len() >= self.max_frames();
        let Some(limit) = self.part_limit() else {
            return if has_most_frames { self.close_part(end, out) } else { Ok(()) };
        };
        let has_no_room = end + estimate / 2 > limit;
        let is_full = has_most_frames && self.is_long_enough(end);
        if !(has_no_room || is_full) || estimate * 2 > self.max_part_ticks() {
            return Ok(());
        }
        let ExpectedEnd::At(at) = self.expected_end else { return Ok(()) };
        self.close_part(self.long_enough_end(end), out)?;
        if (self.scale.ticks(self.to_decode_time(at)) - end).abs() <= estimate / 2 {
            self.end_announced = true;
            self.publish_next_part(self.segment.msn + 1, 0, out);
        }
        Ok(())
    }

    /// Publishes once that there are closed captions. Only the reference video is searched, because the dependent
    /// renditions have the same captions.
    fn note_captions(&mut self, frame: &Frame, out: &mut Output) {
        let is_searched = !self.captions_seen && self.rendition == RenditionId::VIDEO;
        if is_searched && self.track.codec.carries_captions(&frame.payload) {
            self.captions_seen = true;
            out.events.push_back(Event::Captions);
        }
    }

    /// Closes the open part if a video frame does not belong to it, and fills a long gap in front of the frame.
    fn make_room(&mut self, dts: i64, access: Access, out: &mut Output) -> Result<(), Error> {
        if let Some(limit) = self.part_limit() {
            // An IDR frame begins a part, for players to tune in, unless the part before would be short.
            let has_most_frames = self.pending.len() >= self.max_frames();
            let is_full = self.is_long_enough(dts) && (has_most_frames || access.is_independent());
            let estimate = self.frame_duration.value().min(self.max_part_ticks() / 2);
            if is_full || dts + estimate / 2 > limit {
                self.close_part(self.long_enough_end(dts), out)?;
            }
            self.extend_last_frame(dts, out)?;
        }
        let gap = self.clock.filter(|_| self.pending.is_empty()).map_or(0, |clock| dts - clock);
        if gap <= self.max_gap() {
            return Ok(());
        }
        self.report(Fault::MissingMedia, out);
        match access {
            // Merely late: the frames that it depends on have been published.
            Access::Dependent if self.fill_kind() == Fill::Gap => self.fill(dts, Fill::Gap, out),
            _ => self.fill_before_key_frame(dts, out),
        }
    }

    /// Returns the [`Access`] with which a video frame is written; `None` for a frame that cannot be decoded, because
    /// decoding starts after frames that it depends on.
    ///
    /// If decoding starts at an open GOP, the frames presented before its first one are dropped. Its first frame then
    /// counts as an IDR frame, because no frame that is left needs an earlier one.
    fn enter(&mut self, access: Access, pts: i64) -> Option<Access> {
        if access == Access::Dependent {
            let can_be_decoded = match self.entry {
                Entry::KeyFrame | Entry::AfterRepeatedKeyFrame => false,
                Entry::Any => true,
                Entry::From(key_frame) => pts >= key_frame,
            };
            return can_be_decoded.then_some(access);
        }
        let starts = self.needs_key_frame();
        self.entry = if starts && access == Access::Open { Entry::From(pts) } else { Entry::Any };
        Some(if starts { Access::Independent } else { access })
    }

    /// Returns true if only a key frame can be decoded next.
    fn needs_key_frame(&self) -> bool {
        matches!(self.entry, Entry::KeyFrame | Entry::AfterRepeatedKeyFrame)
    }

    /// Returns true if the open part is long enough for players if it ends at `end`. With a higher frame rate than at
    /// the start of the broadcast, that takes more frames than planned.
    fn is_long_enough(&self, end: i64) -> bool {
        let (Some(first), Some(rule)) = (self.pending.first(), self.part_rule) else { return true };
        (end - first.start) * 100 >= self.scale.delta_ticks(rule.sizing.target) * FULL_PERCENT
    }

    /// Returns where the open part ends if it should end at `end`, so that it is neither too short for players nor
    /// longer than PART-TARGET.
    fn long_enough_end(&self, end: i64) -> i64 {
        let (Some(first), Some(limit)) = (self.pending.first(), self.part_limit()) else { return end };
        end.max(first.start + (self.max_part_ticks() * FULL_PERCENT + 99) / 100).min(limit)
    }

    /// Returns PART-TARGET in ticks; the longest fragment if no parts are offered.
    pub(super) fn max_part_ticks(&self) -> i64 {
        self.part_rule.map_or(i64::from(u32::MAX), |rule| self.floor_ticks(rule.sizing.target).max(1))
    }

    fn max_frames(&self) -> usize {
        self.part_rule.map_or(MAX_FRAMES, |rule| rule.frames)
    }

    /// Returns the latest end of the open part; `None` if the part is empty, or if no parts are offered.
    fn part_limit(&self) -> Option<i64> {
        Some(self.pending.first()?.start + self.floor_ticks(self.part_rule?.sizing.target))
    }

    /// Closes the open part, if there is one, at `end` or as near to it as its frames and the limit allow.
    pub(super) fn close_part(&mut self, end: i64, out: &mut Output) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else { return Ok(()) };
        let (start, least) = (first.start, last.start + 1);
        let end = match self.audio_frame {
            Some(_) => last.start + last.lasts,
            None => end.min(self.part_limit().unwrap_or(end)).max(least),
        };
        let independent = first.access.is_independent();
        let newest_pts = self.pending.iter().map(|p| p.pts).max().unwrap_or(end);
        let due_until = newest_pts + (end - last.start);
        self.freeze_frame.not_before(newest_pts + self.frame_duration.value());
        let events = self.metadata.take_due(due_until, self.scale)?;
        let mut samples = Vec::with_capacity(self.pending.len());
        let mut pending = self.pending.drain(..).peekable();
        while let Some(p) = pending.next() {
            let next = pending.peek().map_or(end, |next| next.start);
            let duration = u32::try_from(next - p.start).unwrap_or(u32::MAX);
            let cts = composition_offset(p.pts, p.start);
            samples.push(Sample { duration, cts, access: p.access, payload: p.payload });
        }
        drop(pending);
        let tfdt = u64::try_from(start).unwrap_or(0);
        let data = cmaf::fragment(self.next_sequence(), tfdt, &samples, self.is_audio(), &events)?;
        let frames = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        self.publish(ClosedPart { start, end, frames, independent, data }, out);
        Ok(())
    }
}
