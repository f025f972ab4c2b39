//! One rendition: samples in decode order become parts, and parts become segments.
//!
//! The lane keeps its own decode clock in ticks of the track. A part is closed before the next frame is there to tell how
//! long its last one lasts, so that duration is estimated; the next part begins exactly where the last one ended, and
//! its first frame takes up the error. Presentation times stay exact: the composition offset is counted from this clock.

mod follow;
mod intake;
mod publish;
mod replay;
mod still;

use std::collections::VecDeque;

use bytes::Bytes;
use media::{Access, CodecConfig, Metadata, TimeDelta, Timescale, Timestamp, Track, WallTime};

use super::Output;
use super::estimate::Estimate;
use super::plan::{self, PartRule, Parts};
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::{Event, NextPart, RenditionId, SegmentEnd};
use replay::Gop;
use still::Still;

/// A hole of the video longer than this is a gap in the playlist; over a shorter one the picture before it stands.
const VIDEO_GAP: TimeDelta = TimeDelta::from_secs(1);
/// A fragment with more frames than any segment should have is closed; 20 s of 2.5 ms packets have fewer.
const MAX_FRAMES: usize = 10_000;
/// Metadata waits for its part; when there is more, the oldest goes.
const MAX_EVENTS: usize = 64;
/// Where nothing tells the frame rate yet.
const GUESSED_FRAME: TimeDelta = TimeDelta::from_millis(33);
/// Samples in an audio frame where neither the header nor a packet tells: 20 ms of Opus, a block of FLAC.
const GUESSED_OPUS: u32 = 960;
const GUESSED_FLAC: u32 = 4_096;

/// A frame on the timeline of the programme.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) dts: Timestamp,
    pub(super) pts: Timestamp,
    pub(super) access: Access,
    pub(super) payload: Bytes,
}

/// What a segment begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) msn: u64,
    /// Where it begins, on the presentation timeline.
    pub(super) at: Timestamp,
    pub(super) discontinuity: bool,
}

/// What is known ahead of the end of the open segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outlook {
    /// Key frames come irregularly: the segment may end before any frame. A part is published when the frame behind it
    /// tells whether there will be another one, so that no playlist hints at a part that never comes.
    Open,
    /// The segment ends here, on the presentation timeline.
    Ends(Timestamp),
}

/// A sample of the open part.
#[derive(Debug)]
struct Pending {
    start: i64,
    /// An audio frame says so itself; a picture lasts until the next one.
    lasts: i64,
    dts: i64,
    pts: i64,
    access: Access,
    payload: Bytes,
}

#[derive(Debug)]
pub(super) struct Lane {
    rendition: RenditionId,
    track: Track,
    /// The init section of `track`, until a part needs it.
    fresh_init: Option<Bytes>,
    inits: u32,
    scale: Timescale,
    /// What an audio frame lasts, most likely; none for video.
    nominal: Option<i64>,
    rule: Option<PartRule>,
    estimate: Estimate,
    /// Where the next sample starts; none at the beginning of a run.
    clock: Option<i64>,
    pending: Vec<Pending>,
    still: Still,
    gop: Gop,
    outlook: Outlook,
    /// Readers were told that the next segment comes next.
    foretold: bool,
    /// Published up to here because time went by without a frame; none since one came.
    kept_up: Option<i64>,
    /// The highest rate that lasted in the open segment, in frames per thousand seconds.
    fastest: Option<u32>,
    /// Numbered alike in all renditions.
    events: VecDeque<(u32, Metadata)>,
    sequence: u32,
    /// How the open segment begins, on the decode timeline.
    segment: Opening,
    parts: u32,
    segment_ticks: i64,
    /// The end of the segment before, if it was not told yet.
    ended: Option<SegmentEnd>,
    ends_told: bool,
    /// Closed captions were seen in its pictures.
    captions: bool,
    /// The newest part has no frames.
    in_gap: bool,
    /// From the DTS to the PTS of the newest IDR: how far presentation runs behind decoding. None of it in sound.
    reorder: TimeDelta,
    /// It takes part in the run.
    active: bool,
    /// Nothing that was decoded can be relied on: video waits for a key frame.
    afresh: bool,
    /// Decoding began with an open GOP that is shown at this time.
    leading_to: Option<i64>,
    /// Programme time zero in wall time, and where that is on the lane's decode timeline.
    anchor: (WallTime, Timestamp),
}

