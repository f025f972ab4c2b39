//! A run of the programme: who leads, where segments are cut, and how long audio waits for video.
//!
//! Video leads where there is video: segments are cut at IDR pictures, at their presentation time. Audio frames are held
//! until video has reached them, so that each boundary before them is known; they are cut at the first frame at or
//! after it. Where video stalls, audio flows on after a bounded hold, and its segments drag empty ones of video along,
//! so that media sequence numbers stay aligned.

use media::{Kind, TimeDelta, Timestamp, WallTime};

use super::lane::{Lane, Opening, Unit};
use super::{Packager, Phase, SHORTEST_SEGMENT, plan};
use crate::Error;

/// Audio is held for video as long as this, then it flows on.
pub(super) const AUDIO_HOLD: TimeDelta = TimeDelta::from_secs(2);
/// Nor are more frames held than this, whatever their times say.
const MOST_HELD: usize = 1_000;
/// Audio that is later than this behind video gets a gap in its place.
const AUDIO_LATE: TimeDelta = TimeDelta::from_secs(3);
/// Video that is this far behind a cut made by audio gets a gap in its place.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// A jump forward this long is a break of the programme, not a frame that lasts for ever.
const LONGEST_JUMP: TimeDelta = TimeDelta::from_secs(30);
/// A segment may exceed the target duration by this and still round to it.
const ROUNDING: TimeDelta = TimeDelta::from_millis(300);
/// Audio leaves video the first word, also where its frames last longer.
const FOLLOWER_ROUNDING: TimeDelta = TimeDelta::from_millis(380);
/// A GOP may be this much shorter than the target and still make a segment.
const TARGET_JITTER: TimeDelta = TimeDelta::from_millis(100);
/// Segments are short until the programme has lasted this many target durations, for a quick start.
const RAMP_TARGETS: i64 = 2;

/// State that begins anew with each run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) leader: Kind,
    pub(super) start_pts: Timestamp,
    pub(super) wall: WallTime,
    start_dts: Timestamp,
    first_msn: u64,
    /// It is the first of the broadcast, which gets short segments at its beginning.
    first: bool,
    /// From the DTS to the PTS of the newest IDR: how far presentation runs behind decoding.
    reorder: TimeDelta,
    /// Video takes part; where audio began alone, video waits for an IDR that audio has not passed.
    joined: bool,
    newest_video: Option<Timestamp>,
    newest_audio: Option<Timestamp>,
    newest_key: Option<Timestamp>,
    gop: TimeDelta,
    /// The open segment did not begin with an IDR.
    headless: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self::new(Kind::Video, Timestamp::ZERO, Timestamp::ZERO, WallTime::default(), 0, true)
    }
}

impl Run {
    pub(super) fn new(
        leader: Kind,
        dts: Timestamp,
        pts: Timestamp,
        wall: WallTime,
        first_msn: u64,
        first: bool,
    ) -> Self {
        Self {
            leader,
            start_pts: pts,
            wall,
            start_dts: dts,
            first_msn,
            first,
            reorder: pts - dts,
            joined: leader == Kind::Video,
            newest_video: None,
            newest_audio: None,
            newest_key: None,
            gop: TimeDelta::ZERO,
            headless: false,
        }
    }
}

impl Packager {
    pub(super) fn run(&mut self, kind: Kind, unit: Unit, arrival: WallTime) -> Result<(), Error> {
        let active = [&self.video, &self.audio].into_iter().flatten().filter(|lane| lane.active());
        let end = active.map(Lane::end).max();
        if end.is_some_and(|end| unit.dts - end > LONGEST_JUMP) {
            self.end_run()?;
            self.phase = Phase::Waiting(None);
            return self.wait(kind, unit, arrival);
        }
        match kind {
            Kind::Video => self.run_video(unit)?,
            Kind::Audio => self.held.push_back(unit),
        }
        self.release_audio()?;
        let slowest = [&self.video, &self.audio].into_iter().flatten().filter(|l| l.active()).map(Lane::msn).min();
        self.cuts.forget_before(slowest.unwrap_or(0));
        Ok(())
    }

