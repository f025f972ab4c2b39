//! Several sounds beside one another, and pictures that join them.

use media::{TimeDelta, Timestamp};
use slate::Continuity;
use slate::continuity::{BLOCK, Config, Output, VideoContent};

use crate::chance::Chance;
use crate::stage::{RATE, config, ms, samples};

/// Moments of sound that come at once.
const PIECE: i64 = 160;

/// Several sounds, each of a level of its own, that come as they are taken.
struct Sounds {
    continuity: Continuity<TimeDelta>,
    now: i64,
    first: Option<Timestamp>,
    /// When the first step came out (ms).
    began: Option<i64>,
    /// The samples of each that came out, one behind the other.
    heard: Vec<Vec<f32>>,
    /// When each tick is shown, and whether live.
    seen: Vec<(Timestamp, bool)>,
}

impl Sounds {
    fn new(sounds: usize, picture: bool) -> Self {
        let continuity = Continuity::new(Config { sounds, picture, ..config(25) });
        Self { continuity, now: 0, first: None, began: None, heard: vec![Vec::new(); sounds], seen: Vec::new() }
    }

    /// Until `until` (ms) the sounds `there` come, and pictures if so.
    fn play(&mut self, until: i64, there: &[usize], pictures: bool) -> &mut Self {
        while self.now < until {
            let (at, now) = (Timestamp::ZERO + ms(self.now), ms(self.now));
            for sound in there {
                self.continuity.sound(*sound, at, vec![level(*sound); PIECE as usize], now);
            }
            if pictures && self.now % 40 == 0 {
                self.continuity.picture(at, now, now);
            }
            self.take();
            self.now += 20;
        }
        self
    }

    fn take(&mut self) {
        while let Some(output) = self.continuity.poll(ms(self.now)) {
            self.began.get_or_insert(self.now);
            match output {
                Output::Video { pts, show } => self.seen.push((pts, matches!(show, VideoContent::Live(_)))),
                Output::Audio { sound, pts, samples: block } => {
                    let heard = &mut self.heard[sound];
                    let at = *self.first.get_or_insert(pts) + samples(heard.len() as i64);
                    assert_eq!((pts, block.len()), (at, BLOCK), "sound {sound} is unbroken");
                    heard.extend(block);
                }
            }
        }
    }

    /// How much of a sound was heard between two moments (ms), in hundredths.
    fn share(&self, sound: usize, from: i64, to: i64) -> usize {
        let place = |at: i64| (at * i64::from(RATE) / 1_000) as usize;
        let heard = &self.heard[sound][place(from)..place(to)];
        heard.iter().filter(|sample| **sample == level(sound)).count() * 100 / heard.len()
    }
}

fn level(sound: usize) -> f32 {
    0.1 + 0.1 * sound as f32
}

#[test]
fn a_sound_that_is_away_is_silent_and_the_others_know_nothing_of_it() {
    for picture in [true, false] {
        for away in 0..3 {
            let rest: Vec<_> = (0..3).filter(|sound| *sound != away).collect();
            let mut sounds = Sounds::new(3, picture);
            sounds.play(5_000, &[0, 1, 2], true).play(8_000, &rest, true).play(12_000, &[0, 1, 2], true);
            for sound in 0..3 {
                assert_eq!(sounds.share(sound, 100, 4_900), 100, "{sound} without {away}");
                assert_eq!(sounds.share(sound, 8_500, 11_500), 100, "{sound} without {away}");
                let gap = sounds.share(sound, 5_100, 7_900);
                assert_eq!(gap, if sound == away { 0 } else { 100 }, "{sound} without {away}");
            }
        }
    }
}

#[test]
fn a_contribution_without_the_first_sound_is_heard() {
    for picture in [true, false] {
        let mut sounds = Sounds::new(2, picture);
        sounds.play(4_000, &[0, 1], true).continuity.begin();
        sounds.play(8_000, &[1], true);
        assert!(sounds.share(1, 4_500, 7_400) == 100 && sounds.share(0, 4_500, 7_400) == 0, "{picture}");
    }
}

#[test]
fn a_sound_may_be_added() {
    for picture in [true, false] {
        let mut sounds = Sounds::new(1, picture);
        sounds.play(3_000, &[0], true);
        assert_eq!(sounds.continuity.add_audio(), 1);
        let before = sounds.heard[0].len();
        // What came before is counted as silence.
        sounds.heard.push(vec![0.0; before]);
        sounds.play(6_000, &[0, 1], true);
        assert!(sounds.share(1, 3_500, 5_500) == 100 && sounds.share(0, 100, 5_500) == 100, "{picture}");
    }
}

