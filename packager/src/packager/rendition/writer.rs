//! One rendition: samples in decode order become parts, and parts become segments.
//!
//! The lane keeps its own decode clock in ticks of the track. A part is closed before the next frame is there to tell how
//! long its last one lasts, so that duration is estimated; the next part begins exactly where the last one ended, and
//! its first frame takes up the error. Presentation times stay exact: the composition offset is counted from this clock.

mod boundaries;
mod freeze_frame;
mod last_frame;
mod parts;
mod publish;

use std::collections::VecDeque;

use bytes::Bytes;
use media::{Access, CodecConfig, Metadata, TimeDelta, Timescale, Timestamp, Track, WallTime};

use super::frame_duration::FrameDuration;
use crate::Error;
use crate::cmaf::{self, Sample};
use crate::log::{Event, NextPart, RenditionId, SegmentEnd};
use crate::packager::Output;
use crate::packager::targets::{self, PartRule, PartSizing};
use freeze_frame::FreezeFrame;
use last_frame::CurrentGop;

/// A hole of the video longer than this is a gap in the playlist; over a shorter one the picture before it stands.
const VIDEO_GAP: TimeDelta = TimeDelta::from_secs(1);
/// A fragment with more frames than any segment should have is closed; 20 s of 2.5 ms packets have fewer.
const MAX_FRAMES: usize = 10_000;
/// Metadata waits for its part; when there is more, the oldest goes.
const MAX_EVENTS: usize = 64;
/// Where nothing tells the frame rate yet.
const ASSUMED_FRAME: TimeDelta = TimeDelta::from_millis(33);
/// Samples in an audio frame where neither the header nor a packet tells: 20 ms of Opus, a block of FLAC.
const ASSUMED_OPUS: u32 = 960;
const ASSUMED_FLAC: u32 = 4_096;

/// What a segment begins with.
#[derive(Clone, Copy, Debug)]
pub(in crate::packager) struct SegmentStart {
    pub(in crate::packager) msn: u64,
    /// Where it begins, on the presentation timeline.
    pub(in crate::packager) at: Timestamp,
    pub(in crate::packager) discontinuity: bool,
}

/// What is known ahead of the end of the open segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::packager) enum ExpectedEnd {
    /// Key frames come irregularly: the segment may end before any frame. A part is published when the frame behind it
    /// tells whether there will be another one, so that no playlist hints at a part that never comes.
    Unknown,
    /// The segment ends here, on the presentation timeline.
    At(Timestamp),
}

/// A sample of the open part.
#[derive(Debug)]
struct PendingSample {
    start: i64,
    /// An audio frame says so itself; a picture lasts until the next one.
    lasts: i64,
    dts: i64,
    pts: i64,
    access: Access,
    payload: Bytes,
}

#[derive(Debug)]
pub(in crate::packager) struct RenditionWriter {
    rendition: RenditionId,
    track: Track,
    /// The init section of `track`, until a part needs it.
    fresh_init: Option<Bytes>,
    inits: u32,
    scale: Timescale,
    /// What an audio frame lasts, most likely; none for video.
    audio_frame: Option<i64>,
    part_rule: Option<PartRule>,
    frame_duration: FrameDuration,
    /// Where the next sample starts; none at the beginning of a run.
    clock: Option<i64>,
    pending: Vec<PendingSample>,
    freeze_frame: FreezeFrame,
    gop: CurrentGop,
    expected_end: ExpectedEnd,
    /// Readers were told that the next segment comes next.
    end_announced: bool,
    /// Published up to here because time went by without a frame; none since one came.
    advanced_to: Option<i64>,
    /// The highest rate that lasted in the open segment, in frames per thousand seconds.
    peak_frame_rate: Option<u32>,
    /// Numbered alike in all renditions.
    events: VecDeque<(u32, Metadata)>,
    sequence: u32,
    /// How the open segment begins, on the decode timeline.
    segment_start: SegmentStart,
    part_count: u32,
    segment_ticks: i64,
    /// The end of the segment before, if it was not told yet.
    held_end: Option<SegmentEnd>,
    has_ended_segment: bool,
    /// Closed captions were seen in its pictures.
    captions_seen: bool,
    /// The newest part has no frames.
    in_gap: bool,
    /// From the DTS to the PTS of the newest IDR: how far presentation runs behind decoding. None of it in sound.
    reorder_delay: TimeDelta,
    /// It takes part in the run.
    active: bool,
    /// Nothing that was decoded can be relied on: video waits for a key frame.
    needs_key_frame: bool,
    /// Decoding began with an open GOP that is shown at this time.
    leading_until: Option<i64>,
    /// Programme time zero in wall time, and where that is on the lane's decode timeline.
    anchor: (WallTime, Timestamp),
}

