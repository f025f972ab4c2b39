//! The audio renditions of a run: each waits for video, is cut where video was cut, and holds nobody up.

use std::collections::VecDeque;

use media::{Kind, TimeDelta, Timestamp, Track};

use super::lane::{Lane, Opening, Unit};
use super::{Packager, plan};
use crate::Error;

/// So much audio without a picture in between means that video stalls: audio flows on, so far behind.
pub(super) const AUDIO_HOLD: TimeDelta = TimeDelta::from_secs(2);
/// Nor are more frames of a track held than this, whatever their times say.
pub(super) const MOST_HELD: usize = 1_000;
/// Audio that is later than this behind the others gets a gap in its place. Where silence can be made, that was done
/// before it came here.
const AUDIO_LATE: TimeDelta = TimeDelta::from_secs(6);
/// Audio leaves video the first word, also where its frames last longer.
const FOLLOWER_ROUNDING: TimeDelta = TimeDelta::from_millis(380);

/// An audio rendition, and what of it has not reached its lane.
#[derive(Debug)]
pub(super) struct Sound {
    pub(super) lane: Lane,
    /// What video has not reached yet; bounded by the holds, after which it flows on without video.
    pub(super) held: VecDeque<Unit>,
    /// A track that replaces the lane's in mid-run.
    pub(super) next: Option<Track>,
    /// The contribution in hand has announced a track for it.
    pub(super) bound: bool,
}

impl Sound {
    /// A rendition for a track that was announced.
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, held: VecDeque::new(), next: None, bound: true }
    }

    /// The track whose frames it takes.
    pub(super) fn track(&self) -> &Track {
        self.next.as_ref().unwrap_or(self.lane.track())
    }

    /// The contribution is over; a track of the next one may take the rendition over.
    pub(super) fn release(&mut self) {
        self.held.clear();
        self.bound = false;
    }
}

/// The rendition that goes on with `track`: the one it has already; else, of those that the contribution has no track
/// for, one in its language or the first. None where a new one is due.
pub(super) fn place_for(sounds: &[Sound], track: &Track) -> Option<usize> {
    let bound = sounds.iter().position(|sound| sound.bound && sound.track().id == track.id);
    let free = || sounds.iter().enumerate().filter(|(_, sound)| !sound.bound);
    let same = || free().find(|(_, sound)| sound.track().language == track.language);
    bound.or_else(|| same().or_else(|| free().next()).map(|(n, _)| n))
}

/// Of the frames that are held, the one that is to be heard first: its rendition, DTS and PTS.
pub(super) fn oldest_held(sounds: &[Sound]) -> Option<(usize, Timestamp, Timestamp)> {
    let fronts = sounds.iter().enumerate().filter_map(|(n, sound)| Some((n, sound.held.front()?)));
    fronts.min_by_key(|(_, unit)| unit.pts).map(|(n, unit)| (n, unit.dts, unit.pts))
}

impl Packager {
    /// Lets go of what video has reached, and of what waited too long for it.
    pub(super) fn release_audio(&mut self) -> Result<(), Error> {
        let newest = self.sounds.iter().filter_map(|sound| sound.held.back()).map(|unit| unit.pts).max();
        let stalls = self.run.video_stalls();
        for n in 0..self.sounds.len() {
            self.settle_audio(n)?;
            while let Some(sound) = self.sounds.get_mut(n)
                && let Some(front) = sound.held.front().map(|unit| unit.pts)
            {
                let reached = self.run.newest_video.is_some_and(|video| video >= front);
                let overdue = stalls && newest.is_some_and(|newest| newest - front > AUDIO_HOLD);
                if self.run.leader == Kind::Video && !reached && !overdue && sound.held.len() < MOST_HELD {
                    break;
                }
                if let Some(unit) = sound.held.pop_front() {
                    self.commit_audio(n, unit)?;
                }
            }
        }
        Ok(())
    }

    /// Hands over all that is held of a rendition, whether video has reached it or not.
    pub(super) fn commit_held(&mut self, n: usize) -> Result<(), Error> {
        while let Some(unit) = self.sounds.get_mut(n).and_then(|sound| sound.held.pop_front()) {
            self.commit_audio(n, unit)?;
        }
        Ok(())
    }

