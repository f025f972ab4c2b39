//! Simulcast targets in the lifecycle.

use std::collections::{BTreeMap, BTreeSet};

use control::lifecycle::{Effect, Event, Input, Rules, Severity, SimulcastEvent, SimulcastStatus, State, step};
use media::id::{BroadcastId, SimulcastTargetId};
use media::{TimeDelta, WallTime};
use proptest::prelude::*;

use super::{NO_WINDOW, RULES, any_input, broadcast, input, run, target};

fn with_targets(rules: &Rules, names: &[&str]) -> Rules {
    Rules { simulcast_targets: names.iter().map(|name| target(name)).collect(), ..rules.clone() }
}

#[test]
fn targets_start_and_stop_with_the_broadcast() {
    let state = run(
        &with_targets(&RULES, &["t", "u"]),
        &[
            (0, "create", "created, t created, u created"),
            (1, "connected a 1", "start 1, connected, start t of 1, t starting, start u of 1, u starting"),
            (2, "1 t starting", ""),
            (2, "flowing a", "recording, active"),
            (3, "1 t broadcasting", "t broadcasting"),
            (4, "1 t broadcasting", ""),
            (9, "disconnected a", "disconnected"),
            (20, "connected b 2", "connected"),
            (21, "flowing b", "active"),
            (22, "complete", "kick b Completed, disconnected, end 1, t idle, u idle, idle"),
            (23, "1 t broadcasting", ""),
        ],
    );
    assert_eq!(state, State::default());
}

#[test]
fn an_error_is_retried_until_it_is_fatal() {
    let rules = with_targets(&NO_WINDOW, &["t"]);
    let state = run(
        &rules,
        &[
            (0, "connected a 1", "start 1, connected, start t of 1, t starting"),
            (1, "1 t normal refused", "t errored"),
            (2, "1 t normal refused", ""),
            (2, "1 t starting", ""),
            (3, "1 t normal timeout", "t updated"),
            (4, "1 t broadcasting", "t broadcasting"),
            (5, "1 t normal lost", "t errored"),
            (6, "1 t fatal key", "t errored"),
            (7, "1 t broadcasting", ""),
            (8, "1 t normal lost", ""),
            (8, "1 t fatal codec", ""),
        ],
    );
    let fatal = SimulcastStatus::Errored { severity: Severity::Fatal, reason: "key".to_owned() };
    assert_eq!(state.simulcast_status(&target("t")), Some(&fatal));
    run(
        &rules,
        &[
            (0, "connected a 1", "start 1, connected, start t of 1, t starting"),
            (1, "1 t fatal key", "t errored"),
            (2, "disconnected a", "disconnected, end 1, t idle, idle"),
            (3, "connected b 2", "start 2, connected, start t of 2, t starting"),
            // Reports of the earlier broadcast and of a broadcast that never was.
            (4, "1 t broadcasting", ""),
            (4, "3 t broadcasting", ""),
            (5, "2 u broadcasting", ""),
            (6, "2 t broadcasting", "t broadcasting"),
        ],
    );
}

#[test]
fn targets_are_added_and_removed_during_a_broadcast() {
    let state = run(
        &RULES,
        &[
            (0, "added t", "t created"),
            (1, "removed t", "t deleted"),
            (2, "connected a 1", "start 1, connected"),
            (3, "added t", "t created, start t of 1, t starting"),
            (4, "1 t broadcasting", "t broadcasting"),
            (5, "removed t", "stop t of 1, t idle, t deleted"),
            (6, "1 t broadcasting", ""),
            (7, "flowing a", "recording, active"),
            (8, "disconnected a", "disconnected"),
            (9, "added u", "u created, start u of 1, u starting"),
            (10, "1 u fatal key", "u errored"),
            (11, "removed u", "stop u of 1, u idle, u deleted"),
            // The reconnect window is over, so the target starts with the next broadcast only.
            (69, "added v", "end 1, idle, v created"),
        ],
    );
    assert_eq!(state, State::default());
}

#[test]
fn the_end_of_a_live_stream_and_of_the_server_stops_targets() {
    let live = [
        (0, "connected a 1", "start 1, connected, start t of 1, t starting"),
        (1, "1 t broadcasting", "t broadcasting"),
    ];
    for last in [
        (2, "delete", "kick a Deleted, disconnected, end 1, t idle, idle, t deleted, deleted"),
        (2, "disable", "kick a Disabled, disconnected, end 1, t idle, idle, disabled"),
        (2, "restart", "disconnected, end 1, t idle, idle"),
        (3_600, "tick", "kick a MaxDuration, disconnected, end 1, t idle, idle"),
    ] {
        run(&with_targets(&RULES, &["t"]), &[live[0], live[1], last]);
    }
}