impl RenditionWriter {
    pub(in crate::packager) fn new(rendition: RenditionId, track: Track) -> Result<Self, Error> {
        let start = SegmentStart { msn: 0, at: Timestamp::ZERO, discontinuity: false };
        Ok(Self {
            rendition,
            fresh_init: Some(cmaf::init(&track)?),
            inits: 0,
            scale: track.timescale(),
            audio_frame: audio_frame(&track),
            part_rule: None,
            frame_duration: estimate(&track),
            track,
            clock: None,
            pending: Vec::new(),
            freeze_frame: FreezeFrame::default(),
            gop: CurrentGop::default(),
            expected_end: ExpectedEnd::Unknown,
            end_announced: false,
            advanced_to: None,
            peak_frame_rate: None,
            events: VecDeque::new(),
            sequence: 0,
            segment_start: start,
            part_count: 0,
            segment_ticks: 0,
            held_end: None,
            has_ended_segment: false,
            captions_seen: false,
            in_gap: false,
            reorder_delay: TimeDelta::ZERO,
            active: false,
            needs_key_frame: true,
            leading_until: None,
            anchor: (WallTime::default(), Timestamp::ZERO),
        })
    }

    /// Changes the track; the lane must be between segments, at a discontinuity. A header that says the same needs no
    /// new init section.
    pub(in crate::packager) fn change_track(&mut self, track: Track) -> Result<(), Error> {
        if !self.has_same_header(&track) {
            self.fresh_init = Some(cmaf::init(&track)?);
            let (old, new) = (self.scale, track.timescale());
            if old != new {
                self.scale = new;
                self.clock = self.clock.map(|ticks| new.ticks(old.timestamp(ticks)));
            }
            self.audio_frame = audio_frame(&track);
            self.frame_duration = estimate(&track);
            self.needs_key_frame = true;
            self.freeze_frame = FreezeFrame::default();
            self.gop = CurrentGop::default();
            self.set_parts(self.part_rule.map(|rule| rule.parts));
        }
        self.track = track;
        Ok(())
    }

    /// True if the init section serves `track` too.
    pub(in crate::packager) fn has_same_header(&self, track: &Track) -> bool {
        self.track.codec == track.codec && self.track.language == track.language
    }

    /// Takes what a picture was seen to last, before the lane got the first one.
    pub(in crate::packager) fn set_frame_duration(&mut self, frame: TimeDelta) {
        self.frame_duration = FrameDuration::new(self.scale.delta_ticks(frame));
    }

    /// Takes an audio frame as an example of what they last, before the lane got the first one.
    pub(in crate::packager) fn learn_from(&mut self, payload: &[u8]) {
        if let Some(samples) = self.track.codec.packet_samples(payload) {
            self.set_audio_frame(i64::from(samples).max(1));
        }
    }

    /// An audio frame lasts so long; parts are planned anew where that is news.
    fn set_audio_frame(&mut self, lasts: i64) {
        if self.audio_frame.is_some_and(|audio_frame| audio_frame != lasts) {
            self.audio_frame = Some(lasts);
            self.set_parts(self.part_rule.map(|rule| rule.parts));
        }
    }

    /// Offers parts from now on.
    pub(in crate::packager) fn set_parts(&mut self, parts: Option<PartSizing>) {
        self.part_rule = parts.map(|parts| targets::part_rule(parts, self.frame_duration(), self.is_audio()));
    }

