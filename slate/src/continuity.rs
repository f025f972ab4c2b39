//! Makes an unbroken output of constant rate out of decoded pictures and sound that come and go.
//!
//! Pictures lead. While they flow, each tick of the output leaves as soon as a picture at or after it is known, and
//! shows the newest one that is not later. When they stay away the clock goes on in their place: the picture is held,
//! then the slate is shown. Sound follows up to where the pictures are, sample by sample, and is silent where there is
//! none. Without a track of pictures sound leads. There may be several sounds, each of them unbroken: who listens to one
//! does not notice that another one is away.
//!
//! Media time becomes output time by one *shift*, shared by pictures and sound so that they stay in step. It is set
//! anew when a contribution begins, when media stays behind what is already out, and when media runs ahead of the
//! clock. Times of contributions are expected as [`crate::Splice`] lays them: end to end, going forward.

mod clock;
mod output;
mod pace;
mod rejoin;
mod sound;
mod ticks;
mod voice;

use std::collections::VecDeque;

use media::{TimeDelta, Timestamp};

use clock::Clock;
use pace::Pace;
use rejoin::{Place, Rejoin, Standing};
pub use sound::BLOCK;
use ticks::Ticks;
use voice::Voice;

/// Media that is away for this long, by the clock, is done without.
pub const VIDEO_TIMEOUT: TimeDelta = TimeDelta::from_millis(300);
/// A picture stands in for the ones that are missing for so long; then comes the slate.
const HOLD: TimeDelta = TimeDelta::from_millis(500);
/// Contributions of few pictures have theirs held for two of their intervals, but never longer than this.
const MAX_HOLD: TimeDelta = TimeDelta::from_secs(10);
/// Sound counts as there for so long after it came: it is there in bursts.
const SOUND_LASTS: TimeDelta = TimeDelta::from_millis(400);
/// Sound that keeps coming is waited for until it is this far behind the pictures.
const MAX_BEHIND: TimeDelta = TimeDelta::from_secs(2);
/// At the start of a broadcast pictures are waited for longer than later on: nobody is kept waiting yet.
const START_PATIENCE: TimeDelta = TimeDelta::from_secs(2);
/// Pictures that wait for [`Continuity::poll`]. At the bound the oldest gives way: its ticks show the one before it.
const MAX_PICTURES: usize = 16;

/// What the output is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Pictures a second, as a fraction: 30000/1001 is exact.
    pub fps: (u32, u32),
    /// Samples of sound a second.
    pub sample_rate: u32,
    /// Samples that belong to one moment; they come interleaved.
    pub channels: u32,
    /// Sounds side by side, at least one; [`Continuity::add_sound`] adds others.
    pub sounds: usize,
    /// Whether the broadcast has pictures at all. Without them sound leads, and no picture is ever asked for.
    pub picture: bool,
    /// Whether the slate follows when a picture was held for long enough; else it is held for as long as it takes.
    pub slate: bool,
}

/// One step of the output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<P> {
    /// The picture of the next tick.
    Video {
        /// When it is shown; a whole number of ticks from the first one.
        pts: Timestamp,
        /// What is shown.
        show: VideoContent<P>,
    },
    /// A block of a sound, right behind the one before it.
    Audio {
        /// Which of the sounds, from 0.
        sound: usize,
        /// When its first sample is heard; a whole number of samples from the first one.
        pts: Timestamp,
        /// [`BLOCK`] samples for each channel, interleaved.
        samples: Vec<f32>,
    },
}

/// What a tick shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoContent<P> {
    /// The contribution's picture of this moment.
    Live(P),
    /// The last picture, because the one of this moment is not there.
    Repeated(P),
    /// The slate; also where a picture would be held and there has never been one.
    Slate,
}

/// What was put out and what was left out, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Ticks that showed the contribution's picture.
    pub live: u64,
    /// Ticks that showed the last picture again because none was there.
    pub held: u64,
    /// Ticks that showed the slate.
    pub slate: u64,
    /// Samples of silence that were made, for each channel.
    pub silent_samples: u64,
    /// Samples that came when their time was past, for each channel.
    pub late_samples: u64,
    /// Pictures that came when their time was past.
    pub late_frames: u64,
    /// Pictures that came too far ahead of the clock to be shown.
    pub early_frames: u64,
    /// How often media was laid anew, the beginnings of contributions included.
    pub shifts: u64,
}

