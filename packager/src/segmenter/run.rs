//! A run of the programme: who leads, where segments are cut, and how long audio waits for video.
//!
//! Video leads where there is video: segments are cut at IDR pictures, at their presentation time. Audio frames are held
//! until video has reached them, so that each boundary before them is known; they are cut at the first frame at or
//! after it. Where video stalls, audio flows on after a bounded hold, and its segments drag empty ones of video along,
//! so that media sequence numbers stay aligned.

use media::{Access, Kind, TimeDelta, Timestamp, WallTime};

use super::lane::{Lane, Opening, Unit};
use super::sound::AUDIO_HOLD;
use super::{Packager, Phase, SHORTEST_SEGMENT, Slot, plan};
use crate::Error;

/// Video that is this far behind a cut made by audio gets a gap in its place.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// A jump forward this long is a break of the programme, not a frame that lasts for ever.
const LONGEST_JUMP: TimeDelta = TimeDelta::from_secs(30);
/// A segment may exceed the target duration by this and still round to it.
pub(super) const ROUNDING: TimeDelta = TimeDelta::from_millis(300);
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
    pub(super) start_dts: Timestamp,
    pub(super) first_msn: u64,
    /// It is the first of the broadcast, which gets short segments at its beginning.
    pub(super) first: bool,
    /// From the DTS to the PTS of the newest IDR: how far presentation runs behind decoding.
    reorder: TimeDelta,
    /// Video takes part; where audio began alone, video waits for an IDR that audio has not passed.
    joined: bool,
    pub(super) newest_video: Option<Timestamp>,
    /// The newest of all audio renditions.
    pub(super) newest_audio: Option<Timestamp>,
    /// The newest audio that came in, and what that was when the newest picture came.
    heard: Option<Timestamp>,
    heard_by_video: Option<Timestamp>,
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
            heard: None,
            heard_by_video: None,
            newest_key: None,
            gop: TimeDelta::ZERO,
            headless: false,
        }
    }
}

impl Run {
    /// Takes notice of a frame that came in.
    pub(super) fn notice(&mut self, slot: Slot, unit: &Unit) {
        match slot {
            Slot::Audio(_) => self.heard = self.heard.max(Some(unit.pts)),
            Slot::Video => self.heard_by_video = self.heard.max(Some(unit.dts)),
        }
    }

    /// So much audio came since the last picture that no more pictures are to be expected. Audio that is merely dated
    /// ahead of the pictures is not meant: the two come side by side.
    pub(super) fn video_stalls(&self) -> bool {
        let since = self.heard.zip(self.heard_by_video).map(|(heard, then)| heard - then);
        since.is_some_and(|since| since > AUDIO_HOLD)
    }
}

/// Where the presentation of a segment that begins with `unit` begins. The pictures shown before an open GOP's first one
/// belong to its segment, and how many there are is not known yet; but presentation runs evenly behind decoding.
fn edge(unit: &Unit, reorder: TimeDelta) -> Timestamp {
    if unit.access == Access::Independent { unit.pts } else { unit.dts + reorder }
}

impl Packager {
    pub(super) fn run(&mut self, slot: Slot, unit: Unit, arrival: WallTime) -> Result<(), Error> {
        let end = self.lanes().filter(|lane| lane.active()).map(Lane::end).max();
        if end.is_some_and(|end| unit.dts - end > LONGEST_JUMP) {
            self.end_run()?;
            self.phase = Phase::Waiting(None);
            return self.wait(slot, unit, arrival);
        }
        self.run.notice(slot, &unit);
        match slot {
            Slot::Video => self.run_video(unit)?,
            Slot::Audio(n) => {
                if let Some(sound) = self.sounds.get_mut(n) {
                    sound.held.push_back(unit);
                }
            }
        }
        self.release_audio()?;
        let slowest = self.lanes().filter(|lane| lane.active()).map(Lane::msn).min();
        self.cuts.forget_before(slowest.unwrap_or(0));
        Ok(())
    }

    fn run_video(&mut self, unit: Unit) -> Result<(), Error> {
        self.run.newest_video = Some(unit.dts);
        self.run.leader = Kind::Video;
        let entry = unit.access != Access::Dependent;
        if unit.access == Access::Independent {
            self.run.reorder = unit.pts - unit.dts;
        }
        let edge = edge(&unit, self.run.reorder);
        if entry && let Some(before) = self.run.newest_key.replace(edge) {
            self.run.gop = edge - before;
        }
        if !self.run.joined && !self.join_video(&unit, edge)? {
            return Ok(());
        }
        self.follow_cuts(&unit, edge)?;
        if self.video.as_ref().is_some_and(|lane| lane.msn() == self.cuts.newest()) {
            self.cut_overlong(&unit)?;
            self.cut_at_key(&unit, edge)?;
        }
        if self.next_video.is_some() {
            // Between the new header and its first key frame nothing can be decoded.
            return Ok(());
        }
        let Some(lane) = self.video.as_mut() else { return Ok(()) };
        let dts = unit.dts;
        self.run.headless = if lane.has_content() { self.run.headless } else { !entry };
        lane.push(unit, &mut self.out)?;
        self.fill_late_audio(dts)
    }

