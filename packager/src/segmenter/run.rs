//! A run of the programme: who leads, where segments are cut, and how long audio waits for video.
//!
//! Video leads where there is video: segments are cut at IDR pictures, at their presentation time. Frames of followers
//! are held until the leader has reached them, so that each boundary before them is known; they are cut at the first
//! frame at or after it. Where video stalls, audio flows on after a bounded hold, and its segments drag empty ones of
//! all pictures along, so that media sequence numbers stay aligned.

use media::{Access, Kind, LeastDelay, TimeDelta, Timestamp, WallTime};

use super::cuts::Cut;
use super::dates::MIN_APART;
use super::feed::Feed;
use super::lane::{Lane, Opening, Outlook, Unit};
use super::sound::{AUDIO_HOLD, HELD_IN_PARTS};
use super::{FIRST_SEGMENT, Packager, Phase, SHORTEST_SEGMENT, Slot, plan};
use crate::Error;

/// Video that is this far behind a cut made by audio gets a gap in its place.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// Sound may come this much further ahead of the pictures than it did so far.
const OUT_OF_STEP: TimeDelta = TimeDelta::from_millis(50);
/// The last picture is shown on for this long: no encoder that goes on is much slower. Then pictures are taken to be lost,
/// and what comes back needs a key frame.
const MAX_HOLD: TimeDelta = TimeDelta::from_secs(3);
/// Frames of clocks in milliseconds may come this much early.
const CLOCK_JITTER: TimeDelta = TimeDelta::from_millis(2);
/// GOPs that differ by no more are equally long.
const GOP_JITTER: TimeDelta = TimeDelta::from_millis(10);
/// GOPs that are looked ahead for the next segment boundary: a target duration of twenty seconds has no more of half a second.
const GOPS_AHEAD: i64 = 40;
/// A jump forward this long is a break of the programme, not a frame that lasts for ever.
const MAX_JUMP: TimeDelta = TimeDelta::from_secs(30);
/// A segment may exceed the target duration by this and still round to it.
pub(super) const ROUNDING: TimeDelta = TimeDelta::from_millis(300);
/// A GOP may be this much shorter than the target and still make a segment.
const TARGET_JITTER: TimeDelta = TimeDelta::from_millis(100);

/// State that begins anew with each run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) leader: Kind,
    pub(super) start_pts: Timestamp,
    pub(super) wall: WallTime,
    /// How the clock of the frames relates to that of their arrival.
    pub(super) delay: LeastDelay,
    pub(super) start_dts: Timestamp,
    pub(super) first_msn: u64,
    /// It is the first of the broadcast, which begins with a short segment.
    pub(super) first: bool,
    /// Video takes part; where audio began alone, video waits for an IDR that audio has not passed.
    joined: bool,
    pub(super) newest_video: Option<Timestamp>,
    /// The newest of all audio renditions.
    pub(super) newest_audio: Option<Timestamp>,
    /// The newest audio that came in, and what that was when the newest picture came.
    heard: Option<Timestamp>,
    heard_by_video: Option<Timestamp>,
    /// How long before the first picture the sound begins.
    head_start: TimeDelta,
    /// The most sound that came between two pictures.
    apart: TimeDelta,
    /// How much further than the pictures the sound was, each time that one came.
    ahead: TimeDelta,
    last_dts: Option<Timestamp>,
    newest_key: Option<Timestamp>,
    gop: TimeDelta,
    /// The GOP before was as long: the next key frame can be foreseen.
    regular: bool,
    /// The open segment did not begin with an IDR, or a picture stood in it.
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
            delay: LeastDelay::default(),
            start_dts: dts,
            first_msn,
            first,
            joined: leader == Kind::Video,
            newest_video: None,
            newest_audio: None,
            heard: None,
            heard_by_video: None,
            head_start: TimeDelta::ZERO,
            apart: TimeDelta::ZERO,
            ahead: TimeDelta::ZERO,
            last_dts: None,
            newest_key: None,
            gop: TimeDelta::ZERO,
            regular: false,
            headless: false,
        }
    }
}

