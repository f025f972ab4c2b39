//! A run of the programme: who leads, where segments are cut, and how long audio waits for video.
//!
//! Video leads where there is video: segments are cut at IDR pictures, at their presentation time. Frames of followers
//! are held until the leader has reached them, so that each boundary before them is known; they are cut at the first
//! frame at or after it. Where video stalls, audio flows on after a bounded hold, and its segments drag empty ones of
//! all pictures along, so that media sequence numbers stay aligned.

mod boundaries;
mod gop_guard;

use media::{Access, Frame, Kind, LeastDelay, TimeDelta, Timestamp, WallTime};

use super::audio::{AUDIO_HOLD, AUDIO_HOLD_WITH_PARTS};
use super::dates::MIN_APART;
use super::rendition::{ExpectedEnd, RenditionInput, RenditionWriter, SegmentStart};
use super::{FIRST_SEGMENT, MIN_SEGMENT, Packager, Phase, Slot, targets};
use crate::Error;
pub(super) use boundaries::{Boundaries, Boundary};
pub(super) use gop_guard::GopGuard;

/// Video that is this far behind a cut made by audio gets a gap in its place.
const VIDEO_LATE: TimeDelta = TimeDelta::from_secs(1);
/// Sound may come this much further ahead of the pictures than it did so far.
const AUDIO_AHEAD_TOLERANCE: TimeDelta = TimeDelta::from_millis(50);
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
pub(super) struct Period {
    pub(super) reference_kind: Kind,
    pub(super) start_pts: Timestamp,
    pub(super) wall: WallTime,
    /// How the clock of the frames relates to that of their arrival.
    pub(super) delay: LeastDelay,
    pub(super) start_dts: Timestamp,
    pub(super) first_msn: u64,
    /// It is the first of the broadcast, which begins with a short segment.
    pub(super) first: bool,
    /// Video takes part; where audio began alone, video waits for an IDR that audio has not passed.
    video_joined: bool,
    pub(super) newest_video: Option<Timestamp>,
    /// The newest of all audio renditions.
    pub(super) newest_audio: Option<Timestamp>,
    /// The newest audio that came in, and what that was when the newest picture came.
    newest_received_audio: Option<Timestamp>,
    audio_at_last_video: Option<Timestamp>,
    /// How long before the first picture the sound begins.
    audio_lead: TimeDelta,
    /// The most sound that came between two pictures.
    max_audio_step: TimeDelta,
    /// How much further than the pictures the sound was, each time that one came.
    audio_ahead: TimeDelta,
    last_dts: Option<Timestamp>,
    newest_key: Option<Timestamp>,
    gop: TimeDelta,
    /// The GOP before was as long: the next key frame can be foreseen.
    regular_gops: bool,
    /// The open segment did not begin with an IDR, or a picture stood in it.
    headless: bool,
}

impl Default for Period {
    fn default() -> Self {
        Self::new(Kind::Video, Timestamp::ZERO, Timestamp::ZERO, WallTime::default(), 0, true)
    }
}

impl Period {
    pub(super) fn new(
        reference_kind: Kind,
        dts: Timestamp,
        pts: Timestamp,
        wall: WallTime,
        first_msn: u64,
        first: bool,
    ) -> Self {
        Self {
            reference_kind,
            start_pts: pts,
            wall,
            delay: LeastDelay::default(),
            start_dts: dts,
            first_msn,
            first,
            video_joined: reference_kind == Kind::Video,
            newest_video: None,
            newest_audio: None,
            newest_received_audio: None,
            audio_at_last_video: None,
            audio_lead: TimeDelta::ZERO,
            max_audio_step: TimeDelta::ZERO,
            audio_ahead: TimeDelta::ZERO,
            last_dts: None,
            newest_key: None,
            gop: TimeDelta::ZERO,
            regular_gops: false,
            headless: false,
        }
    }
}

