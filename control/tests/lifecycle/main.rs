//! The lifecycle on virtual time: tables of transitions, and properties of every sequence of inputs.
#![allow(clippy::unwrap_used)] // The helpers of tests are tests too.

mod simulcast;

use control::lifecycle::{
    DisconnectReason, Effect, Event, Input, Phase, Protocol, Rules, Severity, SimulcastStatus, State, TEST_LIMIT,
    deadline, step,
};
use media::id::{BroadcastId, ContributionId, SimulcastTargetId};
use media::{TimeDelta, WallTime};
use proptest::prelude::*;

const RULES: Rules = rules(TimeDelta::from_secs(60), false);
const NO_WINDOW: Rules = rules(TimeDelta::ZERO, false);
const TEST: Rules = rules(TimeDelta::from_secs(60), true);

const fn rules(reconnect_window: TimeDelta, test: bool) -> Rules {
    let max_continuous_duration = TimeDelta::from_secs(3_600);
    Rules { reconnect_window, max_continuous_duration, test, simulcast_targets: Vec::new(), can_simulcast: true }
}

fn contribution(name: &str) -> ContributionId {
    name.parse().unwrap()
}

fn broadcast(name: &str) -> BroadcastId {
    name.parse().unwrap()
}

fn target(name: &str) -> SimulcastTargetId {
    name.parse().unwrap()
}

fn reported(broadcast_id: &str, target_id: &str, status: SimulcastStatus) -> Input {
    Input::SimulcastReported { broadcast: broadcast(broadcast_id), target: target(target_id), status }
}

/// Parses an input. `connected a 1` is encoder a, with 1 as the id for a new broadcast; `1 t normal x` reports for
/// target t of broadcast 1 an error that is not fatal, with the reason x.
fn input(text: &str) -> Input {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["connected", c, b] => {
            Input::Connected { contribution: contribution(c), broadcast: broadcast(b), protocol: Protocol::Rtmp }
        }
        ["flowing", c] => Input::Flowing { contribution: contribution(c) },
        ["disconnected", c] => Input::Disconnected { contribution: contribution(c) },
        ["added", t] => Input::SimulcastTargetAdded(target(t)),
        ["removed", t] => Input::SimulcastTargetRemoved(target(t)),
        [b, t, "starting"] => reported(b, t, SimulcastStatus::Starting),
        [b, t, "broadcasting"] => reported(b, t, SimulcastStatus::Broadcasting),
        [b, t, severity @ ("normal" | "fatal"), reason] => {
            let severity = if *severity == "fatal" { Severity::Fatal } else { Severity::Normal };
            reported(b, t, SimulcastStatus::Errored { severity, reason: (*reason).to_owned() })
        }
        ["create"] => Input::Created,
        ["tick"] => Input::Tick,
        ["disable"] => Input::Disable,
        ["enable"] => Input::Enable,
        ["complete"] => Input::Complete,
        ["delete"] => Input::Deleted,
        ["restart"] => Input::Restarted,
        ["reset"] => Input::KeyReset,
        ["update"] => Input::Updated,
        _ => panic!("{text}"),
    }
}

fn print(effect: &Effect) -> String {
    match effect {
        Effect::StartBroadcast(b) => format!("start {b}"),
        Effect::EndBroadcast(b) => format!("end {b}"),
        Effect::DisconnectEncoder { contribution, reason } => format!("kick {contribution} {reason:?}"),
        Effect::StartSimulcastTarget(b, t) => format!("start {t} of {b}"),
        Effect::StopSimulcastTarget(b, t) => format!("stop {t} of {b}"),
        Effect::Event(Event::SimulcastTarget(t, event)) => {
            format!("{t} {}", event.as_str().trim_start_matches("video.live_stream.simulcast_target."))
        }
        Effect::Event(event) => event.as_str().trim_start_matches("video.live_stream.").to_owned(),
    }
}

/// Steps a live stream through inputs at times in seconds, and compares the effects of each.
fn run(rules: &Rules, steps: &[(i64, &str, &str)]) -> State {
    let mut state = State::default();
    for (at, text, expected) in steps {
        let now = WallTime::from_unix_millis(at * 1_000);
        let (next, effects) = step(state, rules, input(text), now);
        let printed: Vec<String> = effects.iter().map(print).collect();
        assert_eq!(printed.join(", "), *expected, "{text} at {at} s");
        state = next;
    }
    state
}

#[test]
fn a_plain_broadcast() {
    let state = run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "flowing a", "recording, active"),
            (2, "flowing a", ""),
            (9, "disconnected a", "disconnected"),
            (68, "tick", ""),
            (69, "tick", "end 1, idle"),
            (99, "tick", ""),
        ],
    );
    assert_eq!(state, State::default());
}

