//! Frames become samples of the open part, which is closed when it is full.

use media::{Access, TimeDelta};

use super::still::Nothing;
use super::{Lane, Pending, Unit};
use crate::Error;
use crate::log::{Event, RenditionId};
use crate::segmenter::Output;

/// Video frames that come this late behind what was already filled are dropped, up to the next key frame.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// IDR pictures closer than this many PART-TARGETs do not begin a part each.
const KEYS_APART: i64 = 2;
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
            return Ok(());
        }
        if dts - expected > lasts / 2 {
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
            return Ok(());
        }
        if self.afresh && unit.access == Access::Dependent {
            return Ok(());
        }
        self.make_room(dts, unit.access, out)?;
        let Some(access) = self.decodable(unit.access, pts) else { return Ok(()) };
        self.announce(out);
        self.notice_captions(&unit, out);
        self.estimate.frame(dts);
        let estimate = self.estimate.value();
        if access.is_independent() {
            self.newest_key = Some(dts);
        }
        if unit.access != Access::Dependent {
            self.keep_still(&unit);
        }
        let start = match (self.pending.last(), self.clock) {
            (Some(last), _) => dts.max(last.start + 1),
            (None, clock) => clock.unwrap_or(dts),
        };
        self.resumed();
        self.pending.push(Pending { start, lasts: 0, dts, pts, access, payload: unit.payload });
        let no_room = self.part_limit().is_some_and(|limit| start + estimate + estimate / 2 > limit);
        let enough = self.pending.len() >= self.most_frames() && self.is_full(dts + estimate);
        if no_room || enough {
            self.close_part(dts + estimate, out)?;
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

    /// Closes the open part where a picture does not belong to it, and fills a long hole in front of the picture.
    fn make_room(&mut self, dts: i64, access: Access, out: &mut Output) -> Result<(), Error> {
        if let Some(limit) = self.part_limit() {
            if access.is_independent() && self.worth_a_part(dts) {
                self.close_part(dts.min(limit), out)?;
            } else if dts + self.estimate.value() / 2 > limit {
                self.close_part(limit, out)?;
            }
        }
        let behind = self.clock.filter(|_| self.pending.is_empty()).map_or(0, |clock| dts - clock);
        match access {
            _ if behind <= self.least_hole() => Ok(()),
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

    /// An IDR begins a part, for players to tune in; not where there are so many that all parts would be short.
    fn worth_a_part(&self, dts: i64) -> bool {
        let apart = self.rule.map_or(0, |rule| self.scale.delta_ticks(rule.parts.longest.times(KEYS_APART)));
        self.newest_key.is_none_or(|key| dts - key >= apart)
    }

    /// The open part is long enough for players if it ends at `end`; more frames a second than there were at first need
    /// more of them.
    fn is_full(&self, end: i64) -> bool {
        let (Some(first), Some(rule)) = (self.pending.first(), self.rule) else { return true };
        (end - first.start) * 100 >= self.scale.delta_ticks(rule.parts.longest) * FULL_PERCENT
    }
}
