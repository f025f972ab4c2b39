//! Repair of one contribution's timestamps, checked against the arrival of its frames.
//!
//! A contribution's clock may start anywhere, but after that it has to advance like the clock by which its frames
//! arrive. [`Intake`] repairs timestamps that do not advance, clocks that jump, and tracks that are seconds apart.
//! Media that is merely late keeps its timestamps, because they say when it was captured.

use std::collections::BTreeMap;

use bytes::Bytes;
use media::{CodecConfig, Fault, FaultReport, Frame, Kind, LeastDelay, Metadata, TimeDelta, Timescale, Timestamp};
use media::{Track, TrackId};

use crate::Item;

/// Maximum step back of a clock that counts as disorder, or as timestamps that do not advance. A larger step is a jump.
const MAX_DISORDER: TimeDelta = TimeDelta::from_millis(300);
/// Minimum step forward that counts as a jump. The frame must also arrive earlier than media with its timestamp and
/// the least delay would, by more than this and more than three frame intervals.
const MIN_JUMP: TimeDelta = TimeDelta::from_secs(1);
/// Maximum distance of two tracks that arrive together, because multiplexers send audio up to a second early.
const MAX_APART: TimeDelta = TimeDelta::from_millis(1_500);
/// Time for which the distance of two tracks has to exceed [`MAX_APART`] before they are aligned.
const APART_TIMEOUT: TimeDelta = TimeDelta::from_secs(2);
/// Time without a frame after which a track is no longer compared with the others.
const MAX_AGE: TimeDelta = TimeDelta::from_secs(1);
/// Minimum step of timestamps that advance. Timestamps with a smaller step are stalled.
const MIN_STEP: TimeDelta = TimeDelta::from_millis(3);
/// Divisor: an eighth of the usual frame interval is the minimum step if it is less than [`MIN_STEP`], and an eighth of
/// an interpolation error is corrected with each frame.
const STEP_DIVISOR: i64 = 8;
/// Assumed interval of video frames before it is known.
const FIRST_INTERVAL: TimeDelta = TimeDelta::from_millis(33);
/// Bounds of the interval of video frames.
const INTERVALS: std::ops::RangeInclusive<TimeDelta> = TimeDelta::from_millis(4)..=TimeDelta::from_secs(1);
/// Maximum distance of interpolated timestamps from where their arrival puts them. Beyond it they are spaced more
/// widely or more narrowly than the usual interval.
const MAX_INTERPOLATION_ERROR: TimeDelta = TimeDelta::from_millis(300);
/// Maximum lead of interpolated timestamps over the contribution's own when those advance again. Beyond it the
/// contribution's timestamps get a new offset.
const MAX_LEAD: TimeDelta = TimeDelta::from_millis(500);

/// Repairs the timestamps of one contribution. Each `now` is the distance from any fixed instant of a monotonic clock.
#[derive(Debug, Default)]
pub struct Intake {
    tracks: BTreeMap<TrackId, TrackClock>,
    delay: LeastDelay,
    /// The newest offset chosen for a track after a jump. Other tracks take this offset when they jump too, and new
    /// tracks begin with it.
    offset: TimeDelta,
}

/// The timestamps of one track.
#[derive(Debug)]
struct TrackClock {
    codec: CodecConfig,
    kind: Kind,
    /// Repaired time less the contribution's time.
    offset: TimeDelta,
    newest: Option<NewestFrame>,
    /// Usual distance of two video frames.
    interval: TimeDelta,
    /// Time since which the distance from another track exceeds [`MAX_APART`], and the least distance since then.
    apart: Option<(TimeDelta, TimeDelta)>,
}

/// The newest frame of a track.
#[derive(Clone, Debug)]
struct NewestFrame {
    /// Greatest DTS of the track as it arrived, since its last jump.
    furthest: Timestamp,
    /// DTS and PTS as they arrived.
    raw: (Timestamp, Timestamp),
    payload: Bytes,
    /// Whether the contribution's timestamp advanced with this frame; otherwise `dts` and `pts` are interpolated.
    advanced: bool,
    /// The repaired timestamps.
    dts: Timestamp,
    pts: Timestamp,
    arrived: TimeDelta,
}

impl Intake {
    /// Announces a track, or changes it.
    pub fn track(&mut self, track: &Track) {
        let clock = self.tracks.entry(track.id).or_insert_with(|| TrackClock::new(track));
        clock.codec = track.codec.clone();
    }

    /// Returns the arrival time less the media time of the media with the least delay; `None` before any media.
    pub fn least_delay(&self) -> Option<TimeDelta> {
        self.delay.least()
    }

    /// Returns how much later than other media a repaired frame arrives.
    pub fn lateness(&self, frame: &Frame, now: TimeDelta) -> TimeDelta {
        self.delay.lateness(frame.dts, now).max(TimeDelta::ZERO)
    }

