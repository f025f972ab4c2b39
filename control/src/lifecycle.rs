//! The lifecycle of a live stream as a pure state machine: (state, input, now) → (state, effects).
//!
//! Every change of a [`State`] is made by [`step`], which reads no clock and touches nothing outside. A broadcast lasts
//! from the first `connected` to `idle`, over any number of encoder connections within the reconnect window:
//!
//! ```text
//! idle ──Connected──► connected ──Flowing──► active ──Disconnected──► disconnected ──window over──► idle
//!                         ▲                                                │
//!                         └───────────────────Connected────────────────────┘
//! ```
//!
//! The [`Event`] `recording` is emitted once for each broadcast, and `active` each time that media begins to flow. An
//! encoder that takes over from another one of the same live stream continues the broadcast in the same [`Phase`], so
//! no event is emitted. A broadcast without media does not wait for an encoder to return.
//!
//! Simulcast targets start with the broadcast and stop with it, so they last over reconnects of the encoder. See
//! [`SimulcastTargets`].

mod event;
mod simulcast;
mod state;

use media::id::{BroadcastId, ContributionId, SimulcastTargetId};
use media::{TimeDelta, WallTime};

pub use event::{Event, Warning};
pub use simulcast::{Severity, SimulcastEvent, SimulcastStatus, SimulcastTargets};
pub use state::{Broadcast, Encoder, Phase, Protocol, State};

/// Duration of a broadcast, from its first media, after which a test live stream is disabled.
pub const TEST_LIMIT: TimeDelta = TimeDelta::from_secs(5 * 60);

/// The settings of a live stream that its lifecycle depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Time that an encoder may be absent before the broadcast ends; 0 ends it at once.
    pub reconnect_window: TimeDelta,
    /// Longest duration of a broadcast, from its first media or, until there is any, from its first encoder.
    pub max_continuous_duration: TimeDelta,
    /// Whether the live stream is disabled after [`TEST_LIMIT`].
    pub test: bool,
    /// Simulcast targets of the live stream.
    pub simulcast_targets: Vec<SimulcastTargetId>,
    /// Whether the server can send to simulcast targets. If not, all of them stay idle.
    pub can_simulcast: bool,
}

/// An input of the state machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The live stream was created.
    Created,
    /// Settings of the live stream were changed.
    Updated,
    /// A problem with the media occurred. It does not change the state.
    Warned(Warning),
    /// The stream key was replaced, so an encoder that publishes with the old key must be disconnected.
    KeyReset,
    /// An encoder was accepted.
    Connected {
        /// The encoder's connection.
        contribution: ContributionId,
        /// Id for the broadcast, if this input starts one.
        broadcast: BroadcastId,
        /// Protocol of the connection.
        protocol: Protocol,
    },
    /// The first media of this connection can be played.
    Flowing {
        /// The encoder's connection.
        contribution: ContributionId,
    },
    /// An encoder left.
    Disconnected {
        /// The encoder's connection.
        contribution: ContributionId,
    },
    /// Time has passed; sent at the [`deadline`].
    Tick,
    /// Encoders are to be refused.
    Disable,
    /// Encoders are to be accepted again.
    Enable,
    /// The broadcast is to end now.
    Complete,
    /// The live stream was deleted.
    Deleted,
    /// This simulcast target was added to the [`Rules`].
    SimulcastTargetAdded(SimulcastTargetId),
    /// This simulcast target was removed from the [`Rules`].
    SimulcastTargetRemoved(SimulcastTargetId),
    /// The status of a simulcast target changed. Ignored if the broadcast or the target is no longer the current one.
    SimulcastReported {
        /// Broadcast that the target was started for.
        broadcast: BroadcastId,
        /// The simulcast target.
        target: SimulcastTargetId,
        /// Its status. After a failure, another attempt is not a change to [`SimulcastStatus::Starting`].
        status: SimulcastStatus,
    },
    /// The server restarted, so the encoders and reconnect windows of the previous process are gone.
    Restarted,
}

/// An effect that the caller of [`step`] carries out, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A broadcast begins.
    StartBroadcast(BroadcastId),
    /// A broadcast ends, so its playlists are to end too, and its simulcast targets get no more media. Also emitted for
    /// a broadcast of an earlier process.
    EndBroadcast(BroadcastId),
    /// Begin to send the broadcast to this simulcast target, and report its status with
    /// [`Input::SimulcastReported`].
    StartSimulcastTarget(BroadcastId, SimulcastTargetId),
    /// Stop sending the broadcast, which continues, to this simulcast target.
    StopSimulcastTarget(BroadcastId, SimulcastTargetId),
    /// Close this connection. Its [`Input::Disconnected`] is optional and has no effects.
    DisconnectEncoder {
        /// The connection to close.
        contribution: ContributionId,
        /// Reason, which is reported to the encoder and logged.
        reason: DisconnectReason,
    },
    /// Deliver this event to subscribers.
    Event(Event),
}