    fn run_video(&mut self, unit: Unit) -> Result<(), Error> {
        self.run.newest_video = Some(unit.dts);
        self.run.leader = Kind::Video;
        if unit.key {
            self.run.reorder = unit.pts - unit.dts;
            if let Some(before) = self.run.newest_key.replace(unit.pts) {
                self.run.gop = unit.pts - before;
            }
        }
        if !self.run.joined && !self.join_video(&unit)? {
            return Ok(());
        }
        let edge = if unit.key { unit.pts } else { unit.dts + self.run.reorder };
        self.follow_cuts(&unit, edge)?;
        if self.video.as_ref().is_some_and(|lane| lane.msn() == self.cuts.newest()) {
            self.cut_overlong(&unit)?;
            self.cut_at_key(&unit)?;
        }
        if self.next_video.is_some() {
            // Between the new header and its first IDR nothing can be decoded.
            return Ok(());
        }
        let Some(lane) = self.video.as_mut() else { return Ok(()) };
        let dts = unit.dts;
        self.run.headless = if lane.has_content() { self.run.headless } else { !unit.key };
        lane.push(unit, &mut self.out)?;
        self.fill_late_audio(dts)
    }

    /// Video appears in a run that audio began: it begins a segment for both, at an IDR that audio has not passed.
    fn join_video(&mut self, unit: &Unit) -> Result<bool, Error> {
        if !unit.key || self.run.newest_audio.is_some_and(|audio| audio >= unit.pts) {
            return Ok(false);
        }
        self.run.joined = true;
        self.cut_a_hole(unit.pts);
        let opening = Opening { msn: self.cuts.newest() + 1, at: unit.dts, discontinuity: true };
        let anchor = (self.run.wall, self.run.start_pts - self.run.reorder);
        if let Some(lane) = self.video.as_mut().filter(|lane| !lane.active()) {
            self.cuts.push(unit.pts, true);
            lane.begin_run(opening, anchor);
        } else {
            self.catch_up_video()?;
            self.cut_video(unit.dts, unit.pts, true)?;
        }
        Ok(true)
    }

    /// Makes the cuts that audio decided while video was away.
    fn follow_cuts(&mut self, unit: &Unit, edge: Timestamp) -> Result<(), Error> {
        let Some(lane) = self.video.as_mut() else { return Ok(()) };
        while let Some(cut) = self.cuts.after(lane.msn()).filter(|cut| edge >= cut.at) {
            let planned = cut.at - self.run.reorder;
            let near = unit.dts - planned < VIDEO_LATE && self.cuts.after(lane.msn() + 1).is_none();
            if near {
                lane.end_segment(unit.dts, cut.discontinuity, &mut self.out)?;
            } else {
                lane.end_absent(planned, cut.discontinuity, &mut self.out)?;
            }
        }
        Ok(())
    }

    fn catch_up_video(&mut self) -> Result<(), Error> {
        let Some(lane) = self.video.as_mut() else { return Ok(()) };
        while let Some(cut) = self.cuts.after(lane.msn()) {
            lane.end_absent(cut.at - self.run.reorder, cut.discontinuity, &mut self.out)?;
        }
        Ok(())
    }

    /// Decides the cuts in a stretch where nothing came, for a cut at its end.
    fn cut_a_hole(&mut self, end: Timestamp) {
        let limit = self.limit(ROUNDING);
        while end - self.cuts.start() > limit {
            self.cuts.push(self.cuts.start() + limit, false);
        }
    }

    fn cut_video(&mut self, dts: Timestamp, pts: Timestamp, discontinuity: bool) -> Result<(), Error> {
        self.cuts.push(pts, discontinuity);
        self.video.as_mut().map_or(Ok(()), |lane| lane.end_segment(dts, discontinuity, &mut self.out))
    }

    /// Cuts in the middle of a GOP, where the frame would make the segment longer than the frozen target duration.
    fn cut_overlong(&mut self, unit: &Unit) -> Result<(), Error> {
        let limit = self.limit(ROUNDING);
        while let Some(lane) = self.video.as_ref() {
            // The boundary counts too, not only what this lane made of it: audio follows the boundary.
            let start = lane.segment_start().min(self.cuts.start() - self.run.reorder);
            let end = if unit.key { unit.dts } else { unit.dts + lane.frame() };
            if end - start <= limit {
                break;
            }
            let at = unit.dts.min(start + limit);
            self.cut_video(at, at + self.run.reorder, false)?;
        }
        Ok(())
    }

