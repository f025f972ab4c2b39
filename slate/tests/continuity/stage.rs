//! A contribution, a clock and a viewer, all of them virtual.

use media::{TimeDelta, Timescale, Timestamp};
use slate::Continuity;
use slate::continuity::{BLOCK, Config, Output, VideoContent};

/// Low, so that hours are short.
pub(crate) const RATE: u32 = 8_000;
/// The sample of a moment tells its number up to here.
const CYCLE: i64 = 1 << 16;
/// Below it a sample is silent, or fades.
const QUIET: f32 = 0.25;

pub(crate) fn ms(n: i64) -> TimeDelta {
    TimeDelta::from_millis(n)
}

pub(crate) fn samples(n: i64) -> TimeDelta {
    Timescale::new(RATE).delta(n)
}

pub(crate) fn config(fps: u32) -> Config {
    Config { fps: (fps, 1), sample_rate: RATE, channels: 1, sounds: 1, picture: true, slate: true }
}

/// A picture is the time at which it was taken.
pub(crate) type Picture = TimeDelta;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Begin,
    Picture(Timestamp, Picture),
    Sound(Timestamp, i64, i64),
}

/// What comes, and when.
pub(crate) type Events = Vec<(TimeDelta, Event)>;

/// Pictures taken at `fps` from `from` to `to` (ms), dated `offset` (ms) later than taken.
pub(crate) fn pictures(fps: i64, from: i64, to: i64, offset: i64) -> Events {
    let taken = (0..).map(|n| ms(from) + Timescale::new(600_000).delta(n * 600_000 / fps));
    let taken = taken.take_while(|at| *at < ms(to));
    taken.map(|at| (at, Event::Picture(Timestamp::ZERO + at + ms(offset), at))).collect()
}

/// Sound taken from `from` to `to` (ms), in pieces of `piece` samples, dated like the pictures.
pub(crate) fn sound(piece: i64, from: i64, to: i64, offset: i64) -> Events {
    let rate = i64::from(RATE);
    let firsts = (0..).map(|n| from * rate / 1_000 + n * piece).take_while(|first| samples(*first) < ms(to));
    firsts
        .map(|first| (samples(first), Event::Sound(Timestamp::ZERO + samples(first) + ms(offset), first, piece)))
        .collect()
}

pub(crate) fn both(fps: i64, from: i64, to: i64, offset: i64) -> Events {
    merged([pictures(fps, from, to, offset), sound(160, from, to, offset)])
}

pub(crate) fn merged(parts: impl IntoIterator<Item = Events>) -> Events {
    let mut all: Events = parts.into_iter().flatten().collect();
    all.sort_by_key(|(comes, _)| *comes);
    all
}

/// What comes between `from` and `to` (ms) is kept by the network until `to`.
pub(crate) fn kept_back(mut events: Events, from: i64, to: i64) -> Events {
    events.iter_mut().filter(|(comes, _)| (ms(from)..ms(to)).contains(comes)).for_each(|event| event.0 = ms(to));
    events
}

/// What comes between `from` and `to` (ms) is lost.
pub(crate) fn lost(mut events: Events, from: i64, to: i64) -> Events {
    events.retain(|(comes, _)| !(ms(from)..ms(to)).contains(comes));
    events
}

/// What a tick showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Live(Picture),
    Repeated(Picture),
    Slate,
}

/// One tick, and when it left, both counted from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub(crate) at: TimeDelta,
    pub(crate) left: TimeDelta,
    pub(crate) seen: Seen,
}

pub(crate) struct Stage {
    pub(crate) continuity: Continuity<Picture>,
    config: Config,
    now: TimeDelta,
    first: Option<(Timestamp, TimeDelta)>,
    blocks: i64,
    pub(crate) ticks: Vec<Tick>,
    /// Samples of sound that were not silent.
    pub(crate) heard: i64,
    last_sample: f32,
    unheard: Vec<(TimeDelta, Picture)>,
    /// By how much sound was later than the picture of its moment: when, and the offset.
    pub(crate) offsets: Vec<(TimeDelta, TimeDelta)>,
    pub(crate) most_behind: TimeDelta,
    pub(crate) most_ahead: TimeDelta,
    pub(crate) most_waiting: (usize, usize),
}

