//! Timestamps of one contribution, checked against the arrival of its frames.
//!
//! A contribution's clock may start anywhere, but after that it has to go like the clock by which its frames arrive.
//! [`Intake`] repairs what does not: timestamps that stand still, clocks that jump, tracks dated seconds apart. Media that
//! is merely late keeps its timestamps, because it was captured when they say.

use std::collections::BTreeMap;

use bytes::Bytes;
use media::{CodecConfig, Fault, FaultReport, Frame, Kind, LeastDelay, Metadata, TimeDelta, Timescale, Timestamp};
use media::{Track, TrackId};

use crate::Item;

/// A clock that goes back further than this has jumped; less is disorder, or stands still.
const BACKWARD: TimeDelta = TimeDelta::from_millis(300);
/// A frame that leaps forward this far, and so is this much earlier than any media before it, has jumped.
const FORWARD: TimeDelta = TimeDelta::from_secs(1);
/// Tracks may be dated this far apart although they arrive together: multiplexers send audio up to a second early.
const MAX_APART: TimeDelta = TimeDelta::from_millis(1_500);
/// Tracks that drift apart are aligned after they were too far apart for this long.
const APART_TIMEOUT: TimeDelta = TimeDelta::from_secs(2);
/// A track that brought nothing for this long says nothing about the others.
const FRESH: TimeDelta = TimeDelta::from_secs(1);
/// Video frames whose timestamps advance by less stand still; a fraction of their usual spacing if that is less.
const MIN_STEP: TimeDelta = TimeDelta::from_millis(3);
const MIN_STEP_PART: i64 = 8;
/// Spacing of video frames before it is known, and its bounds.
const FIRST_SPACING: TimeDelta = TimeDelta::from_millis(33);
const SPACINGS: std::ops::RangeInclusive<TimeDelta> = TimeDelta::from_millis(4)..=TimeDelta::from_secs(1);
/// Frames that were spaced may be this far from where their arrival puts them; beyond it the spacing gives way.
const PACE_TOLERANCE: TimeDelta = TimeDelta::from_millis(300);
/// Spaced frames may be this far ahead of timestamps that advance again; beyond it those are rebased.
const MAX_LEAD: TimeDelta = TimeDelta::from_millis(500);
/// Samples in an audio frame if neither the codec nor the frame tells.
const USUAL_SAMPLES: u32 = 1_024;

/// SpliceStats the timestamps of one contribution. The clock is the distance from any fixed instant.
#[derive(Debug, Default)]
pub struct Intake {
    streams: BTreeMap<TrackId, Stream>,
    delay: LeastDelay,
    /// The newest offset that a track took after a jump; the others join it when they jump too.
    offset: TimeDelta,
}

#[derive(Debug)]
struct Stream {
    codec: CodecConfig,
    kind: Kind,
    /// Repaired time less the contribution's.
    offset: TimeDelta,
    last: Option<Last>,
    spacing: TimeDelta,
    /// The least distance from another track since it became too far.
    apart: Option<(TimeDelta, TimeDelta)>,
}

/// The newest frame of a track.
#[derive(Clone, Debug)]
struct Last {
    /// The furthest that the contribution's timestamps have come.
    furthest: Timestamp,
    raw: (Timestamp, Timestamp),
    payload: Bytes,
    advanced: bool,
    /// The repaired timestamps.
    dts: Timestamp,
    pts: Timestamp,
    arrived: TimeDelta,
}

impl Intake {
    /// Announces a track, or changes it.
    pub fn track(&mut self, track: &Track) {
        let stream = self.streams.entry(track.id).or_insert_with(|| Stream::new(track));
        stream.codec = track.codec.clone();
    }

    /// Clock of arrival less media time for the media with the least delay; `None` before any media.
    pub fn least_delay(&self) -> Option<TimeDelta> {
        self.delay.least()
    }

    /// How much later than other media a repaired frame arrives.
    pub fn lateness(&self, frame: &Frame, now: TimeDelta) -> TimeDelta {
        self.delay.lateness(frame.dts, now).max(TimeDelta::ZERO)
    }

