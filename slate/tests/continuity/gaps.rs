//! Media that goes away, and how it comes back.

use slate::continuity::{Config, Output};

use crate::stage::{Event, Events, Seen, Stage, both, config, kept_back, lost, merged, ms, pictures, sound};

fn kinds(stage: &Stage) -> Vec<&'static str> {
    stage.runs().iter().map(|run| run.0).collect()
}

fn begin_at(at: i64, mut events: Events) -> Events {
    events.insert(0, (ms(at), Event::Begin));
    events
}

#[test]
fn a_killed_encoder_leaves_its_picture_for_half_a_second_and_then_the_slate() {
    let mut stage = Stage::new(config(30));
    stage.play(both(30, 0, 10_000, 0), 40_000);
    let runs = stage.runs();
    assert_eq!(kinds(&stage), ["live", "held", "slate"]);
    assert!((9_960..=10_000).contains(&runs[0].2), "{runs:?}");
    assert!((430..=500).contains(&runs[1].2), "{runs:?}");
    // Nothing leaves later than the patience, and the sound keeps up.
    assert!(stage.ticks.iter().all(|tick| tick.left - tick.at <= ms(301)));
    assert!(stage.samples_out() > 39 * 8_000);
    assert!(stage.heard >= 10 * 8_000 - 200);
}

#[test]
fn without_a_slate_the_picture_is_held() {
    let mut stage = Stage::new(Config { slate: false, ..config(30) });
    stage.play(both(30, 0, 5_000, 0), 20_000);
    assert_eq!(kinds(&stage), ["live", "held"]);
}

#[test]
fn a_frozen_encoder_comes_back_with_a_backlog_that_is_not_shown() {
    let mut stage = Stage::new(config(25));
    stage.play(kept_back(both(25, 0, 30_000, 0), 10_000, 14_000), 30_000);
    assert_eq!(kinds(&stage), ["live", "held", "slate", "live"]);
    let counts = stage.continuity.stats();
    assert_eq!(counts.shifts, 0);
    assert!((90..=101).contains(&counts.late_frames), "{counts:?}");
    let last = stage.ticks.last().unwrap();
    assert_eq!(last.seen, Seen::Live(last.at));
    stage.in_step(1);
}

#[test]
fn a_backlog_that_comes_slowly_is_waited_for() {
    let mut stage = Stage::new(config(25));
    let mut events = both(25, 0, 40_000, 0);
    for (comes, _) in events.iter_mut().filter(|(comes, _)| (ms(10_000)..ms(16_000)).contains(comes)) {
        // 6 s of media within 2 s.
        *comes = ms(14_000 + (comes.as_millis() - 10_000) / 3);
    }
    stage.play(events, 40_000);
    assert_eq!(stage.continuity.stats().shifts, 0);
    assert_eq!(kinds(&stage), ["live", "held", "slate", "live"]);
    stage.in_step(1);
}

#[test]
fn a_clock_that_stood_still_is_laid_anew_after_half_a_second() {
    let mut stage = Stage::new(config(25));
    stage.play(merged([both(25, 0, 10_000, 0), both(25, 14_000, 30_000, -4_000)]), 30_000);
    assert_eq!(kinds(&stage), ["live", "held", "slate", "live"]);
    assert_eq!(stage.continuity.stats().shifts, 1);
    let back = stage.ticks.iter().find(|tick| matches!(tick.seen, Seen::Live(taken) if taken > ms(11_000))).unwrap();
    assert!((ms(14_400)..ms(14_700)).contains(&back.left), "{back:?}");
    stage.in_step(41);
    assert!(stage.heard > 25 * 8_000);
}

#[test]
fn another_contribution_takes_over_on_the_next_tick() {
    for offset in [-5_000, 0, 1_234, 3_600_000] {
        let mut stage = Stage::new(config(30));
        let next = begin_at(13_000, both(25, 13_010, 30_000, offset));
        stage.play(merged([both(30, 0, 10_000, 0), next]), 30_000);
        assert_eq!(kinds(&stage), ["live", "held", "slate", "live"], "{offset}");
        let back = stage.ticks.iter().find(|tick| tick.seen == Seen::Live(ms(13_010))).unwrap();
        assert_eq!(back.left, ms(13_010));
        stage.in_step(34);
    }
}

