//! Media that stops, and how it returns.

use slate::continuity::{Config, Output};

use crate::simulation::{Content, Event, Events, Simulation, audio, both, config, delayed, lost, merged, ms, video};

fn kinds(sim: &Simulation) -> Vec<&'static str> {
    sim.periods().iter().map(|period| period.0).collect()
}

fn begin_at(at: i64, mut events: Events) -> Events {
    events.insert(0, (ms(at), Event::Begin));
    events
}

#[test]
fn after_a_killed_encoder_the_last_frame_repeats_for_half_a_second_and_then_the_slate_follows() {
    let mut sim = Simulation::new(config(30));
    sim.play(both(30, 0, 10_000, 0), 40_000);
    let periods = sim.periods();
    assert_eq!(kinds(&sim), ["live", "repeated", "slate"]);
    assert!((9_960..=10_000).contains(&periods[0].2), "{periods:?}");
    assert!((430..=500).contains(&periods[1].2), "{periods:?}");
    // No tick leaves after the timeout, and the audio keeps up.
    assert!(sim.ticks.iter().all(|tick| tick.left - tick.at <= ms(301)));
    assert!(sim.samples_out() > 39 * 8_000);
    assert!(sim.audible >= 10 * 8_000 - 200);
}

#[test]
fn without_a_slate_the_last_frame_repeats() {
    let mut sim = Simulation::new(Config { slate: false, ..config(30) });
    sim.play(both(30, 0, 5_000, 0), 20_000);
    assert_eq!(kinds(&sim), ["live", "repeated"]);
}

#[test]
fn the_backlog_of_a_frozen_encoder_is_not_presented() {
    let mut sim = Simulation::new(config(25));
    sim.play(delayed(both(25, 0, 30_000, 0), 10_000, 14_000), 30_000);
    assert_eq!(kinds(&sim), ["live", "repeated", "slate", "live"]);
    let stats = sim.continuity.stats();
    assert_eq!(stats.resyncs, 0);
    assert!((90..=101).contains(&stats.late_frames), "{stats:?}");
    let last = sim.ticks.last().unwrap();
    assert_eq!(last.content, Content::Live(last.at));
    sim.assert_in_sync(1);
}

#[test]
fn a_backlog_that_arrives_slowly_keeps_its_offset() {
    let mut sim = Simulation::new(config(25));
    let mut events = both(25, 0, 40_000, 0);
    for (arrives, _) in events.iter_mut().filter(|(arrives, _)| (ms(10_000)..ms(16_000)).contains(arrives)) {
        // 6 s of media within 2 s.
        *arrives = ms(14_000 + (arrives.as_millis() - 10_000) / 3);
    }
    sim.play(events, 40_000);
    assert_eq!(sim.continuity.stats().resyncs, 0);
    assert_eq!(kinds(&sim), ["live", "repeated", "slate", "live"]);
    sim.assert_in_sync(1);
}

#[test]
fn a_clock_that_stopped_is_resynced_after_half_a_second() {
    let mut sim = Simulation::new(config(25));
    sim.play(merged([both(25, 0, 10_000, 0), both(25, 14_000, 30_000, -4_000)]), 30_000);
    assert_eq!(kinds(&sim), ["live", "repeated", "slate", "live"]);
    assert_eq!(sim.continuity.stats().resyncs, 1);
    let back =
        sim.ticks.iter().find(|tick| matches!(tick.content, Content::Live(captured) if captured > ms(11_000))).unwrap();
    assert!((ms(14_400)..ms(14_700)).contains(&back.left), "{back:?}");
    sim.assert_in_sync(41);
    assert!(sim.audible > 25 * 8_000);
}

#[test]
fn another_contribution_takes_over_on_the_next_tick() {
    for offset in [-5_000, 0, 1_234, 3_600_000] {
        let mut sim = Simulation::new(config(30));
        let next = begin_at(13_000, both(25, 13_010, 30_000, offset));
        sim.play(merged([both(30, 0, 10_000, 0), next]), 30_000);
        assert_eq!(kinds(&sim), ["live", "repeated", "slate", "live"], "{offset}");
        let back = sim.ticks.iter().find(|tick| tick.content == Content::Live(ms(13_010))).unwrap();
        assert_eq!(back.left, ms(13_010));
        sim.assert_in_sync(34);
    }
}