    /// Cuts at an IDR, if the segment is long enough or the next IDR would come too late.
    fn cut_at_key(&mut self, unit: &Unit) -> Result<(), Error> {
        let length = unit.pts - self.cuts.start();
        let empty = self.video.as_ref().is_none_or(|lane| !lane.has_content());
        if !unit.key || length <= TimeDelta::ZERO || empty {
            return Ok(());
        }
        if let Some(track) = self.next_video.take() {
            self.cut_video(unit.dts, unit.pts, true)?;
            return self.video.as_mut().map_or(Ok(()), |lane| lane.change(track));
        }
        let target = plan::segment_target(self.mode);
        let ramp = self.run.first && unit.pts - self.run.start_pts < target.times(RAMP_TARGETS) + TARGET_JITTER;
        let least = if ramp || self.run.headless { SHORTEST_SEGMENT } else { target - TARGET_JITTER };
        let next_too_late = length + self.run.gop > self.limit(ROUNDING);
        // A cut that audio has passed already would tear the renditions apart.
        let behind_audio = self.run.newest_audio.is_some_and(|audio| audio >= unit.pts);
        if (length >= least || next_too_late) && !behind_audio {
            self.cut_video(unit.dts, unit.pts, false)?;
        }
        Ok(())
    }

    fn limit(&self, rounding: TimeDelta) -> TimeDelta {
        TimeDelta::from_secs(self.targets.map_or(0, |t| t.segment_secs.into())) + rounding
    }

    fn release_audio(&mut self) -> Result<(), Error> {
        self.settle_audio()?;
        while let (Some(front), Some(back)) = (self.held.front(), self.held.back()) {
            let reached = self.run.newest_video.is_some_and(|video| video >= front.pts);
            if self.run.leader == Kind::Video
                && !reached
                && back.pts - front.pts <= AUDIO_HOLD
                && self.held.len() < MOST_HELD
            {
                break;
            }
            if let Some(unit) = self.held.pop_front() {
                self.commit_audio(unit)?;
            }
        }
        Ok(())
    }

    /// Hands over all audio that is held, whether video has reached it or not.
    pub(super) fn commit_held(&mut self) -> Result<(), Error> {
        while let Some(unit) = self.held.pop_front() {
            self.commit_audio(unit)?;
        }
        Ok(())
    }

    fn commit_audio(&mut self, unit: Unit) -> Result<(), Error> {
        let Some(lane) = self.audio.as_mut() else { return Ok(()) };
        let frame = lane.frame();
        if unit.pts + frame <= self.run.start_dts || !(lane.active() || self.join_audio(unit.pts, frame)) {
            return Ok(());
        }
        let Some(lane) = self.audio.as_mut() else { return Ok(()) };
        while let Some(cut) = self.cuts.after(lane.msn()).filter(|cut| unit.pts >= cut.at) {
            lane.end_segment(cut.at, cut.discontinuity, &mut self.out)?;
        }
        if lane.msn() == self.cuts.newest() {
            self.cut_by_audio(&unit, frame)?;
        }
        self.run.newest_audio = Some(unit.pts);
        if let Some(lane) = self.audio.as_mut() {
            lane.push(unit, &mut self.out)?;
        }
        self.settle_audio()
    }

    /// Audio that appears late begins with a segment, so that it is aligned from its first one on.
    fn join_audio(&mut self, pts: Timestamp, frame: TimeDelta) -> bool {
        let msn = self.cuts.newest();
        let since = pts - self.cuts.start();
        let begins = msn == self.run.first_msn || (TimeDelta::ZERO..frame).contains(&since);
        if let Some(lane) = self.audio.as_mut().filter(|_| begins) {
            let discontinuity = msn == self.run.first_msn && !self.run.first;
            let opening = Opening { msn, at: self.cuts.start(), discontinuity };
            lane.begin_run(opening, (self.run.wall, self.run.start_pts));
        }
        begins
    }

