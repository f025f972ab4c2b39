//! Fills a gap of a programme that is not encoded anew, with a clip in its own codecs.
//!
//! For [`patience`] nothing is said: players hold the last picture by themselves. Then the clip begins, behind a
//! discontinuity, right where each track ended and not where the clock is; what the clock is ahead by then leaves at
//! once. So the programme has no hole, and its time goes with the clock again: what is dated `end + t` leaves `t`
//! after the last frame came.
//!
//! [`Splice::pause`](crate::Splice::pause) tells where the tracks end. While the clip runs, frames of a contribution that
//! is back go nowhere until [`Filler::ends_with`] one of them, and what [`Splice::track`](crate::Splice::track) says is
//! not passed on. Then [`Splice::advance`](crate::Splice::advance) to [`Filler::end`] tells it again and lays that frame
//! behind the clip.

use bytes::Bytes;
use media::{Access, Frame, Kind, LatencyMode, TimeDelta, Timescale, Timestamp, Track, TrackId};

use crate::audio;
use crate::{Item, TrackEnd};

/// Frames that leave in one call. At the bound the rest is left for the next one, which is due at once.
const MAX_AT_ONCE: usize = 2_000;

/// How long media may stay away before the clip begins: as long as what players have in hand lasts for sure, as a
/// contribution that only stutters is better waited for.
pub const fn gap_timeout(mode: LatencyMode) -> TimeDelta {
    TimeDelta::from_millis(match mode {
        LatencyMode::Standard => 2_000,
        LatencyMode::Reduced => 1_000,
        LatencyMode::Low => 500,
    })
}

/// What is shown and heard in a gap. Its tracks have the ids of those whose places they take.
#[derive(Clone, Debug, Default)]
pub struct SlateClip {
    /// Pictures, if the programme has any.
    pub pictures: Option<LoopedVideo>,
    /// Silence for each track of sound.
    pub sounds: Vec<Silence>,
}

/// Pictures that are shown over and over.
#[derive(Clone, Debug)]
pub struct LoopedVideo {
    track: Track,
    frames: Vec<Frame>,
    length: TimeDelta,
}

/// A frame of silence that is repeated.
#[derive(Clone, Debug)]
pub struct Silence {
    track: Track,
    payload: Bytes,
    samples: u32,
}

impl LoopedVideo {
    /// Whole GOPs, in decoding order, that last `length`. None where that cannot be repeated: without frames, with a
    /// first one that needs others, where decode time goes back, or is not over within `length`.
    pub fn new(track: Track, frames: Vec<Frame>, length: TimeDelta) -> Option<Self> {
        let (first, last) = (frames.first()?, frames.last()?);
        let forward = frames.windows(2).all(|two| matches!(two, [one, next] if one.dts < next.dts));
        let fits = first.access.is_independent() && forward && last.dts - first.dts < length;
        fits.then_some(Self { track, frames, length })
    }

    /// The same pictures in the place of another track.
    pub fn in_place_of(&self, id: TrackId) -> Self {
        Self { track: Track { id, ..self.track.clone() }, ..self.clone() }
    }

    /// Their track.
    pub const fn track(&self) -> &Track {
        &self.track
    }

    /// The `n`th frame of the reel where the first is decoded and shown as `from` says, and where the track ends with it.
    fn frame(&self, n: usize, from: &Lane) -> Option<(Frame, Timestamp)> {
        let (first, count) = (self.frames.first()?, self.frames.len());
        let begins = |round: usize| from.dts + self.length.times(i64::try_from(round).unwrap_or(i64::MAX));
        let frame = self.frames.get(n % count)?;
        let shift = begins(n / count) - first.dts;
        let next = self.frames.get(n % count + 1).map_or(begins(n / count + 1), |next| next.dts + shift);
        let (dts, pts) = (frame.dts + shift, frame.pts + shift + from.delay);
        Some((Frame { track: self.track.id, dts, pts, ..frame.clone() }, next))
    }
}

impl Silence {
    /// Silence as an encoder made it: a frame of `samples` samples.
    pub const fn new(track: Track, payload: Bytes, samples: u32) -> Self {
        Self { track, payload, samples }
    }

    /// Silence for a track whose coding of it is known: AAC-LC and Opus of one or two channels.
    pub fn of(track: Track) -> Option<Self> {
        let (payload, samples) = audio::silence(&track.codec)?;
        Some(Self { track, payload, samples })
    }

