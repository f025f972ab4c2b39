//! Gaps of a programme that is passed through: when the slate begins, and with which frame of a contribution it ends.
//!
//! The slate is a clip in the programme's own codecs, made ahead as soon as it is known what its pictures have to be like.

use std::collections::VecDeque;

use control::lifecycle::Warning;
use ladder::clip::{self, ClipSpec};
use ladder::rate::{Estimator, Rate};
use ladder::{Error, SlateImages};
use media::{CodecConfig, Fault, FaultReport, Frame, Kind, LatencyMode, TimeDelta, Timestamp, Track};
use parking_lot::Mutex;
use slate::filler::{LoopedVideo, Silence, SlateClip, gap_timeout};
use slate::{Filler, Item, Splice, TrackEnd};

/// A contribution that is back with sound only is waited with for pictures so long.
const NO_PICTURES: TimeDelta = TimeDelta::from_secs(2);
/// And so long for video that is on its way without its codec header: longer than the longest GOP.
const NO_HEADER: TimeDelta = TimeDelta::from_secs(21);
/// A contribution whose frames come again so soon after the slate began stutters, and is waited for longer from then on.
const STUTTER: TimeDelta = TimeDelta::from_secs(2);
/// Nothing is waited for longer than this.
const MAX_PATIENCE: TimeDelta = TimeDelta::from_secs(4);
/// Media that ends the slate may be this much older than the media before the gap was when it was shown: viewers stay that
/// much further behind live until the next gap.
const BACKLOG: TimeDelta = TimeDelta::from_millis(300);
/// A backlog that shrinks by less than [`BACKLOG`] in this time is the network's new delay, and not waited for.
const DRAIN: TimeDelta = TimeDelta::from_millis(1_500);
/// A programme that ran ahead of the clock, as a burst makes it, lets the clock catch up by this much in a gap.
const MAX_AHEAD: TimeDelta = TimeDelta::from_secs(1);
/// A programme that fell back behind the clock catches up by this much in a gap.
const MAX_BEHIND: TimeDelta = TimeDelta::from_secs(4);
/// Media is not away before this many of its pictures are.
const PICTURES: i64 = 3;
/// How soon it is looked again whether there is a clip by now.
const LOOK_AGAIN: TimeDelta = TimeDelta::from_millis(500);
/// Codings of sound whose silence has to be made; beyond that there is none.
const MAX_SILENCES: usize = 8;
/// Clips that are kept for other broadcasts; then the oldest goes.
const MAX_FILMS: usize = 16;

/// Decides what is passed on. The clock is the distance from any fixed instant.
pub(crate) struct Gaps {
    mode: LatencyMode,
    slate: SlateImages,
    /// What is shown where `slate` cannot be.
    fallback: Option<SlateImages>,
    codec: Option<CodecConfig>,
    /// The contribution has video whose codec header has not come yet.
    video_expected: bool,
    rate: Estimator,
    wanted: Option<ClipSpec>,
    ordered: Option<ClipSpec>,
    reel: Option<LoopedVideo>,
    /// Sounds whose silence is not known by heart, and what was made for them.
    sounds: Vec<Track>,
    silences: Vec<(CodecConfig, Silence)>,
    patience: TimeDelta,
    /// When media came that was passed on.
    last: TimeDelta,
    /// Programme time less the clock when media is captured: of the media passed on now, and where it has to return to.
    position: Option<TimeDelta>,
    reference: Option<TimeDelta>,
    away: Option<Away>,
    shown: u64,
    /// It was told that something could not be made.
    told: bool,
}

/// Frames of contributions go nowhere.
struct Away {
    filler: Filler,
    /// When the clip began.
    since: Option<TimeDelta>,
    /// Another contribution is to end it.
    anew: bool,
    /// When the contribution's first frame came.
    back: Option<TimeDelta>,
    /// When the backlog was measured, and how much it was.
    backlog: Option<(TimeDelta, TimeDelta)>,
    /// Frames that went nowhere because the slate has covered their time, and because a key frame was missing.
    late: u64,
    undecodable: u64,
}