impl Run {
    /// Takes notice of a frame that came in.
    pub(super) fn notice(&mut self, slot: Slot, unit: &Unit) {
        match slot {
            Slot::Sound(_) => {
                self.heard = self.heard.max(Some(unit.pts));
                // What ends before the first picture is decoded is left out.
                self.head_start = self.head_start.max(self.start_pts - unit.pts.max(self.start_dts));
            }
            Slot::Video => {
                let step = self.last_dts.replace(unit.dts).map(|last| unit.dts - last);
                if let Some((since, step)) = self.since_video().zip(step.filter(|step| *step > TimeDelta::ZERO)) {
                    self.ahead = self.ahead.max((since - step).min(AUDIO_HOLD));
                }
                self.apart =
                    self.since_video().filter(|since| *since <= AUDIO_HOLD).max(Some(self.apart)).unwrap_or_default();
                self.heard_by_video = self.heard.max(Some(unit.dts));
            }
            Slot::Rung(_) => {}
        }
    }

    /// So much audio came since the last picture.
    fn since_video(&self) -> Option<TimeDelta> {
        self.heard.zip(self.heard_by_video).map(|(heard, then)| heard - then)
    }

    /// What time it is for the pictures, on their decode timeline, when none has come since the newest: as far as the sound has
    /// come, less what it may be ahead.
    fn video_time(&self) -> Option<Timestamp> {
        let since = self.since_video()? - self.ahead - OUT_OF_STEP;
        self.newest_video.filter(|_| since > TimeDelta::ZERO).map(|video| video + since)
    }

    /// Video has come as far as the frame of a rung: it was cut there or will not be. Rungs never overtake it.
    pub(super) fn lets_be_seen(&self, unit: &Unit) -> bool {
        let Some(video) = self.newest_video else { return false };
        let dependent = unit.access == Access::Dependent;
        video >= unit.dts && (dependent || video.max(self.newest_key.unwrap_or(video)) >= unit.pts)
    }
}

impl Packager {
    /// How long sound waits for pictures: twice as long as it had to so far. Players of parts have little in hand: they
    /// would run dry where it waits for longer.
    fn sound_waits(&self) -> TimeDelta {
        let least = if self.parts.is_some() { HELD_IN_PARTS } else { AUDIO_HOLD };
        self.run.apart.times(2).clamp(least, AUDIO_HOLD)
    }

    /// So much audio came since the last picture that no more pictures are to be expected. Audio that is merely dated
    /// ahead of the pictures is not meant: the two come side by side.
    pub(super) fn video_stalls(&self) -> bool {
        self.run.since_video().is_some_and(|since| since > self.sound_waits())
    }

    /// Video has come as far as the frame of a sound, which lasts for `lasts`, or has stalled for so long that it is not waited
    /// for; `newest` is the newest sound that is held. The next picture may begin a segment: where it is due before the
    /// frame ends it is waited for, as it tells whether another part of the sound follows.
    pub(super) fn lets_be_heard(&self, unit: &Unit, lasts: TimeDelta, newest: Option<Timestamp>) -> bool {
        let kept_up = self.leader().and_then(Lane::kept_up).is_some_and(|at| at > unit.pts);
        let ends = unit.pts + lasts;
        let next = |video| self.leader().map_or(ends, |lane| video + lane.frame() - CLOCK_JITTER);
        let seen = |video| video >= unit.pts && next(video) >= ends;
        let reached = kept_up || self.run.newest_video.is_some_and(seen);
        let overdue = || self.video_stalls() && newest.is_some_and(|newest| newest - unit.pts > self.sound_waits());
        self.run.leader != Kind::Video || reached || overdue()
    }

