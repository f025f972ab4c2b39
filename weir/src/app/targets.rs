//! Simulcast targets of the running broadcasts: their start and end, and the reports of their status to control.

use std::error::Error;
use std::sync::Arc;

use control::StreamSettings;
use control::lifecycle::{Severity, SimulcastStatus};
use media::id::{BroadcastId, LiveStreamId, SimulcastTargetId};
use simulcast::{Events, State, TargetId};
use tracing::{error, warn};

use super::{App, unless_deleted};
use crate::broadcast::Targets;

impl App {
    /// Starts a target of a running broadcast.
    pub(crate) fn start_target(
        self: &Arc<Self>,
        settings: &StreamSettings,
        broadcast: &BroadcastId,
        id: &SimulcastTargetId,
    ) {
        let Some(broadcast) = self.find_broadcast(&settings.id, broadcast) else { return };
        let Some(target) = settings.simulcast_targets.iter().find(|target| target.id == *id) else { return };
        let reporter = Reporter::new(self, &settings.id, &broadcast.id);
        match broadcast.add_target(target, Arc::new(reporter.clone())) {
            Ok(true) => self.fill_gaps(broadcast),
            Ok(false) => {}
            Err(refusal) => reporter.reject(id.clone(), refusal.to_string()),
        }
    }

    /// Stops a target of a running broadcast.
    pub(crate) fn stop_target(&self, stream: &LiveStreamId, broadcast: &BroadcastId, id: &SimulcastTargetId) {
        if let Some(broadcast) = self.find_broadcast(stream, broadcast) {
            broadcast.targets().remove(&TargetId::from(id.as_str()));
        }
    }

    /// Returns the targets of a broadcast that begins; none yet.
    pub(super) fn new_targets(self: &Arc<Self>, stream: &LiveStreamId, broadcast: &BroadcastId) -> Targets {
        let reporter = Reporter::new(self, stream, broadcast);
        let reject = move |id: &TargetId, reason: String| {
            if let Ok(id) = id.as_str().parse() {
                reporter.reject(id, reason);
            }
        };
        Targets::new(&self.simulcast, &self.runtime, Arc::new(reject))
    }
}

/// Reports the status of the targets of one broadcast to [`control::Control`].
#[derive(Clone)]
struct Reporter {
    app: Arc<App>,
    stream: LiveStreamId,
    broadcast: BroadcastId,
}

impl Reporter {
    fn new(app: &Arc<App>, stream: &LiveStreamId, broadcast: &BroadcastId) -> Self {
        Self { app: Arc::clone(app), stream: stream.clone(), broadcast: broadcast.clone() }
    }

    /// Reports that a target cannot receive what it wants. A task of its own does it, because the caller holds the lock of
    /// the live stream or of the broadcast.
    fn reject(&self, target: SimulcastTargetId, reason: String) {
        warn!(stream = %self.stream, %target, reason, "the target cannot be served");
        let reporter = self.clone();
        self.app.spawn(async move {
            reporter.report(target, SimulcastStatus::Errored { severity: Severity::Fatal, reason });
        });
    }

    fn report(&self, target: SimulcastTargetId, status: SimulcastStatus) {
        let Some(control) = self.app.control() else { return };
        let reported = control.simulcast_reported(&self.stream, self.broadcast.clone(), target, status);
        if let Err(error) = unless_deleted(reported) {
            error!(stream = %self.stream, error = &error as &dyn Error, "could not report the status of a target");
        }
    }
}

impl Events for Reporter {
    fn transition(&self, target: &TargetId, state: &State) {
        let status = match state {
            // Control makes these transitions itself.
            State::Idle | State::Starting => return,
            State::Broadcasting => SimulcastStatus::Broadcasting,
            State::Errored { severity, reason } => SimulcastStatus::Errored {
                severity: match severity {
                    simulcast::Severity::Normal => Severity::Normal,
                    simulcast::Severity::Fatal => Severity::Fatal,
                },
                reason: reason.clone(),
            },
        };
        if let Ok(target) = target.as_str().parse() {
            self.report(target, status);
        }
    }
}
