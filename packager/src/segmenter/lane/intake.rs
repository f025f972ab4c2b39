//! Frames become samples of the open part, which is closed when it is full.

use media::{Access, Fault, FaultReport, TimeDelta};

use super::still::Nothing;
use super::{Lane, Outlook, Pending, Unit};
use crate::Error;
use crate::log::{Event, NextPart, RenditionId};
use crate::segmenter::Output;

/// Video frames that come this late behind what was already filled are dropped, up to the next key frame.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// A part with less than this share of PART-TARGET, in percent, waits for more frames than were foreseen.
const FULL_PERCENT: i64 = 86;

impl Lane {
    pub(in crate::segmenter) fn push(&mut self, unit: Unit, out: &mut Output) -> Result<(), Error> {
        match self.nominal {
            Some(nominal) => self.push_audio(unit, nominal, out),
            None => self.push_video(unit, out),
        }
    }

    fn push_audio(&mut self, unit: Unit, nominal: i64, out: &mut Output) -> Result<(), Error> {
        let lasts = self.track.codec.packet_samples(&unit.payload).map_or(nominal, i64::from).max(1);
        let dts = self.scale.ticks(unit.pts);
        let expected = self.next_start().unwrap_or(dts);
        if dts - expected < -(lasts / 2) {
            // What was already covered, by a frame or a gap, cannot be covered twice.
            self.report(Fault::BacklogDropped, out);
            return Ok(());
        }
        if dts - expected > lasts / 2 {
            self.report(Fault::MissingMedia, out);
            self.close_part(expected, out)?;
            self.fill(dts, Nothing::Gap, out)?;
        }
        self.announce(out);
        let start = self.next_start().unwrap_or(dts);
        if self.part_limit().is_some_and(|limit| start + lasts > limit) {
            self.close_part(start, out)?;
        }
        self.learn(lasts);
        self.pending.push(Pending {
            start,
            lasts,
            dts: start,
            pts: start,
            access: Access::Independent,
            payload: unit.payload,
        });
        let no_room = self.part_limit().is_some_and(|limit| start + lasts.saturating_mul(2) > limit);
        let enough = self.pending.len() >= self.most_frames() || self.is_at_line(start + lasts);
        if no_room || enough {
            self.close_part(start + lasts, out)?;
        }
        Ok(())
    }

    /// Sound that ends at `end` has reached the line of the grid behind the one that the open part began at.
    fn is_at_line(&self, end: i64) -> bool {
        let (Some(grid), Some(first)) = (self.rule.and_then(|rule| rule.parts.grid), self.pending.first()) else {
            return false;
        };
        // Sound that is off the grid, as at the start of a run, comes to it part by part: none has fewer frames.
        if self.pending.len() + 1 < self.most_frames() {
            return false;
        }
        // A segment of sound may begin a little before the line that its pictures begin at.
        let passed = (self.scale.timestamp(first.start) - self.segment.at).max(TimeDelta::ZERO).whole(grid);
        self.scale.timestamp(end) >= self.segment.at + grid.times(passed + 1)
    }

    /// Where the next audio frame starts: behind the last one.
    fn next_start(&self) -> Option<i64> {
        self.pending.last().map(|p| p.start + p.lasts).or(self.clock)
    }

    fn push_video(&mut self, unit: Unit, out: &mut Output) -> Result<(), Error> {
        let (dts, pts) = (self.scale.ticks(unit.dts), self.scale.ticks(unit.pts));
        if let Some(clock) = self.clock.filter(|_| self.pending.is_empty())
            && dts < clock - self.scale.delta_ticks(VIDEO_LATE)
        {
            self.afresh = true;
            self.report(Fault::BacklogDropped, out);
            return Ok(());
        }
        if self.afresh && unit.access == Access::Dependent {
            self.report(Fault::FramesBeforeKeyFrame, out);
            return Ok(());
        }
        self.tell_otherwise(out);
        self.make_room(dts, unit.access, out)?;
        let Some(access) = self.decodable(unit.access, pts) else { return Ok(()) };
        self.announce(out);
        self.notice_captions(&unit, out);
        self.estimate.frame(dts);
        self.fastest = self.fastest.max(self.estimate.steady(self.scale));
        if unit.access != Access::Dependent {
            self.keep_still(&unit);
        }
        self.keep_gop(&unit);
        let start = match (self.pending.last(), self.clock) {
            (Some(last), _) => dts.max(last.start + 1),
            (None, clock) => clock.unwrap_or(dts),
        };
        self.resumed();
        self.kept_up = None;
        self.pending.push(Pending { start, lasts: 0, dts, pts, access, payload: unit.payload });
        self.close_full(dts, out)
    }

