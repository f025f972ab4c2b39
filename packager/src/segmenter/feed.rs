//! A rendition in the making: its lane, and what has not reached the lane yet. What followers have in common.

use std::collections::VecDeque;

use media::{TimeDelta, Timescale, Timestamp, Track};

use super::cuts::Cut;
use super::lane::{Lane, Unit};
use super::plan::Pace;
use super::{Output, Packager, Slot};
use crate::Error;

/// No more frames of a rendition are held than this, whatever their times say.
pub(super) const MAX_HELD_FRAMES: usize = 1_000;
/// A follower that is later than this behind the others gets a gap in its place. Where silence can be made, that was done
/// before it came here.
const LATE: TimeDelta = TimeDelta::from_secs(6);
/// Frames of a rung are held so long for a leader that does not come; then the oldest go.
const MAX_HELD_TIME: TimeDelta = TimeDelta::from_secs(6);

/// A rendition's lane and what waits in front of it.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) lane: Lane,
    /// What the leader has not reached yet; bounded by the holds.
    pub(super) held: VecDeque<Unit>,
    /// A track that replaces the lane's in mid-run, at its next chance to begin a segment.
    pub(super) next: Option<Track>,
    /// A sound: the contribution in hand has a track for it. A rung: it was not shed.
    pub(super) bound: bool,
    /// Something of a rung is missing: it goes on at a key frame on a cut.
    pub(super) away: bool,
}

impl Feed {
    /// A rendition for a track that was announced.
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, held: VecDeque::new(), next: None, bound: true, away: true }
    }

    /// The track whose frames it takes.
    pub(super) fn track(&self) -> &Track {
        self.next.as_ref().unwrap_or(self.lane.track())
    }

    /// Where its frames go, if it is the follower at place `n`.
    pub(super) fn slot(&self, n: usize) -> Slot {
        if self.lane.is_sound() { Slot::Sound(n) } else { Slot::Rung(n) }
    }

    /// The contribution is over; a track of the next one may take a sound over.
    pub(super) fn release(&mut self) {
        self.held.clear();
        self.away = true;
        self.bound &= !self.lane.is_sound();
    }

    /// A rung that nobody is sent to any more.
    pub(super) fn is_shed(&self) -> bool {
        !self.bound && self.lane.rendition().is_dependent_video()
    }

    /// Learns from the frames of the first segment what they last; `usual` is what those of the leader do. None where
    /// nothing is known of them.
    pub(super) fn learn_pace<'a>(
        &mut self,
        mut units: impl Iterator<Item = &'a Unit> + Clone,
        usual: Option<Pace>,
    ) -> Option<Pace> {
        if self.lane.is_sound() {
            if let Some(unit) = units.next() {
                self.lane.expect_like(&unit.payload);
            }
            return Some(Pace { frame: self.lane.frame(), jitter: TimeDelta::ZERO, sound: true });
        }
        let seen = pace(units.map(|unit| unit.dts));
        let told = self.lane.track().codec.frame_rate().is_some() || usual.is_none();
        let header = told.then(|| Pace { frame: self.lane.frame(), jitter: TimeDelta::ZERO, sound: false });
        let pace = seen.or(header).or(usual)?;
        self.lane.expect(pace.frame);
        Some(pace)
    }

    /// Makes a cut that it did not come to in time.
    fn skip(&mut self, cut: Cut, out: &mut Output) -> Result<(), Error> {
        if self.lane.is_sound() {
            return self.lane.pass(cut, out);
        }
        self.away = true;
        self.lane.miss(cut, out)
    }

    fn hold(&mut self, unit: Unit) {
        self.held.push_back(unit);
        if self.lane.is_sound() {
            // Sound flows on without the leader when there is too much of it.
            return;
        }
        while let (Some(front), Some(back)) = (self.held.front(), self.held.back())
            && (back.dts - front.dts > MAX_HELD_TIME || self.held.len() > MAX_HELD_FRAMES)
        {
            self.held.pop_front();
            self.away = true;
        }
    }
}

impl Packager {
    /// Keeps a follower's frame until the leader has come so far.
    pub(super) fn hold(&mut self, slot: Slot, unit: Unit) {
        if let Slot::Sound(n) | Slot::Rung(n) = slot
            && let Some(feed) = self.followers.get_mut(n)
        {
            feed.hold(unit);
        }
    }