/// A frame of a contribution.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) kind: Kind,
    pub(crate) now: TimeDelta,
    /// How much later it comes than media that nothing held up.
    pub(crate) lateness: TimeDelta,
}

/// What becomes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is passed on.
    Pass,
    /// It goes nowhere.
    Drop,
    /// It is the first one behind a gap that is filled so far.
    Back(Timestamp),
}

/// What is to be made for a slate.
pub(crate) struct Order {
    pictures: Option<(ClipSpec, SlateImages, u32)>,
    sounds: Vec<Track>,
}

/// What was made.
pub(crate) struct Made {
    pictures: Option<Result<LoopedVideo, Error>>,
    silences: Vec<(Track, Result<Silence, Error>)>,
}

impl Order {
    /// Makes it. Blocks the thread for as long as the encoders take.
    pub(crate) fn make(self, films: &Films) -> Made {
        let silences = self.sounds.into_iter().map(|track| (track.clone(), clip::silence(&track))).collect();
        Made { pictures: self.pictures.map(|(like, slate, seconds)| films.render_clip(like, slate, seconds)), silences }
    }
}

/// The newest clips, as many broadcasts are alike and show the same slate.
#[derive(Default)]
pub(crate) struct Films(Mutex<VecDeque<Film>>);

struct Film {
    like: ClipSpec,
    slate: SlateImages,
    seconds: u32,
    reel: LoopedVideo,
}

impl Films {
    fn render_clip(&self, like: ClipSpec, slate: SlateImages, seconds: u32) -> Result<LoopedVideo, Error> {
        let is_it = |film: &&Film| {
            let same = film.slate.landscape == slate.landscape && film.slate.portrait == slate.portrait;
            film.like == like && film.seconds == seconds && same
        };
        if let Some(film) = self.0.lock().iter().find(is_it) {
            return Ok(film.reel.clone());
        }
        let reel = like.render_clip(&slate, seconds)?;
        let mut films = self.0.lock();
        films.truncate(MAX_FILMS - 1);
        films.push_front(Film { like, slate, seconds, reel: reel.clone() });
        Ok(reel)
    }
}

/// What the owner of a live stream is to know of a slate that could not be made.
pub(crate) fn warning(error: &Error) -> Warning {
    // With another picture it can be.
    if matches!(error, Error::Slate(_)) { Warning::SlateUnavailable } else { Warning::SlateNotMade }
}

impl Gaps {
    /// Gaps that are filled with `slate`.
    pub(crate) fn new(mode: LatencyMode, slate: SlateImages) -> Self {
        Self {
            mode,
            slate,
            fallback: None,
            codec: None,
            video_expected: false,
            rate: Estimator::default(),
            wanted: None,
            ordered: None,
            reel: None,
            sounds: Vec::new(),
            silences: Vec::new(),
            patience: gap_timeout(mode),
            last: TimeDelta::ZERO,
            position: None,
            reference: None,
            away: None,
            shown: 0,
            told: false,
        }
    }

    /// Another picture for the slate, from the next gap on.
    pub(crate) fn set_slate(&mut self, slate: SlateImages) {
        self.fallback = Some(std::mem::replace(&mut self.slate, slate));
        self.ordered = None;
    }

    /// Whether contributions are cut off just now.
    pub(crate) const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Pictures of slates that were passed on.
    pub(crate) fn shown(&self) -> u64 {
        self.shown + self.away.as_ref().map_or(0, |away| away.filler.shown() as u64)
    }

    /// Another contribution follows; `splice` knows the last one's tracks still.
    pub(crate) fn begin(&mut self, splice: &mut Splice, out: &mut Vec<Item>) {
        self.leave(splice, out);
        if let Some(away) = &mut self.away {
            (away.anew, away.back, away.backlog) = (true, None, None);
        }
        self.codec = None;
        self.video_expected = false;
        self.patience = gap_timeout(self.mode);
    }

