//! Gaps of a programme that is passed through: when the slate begins, and with which frame of a contribution it ends.
//!
//! The slate is a clip in the programme's own codecs, made ahead as soon as it is known what its pictures have to be like.

use std::collections::VecDeque;

use control::lifecycle::Warning;
use ladder::clip::{self, Likeness};
use ladder::rate::{Estimator, Rate};
use ladder::{Error, Slate};
use media::{CodecConfig, Frame, Kind, LatencyMode, TimeDelta, Timestamp, Track};
use parking_lot::Mutex;
use slate::filler::{Clip, Reel, Silence, patience};
use slate::{Filler, Item, Splice};

/// A contribution that is back with sound only is waited with for pictures so long.
const NO_PICTURES: TimeDelta = TimeDelta::from_secs(2);
/// And so long for video that is on its way without its codec header: longer than the longest GOP.
const NO_HEADER: TimeDelta = TimeDelta::from_secs(21);
/// A contribution whose frames come again so soon after the slate began stutters, and is waited for longer from then on.
const STUTTER: TimeDelta = TimeDelta::from_secs(2);
/// Nothing is waited for longer than this.
const MOST_PATIENCE: TimeDelta = TimeDelta::from_secs(4);
/// Media is not away before this many of its pictures are.
const PICTURES: i64 = 3;
/// How soon it is looked again whether there is a clip by now.
const LOOK_AGAIN: TimeDelta = TimeDelta::from_millis(500);
/// Codings of sound whose silence has to be made; beyond that there is none.
const MOST_SILENCES: usize = 8;
/// Clips that are kept for other broadcasts; then the oldest goes.
const MOST_FILMS: usize = 16;

/// Decides what is passed on. The clock is the distance from any fixed instant.
pub(crate) struct Gaps {
    mode: LatencyMode,
    slate: Slate,
    /// What is shown where `slate` cannot be.
    fallback: Option<Slate>,
    codec: Option<CodecConfig>,
    /// The contribution has video whose codec header has not come yet.
    video_expected: bool,
    rate: Estimator,
    wanted: Option<Likeness>,
    ordered: Option<Likeness>,
    reel: Option<Reel>,
    /// Sounds whose silence is not known by heart, and what was made for them.
    sounds: Vec<Track>,
    silences: Vec<(CodecConfig, Silence)>,
    patience: TimeDelta,
    /// When media came that was passed on.
    last: TimeDelta,
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
    pictures: Option<(Likeness, Slate, u32)>,
    sounds: Vec<Track>,
}

/// What was made.
pub(crate) struct Made {
    pictures: Option<Result<Reel, Error>>,
    silences: Vec<(Track, Result<Silence, Error>)>,
}

impl Order {
    /// Makes it. Blocks the thread for as long as the encoders take.
    pub(crate) fn make(self, films: &Films) -> Made {
        let silences = self.sounds.into_iter().map(|track| (track.clone(), clip::silence(&track))).collect();
        Made { pictures: self.pictures.map(|(like, slate, seconds)| films.film(like, slate, seconds)), silences }
    }
}

/// The newest clips, as many broadcasts are alike and show the same slate.
#[derive(Default)]
pub(crate) struct Films(Mutex<VecDeque<Film>>);

struct Film {
    like: Likeness,
    slate: Slate,
    seconds: u32,
    reel: Reel,
}

impl Films {
    fn film(&self, like: Likeness, slate: Slate, seconds: u32) -> Result<Reel, Error> {
        let is_it = |film: &&Film| {
            let same = film.slate.landscape == slate.landscape && film.slate.portrait == slate.portrait;
            film.like == like && film.seconds == seconds && same
        };
        if let Some(film) = self.0.lock().iter().find(is_it) {
            return Ok(film.reel.clone());
        }
        let reel = like.film(&slate, seconds)?;
        let mut films = self.0.lock();
        films.truncate(MOST_FILMS - 1);
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
    pub(crate) fn new(mode: LatencyMode, slate: Slate) -> Self {
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
            patience: patience(mode),
            last: TimeDelta::ZERO,
            away: None,
            shown: 0,
            told: false,
        }
    }

