//! Contributions as they come, through the splice and then the continuity: the way of a programme that is encoded anew.
//!
//! The splice lays them end to end and knows no clock: media time stands still while nothing comes. The continuity
//! makes up for it by its shift.

use std::collections::HashMap;

use bytes::Bytes;
use media::codec::{aac, avc};
use media::{Access, CodecConfig, Frame, TimeDelta, Timestamp, Track, TrackId};
use slate::{Item, Splice};

use crate::stage::{Event, Events, Seen, Stage, config, kept_back, lost, merged, ms};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn tracks() -> [Track; 2] {
    // x264, baseline, 320x240.
    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03,
        0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80,
    ];
    const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
    let pictures = avc::Config::from_parameter_sets(&[Bytes::from_static(SPS)], &[Bytes::from_static(PPS)]);
    // AAC-LC, 8 kHz, mono, as the stage hears it.
    let sound = aac::Config::parse(Bytes::from_static(&[0x15, 0x88]));
    [Track::new(VIDEO, CodecConfig::Avc(pictures.unwrap())), Track::new(AUDIO, CodecConfig::Aac(sound.unwrap()))]
}

/// Sends `events` through a splice; what comes out is decoded at once.
fn spliced(events: Events) -> Events {
    let mut splice = Splice::new();
    let mut known: HashMap<Bytes, Event> = HashMap::new();
    let mut all = Vec::new();
    for (n, (comes, event)) in events.into_iter().enumerate() {
        let name = Bytes::from(n.to_be_bytes().to_vec());
        let mut out = Vec::new();
        let frame = |track, pts| Frame { track, dts: pts, pts, access: Access::Independent, payload: name.clone() };
        match &event {
            Event::Begin => {
                splice.begin();
                tracks().into_iter().for_each(|track| splice.track(track, &mut out));
                all.push((comes, Event::Begin));
            }
            Event::Picture(pts, _) => splice.frame(frame(VIDEO, *pts), &mut out),
            Event::Sound(pts, ..) => splice.frame(frame(AUDIO, *pts), &mut out),
        }
        known.insert(name, event);
        let frames = out.into_iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None });
        all.extend(frames.filter_map(|frame| Some((comes, decoded(known.get(&frame.payload), frame.pts)?))));
    }
    all
}

/// The event of a frame that was laid at `pts`; silence that the splice made is none.
fn decoded(event: Option<&Event>, pts: Timestamp) -> Option<Event> {
    match event? {
        Event::Begin => None,
        Event::Picture(_, taken) => Some(Event::Picture(pts, *taken)),
        Event::Sound(_, first, count) => Some(Event::Sound(pts, *first, *count)),
    }
}

/// A contribution from `from` to `to` (ms), its clock anew from `clock`; sound in frames of AAC.
fn contribution(fps: i64, from: i64, to: i64, clock: i64) -> Events {
    let mut events = crate::stage::pictures(fps, from, to, clock - from);
    events.extend(crate::stage::sound(1_024, from, to, clock - from));
    let mut events = merged([events]);
    events.insert(0, (ms(from), Event::Begin));
    events
}

fn back(stage: &Stage, after: i64) -> TimeDelta {
    let live = |seen| matches!(seen, Seen::Live(taken) if taken >= ms(after));
    stage.ticks.iter().find(|tick| live(tick.seen)).map(|tick| tick.left - ms(after)).unwrap()
}

#[test]
fn a_gap_within_a_contribution_keeps_the_encoders_time() {
    for gap in [3_000, 9_000] {
        let mut stage = Stage::new(config(25));
        stage.play(spliced(lost(contribution(25, 0, 40_000, 0), 10_000, 10_000 + gap)), 40_000);
        assert_eq!(stage.continuity.stats().shifts, 0, "{gap}");
        assert!(back(&stage, 10_000 + gap) < ms(41));
        stage.in_step(1);
    }
}

#[test]
fn an_encoder_that_was_frozen_for_long_is_laid_anew() {
    // The splice takes more than 10 s for a jump of the clock, and lays what follows at the end of what was.
    let mut stage = Stage::new(config(25));
    stage.play(spliced(lost(contribution(25, 0, 60_000, 0), 10_000, 30_000)), 60_000);
    assert_eq!(stage.continuity.stats().shifts, 1);
    assert!(back(&stage, 30_000) < ms(700), "{:?}", back(&stage, 30_000));
    stage.in_step(81);
}

#[test]
fn contributions_with_their_clocks_anew_take_over_at_once() {
    for gap in [0, 700, 3_000, 15_000, 59_000] {
        let mut stage = Stage::new(config(30));
        let next = contribution(25, 10_000 + gap, 30_000 + gap, 777_000);
        stage.play(spliced(merged([contribution(30, 0, 10_000, 5_000), next])), 30_000 + gap);
        assert!(back(&stage, 10_000 + gap) <= ms(34), "{gap}");
        assert!(stage.most_behind <= ms(340) && stage.most_ahead <= ms(200), "{gap}");
        stage.in_step(35);
    }
}

#[test]
fn a_backlog_after_a_gap_is_not_shown() {
    let mut stage = Stage::new(config(25));
    stage.play(spliced(kept_back(contribution(25, 0, 40_000, 0), 10_000, 13_000)), 40_000);
    assert_eq!(stage.continuity.stats().shifts, 0);
    assert!(stage.continuity.stats().late_frames >= 70);
    stage.in_step(1);
}

#[test]
fn an_encoder_that_comes_back_with_sound_alone_is_heard() {
    let mut stage = Stage::new(config(25));
    let mut next = contribution(25, 13_000, 30_000, 50_000);
    next.retain(|(_, event)| !matches!(event, Event::Picture(..)));
    stage.play(spliced(merged([contribution(25, 0, 10_000, 0), next])), 30_000);
    assert!(stage.heard > 26 * 8_000, "{}", stage.heard);
    assert_eq!(stage.ticks.last().map(|tick| tick.seen), Some(Seen::Slate));
    // And with pictures later on, in step.
    let mut stage = Stage::new(config(25));
    let mut next = contribution(25, 13_000, 30_000, 50_000);
    next.retain(|(comes, event)| *comes > ms(16_500) || !matches!(event, Event::Picture(..)));
    stage.play(merged([contribution(25, 0, 10_000, 0), next]), 30_000);
    assert!(back(&stage, 16_501) < ms(600), "{:?}", back(&stage, 16_501));
    stage.in_step(41);
}
