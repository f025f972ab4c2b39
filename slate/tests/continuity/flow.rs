//! Steady media: frame rates, jitter, and absent tracks.

use media::{FrameRate, TimeDelta, Timestamp};
use slate::continuity::Config;

use crate::simulation::{Content, Event, Events, RATE, Simulation, audio, both, config, merged, ms, video};

fn live(sim: &Simulation) -> Vec<i64> {
    let captured =
        sim.ticks.iter().filter_map(|tick| if let Content::Live(at) = tick.content { Some(at) } else { None });
    captured.map(|at| at.as_millis()).collect()
}

#[test]
fn frames_of_the_same_rate_leave_as_they_arrive() {
    let mut sim = Simulation::new(config(25));
    sim.play(both(25, 0, 10_000, 7_000), 10_000);
    assert_eq!(live(&sim), (0..250).map(|n| n * 40).collect::<Vec<_>>());
    assert!(sim.ticks.iter().all(|tick| tick.left == tick.at));
    sim.assert_in_sync(1);
    assert_eq!(sim.continuity.stats().silent_samples, 0);
}

#[test]
fn rounding_to_milliseconds_does_not_change_the_output() {
    let mut sim = Simulation::new(config(30));
    let rounded = video(30, 0, 10_000, 0).into_iter().map(|(arrives, event)| match event {
        Event::Video(pts, captured) => {
            (arrives, Event::Video(Timestamp::ZERO + ms((pts - Timestamp::ZERO).as_millis()), captured))
        }
        other => (arrives, other),
    });
    sim.play(rounded.collect(), 10_000);
    assert!(sim.ticks.windows(2).all(|two| two[0].content != two[1].content));
    assert!(sim.ticks.iter().all(|tick| (tick.left - tick.at).abs() <= ms(1)));
}

#[test]
fn lower_and_higher_frame_rates_are_converted() {
    let mut sim = Simulation::new(config(30));
    sim.play(both(25, 0, 10_000, 0), 10_000);
    let presented = live(&sim);
    assert!(presented.len() >= 298, "{}", presented.len());
    let mut once = presented;
    once.dedup();
    assert_eq!(once, (0..250).map(|n| n * 40).collect::<Vec<_>>());
    let mut sim = Simulation::new(config(25));
    sim.play(both(60, 0, 10_000, 0), 10_000);
    assert!(live(&sim).windows(2).all(|two| (33..=51).contains(&(two[1] - two[0]))));
    assert_eq!(sim.continuity.stats().late_frames, 0);
}

#[test]
fn an_odd_rate_is_kept_for_an_hour() {
    let frame_rate = FrameRate::new(30_000, 1_001);
    let mut sim = Simulation::new(Config { frame_rate, ..config(30) });
    sim.play(video(30, 0, 3_600_000, 0), 3_600_000);
    // The simulation asserts that each tick is at its time.
    assert!((107_880..107_900).contains(&sim.ticks.len()), "{}", sim.ticks.len());
    assert_eq!(sim.continuity.stats().repeated + sim.continuity.stats().slate, 0);
}

#[test]
fn uneven_frame_timing_becomes_even() {
    let mut sim = Simulation::new(config(30));
    let intervals = [20, 55, 33, 90, 10, 33, 140, 33];
    let mut at = 0;
    let uneven: Events = (0..400)
        .map(|n| {
            at += intervals[n % intervals.len()];
            (ms(at), Event::Video(Timestamp::ZERO + ms(at), ms(at)))
        })
        .collect();
    sim.play(merged([uneven, audio(160, 0, 20_000, 0)]), at);
    for tick in &sim.ticks {
        let Content::Live(captured) = tick.content else { panic!("{tick:?}") };
        let off = tick.at + ms(20) - captured;
        assert!((ms(-9)..ms(141)).contains(&off), "{tick:?}");
    }
}

#[test]
fn video_alone_is_accompanied_by_silence() {
    let mut sim = Simulation::new(config(30));
    sim.play(video(30, 0, 10_000, 0), 10_000);
    assert_eq!(sim.audible, 0);
    assert!(sim.samples_out() > 78_000, "{}", sim.samples_out());
    assert_eq!(sim.continuity.stats().live, 300);
}

#[test]
fn audio_alone_leaves_as_it_arrives_and_is_silent_in_gaps() {
    let mut sim = Simulation::new(Config { video: false, ..config(30) });
    let mut events = audio(160, 0, 10_000, 50);
    events.extend(audio(160, 14_000, 20_000, 50));
    events.push((ms(15_000), Event::Video(Timestamp::ZERO, TimeDelta::ZERO)));
    events.sort_by_key(|(arrives, _)| *arrives);
    sim.play(events, 20_000);
    assert!(sim.ticks.is_empty());
    let silent = 4 * 8_000;
    let lacking = 16 * 8_000 - sim.audible;
    assert!((0..2_500).contains(&lacking), "{lacking}");
    assert!(sim.continuity.stats().silent_samples.abs_diff(silent) < 1_000);
    assert!(sim.max_lag <= ms(450), "{:?}", sim.max_lag);
}

#[test]
fn a_broadcast_that_begins_with_audio_waits_for_video_for_a_limited_time() {
    let mut sim = Simulation::new(config(25));
    sim.play(merged([audio(160, 0, 5_000, 0), video(25, 1_200, 5_000, 0)]), 5_000);
    assert_eq!(sim.ticks[0].content, Content::Live(ms(1_200)));
    sim.assert_in_sync(1);
    let mut sim = Simulation::new(config(25));
    sim.play(merged([audio(160, 0, 9_000, 0), video(25, 6_000, 9_000, 0)]), 9_000);
    assert_eq!(sim.ticks[0].content, Content::Slate);
    assert_eq!(sim.periods().iter().map(|period| period.0).collect::<Vec<_>>(), ["slate", "live"]);
    sim.assert_in_sync(1);
}

#[test]
fn a_low_frame_rate_is_not_a_gap() {
    let mut sim = Simulation::new(config(30));
    // One frame per second, as of a screen, without audio.
    sim.play(video(1, 0, 60_000, 0), 60_000);
    let stats = sim.continuity.stats();
    assert!(stats.slate <= 60 && stats.late_frames <= 1, "{stats:?}");
}

#[test]
fn an_encoder_that_sends_in_bursts_is_soon_presented_completely() {
    let mut sim = Simulation::new(config(25));
    // Media of half a second arrives at the end of it.
    let mut events = both(25, 0, 60_000, 0);
    for (arrives, _) in &mut events {
        *arrives = ms(arrives.as_millis() / 500 * 500 + 500);
    }
    events[0].0 = TimeDelta::ZERO;
    sim.play(events, 60_000);
    let last = sim.ticks.iter().rev().take(1_250);
    assert!(last.clone().all(|tick| matches!(tick.content, Content::Live(_))));
    sim.assert_in_sync(41);
    assert!(sim.max_lead < ms(1_100));
}

#[test]
fn audio_in_packets_of_a_third_of_a_second_is_presented() {
    let mut sim = Simulation::new(config(30));
    let mut packets = audio(160, 0, 20_000, 0);
    for (arrives, _) in &mut packets {
        *arrives = ms(arrives.as_millis() / 350 * 350 + 350);
    }
    sim.play(merged([video(30, 0, 20_000, 0), packets]), 20_000);
    let stats = sim.continuity.stats();
    // The missing samples are in the first packets.
    assert!(stats.silent_samples < u64::from(RATE), "{stats:?}");
    sim.assert_in_sync(41);
}