/// Decoded pictures and sound in, an unbroken output out. `P` is a picture, cheap to clone.
///
/// Time is an argument everywhere: the distance from any fixed instant of a clock that never goes back.
#[derive(Debug)]
pub struct Continuity<P> {
    config: Config,
    now: TimeDelta,
    /// `None` before the first media.
    line: Option<Line>,
    voices: Vec<Voice>,
    rejoin: Rejoin,
    /// The picture that ticks show, on the output's timeline.
    current: Option<Current<P>>,
    /// Pictures behind `current`, oldest first.
    coming: VecDeque<(Timestamp, P)>,
    pace: Pace,
    /// When the first sound came for which there was no shift yet.
    unplaced: Option<TimeDelta>,
    counts: Stats,
}

/// The output's timeline, from the first media on.
#[derive(Debug)]
struct Line {
    clock: Clock,
    ticks: Ticks,
    /// The number of the tick that leaves next.
    tick: i64,
}

#[derive(Debug)]
struct Current<P> {
    at: Timestamp,
    picture: P,
    shown: bool,
}

impl<P: Clone> Continuity<P> {
    /// An output that begins with the first media.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: TimeDelta::ZERO,
            line: None,
            voices: (0..config.sounds.max(1)).map(|_| Voice::new(&config)).collect(),
            rejoin: Rejoin::default(),
            current: None,
            coming: VecDeque::new(),
            pace: Pace::default(),
            unplaced: None,
            counts: Stats::default(),
        }
    }

    /// Another contribution follows: its first picture takes over on the next tick.
    ///
    /// Sound of the last one that is not out is forgotten. What the last one's decoder still gives must not come after this.
    pub fn begin(&mut self) {
        self.rejoin.unsettle();
        self.voices.iter_mut().for_each(Voice::leave);
        self.pace.begin();
        self.unplaced = None;
    }

    /// A decoded picture of the contribution, in the order of presentation.
    pub fn picture(&mut self, pts: Timestamp, picture: P, now: TimeDelta) {
        if !self.config.picture {
            return;
        }
        let now = self.pass(now);
        self.pace.picture(pts, now);
        if self.line.is_none() {
            self.start(pts, now);
        }
        let Some(line) = &mut self.line else { return };
        let first = line.ticks.at(0) - line.ticks.tolerance();
        if let Some(at) = self.rejoin.shift().map(|shift| pts + shift).filter(|at| line.tick == 0 && *at < first) {
            // The first tick shows it, if there is no later one by then.
            self.current = Some(Current { at, picture, shown: false });
            return;
        }
        let next = self.coming.back().map_or(line.tick, |(newest, _)| line.tick.max(line.ticks.after(*newest)));
        let out = Standing {
            oldest: line.ticks.at(next - 1) - line.ticks.tolerance(),
            next: line.ticks.at(next),
            clock: line.clock.at(now),
            now,
            apart: self.pace.interval().times(2),
        };
        match self.rejoin.place(pts, out) {
            Place::At(at) => self.accept(at, picture, now),
            Place::Anew(at) => {
                self.counts.shifts += 1;
                self.accept(at, picture, now);
            }
            Place::Late(lateness) => {
                self.counts.late_frames += 1;
                if lateness <= VIDEO_TIMEOUT - clock::CUSHION {
                    // It catches up by itself if the clock lets it.
                    line.clock.yields();
                }
            }
            Place::Early => self.counts.early_frames += 1,
        }
    }

    /// Decoded sound of the contribution, interleaved, at the rate and with the channels of the output. `n` is the sound that
    /// it is for; it is left out where there is none of this number.
    pub fn sound(&mut self, n: usize, pts: Timestamp, samples: Vec<f32>, now: TimeDelta) {
        let now = self.pass(now);
        let Some(voice) = self.voices.get_mut(n) else { return };
        voice.bursts.sound(now);
        let length = voice.sound.length(samples.len());
        if self.line.is_none() {
            self.counts.late_samples += voice.sound.push(pts, samples);
            let waited = now - *self.unplaced.get_or_insert(now);
            if !self.config.picture || waited >= START_PATIENCE {
                let first = self.oldest_sound().unwrap_or(pts);
                self.start(first, now - waited.min(START_PATIENCE));
            }
            return;
        }
        let leads = self.sound_leads(now) && self.is_foremost(n, now);
        if leads && !self.lead(n, pts, length, now) {
            self.counts.late_samples += self.voices.get(n).map_or(0, |voice| voice.sound.moments(&samples));
            return;
        }
        self.note_sound(n, pts + length, now);
        self.counts.late_samples += self.voices.get_mut(n).map_or(0, |voice| voice.sound.push(pts, samples));
    }

    /// One more sound, from where the others are on; gives its number. It is silent until something comes for it.
    pub fn add_audio(&mut self) -> usize {
        let mut voice = Voice::new(&self.config);
        if let Some(line) = &self.line {
            let others = self.voices.iter().map(|voice| voice.sound.position()).min();
            voice.begin(others.unwrap_or(line.ticks.at(line.tick)), self.now);
        }
        self.voices.push(voice);
        self.voices.len() - 1
    }

    /// Pictures join an output that had none: they begin at the next whole second, and lead from then on.
    pub fn add_video(&mut self, fps: (u32, u32), slate: bool) {
        self.config = Config { fps, slate, picture: true, ..self.config };
        let furthest = self.furthest_sound();
        if let (Some(line), Some(furthest)) = (&mut self.line, furthest) {
            (line.ticks, line.tick) = (Ticks::new(fps, whole_second_after(furthest)), 0);
            self.voices.iter_mut().for_each(|voice| voice.heard = self.now);
        }
    }

    /// Where what a contribution dates `pts` is on the output's timeline, as far as is known now; none while it has no
    /// place there.
    pub fn date(&self, pts: Timestamp) -> Option<Timestamp> {
        self.line.as_ref()?;
        Some(pts + self.rejoin.shift()?)
    }

    /// How far the output has come; none before the first media.
    pub fn position(&self) -> Option<Timestamp> {
        let line = self.line.as_ref()?;
        if self.config.picture { Some(line.ticks.at(line.tick)) } else { self.furthest_sound() }
    }

    /// The next step of the output, if there is one `now`. To be asked until there is none: after media came, and when
    /// [`Self::wake_at`] says.
    ///
    /// Media that waits to be handed in is to be handed in before, else it is taken for late where the caller is:
    /// [`Self::poll_known`] makes room in between.
    pub fn poll(&mut self, now: TimeDelta) -> Option<Output<P>> {
        let now = self.pass(now);
        self.next(Some(now))
    }

    /// The next step of the output that needs no clock, because the media of its time is known.
    pub fn poll_known(&mut self) -> Option<Output<P>> {
        self.next(None)
    }

    fn next(&mut self, clock: Option<TimeDelta>) -> Option<Output<P>> {
        let line = self.line.as_ref()?;
        if !self.config.picture {
            return self.next_sound(clock);
        }
        let behind = |voice: &Voice| voice.sound.position() < line.ticks.at(line.tick);
        if self.voices.iter().any(behind) {
            self.next_sound(clock).or_else(|| self.next_picture(clock))
        } else {
            self.next_picture(clock).or_else(|| self.next_sound(clock))
        }
    }

    /// What was put out and left out so far.
    pub const fn stats(&self) -> Stats {
        self.counts
    }

    /// Pictures and samples (for each channel, of all sounds) that came and are not out; both are bounded.
    pub fn waiting(&self) -> (usize, usize) {
        (self.coming.len(), self.voices.iter().map(|voice| voice.sound.queued()).sum())
    }

    fn pass(&mut self, now: TimeDelta) -> TimeDelta {
        self.now = self.now.max(now);
        self.now
    }

    /// The output begins with media that is dated `first` and came at `then`. It does so at a whole second: where browsers
    /// subtract an odd beginning, segments end a microsecond early for them, and hls.js 1.7 asks for the same one again.
    fn start(&mut self, first: Timestamp, then: TimeDelta) {
        let begin = whole_second_after(first);
        let (clock, ticks) = (Clock::new(begin, then), Ticks::new(self.config.fps, begin));
        self.line = Some(Line { clock, ticks, tick: 0 });
        self.voices.iter_mut().for_each(|voice| voice.begin(begin, self.now));
        self.rejoin.begin(begin - first);
        self.unplaced = None;
    }

    fn accept(&mut self, at: Timestamp, picture: P, now: TimeDelta) {
        let Some(line) = &mut self.line else { return };
        line.clock.yields();
        line.clock.follow(at, now);
        let newest = self.coming.back().map(|(at, _)| *at).or(self.current.as_ref().map(|current| current.at));
        if newest.is_some_and(|newest| at < newest) {
            self.counts.late_frames += 1;
            return;
        }
        if self.coming.len() >= MAX_PICTURES {
            self.coming.pop_front();
        }
        self.coming.push_back((at, picture));
    }

    /// Whether it is the sound that finds its place, and the pictures that have to follow.
    fn sound_leads(&self, now: TimeDelta) -> bool {
        !self.config.picture || self.pace.is_away(now)
    }

    /// Whether sound `n` is the first one of those that come: of several it is the one that finds the place for all.
    fn is_foremost(&self, n: usize, now: TimeDelta) -> bool {
        !self.voices.iter().take(n).any(|voice| voice.bursts.goes_on(now))
    }

    /// When the oldest sound that waits is dated by the contribution.
    fn oldest_sound(&self) -> Option<Timestamp> {
        self.voices.iter().filter_map(|voice| voice.sound.oldest()).min()
    }

    fn furthest_sound(&self) -> Option<Timestamp> {
        self.voices.iter().map(|voice| voice.sound.position()).max()
    }

    /// Finds the place of sound that leads; whether it has one, or may yet get one.
    fn lead(&mut self, n: usize, pts: Timestamp, length: TimeDelta, now: TimeDelta) -> bool {
        let oldest = self.oldest_sound();
        let (Some(voice), Some(next)) = (self.voices.get(n), self.furthest_sound()) else { return false };
        let Some(line) = &mut self.line else { return false };
        let mut first = pts;
        if self.config.picture && self.rejoin.shift().is_none() {
            // The first picture of a contribution takes longer than its first sound.
            if now - *self.unplaced.get_or_insert(now) < VIDEO_TIMEOUT {
                return true;
            }
            first = oldest.unwrap_or(pts);
        }
        let clock = line.clock.at(now);
        let out = Standing { oldest: voice.sound.position() - length, next, clock, now, apart: length.times(2) };
        let place = self.rejoin.place(first, out);
        self.counts.shifts += u64::from(matches!(place, Place::Anew(_)));
        match place {
            Place::At(at) | Place::Anew(at) => {
                if !self.config.picture {
                    line.clock.yields();
                    line.clock.follow(at + length, now);
                }
                true
            }
            Place::Late(lateness) => {
                if lateness <= VIDEO_TIMEOUT - clock::CUSHION {
                    if let Some(voice) = self.voices.get_mut(n) {
                        voice.heard = now;
                    }
                    if !self.config.picture {
                        line.clock.yields();
                    }
                }
                false
            }
            Place::Early => {
                self.voices.iter_mut().for_each(|voice| voice.sound.forget());
                false
            }
        }
    }

    /// Sound that ends at `end`, as the contribution dates it, is there: silence waits, unless it could not be heard.
    fn note_sound(&mut self, n: usize, end: Timestamp, now: TimeDelta) {
        let Some(shift) = self.rejoin.shift() else {
            self.unplaced.get_or_insert(now);
            return;
        };
        let Some(voice) = self.voices.get_mut(n) else { return };
        let behind = voice.sound.position() - (end + shift);
        if behind < TimeDelta::ZERO || (behind <= MAX_BEHIND && !self.rejoin.is_late()) {
            voice.heard = now;
        }
    }
}

fn whole_second_after(at: Timestamp) -> Timestamp {
    let second = TimeDelta::from_secs(1);
    Timestamp::ZERO + second.times((at - Timestamp::ZERO).whole(second) + 1)
}