impl Period {
    /// Takes notice of a frame that came in.
    pub(super) fn note(&mut self, slot: Slot, frame: &Frame) {
        match slot {
            Slot::Audio(_) => {
                self.newest_received_audio = self.newest_received_audio.max(Some(frame.pts));
                // What ends before the first picture is decoded is left out.
                self.audio_lead = self.audio_lead.max(self.start_pts - frame.pts.max(self.start_dts));
            }
            Slot::Video => {
                let step = self.last_dts.replace(frame.dts).map(|last| frame.dts - last);
                if let Some((since, step)) = self.since_video().zip(step.filter(|step| *step > TimeDelta::ZERO)) {
                    self.audio_ahead = self.audio_ahead.max((since - step).min(AUDIO_HOLD));
                }
                self.max_audio_step = self
                    .since_video()
                    .filter(|since| *since <= AUDIO_HOLD)
                    .max(Some(self.max_audio_step))
                    .unwrap_or_default();
                self.audio_at_last_video = self.newest_received_audio.max(Some(frame.dts));
            }
            Slot::DependentVideo(_) => {}
        }
    }

    /// So much audio came since the last picture.
    fn since_video(&self) -> Option<TimeDelta> {
        self.newest_received_audio.zip(self.audio_at_last_video).map(|(heard, then)| heard - then)
    }

    /// What time it is for the pictures, on their decode timeline, when none has come since the newest: as far as the sound has
    /// come, less what it may be ahead.
    fn video_time(&self) -> Option<Timestamp> {
        let since = self.since_video()? - self.audio_ahead - AUDIO_AHEAD_TOLERANCE;
        self.newest_video.filter(|_| since > TimeDelta::ZERO).map(|video| video + since)
    }

    /// Video has come as far as the frame of a rung: it was cut there or will not be. Rungs never overtake it.
    pub(super) fn may_release_video(&self, frame: &Frame) -> bool {
        let Some(video) = self.newest_video else { return false };
        let dependent = frame.access == Access::Dependent;
        video >= frame.dts && (dependent || video.max(self.newest_key.unwrap_or(video)) >= frame.pts)
    }
}

impl Packager {
    /// How long sound waits for pictures: twice as long as it had to so far. Players of parts have little in hand: they
    /// would run dry where it waits for longer.
    fn audio_wait(&self) -> TimeDelta {
        let least = if self.parts.is_some() { AUDIO_HOLD_WITH_PARTS } else { AUDIO_HOLD };
        self.period.max_audio_step.times(2).clamp(least, AUDIO_HOLD)
    }

    /// So much audio came since the last picture that no more pictures are to be expected. Audio that is merely dated
    /// ahead of the pictures is not meant: the two come side by side.
    pub(super) fn video_stalls(&self) -> bool {
        self.period.since_video().is_some_and(|since| since > self.audio_wait())
    }

    /// Video has come as far as the frame of a sound, which lasts for `lasts`, or has stalled for so long that it is not waited
    /// for; `newest` is the newest sound that is held. The next picture may begin a segment: where it is due before the
    /// frame ends it is waited for, as it tells whether another part of the sound follows.
    pub(super) fn may_release_audio(&self, frame: &Frame, lasts: TimeDelta, newest: Option<Timestamp>) -> bool {
        let advanced_to = self.reference().and_then(RenditionWriter::advanced_to).is_some_and(|at| at > frame.pts);
        let ends = frame.pts + lasts;
        let next = |video| self.reference().map_or(ends, |writer| video + writer.frame_duration() - CLOCK_JITTER);
        let seen = |video| video >= frame.pts && next(video) >= ends;
        let reached = advanced_to || self.period.newest_video.is_some_and(seen);
        let overdue = || self.video_stalls() && newest.is_some_and(|newest| newest - frame.pts > self.audio_wait());
        self.period.reference_kind != Kind::Video || reached || overdue()
    }

    pub(super) fn process(&mut self, slot: Slot, frame: Frame, arrival: WallTime) -> Result<(), Error> {
        let end = self.writers().filter(|writer| writer.is_active()).map(RenditionWriter::end).max();
        let jumps = end.is_some_and(|end| frame.dts - end > MAX_JUMP);
        // A rung may see a jump before the leader does: it waits.
        if jumps && !matches!(slot, Slot::DependentVideo(_)) {
            self.end_period()?;
            self.phase = Phase::Waiting(None);
            return self.wait_for_start(slot, frame, arrival);
        }
        self.period.note(slot, &frame);
        match slot {
            Slot::Video => self.process_video(frame)?,
            Slot::Audio(_) | Slot::DependentVideo(_) => self.queue(slot, frame),
        }
        self.date_newest();
        self.extend_video()?;
        self.drain_ready()?;
        self.date_newest();
        self.repeat_video_key_frame()?;
        let slowest = self.writers().filter(|writer| writer.is_active()).map(RenditionWriter::msn).min();
        self.boundaries.forget_before(slowest.unwrap_or(0));
        Ok(())
    }

