//! Makes an unbroken output of constant rate out of decoded pictures and sound that come and go.
//!
//! Pictures lead. While they flow, each tick of the output leaves as soon as a picture at or after it is known, and
//! shows the newest one that is not later. When they stay away the clock goes on in their place: the picture is held,
//! then the slate is shown. Sound follows up to where the pictures are, sample by sample, and is silent where there is
//! none. Without a track of pictures sound leads.
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

use std::collections::VecDeque;

use media::{TimeDelta, Timestamp};

use clock::Clock;
use pace::{Bursts, Pace};
use rejoin::{Place, Rejoin, Standing};
pub use sound::BLOCK;
use sound::Sound;
use ticks::Ticks;

/// Media that is away for this long, by the clock, is done without.
pub const PATIENCE: TimeDelta = TimeDelta::from_millis(300);
/// A picture stands in for the ones that are missing for so long; then comes the slate.
const HOLD: TimeDelta = TimeDelta::from_millis(500);
/// Contributions of few pictures have theirs held for two of their intervals, but never longer than this.
const LONGEST_HOLD: TimeDelta = TimeDelta::from_secs(10);
/// Sound counts as there for so long after it came: it is there in bursts.
const SOUND_LASTS: TimeDelta = TimeDelta::from_millis(400);
/// Sound that keeps coming is waited for until it is this far behind the pictures.
const MOST_BEHIND: TimeDelta = TimeDelta::from_secs(2);
/// At the start of a broadcast pictures are waited for longer than later on: nobody is kept waiting yet.
const START_PATIENCE: TimeDelta = TimeDelta::from_secs(2);
/// Pictures that wait for [`Continuity::poll`]. At the bound the oldest gives way: its ticks show the one before it.
const MOST_PICTURES: usize = 16;

/// What the output is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Pictures a second, as a fraction: 30000/1001 is exact.
    pub fps: (u32, u32),
    /// Samples of sound a second.
    pub sample_rate: u32,
    /// Samples that belong to one moment; they come interleaved.
    pub channels: u32,
    /// Whether the broadcast has pictures at all. Without them sound leads, and no picture is ever asked for.
    pub picture: bool,
    /// Whether the slate follows when a picture was held for long enough; else it is held for as long as it takes.
    pub slate: bool,
}

/// One step of the output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<P> {
    /// The picture of the next tick.
    Picture {
        /// When it is shown; a whole number of ticks from the first one.
        pts: Timestamp,
        /// What is shown.
        show: Show<P>,
    },
    /// A block of sound, right behind the one before it.
    Sound {
        /// When its first sample is heard; a whole number of samples from the first one.
        pts: Timestamp,
        /// [`BLOCK`] samples for each channel, interleaved.
        samples: Vec<f32>,
    },
}

/// What a tick shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show<P> {
    /// The contribution's picture of this moment.
    Live(P),
    /// The last picture, because the one of this moment is not there.
    Held(P),
    /// The slate; also where a picture would be held and there has never been one.
    Slate,
}