    pub(super) fn run(&mut self, slot: Slot, unit: Unit, arrival: WallTime) -> Result<(), Error> {
        let end = self.lanes().filter(|lane| lane.active()).map(Lane::end).max();
        let jumps = end.is_some_and(|end| unit.dts - end > MAX_JUMP);
        // A rung may see a jump before the leader does: it waits.
        if jumps && !matches!(slot, Slot::Rung(_)) {
            self.end_run()?;
            self.phase = Phase::Waiting(None);
            return self.wait(slot, unit, arrival);
        }
        self.run.notice(slot, &unit);
        match slot {
            Slot::Video => self.run_video(unit)?,
            Slot::Sound(_) | Slot::Rung(_) => self.hold(slot, unit),
        }
        self.date_newest();
        self.keep_up()?;
        self.release()?;
        self.date_newest();
        self.stand()?;
        let slowest = self.lanes().filter(|lane| lane.active()).map(Lane::msn).min();
        self.cuts.forget_before(slowest.unwrap_or(0));
        Ok(())
    }

    fn run_video(&mut self, unit: Unit) -> Result<(), Error> {
        self.run.newest_video = Some(unit.dts);
        self.run.leader = Kind::Video;
        let entry = unit.access != Access::Dependent;
        let Some(edge) = self.video.as_mut().map(|feed| feed.lane.edge(&unit)) else { return Ok(()) };
        if entry && let Some(before) = self.run.newest_key.replace(edge) {
            let gop = edge - before;
            self.run.regular = (gop - self.run.gop).abs() <= GOP_JITTER;
            self.run.gop = gop;
        }
        if !self.run.joined && !self.join_video(&unit, edge)? {
            return Ok(());
        }
        if let Some(feed) = self.video.as_mut() {
            feed.lane.follow(&unit, &self.cuts, &mut self.out)?;
        }
        if self.leader().is_some_and(|lane| lane.msn() == self.cuts.newest()) {
            self.cut_overlong(&unit)?;
            self.cut_at_key(&unit, edge)?;
        }
        let outlook = self.leader().map_or(Outlook::Open, |lane| self.outlook(lane.msn()));
        // Between a new header and its first key frame nothing can be decoded.
        let Some(feed) = self.video.as_mut().filter(|feed| feed.next.is_none()) else { return Ok(()) };
        let dts = unit.dts;
        self.run.headless = if feed.lane.has_content() { self.run.headless } else { !entry };
        feed.lane.foresee(outlook);
        feed.lane.push(unit, &mut self.out)?;
        if feed.lane.stands() {
            // It was of no use behind the picture that stands.
            feed.lane.stand(feed.lane.shown(dts), &mut self.out)?;
        }
        self.fill_late(dts)
    }

    /// Pictures are long in coming while sound goes on: the last one is shown on.
    fn keep_up(&mut self) -> Result<(), Error> {
        let Some(now) = self.run.video_time().filter(|_| self.parts.is_some() && self.holds_last()) else {
            return Ok(());
        };
        let Some(shown) = self.leader().map(|lane| lane.shown(now)) else { return Ok(()) };
        self.cut_a_hole(shown);
        self.date_newest();
        let Some(feed) = self.video.as_mut() else { return Ok(()) };
        if shown >= self.cuts.start() {
            feed.lane.catch_up(&self.cuts, &mut self.out)?;
        }
        feed.lane.keep_up(now, &mut self.out)
    }

    /// The last picture is shown on until others come; not where the sound comes in bunches that say nothing of the time.
    fn holds_last(&self) -> bool {
        let in_step = self.run.ahead + OUT_OF_STEP <= HELD_IN_PARTS;
        let brief = self.run.since_video().is_some_and(|since| since <= MAX_HOLD);
        in_step && brief && self.leader().is_some_and(|lane| lane.active() && lane.can_hold_last())
    }

    /// What is known of the end of segment `msn`.
    pub(super) fn outlook(&self, msn: u64) -> Outlook {
        if let Some(cut) = self.cuts.after(msn) {
            return Outlook::Ends(cut.at);
        }
        let Some(key) = self.run.newest_key.filter(|_| self.run.regular && msn == self.cuts.newest()) else {
            return Outlook::Open;
        };
        let keys = (1..=GOPS_AHEAD).map(|n| key + self.run.gop.times(n));
        keys.into_iter().find(|at| self.cuts_at(*at)).map_or(Outlook::Open, Outlook::Ends)
    }

