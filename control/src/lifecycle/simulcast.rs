//! Simulcast targets of a broadcast, each with a state machine of its own.
//!
//! ```text
//! idle ──broadcast begins──► starting ──► broadcasting ◄──► errored, normal
//!                               │              │               ▲   │
//!                               ├──────────────┼───────────────┘   │
//!                               └──────────────┴───────────────────┴──► errored, fatal
//! ```
//!
//! From everywhere, the end of the broadcast or the removal of the target leads back to idle.
//!
//! [`SimulcastTargets`] holds the targets that are not idle. It belongs to a [`Broadcast`](super::Broadcast), so every
//! target is idle without a broadcast. [`step`](super::step) starts and stops targets; their sender reports
//! the rest.

use media::id::SimulcastTargetId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::serde_format;

/// Status of a simulcast target in a running broadcast. Without one, the target is idle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum SimulcastStatus {
    /// The first connection is being made, or waits for media.
    Starting,
    /// The target receives the programme.
    Broadcasting,
    /// The newest connection failed.
    Errored {
        /// Whether there will be another attempt.
        severity: Severity,
        /// Reason in plain English, without secrets.
        reason: String,
    },
}

/// Severity of [`SimulcastStatus::Errored`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The server tries again, so the target may return to [`SimulcastStatus::Broadcasting`].
    Normal,
    /// The server does not try again in this broadcast.
    Fatal,
}

/// An event of a simulcast target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SimulcastEvent {
    /// The target was created.
    Created,
    /// The target is [`SimulcastStatus::Starting`].
    Starting,
    /// The target is [`SimulcastStatus::Broadcasting`].
    Broadcasting,
    /// The target is idle again.
    Idle,
    /// The target is [`SimulcastStatus::Errored`], or is so with another [`Severity`].
    Errored,
    /// The target is [`SimulcastStatus::Errored`] for another reason.
    Updated,
    /// The target was deleted.
    Deleted,
}

/// The simulcast targets of a broadcast that are not idle, at most one entry for each target.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SimulcastTargets(Vec<Entry>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(with = "serde_format::id")]
    id: SimulcastTargetId,
    status: SimulcastStatus,
}

impl SimulcastTargets {
    /// Returns whether all targets are idle.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the status of a target; `None` if it is idle.
    pub fn status(&self, id: &SimulcastTargetId) -> Option<&SimulcastStatus> {
        self.0.iter().find(|entry| entry.id == *id).map(|entry| &entry.status)
    }

    /// Moves a target from idle to [`SimulcastStatus::Starting`]. Returns whether it was idle.
    pub(super) fn start(&mut self, id: &SimulcastTargetId) -> bool {
        let is_idle = self.status(id).is_none();
        if is_idle {
            self.0.push(Entry { id: id.clone(), status: SimulcastStatus::Starting });
        }
        is_idle
    }

    /// Moves a target to idle. Returns whether it was not idle before.
    pub(super) fn stop(&mut self, id: &SimulcastTargetId) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.id != *id);
        self.0.len() < before
    }

    /// Moves a target to a status that was reported, and returns the event of this transition. Returns `None` if there
    /// is no such transition: from idle, from a fatal error, back to [`SimulcastStatus::Starting`], or to the same
    /// status.
    pub(super) fn report(&mut self, id: &SimulcastTargetId, reported: SimulcastStatus) -> Option<SimulcastEvent> {
        use SimulcastStatus::{Broadcasting, Errored, Starting};

        let status = self.0.iter_mut().find(|entry| entry.id == *id).map(|entry| &mut entry.status)?;
        let event = match (&*status, &reported) {
            (Errored { severity: Severity::Fatal, .. }, _) | (_, Starting) | (Broadcasting, Broadcasting) => {
                return None;
            }
            (_, Broadcasting) => SimulcastEvent::Broadcasting,
            (Errored { severity: old, reason: old_reason }, Errored { severity, reason }) if old == severity => {
                if old_reason == reason {
                    return None;
                }
                SimulcastEvent::Updated
            }
            (_, Errored { .. }) => SimulcastEvent::Errored,
        };
        *status = reported;
        Some(event)
    }

    /// Returns the ids of the targets, in the order in which they were started.
    pub(super) fn into_ids(self) -> impl Iterator<Item = SimulcastTargetId> {
        self.0.into_iter().map(|entry| entry.id)
    }
}

impl SimulcastEvent {
    /// Returns the type of the event in a webhook.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "video.live_stream.simulcast_target.created",
            Self::Starting => "video.live_stream.simulcast_target.starting",
            Self::Broadcasting => "video.live_stream.simulcast_target.broadcasting",
            Self::Idle => "video.live_stream.simulcast_target.idle",
            Self::Errored => "video.live_stream.simulcast_target.errored",
            Self::Updated => "video.live_stream.simulcast_target.updated",
            Self::Deleted => "video.live_stream.simulcast_target.deleted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_transitions_of_a_broadcast_are_made() {
        use SimulcastStatus::{Broadcasting, Errored, Starting};

        let id = SimulcastTargetId::generate();
        let errored = |severity, reason: &str| Errored { severity, reason: reason.to_owned() };
        let (normal, fatal) = (errored(Severity::Normal, "a"), errored(Severity::Fatal, "a"));
        let other = errored(Severity::Normal, "b");
        for (from, to, event) in [
            (&Starting, &Starting, None),
            (&Starting, &Broadcasting, Some(SimulcastEvent::Broadcasting)),
            (&Starting, &normal, Some(SimulcastEvent::Errored)),
            (&Starting, &fatal, Some(SimulcastEvent::Errored)),
            (&Broadcasting, &Starting, None),
            (&Broadcasting, &Broadcasting, None),
            (&Broadcasting, &normal, Some(SimulcastEvent::Errored)),
            (&Broadcasting, &fatal, Some(SimulcastEvent::Errored)),
            (&normal, &Starting, None),
            (&normal, &Broadcasting, Some(SimulcastEvent::Broadcasting)),
            (&normal, &normal, None),
            (&normal, &other, Some(SimulcastEvent::Updated)),
            (&normal, &fatal, Some(SimulcastEvent::Errored)),
            (&fatal, &Starting, None),
            (&fatal, &Broadcasting, None),
            (&fatal, &normal, None),
            (&fatal, &errored(Severity::Fatal, "b"), None),
        ] {
            let mut targets = SimulcastTargets::default();
            assert_eq!(targets.report(&id, to.clone()), None, "an idle target");
            assert!(targets.start(&id) && !targets.start(&id));
            targets.report(&id, from.clone());
            assert_eq!(targets.report(&id, to.clone()), event, "{from:?} to {to:?}");
            assert_eq!(targets.status(&id), Some(if event.is_some() { to } else { from }));
            assert!(targets.stop(&id) && !targets.stop(&id) && targets.is_empty());
        }
    }
}