    /// Repairs the timestamps of a frame that arrives `now`. Frames of unknown tracks and empty frames are not changed.
    pub fn frame(&mut self, frame: Frame, now: TimeDelta, out: &mut Vec<Item>) -> Frame {
        if frame.payload.is_empty() {
            return frame;
        }
        let live = self.delay.live(now);
        let (other, shared) = (self.reference_frame(frame.track, now), self.offset);
        let Some(clock) = self.tracks.get_mut(&frame.track) else { return frame };
        let Some(newest) = clock.newest.clone() else {
            clock.offset = shared;
            if let Some(apart) = other.map(|other| other.distance(frame.dts + shared, now))
                && apart.abs() > MAX_APART
            {
                clock.offset = shared - apart;
                out.push(tracks_apart(frame.track, apart));
            }
            let dts = frame.dts + clock.offset;
            return self.record(frame, dts, now, true);
        };
        if newest.is_repeated_by(&frame) {
            // The splice recognizes a repeated frame by its equal timestamps, and discards it.
            return Frame { dts: newest.dts, pts: newest.pts, ..frame };
        }
        let interval = clock.interval_after(&frame.payload);
        if let Some(advance) = clock.jump(&frame, &newest, interval, live) {
            // The frame continues its own track, which may have more delay than the media that `live` was measured by.
            let own = newest.dts + (now - newest.arrived);
            let at = live.map_or(newest.dts, |live| live.min(own)).max(newest.dts + interval);
            clock.rebase(&frame, at, shared, newest.dts);
            self.offset = clock.offset;
            let detail = format!("by {} ms", advance.as_millis());
            let report = FaultReport::new(Fault::TimestampJump, Some(frame.track)).with_detail(detail);
            out.push(Item::Fault(report));
            let dts = frame.dts + self.offset;
            return self.record_after_jump(frame, dts, now);
        }
        let (dts, advanced) = clock.place(&frame, &newest, interval, live);
        if !advanced {
            out.push(Item::Fault(FaultReport::new(Fault::StalledTimestamps, Some(frame.track))));
        }
        let apart = other.and_then(|other| clock.distance_to_correct(other.distance(dts, now), now));
        let dts = match apart {
            Some(apart) => {
                clock.offset = clock.offset - apart;
                out.push(tracks_apart(frame.track, apart));
                dts - apart
            }
            None => dts,
        };
        self.record(frame, dts, now, advanced)
    }

    /// Repairs the timestamp of metadata like those of the frames around it.
    pub fn metadata(&self, metadata: Metadata) -> Metadata {
        let newest = self.tracks.values().filter_map(|clock| Some((clock.newest.as_ref()?, clock.offset)));
        let nearest = newest.min_by_key(|(newest, offset)| (metadata.pts + *offset - newest.dts).abs());
        Metadata { pts: metadata.pts + nearest.map_or(self.offset, |(_, offset)| offset), ..metadata }
    }

    /// Returns the newest frame of the other tracks, unless it is too old to compare with. Considers only video if
    /// another track is video, because audio that agrees with other audio may still be apart from the video.
    fn reference_frame(&self, track: TrackId, now: TimeDelta) -> Option<NewestFrame> {
        let others = || self.tracks.iter().filter(|(id, _)| **id != track).map(|(_, other)| other);
        let video = others().any(|other| other.kind == Kind::Video);
        let compared = others().filter(|other| !video || other.kind == Kind::Video);
        let newest = compared.filter_map(|other| other.newest.as_ref()).max_by_key(|newest| newest.arrived);
        newest.filter(|newest| now - newest.arrived < MAX_AGE).cloned()
    }

    /// Remembers a frame as [`NewestFrame`], and gives it its repaired timestamps.
    fn record(&mut self, frame: Frame, dts: Timestamp, now: TimeDelta, advanced: bool) -> Frame {
        let pts = dts + (frame.pts - frame.dts);
        if let Some(clock) = self.tracks.get_mut(&frame.track) {
            // A frame with an interpolated timestamp says nothing about the delay.
            if advanced && dts == frame.dts + clock.offset {
                self.delay.note(dts, now);
            }
            let furthest = clock.newest.as_ref().map_or(frame.dts, |newest| newest.furthest.max(frame.dts));
            let (raw, payload) = ((frame.dts, frame.pts), frame.payload.clone());
            clock.newest = Some(NewestFrame { furthest, raw, payload, advanced, dts, pts, arrived: now });
        }
        Frame { dts, pts, ..frame }
    }

    /// Does the same as [`Intake::record`] for the first frame after a jump.
    fn record_after_jump(&mut self, frame: Frame, dts: Timestamp, now: TimeDelta) -> Frame {
        if let Some(clock) = self.tracks.get_mut(&frame.track) {
            clock.newest = None;
            clock.apart = None;
        }
        self.record(frame, dts, now, true)
    }
}

fn tracks_apart(track: TrackId, apart: TimeDelta) -> Item {
    let detail = format!("by {} ms", apart.as_millis());
    Item::Fault(FaultReport::new(Fault::TracksApart, Some(track)).with_detail(detail))
}