impl Lane {
    pub(super) fn new(rendition: RenditionId, track: Track) -> Result<Self, Error> {
        let opening = Opening { msn: 0, at: Timestamp::ZERO, discontinuity: false };
        Ok(Self {
            rendition,
            fresh_init: Some(cmaf::init(&track)?),
            inits: 0,
            scale: track.timescale(),
            nominal: nominal(&track),
            rule: None,
            estimate: estimate(&track),
            track,
            clock: None,
            pending: Vec::new(),
            still: Still::default(),
            gop: Gop::default(),
            outlook: Outlook::Open,
            foretold: false,
            kept_up: None,
            fastest: None,
            events: VecDeque::new(),
            sequence: 0,
            segment: opening,
            parts: 0,
            segment_ticks: 0,
            ended: None,
            ends_told: false,
            captions: false,
            in_gap: false,
            reorder: TimeDelta::ZERO,
            active: false,
            afresh: true,
            leading_to: None,
            anchor: (WallTime::default(), Timestamp::ZERO),
        })
    }

    /// Changes the track; the lane must be between segments, at a discontinuity. A header that says the same needs no
    /// new init section.
    pub(super) fn change(&mut self, track: Track) -> Result<(), Error> {
        if !self.describes(&track) {
            self.fresh_init = Some(cmaf::init(&track)?);
            let (old, new) = (self.scale, track.timescale());
            if old != new {
                self.scale = new;
                self.clock = self.clock.map(|ticks| new.ticks(old.timestamp(ticks)));
            }
            self.nominal = nominal(&track);
            self.estimate = estimate(&track);
            self.afresh = true;
            self.still = Still::default();
            self.gop = Gop::default();
            self.set_parts(self.rule.map(|rule| rule.parts));
        }
        self.track = track;
        Ok(())
    }

    /// True if the init section serves `track` too.
    pub(super) fn describes(&self, track: &Track) -> bool {
        self.track.codec == track.codec && self.track.language == track.language
    }

    /// Takes what a picture was seen to last, before the lane got the first one.
    pub(super) fn expect(&mut self, frame: TimeDelta) {
        self.estimate = Estimate::new(self.scale.delta_ticks(frame));
    }

    /// Takes an audio frame as an example of what they last, before the lane got the first one.
    pub(super) fn expect_like(&mut self, payload: &[u8]) {
        if let Some(samples) = self.track.codec.packet_samples(payload) {
            self.learn(i64::from(samples).max(1));
        }
    }

    /// An audio frame lasts so long; parts are planned anew where that is news.
    fn learn(&mut self, lasts: i64) {
        if self.nominal.is_some_and(|nominal| nominal != lasts) {
            self.nominal = Some(lasts);
            self.set_parts(self.rule.map(|rule| rule.parts));
        }
    }

    /// Offers parts from now on.
    pub(super) fn set_parts(&mut self, parts: Option<Parts>) {
        self.rule = parts.map(|parts| plan::part_rule(parts, self.frame(), self.is_sound()));
    }