    /// Takes what is to be told along with the frames of its time.
    pub(in crate::packager) fn queue_metadata(&mut self, number: u32, metadata: Metadata) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((number, metadata));
    }

    /// What was to be told before `at`, on the presentation timeline, was told to those who watched another rendition.
    pub(in crate::packager) fn discard_metadata_before(&mut self, at: Timestamp) {
        self.events.retain(|(_, event)| event.pts >= at);
    }

    /// Begins a run: the clock takes the time of the first frame. `opening` and `anchor`, which is what time it is at an
    /// instant of the programme, are on the presentation timeline; pictures are decoded `reorder` earlier.
    pub(in crate::packager) fn begin_period(
        &mut self,
        start: SegmentStart,
        anchor: (WallTime, Timestamp),
        reorder: TimeDelta,
    ) {
        self.reorder_delay = if self.is_audio() { TimeDelta::ZERO } else { reorder };
        self.segment_start = SegmentStart { at: self.to_decode_time(start.at), ..start };
        self.anchor = (anchor.0, self.to_decode_time(anchor.1));
        self.clock = None;
        self.active = true;
        self.freeze_frame = FreezeFrame::default();
        self.gop = CurrentGop::default();
        self.advanced_to = None;
        self.require_key_frame();
    }

    /// Nothing that was decoded can be relied on any more.
    pub(in crate::packager) fn require_key_frame(&mut self) {
        self.needs_key_frame = true;
        self.frame_duration.restart();
    }

    /// Takes what is known of the end of the open segment.
    pub(in crate::packager) fn expect_end(&mut self, expected_end: ExpectedEnd) {
        self.expected_end = expected_end;
    }

    pub(in crate::packager) fn rendition(&self) -> RenditionId {
        self.rendition
    }

    pub(in crate::packager) fn is_audio(&self) -> bool {
        self.audio_frame.is_some()
    }

    /// Where presentation at `at` is on the lane's decode timeline.
    pub(in crate::packager) fn to_decode_time(&self, at: Timestamp) -> Timestamp {
        at - self.reorder_delay
    }

    /// Where what is decoded at `at` is shown, where nothing is reordered.
    pub(in crate::packager) fn to_presentation_time(&self, at: Timestamp) -> Timestamp {
        at + self.reorder_delay
    }

    pub(in crate::packager) fn track(&self) -> &Track {
        &self.track
    }

    /// The segment that is open, or comes next.
    pub(in crate::packager) fn msn(&self) -> u64 {
        self.segment_start.msn
    }

    /// What a frame lasts, most likely.
    pub(in crate::packager) fn frame_duration(&self) -> TimeDelta {
        self.scale.delta(self.audio_frame.unwrap_or(self.frame_duration.value()))
    }

    /// True if the open segment has something in it.
    pub(in crate::packager) fn has_content(&self) -> bool {
        self.part_count > 0 || !self.pending.is_empty()
    }

    /// True once the run has something of the lane.
    pub(in crate::packager) fn has_begun(&self) -> bool {
        self.clock.is_some() || !self.pending.is_empty()
    }

    /// True once something of the lane was published.
    pub(in crate::packager) fn is_announced(&self) -> bool {
        self.inits > 0
    }

    /// True while the lane takes part in the run.
    pub(in crate::packager) fn is_active(&self) -> bool {
        self.active
    }

    /// Ends the lane's part in the run.
    pub(in crate::packager) fn leave_period(&mut self, out: &mut Output) {
        self.emit_held_end(out);
        self.active = false;
    }

    /// Where the open segment began, on the lane's decode timeline.
    pub(in crate::packager) fn segment_start(&self) -> Timestamp {
        match (self.pending.first(), self.clock) {
            (Some(first), _) => self.scale.timestamp(first.start - self.segment_ticks),
            (None, Some(clock)) => self.scale.timestamp(clock - self.segment_ticks),
            (None, None) => self.segment_start.at,
        }
    }

    /// Where the next sample would start, on the lane's decode timeline.
    pub(in crate::packager) fn end(&self) -> Timestamp {
        let lasts = |p: &PendingSample| if self.audio_frame.is_some() { p.lasts } else { self.frame_duration.value() };
        let last = self.pending.last().map(|p| p.dts.max(p.start) + lasts(p));
        last.or(self.clock).map_or(self.segment_start.at, |ticks| self.scale.timestamp(ticks))
    }

    /// Drops the last frames of the open part, where nothing is reordered, until its middle is shown before `end`.
    pub(in crate::packager) fn drop_frames_beyond(&mut self, end: Timestamp) {
        let end = self.to_decode_time(end);
        while let Some(first) = self.pending.first().map(|first| self.scale.timestamp(first.start))
            && self.pending.is_sorted_by_key(|p| p.pts)
            && (first - end) + (self.end() - end) > TimeDelta::ZERO
        {
            self.pending.pop();
        }
    }

    fn max_frames(&self) -> usize {
        self.part_rule.map_or(MAX_FRAMES, |rule| rule.frames)
    }

    /// Where the open part ends at the latest; none if it is empty or parts are not limited.
    fn part_limit(&self) -> Option<i64> {
        Some(self.pending.first()?.start + self.floor_ticks(self.part_rule?.parts.target))
    }

    fn floor_ticks(&self, delta: TimeDelta) -> i64 {
        let ticks = self.scale.delta_ticks(delta);
        if self.scale.delta(ticks) > delta { ticks - 1 } else { ticks }
    }

    /// Ends the open segment at `at`, on the lane's decode timeline, and opens the next one. A small hole before `at` is
    /// left to the frames that follow, as longer ones are not; rungs have none, and begin segments where the leader does.
    pub(in crate::packager) fn end_segment(
        &mut self,
        at: Timestamp,
        discontinuity: bool,
        out: &mut Output,
    ) -> Result<(), Error> {
        let dependent = self.rendition.is_dependent_video();
        let of_video = || if dependent { self.frame_duration.value() / 2 } else { self.min_gap_at_end() };
        let hole = self.audio_frame.unwrap_or_else(of_video);
        self.end_segment_filling(at, discontinuity, hole, out)
    }

    fn end_segment_filling(
        &mut self,
        at: Timestamp,
        discontinuity: bool,
        hole: i64,
        out: &mut Output,
    ) -> Result<(), Error> {
        let end = self.scale.ticks(at);
        self.close_part(end, out)?;
        let clock = *self.clock.get_or_insert(self.scale.ticks(self.segment_start.at));
        if self.part_count == 0 || end - clock > hole {
            self.fill(end.max(clock + 1), self.fill_kind(), out)?;
        }
        let (rendition, msn) = (self.rendition, self.segment_start.msn);
        let duration = self.scale.delta(self.segment_ticks);
        let end = SegmentEnd { rendition, msn, duration, millihertz: self.peak_frame_rate.take() };
        self.end_announced = false;
        if self.holds_back_segment_end() {
            self.held_end = Some(end);
            out.events.push_back(Event::Next(NextPart { rendition, msn: msn + 1, index: 0 }));
        } else {
            self.has_ended_segment = true;
            out.events.push_back(Event::Segment(end));
        }
        self.segment_start = SegmentStart { msn: msn + 1, at, discontinuity };
        self.part_count = 0;
        self.segment_ticks = 0;
        Ok(())
    }

    /// A segment's end is told along with the part behind it where both are known at once with its last part, as the
    /// leader was there before: hls.js takes a segment that ends while it loads the part before the last one for whole.
    /// The leader follows the sound while its picture stands. The first one is told at once, for there is no playlist
    /// before; so is a gap, for nobody loads it.
    fn holds_back_segment_end(&self) -> bool {
        let follows = self.rendition != RenditionId::VIDEO || self.repeats_key_frame();
        self.part_rule.is_some() && follows && self.has_ended_segment && !self.in_gap
    }

    fn emit_held_end(&mut self, out: &mut Output) {
        out.events.extend(self.held_end.take().map(Event::Segment));
    }

    /// Closes the open part, if there is one, at `end` or as near to it as its frames and the limit allow.
    fn close_part(&mut self, end: i64, out: &mut Output) -> Result<(), Error> {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else { return Ok(()) };
        let (start, least) = (first.start, last.start + 1);
        let end = match self.audio_frame {
            Some(_) => last.start + last.lasts,
            None => end.min(self.part_limit().unwrap_or(end)).max(least),
        };
        let independent = first.access.is_independent();
        let shown = self.pending.iter().map(|p| p.pts).max().unwrap_or(end);
        let shown_until = shown + (end - last.start);
        self.freeze_frame.not_before(shown + self.frame_duration.value());
        let events = self.take_due_metadata(shown_until)?;
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
        let data = cmaf::fragment(self.sequence, tfdt, &samples, self.audio_frame.is_some(), &events)?;
        let frames = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        self.publish(start, end, frames, independent, data, out);
        Ok(())
    }
}

fn audio_frame(track: &Track) -> Option<i64> {
    let guess = match &track.codec {
        CodecConfig::Opus(_) => ASSUMED_OPUS,
        _ => ASSUMED_FLAC,
    };
    track.codec.sample_rate().map(|_| track.codec.samples_per_frame().unwrap_or(guess).into())
}

/// A first guess from the header, where it says something sane.
fn estimate(track: &Track) -> FrameDuration {
    let scale = track.timescale();
    let frame =
        track.codec.frame_rate().filter(|(frames, _)| *frames > 0).map(|(n, d)| Timescale::new(n).delta(d.into()));
    let sane = frame.filter(|f| (TimeDelta::from_millis(4)..TimeDelta::from_secs(1)).contains(f));
    FrameDuration::new(scale.delta_ticks(sane.unwrap_or(ASSUMED_FRAME)))
}