#[test]
fn a_takeover_without_a_gap_misses_no_tick() {
    let mut sim = Simulation::new(config(25));
    sim.play(merged([both(25, 0, 10_000, 0), begin_at(10_000, both(25, 10_010, 20_000, 77_000))]), 20_000);
    assert_eq!(kinds(&sim), ["live"]);
    sim.assert_in_sync(41);
    assert!(sim.continuity.stats().silent_samples < 1_000, "{:?}", sim.continuity.stats());
}

#[test]
fn audio_of_a_contribution_that_arrives_before_its_video_waits() {
    let mut sim = Simulation::new(config(25));
    let next = merged([audio(160, 10_000, 20_000, 500), video(25, 10_000, 20_000, 500)]);
    let late = next.into_iter().map(|(arrives, event)| match event {
        Event::Video(..) => (arrives + ms(200), event),
        other => (arrives, other),
    });
    let next = begin_at(10_000, merged([late.collect()]));
    sim.play(merged([both(25, 0, 10_000, 0), next]), 20_000);
    sim.assert_in_sync(41);
    assert!(sim.continuity.stats().silent_samples < 4_000, "{:?}", sim.continuity.stats());
}

#[test]
fn video_continues_when_the_audio_ends() {
    let mut sim = Simulation::new(config(25));
    sim.play(merged([video(25, 0, 20_000, 0), audio(160, 0, 8_000, 0), audio(160, 15_000, 20_000, 0)]), 20_000);
    assert_eq!(kinds(&sim), ["live"]);
    let silent = sim.continuity.stats().silent_samples as i64;
    assert!((silent - 7 * 8_000).abs() < 1_000, "{silent}");
    sim.assert_in_sync(1);
}

#[test]
fn the_last_frame_repeats_while_audio_continues() {
    let mut sim = Simulation::new(config(25));
    let events = merged([video(25, 0, 8_000, 0), video(25, 15_000, 20_000, 0), audio(160, 0, 20_000, 0)]);
    sim.play(events, 20_000);
    assert_eq!(kinds(&sim), ["live", "repeated", "live"]);
    assert_eq!(sim.continuity.stats().silent_samples, 0);
    assert!(sim.max_lag <= ms(301));
    sim.assert_in_sync(1);
}

#[test]
fn audio_that_returns_a_little_late_is_presented() {
    let mut sim = Simulation::new(config(25));
    let late = audio(160, 12_000, 30_000, 0).into_iter().map(|(arrives, event)| (arrives + ms(900), event));
    sim.play(merged([video(25, 0, 30_000, 0), audio(160, 0, 8_000, 0), late.collect()]), 30_000);
    assert!(sim.audible > 8_000 * (8 + 15), "{}", sim.audible);
    sim.assert_in_sync(1);
}

#[test]
fn media_far_ahead_of_the_clock_moves_back() {
    let mut sim = Simulation::new(config(25));
    // 5 s of media arrive at once, twice; then the encoder's clock jumps 6 s ahead.
    let mut events = both(25, 0, 60_000, 0);
    for (arrives, _) in &mut events {
        let at = arrives.as_millis();
        *arrives = ms(if at < 10_000 {
            at
        } else if at < 15_000 {
            10_000
        } else {
            at - 5_000
        });
    }
    let mut events: Events = events.into_iter().filter(|(arrives, _)| *arrives < ms(40_000)).collect();
    events.extend(both(25, 40_000, 50_000, 11_000));
    sim.play(events, 50_000);
    assert!(sim.max_lead <= ms(1_050), "{:?}", sim.max_lead);
    let stats = sim.continuity.stats();
    assert!(stats.early_frames >= 100 && stats.slate == 0, "{stats:?}");
    sim.assert_in_sync(41);
    assert!(sim.ticks.last().is_some_and(|tick| tick.content == Content::Live(ms(49_960))));
}