    fn process_video(&mut self, frame: Frame) -> Result<(), Error> {
        self.period.newest_video = Some(frame.dts);
        self.period.reference_kind = Kind::Video;
        let entry = frame.access != Access::Dependent;
        let Some(edge) = self.video.as_mut().map(|input| input.writer.boundary_pts(&frame)) else { return Ok(()) };
        if entry && let Some(before) = self.period.newest_key.replace(edge) {
            let gop = edge - before;
            self.period.regular_gops = (gop - self.period.gop).abs() <= GOP_JITTER;
            self.period.gop = gop;
        }
        if !self.period.video_joined && !self.join_video(&frame, edge)? {
            return Ok(());
        }
        if let Some(input) = self.video.as_mut() {
            input.writer.cross_before(&frame, &self.boundaries, &mut self.out)?;
        }
        if self.reference().is_some_and(|writer| writer.msn() == self.boundaries.newest_msn()) {
            self.split_overlong(&frame)?;
            self.end_at_key_frame(&frame, edge)?;
        }
        let expected_end = self.reference().map_or(ExpectedEnd::Unknown, |writer| self.expected_end(writer.msn()));
        // Between a new header and its first key frame nothing can be decoded.
        let Some(input) = self.video.as_mut().filter(|input| input.next_track.is_none()) else { return Ok(()) };
        let dts = frame.dts;
        self.period.headless = if input.writer.has_content() { self.period.headless } else { !entry };
        input.writer.expect_end(expected_end);
        input.writer.push(frame, &mut self.out)?;
        if input.writer.repeats_key_frame() {
            // It was of no use behind the picture that stands.
            input.writer.repeat_key_frame(input.writer.to_presentation_time(dts), &mut self.out)?;
        }
        self.fill_overdue(dts)
    }

    /// Pictures are long in coming while sound goes on: the last one is shown on.
    fn extend_video(&mut self) -> Result<(), Error> {
        let Some(now) = self.period.video_time().filter(|_| self.parts.is_some() && self.extends_last_frame()) else {
            return Ok(());
        };
        let Some(shown) = self.reference().map(|writer| writer.to_presentation_time(now)) else { return Ok(()) };
        self.split_gap(shown);
        self.date_newest();
        let Some(input) = self.video.as_mut() else { return Ok(()) };
        if shown >= self.boundaries.newest_start_time() {
            input.writer.cross_all(&self.boundaries, &mut self.out)?;
        }
        input.writer.advance_to(now, &mut self.out)
    }

    /// The last picture is shown on until others come; not where the sound comes in bunches that say nothing of the time.
    fn extends_last_frame(&self) -> bool {
        let in_step = self.period.audio_ahead + AUDIO_AHEAD_TOLERANCE <= AUDIO_HOLD_WITH_PARTS;
        let brief = self.period.since_video().is_some_and(|since| since <= MAX_HOLD);
        in_step && brief && self.reference().is_some_and(|writer| writer.is_active() && writer.can_extend_last_frame())
    }

    /// What is known of the end of segment `msn`.
    pub(super) fn expected_end(&self, msn: u64) -> ExpectedEnd {
        if let Some(boundary) = self.boundaries.end_of(msn) {
            return ExpectedEnd::At(boundary.at);
        }
        let Some(key) =
            self.period.newest_key.filter(|_| self.period.regular_gops && msn == self.boundaries.newest_msn())
        else {
            return ExpectedEnd::Unknown;
        };
        let keys = (1..=GOPS_AHEAD).map(|n| key + self.period.gop.times(n));
        keys.into_iter().find(|at| self.ends_segment_at(*at)).map_or(ExpectedEnd::Unknown, ExpectedEnd::At)
    }