#[test]
fn a_takeover_without_a_gap_misses_no_tick() {
    let mut stage = Stage::new(config(25));
    stage.play(merged([both(25, 0, 10_000, 0), begin_at(10_000, both(25, 10_010, 20_000, 77_000))]), 20_000);
    assert_eq!(kinds(&stage), ["live"]);
    stage.in_step(41);
    assert!(stage.continuity.stats().silent_samples < 1_000, "{:?}", stage.continuity.stats());
}

#[test]
fn sound_of_a_contribution_that_comes_before_its_pictures_waits_for_them() {
    let mut stage = Stage::new(config(25));
    let next = merged([sound(160, 10_000, 20_000, 500), pictures(25, 10_000, 20_000, 500)]);
    let late = next.into_iter().map(|(comes, event)| match event {
        Event::Picture(..) => (comes + ms(200), event),
        other => (comes, other),
    });
    let next = begin_at(10_000, merged([late.collect()]));
    stage.play(merged([both(25, 0, 10_000, 0), next]), 20_000);
    stage.in_step(41);
    assert!(stage.continuity.stats().silent_samples < 4_000, "{:?}", stage.continuity.stats());
}

#[test]
fn pictures_go_on_when_the_sound_ends() {
    let mut stage = Stage::new(config(25));
    stage.play(merged([pictures(25, 0, 20_000, 0), sound(160, 0, 8_000, 0), sound(160, 15_000, 20_000, 0)]), 20_000);
    assert_eq!(kinds(&stage), ["live"]);
    let silent = stage.continuity.stats().silent_samples as i64;
    assert!((silent - 7 * 8_000).abs() < 1_000, "{silent}");
    stage.in_step(1);
}

#[test]
fn the_picture_is_held_while_sound_goes_on() {
    let mut stage = Stage::new(config(25));
    let events = merged([pictures(25, 0, 8_000, 0), pictures(25, 15_000, 20_000, 0), sound(160, 0, 20_000, 0)]);
    stage.play(events, 20_000);
    assert_eq!(kinds(&stage), ["live", "held", "live"]);
    assert_eq!(stage.continuity.stats().silent_samples, 0);
    assert!(stage.most_behind <= ms(301));
    stage.in_step(1);
}

#[test]
fn sound_that_comes_back_a_little_late_is_heard_all_the_same() {
    let mut stage = Stage::new(config(25));
    let late = sound(160, 12_000, 30_000, 0).into_iter().map(|(comes, event)| (comes + ms(900), event));
    stage.play(merged([pictures(25, 0, 30_000, 0), sound(160, 0, 8_000, 0), late.collect()]), 30_000);
    assert!(stage.heard > 8_000 * (8 + 15), "{}", stage.heard);
    stage.in_step(1);
}

#[test]
fn media_far_ahead_of_the_clock_moves_back() {
    let mut stage = Stage::new(config(25));
    // 5 s of media come at once, twice; then the encoder's clock jumps 6 s ahead.
    let mut events = both(25, 0, 60_000, 0);
    for (comes, _) in &mut events {
        let at = comes.as_millis();
        *comes = ms(if at < 10_000 {
            at
        } else if at < 15_000 {
            10_000
        } else {
            at - 5_000
        });
    }
    let mut events: Events = events.into_iter().filter(|(comes, _)| *comes < ms(40_000)).collect();
    events.extend(both(25, 40_000, 50_000, 11_000));
    stage.play(events, 50_000);
    assert!(stage.most_ahead <= ms(1_050), "{:?}", stage.most_ahead);
    let counts = stage.continuity.stats();
    assert!(counts.early_frames >= 100 && counts.slate == 0, "{counts:?}");
    stage.in_step(41);
    assert!(stage.ticks.last().is_some_and(|tick| tick.seen == Seen::Live(ms(49_960))));
}