    /// The same silence in the place of another track.
    pub fn in_place_of(&self, track: &Track) -> Self {
        let track = Track { codec: self.track.codec.clone(), ..track.clone() };
        Self { track, ..self.clone() }
    }

    fn frame(&self, n: usize, from: &Lane) -> Option<(Frame, Timestamp)> {
        let scale: Timescale = self.track.timescale();
        let at =
            |n: usize| from.dts + scale.delta(i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(self.samples.into()));
        let (dts, track) = (at(n), self.track.id);
        let payload = self.payload.clone();
        (self.samples > 0).then(|| (Frame { track, dts, pts: dts, access: Access::Independent, payload }, at(n + 1)))
    }
}

/// Plays a [`SlateClip`] into a gap. The clock is the distance from any fixed instant.
#[derive(Debug)]
pub struct Filler {
    clip: SlateClip,
    /// Where the programme ended, and the clock when its last frame came.
    from: Timestamp,
    since: TimeDelta,
    begun: bool,
    /// Pictures, then each track of sound.
    lanes: Vec<Lane>,
    end: Timestamp,
}

/// Where one track of a clip begins, and how many of its frames left.
#[derive(Clone, Copy, Debug)]
struct Lane {
    dts: Timestamp,
    /// Pictures are shown so much later than they are decoded, as those before them were.
    delay: TimeDelta,
    left: usize,
}

impl Filler {
    /// Fills a programme whose tracks end at `ends` with `clip`, whose last frame came at `since`. Pictures begin where
    /// those before them ended, and each sound where that ended whose place it takes.
    pub fn new(clip: SlateClip, ends: &[TrackEnd], since: TimeDelta) -> Self {
        let from = ends.iter().map(|end| end.dts).max().unwrap_or_default();
        let lane = |end: Option<&TrackEnd>| {
            let (dts, pts) = end.map_or((from, from), |end| (end.dts, end.pts));
            Lane { dts, delay: pts - dts, left: 0 }
        };
        let pictures = lane(ends.iter().find(|end| end.track.kind() == Kind::Video));
        let sounds = clip.sounds.iter().map(|sound| lane(ends.iter().find(|end| end.track.id == sound.track.id)));
        let lanes = std::iter::once(pictures).chain(sounds).collect();
        Self { clip, from, since, begun: false, lanes, end: from }
    }

    /// When there is something to [`Self::poll`].
    pub fn wake_at(&self) -> TimeDelta {
        let next = (0..self.lanes.len()).filter_map(|lane| self.next(lane)).map(|(frame, _)| frame.dts).min();
        self.since + next.map_or(TimeDelta::ZERO, |next| (next - self.from).max(TimeDelta::ZERO))
    }

    /// What is due `now`; first of all the discontinuity and the tracks.
    pub fn poll(&mut self, now: TimeDelta, out: &mut Vec<Item>) {
        if !std::mem::replace(&mut self.begun, true) {
            let pictures = self.clip.pictures.iter().map(|reel| &reel.track);
            let tracks = pictures.chain(self.clip.sounds.iter().map(|silence| &silence.track));
            out.push(Item::Discontinuity);
            out.extend(tracks.cloned().map(Item::Track));
        }
        let due = self.from + (now - self.since);
        for _ in 0..MAX_AT_ONCE {
            let next = (0..self.lanes.len()).filter_map(|lane| Some((lane, self.next(lane)?)));
            let Some((lane, (frame, end))) = next.min_by_key(|(_, (frame, _))| frame.dts) else { return };
            if frame.dts > due {
                return;
            }
            out.push(Item::Frame(frame));
            self.end = self.end.max(end);
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.left += 1;
            }
        }
    }

    /// Whether a contribution's frame of this kind ends the gap: a player can begin with it.
    pub fn ends_with(&self, kind: Kind, access: Access) -> bool {
        self.clip.pictures.is_none() || (kind == Kind::Video && access != Access::Dependent)
    }

    /// Where that which left ends.
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// Pictures that left.
    pub fn shown(&self) -> usize {
        self.lanes.first().map_or(0, |pictures| pictures.left)
    }

    /// The frame of a lane that leaves next, and where its track ends with it.
    fn next(&self, lane: usize) -> Option<(Frame, Timestamp)> {
        let from = self.lanes.get(lane)?;
        match lane.checked_sub(1) {
            None => self.clip.pictures.as_ref()?.frame(from.left, from),
            Some(sound) => self.clip.sounds.get(sound)?.frame(from.left, from),
        }
    }
}
