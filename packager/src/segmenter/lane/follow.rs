//! A lane is cut where the leader of its run was cut, whether a frame of its own is there or not.

use media::{Access, Fault, TimeDelta, Timestamp};

use super::still::Nothing;
use super::{Lane, Unit};
use crate::Error;
use crate::segmenter::Output;
use crate::segmenter::cuts::{Cut, Cuts};

/// A picture that comes this far behind a cut was preceded by a gap.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// How far a rung's frame may be from a cut and still be at it: two encoders may round their timestamps differently.
const SLACK: TimeDelta = TimeDelta::from_millis(2);

impl Lane {
    /// Where the presentation of a segment that begins with `unit` begins. The pictures shown before an open GOP's first
    /// one belong to its segment, and how many there are is not known yet; but presentation runs evenly behind decoding.
    pub(in crate::segmenter) fn edge(&mut self, unit: &Unit) -> Timestamp {
        if !self.is_sound() && unit.access == Access::Independent {
            self.reorder = unit.pts - unit.dts;
        }
        if unit.access == Access::Independent { unit.pts } else { unit.dts + self.reorder }
    }

    /// How far a frame may be from a cut and still be at it.
    pub(in crate::segmenter) fn slack(&self) -> TimeDelta {
        if self.rendition.is_dependent_video() { SLACK } else { TimeDelta::ZERO }
    }

    /// Makes the cuts that lie before `unit`.
    pub(in crate::segmenter) fn follow(&mut self, unit: &Unit, cuts: &Cuts, out: &mut Output) -> Result<(), Error> {
        let reached = self.edge(unit) + self.slack();
        while let Some(cut) = cuts.after(self.msn()).filter(|cut| reached >= cut.at) {
            // The leader begins a segment with a key frame that this rendition does not have: its own begins with a gap.
            let torn = cut.entry && unit.access == Access::Dependent;
            let last = cuts.after(self.msn() + 1).is_none_or(|next| reached < next.at);
            // A rung begins with the leader's picture or with a gap.
            let rung = self.rendition.is_dependent_video();
            let late = if rung { self.scale.delta(self.estimate.value() / 2) } else { VIDEO_LATE };
            let near = last && unit.dts - self.decoded(cut.at) < late;
            if near && !torn && !self.is_sound() && !self.stands() {
                self.end_segment(unit.dts, cut.discontinuity, out)?;
            } else {
                self.pass(cut, out)?;
            }
            self.afresh |= torn || rung && !near;
        }
        Ok(())
    }

    /// Makes a cut that no frame has come for: it is reached exactly, with a gap if need be; sound stays on its grid.
    pub(in crate::segmenter) fn pass(&mut self, cut: Cut, out: &mut Output) -> Result<(), Error> {
        self.miss_a_cut();
        if self.is_sound() && self.decoded(cut.at) - self.end() > self.frame() {
            self.report(Fault::MissingMedia, out);
        }
        self.end_with(self.decoded(cut.at), cut.discontinuity, self.nominal.unwrap_or(0), out)
    }

    /// Makes all cuts that are decided.
    pub(in crate::segmenter) fn catch_up(&mut self, cuts: &Cuts, out: &mut Output) -> Result<(), Error> {
        while let Some(cut) = cuts.after(self.msn()) {
            self.pass(cut, out)?;
        }
        Ok(())
    }

    /// Makes a cut of a rung that has stopped. A segment that is whole stays; of one that is not, what nobody has seen
    /// yet is left out, so that players take all of it from another rendition.
    pub(in crate::segmenter) fn miss(&mut self, cut: Cut, out: &mut Output) -> Result<(), Error> {
        let at = self.decoded(cut.at);
        if self.has_content() && at - self.end() < self.frame() {
            return self.end_segment(at, cut.discontinuity, out);
        }
        self.afresh = true;
        if self.rule.is_none() {
            self.pending.clear();
        }
        self.flush(out)?;
        self.pass(cut, out)
    }

    /// Publishes the open part as it is, where parts are offered.
    pub(in crate::segmenter) fn flush(&mut self, out: &mut Output) -> Result<(), Error> {
        if self.rule.is_none() { Ok(()) } else { self.close_part(self.scale.ticks(self.end()), out) }
    }

    /// Publishes gap parts of full length as far as `until`, on the presentation timeline.
    pub(in crate::segmenter) fn fill_parts(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        let Some(rule) = self.rule.filter(|_| self.pending.is_empty()) else { return Ok(()) };
        let (longest, until) = (self.scale_floor(rule.parts.longest).max(1), self.scale.ticks(self.decoded(until)));
        self.fill_whole(longest, until, Nothing::Gap, out)
    }

    /// Publishes the gap in front of a picture that decoding begins with anew in mid-segment.
    pub(in crate::segmenter) fn resume(&mut self, unit: &Unit, out: &mut Output) -> Result<(), Error> {
        let dts = self.scale.ticks(unit.dts);
        let hole = self.clock.is_some_and(|clock| dts - clock > self.estimate.value() / 2);
        let entry = self.afresh && unit.access != Access::Dependent;
        if entry && hole && self.pending.is_empty() { self.fill(dts, Nothing::Gap, out) } else { Ok(()) }
    }
}