    /// Pictures stay away while sound goes on: one stands as far as that has come.
    fn stand(&mut self) -> Result<(), Error> {
        let away = self.video_stalls() && !self.holds_last();
        let Some(heard) = self.run.newest_audio.filter(|_| away) else { return Ok(()) };
        let able = |feed: &&mut Feed| feed.lane.active() && feed.lane.can_stand();
        let Some(feed) = self.video.as_mut().filter(able) else { return Ok(()) };
        feed.lane.catch_up(&self.cuts, &mut self.out)?;
        feed.lane.stand(heard, &mut self.out)?;
        // What comes back begins a segment as soon as it can.
        self.run.headless |= feed.lane.stands();
        Ok(())
    }

    /// Video appears in a run that audio began: it begins a segment for both, at a key frame that audio has not passed.
    fn join_video(&mut self, unit: &Unit, edge: Timestamp) -> Result<bool, Error> {
        if unit.access == Access::Dependent || self.run.newest_audio.is_some_and(|audio| audio >= edge) {
            return Ok(false);
        }
        self.run.joined = true;
        self.cut_a_hole(edge);
        let cut = Cut { at: edge, discontinuity: true, entry: true };
        let Some(feed) = self.video.as_mut() else { return Ok(false) };
        if feed.lane.active() {
            feed.lane.catch_up(&self.cuts, &mut self.out)?;
            self.cut_video(unit.dts, cut)?;
        } else {
            let opening = Opening { msn: self.cuts.newest() + 1, at: edge, discontinuity: true };
            self.cuts.push(cut);
            feed.lane.begin_run(opening, (self.run.wall, self.run.start_pts), edge - unit.dts);
        }
        Ok(true)
    }

    /// Decides the cuts in a stretch where nothing came, for a cut at its end.
    pub(super) fn cut_a_hole(&mut self, end: Timestamp) {
        let limit = self.limit(ROUNDING);
        while end - self.cuts.start() > limit {
            self.cuts.push(Cut { at: self.cuts.start() + limit, discontinuity: false, entry: false });
        }
    }

    /// Cuts before the picture that is decoded at `dts`.
    fn cut_video(&mut self, dts: Timestamp, cut: Cut) -> Result<(), Error> {
        self.cuts.push(cut);
        self.video.as_mut().map_or(Ok(()), |feed| feed.lane.end_segment(dts, cut.discontinuity, &mut self.out))
    }

    /// Cuts in the middle of a GOP, where the frame would make the segment longer than the frozen target duration.
    fn cut_overlong(&mut self, unit: &Unit) -> Result<(), Error> {
        let limit = self.limit(ROUNDING);
        while let Some(lane) = self.leader() {
            // The boundary counts too, not only what this lane made of it: audio follows the boundary.
            let start = lane.segment_start().min(lane.decoded(self.cuts.start()));
            let entry = unit.access != Access::Dependent;
            let end = if entry { unit.dts } else { unit.dts + lane.frame() };
            if end - start <= limit {
                break;
            }
            let dts = unit.dts.min(start + limit);
            let cut = Cut { at: lane.shown(dts), discontinuity: false, entry: false };
            if let Some(feed) = self.video.as_mut().filter(|_| unit.dts - dts > VIDEO_LATE) {
                feed.lane.miss_a_cut();
            }
            self.cut_video(dts, cut)?;
        }
        Ok(())
    }

    /// Cuts at a key frame, if the segment is long enough or the next one would come too late.
    fn cut_at_key(&mut self, unit: &Unit, edge: Timestamp) -> Result<(), Error> {
        let length = edge - self.cuts.start();
        if unit.access == Access::Dependent || length <= TimeDelta::ZERO {
            return Ok(());
        }
        if let Some(track) = self.video.as_mut().and_then(|feed| feed.next.take()) {
            self.cut_video(unit.dts, Cut { at: edge, discontinuity: true, entry: true })?;
            return self.video.as_mut().map_or(Ok(()), |feed| feed.lane.change(track));
        }
        if self.leader().is_none_or(|lane| !lane.has_content()) {
            return Ok(());
        }
        // A cut that audio has passed already would tear the renditions apart.
        let behind_audio = self.run.newest_audio.is_some_and(|audio| audio >= edge);
        if self.cuts_at(edge) && !behind_audio {
            self.cut_video(unit.dts, Cut { at: edge, discontinuity: false, entry: true })?;
        }
        Ok(())
    }

