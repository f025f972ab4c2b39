//! Several audio tracks side by side, and video that joins them.

use media::{FrameRate, TimeDelta, Timestamp};
use slate::Continuity;
use slate::continuity::{BLOCK_SAMPLES, Config, Output, VideoContent};

use crate::random::Random;
use crate::simulation::{RATE, config, ms, samples};

/// Number of audio samples that arrive at once.
const PIECE: i64 = 160;

/// Output of several audio tracks, each with its own level, that arrive as they are captured.
struct Tracks {
    continuity: Continuity<TimeDelta>,
    now: i64,
    first: Option<Timestamp>,
    /// Time of the first step of the output (ms).
    began: Option<i64>,
    /// Output samples of each track, one after the other.
    audible: Vec<Vec<f32>>,
    /// Time of each tick, and whether it was live.
    content: Vec<(Timestamp, bool)>,
}

impl Tracks {
    fn new(audio_tracks: usize, video: bool) -> Self {
        let continuity = Continuity::new(Config { audio_tracks, video, ..config(25) });
        Self {
            continuity,
            now: 0,
            first: None,
            began: None,
            audible: vec![Vec::new(); audio_tracks],
            content: Vec::new(),
        }
    }

    /// Pushes the audio tracks `present` until `until` (ms), and video if `video`.
    fn play(&mut self, until: i64, present: &[usize], video: bool) -> &mut Self {
        while self.now < until {
            let (at, now) = (Timestamp::ZERO + ms(self.now), ms(self.now));
            for track in present {
                self.continuity.push_audio(*track, at, vec![level(*track); PIECE as usize], now);
            }
            if video && self.now % 40 == 0 {
                self.continuity.push_video(at, now, now);
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
                Output::Video { pts, content } => self.content.push((pts, matches!(content, VideoContent::Live(_)))),
                Output::Audio { track, pts, samples: block } => {
                    let audible = &mut self.audible[track];
                    let at = *self.first.get_or_insert(pts) + samples(audible.len() as i64);
                    assert_eq!((pts, block.len()), (at, BLOCK_SAMPLES), "track {track} is uninterrupted");
                    audible.extend(block);
                }
            }
        }
    }

    /// Returns the percentage of a track that was audible between two times (ms).
    fn share(&self, track: usize, from: i64, to: i64) -> usize {
        let place = |at: i64| (at * i64::from(RATE) / 1_000) as usize;
        let audible = &self.audible[track][place(from)..place(to)];
        audible.iter().filter(|sample| **sample == level(track)).count() * 100 / audible.len()
    }
}

fn level(track: usize) -> f32 {
    0.1 + 0.1 * track as f32
}

#[test]
fn an_absent_audio_track_is_silent_and_does_not_affect_the_others() {
    for video in [true, false] {
        for absent in 0..3 {
            let rest: Vec<_> = (0..3).filter(|track| *track != absent).collect();
            let mut tracks = Tracks::new(3, video);
            tracks.play(5_000, &[0, 1, 2], true).play(8_000, &rest, true).play(12_000, &[0, 1, 2], true);
            for track in 0..3 {
                assert_eq!(tracks.share(track, 100, 4_900), 100, "{track} without {absent}");
                assert_eq!(tracks.share(track, 8_500, 11_500), 100, "{track} without {absent}");
                let gap = tracks.share(track, 5_100, 7_900);
                assert_eq!(gap, if track == absent { 0 } else { 100 }, "{track} without {absent}");
            }
        }
    }
}

#[test]
fn a_contribution_without_the_first_audio_track_is_presented() {
    for video in [true, false] {
        let mut tracks = Tracks::new(2, video);
        tracks.play(4_000, &[0, 1], true).continuity.begin();
        tracks.play(8_000, &[1], true);
        assert!(tracks.share(1, 4_500, 7_400) == 100 && tracks.share(0, 4_500, 7_400) == 0, "{video}");
    }
}

#[test]
fn an_audio_track_can_be_added() {
    for video in [true, false] {
        let mut tracks = Tracks::new(1, video);
        tracks.play(3_000, &[0], true);
        assert_eq!(tracks.continuity.add_audio(), 1);
        let before = tracks.audible[0].len();
        // The time before counts as silence.
        tracks.audible.push(vec![0.0; before]);
        tracks.play(6_000, &[0, 1], true);
        assert!(tracks.share(1, 3_500, 5_500) == 100 && tracks.share(0, 100, 5_500) == 100, "{video}");
    }
}

