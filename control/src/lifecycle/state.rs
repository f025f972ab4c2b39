//! State of a live stream between two steps of its lifecycle.

use media::WallTime;
use media::id::{BroadcastId, ContributionId, SimulcastTargetId};
use serde::{Deserialize, Serialize};

use super::simulcast::{SimulcastStatus, SimulcastTargets};
use crate::serde_format;

/// Protocol of an encoder's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RTMP, with or without TLS.
    Rtmp,
    /// SRT.
    Srt,
}

impl Protocol {
    /// Returns the name of the protocol in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Srt => "srt",
        }
    }
}

/// State of a live stream, which [`step`](super::step) replaces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct State {
    /// Whether encoders are accepted.
    pub enabled: bool,
    /// The running broadcast.
    pub broadcast: Option<Broadcast>,
}

/// A broadcast: one period of a live stream, from `connected` to `idle`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Broadcast {
    /// Id of the broadcast.
    #[serde(with = "serde_format::id")]
    pub id: BroadcastId,
    /// Time of the first media, or of the encoder's connection until there is media. Limits of the duration count from
    /// here.
    #[serde(with = "serde_format::wall")]
    pub since: WallTime,
    /// Whether any media of this broadcast was packaged.
    pub recorded: bool,
    /// State of the encoder.
    pub encoder: Encoder,
    /// Simulcast targets that are not idle.
    ///
    /// Stored with the rest of the state, because the next process must emit [`SimulcastEvent::Idle`] for each of them,
    /// once, even if this one is killed.
    ///
    /// [`SimulcastEvent::Idle`]: super::SimulcastEvent::Idle
    #[serde(default, skip_serializing_if = "SimulcastTargets::is_empty")]
    pub simulcast_targets: SimulcastTargets,
}

/// State of the encoder of a [`Broadcast`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Encoder {
    /// Connected, without packaged media of this connection.
    Connected {
        /// The encoder's connection.
        #[serde(with = "serde_format::id")]
        contribution: ContributionId,
        /// Protocol of the connection.
        protocol: Protocol,
    },
    /// Connected, with packaged media.
    Active {
        /// The encoder's connection.
        #[serde(with = "serde_format::id")]
        contribution: ContributionId,
        /// Protocol of the connection.
        protocol: Protocol,
    },
    /// Disconnected, within the reconnect window.
    Gone {
        /// Time at which the encoder left.
        #[serde(with = "serde_format::wall")]
        at: WallTime,
    },
}

/// Phase of the lifecycle, finer than the API's [`Status`](crate::Status).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No broadcast.
    Idle,
    /// An encoder is connected, and none of its media is packaged yet.
    Connected,
    /// Media is being packaged.
    Active,
    /// The encoder left and may return within the reconnect window.
    Disconnected,
    /// Encoders are refused.
    Disabled,
}

impl Default for State {
    fn default() -> Self {
        Self { enabled: true, broadcast: None }
    }
}

impl State {
    /// Returns the phase of the lifecycle.
    pub fn phase(&self) -> Phase {
        match self.broadcast.as_ref().map(|b| &b.encoder) {
            _ if !self.enabled => Phase::Disabled,
            None => Phase::Idle,
            Some(Encoder::Connected { .. }) => Phase::Connected,
            Some(Encoder::Active { .. }) => Phase::Active,
            Some(Encoder::Gone { .. }) => Phase::Disconnected,
        }
    }

    /// Returns whether there is a broadcast with media, including its reconnect window: `active` in the API.
    pub fn is_active(&self) -> bool {
        self.broadcast.as_ref().is_some_and(|b| b.recorded)
    }

    /// Returns the protocol of the connected encoder.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.broadcast.as_ref()?.encoder {
            Encoder::Connected { protocol, .. } | Encoder::Active { protocol, .. } => Some(protocol),
            Encoder::Gone { .. } => None,
        }
    }

    /// Returns the [`SimulcastStatus`] of a target; `None` if it is idle.
    pub fn simulcast_status(&self, id: &SimulcastTargetId) -> Option<&SimulcastStatus> {
        self.broadcast.as_ref()?.simulcast_targets.status(id)
    }

    /// Returns the connection of the connected encoder.
    pub(super) fn contribution(&self) -> Option<&ContributionId> {
        match &self.broadcast.as_ref()?.encoder {
            Encoder::Connected { contribution, .. } | Encoder::Active { contribution, .. } => Some(contribution),
            Encoder::Gone { .. } => None,
        }
    }
}