    /// Nothing more is passed on of the contribution in hand, if there is a clip to fill the gap.
    fn leave(&mut self, splice: &mut Splice, out: &mut Vec<Item>) {
        if self.away.is_none()
            && splice.end().is_some()
            && let Some(clip) = self.clip(splice)
        {
            let ends = splice.pause(out);
            let filler = Filler::new(clip, &ends, self.due(&ends));
            self.away =
                Some(Away { filler, since: None, anew: false, back: None, backlog: None, late: 0, undecodable: 0 });
        }
    }

    /// The contribution has video whose codec header has not come yet.
    pub(crate) fn expect_video(&mut self) {
        self.video_expected = true;
    }

    /// When the first frame after `ends` is due, so that the programme is as far behind the clock as it was before bursts
    /// and delays.
    fn due(&mut self, ends: &[TrackEnd]) -> TimeDelta {
        let end = ends.iter().map(|end| end.dts).max();
        let Some((position, end)) = self.position.zip(end) else { return self.last };
        let reference = self.reference.map_or(position, |before| before.min(position).max(position - MAX_AHEAD));
        self.reference = Some(reference);
        let due = end - Timestamp::ZERO - reference;
        due.clamp(self.last - MAX_BEHIND, self.last + MAX_AHEAD)
    }

    /// Media of the contribution is on the programme's timeline: programme time less the clock when it is captured.
    pub(crate) fn passed(&mut self, position: Option<TimeDelta>) {
        self.position = position.or(self.position);
    }

    /// A track of the contribution begins or changes.
    pub(crate) fn track(&mut self, track: &Track) {
        if track.kind() == Kind::Video {
            if self.codec.as_ref() != Some(&track.codec) {
                self.codec = Some(track.codec.clone());
                self.rate = Estimator::default();
            }
        } else if Silence::of(track.clone()).is_none() && !self.is_known(&track.codec) {
            self.sounds.truncate(MAX_SILENCES - 1);
            self.sounds.push(track.clone());
        }
    }

    fn is_known(&self, codec: &CodecConfig) -> bool {
        self.sounds.iter().any(|sound| sound.codec == *codec) || self.silences.iter().any(|(known, _)| known == codec)
    }

    /// A frame of the contribution came.
    pub(crate) fn frame(&mut self, arrival: Arrival<'_>, out: &mut Vec<Item>) -> Verdict {
        let Arrival { frame, kind, now, lateness } = arrival;
        if kind == Kind::Video {
            self.learn_rate(frame.pts);
        }
        let Some(away) = &mut self.away else {
            self.last = now;
            return Verdict::Pass;
        };
        let waited = now - *away.back.get_or_insert(now);
        let no_pictures = if self.video_expected { NO_HEADER } else { NO_PICTURES };
        let sound_only = self.codec.is_none() && waited >= no_pictures;
        let live = self.reference.map(|reference| Timestamp::ZERO + (now - lateness + reference));
        let backlog = live.map_or(TimeDelta::ZERO, |live| away.filler.end() - live);
        let begins = sound_only || away.filler.ends_with(kind, frame.access);
        if !begins || !away.has_drained(backlog, now) {
            let dropped = if backlog > BACKLOG { &mut away.late } else { &mut away.undecodable };
            *dropped += 1;
            return Verdict::Drop;
        }
        let came_soon = away.since.zip(away.back).is_some_and(|(since, back)| back - since < STUTTER);
        if !away.anew && came_soon {
            self.patience = self.patience.times(2).min(MAX_PATIENCE);
        }
        for (fault, count) in [(Fault::BacklogDropped, away.late), (Fault::FramesBeforeKeyFrame, away.undecodable)] {
            if count > 0 {
                out.push(Item::Fault(FaultReport::new(fault, None).times(count)));
            }
        }
        self.shown = self.shown();
        let end = self.away.take().map(|away| away.filler.end());
        self.last = now;
        end.map_or(Verdict::Pass, Verdict::Back)
    }