/// What was put out and what was left out, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
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
    pub late_pictures: u64,
    /// Pictures that came too far ahead of the clock to be shown.
    pub early_pictures: u64,
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
    sound: Sound,
    rejoin: Rejoin,
    /// The picture that ticks show, on the output's timeline.
    current: Option<Current<P>>,
    /// Pictures behind `current`, oldest first.
    coming: VecDeque<(Timestamp, P)>,
    pace: Pace,
    bursts: Bursts,
    /// When sound came that was not done without.
    heard: TimeDelta,
    /// When the first sound came for which there was no shift yet.
    unplaced: Option<TimeDelta>,
    counts: Counts,
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
            sound: Sound::new(config.sample_rate, config.channels),
            rejoin: Rejoin::default(),
            current: None,
            coming: VecDeque::new(),
            pace: Pace::default(),
            bursts: Bursts::default(),
            heard: TimeDelta::ZERO,
            unplaced: None,
            counts: Counts::default(),
        }
    }

    /// Another contribution follows: its first picture takes over on the next tick.
    ///
    /// Sound of the last one that is not out is forgotten. What the last one's decoder still gives must not come after this.
    pub fn begin(&mut self) {
        self.rejoin.unsettle();
        self.sound.forget();
        self.pace.begin();
        self.bursts = Bursts::default();
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
                self.counts.late_pictures += 1;
                if lateness <= PATIENCE - clock::CUSHION {
                    // It catches up by itself if the clock lets it.
                    line.clock.yields();
                }
            }
            Place::Early => self.counts.early_pictures += 1,
        }
    }

    /// Decoded sound of the contribution, interleaved, at the rate and with the channels of the output.
    pub fn sound(&mut self, pts: Timestamp, samples: Vec<f32>, now: TimeDelta) {
        let now = self.pass(now);
        let length = self.sound.length(samples.len());
        self.bursts.sound(now);
        if self.line.is_none() {
            self.counts.late_samples += self.sound.push(pts, samples);
            let waited = now - *self.unplaced.get_or_insert(now);
            if !self.config.picture || waited >= START_PATIENCE {
                let first = self.sound.oldest().unwrap_or(pts);
                self.start(first, now - waited.min(START_PATIENCE));
            }
            return;
        }
        if self.sound_leads(now) && !self.lead(pts, length, now) {
            self.counts.late_samples += self.sound.moments(&samples);
            return;
        }
        self.note_sound(pts + length, now);
        self.counts.late_samples += self.sound.push(pts, samples);
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
        if self.sound.position() < line.ticks.at(line.tick) {
            self.next_sound(clock).or_else(|| self.next_picture(clock))
        } else {
            self.next_picture(clock).or_else(|| self.next_sound(clock))
        }
    }

    /// What was put out and left out so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Pictures and samples (for each channel) that came and are not out; both are bounded.
    pub fn waiting(&self) -> (usize, usize) {
        (self.coming.len(), self.sound.queued())
    }

    fn pass(&mut self, now: TimeDelta) -> TimeDelta {
        self.now = self.now.max(now);
        self.now
    }

    /// The output begins with media that is dated `first` and came at `then`. It does so at a whole second: where browsers
    /// subtract an odd beginning, segments end a microsecond early for them, and hls.js 1.7 asks for the same one again.
    fn start(&mut self, first: Timestamp, then: TimeDelta) {
        let second = TimeDelta::from_secs(1);
        let begin = Timestamp::ZERO + second.times((first - Timestamp::ZERO).whole(second) + 1);
        let (clock, ticks) = (Clock::new(begin, then), Ticks::new(self.config.fps, begin));
        self.line = Some(Line { clock, ticks, tick: 0 });
        self.sound.begin(begin);
        self.rejoin.begin(begin - first);
        self.heard = self.now;
        self.unplaced = None;
    }

    fn accept(&mut self, at: Timestamp, picture: P, now: TimeDelta) {
        let Some(line) = &mut self.line else { return };
        line.clock.yields();
        line.clock.follow(at, now);
        let newest = self.coming.back().map(|(at, _)| *at).or(self.current.as_ref().map(|current| current.at));
        if newest.is_some_and(|newest| at < newest) {
            self.counts.late_pictures += 1;
            return;
        }
        if self.coming.len() >= MOST_PICTURES {
            self.coming.pop_front();
        }
        self.coming.push_back((at, picture));
    }

    /// Whether it is the sound that finds its place, and the pictures that have to follow.
    fn sound_leads(&self, now: TimeDelta) -> bool {
        !self.config.picture || self.pace.is_away(now)
    }

    /// Finds the place of sound that leads; whether it has one, or may yet get one.
    fn lead(&mut self, pts: Timestamp, length: TimeDelta, now: TimeDelta) -> bool {
        let Some(line) = &mut self.line else { return false };
        let mut first = pts;
        if self.config.picture && self.rejoin.shift().is_none() {
            // The first picture of a contribution takes longer than its first sound.
            if now - *self.unplaced.get_or_insert(now) < PATIENCE {
                return true;
            }
            first = self.sound.oldest().unwrap_or(pts);
        }
        let position = self.sound.position();
        let clock = line.clock.at(now);
        let out = Standing { oldest: position - length, next: position, clock, now, apart: length.times(2) };
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
                if lateness <= PATIENCE - clock::CUSHION {
                    self.heard = now;
                    if !self.config.picture {
                        line.clock.yields();
                    }
                }
                false
            }
            Place::Early => {
                self.sound.forget();
                false
            }
        }
    }

    /// Sound that ends at `end`, as the contribution dates it, is there: silence waits, unless it could not be heard.
    fn note_sound(&mut self, end: Timestamp, now: TimeDelta) {
        let Some(shift) = self.rejoin.shift() else {
            self.unplaced.get_or_insert(now);
            return;
        };
        let behind = self.sound.position() - (end + shift);
        if behind < TimeDelta::ZERO || (behind <= MOST_BEHIND && !self.rejoin.is_late()) {
            self.heard = now;
        }
    }
}