    /// Another picture for the slate, from the next gap on.
    pub(crate) fn set_slate(&mut self, slate: Slate) {
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
            (away.anew, away.back) = (true, None);
        }
        self.codec = None;
        self.video_expected = false;
        self.patience = patience(self.mode);
    }

    /// Nothing more is passed on of the contribution in hand, if there is a clip to fill the gap.
    fn leave(&mut self, splice: &mut Splice, out: &mut Vec<Item>) {
        if self.away.is_none()
            && splice.end().is_some()
            && let Some(clip) = self.clip(splice)
        {
            let filler = Filler::new(clip, &splice.pause(out), self.last);
            self.away = Some(Away { filler, since: None, anew: false, back: None });
        }
    }

    /// The contribution has video whose codec header has not come yet.
    pub(crate) fn expect_video(&mut self) {
        self.video_expected = true;
    }

    /// A track of the contribution begins or changes.
    pub(crate) fn track(&mut self, track: &Track) {
        if track.kind() == Kind::Video {
            if self.codec.as_ref() != Some(&track.codec) {
                self.codec = Some(track.codec.clone());
                self.rate = Estimator::default();
            }
        } else if Silence::of(track.clone()).is_none() && !self.is_known(&track.codec) {
            self.sounds.truncate(MOST_SILENCES - 1);
            self.sounds.push(track.clone());
        }
    }

    fn is_known(&self, codec: &CodecConfig) -> bool {
        self.sounds.iter().any(|sound| sound.codec == *codec) || self.silences.iter().any(|(known, _)| known == codec)
    }

    /// A frame of the contribution came.
    pub(crate) fn frame(&mut self, frame: &Frame, kind: Kind, now: TimeDelta) -> Verdict {
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
        if !sound_only && !away.filler.ends_with(kind, frame.access) {
            return Verdict::Drop;
        }
        if !away.anew && away.since.is_some_and(|since| now - since < STUTTER) {
            self.patience = self.patience.times(2).min(MOST_PATIENCE);
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
                    self.silences.truncate(MOST_SILENCES - 1);
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
            self.wanted = Likeness::of(codec, rate).or(self.wanted);
        }
    }

    fn pictures_last(&self) -> TimeDelta {
        self.wanted.filter(|_| self.codec.is_some()).map_or(TimeDelta::ZERO, |like| like.rate().span(PICTURES))
    }

    /// The clip for the tracks of a contribution; none where there are no pictures for them.
    fn clip(&self, splice: &Splice) -> Option<Clip> {
        let mut clip = Clip::default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::codec::{aac, avc};
    use media::{Access, TrackId};

    const VIDEO: TrackId = TrackId(1);
    const AUDIO: TrackId = TrackId(2);

    fn ms(n: i64) -> TimeDelta {
        TimeDelta::from_millis(n)
    }

    fn video() -> Track {
        // x264, baseline, 320x240.
        const SPS: &[u8] = &[
            0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03,
            0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80,
        ];
        const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
        let config = avc::Config::from_parameter_sets(&[Bytes::from_static(SPS)], &[Bytes::from_static(PPS)]);
        Track::new(VIDEO, CodecConfig::Avc(config.unwrap()))
    }

    fn audio() -> Track {
        Track::new(AUDIO, CodecConfig::Aac(aac::Config::new(2, 48_000, 2).unwrap()))
    }

    fn frame(track: TrackId, at: i64, access: Access) -> Frame {
        let at = Timestamp::ZERO + ms(at);
        Frame { track, dts: at, pts: at, access, payload: Bytes::from_static(b"live") }
    }

    /// Gaps with a programme in front of them; time is in milliseconds.
    struct Programme {
        gaps: Gaps,
        splice: Splice,
        out: Vec<Item>,
    }

    impl Programme {
        fn new(tracks: &[Track]) -> Self {
            let slate = Slate { landscape: Bytes::new(), portrait: Bytes::new() };
            let gaps = Gaps::new(LatencyMode::Low, slate);
            let mut programme = Self { gaps, splice: Splice::new(), out: Vec::new() };
            programme.contribution(tracks);
            programme
        }

        fn contribution(&mut self, tracks: &[Track]) {
            self.gaps.begin(&mut self.splice, &mut self.out);
            self.splice.begin();
            for track in tracks {
                self.gaps.track(track);
                self.splice.track(track.clone(), &mut Vec::new());
            }
        }

        /// Pictures and sound of the time from `from` to `to`, a key frame each second; what becomes of them.
        fn flow(&mut self, tracks: &[Track], from: i64, to: i64) -> Vec<Verdict> {
            let mut verdicts = Vec::new();
            for at in (from..to).step_by(40) {
                for track in tracks {
                    let key = track.kind() == Kind::Audio || at % 1_000 == 0;
                    let frame = frame(track.id, at, Access::independent_if(key));
                    let verdict = self.gaps.frame(&frame, track.kind(), ms(at));
                    if let Verdict::Back(end) = verdict {
                        self.splice.advance(end, &mut self.out);
                    }
                    if verdict != Verdict::Drop {
                        self.splice.frame(frame, &mut self.out);
                    }
                    verdicts.push(verdict);
                }
            }
            verdicts
        }

        fn with_clip(mut self) -> Self {
            let frames = (0..25).map(|n| frame(VIDEO, n * 40, Access::independent_if(n == 0))).collect();
            let pictures = Reel::new(video(), frames, ms(1_000)).map(Ok);
            assert!(self.gaps.take(Made { pictures, silences: Vec::new() }).is_none());
            self
        }

        /// Pictures of the slate that leave up to `until`.
        fn slates(&mut self, until: i64) -> u64 {
            let before = self.gaps.shown();
            let (mut wake, mut looks) = (ms(0), 0);
            while wake <= ms(until) {
                (wake, _) = self.gaps.poll(wake, &mut self.splice, &mut self.out);
                looks += 1;
                assert!(looks < 2_000, "it looks around for nothing");
            }
            self.gaps.shown() - before
        }
    }

    #[test]
    fn a_bad_picture_and_a_missing_encoder_are_told_apart() {
        assert_eq!(warning(&Error::Slate("no picture")), Warning::SlateUnavailable);
        assert_eq!(warning(&Error::Missing("x265enc".to_owned())), Warning::SlateNotMade);
    }

    #[test]
    fn nothing_happens_before_there_is_a_clip() {
        let tracks = [video(), audio()];
        let mut programme = Programme::new(&tracks);
        assert!(programme.flow(&tracks, 0, 1_000).iter().all(|verdict| *verdict == Verdict::Pass));
        assert_eq!((programme.slates(5_000), programme.gaps.is_away()), (0, false));
        let order = programme.gaps.order().unwrap();
        assert_eq!(order.pictures.unwrap().0.rate().per_second(), 25.0);
        assert!(order.sounds.is_empty() && programme.gaps.order().is_none(), "once is enough");
    }

    #[test]
    fn the_slate_is_there_until_a_key_frame_comes() {
        let tracks = [video(), audio()];
        let mut programme = Programme::new(&tracks).with_clip();
        programme.flow(&tracks, 0, 1_000);
        assert_eq!(programme.slates(1_400), 0);
        assert!((48..=52).contains(&programme.slates(3_000)));
        let verdicts = programme.flow(&tracks, 3_520, 4_200);
        let back = verdicts.iter().position(|verdict| matches!(verdict, Verdict::Back(_))).unwrap();
        assert_eq!(back, 24, "12 pictures with their sound go nowhere");
        assert!(verdicts[..back].iter().all(|verdict| *verdict == Verdict::Drop));
        assert!(verdicts[back + 1..].iter().all(|verdict| *verdict == Verdict::Pass));
    }

    #[test]
    fn another_contribution_goes_on_with_its_first_key_frame_too() {
        let tracks = [video(), audio()];
        let mut programme = Programme::new(&tracks).with_clip();
        programme.flow(&tracks, 0, 1_000);
        programme.contribution(&tracks);
        let verdicts = programme.flow(&tracks, 1_080, 2_080);
        let live = verdicts.iter().position(|verdict| *verdict != Verdict::Drop).unwrap();
        assert_eq!((verdicts.len() - live, programme.gaps.shown()), (4, 0), "no slate: it was not away for long");
    }

    #[test]
    fn a_contribution_that_stutters_is_waited_for_longer() {
        let tracks = [video(), audio()];
        let mut programme = Programme::new(&tracks).with_clip();
        programme.flow(&tracks, 0, 1_000);
        assert!(programme.slates(1_960) > 0);
        programme.flow(&tracks, 2_000, 3_000);
        assert_eq!(programme.slates(3_900), 0);
        assert!(programme.slates(4_100) > 0);
        programme.contribution(&tracks);
        programme.flow(&tracks, 5_000, 6_000);
        assert!(programme.slates(6_600) > 0, "the next one has a chance of its own");
    }

    #[test]
    fn sound_alone_is_silent_and_sound_only_is_back_after_a_while() {
        let mut programme = Programme::new(&[audio()]);
        programme.flow(&[audio()], 0, 1_000);
        assert_eq!((programme.slates(3_000), programme.gaps.is_away()), (0, true));
        assert!(matches!(programme.flow(&[audio()], 3_000, 3_010)[..], [Verdict::Back(_)]));
        let tracks = [video(), audio()];
        let mut programme = Programme::new(&tracks).with_clip();
        programme.flow(&tracks, 0, 1_000);
        programme.slates(3_000);
        programme.contribution(&[audio()]);
        let verdicts = programme.flow(&[audio()], 3_000, 6_000);
        assert!(matches!(verdicts[50], Verdict::Back(_)), "{verdicts:?}");
    }
}