/// Reason for which an encoder is disconnected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisconnectReason {
    /// Another encoder connected with the same key.
    TakenOver,
    /// The live stream is disabled.
    Disabled,
    /// The broadcast was completed through the API.
    Completed,
    /// The live stream was deleted.
    Deleted,
    /// The stream key was replaced.
    KeyReset,
    /// The broadcast reached its longest duration.
    MaxDuration,
}

/// Returns the time at which the state changes without another input, and at which an [`Input::Tick`] is due.
pub fn deadline(state: &State, rules: &Rules) -> Option<WallTime> {
    let broadcast = state.broadcast.as_ref()?;
    let mut limit = rules.max_continuous_duration;
    if rules.test {
        limit = limit.min(TEST_LIMIT);
    }
    let max_duration = broadcast.since.shifted(limit);
    Some(match broadcast.encoder {
        Encoder::Gone { at } => max_duration.min(at.shifted(rules.reconnect_window)),
        _ => max_duration,
    })
}

/// Returns the next state and its effects.
///
/// A [`deadline`] that `now` has reached takes effect before the input does, so a late [`Input::Tick`] does not change
/// the outcome.
pub fn step(state: State, rules: &Rules, input: Input, now: WallTime) -> (State, Vec<Effect>) {
    let mut step = Step { state, rules, now, effects: Vec::new() };
    step.expire();
    match input {
        Input::Created => step.created(),
        Input::Updated => step.emit(Event::Updated),
        Input::Warned(warning) => step.emit(Event::Warning(warning)),
        Input::KeyReset => step.key_reset(),
        Input::Connected { contribution, broadcast, protocol } => step.connected(contribution, broadcast, protocol),
        Input::Flowing { contribution } => step.flowing(&contribution),
        Input::Disconnected { contribution } => step.disconnected(&contribution),
        Input::Tick => {}
        Input::Disable => step.disable(DisconnectReason::Disabled),
        Input::Enable => step.enable(),
        Input::Complete => step.end(Some(DisconnectReason::Completed)),
        Input::Deleted => step.deleted(),
        Input::SimulcastTargetAdded(target) => {
            step.emit_simulcast(&target, SimulcastEvent::Created);
            step.start_simulcast_target(&target);
        }
        Input::SimulcastTargetRemoved(target) => {
            step.stop_simulcast_target(&target);
            step.emit_simulcast(&target, SimulcastEvent::Deleted);
        }
        Input::SimulcastReported { broadcast, target, status } => step.simulcast_reported(&broadcast, &target, status),
        Input::Restarted => step.end(None),
    }
    (step.state, step.effects)
}

struct Step<'a> {
    state: State,
    rules: &'a Rules,
    now: WallTime,
    effects: Vec<Effect>,
}