#[test]
fn gaps_of_three_seconds_every_twenty_do_not_add_up() {
    for is_delayed in [false, true] {
        let mut sim = Simulation::new(config(25));
        let mut events = both(25, 0, 600_000, 0);
        for gap in (10_000..600_000).step_by(20_000) {
            events = if is_delayed { delayed(events, gap, gap + 3_000) } else { lost(events, gap, gap + 3_000) };
        }
        sim.play(events, 600_000);
        assert!(sim.max_lag <= ms(350) && sim.max_lead <= ms(600), "{:?}", sim.max_lead);
        assert_eq!(sim.continuity.stats().resyncs, 0);
        assert_eq!(kinds(&sim).iter().filter(|kind| **kind == "slate").count(), 30);
        sim.assert_in_sync(41);
    }
}

#[test]
fn encoders_that_begin_again_every_twenty_seconds_do_not_add_up() {
    let mut sim = Simulation::new(config(30));
    // End to end, as the splice maps them: media time does not advance in a gap.
    let all = (0..30).map(|n| {
        let from = n * 20_000;
        begin_at(from, both(if n % 2 == 0 { 25 } else { 30 }, from + 10, from + 17_000, -3_000 * n))
    });
    sim.play(merged(all), 600_000);
    assert!(sim.max_lag <= ms(350) && sim.max_lead <= ms(600));
    assert_eq!(sim.continuity.stats().resyncs, 29);
    sim.assert_in_sync(34);
}

#[test]
fn a_gap_of_59_seconds_is_like_any_other() {
    let mut sim = Simulation::new(config(25));
    sim.play(merged([both(25, 0, 10_000, 0), begin_at(69_000, both(25, 69_000, 80_000, -59_000))]), 80_000);
    assert_eq!(kinds(&sim), ["live", "repeated", "slate", "live"]);
    assert!(sim.max_lag <= ms(301));
    sim.assert_in_sync(41);
}

#[test]
fn an_hour_of_gaps_has_no_lasting_effect() {
    let mut sim = Simulation::new(config(25));
    for minute in 0..60 {
        let from = minute * 60_000;
        let events = both(25, from, from + 55_000, -5_000 * minute);
        sim.play(begin_at(from, events), from + 60_000);
        sim.assert_in_sync(41);
        sim.offsets.clear();
        sim.ticks.iter().for_each(|tick| assert!(tick.left - tick.at <= ms(301)));
    }
    assert!(sim.max_queued.0 <= 2 && sim.max_queued.1 <= 8_000, "{:?}", sim.max_queued);
    assert!(sim.max_lead <= ms(200));
}

#[test]
fn a_caller_that_was_delayed_pushes_known_media_before_the_clock_counts() {
    let mut sim = Simulation::new(config(25));
    let mut known = Vec::new();
    let mut give = |sim: &mut Simulation, from: i64, to: i64, now: i64| {
        for (_, event) in both(25, from, to, 0) {
            match event {
                Event::Video(pts, captured) => sim.continuity.push_video(pts, captured, ms(now)),
                Event::Audio(pts, _, count) => sim.continuity.push_audio(0, pts, vec![0.5; count as usize], ms(now)),
                Event::Begin => {}
            }
            known.extend(std::iter::from_fn(|| sim.continuity.poll_known()));
        }
    };
    give(&mut sim, 0, 1_000, 1_000);
    give(&mut sim, 1_000, 1_900, 1_900);
    assert_eq!(sim.continuity.stats().live, 48);
    assert_eq!(sim.continuity.stats().repeated + sim.continuity.stats().late_frames, 0);
    // The clock adds nothing once all of it is pushed.
    assert!(sim.continuity.poll(ms(1_900)).is_none_or(|output| matches!(output, Output::Audio { .. })));
}

#[test]
fn the_output_follows_an_encoder_that_is_too_slow() {
    let mut sim = Simulation::new(config(25));
    let mut events = both(25, 0, 54_000, 0);
    // Nine seconds of media in ten.
    events.iter_mut().for_each(|(arrives, _)| *arrives += ms(arrives.as_millis() / 9));
    sim.play(events, 60_000);
    let stats = sim.continuity.stats();
    assert!(sim.max_lag <= ms(350), "{:?}", sim.max_lag);
    assert!(stats.live >= 1_000 && stats.slate <= 5, "{stats:?}");
    sim.assert_in_sync(81);
}