#[test]
fn targets_stay_idle_where_the_server_cannot_simulcast() {
    let state = run(
        &Rules { can_simulcast: false, ..with_targets(&RULES, &["t"]) },
        &[
            (0, "create", "created, t created"),
            (1, "connected a 1", "start 1, connected"),
            (2, "added u", "u created"),
            (3, "1 t broadcasting", ""),
            (4, "removed t", "t deleted"),
        ],
    );
    assert_eq!(state.simulcast_status(&target("t")), None);
}

#[test]
fn a_state_is_stored_and_read_with_its_targets() {
    let state = run(
        &with_targets(&RULES, &["t", "u"]),
        &[
            (0, "connected a 1", "start 1, connected, start t of 1, t starting, start u of 1, u starting"),
            (1, "1 u normal refused", "u errored"),
        ],
    );
    let json = serde_json::to_value(&state).unwrap();
    assert_eq!(
        json["broadcast"]["simulcast_targets"],
        serde_json::json!([
            {"id": "t", "status": {"is": "starting"}},
            {"id": "u", "status": {"is": "errored", "severity": "normal", "reason": "refused"}},
        ])
    );
    assert_eq!(serde_json::from_value::<State>(json.clone()).unwrap(), state);
    // A state that an earlier version stored.
    let mut earlier = json;
    earlier["broadcast"].as_object_mut().unwrap().remove("simulcast_targets");
    let state: State = serde_json::from_value(earlier).unwrap();
    assert_eq!(state.simulcast_status(&target("t")), None);
}

fn any_simulcast_input() -> impl Strategy<Value = Input> {
    let name = prop::sample::select(vec!["t", "u", "v"]);
    let report = prop::sample::select(vec![
        "starting",
        "broadcasting",
        "broadcasting",
        "normal refused",
        "normal timeout",
        "fatal key",
    ]);
    prop_oneof![
        5 => any_input(),
        1 => name.clone().prop_map(|t| input(&format!("added {t}"))),
        1 => name.clone().prop_map(|t| input(&format!("removed {t}"))),
        // `current` is replaced by the running broadcast.
        5 => (name.clone(), report.clone()).prop_map(|(t, report)| input(&format!("current {t} {report}"))),
        1 => (name, report).prop_map(|(t, report)| input(&format!("stale {t} {report}"))),
    ]
}

/// Live stream as a subscriber and the sender know it from effects alone.
#[derive(Default)]
struct Watcher {
    broadcast: Option<BroadcastId>,
    /// Targets that exist.
    created: BTreeSet<SimulcastTargetId>,
    /// Targets that the sender sends to.
    sending: BTreeSet<SimulcastTargetId>,
    /// Newest event of each target that is not idle.
    newest: BTreeMap<SimulcastTargetId, SimulcastEvent>,
}

impl Watcher {
    fn see(&mut self, effect: &Effect) -> Result<(), TestCaseError> {
        match effect {
            Effect::StartBroadcast(id) => self.broadcast = Some(id.clone()),
            Effect::EndBroadcast(id) => {
                prop_assert!(self.broadcast.take().as_ref() == Some(id));
                self.sending.clear();
            }
            Effect::StartSimulcastTarget(id, target) => {
                prop_assert!(self.broadcast.as_ref() == Some(id) && self.created.contains(target));
                prop_assert!(self.sending.insert(target.clone()));
            }
            Effect::StopSimulcastTarget(id, target) => {
                prop_assert!(self.broadcast.as_ref() == Some(id) && self.sending.remove(target));
            }
            Effect::Event(Event::Idle) => prop_assert!(self.newest.is_empty()),
            Effect::Event(Event::SimulcastTarget(target, event)) => self.see_event(target, *event)?,
            _ => {}
        }
        Ok(())
    }

    fn see_event(&mut self, target: &SimulcastTargetId, event: SimulcastEvent) -> Result<(), TestCaseError> {
        use SimulcastEvent::{Broadcasting, Created, Deleted, Errored, Idle, Starting, Updated};

        let before = self.newest.get(target).copied();
        match event {
            Created => prop_assert!(self.created.insert(target.clone())),
            Deleted => prop_assert!(before.is_none() && self.created.remove(target)),
            Starting => prop_assert!(before.is_none() && self.sending.contains(target)),
            Broadcasting => prop_assert!(matches!(before, Some(Starting | Errored | Updated))),
            Errored => prop_assert!(before.is_some()),
            Updated => prop_assert!(matches!(before, Some(Errored | Updated))),
            Idle => prop_assert!(before.is_some() && !self.sending.contains(target)),
        }
        match event {
            Created | Deleted | Idle => self.newest.remove(target),
            _ => self.newest.insert(target.clone(), event),
        };
        Ok(())
    }