impl Step<'_> {
    fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Event(event));
    }

    fn emit_simulcast(&mut self, target: &SimulcastTargetId, event: SimulcastEvent) {
        self.emit(Event::SimulcastTarget(target.clone(), event));
    }

    fn created(&mut self) {
        self.emit(Event::Created);
        let rules = self.rules;
        for target in &rules.simulcast_targets {
            self.emit_simulcast(target, SimulcastEvent::Created);
        }
    }

    fn deleted(&mut self) {
        self.end(Some(DisconnectReason::Deleted));
        let rules = self.rules;
        for target in &rules.simulcast_targets {
            self.emit_simulcast(target, SimulcastEvent::Deleted);
        }
        self.emit(Event::Deleted);
    }

    /// Applies the [`deadline`], if `now` has reached it: the end of the reconnect window or of the longest duration.
    fn expire(&mut self) {
        if deadline(&self.state, self.rules).is_none_or(|at| self.now < at) {
            return;
        }
        let test_is_over = self.rules.test
            && self.state.broadcast.as_ref().is_some_and(|b| b.recorded && self.now >= b.since.shifted(TEST_LIMIT));
        if test_is_over {
            self.disable(DisconnectReason::MaxDuration);
        } else {
            // After a reconnect window, no encoder is connected and the reason is not used.
            self.end(Some(DisconnectReason::MaxDuration));
        }
    }

    fn connected(&mut self, contribution: ContributionId, id: BroadcastId, protocol: Protocol) {
        if !self.state.enabled {
            let reason = DisconnectReason::Disabled;
            return self.effects.push(Effect::DisconnectEncoder { contribution, reason });
        }
        let Some(broadcast) = self.state.broadcast.as_mut() else {
            self.effects.push(Effect::StartBroadcast(id.clone()));
            let encoder = Encoder::Connected { contribution, protocol };
            let simulcast_targets = SimulcastTargets::default();
            self.state.broadcast = Some(Broadcast { id, since: self.now, recorded: false, encoder, simulcast_targets });
            self.emit(Event::Connected);
            let rules = self.rules;
            for target in &rules.simulcast_targets {
                self.start_simulcast_target(target);
            }
            return;
        };
        match &mut broadcast.encoder {
            Encoder::Gone { .. } => {
                broadcast.encoder = Encoder::Connected { contribution, protocol };
                self.emit(Event::Connected);
            }
            Encoder::Connected { contribution: current, .. } | Encoder::Active { contribution: current, .. }
                if *current == contribution => {}
            Encoder::Connected { contribution: current, protocol: current_protocol }
            | Encoder::Active { contribution: current, protocol: current_protocol } => {
                let stale = std::mem::replace(current, contribution);
                *current_protocol = protocol;
                let reason = DisconnectReason::TakenOver;
                self.effects.push(Effect::DisconnectEncoder { contribution: stale, reason });
            }
        }
    }

    fn flowing(&mut self, from: &ContributionId) {
        let Some(broadcast) = self.state.broadcast.as_mut() else { return };
        let Encoder::Connected { contribution, protocol } = &broadcast.encoder else { return };
        if contribution != from {
            return;
        }
        broadcast.encoder = Encoder::Active { contribution: contribution.clone(), protocol: *protocol };
        if !broadcast.recorded {
            broadcast.recorded = true;
            broadcast.since = self.now;
            self.emit(Event::Recording);
        }
        self.emit(Event::Active);
    }

    /// Handles an encoder that has left. The state does not know an encoder that was disconnected or replaced, which is
    /// therefore ignored.
    fn disconnected(&mut self, from: &ContributionId) {
        if self.state.contribution() == Some(from) {
            self.encoder_gone();
        }
    }

    fn key_reset(&mut self) {
        if let Some(contribution) = self.state.contribution().cloned() {
            self.effects.push(Effect::DisconnectEncoder { contribution, reason: DisconnectReason::KeyReset });
            self.encoder_gone();
        }
        self.emit(Event::Updated);
    }

    /// Begins the reconnect window, or ends the broadcast if it has none.
    fn encoder_gone(&mut self) {
        self.emit(Event::Disconnected);
        let Some(broadcast) = self.state.broadcast.as_mut() else { return };
        broadcast.encoder = Encoder::Gone { at: self.now };
        // Without media there is nothing to continue, so the broadcast does not wait for an encoder to return.
        if !broadcast.recorded || self.rules.reconnect_window <= TimeDelta::ZERO {
            self.end(None);
        }
    }

    fn disable(&mut self, reason: DisconnectReason) {
        if !self.state.enabled {
            return;
        }
        self.end(Some(reason));
        self.state.enabled = false;
        self.emit(Event::Disabled);
    }

    fn enable(&mut self) {
        if !self.state.enabled {
            self.state.enabled = true;
            self.emit(Event::Enabled);
        }
    }

    /// Ends the broadcast, if there is one. Disconnects its encoder only if there is a `reason`.
    fn end(&mut self, reason: Option<DisconnectReason>) {
        if let Some(contribution) = self.state.contribution().cloned() {
            if let Some(reason) = reason {
                self.effects.push(Effect::DisconnectEncoder { contribution, reason });
            }
            self.emit(Event::Disconnected);
        }
        if let Some(broadcast) = self.state.broadcast.take() {
            self.effects.push(Effect::EndBroadcast(broadcast.id));
            for target in broadcast.simulcast_targets.into_ids() {
                self.emit_simulcast(&target, SimulcastEvent::Idle);
            }
            self.emit(Event::Idle);
        }
    }

    /// Starts a simulcast target if a broadcast is running.
    fn start_simulcast_target(&mut self, target: &SimulcastTargetId) {
        let Some(broadcast) = self.state.broadcast.as_mut().filter(|_| self.rules.can_simulcast) else { return };
        if broadcast.simulcast_targets.start(target) {
            self.effects.push(Effect::StartSimulcastTarget(broadcast.id.clone(), target.clone()));
            self.emit_simulcast(target, SimulcastEvent::Starting);
        }
    }

    /// Stops a simulcast target unless it is idle.
    fn stop_simulcast_target(&mut self, target: &SimulcastTargetId) {
        let Some(broadcast) = self.state.broadcast.as_mut() else { return };
        if broadcast.simulcast_targets.stop(target) {
            self.effects.push(Effect::StopSimulcastTarget(broadcast.id.clone(), target.clone()));
            self.emit_simulcast(target, SimulcastEvent::Idle);
        }
    }

    fn simulcast_reported(&mut self, from: &BroadcastId, target: &SimulcastTargetId, status: SimulcastStatus) {
        let Some(broadcast) = self.state.broadcast.as_mut().filter(|broadcast| broadcast.id == *from) else { return };
        if let Some(event) = broadcast.simulcast_targets.report(target, status) {
            self.emit_simulcast(target, event);
        }
    }
}
