//! Stretches in which a rendition has nothing new.
//!
//! Browsers play no sound where there is no picture, so pictures that stay away would stop the programme. Their newest IDR
//! picture is shown once more in each part until they are back: every decoder takes it, in every codec. What comes back
//! needs a key frame then, as it does behind any hole in a browser's buffer. A rendition that has none has gaps, and so has
//! a rung: players are to take another one.

use bytes::Bytes;
use media::{Access, Fault, Timestamp};

use super::{Lane, Pending, Unit, VIDEO_GAP};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::RenditionId;
use crate::segmenter::Output;

/// What is published where there is nothing new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nothing {
    /// Parts without frames.
    Gap,
    /// The newest key frame again, if it may stand.
    Still,
    /// The last frame, shown on.
    Last,
}

/// The picture that can be shown again.
#[derive(Debug, Default)]
pub(super) struct Still {
    /// None where the newest key frame is no IDR: what follows it in the stream needs what was before it.
    picture: Option<Bytes>,
    /// It is shown: pictures that depend on others cannot be decoded.
    stands: bool,
    /// A segment ended that no picture came for, and none has since.
    missed: bool,
    /// The pictures before it are shown up to here.
    from: i64,
}

impl Still {
    pub(super) fn not_before(&mut self, at: i64) {
        self.from = at;
    }
}

impl Lane {
    /// True while a picture stands because no others come.
    pub(in crate::segmenter) fn stands(&self) -> bool {
        self.still.stands
    }

    /// True if there is a picture that may stand in parts of its own.
    pub(in crate::segmenter) fn can_stand(&self) -> bool {
        self.rule.is_some() && self.still.picture.is_some()
    }

    /// Takes a key frame as the picture to show where others stay away.
    pub(super) fn keep_still(&mut self, unit: &Unit) {
        let stands = self.rendition == RenditionId::VIDEO && unit.access == Access::Independent;
        self.still.picture = stands.then(|| unit.payload.clone());
        self.still.stands = false;
    }

    /// A picture came that is shown.
    pub(super) fn resumed(&mut self) {
        self.still.missed = false;
    }

    /// A cut is made that no picture has come for.
    pub(in crate::segmenter) fn miss_a_cut(&mut self) {
        self.still.missed = true;
    }

    /// What fills a hole: no still where pictures are merely long in coming, for what they need is there.
    pub(super) fn in_a_hole(&self) -> Nothing {
        if self.can_hold_last() {
            Nothing::Last
        } else if self.still.stands || self.still.missed {
            Nothing::Still
        } else {
            Nothing::Gap
        }
    }

    /// A hole of pictures longer than this is filled; over a shorter one the picture before it stands.
    pub(super) fn least_hole(&self) -> i64 {
        if self.still.stands { 0 } else { self.scale.delta_ticks(VIDEO_GAP) }
    }

    /// No picture comes while the others have come to `until`, on the presentation timeline: the last one lasts until its
    /// part is full, and then the newest key frame stands, in full parts. Nothing to be done where parts are not offered:
    /// the next cut does it.
    pub(in crate::segmenter) fn stand(&mut self, until: Timestamp, out: &mut Output) -> Result<(), Error> {
        let Some(rule) = self.rule.filter(|_| self.still.picture.is_some()) else { return Ok(()) };
        let step = self.scale_floor(rule.parts.grid.unwrap_or(rule.parts.longest)).max(1);
        let until = self.scale.ticks(self.decoded(until));
        if let Some(first) = self.pending.first() {
            let end = first.start + step;
            if end > until {
                return Ok(());
            }
            self.close_part(end, out)?;
        }
        self.fill_whole(step, until, Nothing::Still, out)
    }

    /// Publishes parts of length `step` with nothing new as far as `until`.
    pub(super) fn fill_whole(
        &mut self,
        step: i64,
        until: i64,
        nothing: Nothing,
        out: &mut Output,
    ) -> Result<(), Error> {
        let clock = *self.clock.get_or_insert(self.scale.ticks(self.segment.at));
        for n in 1..=(until - clock).max(0) / step {
            self.fill(clock + n * step, nothing, out)?;
        }
        Ok(())
    }

    /// Fills the hole in front of a key frame that is decoded at `dts`. What is too short for a part is one with the picture.
    pub(super) fn fill_to(&mut self, dts: i64, out: &mut Output) -> Result<(), Error> {
        let Some(payload) = self.still.picture.clone() else { return self.fill(dts, Nothing::Gap, out) };
        self.stand(self.shown(self.scale.timestamp(dts)), out)?;
        let start = self.clock.unwrap_or(dts);
        if start < dts {
            let (pts, access) = (self.still_pts(start), Access::Independent);
            self.pending.push(Pending { start, lasts: 0, dts: start, pts, access, payload });
        }
        (self.still.stands, self.afresh) = (true, true);
        Ok(())
    }

    /// Publishes parts with nothing new up to `until`.
    pub(super) fn fill(&mut self, until: i64, nothing: Nothing, out: &mut Output) -> Result<(), Error> {
        let longest = self.rule.map_or(i64::from(u32::MAX), |rule| self.scale_floor(rule.parts.longest));
        let mut clock = self.clock.unwrap_or(until);
        while clock < until {
            let end = until.min(clock.saturating_add(longest.max(1)));
            let nothing = match nothing {
                Nothing::Last if self.can_replay_within(end - clock) => {
                    self.replay(end, out)?;
                    clock = end;
                    continue;
                }
                Nothing::Last => Nothing::Still,
                other => other,
            };
            self.sequence = self.sequence.wrapping_add(1);
            let (tfdt, duration) = (u64::try_from(clock).unwrap_or(0), u32::try_from(end - clock).unwrap_or(u32::MAX));
            if let Some(payload) = self.still.picture.clone().filter(|_| nothing == Nothing::Still) {
                if !self.still.stands {
                    self.report(Fault::MissingMedia, out);
                }
                let pts = self.still_pts(clock);
                let cts = (pts - clock).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                let events = self.due_events(pts + (end - clock))?;
                let sample = Sample { duration, cts, access: Access::Independent, payload };
                let data = cmaf::fragment(self.sequence, tfdt, &[sample], false, &events)?;
                self.publish(clock, end, 1, true, data, out);
                (self.still.stands, self.afresh) = (true, true);
            } else {
                let data = cmaf::gap(self.sequence, tfdt, duration)?;
                self.publish(clock, end, 0, false, data, out);
            }
            clock = end;
        }
        Ok(())
    }

    /// As [`Self::least_hole`], at the end of a segment, where the last picture can be shown on in a short part.
    pub(super) fn least_hole_at_end(&self) -> i64 {
        if self.rule.is_some() && self.can_hold_last() { self.longest_part() / 4 } else { self.least_hole() }
    }

    /// When the still is shown that is decoded at `dts`: behind the pictures before it.
    fn still_pts(&self, dts: i64) -> i64 {
        (dts + self.scale.delta_ticks(self.reorder)).max(self.still.from)
    }
}