    /// Takes what is to be told along with the frames of its time.
    pub(super) fn tell(&mut self, number: u32, metadata: Metadata) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((number, metadata));
    }

    /// What was to be told before `at`, on the presentation timeline, was told to those who watched another rendition.
    pub(super) fn forget_events_before(&mut self, at: Timestamp) {
        self.events.retain(|(_, event)| event.pts >= at);
    }

    /// Begins a run: the clock takes the time of the first frame. `opening` and `anchor`, which is what time it is at an
    /// instant of the programme, are on the presentation timeline; pictures are decoded `reorder` earlier.
    pub(super) fn begin_run(&mut self, opening: Opening, anchor: (WallTime, Timestamp), reorder: TimeDelta) {
        self.reorder = if self.is_sound() { TimeDelta::ZERO } else { reorder };
        self.segment = Opening { at: self.decoded(opening.at), ..opening };
        self.anchor = (anchor.0, self.decoded(anchor.1));
        self.clock = None;
        self.active = true;
        self.still = Still::default();
        self.gop = Gop::default();
        self.kept_up = None;
        self.restart();
    }

    /// Nothing that was decoded can be relied on any more.
    pub(super) fn restart(&mut self) {
        self.afresh = true;
        self.estimate.restart();
    }

    /// Takes what is known of the end of the open segment.
    pub(super) fn foresee(&mut self, outlook: Outlook) {
        self.outlook = outlook;
    }

    pub(super) fn rendition(&self) -> RenditionId {
        self.rendition
    }

    pub(super) fn is_sound(&self) -> bool {
        self.nominal.is_some()
    }

    /// Where presentation at `at` is on the lane's decode timeline.
    pub(super) fn decoded(&self, at: Timestamp) -> Timestamp {
        at - self.reorder
    }

    /// Where what is decoded at `at` is shown, where nothing is reordered.
    pub(super) fn shown(&self, at: Timestamp) -> Timestamp {
        at + self.reorder
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// The segment that is open, or comes next.
    pub(super) fn msn(&self) -> u64 {
        self.segment.msn
    }

    /// What a frame lasts, most likely.
    pub(super) fn frame(&self) -> TimeDelta {
        self.scale.delta(self.nominal.unwrap_or(self.estimate.value()))
    }

    /// True if the open segment has something in it.
    pub(super) fn has_content(&self) -> bool {
        self.parts > 0 || !self.pending.is_empty()
    }

    /// True once the run has something of the lane.
    pub(super) fn begun(&self) -> bool {
        self.clock.is_some() || !self.pending.is_empty()
    }

    /// True once something of the lane was published.
    pub(super) fn announced(&self) -> bool {
        self.inits > 0
    }

    /// True while the lane takes part in the run.
    pub(super) fn active(&self) -> bool {
        self.active
    }

    /// Ends the lane's part in the run.
    pub(super) fn rest(&mut self, out: &mut Output) {
        self.tell_end(out);
        self.active = false;
    }

    /// Where the open segment began, on the lane's decode timeline.
    pub(super) fn segment_start(&self) -> Timestamp {
        match (self.pending.first(), self.clock) {
            (Some(first), _) => self.scale.timestamp(first.start - self.segment_ticks),
            (None, Some(clock)) => self.scale.timestamp(clock - self.segment_ticks),
            (None, None) => self.segment.at,
        }
    }

    /// Where the next sample would start, on the lane's decode timeline.
    pub(super) fn end(&self) -> Timestamp {
        let lasts = |p: &Pending| if self.nominal.is_some() { p.lasts } else { self.estimate.value() };
        let last = self.pending.last().map(|p| p.dts.max(p.start) + lasts(p));
        last.or(self.clock).map_or(self.segment.at, |ticks| self.scale.timestamp(ticks))
    }

    /// Drops the last frames of the open part, where nothing is reordered, until its middle is shown before `end`.
    pub(super) fn leave_out_beyond(&mut self, end: Timestamp) {
        let end = self.decoded(end);
        while let Some(first) = self.pending.first().map(|first| self.scale.timestamp(first.start))
            && self.pending.is_sorted_by_key(|p| p.pts)
            && (first - end) + (self.end() - end) > TimeDelta::ZERO
        {
            self.pending.pop();
        }
    }

    fn most_frames(&self) -> usize {
        self.rule.map_or(MAX_FRAMES, |rule| rule.frames)
    }

    /// Where the open part ends at the latest; none if it is empty or parts are not limited.
    fn part_limit(&self) -> Option<i64> {
        Some(self.pending.first()?.start + self.scale_floor(self.rule?.parts.longest))
    }

    fn scale_floor(&self, delta: TimeDelta) -> i64 {
        let ticks = self.scale.delta_ticks(delta);
        if self.scale.delta(ticks) > delta { ticks - 1 } else { ticks }
    }

    /// Ends the open segment at `at`, on the lane's decode timeline, and opens the next one. A small hole before `at` is
    /// left to the frames that follow, as longer ones are not; rungs have none, and begin segments where the leader does.
    pub(super) fn end_segment(&mut self, at: Timestamp, discontinuity: bool, out: &mut Output) -> Result<(), Error> {
        let rung = self.rendition.is_dependent_video();
        let of_video = || if rung { self.estimate.value() / 2 } else { self.least_hole_at_end() };
        let hole = self.nominal.unwrap_or_else(of_video);
        self.end_with(at, discontinuity, hole, out)
    }

    fn end_with(&mut self, at: Timestamp, discontinuity: bool, hole: i64, out: &mut Output) -> Result<(), Error> {
        let end = self.scale.ticks(at);
        self.close_part(end, out)?;
        let clock = *self.clock.get_or_insert(self.scale.ticks(self.segment.at));
        if self.parts == 0 || end - clock > hole {
            self.fill(end.max(clock + 1), self.in_a_hole(), out)?;
        }
        let (rendition, msn) = (self.rendition, self.segment.msn);
        let duration = self.scale.delta(self.segment_ticks);
        let end = SegmentEnd { rendition, msn, duration, millihertz: self.fastest.take() };
        self.foretold = false;
        if self.ends_late() {
            self.ended = Some(end);
            out.events.push_back(Event::Next(NextPart { rendition, msn: msn + 1, index: 0 }));
        } else {
            self.ends_told = true;
            out.events.push_back(Event::Segment(end));
        }
        self.segment = Opening { msn: msn + 1, at, discontinuity };
        self.parts = 0;
        self.segment_ticks = 0;
        Ok(())
    }

    /// A segment's end is told along with the part behind it where both are known at once with its last part, as the
    /// leader was there before: hls.js takes a segment that ends while it loads the part before the last one for whole.
    /// The leader follows the sound while its picture stands. The first one is told at once, for there is no playlist
    /// before; so is a gap, for nobody loads it.
    fn ends_late(&self) -> bool {
        let follows = self.rendition != RenditionId::VIDEO || self.stands();
        self.rule.is_some() && follows && self.ends_told && !self.in_gap
    }

    fn tell_end(&mut self, out: &mut Output) {
        out.events.extend(self.ended.take().map(Event::Segment));
    }

    /// Closes the open part, if there is one, at `end` or as near to it as its frames and the limit allow.
    fn close_part(&mut self, end: i64, out: &mut Output) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else { return Ok(()) };
        let (start, least) = (first.start, last.start + 1);
        let end = match self.nominal {
            Some(_) => last.start + last.lasts,
            None => end.min(self.part_limit().unwrap_or(end)).max(least),
        };
        let independent = first.access.is_independent();
        let shown = self.pending.iter().map(|p| p.pts).max().unwrap_or(end);
        let shown_until = shown + (end - last.start);
        self.still.not_before(shown + self.estimate.value());
        let events = self.due_events(shown_until)?;
        let mut samples = Vec::with_capacity(self.pending.len());
        let mut pending = self.pending.drain(..).peekable();
        while let Some(p) = pending.next() {
            let next = pending.peek().map_or(end, |next| next.start);
            let duration = u32::try_from(next - p.start).unwrap_or(u32::MAX);
            let cts = (p.pts - p.start).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            samples.push(Sample { duration, cts, access: p.access, payload: p.payload });
        }
        drop(pending);
        self.sequence = self.sequence.wrapping_add(1);
        let tfdt = u64::try_from(start).unwrap_or(0);
        let data = cmaf::fragment(self.sequence, tfdt, &samples, self.nominal.is_some(), &events)?;
        let frames = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        self.publish(start, end, frames, independent, data, out);
        Ok(())
    }
}

fn nominal(track: &Track) -> Option<i64> {
    let guess = match &track.codec {
        CodecConfig::Opus(_) => GUESSED_OPUS,
        _ => GUESSED_FLAC,
    };
    track.codec.sample_rate().map(|_| track.codec.samples_per_frame().unwrap_or(guess).into())
}

/// A first guess from the header, where it says something sane.
fn estimate(track: &Track) -> Estimate {
    let scale = track.timescale();
    let frame =
        track.codec.frame_rate().filter(|(frames, _)| *frames > 0).map(|(n, d)| Timescale::new(n).delta(d.into()));
    let sane = frame.filter(|f| (TimeDelta::from_millis(4)..TimeDelta::from_secs(1)).contains(f));
    Estimate::new(scale.delta_ticks(sane.unwrap_or(GUESSED_FRAME)))
}