    /// Pictures stay away while sound goes on: one stands as far as that has come.
    fn repeat_video_key_frame(&mut self) -> Result<(), Error> {
        let must_rejoin = self.video_stalls() && !self.extends_last_frame();
        let Some(heard) = self.period.newest_audio.filter(|_| must_rejoin) else { return Ok(()) };
        let able = |input: &&mut RenditionInput| input.writer.is_active() && input.writer.can_repeat_key_frame();
        let Some(input) = self.video.as_mut().filter(able) else { return Ok(()) };
        input.writer.cross_all(&self.boundaries, &mut self.out)?;
        input.writer.repeat_key_frame(heard, &mut self.out)?;
        // What comes back begins a segment as soon as it can.
        self.period.headless |= input.writer.repeats_key_frame();
        Ok(())
    }

    /// Video appears in a run that audio began: it begins a segment for both, at a key frame that audio has not passed.
    fn join_video(&mut self, frame: &Frame, edge: Timestamp) -> Result<bool, Error> {
        if frame.access == Access::Dependent || self.period.newest_audio.is_some_and(|audio| audio >= edge) {
            return Ok(false);
        }
        self.period.video_joined = true;
        self.split_gap(edge);
        let boundary = Boundary { at: edge, discontinuity: true, key_frame: true };
        let Some(input) = self.video.as_mut() else { return Ok(false) };
        if input.writer.is_active() {
            input.writer.cross_all(&self.boundaries, &mut self.out)?;
            self.end_video_segment(frame.dts, boundary)?;
        } else {
            let start = SegmentStart { msn: self.boundaries.newest_msn() + 1, at: edge, discontinuity: true };
            self.boundaries.push(boundary);
            input.writer.begin_period(start, (self.period.wall, self.period.start_pts), edge - frame.dts);
        }
        Ok(true)
    }

    /// Decides the cuts in a stretch where nothing came, for a cut at its end.
    pub(super) fn split_gap(&mut self, end: Timestamp) {
        let limit = self.max_length(ROUNDING);
        while end - self.boundaries.newest_start_time() > limit {
            self.boundaries.push(Boundary {
                at: self.boundaries.newest_start_time() + limit,
                discontinuity: false,
                key_frame: false,
            });
        }
    }

    /// Cuts before the picture that is decoded at `dts`.
    fn end_video_segment(&mut self, dts: Timestamp, boundary: Boundary) -> Result<(), Error> {
        self.boundaries.push(boundary);
        self.video.as_mut().map_or(Ok(()), |input| input.writer.end_segment(dts, boundary.discontinuity, &mut self.out))
    }

    /// Cuts in the middle of a GOP, where the frame would make the segment longer than the frozen target duration.
    fn split_overlong(&mut self, frame: &Frame) -> Result<(), Error> {
        let limit = self.max_length(ROUNDING);
        while let Some(writer) = self.reference() {
            // The boundary counts too, not only what this lane made of it: audio follows the boundary.
            let start = writer.segment_start().min(writer.to_decode_time(self.boundaries.newest_start_time()));
            let entry = frame.access != Access::Dependent;
            let end = if entry { frame.dts } else { frame.dts + writer.frame_duration() };
            if end - start <= limit {
                break;
            }
            let dts = frame.dts.min(start + limit);
            let boundary = Boundary { at: writer.to_presentation_time(dts), discontinuity: false, key_frame: false };
            if let Some(input) = self.video.as_mut().filter(|_| frame.dts - dts > VIDEO_LATE) {
                input.writer.note_missed_boundary();
            }
            self.end_video_segment(dts, boundary)?;
        }
        Ok(())
    }

    /// Cuts at a key frame, if the segment is long enough or the next one would come too late.
    fn end_at_key_frame(&mut self, frame: &Frame, edge: Timestamp) -> Result<(), Error> {
        let length = edge - self.boundaries.newest_start_time();
        if frame.access == Access::Dependent || length <= TimeDelta::ZERO {
            return Ok(());
        }
        if let Some(track) = self.video.as_mut().and_then(|input| input.next_track.take()) {
            self.end_video_segment(frame.dts, Boundary { at: edge, discontinuity: true, key_frame: true })?;
            return self.video.as_mut().map_or(Ok(()), |input| input.writer.change_track(track));
        }
        if self.reference().is_none_or(|writer| !writer.has_content()) {
            return Ok(());
        }
        // A cut that audio has passed already would tear the renditions apart.
        let behind_audio = self.period.newest_audio.is_some_and(|audio| audio >= edge);
        if self.ends_segment_at(edge) && !behind_audio {
            self.end_video_segment(frame.dts, Boundary { at: edge, discontinuity: false, key_frame: true })?;
        }
        Ok(())
    }

