//! Simulation of a contribution, a clock and a viewer.

use media::{FrameRate, TimeDelta, Timescale, Timestamp};
use slate::Continuity;
use slate::continuity::{BLOCK_SAMPLES, Config, Output, VideoContent};

/// Sample rate, low so that hours are short.
pub(crate) const RATE: u32 = 8_000;
/// Number of samples after which the values repeat.
const CYCLE: i64 = 1 << 16;
/// Level below which a sample is silent, or part of a fade.
const QUIET: f32 = 0.25;

pub(crate) fn ms(n: i64) -> TimeDelta {
    TimeDelta::from_millis(n)
}

pub(crate) fn samples(n: i64) -> TimeDelta {
    Timescale::new(RATE).delta(n)
}

pub(crate) fn config(fps: u32) -> Config {
    Config {
        frame_rate: FrameRate::new(fps, 1),
        sample_rate: RATE,
        channels: 1,
        audio_tracks: 1,
        video: true,
        slate: true,
    }
}

/// A frame, represented by its capture time.
pub(crate) type RawFrame = TimeDelta;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Begin,
    Video(Timestamp, RawFrame),
    Audio(Timestamp, i64, i64),
}

/// Events with their arrival times.
pub(crate) type Events = Vec<(TimeDelta, Event)>;

/// Returns video captured at `fps` from `from` to `to` (ms), with timestamps `offset` (ms) later than captured.
pub(crate) fn video(fps: i64, from: i64, to: i64, offset: i64) -> Events {
    let captured = (0..).map(|n| ms(from) + Timescale::new(600_000).delta(n * 600_000 / fps));
    let captured = captured.take_while(|at| *at < ms(to));
    captured.map(|at| (at, Event::Video(Timestamp::ZERO + at + ms(offset), at))).collect()
}

/// Returns audio captured from `from` to `to` (ms), in pieces of `piece` samples, with timestamps like [`video`].
pub(crate) fn audio(piece: i64, from: i64, to: i64, offset: i64) -> Events {
    let rate = i64::from(RATE);
    let firsts = (0..).map(|n| from * rate / 1_000 + n * piece).take_while(|first| samples(*first) < ms(to));
    firsts
        .map(|first| (samples(first), Event::Audio(Timestamp::ZERO + samples(first) + ms(offset), first, piece)))
        .collect()
}

pub(crate) fn both(fps: i64, from: i64, to: i64, offset: i64) -> Events {
    merged([video(fps, from, to, offset), audio(160, from, to, offset)])
}

pub(crate) fn merged(parts: impl IntoIterator<Item = Events>) -> Events {
    let mut all: Events = parts.into_iter().flatten().collect();
    all.sort_by_key(|(arrives, _)| *arrives);
    all
}

/// Delays events that arrive between `from` and `to` (ms) until `to`, as a stalled network does.
pub(crate) fn delayed(mut events: Events, from: i64, to: i64) -> Events {
    events.iter_mut().filter(|(arrives, _)| (ms(from)..ms(to)).contains(arrives)).for_each(|event| event.0 = ms(to));
    events
}

/// Removes events that arrive between `from` and `to` (ms).
pub(crate) fn lost(mut events: Events, from: i64, to: i64) -> Events {
    events.retain(|(arrives, _)| !(ms(from)..ms(to)).contains(arrives));
    events
}

/// Content of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Live(RawFrame),
    Repeated(RawFrame),
    Slate,
}

/// Time of one tick, and when it left, both counted from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub(crate) at: TimeDelta,
    pub(crate) left: TimeDelta,
    pub(crate) content: Content,
}

pub(crate) struct Simulation {
    pub(crate) continuity: Continuity<RawFrame>,
    config: Config,
    now: TimeDelta,
    first: Option<(Timestamp, TimeDelta)>,
    blocks: i64,
    pub(crate) ticks: Vec<Tick>,
    /// Number of audio samples that were not silent.
    pub(crate) audible: i64,
    last_sample: f32,
    uncompared: Vec<(TimeDelta, RawFrame)>,
    /// Time, and how much later the audio was than the frame of the same moment.
    pub(crate) offsets: Vec<(TimeDelta, TimeDelta)>,
    pub(crate) max_lag: TimeDelta,
    pub(crate) max_lead: TimeDelta,
    pub(crate) max_queued: (usize, usize),
}

