//! The state of a target, as its owner sees it.

use std::fmt;

/// Id of a target.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(String);

impl TargetId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TargetId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// State of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The broadcast has ended, or the target has been removed.
    #[default]
    Idle,
    /// The first attempt is under way, or waits for the programme's first track.
    Starting,
    /// Frames are being sent.
    Broadcasting,
    /// The newest attempt has failed.
    Errored {
        /// Whether there will be another attempt.
        severity: Severity,
        /// Plain English without secrets.
        reason: String,
    },
}

/// Severity of [`State::Errored`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The target is dialled again.
    Normal,
    /// The target is not dialled again in this broadcast.
    Fatal,
}

/// Receives the transitions of targets, each once and in order.
pub trait Events: Send + Sync {
    /// Takes the transition of a target to `state`, or the new reason of an error. Called by the target's task, so it must not block.
    fn transition(&self, target: &TargetId, state: &State);
}
