//! Fills a gap of a passthrough programme with a clip in the programme's own codecs.
//!
//! For [`gap_timeout`] nothing is sent, because players repeat the last frame by themselves. Then the clip begins after a
//! discontinuity, right where each track ended and not where the clock is. The part of it that is already overdue by the
//! clock leaves at once. So the programme has no gap, and its time follows the clock again: media at `end + t` leaves `t`
//! after the last frame arrived.
//!
//! [`Splice::pause`](crate::Splice::pause) returns where the tracks end. While the clip is sent, frames of a contribution
//! that has returned are discarded until [`Filler::ends_with`] one of them, and the output of
//! [`Splice::track`](crate::Splice::track) is not passed on. Then [`Splice::advance`](crate::Splice::advance) to
//! [`Filler::end`] announces the tracks again and places that frame after the clip.

use bytes::Bytes;
use media::{Access, Frame, Kind, LatencyMode, TimeDelta, Timescale, Timestamp, Track, TrackId};

use crate::sample_grid;
use crate::{Item, TrackEnd};

/// Maximum number of frames that leave in one call of [`Filler::poll`]. The rest is left for the next call, which is due at
/// once.
const MAX_AT_ONCE: usize = 2_000;

/// Returns how long media may be absent before the clip begins.
///
/// That is as long as players certainly have media buffered, because waiting is better for a contribution that only stutters.
pub const fn gap_timeout(mode: LatencyMode) -> TimeDelta {
    TimeDelta::from_millis(match mode {
        LatencyMode::Standard => 2_000,
        LatencyMode::Reduced => 1_000,
        LatencyMode::Low => 500,
    })
}

/// Video and audio for a gap. Its tracks have the ids of the tracks that they replace.
#[derive(Clone, Debug, Default)]
pub struct SlateClip {
    /// Video, if the programme has any.
    pub video: Option<LoopedVideo>,
    /// Silence for each audio track.
    pub audio: Vec<SilentAudio>,
}

/// Video that is presented over and over.
#[derive(Clone, Debug)]
pub struct LoopedVideo {
    track: Track,
    frames: Vec<Frame>,
    length: TimeDelta,
}

/// A silent audio frame that is repeated.
#[derive(Clone, Debug)]
pub struct SilentAudio {
    track: Track,
    payload: Bytes,
    samples: u32,
}

impl LoopedVideo {
    /// Creates a loop of whole GOPs, in decoding order, that lasts `length`.
    ///
    /// Returns `None` if the frames cannot be repeated: there are none, the first one depends on others, decode time goes
    /// back, or the frames last longer than `length`.
    pub fn new(track: Track, frames: Vec<Frame>, length: TimeDelta) -> Option<Self> {
        let (first, last) = (frames.first()?, frames.last()?);
        let forward = frames.windows(2).all(|two| matches!(two, [one, next] if one.dts < next.dts));
        let fits = first.access.is_independent() && forward && last.dts - first.dts < length;
        fits.then_some(Self { track, frames, length })
    }

    /// Returns the same video in place of another track.
    pub fn in_place_of(&self, id: TrackId) -> Self {
        Self { track: Track { id, ..self.track.clone() }, ..self.clone() }
    }

    /// Returns the track of the video.
    pub const fn track(&self) -> &Track {
        &self.track
    }

    /// Returns the `n`th frame of a loop that begins at `from`, and the end of the track with it.
    fn frame(&self, n: usize, from: &Cursor) -> Option<(Frame, Timestamp)> {
        let (first, count) = (self.frames.first()?, self.frames.len());
        let begins = |round: usize| from.dts + self.length.times(i64::try_from(round).unwrap_or(i64::MAX));
        let frame = self.frames.get(n % count)?;
        let offset = begins(n / count) - first.dts;
        let next = self.frames.get(n % count + 1).map_or(begins(n / count + 1), |next| next.dts + offset);
        let (dts, pts) = (frame.dts + offset, frame.pts + offset + from.delay);
        Some((Frame { track: self.track.id, dts, pts, ..frame.clone() }, next))
    }
}

impl SilentAudio {
    /// Creates silence from a frame of `samples` samples that an encoder made.
    pub const fn new(track: Track, payload: Bytes, samples: u32) -> Self {
        Self { track, payload, samples }
    }

    /// Returns silence for a track whose codec has a built-in silent frame: AAC-LC and Opus of one or two channels.
    pub fn of(track: Track) -> Option<Self> {
        let (payload, samples) = sample_grid::silence(&track.codec)?;
        Some(Self { track, payload, samples })
    }

