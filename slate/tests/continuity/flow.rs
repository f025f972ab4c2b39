//! Media that flows: rates, jitter, and tracks that are not there.

use media::{TimeDelta, Timestamp};
use slate::continuity::Config;

use crate::stage::{Event, Events, RATE, Seen, Stage, both, config, merged, ms, pictures, sound};

fn live(stage: &Stage) -> Vec<i64> {
    let taken = stage.ticks.iter().filter_map(|tick| if let Seen::Live(at) = tick.seen { Some(at) } else { None });
    taken.map(|at| at.as_millis()).collect()
}

#[test]
fn pictures_of_the_same_rate_leave_as_they_come() {
    let mut stage = Stage::new(config(25));
    stage.play(both(25, 0, 10_000, 7_000), 10_000);
    assert_eq!(live(&stage), (0..250).map(|n| n * 40).collect::<Vec<_>>());
    assert!(stage.ticks.iter().all(|tick| tick.left == tick.at));
    stage.in_step(1);
    assert_eq!(stage.continuity.stats().silent_samples, 0);
}

#[test]
fn milliseconds_of_a_transport_do_not_show() {
    let mut stage = Stage::new(config(30));
    let rounded = pictures(30, 0, 10_000, 0).into_iter().map(|(comes, event)| match event {
        Event::Picture(pts, taken) => {
            (comes, Event::Picture(Timestamp::ZERO + ms((pts - Timestamp::ZERO).as_millis()), taken))
        }
        other => (comes, other),
    });
    stage.play(rounded.collect(), 10_000);
    assert!(stage.ticks.windows(2).all(|two| two[0].seen != two[1].seen));
    assert!(stage.ticks.iter().all(|tick| (tick.left - tick.at).abs() <= ms(1)));
}

#[test]
fn fewer_pictures_become_more_and_more_become_fewer() {
    let mut stage = Stage::new(config(30));
    stage.play(both(25, 0, 10_000, 0), 10_000);
    let shown = live(&stage);
    assert!(shown.len() >= 298, "{}", shown.len());
    let mut once = shown;
    once.dedup();
    assert_eq!(once, (0..250).map(|n| n * 40).collect::<Vec<_>>());
    let mut stage = Stage::new(config(25));
    stage.play(both(60, 0, 10_000, 0), 10_000);
    assert!(live(&stage).windows(2).all(|two| (33..=51).contains(&(two[1] - two[0]))));
    assert_eq!(stage.continuity.stats().late_frames, 0);
}

#[test]
fn an_odd_rate_is_kept_for_an_hour() {
    let fps = (30_000, 1_001);
    let mut stage = Stage::new(Config { fps, ..config(30) });
    stage.play(pictures(30, 0, 3_600_000, 0), 3_600_000);
    // The stage asserts that each tick is where it belongs.
    assert!((107_880..107_900).contains(&stage.ticks.len()), "{}", stage.ticks.len());
    assert_eq!(stage.continuity.stats().held + stage.continuity.stats().slate, 0);
}

#[test]
fn uneven_pictures_become_even_ones() {
    let mut stage = Stage::new(config(30));
    let intervals = [20, 55, 33, 90, 10, 33, 140, 33];
    let mut at = 0;
    let uneven: Events = (0..400)
        .map(|n| {
            at += intervals[n % intervals.len()];
            (ms(at), Event::Picture(Timestamp::ZERO + ms(at), ms(at)))
        })
        .collect();
    stage.play(merged([uneven, sound(160, 0, 20_000, 0)]), at);
    for tick in &stage.ticks {
        let Seen::Live(taken) = tick.seen else { panic!("{tick:?}") };
        let off = tick.at + ms(20) - taken;
        assert!((ms(-9)..ms(141)).contains(&off), "{tick:?}");
    }
}

#[test]
fn pictures_alone_have_silence_with_them() {
    let mut stage = Stage::new(config(30));
    stage.play(pictures(30, 0, 10_000, 0), 10_000);
    assert_eq!(stage.heard, 0);
    assert!(stage.samples_out() > 78_000, "{}", stage.samples_out());
    assert_eq!(stage.continuity.stats().live, 300);
}

#[test]
fn sound_alone_leaves_as_it_comes_and_is_silent_in_gaps() {
    let mut stage = Stage::new(Config { picture: false, ..config(30) });
    let mut events = sound(160, 0, 10_000, 50);
    events.extend(sound(160, 14_000, 20_000, 50));
    events.push((ms(15_000), Event::Picture(Timestamp::ZERO, TimeDelta::ZERO)));
    events.sort_by_key(|(comes, _)| *comes);
    stage.play(events, 20_000);
    assert!(stage.ticks.is_empty());
    let silent = 4 * 8_000;
    let lacking = 16 * 8_000 - stage.heard;
    assert!((0..2_500).contains(&lacking), "{lacking}");
    assert!(stage.continuity.stats().silent_samples.abs_diff(silent) < 1_000);
    assert!(stage.most_behind <= ms(450), "{:?}", stage.most_behind);
}

#[test]
fn a_broadcast_that_begins_with_sound_waits_for_pictures_but_not_for_ever() {
    let mut stage = Stage::new(config(25));
    stage.play(merged([sound(160, 0, 5_000, 0), pictures(25, 1_200, 5_000, 0)]), 5_000);
    assert_eq!(stage.ticks[0].seen, Seen::Live(ms(1_200)));
    stage.in_step(1);
    let mut stage = Stage::new(config(25));
    stage.play(merged([sound(160, 0, 9_000, 0), pictures(25, 6_000, 9_000, 0)]), 9_000);
    assert_eq!(stage.ticks[0].seen, Seen::Slate);
    assert_eq!(stage.runs().iter().map(|run| run.0).collect::<Vec<_>>(), ["slate", "live"]);
    stage.in_step(1);
}

#[test]
fn few_pictures_are_not_taken_for_a_gap() {
    let mut stage = Stage::new(config(30));
    // One picture a second, as of a screen, without sound.
    stage.play(pictures(1, 0, 60_000, 0), 60_000);
    let counts = stage.continuity.stats();
    assert!(counts.slate <= 60 && counts.late_frames <= 1, "{counts:?}");
}

#[test]
fn an_encoder_that_sends_in_bursts_is_shown_whole_before_long() {
    let mut stage = Stage::new(config(25));
    // Media of half a second comes at the end of it.
    let mut events = both(25, 0, 60_000, 0);
    for (comes, _) in &mut events {
        *comes = ms(comes.as_millis() / 500 * 500 + 500);
    }
    events[0].0 = TimeDelta::ZERO;
    stage.play(events, 60_000);
    let last = stage.ticks.iter().rev().take(1_250);
    assert!(last.clone().all(|tick| matches!(tick.seen, Seen::Live(_))));
    stage.in_step(41);
    assert!(stage.most_ahead < ms(1_100));
}

#[test]
fn sound_in_packets_of_a_third_of_a_second_is_heard() {
    let mut stage = Stage::new(config(30));
    let mut packets = sound(160, 0, 20_000, 0);
    for (comes, _) in &mut packets {
        *comes = ms(comes.as_millis() / 350 * 350 + 350);
    }
    stage.play(merged([pictures(30, 0, 20_000, 0), packets]), 20_000);
    let counts = stage.continuity.stats();
    // What is missing is in the first packets.
    assert!(counts.silent_samples < u64::from(RATE), "{counts:?}");
    stage.in_step(41);
}