#[test]
fn gaps_of_three_seconds_every_twenty_do_not_add_up() {
    for network_keeps in [false, true] {
        let mut stage = Stage::new(config(25));
        let mut events = both(25, 0, 600_000, 0);
        for gap in (10_000..600_000).step_by(20_000) {
            events = if network_keeps { kept_back(events, gap, gap + 3_000) } else { lost(events, gap, gap + 3_000) };
        }
        stage.play(events, 600_000);
        assert!(stage.most_behind <= ms(350) && stage.most_ahead <= ms(600), "{:?}", stage.most_ahead);
        assert_eq!(stage.continuity.stats().shifts, 0);
        assert_eq!(kinds(&stage).iter().filter(|kind| **kind == "slate").count(), 30);
        stage.in_step(41);
    }
}

#[test]
fn encoders_that_begin_again_every_twenty_seconds_do_not_add_up() {
    let mut stage = Stage::new(config(30));
    // Laid end to end, as the splice does it: media time stands still in each gap.
    let all = (0..30).map(|n| {
        let from = n * 20_000;
        begin_at(from, both(if n % 2 == 0 { 25 } else { 30 }, from + 10, from + 17_000, -3_000 * n))
    });
    stage.play(merged(all), 600_000);
    assert!(stage.most_behind <= ms(350) && stage.most_ahead <= ms(600));
    assert_eq!(stage.continuity.stats().shifts, 29);
    stage.in_step(34);
}

#[test]
fn a_gap_of_59_seconds_is_one_like_any_other() {
    let mut stage = Stage::new(config(25));
    stage.play(merged([both(25, 0, 10_000, 0), begin_at(69_000, both(25, 69_000, 80_000, -59_000))]), 80_000);
    assert_eq!(kinds(&stage), ["live", "held", "slate", "live"]);
    assert!(stage.most_behind <= ms(301));
    stage.in_step(41);
}

#[test]
fn an_hour_of_drops_leaves_nothing_behind() {
    let mut stage = Stage::new(config(25));
    for minute in 0..60 {
        let from = minute * 60_000;
        let events = both(25, from, from + 55_000, -5_000 * minute);
        stage.play(begin_at(from, events), from + 60_000);
        stage.in_step(41);
        stage.offsets.clear();
        stage.ticks.iter().for_each(|tick| assert!(tick.left - tick.at <= ms(301)));
    }
    assert!(stage.most_waiting.0 <= 2 && stage.most_waiting.1 <= 8_000, "{:?}", stage.most_waiting);
    assert!(stage.most_ahead <= ms(200));
}

#[test]
fn a_caller_that_was_away_hands_in_what_waited_before_the_clock_counts() {
    let mut stage = Stage::new(config(25));
    let mut known = Vec::new();
    let mut give = |stage: &mut Stage, from: i64, to: i64, now: i64| {
        for (_, event) in both(25, from, to, 0) {
            match event {
                Event::Picture(pts, taken) => stage.continuity.picture(pts, taken, ms(now)),
                Event::Sound(pts, _, count) => stage.continuity.sound(0, pts, vec![0.5; count as usize], ms(now)),
                Event::Begin => {}
            }
            known.extend(std::iter::from_fn(|| stage.continuity.poll_known()));
        }
    };
    give(&mut stage, 0, 1_000, 1_000);
    give(&mut stage, 1_000, 1_900, 1_900);
    assert_eq!(stage.continuity.stats().live, 48);
    assert_eq!(stage.continuity.stats().held + stage.continuity.stats().late_frames, 0);
    // The clock says the same once all of it is in.
    assert!(stage.continuity.poll(ms(1_900)).is_none_or(|output| matches!(output, Output::Audio { .. })));
}

#[test]
fn an_encoder_that_is_too_slow_is_kept_up_with() {
    let mut stage = Stage::new(config(25));
    let mut events = both(25, 0, 54_000, 0);
    // Nine seconds of media in ten.
    events.iter_mut().for_each(|(comes, _)| *comes += ms(comes.as_millis() / 9));
    stage.play(events, 60_000);
    let counts = stage.continuity.stats();
    assert!(stage.most_behind <= ms(350), "{:?}", stage.most_behind);
    assert!(counts.live >= 1_000 && counts.slate <= 5, "{counts:?}");
    stage.in_step(81);
}