    /// Closes the open part with its newest frame, of decode time `dts`, where no other one fits. How long that lasts is
    /// not known yet: a guess of more than half a part could put the clock far ahead, and is waited for.
    fn close_full(&mut self, dts: i64, out: &mut Output) -> Result<(), Error> {
        let estimate = self.estimate.value();
        let end = dts + estimate;
        let Some(limit) = self.part_limit() else {
            return if self.pending.len() >= self.most_frames() { self.close_part(end, out) } else { Ok(()) };
        };
        let no_room = end + estimate / 2 > limit;
        let enough = self.pending.len() >= self.most_frames() && self.is_full(end);
        if !(no_room || enough) || estimate * 2 > self.longest_part() {
            return Ok(());
        }
        let Outlook::Ends(at) = self.outlook else { return Ok(()) };
        self.close_part(self.full_end(end), out)?;
        if (self.scale.ticks(self.decoded(at)) - end).abs() <= estimate / 2 {
            self.foretold = true;
            self.tell_next(self.segment.msn + 1, 0, out);
        }
        Ok(())
    }

    /// Tells once that there are captions, by the pictures that lead: the others have the same ones.
    fn notice_captions(&mut self, unit: &Unit, out: &mut Output) {
        let news = !self.captions && self.rendition == RenditionId::VIDEO;
        if news && self.track.codec.carries_captions(&unit.payload) {
            self.captions = true;
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
    pub(super) fn tell_otherwise(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.foretold) {
            self.tell_next(self.segment.msn, self.parts, out);
        }
    }

    fn tell_next(&self, msn: u64, index: u32, out: &mut Output) {
        out.events.push_back(Event::Next(NextPart { rendition: self.rendition, msn, index }));
    }

    /// Where the open part ends if it is to end at `end`: it is neither too short for players nor too long.
    fn full_end(&self, end: i64) -> i64 {
        let (Some(first), Some(limit)) = (self.pending.first(), self.part_limit()) else { return end };
        end.max(first.start + (self.longest_part() * FULL_PERCENT + 99) / 100).min(limit)
    }

    /// PART-TARGET in ticks.
    pub(super) fn longest_part(&self) -> i64 {
        self.rule.map_or(i64::from(u32::MAX), |rule| self.scale_floor(rule.parts.longest).max(1))
    }

    /// Closes the open part where a picture does not belong to it, and fills a long hole in front of the picture.
    fn make_room(&mut self, dts: i64, access: Access, out: &mut Output) -> Result<(), Error> {
        if let Some(limit) = self.part_limit() {
            // An IDR begins a part, for players to tune in, but not at the price of a short one.
            let ends = self.is_full(dts) && (self.pending.len() >= self.most_frames() || access.is_independent());
            let guess = self.estimate.value().min(self.longest_part() / 2);
            if ends || dts + guess / 2 > limit {
                self.close_part(self.full_end(dts), out)?;
            }
            self.hold_last(dts, out)?;
        }
        let behind = self.clock.filter(|_| self.pending.is_empty()).map_or(0, |clock| dts - clock);
        if behind <= self.least_hole() {
            return Ok(());
        }
        self.report(Fault::MissingMedia, out);
        match access {
            // What it needs is there: it was merely long in coming.
            Access::Dependent if self.in_a_hole() == Nothing::Gap => self.fill(dts, Nothing::Gap, out),
            _ => self.fill_to(dts, out),
        }
    }

    /// How a picture can be entered; none for one that cannot be decoded, because decoding begins behind what it needs:
    /// where nothing came before an open GOP, the pictures shown before its first one are left out, and that one is as
    /// good as an IDR.
    fn decodable(&mut self, access: Access, pts: i64) -> Option<Access> {
        if access == Access::Dependent {
            let leads = self.leading_to.is_some_and(|key| pts < key);
            return (!self.afresh && !leads).then_some(access);
        }
        let afresh = std::mem::take(&mut self.afresh);
        self.leading_to = (afresh && access == Access::Open).then_some(pts);
        Some(if afresh { Access::Independent } else { access })
    }

    /// The open part is long enough for players if it ends at `end`; more frames a second than there were at first need
    /// more of them.
    fn is_full(&self, end: i64) -> bool {
        let (Some(first), Some(rule)) = (self.pending.first(), self.rule) else { return true };
        (end - first.start) * 100 >= self.scale.delta_ticks(rule.parts.longest) * FULL_PERCENT
    }
}
