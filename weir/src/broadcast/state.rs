//! State of a broadcast, behind the one lock that it has.

use super::input::Input;
use super::writer::BroadcastWriter;

/// Everything of a broadcast that changes.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) input: Input,
    pub(super) writer: BroadcastWriter,
    /// Whether the ladder has stopped, or its output cannot be packaged.
    pub(super) has_ladder_failed: bool,
}

/// Phase of a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Contributions are accepted.
    Running,
    /// No contribution is accepted, and media that is still inside the ladder is packaged.
    Ending,
    /// The playlists have ended.
    Ended,
}