    /// Checks that the state agrees with the newest event of each target.
    fn compare(&self, state: &State) -> Result<(), TestCaseError> {
        prop_assert_eq!(state.broadcast.as_ref().map(|b| &b.id), self.broadcast.as_ref());
        for name in ["t", "u", "v"] {
            let status = state.simulcast_status(&target(name));
            let expected = match self.newest.get(&target(name)) {
                None => status.is_none(),
                Some(SimulcastEvent::Starting) => status == Some(&SimulcastStatus::Starting),
                Some(SimulcastEvent::Broadcasting) => status == Some(&SimulcastStatus::Broadcasting),
                Some(_) => matches!(status, Some(SimulcastStatus::Errored { .. })),
            };
            prop_assert!(expected, "{name}: {status:?}");
            prop_assert_eq!(status.is_some(), self.sending.contains(&target(name)));
        }
        Ok(())
    }
}

/// Returns the events of a target among the effects.
fn events_of(effects: &[Effect], target: &SimulcastTargetId) -> Vec<SimulcastEvent> {
    let event = |effect: &Effect| match effect {
        Effect::Event(Event::SimulcastTarget(of, event)) if of == target => Some(*event),
        _ => None,
    };
    effects.iter().filter_map(event).collect()
}

fn is_fatal(status: Option<&SimulcastStatus>) -> bool {
    matches!(status, Some(SimulcastStatus::Errored { severity: Severity::Fatal, .. }))
}

/// Checks a step for each target: only a current report moves it while it is not idle, and nothing but idle follows a
/// fatal error.
fn check_step(before: &State, input: &Input, effects: &[Effect]) -> Result<(), TestCaseError> {
    use SimulcastEvent::{Broadcasting, Errored, Idle, Updated};

    for name in ["t", "u", "v"].map(target) {
        let events = events_of(effects, &name);
        let was_reported = matches!(
            input,
            Input::SimulcastReported { broadcast, target, .. }
                if *target == name && before.broadcast.as_ref().is_some_and(|running| running.id == *broadcast)
        );
        let is_report = |event: &SimulcastEvent| matches!(event, Broadcasting | Errored | Updated);
        prop_assert!(was_reported || !events.iter().any(is_report), "{events:?}");
        if is_fatal(before.simulcast_status(&name)) {
            prop_assert!(events.first().is_none_or(|first| *first == Idle), "{events:?}");
        }
    }
    Ok(())
}

/// Applies to the settings what the API changes together with the input, and replaces the broadcast `current`. Returns
/// `None` for a change that the API refuses.
fn settle(rules: &mut Rules, state: &State, mut input: Input) -> Option<Input> {
    let targets = &mut rules.simulcast_targets;
    match &mut input {
        Input::SimulcastTargetAdded(target) if targets.contains(target) => return None,
        Input::SimulcastTargetAdded(target) => targets.push(target.clone()),
        Input::SimulcastTargetRemoved(target) => {
            let position = targets.iter().position(|other| other == target)?;
            targets.remove(position);
        }
        Input::SimulcastReported { broadcast: of, .. } if *of == broadcast("current") => {
            *of = state.broadcast.as_ref()?.id.clone();
        }
        _ => {}
    }
    Some(input)
}

proptest! {
    #[test]
    fn statuses_and_events_of_targets_agree(
        window in 0i64..100,
        can_simulcast in prop::bool::weighted(0.9),
        inputs in prop::collection::vec((0i64..40, any_simulcast_input()), 0..150),
    ) {
        let mut rules = Rules { reconnect_window: TimeDelta::from_secs(window), can_simulcast, ..RULES };
        let (mut state, mut watcher, mut now) = (State::default(), Watcher::default(), WallTime::default());
        for (passed, input) in inputs {
            now = now.shifted(TimeDelta::from_secs(passed));
            let Some(input) = settle(&mut rules, &state, input) else { continue };
            let (next, effects) = step(state.clone(), &rules, input.clone(), now);
            for effect in &effects {
                watcher.see(effect)?;
            }
            watcher.compare(&next)?;
            check_step(&state, &input, &effects)?;
            prop_assert!(can_simulcast || watcher.newest.is_empty());
            state = next;
        }
        let (state, effects) = step(state, &rules, Input::Restarted, now);
        for effect in &effects {
            watcher.see(effect)?;
        }
        watcher.compare(&state)?;
        prop_assert!(watcher.newest.is_empty() && watcher.sending.is_empty());
    }
}