    /// SpliceStats the timestamps of a frame that arrives `now`. Frames of unknown tracks, and empty ones, stay as they are.
    pub fn frame(&mut self, frame: Frame, now: TimeDelta, out: &mut Vec<Item>) -> Frame {
        if frame.payload.is_empty() {
            return frame;
        }
        let live = self.delay.live(now);
        let (others, shared) = (self.nearest(frame.track, now), self.offset);
        let Some(stream) = self.streams.get_mut(&frame.track) else { return frame };
        let Some(last) = stream.last.clone() else {
            stream.offset = shared;
            if let Some(apart) = others.map(|other| other.distance(frame.dts + shared, now))
                && apart.abs() > MAX_APART
            {
                stream.offset = shared - apart;
                out.push(tracks_apart(frame.track, apart));
            }
            let dts = frame.dts + stream.offset;
            return self.take(frame, dts, now, true);
        };
        if last.is_again(&frame) {
            // Comes twice: the splice tells it by its equal times and drops it.
            return Frame { dts: last.dts, pts: last.pts, ..frame };
        }
        let spacing = stream.spacing_of(&frame.payload);
        let advance = frame.dts - last.furthest;
        let is_early = live.is_some_and(|live| frame.dts + stream.offset - live > FORWARD.max(spacing.times(3)));
        if advance < TimeDelta::ZERO - BACKWARD || advance > FORWARD && is_early {
            // Where its own track goes on, which may come later than others do.
            let own = last.dts + (now - last.arrived);
            let at = live.map_or(last.dts, |live| live.min(own)).max(last.dts + spacing);
            let joined = frame.dts + shared - at;
            let joins = (TimeDelta::ZERO - MAX_APART..FORWARD).contains(&joined) && frame.dts + shared > last.dts;
            stream.offset = if joins { shared } else { at - frame.dts };
            self.offset = stream.offset;
            let detail = format!("by {} ms", advance.as_millis());
            let report = FaultReport::new(Fault::TimestampJump, Some(frame.track)).with_detail(detail);
            out.push(Item::Fault(report));
            let dts = frame.dts + self.offset;
            return self.restart(frame, dts, now);
        }
        let (dts, advanced) = stream.place(&frame, &last, spacing, live);
        if !advanced {
            out.push(Item::Fault(FaultReport::new(Fault::StalledTimestamps, Some(frame.track))));
        }
        let apart = others.and_then(|other| stream.drifts(other.distance(dts, now), now));
        let dts = match apart {
            Some(apart) => {
                stream.offset = stream.offset - apart;
                out.push(tracks_apart(frame.track, apart));
                dts - apart
            }
            None => dts,
        };
        self.take(frame, dts, now, advanced)
    }

    /// Dates metadata as the frames around it are dated.
    pub fn metadata(&self, metadata: Metadata) -> Metadata {
        let newest = self.streams.values().filter_map(|stream| Some((stream.last.as_ref()?, stream.offset)));
        let nearest = newest.min_by_key(|(last, offset)| (metadata.pts + *offset - last.dts).abs());
        Metadata { pts: metadata.pts + nearest.map_or(self.offset, |(_, offset)| offset), ..metadata }
    }

    /// The newest frame of all other tracks, of video where there is any: audio that agrees with other audio may still be
    /// apart from the video.
    fn nearest(&self, track: TrackId, now: TimeDelta) -> Option<Last> {
        let others = || self.streams.iter().filter(|(id, _)| **id != track).map(|(_, other)| other);
        let video = others().any(|other| other.kind == Kind::Video);
        let compared = others().filter(|other| !video || other.kind == Kind::Video);
        let newest = compared.filter_map(|other| other.last.as_ref()).max_by_key(|last| last.arrived);
        newest.filter(|last| now - last.arrived < FRESH).cloned()
    }

    /// Remembers a frame, and gives it its repaired timestamps.
    fn take(&mut self, frame: Frame, dts: Timestamp, now: TimeDelta, advanced: bool) -> Frame {
        let pts = dts + (frame.pts - frame.dts);
        if let Some(stream) = self.streams.get_mut(&frame.track) {
            // A frame that was spaced says nothing about the delay.
            if advanced && dts == frame.dts + stream.offset {
                self.delay.note(dts, now);
            }
            let furthest = stream.last.as_ref().map_or(frame.dts, |last| last.furthest.max(frame.dts));
            let (raw, payload) = ((frame.dts, frame.pts), frame.payload.clone());
            stream.last = Some(Last { furthest, raw, payload, advanced, dts, pts, arrived: now });
        }
        Frame { dts, pts, ..frame }
    }

    /// The same for the first frame after a jump.
    fn restart(&mut self, frame: Frame, dts: Timestamp, now: TimeDelta) -> Frame {
        if let Some(stream) = self.streams.get_mut(&frame.track) {
            stream.last = None;
            stream.apart = None;
        }
        self.take(frame, dts, now, true)
    }
}