    /// Lets go of what the leader has reached, and of sound that waited too long for it.
    pub(super) fn release(&mut self) -> Result<(), Error> {
        let sounds = self.followers.iter().filter(|feed| feed.lane.is_sound());
        let newest = sounds.filter_map(|sound| sound.held.back()).map(|unit| unit.pts).max();
        for n in 0..self.followers.len() {
            self.settle(n)?;
            while let Some(feed) = self.followers.get(n)
                && let Some(front) = feed.held.front()
            {
                let due = match feed.slot(n) {
                    Slot::Sound(_) => {
                        feed.held.len() >= MAX_HELD_FRAMES || self.lets_be_heard(front, feed.lane.frame(), newest)
                    }
                    Slot::Rung(_) | Slot::Video => self.run.lets_be_seen(front),
                };
                let held = self.followers.get_mut(n).filter(|_| due);
                let Some(unit) = held.and_then(|feed| feed.held.pop_front()) else { break };
                self.commit(n, unit)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, n: usize, unit: Unit) -> Result<(), Error> {
        let sound = self.followers.get(n).is_some_and(|feed| feed.lane.is_sound());
        if sound { self.commit_sound(n, unit) } else { self.commit_rung(n, unit) }
    }

    /// Hands over what is held of a follower, whether the leader has reached it or not, up to the first frame that is
    /// not due; `due` is told whether it is a sound.
    pub(super) fn commit_held(&mut self, n: usize, due: impl Fn(bool, &Unit) -> bool) -> Result<(), Error> {
        while let Some(feed) = self.followers.get_mut(n)
            && let Some(unit) = feed.held.pop_front_if(|unit| due(feed.lane.is_sound(), unit))
        {
            self.commit(n, unit)?;
        }
        Ok(())
    }

    /// Followers that stopped get gaps, so that their numbers keep up with those of the others, which are at `newest`;
    /// those that were shed get them at once.
    pub(super) fn fill_late(&mut self, newest: Timestamp) -> Result<(), Error> {
        for feed in self.followers.iter_mut().filter(|feed| feed.lane.active()) {
            let shed = feed.is_shed();
            let due = |cut: &Cut| shed || cut.at + LATE <= newest;
            while let Some(cut) = self.cuts.after(feed.lane.msn()).filter(due) {
                feed.skip(cut, &mut self.out)?;
            }
            if shed {
                feed.lane.fill_parts(newest, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Brings the followers that `which` names to the newest segment.
    pub(super) fn skip_to_newest(&mut self, which: impl Fn(&Feed) -> bool) -> Result<(), Error> {
        for feed in self.followers.iter_mut().filter(|feed| feed.lane.active() && which(feed)) {
            while let Some(cut) = self.cuts.after(feed.lane.msn()) {
                feed.skip(cut, &mut self.out)?;
            }
        }
        Ok(())
    }
}

/// What the frames of a track last on average, holes left out, and how far single ones are off.
fn pace(dts: impl Iterator<Item = Timestamp> + Clone) -> Option<Pace> {
    let mut deltas: Vec<_> =
        dts.clone().zip(dts.skip(1)).map(|(a, b)| b - a).filter(|d| *d > TimeDelta::ZERO).collect();
    deltas.sort_unstable();
    let median = deltas.get(deltas.len() / 2).copied()?;
    deltas.retain(|d| *d < median.times(3));
    let sum = deltas.iter().fold(TimeDelta::ZERO, |sum, d| sum + *d);
    let count = u32::try_from(deltas.len()).unwrap_or(u32::MAX);
    let frame = Timescale::new(1_000_000).delta(Timescale::new(1_000_000).delta_ticks(sum) / i64::from(count.max(1)));
    let jitter = deltas.iter().map(|d| (*d - frame).abs()).max().unwrap_or_default();
    Some(Pace { frame, jitter, sound: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::codec::avc;
    use media::{Access, CodecConfig, TrackId};

    use crate::log::RenditionId;

    // Baseline, 640x360.
    const RECORD: [u8; 25] = [
        0x01, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0x00, 0x0a, 0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0x40,
        0x01, 0x00, 0x04, 0x68, 0xce, 0x3c, 0x80,
    ];

    fn rung() -> Feed {
        let record = Bytes::from_static(&RECORD);
        let track = Track::new(TrackId(9), CodecConfig::Avc(avc::Config::parse(record).unwrap()));
        Feed::new(Lane::new(RenditionId::dependent_video(0).unwrap(), track).unwrap())
    }

    fn unit(ms: i64) -> Unit {
        let at = Timestamp::ZERO + TimeDelta::from_millis(ms);
        Unit { dts: at, pts: at, access: Access::Dependent, payload: Bytes::new() }
    }

    #[test]
    fn a_rung_waits_for_its_leader_with_a_few_seconds_at_the_most() {
        let mut rung = rung();
        rung.away = false;
        (0..180).for_each(|n| rung.hold(unit(n * 33)));
        assert!(rung.held.len() == 180 && !rung.away, "six seconds");
        (180..9_000).for_each(|n| rung.hold(unit(n * 33)));
        assert_eq!(rung.held.len(), 182);
        assert!(rung.away, "something is missing now");
        let mut stuck = self::rung();
        (0..5_000).for_each(|_| stuck.hold(unit(0)));
        assert_eq!(stuck.held.len(), MAX_HELD_FRAMES);
    }
}