    /// Cuts where audio leads, where it changes, and where stalled video lets its segment grow too long.
    fn cut_by_audio(&mut self, unit: &Unit, frame: TimeDelta) -> Result<(), Error> {
        if let Some(track) = self.next_audio.take() {
            self.cut_a_hole(unit.pts);
            self.catch_up_audio()?;
            self.cut_audio(unit.pts, true)?;
            return self.audio.as_mut().map_or(Ok(()), |lane| lane.change(track));
        }
        let leads = self.run.leader == Kind::Audio;
        let limit = self.limit(if leads { ROUNDING } else { FOLLOWER_ROUNDING });
        while let Some(lane) = self.audio.as_ref() {
            let start = lane.segment_start().min(self.cuts.start());
            if unit.pts + frame - start <= limit {
                break;
            }
            self.cut_audio(unit.pts.min(start + limit), false)?;
        }
        let first = self.run.first && self.cuts.newest() == self.run.first_msn;
        let target = if first { super::FIRST_AUDIO_SEGMENT } else { plan::segment_target(self.mode) };
        if leads && unit.pts - self.cuts.start() >= target { self.cut_audio(unit.pts, false) } else { Ok(()) }
    }

    fn cut_audio(&mut self, at: Timestamp, discontinuity: bool) -> Result<(), Error> {
        self.cuts.push(at, discontinuity);
        if let Some(lane) = self.audio.as_mut() {
            lane.end_segment(at, discontinuity, &mut self.out)?;
        }
        let stalled = self.run.newest_video.is_none_or(|video| video + VIDEO_LATE < at);
        if stalled && self.video.as_ref().is_some_and(Lane::active) {
            self.catch_up_video()?;
        }
        Ok(())
    }

    /// Ends the audio segment as soon as its last frame is there.
    fn settle_audio(&mut self) -> Result<(), Error> {
        let Some(lane) = self.audio.as_mut().filter(|lane| lane.active() && lane.has_content()) else { return Ok(()) };
        match self.cuts.after(lane.msn()).filter(|cut| lane.end() >= cut.at) {
            Some(cut) => lane.end_segment(cut.at, cut.discontinuity, &mut self.out),
            None => Ok(()),
        }
    }

    /// Audio that stopped gets gaps, so that its numbers keep up with video's.
    fn fill_late_audio(&mut self, video: Timestamp) -> Result<(), Error> {
        let Some(lane) = self.audio.as_mut().filter(|lane| lane.active()) else { return Ok(()) };
        while let Some(cut) = self.cuts.after(lane.msn()).filter(|cut| cut.at + AUDIO_LATE <= video) {
            lane.end_segment(cut.at, cut.discontinuity, &mut self.out)?;
        }
        Ok(())
    }

    /// Ends the run: every rendition closes its segments, all with the same number.
    pub(super) fn end_run(&mut self) -> Result<(), Error> {
        self.commit_held()?;
        self.catch_up_active()?;
        let lanes = || [&self.video, &self.audio].into_iter().flatten().filter(|lane| lane.active());
        let reorder = self.run.reorder;
        let ends = lanes().filter(|lane| lane.has_content()).map(|lane| match lane.track().kind() {
            Kind::Video => lane.end() + reorder,
            Kind::Audio => lane.end(),
        });
        let end = ends.max();
        for lane in [&mut self.video, &mut self.audio].into_iter().flatten().filter(|lane| lane.active()) {
            let offset = if lane.track().kind() == Kind::Video { reorder } else { TimeDelta::ZERO };
            if let Some(end) = end {
                let at = if lane.has_content() { lane.end() } else { end - offset };
                lane.end_segment(at, true, &mut self.out)?;
            }
            lane.rest();
        }
        self.next_msn = self.cuts.newest() + u64::from(end.is_some());
        for (lane, next) in [(&mut self.video, self.next_video.take()), (&mut self.audio, self.next_audio.take())] {
            if let (Some(lane), Some(track)) = (lane, next) {
                lane.change(track)?;
            }
        }
        Ok(())
    }

    fn catch_up_active(&mut self) -> Result<(), Error> {
        if self.video.as_ref().is_some_and(Lane::active) {
            self.catch_up_video()?;
        }
        if self.audio.as_ref().is_some_and(Lane::active) { self.catch_up_audio() } else { Ok(()) }
    }

    fn catch_up_audio(&mut self) -> Result<(), Error> {
        let Some(lane) = self.audio.as_mut() else { return Ok(()) };
        while let Some(cut) = self.cuts.after(lane.msn()) {
            lane.end_segment(cut.at, cut.discontinuity, &mut self.out)?;
        }
        Ok(())
    }
}