fn tracks_apart(track: TrackId, apart: TimeDelta) -> Item {
    let detail = format!("by {} ms", apart.as_millis());
    Item::Fault(FaultReport::new(Fault::TracksApart, Some(track)).with_detail(detail))
}

impl Last {
    /// How far `at` is from where this frame's track is `now`: somewhere between its newest frame and that one's successor
    /// that is due. Negative if it is before.
    fn distance(&self, at: Timestamp, now: TimeDelta) -> TimeDelta {
        let (from, to) = (self.dts, self.dts + (now - self.arrived).max(TimeDelta::ZERO));
        if at < from { at - from } else { (at - to).max(TimeDelta::ZERO) }
    }

    /// True if `frame` is this one once more, and not one of many whose timestamps stand still.
    fn is_again(&self, frame: &Frame) -> bool {
        self.advanced && self.raw == (frame.dts, frame.pts) && self.payload == frame.payload
    }
}

impl Stream {
    fn new(track: &Track) -> Self {
        let declared = track.codec.frame_rate().filter(|(frames, _)| *frames > 0);
        let declared = declared.map(|(frames, seconds)| Timescale::new(frames).delta(seconds.into()));
        Self {
            codec: track.codec.clone(),
            kind: track.kind(),
            offset: TimeDelta::ZERO,
            last: None,
            spacing: declared.filter(|spacing| SPACINGS.contains(spacing)).unwrap_or(FIRST_SPACING),
            apart: None,
        }
    }

    /// How far the frame after one with `payload` usually is.
    fn spacing_of(&self, payload: &[u8]) -> TimeDelta {
        let Some(rate) = self.codec.sample_rate().filter(|_| self.kind == Kind::Audio) else { return self.spacing };
        let samples = self.codec.packet_samples(payload).or(self.codec.samples_per_frame()).filter(|n| *n > 0);
        Timescale::new(rate).delta(samples.unwrap_or(USUAL_SAMPLES).into())
    }

    /// Where a frame goes, and whether its timestamp has advanced.
    fn place(&mut self, frame: &Frame, last: &Last, spacing: TimeDelta, live: Option<Timestamp>) -> (Timestamp, bool) {
        let advance = frame.dts - last.furthest;
        let min_step = MIN_STEP.min(spacing.part(MIN_STEP_PART));
        if advance < min_step {
            let next = last.dts + spacing;
            let off = live.map_or(TimeDelta::ZERO, |live| live - next);
            let step = if off > PACE_TOLERANCE {
                spacing + off.part(MIN_STEP_PART).min(spacing)
            } else if self.kind == Kind::Video {
                // No further ahead than it has to be: the timestamps may advance again with the next frame.
                (spacing + off).clamp(spacing.part(4), spacing)
            } else if off < TimeDelta::ZERO - PACE_TOLERANCE {
                spacing - spacing.part(4)
            } else {
                spacing
            };
            if self.kind == Kind::Video {
                self.learn(step);
            }
            return (last.dts + step, false);
        }
        if last.advanced && SPACINGS.contains(&advance) {
            self.learn(advance);
        }
        let at = frame.dts + self.offset;
        let lead = last.dts - at;
        // Timestamps that are live are right, however far ahead the frames were spaced.
        if lead > MAX_LEAD && live.is_none_or(|live| live - at > MAX_LEAD) {
            self.offset = self.offset + lead + spacing;
            return (last.dts + spacing, true);
        }
        if last.dts <= last.furthest + self.offset {
            return (at, true);
        }
        // Spaced frames are ahead: they slow down until the timestamps have caught up.
        (at.max(last.dts + spacing.min(advance).part(4).max(min_step)), true)
    }

    fn learn(&mut self, spacing: TimeDelta) {
        let (least, most) = (*SPACINGS.start(), *SPACINGS.end());
        self.spacing = (self.spacing + (spacing - self.spacing).part(8)).clamp(least, most);
    }

    /// The distance to make good if audio has been too far from the other tracks for a while.
    fn drifts(&mut self, apart: TimeDelta, now: TimeDelta) -> Option<TimeDelta> {
        if self.kind != Kind::Audio || apart.abs() <= MAX_APART {
            self.apart = None;
            return None;
        }
        let (since, least) = self.apart.unwrap_or((now, apart));
        let least = if apart.abs() < least.abs() { apart } else { least };
        self.apart = Some((since, least));
        if now - since < APART_TIMEOUT {
            return None;
        }
        self.apart = None;
        Some(least)
    }
}
