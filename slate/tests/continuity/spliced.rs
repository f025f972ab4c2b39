//! Contributions through the splice and then the continuity, as in a programme that is transcoded.
//!
//! The splice maps them end to end and has no clock, so media time does not advance in a gap. The continuity corrects
//! that with its timestamp offset.

use std::collections::HashMap;

use bytes::Bytes;
use media::codec::aac;
use media::{Access, CodecConfig, Frame, TimeDelta, Timestamp, Track, TrackId};
use slate::{Item, Splice};

use crate::simulation::{Content, Event, Events, Simulation, config, delayed, lost, merged, ms};

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn tracks() -> [Track; 2] {
    // AAC-LC, 8 kHz, mono, as the simulation expects it.
    let audio = aac::Config::parse(Bytes::from_static(&[0x15, 0x88]));
    [media::fixtures::video(VIDEO), Track::new(AUDIO, CodecConfig::Aac(audio.unwrap()))]
}

/// Sends `events` through a splice, and decodes its output at once.
fn spliced(events: Events) -> Events {
    let mut splice = Splice::new();
    let mut known: HashMap<Bytes, Event> = HashMap::new();
    let mut all = Vec::new();
    for (n, (arrives, event)) in events.into_iter().enumerate() {
        let name = Bytes::from(n.to_be_bytes().to_vec());
        let mut out = Vec::new();
        let frame = |track, pts| Frame { track, dts: pts, pts, access: Access::Independent, payload: name.clone() };
        match &event {
            Event::Begin => {
                splice.begin();
                tracks().into_iter().for_each(|track| splice.track(track, &mut out));
                all.push((arrives, Event::Begin));
            }
            Event::Video(pts, _) => splice.frame(frame(VIDEO, *pts), &mut out),
            Event::Audio(pts, ..) => splice.frame(frame(AUDIO, *pts), &mut out),
        }
        known.insert(name, event);
        let frames = out.into_iter().filter_map(|item| if let Item::Frame(frame) = item { Some(frame) } else { None });
        all.extend(frames.filter_map(|frame| Some((arrives, decoded(known.get(&frame.payload), frame.pts)?))));
    }
    all
}

/// Returns the event of a frame that was placed at `pts`; `None` for silence that the splice inserted.
fn decoded(event: Option<&Event>, pts: Timestamp) -> Option<Event> {
    match event? {
        Event::Begin => None,
        Event::Video(_, captured) => Some(Event::Video(pts, *captured)),
        Event::Audio(_, first, count) => Some(Event::Audio(pts, *first, *count)),
    }
}

/// Returns a contribution from `from` to `to` (ms) whose clock begins at `clock`, with audio in frames of AAC.
fn contribution(fps: i64, from: i64, to: i64, clock: i64) -> Events {
    let mut events = crate::simulation::video(fps, from, to, clock - from);
    events.extend(crate::simulation::audio(1_024, from, to, clock - from));
    let mut events = merged([events]);
    events.insert(0, (ms(from), Event::Begin));
    events
}

fn back(sim: &Simulation, after: i64) -> TimeDelta {
    let live = |content| matches!(content, Content::Live(captured) if captured >= ms(after));
    sim.ticks.iter().find(|tick| live(tick.content)).map(|tick| tick.left - ms(after)).unwrap()
}

#[test]
fn a_gap_within_a_contribution_keeps_the_encoders_time() {
    for gap in [3_000, 9_000] {
        let mut sim = Simulation::new(config(25));
        sim.play(spliced(lost(contribution(25, 0, 40_000, 0), 10_000, 10_000 + gap)), 40_000);
        assert_eq!(sim.continuity.stats().resyncs, 0, "{gap}");
        assert!(back(&sim, 10_000 + gap) < ms(41));
        sim.assert_in_sync(1);
    }
}

#[test]
fn an_encoder_that_was_frozen_for_long_is_resynced() {
    // The splice treats more than 10 s as a jump of the clock, and places the rest at the end of the programme.
    let mut sim = Simulation::new(config(25));
    sim.play(spliced(lost(contribution(25, 0, 60_000, 0), 10_000, 30_000)), 60_000);
    assert_eq!(sim.continuity.stats().resyncs, 1);
    assert!(back(&sim, 30_000) < ms(700), "{:?}", back(&sim, 30_000));
    sim.assert_in_sync(81);
}

#[test]
fn contributions_with_new_clocks_take_over_at_once() {
    for gap in [0, 700, 3_000, 15_000, 59_000] {
        let mut sim = Simulation::new(config(30));
        let next = contribution(25, 10_000 + gap, 30_000 + gap, 777_000);
        sim.play(spliced(merged([contribution(30, 0, 10_000, 5_000), next])), 30_000 + gap);
        assert!(back(&sim, 10_000 + gap) <= ms(34), "{gap}");
        assert!(sim.max_lag <= ms(340) && sim.max_lead <= ms(200), "{gap}");
        sim.assert_in_sync(35);
    }
}

#[test]
fn a_backlog_after_a_gap_is_not_presented() {
    let mut sim = Simulation::new(config(25));
    sim.play(spliced(delayed(contribution(25, 0, 40_000, 0), 10_000, 13_000)), 40_000);
    assert_eq!(sim.continuity.stats().resyncs, 0);
    assert!(sim.continuity.stats().late_frames >= 70);
    sim.assert_in_sync(1);
}

#[test]
fn an_encoder_that_returns_with_audio_only_is_presented() {
    let mut sim = Simulation::new(config(25));
    let mut next = contribution(25, 13_000, 30_000, 50_000);
    next.retain(|(_, event)| !matches!(event, Event::Video(..)));
    sim.play(spliced(merged([contribution(25, 0, 10_000, 0), next])), 30_000);
    assert!(sim.audible > 26 * 8_000, "{}", sim.audible);
    assert_eq!(sim.ticks.last().map(|tick| tick.content), Some(Content::Slate));
    // With video later on, in sync.
    let mut sim = Simulation::new(config(25));
    let mut next = contribution(25, 13_000, 30_000, 50_000);
    next.retain(|(arrives, event)| *arrives > ms(16_500) || !matches!(event, Event::Video(..)));
    sim.play(merged([contribution(25, 0, 10_000, 0), next]), 30_000);
    assert!(back(&sim, 16_501) < ms(600), "{:?}", back(&sim, 16_501));
    sim.assert_in_sync(41);
}