    /// Returns the same silence in place of another track.
    pub fn in_place_of(&self, track: &Track) -> Self {
        let track = Track { codec: self.track.codec.clone(), ..track.clone() };
        Self { track, ..self.clone() }
    }

    /// Returns the `n`th frame of silence that begins at `from`, and the end of the track with it.
    fn frame(&self, n: usize, from: &Cursor) -> Option<(Frame, Timestamp)> {
        let scale: Timescale = self.track.timescale();
        let at =
            |n: usize| from.dts + scale.delta(i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(self.samples.into()));
        let (dts, track) = (at(n), self.track.id);
        let payload = self.payload.clone();
        (self.samples > 0).then(|| (Frame { track, dts, pts: dts, access: Access::Independent, payload }, at(n + 1)))
    }
}

/// Sends a [`SlateClip`] into a gap. The clock is the distance from any fixed instant.
#[derive(Debug)]
pub struct Filler {
    clip: SlateClip,
    /// End of the programme, and the clock when its last frame arrived.
    from: Timestamp,
    since: TimeDelta,
    begun: bool,
    /// One cursor for the video, then one for each audio track.
    cursors: Vec<Cursor>,
    end: Timestamp,
}

/// Start of one track of a clip, and the number of its frames sent.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    dts: Timestamp,
    /// Presentation time of video less its decode time, as it was before the gap.
    delay: TimeDelta,
    sent: usize,
}

impl Filler {
    /// Fills a programme whose tracks end at `ends` with `clip`. Its last frame arrived at `since`. The video begins where the
    /// programme's video ended, and each audio track where the one ended that it replaces.
    pub fn new(clip: SlateClip, ends: &[TrackEnd], since: TimeDelta) -> Self {
        let from = ends.iter().map(|end| end.dts).max().unwrap_or_default();
        let cursor = |end: Option<&TrackEnd>| {
            let (dts, pts) = end.map_or((from, from), |end| (end.dts, end.pts));
            Cursor { dts, delay: pts - dts, sent: 0 }
        };
        let video = cursor(ends.iter().find(|end| end.track.kind() == Kind::Video));
        let audio = clip.audio.iter().map(|audio| cursor(ends.iter().find(|end| end.track.id == audio.track.id)));
        let cursors = std::iter::once(video).chain(audio).collect();
        Self { clip, from, since, begun: false, cursors, end: from }
    }

    /// Returns when to call [`Filler::poll`] next.
    pub fn wake_at(&self) -> TimeDelta {
        let next = (0..self.cursors.len()).filter_map(|n| self.next(n)).map(|(frame, _)| frame.dts).min();
        self.since + next.map_or(TimeDelta::ZERO, |next| (next - self.from).max(TimeDelta::ZERO))
    }

    /// Appends what is due `now` to `out`, beginning with the discontinuity and the tracks.
    pub fn poll(&mut self, now: TimeDelta, out: &mut Vec<Item>) {
        if !std::mem::replace(&mut self.begun, true) {
            let video = self.clip.video.iter().map(|video| &video.track);
            let tracks = video.chain(self.clip.audio.iter().map(|audio| &audio.track));
            out.push(Item::Discontinuity);
            out.extend(tracks.cloned().map(Item::Track));
        }
        let due = self.from + (now - self.since);
        for _ in 0..MAX_AT_ONCE {
            let next = (0..self.cursors.len()).filter_map(|n| Some((n, self.next(n)?)));
            let Some((n, (frame, end))) = next.min_by_key(|(_, (frame, _))| frame.dts) else { return };
            if frame.dts > due {
                return;
            }
            out.push(Item::Frame(frame));
            self.end = self.end.max(end);
            if let Some(cursor) = self.cursors.get_mut(n) {
                cursor.sent += 1;
            }
        }
    }

    /// Whether a contribution's frame of this kind ends the gap, because a player can begin with it.
    pub fn ends_with(&self, kind: Kind, access: Access) -> bool {
        self.clip.video.is_none() || (kind == Kind::Video && access != Access::Dependent)
    }

    /// Returns the end of the frames sent.
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// Returns the number of video frames sent.
    pub fn video_frames(&self) -> usize {
        self.cursors.first().map_or(0, |video| video.sent)
    }

    /// Returns the next frame of the `n`th cursor, and the end of its track with it.
    fn next(&self, n: usize) -> Option<(Frame, Timestamp)> {
        let from = self.cursors.get(n)?;
        match n.checked_sub(1) {
            None => self.clip.video.as_ref()?.frame(from.sent, from),
            Some(n) => self.clip.audio.get(n)?.frame(from.sent, from),
        }
    }
}