impl NewestFrame {
    /// Returns how far `at` is from the current position of this frame's track, negative if `at` is before it. The
    /// position is anywhere between the newest frame and the frame that is due `now`.
    fn distance(&self, at: Timestamp, now: TimeDelta) -> TimeDelta {
        let (from, to) = (self.dts, self.dts + (now - self.arrived).max(TimeDelta::ZERO));
        if at < from { at - from } else { (at - to).max(TimeDelta::ZERO) }
    }

    /// Whether `frame` is this one once more, and not one of many with stalled timestamps.
    fn is_repeated_by(&self, frame: &Frame) -> bool {
        self.advanced && self.raw == (frame.dts, frame.pts) && self.payload == frame.payload
    }
}

impl TrackClock {
    fn new(track: &Track) -> Self {
        let declared = track.codec.frame_duration();
        Self {
            codec: track.codec.clone(),
            kind: track.kind(),
            offset: TimeDelta::ZERO,
            newest: None,
            interval: declared.filter(|interval| INTERVALS.contains(interval)).unwrap_or(FIRST_INTERVAL),
            apart: None,
        }
    }

    /// Returns the usual distance from a frame with `payload` to the next one.
    fn interval_after(&self, payload: &[u8]) -> TimeDelta {
        let Some(rate) = self.codec.sample_rate().filter(|_| self.kind == Kind::Audio) else { return self.interval };
        Timescale::new(rate).delta(self.codec.packet_samples_or_usual(payload).into())
    }

    /// Returns by how much the clock jumps with `frame`; `None` if it does not.
    fn jump(
        &self,
        frame: &Frame,
        newest: &NewestFrame,
        interval: TimeDelta,
        live: Option<Timestamp>,
    ) -> Option<TimeDelta> {
        let advance = frame.dts - newest.furthest;
        let is_early = live.is_some_and(|live| frame.dts + self.offset - live > MIN_JUMP.max(interval.times(3)));
        let jumps = advance < TimeDelta::ZERO - MAX_DISORDER || advance > MIN_JUMP && is_early;
        jumps.then_some(advance)
    }

    /// Chooses the offset after a jump: the `shared` one if it puts `frame` close to `at` and after `last`, otherwise
    /// one that puts it at `at`.
    fn rebase(&mut self, frame: &Frame, at: Timestamp, shared: TimeDelta, last: Timestamp) {
        let distance = frame.dts + shared - at;
        let joins = (TimeDelta::ZERO - MAX_APART..MIN_JUMP).contains(&distance) && frame.dts + shared > last;
        self.offset = if joins { shared } else { at - frame.dts };
    }

    /// Returns the repaired DTS of a frame, and whether its timestamp has advanced.
    fn place(
        &mut self,
        frame: &Frame,
        newest: &NewestFrame,
        interval: TimeDelta,
        live: Option<Timestamp>,
    ) -> (Timestamp, bool) {
        let advance = frame.dts - newest.furthest;
        let min_step = MIN_STEP.min(interval.part(STEP_DIVISOR));
        if advance < min_step {
            let next = newest.dts + interval;
            let error = live.map_or(TimeDelta::ZERO, |live| live - next);
            let step = if error > MAX_INTERPOLATION_ERROR {
                interval + error.part(STEP_DIVISOR).min(interval)
            } else if self.kind == Kind::Video {
                // No further ahead than necessary, because the timestamps may advance again with the next frame.
                (interval + error).clamp(interval.part(4), interval)
            } else if error < TimeDelta::ZERO - MAX_INTERPOLATION_ERROR {
                interval - interval.part(4)
            } else {
                interval
            };
            if self.kind == Kind::Video {
                self.update_interval(step);
            }
            return (newest.dts + step, false);
        }
        if newest.advanced && INTERVALS.contains(&advance) {
            self.update_interval(advance);
        }
        let at = frame.dts + self.offset;
        let lead = newest.dts - at;
        // Timestamps that agree with the arrival are right, however far ahead the interpolated ones are.
        if lead > MAX_LEAD && live.is_none_or(|live| live - at > MAX_LEAD) {
            self.offset = self.offset + lead + interval;
            return (newest.dts + interval, true);
        }
        if newest.dts <= newest.furthest + self.offset {
            return (at, true);
        }
        // Interpolated timestamps are ahead, so they advance more slowly until the contribution's have caught up.
        (at.max(newest.dts + interval.min(advance).part(4).max(min_step)), true)
    }

    fn update_interval(&mut self, interval: TimeDelta) {
        let (min, max) = (*INTERVALS.start(), *INTERVALS.end());
        self.interval = (self.interval + (interval - self.interval).part(8)).clamp(min, max);
    }

    /// Returns the distance to correct if audio has been too far from the other tracks for [`APART_TIMEOUT`].
    fn distance_to_correct(&mut self, apart: TimeDelta, now: TimeDelta) -> Option<TimeDelta> {
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