#[test]
fn video_that_joins_begins_at_a_whole_second_without_a_discontinuity() {
    for frames_apart in [40, 400] {
        let mut tracks = Tracks::new(2, false);
        tracks.play(3_300, &[0, 1], false);
        assert!(tracks.content.is_empty());
        tracks.continuity.add_video(FrameRate::new(25, 1), true);
        for step in 0..(5_000 / frames_apart) {
            let at = 3_300 + step * frames_apart;
            tracks.continuity.push_video(Timestamp::ZERO + ms(at), ms(at), ms(at));
            tracks.play(at + frames_apart, &[0, 1], false);
        }
        let first = tracks.content[0].0 - Timestamp::ZERO;
        assert_eq!(first - TimeDelta::from_secs(first.whole(TimeDelta::from_secs(1))), TimeDelta::ZERO);
        assert!(tracks.content.windows(2).all(|pair| pair[1].0 - pair[0].0 == ms(40)));
        // At a low frame rate each frame repeats until the next one.
        assert!(tracks.content[0].1 && tracks.content.iter().all(|(_, live)| *live || frames_apart > 40));
        assert!(tracks.content.len() >= 80, "{}", tracks.content.len());
        assert!((0..2).all(|track| tracks.share(track, 100, 7_500) == 100));
        assert_eq!(tracks.continuity.stats().resyncs, 0);
    }
}

#[test]
fn output_times_are_those_of_the_presented_media() {
    let mut tracks = Tracks::new(1, true);
    assert_eq!((tracks.continuity.output_time(Timestamp::ZERO), tracks.continuity.position()), (None, None));
    tracks.play(2_000, &[0], true);
    let first = tracks.content[0].0;
    assert_eq!(tracks.continuity.output_time(Timestamp::ZERO + ms(700)), Some(first + ms(700)));
    assert_eq!(tracks.continuity.position(), Some(first + ms(40 * tracks.content.len() as i64)));
    tracks.continuity.begin();
    assert_eq!(tracks.continuity.output_time(Timestamp::ZERO), None, "the next contribution has no offset yet");
}

/// Plays audio and video that come and go, join, and arrive late, in one contribution after another.
fn play_random(seed: u64) {
    let mut random = Random::new(seed);
    let video = random.one_in(2);
    let mut tracks = Tracks::new(1 + random.below(3) as usize, video);
    let (mut present, mut late) = (vec![true; 8], 0);
    let (mut content, mut offset) = (video, 0);
    while tracks.now < 40_000 {
        let until = tracks.now + 200 + random.below(3_000);
        match random.below(7) {
            0 => {
                tracks.continuity.begin();
                offset += random.below(5_000);
            }
            1 if tracks.audible.len() < 5 => {
                let so_far = tracks.audible.iter().map(Vec::len).min().unwrap_or(0);
                tracks.continuity.add_audio();
                tracks.audible.push(vec![0.0; so_far]);
            }
            2 if !content => {
                tracks.continuity.add_video(FrameRate::new(25, 1), true);
                content = true;
            }
            3 => late = random.below(4) * 150,
            _ => present.iter_mut().for_each(|present| *present = !random.one_in(3)),
        }
        let sends_video = !random.one_in(4);
        while tracks.now < until {
            let (at, now) = (Timestamp::ZERO + ms(tracks.now - late + offset), ms(tracks.now));
            for track in (0..tracks.audible.len()).filter(|track| present[*track]) {
                tracks.continuity.push_audio(track, at, vec![level(track); PIECE as usize], now);
            }
            if sends_video && tracks.now % 40 == 0 {
                tracks.continuity.push_video(at, now, now);
            }
            tracks.take();
            tracks.now += 20;
        }
    }
    let lengths: Vec<_> = tracks.audible.iter().map(|audible| audible.len() as i64 * 1_000 / i64::from(RATE)).collect();
    let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert!(most - least <= 2_600, "seed {seed}: {lengths:?}");
    let first = tracks.first.unwrap();
    let out = tracks.continuity.position().unwrap() - first;
    let ahead = out - ms(40_000 - tracks.began.unwrap());
    // Two seconds of it may be the wait for video at the start.
    assert!(ahead <= ms(5_500) && ahead >= ms(-1_000), "seed {seed}: {ahead:?} ahead");
    assert!(out - ms(*least) <= ms(2_600), "seed {seed}: {out:?} {lengths:?}");
    assert!(tracks.content.windows(2).all(|pair| pair[1].0 - pair[0].0 == ms(40)), "seed {seed}");
}

#[test]
fn every_audio_track_is_uninterrupted_for_random_input() {
    (0..200).for_each(play_random);
}