    /// True until the first segment of the broadcast was closed.
    pub(super) fn is_at_first_segment(&self) -> bool {
        self.period.first && self.boundaries.newest_msn() == self.period.first_msn
    }

    /// A key frame at `edge` ends the newest segment, which is long enough or would become too long with the next GOP.
    fn ends_segment_at(&self, edge: Timestamp) -> bool {
        let length = edge - self.boundaries.newest_start_time();
        let least = match self.period.headless {
            true => MIN_SEGMENT,
            false if self.is_at_first_segment() => FIRST_SEGMENT,
            false => targets::segment_target(self.config.mode) - TARGET_JITTER,
        };
        length >= least || length + self.period.gop > self.max_length(ROUNDING)
    }

    pub(super) fn max_length(&self, rounding: TimeDelta) -> TimeDelta {
        // The first segment of the sound is longer by what was heard before the first picture.
        let audio_lead = if self.boundaries.newest_start_time() == self.period.start_pts {
            self.period.audio_lead
        } else {
            TimeDelta::ZERO
        };
        TimeDelta::from_secs(self.targets.map_or(0, |t| t.segment_secs.into())) + rounding - audio_lead
    }

    /// Ends segments of stalled video along with those of audio, which ended one at `at`.
    pub(super) fn advance_stalled_video(&mut self, at: Timestamp) -> Result<(), Error> {
        let stalled = self.period.newest_video.is_none_or(|video| video + VIDEO_LATE < at);
        match self.video.as_mut().filter(|input| stalled && input.writer.is_active()) {
            Some(input) => input.writer.cross_all(&self.boundaries, &mut self.out)?,
            None => return Ok(()),
        }
        self.skip_to_newest(|input| !input.writer.is_audio())
    }

    /// Ends the run: every rendition closes its segments, all with the same number.
    pub(super) fn end_period(&mut self) -> Result<(), Error> {
        self.write_all_queued()?;
        self.skip_to_newest(|_| true)?;
        let filled = self.writers().filter(|writer| writer.is_active() && writer.has_content());
        let end = filled.map(|writer| writer.to_presentation_time(writer.end())).max();
        if let Some(end) = end {
            self.wall_end = self.date_of(end);
            self.wall_floor = self.date_of(self.boundaries.newest_start_time() + MIN_APART);
        }
        for input in self.video.iter_mut().chain(&mut self.dependents).filter(|input| input.writer.is_active()) {
            let writer = &mut input.writer;
            if let Some(end) = end {
                let own = writer.has_content() && !writer.repeats_key_frame();
                let at = if own { writer.end() } else { writer.to_decode_time(end) };
                writer.end_segment(at, true, &mut self.out)?;
            }
            writer.leave_period(&mut self.out);
        }
        self.next_msn = self.boundaries.newest_msn() + u64::from(end.is_some());
        for input in self.video.iter_mut().chain(&mut self.dependents) {
            // It goes on where decoding may start.
            input.must_rejoin = true;
            if let Some(track) = input.next_track.take() {
                input.writer.change_track(track)?;
            }
        }
        Ok(())
    }

    /// Takes what was held back for the leader, which goes no further.
    pub(super) fn write_all_queued(&mut self) -> Result<(), Error> {
        // Of rungs no more is shown than of the leader.
        let led = self
            .reference()
            .filter(|writer| writer.is_active())
            .map(|writer| writer.to_presentation_time(writer.end()));
        for n in 0..self.dependents.len() {
            self.write_queued(n, |audio, frame| audio || led.is_some_and(|led| frame.pts < led))?;
        }
        match self.video.as_mut().filter(|input| input.writer.is_active()) {
            Some(input) => input.writer.cross_all(&self.boundaries, &mut self.out),
            None => Ok(()),
        }
    }
}
