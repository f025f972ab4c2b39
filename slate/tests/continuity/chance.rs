//! Whatever comes, in whatever order: the output is unbroken, near the clock, and nothing piles up.

use media::Timestamp;
use slate::continuity::Config;

use crate::stage::{Event, Events, Seen, Stage, both, config, kept_back, lost, merged, ms, pictures, sound};

/// A generator of numbers that are as good as random and the same in each run.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, most: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.unsigned_abs().max(1)) as i64
    }

    pub(crate) fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }

    /// One contribution from `from` to `to` (ms), with what encoders and networks do to it.
    fn contribution(&mut self, from: i64, to: i64) -> Events {
        let fps = [1, 15, 24, 25, 30, 50, 60][self.below(7) as usize];
        let offset = self.below(20_000) - 10_000;
        let sounding = sound([160, 171, 1_000][self.below(3) as usize], from, to, offset);
        let mut events = match self.below(8) {
            0 => pictures(fps, from, to, offset),
            1 => sounding,
            _ => merged([pictures(fps, from, to, offset), sounding]),
        };
        for _ in 0..self.below(4) {
            let begins = from + self.below(to - from);
            let ends = begins + self.below(6_000);
            events = if self.one_in(2) { kept_back(events, begins, ends) } else { lost(events, begins, ends) };
        }
        let jitter = [1, 40, 200, 600][self.below(4) as usize];
        let jumps = self.one_in(3).then(|| (ms(from + self.below(to - from)), ms(self.below(16_000) - 8_000)));
        for (comes, event) in &mut events {
            if let (Some((at, by)), Event::Picture(pts, _) | Event::Sound(pts, ..)) = (jumps, event)
                && *comes >= at
            {
                *pts += by;
            }
            *comes += ms(self.below(jitter));
        }
        if !self.one_in(4) {
            events.insert(0, (ms(from), Event::Begin));
        }
        // Jitter delays; what came in order stays in order.
        let mut newest = ms(from);
        for (comes, _) in &mut events {
            newest = newest.max(*comes);
            *comes = newest;
        }
        events
    }
}

fn play(seed: u64) {
    let mut chance = Chance::new(seed);
    let picture = !chance.one_in(5);
    let fps = [(25, 1), (30, 1), (30_000, 1_001), (60, 1), (7, 1)][chance.below(5) as usize];
    let mut stage = Stage::new(Config { fps, picture, slate: chance.one_in(2), ..config(25) });
    let (mut from, mut all) = (0, Vec::new());
    while from < 60_000 {
        let to = from + 1_000 + chance.below(20_000);
        all.push(chance.contribution(from, to));
        from = to + chance.below(3) * chance.below(8_000);
    }
    // The stage asserts that ticks and samples are contiguous, that nothing clicks, and that no wake-up is in vain.
    stage.play(merged(all), from + 5_000);
    // Where sound was there first the clock began when it came, some time before it left.
    let waited = match stage.ticks.first() {
        Some(tick) if tick.seen == Seen::Slate => 2_000,
        Some(_) => 0,
        None => 450,
    };
    assert!(stage.most_ahead <= ms(1_000 + 150 + waited), "seed {seed}: {:?} ahead", stage.most_ahead);
    assert!(stage.most_behind <= ms(300 + 150), "seed {seed}: {:?} behind", stage.most_behind);
    assert!(stage.most_waiting.0 <= 16 && stage.most_waiting.1 <= 6 * 8_000, "seed {seed}");
    assert!(stage.ticks.iter().all(|tick| tick.left >= ms(0)) && (picture || stage.ticks.is_empty()));
    if picture {
        let apart = stage.ticks.last().map_or(0, |tick| tick.at.as_millis()) - stage.samples_out() / 8;
        assert!(apart.abs() < 2_600, "seed {seed}: sound is {apart} ms behind the pictures");
    }
}

#[test]
fn whatever_comes_the_output_is_unbroken() {
    (0..200).for_each(play);
}

#[test]
fn what_is_not_polled_is_bounded_and_nothing_overflows() {
    let mut chance = Chance(77);
    let mut stage = Stage::new(config(25));
    let extremes = [i64::MIN / 800_000, -1, 0, 1, 40, 10_000_000_000, i64::MAX / 800_000];
    for n in 0..20_000 {
        let pts = Timestamp::ZERO + ms(extremes[chance.below(7) as usize]);
        stage.continuity.picture(pts, ms(n), ms(n));
        stage.continuity.sound(0, pts, vec![0.0; 160], ms(n));
        let (pictures, samples) = stage.continuity.waiting();
        assert!(pictures <= 16 && samples <= 48_000);
    }
    while stage.continuity.poll(ms(20_000)).is_some() {}
    stage.continuity.begin();
    let mut rest = Stage::new(config(25));
    rest.play(both(25, 0, 100, 0), 200);
    assert!(!rest.ticks.is_empty());
}