impl Simulation {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            continuity: Continuity::new(config),
            config,
            now: TimeDelta::ZERO,
            first: None,
            blocks: 0,
            ticks: Vec::new(),
            audible: 0,
            last_sample: 0.0,
            uncompared: Vec::new(),
            offsets: Vec::new(),
            max_lag: TimeDelta::ZERO,
            max_lead: TimeDelta::ZERO,
            max_queued: (0, 0),
        }
    }

    /// Plays `events`, then continues until `until` (ms).
    pub(crate) fn play(&mut self, events: Events, until: i64) -> &mut Self {
        for (arrives, event) in events {
            self.idle(arrives);
            self.now = self.now.max(arrives);
            match event {
                Event::Begin => self.continuity.begin(),
                Event::Video(pts, captured) => self.continuity.push_video(pts, captured, self.now),
                Event::Audio(pts, first, count) => {
                    let samples = (first..first + count).map(tone).collect();
                    self.continuity.push_audio(0, pts, samples, self.now);
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
        let (frames, samples) = self.continuity.queued();
        self.max_queued = (self.max_queued.0.max(frames), self.max_queued.1.max(samples));
        while let Some(output) = self.continuity.poll(self.now) {
            match output {
                Output::Video { pts, content } => self.see(pts, content),
                Output::Audio { pts, samples, .. } => self.hear(pts, &samples),
            }
        }
        if let Some((_, began)) = self.first {
            let position = if self.config.video { self.tick(self.ticks.len()) } else { self.block(self.blocks) };
            let ahead = position - (self.now - began);
            self.max_lead = self.max_lead.max(ahead);
            self.max_lag = self.max_lag.max(-ahead);
        }
    }

    fn tick(&self, n: usize) -> TimeDelta {
        self.config.frame_rate.span(n as i64)
    }

    fn block(&self, n: i64) -> TimeDelta {
        samples(n * BLOCK_SAMPLES as i64)
    }

    fn begins(&mut self, pts: Timestamp) -> Timestamp {
        self.first.get_or_insert((pts, self.now)).0
    }

    fn see(&mut self, pts: Timestamp, content: VideoContent<RawFrame>) {
        let at = pts - self.begins(pts);
        let off = at - self.tick(self.ticks.len());
        assert!(off.flicks().abs() <= 1, "tick {} is {off:?} off", self.ticks.len());
        let content = match content {
            VideoContent::Live(captured) => {
                if self.ticks.last().is_none_or(|last| last.content != Content::Live(captured)) {
                    self.uncompared.push((at, captured));
                }
                Content::Live(captured)
            }
            VideoContent::Repeated(captured) => Content::Repeated(captured),
            VideoContent::Slate => Content::Slate,
        };
        self.ticks.push(Tick { at, left: self.now, content });
    }

    fn hear(&mut self, pts: Timestamp, block: &[f32]) {
        let at = pts - self.begins(pts);
        assert_eq!((at, block.len()), (self.block(self.blocks), BLOCK_SAMPLES));
        self.blocks += 1;
        for sample in block {
            let step = (sample - self.last_sample).abs();
            // The tone wraps from its highest sample to its lowest, in a fade too. All other steps are small.
            let wraps = *sample < self.last_sample && *sample > 0.02;
            assert!(step < 0.02 || wraps, "clicks at {at:?}: {} {sample}", self.last_sample);
            self.last_sample = *sample;
        }
        self.audible += block.iter().filter(|sample| **sample >= QUIET).count() as i64;
        let end = self.block(self.blocks);
        for (presented, captured) in std::mem::take(&mut self.uncompared) {
            if presented >= end {
                self.uncompared.push((presented, captured));
            } else if presented >= at {
                self.compare(presented, captured, at, block);
            }
        }
    }

    fn compare(&mut self, presented: TimeDelta, captured: RawFrame, at: TimeDelta, block: &[f32]) {
        let place = Timescale::new(RATE).delta_ticks(presented - at) as usize;
        let (Some(here), Some(next)) = (block.get(place), block.get(place + 1)) else { return };
        if *here < QUIET || ((next - here) * (CYCLE * 2) as f32).round() != 1.0 {
            return;
        }
        let number = ((here - QUIET) * (CYCLE * 2) as f32).round() as i64;
        let off = (Timescale::new(RATE).delta_ticks(captured) - number).rem_euclid(CYCLE);
        let off = if off > CYCLE / 2 { off - CYCLE } else { off };
        self.offsets.push((presented, samples(off)));
    }

    /// Returns periods of the same content (live, repeated, slate) with start and length in ms.
    pub(crate) fn periods(&self) -> Vec<(&'static str, i64, i64)> {
        let mut periods: Vec<(&'static str, i64, i64)> = Vec::new();
        let length = self.tick(1);
        for tick in &self.ticks {
            let kind = match tick.content {
                Content::Live(_) => "live",
                Content::Repeated(_) => "repeated",
                Content::Slate => "slate",
            };
            let end = (tick.at + length).as_millis();
            match periods.last_mut() {
                Some(last) if last.0 == kind => last.2 = end - last.1,
                _ => periods.push((kind, tick.at.as_millis(), length.as_millis())),
            }
        }
        periods
    }

    /// Asserts that video and audio are never more than `most` ms apart.
    pub(crate) fn assert_in_sync(&self, most: i64) {
        assert!(!self.offsets.is_empty());
        let worst = self.offsets.iter().max_by_key(|(_, off)| off.abs());
        assert!(worst.is_none_or(|(_, off)| off.abs() <= ms(most)), "{worst:?}");
    }

    pub(crate) fn samples_out(&self) -> i64 {
        self.blocks * BLOCK_SAMPLES as i64
    }
}

/// Returns a sample whose value, together with the next one, identifies its number.
fn tone(number: i64) -> f32 {
    QUIET + number.rem_euclid(CYCLE) as f32 / (CYCLE * 2) as f32
}
