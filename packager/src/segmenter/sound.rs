//! The audio renditions of a run: each waits for video, is cut where video was cut, and holds nobody up.

use media::{Kind, TimeDelta, Timestamp, Track};

use super::cuts::Cut;
use super::feed::Feed;
use super::lane::{Lane, Opening, Unit};
use super::{Packager, plan};
use crate::Error;

/// So much audio without a picture in between means in any case that video stalls: audio flows on, so far behind.
pub(super) const AUDIO_HOLD: TimeDelta = TimeDelta::from_secs(2);
/// The same where parts are offered, if pictures and sound came closer together so far: players have little in hand.
pub(super) const HELD_IN_PARTS: TimeDelta = TimeDelta::from_millis(500);
/// Audio leaves video the first word, also where its frames last longer.
const FOLLOWER_ROUNDING: TimeDelta = TimeDelta::from_millis(380);

/// The rendition that goes on with `track`: the one it has already; else, of those that the contribution has no track
/// for, one in its language or the first. None where a new one is due.
pub(super) fn place_for(followers: &[Feed], track: &Track) -> Option<usize> {
    let bound = sounds(followers).find(|(_, sound)| sound.bound && sound.track().id == track.id);
    let free = || sounds(followers).filter(|(_, sound)| !sound.bound);
    let same = || free().find(|(_, sound)| sound.track().language == track.language);
    bound.or_else(same).or_else(|| free().next()).map(|(n, _)| n)
}

/// Of the sound that is held, what is to be heard first: its rendition, DTS and PTS.
pub(super) fn oldest_held(followers: &[Feed]) -> Option<(usize, Timestamp, Timestamp)> {
    let fronts = sounds(followers).filter_map(|(n, sound)| Some((n, sound.held.front()?)));
    fronts.min_by_key(|(_, unit)| unit.pts).map(|(n, unit)| (n, unit.dts, unit.pts))
}

fn sounds(followers: &[Feed]) -> impl Iterator<Item = (usize, &Feed)> {
    followers.iter().enumerate().filter(|(_, feed)| feed.lane.is_sound())
}

impl Packager {
    pub(super) fn commit_sound(&mut self, n: usize, unit: Unit) -> Result<(), Error> {
        let Some(lane) = self.follower(n) else { return Ok(()) };
        let (frame, pts, active) = (lane.frame(), unit.pts, lane.active());
        if pts + frame <= self.run.start_dts || !(active || self.join_sound(n, pts, frame)) {
            return Ok(());
        }
        let Some(Feed { lane, .. }) = self.followers.get_mut(n) else { return Ok(()) };
        lane.follow(&unit, &self.cuts, &mut self.out)?;
        if lane.msn() == self.cuts.newest() {
            self.cut_by_sound(n, pts, frame)?;
        }
        self.run.newest_audio = self.run.newest_audio.max(Some(pts));
        if let Some(Feed { lane, .. }) = self.followers.get_mut(n) {
            lane.push(unit, &mut self.out)?;
        }
        self.settle(n)?;
        if self.run.leader == Kind::Audio { self.fill_late(pts) } else { Ok(()) }
    }

    /// Sound that appears late begins with a segment, so that it is aligned from its first one on.
    fn join_sound(&mut self, n: usize, pts: Timestamp, frame: TimeDelta) -> bool {
        let msn = self.cuts.newest();
        let since = pts - self.cuts.start();
        let begins = msn == self.run.first_msn || (TimeDelta::ZERO..frame).contains(&since);
        if let Some(Feed { lane, .. }) = self.followers.get_mut(n).filter(|_| begins) {
            let opening = Opening { msn, at: self.cuts.start(), discontinuity: self.cuts.start_breaks() };
            lane.begin_run(opening, (self.run.wall, self.run.start_pts), TimeDelta::ZERO);
        }
        begins
    }

    /// Cuts where sound leads, where it changes, and where stalled video lets its segment grow too long.
    fn cut_by_sound(&mut self, n: usize, pts: Timestamp, frame: TimeDelta) -> Result<(), Error> {
        if let Some(track) = self.followers.get_mut(n).and_then(|sound| sound.next.take()) {
            self.cut_a_hole(pts);
            if let Some(Feed { lane, .. }) = self.followers.get_mut(n) {
                lane.catch_up(&self.cuts, &mut self.out)?;
            }
            self.cut_sound(n, pts, true)?;
            return self.followers.get_mut(n).map_or(Ok(()), |sound| sound.lane.change(track));
        }
        let leads = self.run.leader == Kind::Audio;
        let limit = self.limit(if leads { super::run::ROUNDING } else { FOLLOWER_ROUNDING });
        while let Some(lane) = self.follower(n) {
            let start = lane.segment_start().min(self.cuts.start());
            if pts + frame - start <= limit {
                break;
            }
            self.cut_sound(n, pts.min(start + limit), false)?;
        }
        let first = self.is_at_first_segment();
        let target = if first { super::FIRST_AUDIO_SEGMENT } else { plan::segment_target(self.config.mode) };
        if leads && pts - self.cuts.start() >= target { self.cut_sound(n, pts, false) } else { Ok(()) }
    }

    fn cut_sound(&mut self, n: usize, at: Timestamp, discontinuity: bool) -> Result<(), Error> {
        self.cuts.push(Cut { at, discontinuity, entry: false });
        if let Some(Feed { lane, .. }) = self.followers.get_mut(n) {
            lane.end_segment(at, discontinuity, &mut self.out)?;
        }
        self.drag_video(at)
    }

    /// Ends a segment of sound as soon as its last frame is there; with pictures only the next one tells.
    pub(super) fn settle(&mut self, n: usize) -> Result<(), Error> {
        let Some(Feed { lane, .. }) = self.followers.get_mut(n) else { return Ok(()) };
        if !lane.is_sound() || !lane.active() || !lane.has_content() {
            return Ok(());
        }
        match self.cuts.after(lane.msn()).filter(|cut| lane.end() >= cut.at) {
            Some(cut) => lane.end_segment(cut.at, cut.discontinuity, &mut self.out),
            None => Ok(()),
        }
    }

    fn follower(&self, n: usize) -> Option<&Lane> {
        self.followers.get(n).map(|feed| &feed.lane)
    }
}