#[test]
fn a_returning_encoder_continues_its_broadcast() {
    let state = run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "flowing a", "recording, active"),
            (9, "disconnected a", "disconnected"),
            (20, "connected b 2", "connected"),
            (80, "tick", ""),
            (81, "flowing b", "active"),
        ],
    );
    assert_eq!(state.broadcast.as_ref().map(|b| b.id.to_string()), Some("1".to_owned()));
    assert_eq!((state.phase(), state.protocol()), (Phase::Active, Some(Protocol::Rtmp)));
}

#[test]
fn a_late_timer_changes_no_outcome() {
    run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "flowing a", "recording, active"),
            (9, "disconnected a", "disconnected"),
            (70, "connected b 2", "end 1, idle, start 2, connected"),
        ],
    );
}

#[test]
fn without_a_window_a_disconnect_ends_the_broadcast() {
    run(
        &NO_WINDOW,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "flowing a", "recording, active"),
            (9, "disconnected a", "disconnected, end 1, idle"),
            (9, "connected b 2", "start 2, connected"),
        ],
    );
}

#[test]
fn an_encoder_without_media_leaves_nothing_to_wait_for() {
    run(&RULES, &[(0, "connected a 1", "start 1, connected"), (1, "disconnected a", "disconnected, end 1, idle")]);
    run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "flowing a", "recording, active"),
            (2, "disconnected a", "disconnected"),
            (3, "connected b 2", "connected"),
            (4, "disconnected b", "disconnected"),
            (63, "tick", ""),
            (64, "tick", "end 1, idle"),
        ],
    );
}

#[test]
fn a_takeover_emits_no_event_and_disconnects_the_stale_encoder() {
    let state = run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "connected b 2", "kick a TakenOver"),
            (1, "disconnected a", ""),
            (2, "flowing a", ""),
            (2, "flowing b", "recording, active"),
            (3, "connected b 3", ""),
            (4, "connected c 4", "kick b TakenOver"),
            (4, "disconnected b", ""),
            (5, "flowing c", ""),
        ],
    );
    assert_eq!((state.phase(), state.is_active()), (Phase::Active, true));
}

#[test]
fn the_longest_duration_counts_from_the_first_media() {
    run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (10, "flowing a", "recording, active"),
            (3_599, "disconnected a", "disconnected"),
            (3_601, "connected b 2", "connected"),
            (3_602, "flowing b", "active"),
            (3_609, "tick", ""),
            (3_610, "tick", "kick b MaxDuration, disconnected, end 1, idle"),
            (3_610, "disconnected b", ""),
            (3_611, "connected c 3", "start 3, connected"),
        ],
    );
}

#[test]
fn the_reconnect_window_does_not_outlast_the_longest_duration() {
    let state = run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (0, "flowing a", "recording, active"),
            (3_590, "disconnected a", "disconnected"),
        ],
    );
    assert_eq!(deadline(&state, &RULES), Some(WallTime::from_unix_millis(3_600_000)));
}

#[test]
fn a_test_stream_is_disabled_after_five_minutes() {
    let state = run(
        &TEST,
        &[
            (0, "connected a 1", "start 1, connected"),
            (10, "flowing a", "recording, active"),
            (309, "tick", ""),
            (310, "tick", "kick a MaxDuration, disconnected, end 1, idle, disabled"),
            (311, "connected b 2", "kick b Disabled"),
            (312, "enable", "enabled"),
            (313, "connected c 3", "start 3, connected"),
            // The encoder was never active, so it is only disconnected.
            (613, "tick", "kick c MaxDuration, disconnected, end 3, idle"),
        ],
    );
    assert!(state.enabled && TEST_LIMIT == TimeDelta::from_secs(300));
}

#[test]
fn complete_disable_and_delete_end_the_broadcast_at_once() {
    let live = [(0, "connected a 1", "start 1, connected"), (1, "flowing a", "recording, active")];
    let with = |last: (i64, &'static str, &'static str)| [live[0], live[1], last];
    run(&RULES, &with((2, "complete", "kick a Completed, disconnected, end 1, idle")));
    run(&RULES, &with((2, "disable", "kick a Disabled, disconnected, end 1, idle, disabled")));
    run(&RULES, &with((2, "delete", "kick a Deleted, disconnected, end 1, idle, deleted")));
    run(
        &RULES,
        &[live[0], live[1], (2, "disconnected a", "disconnected"), (3, "complete", "end 1, idle"), (4, "complete", "")],
    );
    run(&RULES, &[(0, "complete", ""), (1, "disable", "disabled"), (2, "disable", ""), (3, "complete", "")]);
    run(&RULES, &[(0, "enable", ""), (1, "disable", "disabled"), (2, "enable", "enabled")]);
    run(&RULES, &[(0, "delete", "deleted")]);
}

