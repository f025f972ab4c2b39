//! Random input: the output is uninterrupted, near the clock, and queues stay short.

use media::{FrameRate, Timestamp};
use slate::continuity::Config;

use crate::simulation::{Content, Event, Events, Simulation, audio, both, config, delayed, lost, merged, ms, video};

/// Generator of pseudorandom numbers that are the same in each run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.unsigned_abs().max(1)) as i64
    }

    pub(crate) fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }

    /// Returns a contribution from `from` to `to` (ms), with faults of encoders and networks.
    fn contribution(&mut self, from: i64, to: i64) -> Events {
        let fps = [1, 15, 24, 25, 30, 50, 60][self.below(7) as usize];
        let offset = self.below(20_000) - 10_000;
        let audio_events = audio([160, 171, 1_000][self.below(3) as usize], from, to, offset);
        let mut events = match self.below(8) {
            0 => video(fps, from, to, offset),
            1 => audio_events,
            _ => merged([video(fps, from, to, offset), audio_events]),
        };
        for _ in 0..self.below(4) {
            let begins = from + self.below(to - from);
            let ends = begins + self.below(6_000);
            events = if self.one_in(2) { delayed(events, begins, ends) } else { lost(events, begins, ends) };
        }
        let jitter = [1, 40, 200, 600][self.below(4) as usize];
        let jumps = self.one_in(3).then(|| (ms(from + self.below(to - from)), ms(self.below(16_000) - 8_000)));
        for (arrives, event) in &mut events {
            if let (Some((at, by)), Event::Video(pts, _) | Event::Audio(pts, ..)) = (jumps, event)
                && *arrives >= at
            {
                *pts += by;
            }
            *arrives += ms(self.below(jitter));
        }
        if !self.one_in(4) {
            events.insert(0, (ms(from), Event::Begin));
        }
        // Jitter delays events without changing their order.
        let mut newest = ms(from);
        for (arrives, _) in &mut events {
            newest = newest.max(*arrives);
            *arrives = newest;
        }
        events
    }
}

fn play(seed: u64) {
    let mut random = Random::new(seed);
    let has_video = !random.one_in(5);
    let (frames, seconds) = [(25, 1), (30, 1), (30_000, 1_001), (60, 1), (7, 1)][random.below(5) as usize];
    let mut sim = Simulation::new(Config {
        frame_rate: FrameRate::new(frames, seconds),
        video: has_video,
        slate: random.one_in(2),
        ..config(25)
    });
    let (mut from, mut all) = (0, Vec::new());
    while from < 60_000 {
        let to = from + 1_000 + random.below(20_000);
        all.push(random.contribution(from, to));
        from = to + random.below(3) * random.below(8_000);
    }
    // The simulation asserts that ticks and samples are contiguous, that nothing clicks, and that no wake-up is in vain.
    sim.play(merged(all), from + 5_000);
    // If audio arrived first, the clock began at its arrival, some time before the audio left.
    let waited = match sim.ticks.first() {
        Some(tick) if tick.content == Content::Slate => 2_000,
        Some(_) => 0,
        None => 450,
    };
    assert!(sim.max_lead <= ms(1_000 + 150 + waited), "seed {seed}: {:?} ahead", sim.max_lead);
    assert!(sim.max_lag <= ms(300 + 150), "seed {seed}: {:?} behind", sim.max_lag);
    assert!(sim.max_queued.0 <= 16 && sim.max_queued.1 <= 6 * 8_000, "seed {seed}");
    assert!(sim.ticks.iter().all(|tick| tick.left >= ms(0)) && (has_video || sim.ticks.is_empty()));
    if has_video {
        let apart = sim.ticks.last().map_or(0, |tick| tick.at.as_millis()) - sim.samples_out() / 8;
        assert!(apart.abs() < 2_600, "seed {seed}: audio is {apart} ms behind the video");
    }
}

#[test]
fn the_output_is_uninterrupted_for_random_input() {
    (0..200).for_each(play);
}

#[test]
fn unpolled_media_is_bounded_and_nothing_overflows() {
    let mut random = Random(77);
    let mut sim = Simulation::new(config(25));
    let extremes = [i64::MIN / 800_000, -1, 0, 1, 40, 10_000_000_000, i64::MAX / 800_000];
    for n in 0..20_000 {
        let pts = Timestamp::ZERO + ms(extremes[random.below(7) as usize]);
        sim.continuity.push_video(pts, ms(n), ms(n));
        sim.continuity.push_audio(0, pts, vec![0.0; 160], ms(n));
        let (frames, samples) = sim.continuity.queued();
        assert!(frames <= 16 && samples <= 48_000);
    }
    while sim.continuity.poll(ms(20_000)).is_some() {}
    sim.continuity.begin();
    let mut rest = Simulation::new(config(25));
    rest.play(both(25, 0, 100, 0), 200);
    assert!(!rest.ticks.is_empty());
}