impl Stage {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            continuity: Continuity::new(config),
            config,
            now: TimeDelta::ZERO,
            first: None,
            blocks: 0,
            ticks: Vec::new(),
            heard: 0,
            last_sample: 0.0,
            unheard: Vec::new(),
            offsets: Vec::new(),
            most_behind: TimeDelta::ZERO,
            most_ahead: TimeDelta::ZERO,
            most_waiting: (0, 0),
        }
    }

    /// Plays `events`, then goes on until `until` (ms).
    pub(crate) fn play(&mut self, events: Events, until: i64) -> &mut Self {
        for (comes, event) in events {
            self.idle(comes);
            self.now = self.now.max(comes);
            match event {
                Event::Begin => self.continuity.begin(),
                Event::Picture(pts, taken) => self.continuity.picture(pts, taken, self.now),
                Event::Sound(pts, first, count) => {
                    let samples = (first..first + count).map(tone).collect();
                    self.continuity.sound(0, pts, samples, self.now);
                }
            }
            self.drain();
        }
        self.idle(ms(until));
        self.now = self.now.max(ms(until));
        self.drain();
        self
    }

    fn idle(&mut self, until: TimeDelta) {
        while let Some(wake) = self.continuity.wake_at().filter(|wake| *wake < until) {
            assert!(wake > self.now, "wakes at {wake:?} for nothing, now {:?}", self.now);
            self.now = wake;
            let (ticks, blocks) = (self.ticks.len(), self.blocks);
            self.drain();
            assert!((ticks, blocks) != (self.ticks.len(), self.blocks), "woke at {wake:?} for nothing");
        }
    }

    fn drain(&mut self) {
        let (pictures, samples) = self.continuity.waiting();
        self.most_waiting = (self.most_waiting.0.max(pictures), self.most_waiting.1.max(samples));
        while let Some(output) = self.continuity.poll(self.now) {
            match output {
                Output::Video { pts, show } => self.see(pts, show),
                Output::Audio { pts, samples, .. } => self.hear(pts, &samples),
            }
        }
        if let Some((_, began)) = self.first {
            let position = if self.config.picture { self.tick(self.ticks.len()) } else { self.block(self.blocks) };
            let ahead = position - (self.now - began);
            self.most_ahead = self.most_ahead.max(ahead);
            self.most_behind = self.most_behind.max(-ahead);
        }
    }

    fn tick(&self, n: usize) -> TimeDelta {
        Timescale::new(self.config.fps.0).delta(n as i64 * i64::from(self.config.fps.1))
    }

    fn block(&self, n: i64) -> TimeDelta {
        samples(n * BLOCK as i64)
    }

    fn begins(&mut self, pts: Timestamp) -> Timestamp {
        self.first.get_or_insert((pts, self.now)).0
    }

    fn see(&mut self, pts: Timestamp, show: VideoContent<Picture>) {
        let at = pts - self.begins(pts);
        let off = at - self.tick(self.ticks.len());
        assert!(off.flicks().abs() <= 1, "tick {} is {off:?} off", self.ticks.len());
        let seen = match show {
            VideoContent::Live(taken) => {
                if self.ticks.last().is_none_or(|last| last.seen != Seen::Live(taken)) {
                    self.unheard.push((at, taken));
                }
                Seen::Live(taken)
            }
            VideoContent::Repeated(taken) => Seen::Repeated(taken),
            VideoContent::Slate => Seen::Slate,
        };
        self.ticks.push(Tick { at, left: self.now, seen });
    }

    fn hear(&mut self, pts: Timestamp, block: &[f32]) {
        let at = pts - self.begins(pts);
        assert_eq!((at, block.len()), (self.block(self.blocks), BLOCK));
        self.blocks += 1;
        for sample in block {
            let step = (sample - self.last_sample).abs();
            // A tone wraps from its highest sample to its lowest, in a fade too; all other steps are small.
            let wraps = *sample < self.last_sample && *sample > 0.02;
            assert!(step < 0.02 || wraps, "clicks at {at:?}: {} {sample}", self.last_sample);
            self.last_sample = *sample;
        }
        self.heard += block.iter().filter(|sample| **sample >= QUIET).count() as i64;
        let end = self.block(self.blocks);
        for (seen, taken) in std::mem::take(&mut self.unheard) {
            if seen >= end {
                self.unheard.push((seen, taken));
            } else if seen >= at {
                self.compare(seen, taken, at, block);
            }
        }
    }

    fn compare(&mut self, seen: TimeDelta, taken: Picture, at: TimeDelta, block: &[f32]) {
        let place = Timescale::new(RATE).delta_ticks(seen - at) as usize;
        let (Some(here), Some(next)) = (block.get(place), block.get(place + 1)) else { return };
        if *here < QUIET || ((next - here) * (CYCLE * 2) as f32).round() != 1.0 {
            return;
        }
        let number = ((here - QUIET) * (CYCLE * 2) as f32).round() as i64;
        let off = (Timescale::new(RATE).delta_ticks(taken) - number).rem_euclid(CYCLE);
        let off = if off > CYCLE / 2 { off - CYCLE } else { off };
        self.offsets.push((seen, samples(off)));
    }

    /// Runs of the same kind: live, held, slate, with the tick at which each begins and its length, in ms.
    pub(crate) fn runs(&self) -> Vec<(&'static str, i64, i64)> {
        let mut runs: Vec<(&'static str, i64, i64)> = Vec::new();
        let length = self.tick(1);
        for tick in &self.ticks {
            let kind = match tick.seen {
                Seen::Live(_) => "live",
                Seen::Repeated(_) => "held",
                Seen::Slate => "slate",
            };
            let end = (tick.at + length).as_millis();
            match runs.last_mut() {
                Some(last) if last.0 == kind => last.2 = end - last.1,
                _ => runs.push((kind, tick.at.as_millis(), length.as_millis())),
            }
        }
        runs
    }

    /// Asserts that picture and sound are never more than `most` ms apart.
    pub(crate) fn in_step(&self, most: i64) {
        assert!(!self.offsets.is_empty());
        let worst = self.offsets.iter().max_by_key(|(_, off)| off.abs());
        assert!(worst.is_none_or(|(_, off)| off.abs() <= ms(most)), "{worst:?}");
    }

    pub(crate) fn samples_out(&self) -> i64 {
        self.blocks * BLOCK as i64
    }
}

/// The sample of a moment: from it and the one after it the moment can be told.
fn tone(number: i64) -> f32 {
    QUIET + number.rem_euclid(CYCLE) as f32 / (CYCLE * 2) as f32
}