    /// Puts what is due into `out`; when to look again, and how late it is for the first of it.
    pub(crate) fn poll(&mut self, now: TimeDelta, splice: &mut Splice, out: &mut Vec<Item>) -> (TimeDelta, TimeDelta) {
        let due = self.last + self.patience.max(self.pictures_last());
        if now < due {
            return (due, TimeDelta::ZERO);
        }
        self.leave(splice, out);
        let Some(away) = &mut self.away else { return (now + LOOK_AGAIN, TimeDelta::ZERO) };
        away.since.get_or_insert(now);
        let late = (now - away.filler.wake_at()).max(TimeDelta::ZERO);
        away.filler.poll(now, out);
        (away.filler.wake_at(), late)
    }

    /// What is to be made, once for each thing.
    pub(crate) fn order(&mut self) -> Option<Order> {
        let wanted = self.wanted.filter(|wanted| self.ordered != Some(*wanted));
        self.ordered = self.wanted;
        let sounds = std::mem::take(&mut self.sounds);
        let seconds = if self.mode == LatencyMode::Low { 1 } else { 2 };
        let pictures = wanted.map(|wanted| (wanted, self.slate.clone(), seconds));
        (pictures.is_some() || !sounds.is_empty()).then_some(Order { pictures, sounds })
    }

    /// Takes what was made; why something could not be, told once.
    pub(crate) fn take(&mut self, made: Made) -> Option<Error> {
        let mut failed = None;
        match made.pictures {
            Some(Ok(reel)) => self.reel = Some(reel),
            Some(Err(error)) => {
                if let (Error::Slate(_), Some(fallback)) = (&error, self.fallback.take()) {
                    (self.slate, self.ordered) = (fallback, None);
                }
                failed = Some(error);
            }
            None => {}
        }
        for (track, silence) in made.silences {
            match silence {
                Ok(silence) => {
                    self.silences.truncate(MAX_SILENCES - 1);
                    self.silences.push((track.codec, silence));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let told = failed.is_some() && std::mem::replace(&mut self.told, true);
        failed.filter(|_| !told)
    }

    /// Takes notice of the time of a picture: the first ones tell what the clip has to be like.
    fn learn_rate(&mut self, pts: Timestamp) {
        if self.rate.is_settled() {
            return;
        }
        self.rate.add(pts);
        if self.rate.is_settled()
            && let Some(codec) = &self.codec
        {
            let rate = self.rate.rate(codec.frame_rate().map(|(frames, seconds)| Rate::new(frames, seconds)));
            self.wanted = ClipSpec::of(codec, rate).or(self.wanted);
        }
    }

    fn pictures_last(&self) -> TimeDelta {
        self.wanted.filter(|_| self.codec.is_some()).map_or(TimeDelta::ZERO, |like| like.rate().span(PICTURES))
    }

    /// The clip for the tracks of a contribution; none where there are no pictures for them.
    fn clip(&self, splice: &Splice) -> Option<SlateClip> {
        let mut clip = SlateClip::default();
        for track in splice.tracks() {
            if track.kind() == Kind::Video {
                clip.pictures = Some(self.reel.as_ref()?.in_place_of(track.id));
                continue;
            }
            let made = || self.silences.iter().find(|(codec, _)| *codec == track.codec);
            clip.sounds
                .extend(Silence::of(track.clone()).or_else(|| made().map(|(_, silence)| silence.in_place_of(track))));
        }
        (clip.pictures.is_some() || !clip.sounds.is_empty()).then_some(clip)
    }
}

impl Away {
    /// Whether so little of what the slate has covered is still to come that viewers may get the rest. Waiting brings them
    /// nearer to live only while the backlog shrinks.
    fn has_drained(&mut self, backlog: TimeDelta, now: TimeDelta) -> bool {
        if backlog <= BACKLOG {
            return true;
        }
        let (since, most) = *self.backlog.get_or_insert((now, backlog));
        if now - since < DRAIN {
            return false;
        }
        self.backlog = Some((now, backlog));
        most - backlog < BACKLOG
    }
}

#[cfg(test)]
mod tests;
