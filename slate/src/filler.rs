//! Fills a gap of a programme that is not encoded anew, with a clip in its own codecs.
//!
//! For half a second nothing is said: players hold the last picture by themselves. Then the clip begins, behind a
//! discontinuity, right where the programme ended and not where the clock is; what the clock is ahead by then leaves
//! at once. So the programme has no hole, and its time goes with the clock again: what is dated `end + t` leaves `t`
//! after the last frame came.
//!
//! While it runs, frames of a contribution that is back go nowhere until [`Filler::ends_with`] one of them, and what
//! [`Splice::track`](crate::Splice::track) says is not passed on. Then [`Splice::advance`](crate::Splice::advance) to
//! [`Filler::end`] tells it again and lays that frame behind the clip.

use bytes::Bytes;
use media::{Access, Frame, Kind, TimeDelta, Timescale, Timestamp, Track};

use crate::Item;
use crate::audio;

/// So long the player holds the last picture.
const SILENT: TimeDelta = TimeDelta::from_millis(500);
/// Frames that leave in one call. At the bound the rest is left for the next one, which is due at once.
const MOST_AT_ONCE: usize = 2_000;

/// What is shown and heard in a gap. Its tracks have the ids of those whose places they take.
#[derive(Clone, Debug, Default)]
pub struct Clip {
    /// Pictures, if the programme has any.
    pub pictures: Option<Reel>,
    /// Silence for each track of sound.
    pub sounds: Vec<Silence>,
}

/// Pictures that are shown over and over.
#[derive(Clone, Debug)]
pub struct Reel {
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

impl Reel {
    /// Whole GOPs, in decoding order, that last `length`. None where that cannot be repeated: without frames, with a
    /// first one that needs others, where decode time goes back, or is not over within `length`.
    pub fn new(track: Track, frames: Vec<Frame>, length: TimeDelta) -> Option<Self> {
        let (first, last) = (frames.first()?, frames.last()?);
        let forward = frames.windows(2).all(|two| matches!(two, [one, next] if one.dts < next.dts));
        let fits = first.access.is_independent() && forward && last.dts - first.dts < length;
        fits.then_some(Self { track, frames, length })
    }

    /// The `n`th frame of the reel that begins at `from`, and where the track ends with it.
    fn frame(&self, n: usize, from: Timestamp) -> Option<(Frame, Timestamp)> {
        let (first, count) = (self.frames.first()?, self.frames.len());
        let begins = |round: usize| from + self.length.times(i64::try_from(round).unwrap_or(i64::MAX));
        let frame = self.frames.get(n % count)?;
        let shift = begins(n / count) - first.dts;
        let next = self.frames.get(n % count + 1).map_or(begins(n / count + 1), |next| next.dts + shift);
        let frame = Frame { track: self.track.id, dts: frame.dts + shift, pts: frame.pts + shift, ..frame.clone() };
        Some((frame, next))
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

    fn frame(&self, n: usize, from: Timestamp) -> Option<(Frame, Timestamp)> {
        let scale: Timescale = self.track.timescale();
        let at =
            |n: usize| from + scale.delta(i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(self.samples.into()));
        let (dts, track) = (at(n), self.track.id);
        let payload = self.payload.clone();
        (self.samples > 0).then(|| (Frame { track, dts, pts: dts, access: Access::Independent, payload }, at(n + 1)))
    }
}

/// Plays a [`Clip`] into a gap. The clock is the distance from any fixed instant.
#[derive(Debug)]
pub struct Filler {
    clip: Clip,
    /// Where the programme ended, and the clock when its last frame came.
    from: Timestamp,
    since: TimeDelta,
    begun: bool,
    /// Frames that left: pictures, then each track of sound.
    left: Vec<usize>,
    end: Timestamp,
}

impl Filler {
    /// Fills a programme that ends at `end` with `clip`; its last frame came at `since`.
    pub fn new(clip: Clip, end: Timestamp, since: TimeDelta) -> Self {
        let left = vec![0; clip.sounds.len() + 1];
        Self { clip, from: end, since, begun: false, left, end }
    }

    /// When there is something to [`Self::poll`].
    pub fn wake_at(&self) -> TimeDelta {
        let next =
            (0..self.left.len()).filter_map(|lane| self.next(lane)).map(|(frame, _)| frame.dts - self.from).min();
        self.since + next.unwrap_or_default().max(SILENT)
    }

    /// What is due `now`.
    pub fn poll(&mut self, now: TimeDelta, out: &mut Vec<Item>) {
        if now - self.since < SILENT {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            let pictures = self.clip.pictures.iter().map(|reel| &reel.track);
            let tracks = pictures.chain(self.clip.sounds.iter().map(|silence| &silence.track));
            out.push(Item::Discontinuity);
            out.extend(tracks.cloned().map(Item::Track));
        }
        let due = self.from + (now - self.since);
        for _ in 0..MOST_AT_ONCE {
            let next = (0..self.left.len()).filter_map(|lane| Some((lane, self.next(lane)?)));
            let Some((lane, (frame, end))) = next.min_by_key(|(_, (frame, _))| frame.dts) else { return };
            if frame.dts > due {
                return;
            }
            out.push(Item::Frame(frame));
            self.end = self.end.max(end);
            if let Some(left) = self.left.get_mut(lane) {
                *left += 1;
            }
        }
    }

    /// Whether a contribution's frame of this kind ends the gap: a player can begin with it.
    pub fn ends_with(&self, kind: Kind, access: Access) -> bool {
        self.clip.pictures.is_none() || (kind == Kind::Video && access != Access::Dependent)
    }

    /// Where that which left ends; none if nothing left yet, and the contribution simply goes on.
    pub fn end(&self) -> Option<Timestamp> {
        self.begun.then_some(self.end)
    }

    /// The frame of a lane that leaves next, and where its track ends with it.
    fn next(&self, lane: usize) -> Option<(Frame, Timestamp)> {
        let n = *self.left.get(lane)?;
        match lane.checked_sub(1) {
            None => self.clip.pictures.as_ref()?.frame(n, self.from),
            Some(sound) => self.clip.sounds.get(sound)?.frame(n, self.from),
        }
    }
}