    /// True until the first segment of the broadcast was closed.
    pub(super) fn is_at_first_segment(&self) -> bool {
        self.run.first && self.cuts.newest() == self.run.first_msn
    }

    /// A key frame at `edge` ends the newest segment, which is long enough or would become too long with the next GOP.
    fn cuts_at(&self, edge: Timestamp) -> bool {
        let length = edge - self.cuts.start();
        let least = match self.run.headless {
            true => SHORTEST_SEGMENT,
            false if self.is_at_first_segment() => FIRST_SEGMENT,
            false => plan::segment_target(self.config.mode) - TARGET_JITTER,
        };
        length >= least || length + self.run.gop > self.limit(ROUNDING)
    }

    pub(super) fn limit(&self, rounding: TimeDelta) -> TimeDelta {
        // The first segment of the sound is longer by what was heard before the first picture.
        let head_start = if self.cuts.start() == self.run.start_pts { self.run.head_start } else { TimeDelta::ZERO };
        TimeDelta::from_secs(self.targets.map_or(0, |t| t.segment_secs.into())) + rounding - head_start
    }

    /// Ends segments of stalled video along with those of audio, which ended one at `at`.
    pub(super) fn drag_video(&mut self, at: Timestamp) -> Result<(), Error> {
        let stalled = self.run.newest_video.is_none_or(|video| video + VIDEO_LATE < at);
        match self.video.as_mut().filter(|feed| stalled && feed.lane.active()) {
            Some(feed) => feed.lane.catch_up(&self.cuts, &mut self.out)?,
            None => return Ok(()),
        }
        self.skip_to_newest(|feed| !feed.lane.is_sound())
    }

    /// Ends the run: every rendition closes its segments, all with the same number.
    pub(super) fn end_run(&mut self) -> Result<(), Error> {
        self.take_all_held()?;
        self.skip_to_newest(|_| true)?;
        let filled = self.lanes().filter(|lane| lane.active() && lane.has_content());
        let end = filled.map(|lane| lane.shown(lane.end())).max();
        if let Some(end) = end {
            self.wall_end = self.date_of(end);
            self.wall_floor = self.date_of(self.cuts.start() + MIN_APART);
        }
        for feed in self.video.iter_mut().chain(&mut self.followers).filter(|feed| feed.lane.active()) {
            let lane = &mut feed.lane;
            if let Some(end) = end {
                let own = lane.has_content() && !lane.stands();
                let at = if own { lane.end() } else { lane.decoded(end) };
                lane.end_segment(at, true, &mut self.out)?;
            }
            lane.rest(&mut self.out);
        }
        self.next_msn = self.cuts.newest() + u64::from(end.is_some());
        for feed in self.video.iter_mut().chain(&mut self.followers) {
            // It goes on where decoding may start.
            feed.away = true;
            if let Some(track) = feed.next.take() {
                feed.lane.change(track)?;
            }
        }
        Ok(())
    }

    /// Takes what was held back for the leader, which goes no further.
    pub(super) fn take_all_held(&mut self) -> Result<(), Error> {
        // Of rungs no more is shown than of the leader.
        let led = self.leader().filter(|lane| lane.active()).map(|lane| lane.shown(lane.end()));
        for n in 0..self.followers.len() {
            self.commit_held(n, |sound, unit| sound || led.is_some_and(|led| unit.pts < led))?;
        }
        match self.video.as_mut().filter(|feed| feed.lane.active()) {
            Some(feed) => feed.lane.catch_up(&self.cuts, &mut self.out),
            None => Ok(()),
        }
    }
}