#[test]
fn a_new_key_disconnects_the_encoder_and_keeps_the_broadcast() {
    run(
        &RULES,
        &[
            (0, "reset", "updated"),
            (1, "connected a 1", "start 1, connected"),
            (2, "flowing a", "recording, active"),
            (3, "reset", "kick a KeyReset, disconnected, updated"),
            (4, "reset", "updated"),
            (5, "connected b 2", "connected"),
        ],
    );
}

#[test]
fn after_a_restart_a_broadcast_ends_once() {
    run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "flowing a", "recording, active"),
            (2, "restart", "disconnected, end 1, idle"),
            (3, "restart", ""),
        ],
    );
    run(
        &RULES,
        &[
            (0, "connected a 1", "start 1, connected"),
            (1, "flowing a", "recording, active"),
            (2, "disconnected a", "disconnected"),
            (3, "restart", "end 1, idle"),
        ],
    );
}

fn any_input() -> impl Strategy<Value = Input> {
    let encoder = prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        4 => (encoder.clone(), "[0-9]{6}").prop_map(|(c, b)| input(&format!("connected {c} {b}"))),
        4 => encoder.clone().prop_map(|c| input(&format!("flowing {c}"))),
        3 => encoder.prop_map(|c| input(&format!("disconnected {c}"))),
        4 => Just(Input::Tick),
        1 => prop::sample::select(vec!["disable", "enable", "complete", "restart", "reset", "update"]).prop_map(input),
    ]
}

/// State of the outside, to check that each effect fits it.
#[derive(Default)]
struct Watcher {
    broadcast: Option<BroadcastId>,
    encoder: bool,
    recorded: bool,
    playing: bool,
    disabled: bool,
}

impl Watcher {
    fn see(&mut self, effect: &Effect) -> Result<(), TestCaseError> {
        match effect {
            Effect::StartBroadcast(b) => {
                prop_assert!(self.broadcast.is_none() && !self.disabled);
                (self.broadcast, self.recorded) = (Some(b.clone()), false);
            }
            Effect::EndBroadcast(b) => {
                prop_assert!(self.broadcast.as_ref() == Some(b) && !self.encoder);
            }
            Effect::DisconnectEncoder { reason: DisconnectReason::TakenOver, .. } => prop_assert!(self.encoder),
            Effect::DisconnectEncoder { reason: DisconnectReason::Disabled, .. } => {
                prop_assert!(self.encoder || self.disabled);
            }
            Effect::DisconnectEncoder { .. } => prop_assert!(self.encoder),
            Effect::Event(Event::Connected) => {
                prop_assert!(self.broadcast.is_some() && !self.encoder);
                self.encoder = true;
            }
            Effect::Event(Event::Recording) => {
                prop_assert!(self.encoder && !self.recorded);
                self.recorded = true;
            }
            Effect::Event(Event::Active) => {
                prop_assert!(self.encoder && self.recorded && !self.playing);
                self.playing = true;
            }
            Effect::Event(Event::Disconnected) => {
                prop_assert!(self.encoder);
                (self.encoder, self.playing) = (false, false);
            }
            Effect::Event(Event::Idle) => {
                prop_assert!(self.broadcast.take().is_some() && !self.encoder);
            }
            Effect::Event(Event::Disabled) => {
                prop_assert!(!self.disabled && self.broadcast.is_none());
                self.disabled = true;
            }
            Effect::Event(Event::Enabled) => prop_assert!(std::mem::take(&mut self.disabled)),
            Effect::Event(Event::Created | Event::Updated | Event::Deleted | Event::Warning(_)) => {}
            Effect::StartSimulcastTarget(..)
            | Effect::StopSimulcastTarget(..)
            | Effect::Event(Event::SimulcastTarget(..)) => {}
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn effects_and_events_come_in_order_and_once(
        window in 0i64..100,
        test in any::<bool>(),
        inputs in prop::collection::vec((0i64..90, any_input()), 0..120),
    ) {
        let rules = Rules { reconnect_window: TimeDelta::from_secs(window), test, ..RULES };
        let (mut state, mut watcher, mut now) = (State::default(), Watcher::default(), WallTime::default());
        for (passed, input) in inputs {
            now = now.shifted(TimeDelta::from_secs(passed));
            let (next, effects) = step(state, &rules, input, now);
            for effect in &effects {
                watcher.see(effect)?;
            }
            prop_assert_eq!(next.broadcast.as_ref().map(|b| &b.id), watcher.broadcast.as_ref());
            prop_assert_eq!(next.protocol().is_some(), watcher.encoder);
            prop_assert_eq!(next.phase() == Phase::Active, watcher.playing);
            prop_assert_eq!(next.enabled, !watcher.disabled);
            prop_assert!(deadline(&next, &rules).is_none_or(|at| at > now), "no deadline has passed");
            state = next;
        }
    }
}
