//! Frames become samples of the open part, which is closed when it is full.

use media::{Access, Fault, FaultReport, Frame, TimeDelta};

use super::freeze_frame::Fill;
use super::{ExpectedEnd, PendingSample, RenditionWriter};
use crate::Error;
use crate::log::{Event, NextPart, RenditionId};
use crate::packager::Output;

/// Video frames that come this late behind what was already filled are dropped, up to the next key frame.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// A part with less than this share of PART-TARGET, in percent, waits for more frames than were foreseen.
const FULL_PERCENT: i64 = 86;

impl RenditionWriter {
    pub(in crate::packager) fn push(&mut self, frame: Frame, out: &mut Output) -> Result<(), Error> {
        match self.audio_frame {
            Some(audio_frame) => self.push_audio(frame, audio_frame, out),
            None => self.push_video(frame, out),
        }
    }

    fn push_audio(&mut self, frame: Frame, audio_frame: i64, out: &mut Output) -> Result<(), Error> {
        let lasts = self.track.codec.packet_samples(&frame.payload).map_or(audio_frame, i64::from).max(1);
        let dts = self.scale.ticks(frame.pts);
        let expected = self.next_start().unwrap_or(dts);
        if dts - expected < -(lasts / 2) {
            // What was already covered, by a frame or a gap, cannot be covered twice.
            self.report(Fault::BacklogDropped, out);
            return Ok(());
        }
        if dts - expected > lasts / 2 {
            self.report(Fault::MissingMedia, out);
            self.close_part(expected, out)?;
            self.fill(dts, Fill::Gap, out)?;
        }
        self.announce(out);
        let start = self.next_start().unwrap_or(dts);
        if self.part_limit().is_some_and(|limit| start + lasts > limit) {
            self.close_part(start, out)?;
        }
        self.set_audio_frame(lasts);
        self.pending.push(PendingSample {
            start,
            lasts,
            dts: start,
            pts: start,
            access: Access::Independent,
            payload: frame.payload,
        });
        let no_room = self.part_limit().is_some_and(|limit| start + lasts.saturating_mul(2) > limit);
        let enough = self.pending.len() >= self.max_frames() || self.reaches_grid_line(start + lasts);
        if no_room || enough {
            self.close_part(start + lasts, out)?;
        }
        Ok(())
    }

    /// Sound that ends at `end` has reached the line of the grid behind the one that the open part began at.
    fn reaches_grid_line(&self, end: i64) -> bool {
        let (Some(grid), Some(first)) = (self.part_rule.and_then(|rule| rule.parts.grid), self.pending.first()) else {
            return false;
        };
        // Sound that is off the grid, as at the start of a run, comes to it part by part: none has fewer frames.
        if self.pending.len() + 1 < self.max_frames() {
            return false;
        }
        // A segment of sound may begin a little before the line that its pictures begin at.
        let passed = (self.scale.timestamp(first.start) - self.segment_start.at).max(TimeDelta::ZERO).whole(grid);
        self.scale.timestamp(end) >= self.segment_start.at + grid.times(passed + 1)
    }

    /// Where the next audio frame starts: behind the last one.
    fn next_start(&self) -> Option<i64> {
        self.pending.last().map(|p| p.start + p.lasts).or(self.clock)
    }

    fn push_video(&mut self, frame: Frame, out: &mut Output) -> Result<(), Error> {
        let (dts, pts) = (self.scale.ticks(frame.dts), self.scale.ticks(frame.pts));
        if let Some(clock) = self.clock.filter(|_| self.pending.is_empty())
            && dts < clock - self.scale.delta_ticks(VIDEO_LATE)
        {
            self.needs_key_frame = true;
            self.report(Fault::BacklogDropped, out);
            return Ok(());
        }
        if self.needs_key_frame && frame.access == Access::Dependent {
            self.report(Fault::FramesBeforeKeyFrame, out);
            return Ok(());
        }
        self.correct_next_part(out);
        self.make_room(dts, frame.access, out)?;
        let Some(access) = self.decodable(frame.access, pts) else { return Ok(()) };
        self.announce(out);
        self.note_captions(&frame, out);
        self.frame_duration.frame(dts);
        self.peak_frame_rate = self.peak_frame_rate.max(self.frame_duration.steady(self.scale));
        if frame.access != Access::Dependent {
            self.keep_freeze_frame(&frame);
        }
        self.record_gop(&frame);
        let start = match (self.pending.last(), self.clock) {
            (Some(last), _) => dts.max(last.start + 1),
            (None, clock) => clock.unwrap_or(dts),
        };
        self.note_frame();
        self.advanced_to = None;
        self.pending.push(PendingSample { start, lasts: 0, dts, pts, access, payload: frame.payload });
        self.close_full(dts, out)
    }