    fn commit_audio(&mut self, n: usize, unit: Unit) -> Result<(), Error> {
        let Some(lane) = self.sound_lane(n) else { return Ok(()) };
        let (frame, pts, active) = (lane.frame(), unit.pts, lane.active());
        if pts + frame <= self.run.start_dts || !(active || self.join_audio(n, pts, frame)) {
            return Ok(());
        }
        let Some(lane) = self.sounds.get_mut(n).map(|sound| &mut sound.lane) else { return Ok(()) };
        while let Some(cut) = self.cuts.after(lane.msn()).filter(|cut| pts >= cut.at) {
            lane.end_segment(cut.at, cut.discontinuity, &mut self.out)?;
        }
        if lane.msn() == self.cuts.newest() {
            self.cut_by_audio(n, pts, frame)?;
        }
        self.run.newest_audio = self.run.newest_audio.max(Some(pts));
        if let Some(sound) = self.sounds.get_mut(n) {
            sound.lane.push(unit, &mut self.out)?;
        }
        self.settle_audio(n)?;
        if self.run.leader == Kind::Audio { self.fill_late_audio(pts) } else { Ok(()) }
    }

    /// Audio that appears late begins with a segment, so that it is aligned from its first one on.
    fn join_audio(&mut self, n: usize, pts: Timestamp, frame: TimeDelta) -> bool {
        let msn = self.cuts.newest();
        let since = pts - self.cuts.start();
        let begins = msn == self.run.first_msn || (TimeDelta::ZERO..frame).contains(&since);
        if let Some(lane) = self.sounds.get_mut(n).map(|sound| &mut sound.lane).filter(|_| begins) {
            let discontinuity = self.cuts.start_breaks();
            let opening = Opening { msn, at: self.cuts.start(), discontinuity };
            lane.begin_run(opening, (self.run.wall, self.run.start_pts));
        }
        begins
    }

    /// Cuts where audio leads, where it changes, and where stalled video lets its segment grow too long.
    fn cut_by_audio(&mut self, n: usize, pts: Timestamp, frame: TimeDelta) -> Result<(), Error> {
        if let Some(track) = self.sounds.get_mut(n).and_then(|sound| sound.next.take()) {
            self.cut_a_hole(pts);
            self.catch_up_audio(n)?;
            self.cut_audio(n, pts, true)?;
            return self.sounds.get_mut(n).map_or(Ok(()), |sound| sound.lane.change(track));
        }
        let leads = self.run.leader == Kind::Audio;
        let limit = self.limit(if leads { super::run::ROUNDING } else { FOLLOWER_ROUNDING });
        while let Some(lane) = self.sound_lane(n) {
            let start = lane.segment_start().min(self.cuts.start());
            if pts + frame - start <= limit {
                break;
            }
            self.cut_audio(n, pts.min(start + limit), false)?;
        }
        let first = self.run.first && self.cuts.newest() == self.run.first_msn;
        let target = if first { super::FIRST_AUDIO_SEGMENT } else { plan::segment_target(self.mode) };
        if leads && pts - self.cuts.start() >= target { self.cut_audio(n, pts, false) } else { Ok(()) }
    }

    fn cut_audio(&mut self, n: usize, at: Timestamp, discontinuity: bool) -> Result<(), Error> {
        self.cuts.push(at, discontinuity);
        if let Some(sound) = self.sounds.get_mut(n) {
            sound.lane.end_segment(at, discontinuity, &mut self.out)?;
        }
        self.drag_video(at)
    }

    /// Ends the audio segment as soon as its last frame is there.
    fn settle_audio(&mut self, n: usize) -> Result<(), Error> {
        let Some(lane) = self.sounds.get_mut(n).map(|sound| &mut sound.lane) else { return Ok(()) };
        if !lane.active() || !lane.has_content() {
            return Ok(());
        }
        match self.cuts.after(lane.msn()).filter(|cut| lane.end() >= cut.at) {
            Some(cut) => lane.end_segment(cut.at, cut.discontinuity, &mut self.out),
            None => Ok(()),
        }
    }

    /// Audio that stopped gets gaps, so that its numbers keep up with those of the others, which are at `newest`.
    pub(super) fn fill_late_audio(&mut self, newest: Timestamp) -> Result<(), Error> {
        for lane in self.sounds.iter_mut().map(|sound| &mut sound.lane).filter(|lane| lane.active()) {
            while let Some(cut) = self.cuts.after(lane.msn()).filter(|cut| cut.at + AUDIO_LATE <= newest) {
                lane.end_segment(cut.at, cut.discontinuity, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Brings a rendition to the newest segment.
    pub(super) fn catch_up_audio(&mut self, n: usize) -> Result<(), Error> {
        let Some(lane) = self.sounds.get_mut(n).map(|sound| &mut sound.lane) else { return Ok(()) };
        while let Some(cut) = self.cuts.after(lane.msn()) {
            lane.end_segment(cut.at, cut.discontinuity, &mut self.out)?;
        }
        Ok(())
    }

    fn sound_lane(&self, n: usize) -> Option<&Lane> {
        self.sounds.get(n).map(|sound| &sound.lane)
    }
}