    /// Video appears in a run that audio began: it begins a segment for both, at a key frame that audio has not passed.
    fn join_video(&mut self, unit: &Unit, edge: Timestamp) -> Result<bool, Error> {
        if unit.access == Access::Dependent || self.run.newest_audio.is_some_and(|audio| audio >= edge) {
            return Ok(false);
        }
        self.run.joined = true;
        self.cut_a_hole(edge);
        let opening = Opening { msn: self.cuts.newest() + 1, at: unit.dts, discontinuity: true };
        let anchor = (self.run.wall, self.run.start_pts - self.run.reorder);
        if let Some(lane) = self.video.as_mut().filter(|lane| !lane.active()) {
            self.cuts.push(edge, true);
            lane.begin_run(opening, anchor);
        } else {
            self.catch_up_video()?;
            self.cut_video(unit.dts, edge, true)?;
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
    pub(super) fn cut_a_hole(&mut self, end: Timestamp) {
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
            let entry = unit.access != Access::Dependent;
            let end = if entry { unit.dts } else { unit.dts + lane.frame() };
            if end - start <= limit {
                break;
            }
            let at = unit.dts.min(start + limit);
            self.cut_video(at, at + self.run.reorder, false)?;
        }
        Ok(())
    }

    /// Cuts at a key frame, if the segment is long enough or the next one would come too late.
    fn cut_at_key(&mut self, unit: &Unit, edge: Timestamp) -> Result<(), Error> {
        let length = edge - self.cuts.start();
        let empty = self.video.as_ref().is_none_or(|lane| !lane.has_content());
        if unit.access == Access::Dependent || length <= TimeDelta::ZERO || empty {
            return Ok(());
        }
        if let Some(track) = self.next_video.take() {
            self.cut_video(unit.dts, edge, true)?;
            return self.video.as_mut().map_or(Ok(()), |lane| lane.change(track));
        }
        let target = plan::segment_target(self.mode);
        let ramp = self.run.first && edge - self.run.start_pts < target.times(RAMP_TARGETS) + TARGET_JITTER;
        let least = if ramp || self.run.headless { SHORTEST_SEGMENT } else { target - TARGET_JITTER };
        let next_too_late = length + self.run.gop > self.limit(ROUNDING);
        // A cut that audio has passed already would tear the renditions apart.
        let behind_audio = self.run.newest_audio.is_some_and(|audio| audio >= edge);
        if (length >= least || next_too_late) && !behind_audio {
            self.cut_video(unit.dts, edge, false)?;
        }
        Ok(())
    }

    pub(super) fn limit(&self, rounding: TimeDelta) -> TimeDelta {
        TimeDelta::from_secs(self.targets.map_or(0, |t| t.segment_secs.into())) + rounding
    }

    /// Ends segments of stalled video along with those of audio, which ended one at `at`.
    pub(super) fn drag_video(&mut self, at: Timestamp) -> Result<(), Error> {
        let stalled = self.run.newest_video.is_none_or(|video| video + VIDEO_LATE < at);
        if stalled && self.video.as_ref().is_some_and(Lane::active) { self.catch_up_video() } else { Ok(()) }
    }

    /// Ends the run: every rendition closes its segments, all with the same number.
    pub(super) fn end_run(&mut self) -> Result<(), Error> {
        (0..self.sounds.len()).try_for_each(|n| self.commit_held(n))?;
        self.catch_up_active()?;
        let reorder = self.run.reorder;
        let behind = |lane: &Lane| if lane.track().kind() == Kind::Video { reorder } else { TimeDelta::ZERO };
        let filled = self.lanes().filter(|lane| lane.active() && lane.has_content());
        let end = filled.map(|lane| lane.end() + behind(lane)).max();
        let sounds = self.sounds.iter_mut().map(|sound| &mut sound.lane);
        for lane in self.video.iter_mut().chain(sounds).filter(|lane| lane.active()) {
            if let Some(end) = end {
                let at = if lane.has_content() { lane.end() } else { end - behind(lane) };
                lane.end_segment(at, true, &mut self.out)?;
            }
            lane.rest();
        }
        self.next_msn = self.cuts.newest() + u64::from(end.is_some());
        if let (Some(lane), Some(track)) = (self.video.as_mut(), self.next_video.take()) {
            lane.change(track)?;
        }
        for sound in &mut self.sounds {
            if let Some(track) = sound.next.take() {
                sound.lane.change(track)?;
            }
        }
        Ok(())
    }

    fn catch_up_active(&mut self) -> Result<(), Error> {
        if self.video.as_ref().is_some_and(Lane::active) {
            self.catch_up_video()?;
        }
        for n in 0..self.sounds.len() {
            if self.sounds.get(n).is_some_and(|sound| sound.lane.active()) {
                self.catch_up_audio(n)?;
            }
        }
        Ok(())
    }
}