    /// Closes the open part with its newest frame, of decode time `dts`, where no other one fits. How long that lasts is
    /// not known yet: a guess of more than half a part could put the clock far ahead, and is waited for.
    fn close_full(&mut self, dts: i64, out: &mut Output) -> Result<(), Error> {
        let estimate = self.frame_duration.value();
        let end = dts + estimate;
        let Some(limit) = self.part_limit() else {
            return if self.pending.len() >= self.max_frames() { self.close_part(end, out) } else { Ok(()) };
        };
        let no_room = end + estimate / 2 > limit;
        let enough = self.pending.len() >= self.max_frames() && self.is_full(end);
        if !(no_room || enough) || estimate * 2 > self.max_part_ticks() {
            return Ok(());
        }
        let ExpectedEnd::At(at) = self.expected_end else { return Ok(()) };
        self.close_part(self.full_end(end), out)?;
        if (self.scale.ticks(self.to_decode_time(at)) - end).abs() <= estimate / 2 {
            self.end_announced = true;
            self.emit_next_part(self.segment_start.msn + 1, 0, out);
        }
        Ok(())
    }

    /// Tells once that there are captions, by the pictures that lead: the others have the same ones.
    fn note_captions(&mut self, frame: &Frame, out: &mut Output) {
        let news = !self.captions_seen && self.rendition == RenditionId::VIDEO;
        if news && self.track.codec.carries_captions(&frame.payload) {
            self.captions_seen = true;
            out.events.push_back(Event::Captions);
        }
    }

    /// Reports what an encoder's frames were found to be. Renditions made of them have faults of their own.
    pub(super) fn report(&self, fault: Fault, out: &mut Output) {
        if !self.rendition.is_dependent_video() {
            out.fault(FaultReport::new(fault, Some(self.track.id)));
        }
    }

    /// Another part comes of a segment that was expected to end.
    pub(super) fn correct_next_part(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.end_announced) {
            self.emit_next_part(self.segment_start.msn, self.part_count, out);
        }
    }

    fn emit_next_part(&self, msn: u64, index: u32, out: &mut Output) {
        out.events.push_back(Event::Next(NextPart { rendition: self.rendition, msn, index }));
    }

    /// Where the open part ends if it is to end at `end`: it is neither too short for players nor too long.
    fn full_end(&self, end: i64) -> i64 {
        let (Some(first), Some(limit)) = (self.pending.first(), self.part_limit()) else { return end };
        end.max(first.start + (self.max_part_ticks() * FULL_PERCENT + 99) / 100).min(limit)
    }

    /// PART-TARGET in ticks.
    pub(super) fn max_part_ticks(&self) -> i64 {
        self.part_rule.map_or(i64::from(u32::MAX), |rule| self.floor_ticks(rule.parts.target).max(1))
    }

    /// Closes the open part where a picture does not belong to it, and fills a long hole in front of the picture.
    fn make_room(&mut self, dts: i64, access: Access, out: &mut Output) -> Result<(), Error> {
        if let Some(limit) = self.part_limit() {
            // An IDR begins a part, for players to tune in, but not at the price of a short one.
            let ends = self.is_full(dts) && (self.pending.len() >= self.max_frames() || access.is_independent());
            let guess = self.frame_duration.value().min(self.max_part_ticks() / 2);
            if ends || dts + guess / 2 > limit {
                self.close_part(self.full_end(dts), out)?;
            }
            self.extend_last_frame(dts, out)?;
        }
        let behind = self.clock.filter(|_| self.pending.is_empty()).map_or(0, |clock| dts - clock);
        if behind <= self.min_gap() {
            return Ok(());
        }
        self.report(Fault::MissingMedia, out);
        match access {
            // What it needs is there: it was merely long in coming.
            Access::Dependent if self.fill_kind() == Fill::Gap => self.fill(dts, Fill::Gap, out),
            _ => self.fill_before_key_frame(dts, out),
        }
    }

    /// How a picture can be entered; none for one that cannot be decoded, because decoding begins behind what it needs:
    /// where nothing came before an open GOP, the pictures shown before its first one are left out, and that one is as
    /// good as an IDR.
    fn decodable(&mut self, access: Access, pts: i64) -> Option<Access> {
        if access == Access::Dependent {
            let leads = self.leading_until.is_some_and(|key| pts < key);
            return (!self.needs_key_frame && !leads).then_some(access);
        }
        let needs_key_frame = std::mem::take(&mut self.needs_key_frame);
        self.leading_until = (needs_key_frame && access == Access::Open).then_some(pts);
        Some(if needs_key_frame { Access::Independent } else { access })
    }

    /// The open part is long enough for players if it ends at `end`; more frames a second than there were at first need
    /// more of them.
    fn is_full(&self, end: i64) -> bool {
        let (Some(first), Some(rule)) = (self.pending.first(), self.part_rule) else { return true };
        (end - first.start) * 100 >= self.scale.delta_ticks(rule.parts.target) * FULL_PERCENT
    }
}