#[test]
fn pictures_that_join_begin_at_a_whole_second_and_break_nothing() {
    for frames_apart in [40, 400] {
        let mut sounds = Sounds::new(2, false);
        sounds.play(3_300, &[0, 1], false);
        assert!(sounds.seen.is_empty());
        sounds.continuity.add_video((25, 1), true);
        for step in 0..(5_000 / frames_apart) {
            let at = 3_300 + step * frames_apart;
            sounds.continuity.picture(Timestamp::ZERO + ms(at), ms(at), ms(at));
            sounds.play(at + frames_apart, &[0, 1], false);
        }
        let first = sounds.seen[0].0 - Timestamp::ZERO;
        assert_eq!(first - TimeDelta::from_secs(first.whole(TimeDelta::from_secs(1))), TimeDelta::ZERO);
        assert!(sounds.seen.windows(2).all(|pair| pair[1].0 - pair[0].0 == ms(40)));
        // Slow pictures are held up to the next one.
        assert!(sounds.seen[0].1 && sounds.seen.iter().all(|(_, live)| *live || frames_apart > 40));
        assert!(sounds.seen.len() >= 80, "{}", sounds.seen.len());
        assert!((0..2).all(|sound| sounds.share(sound, 100, 7_500) == 100));
        assert_eq!(sounds.continuity.stats().shifts, 0);
    }
}

#[test]
fn media_is_dated_as_it_is_shown() {
    let mut sounds = Sounds::new(1, true);
    assert_eq!((sounds.continuity.date(Timestamp::ZERO), sounds.continuity.position()), (None, None));
    sounds.play(2_000, &[0], true);
    let first = sounds.seen[0].0;
    assert_eq!(sounds.continuity.date(Timestamp::ZERO + ms(700)), Some(first + ms(700)));
    assert_eq!(sounds.continuity.position(), Some(first + ms(40 * sounds.seen.len() as i64)));
    sounds.continuity.begin();
    assert_eq!(sounds.continuity.date(Timestamp::ZERO), None, "the next contribution has no place yet");
}

/// Sounds and pictures come and go, join, and come late, in one contribution after another.
fn whatever_comes(seed: u64) {
    let mut chance = Chance::new(seed);
    let pictures = chance.one_in(2);
    let mut sounds = Sounds::new(1 + chance.below(3) as usize, pictures);
    let (mut there, mut late) = (vec![true; 8], 0);
    let (mut seen, mut offset) = (pictures, 0);
    while sounds.now < 40_000 {
        let until = sounds.now + 200 + chance.below(3_000);
        match chance.below(7) {
            0 => {
                sounds.continuity.begin();
                offset += chance.below(5_000);
            }
            1 if sounds.heard.len() < 5 => {
                let so_far = sounds.heard.iter().map(Vec::len).min().unwrap_or(0);
                sounds.continuity.add_audio();
                sounds.heard.push(vec![0.0; so_far]);
            }
            2 if !seen => {
                sounds.continuity.add_video((25, 1), true);
                seen = true;
            }
            3 => late = chance.below(4) * 150,
            _ => there.iter_mut().for_each(|there| *there = !chance.one_in(3)),
        }
        let shown = !chance.one_in(4);
        while sounds.now < until {
            let (at, now) = (Timestamp::ZERO + ms(sounds.now - late + offset), ms(sounds.now));
            for sound in (0..sounds.heard.len()).filter(|sound| there[*sound]) {
                sounds.continuity.sound(sound, at, vec![level(sound); PIECE as usize], now);
            }
            if shown && sounds.now % 40 == 0 {
                sounds.continuity.picture(at, now, now);
            }
            sounds.take();
            sounds.now += 20;
        }
    }
    let lengths: Vec<_> = sounds.heard.iter().map(|heard| heard.len() as i64 * 1_000 / i64::from(RATE)).collect();
    let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert!(most - least <= 2_600, "seed {seed}: {lengths:?}");
    let first = sounds.first.unwrap();
    let out = sounds.continuity.position().unwrap() - first;
    let ahead = out - ms(40_000 - sounds.began.unwrap());
    // Two seconds of it may be those that were waited for pictures at the start.
    assert!(ahead <= ms(5_500) && ahead >= ms(-1_000), "seed {seed}: {ahead:?} ahead");
    assert!(out - ms(*least) <= ms(2_600), "seed {seed}: {out:?} {lengths:?}");
    assert!(sounds.seen.windows(2).all(|pair| pair[1].0 - pair[0].0 == ms(40)), "seed {seed}");
}

#[test]
fn whatever_comes_each_sound_is_unbroken() {
    (0..200).for_each(whatever_comes);
}
