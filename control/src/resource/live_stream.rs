//! A live stream as the store keeps it: [`LiveStreamRecord`].

use media::id::{LiveStreamId, PlaybackId, StreamKey};
use media::{TimeDelta, WallTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::simulcast_target::SimulcastTargetRecord;
use crate::lifecycle::{Rules, State};
use crate::serde_format;
use crate::settings::{CreatePlaybackIDRequest, Policy, Settings};

/// State of a live stream, as the API reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A broadcast with media is running or waits in its reconnect window.
    Active,
    /// No broadcast, or none with media.
    Idle,
    /// Encoders are refused.
    Disabled,
}

impl Status {
    /// All statuses.
    pub(crate) const ALL: [Self; 3] = [Self::Active, Self::Idle, Self::Disabled];

    /// Returns the name of the status in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Disabled => "disabled",
        }
    }
}

impl From<&State> for Status {
    fn from(state: &State) -> Self {
        match state {
            State { enabled: false, .. } => Self::Disabled,
            state if state.is_active() => Self::Active,
            _ => Self::Idle,
        }
    }
}

/// A live stream with everything that belongs to it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LiveStreamRecord {
    pub(crate) id: LiveStreamId,
    pub(crate) created_at: WallTime,
    pub(crate) settings: Settings,
    pub(crate) secrets: Secrets,
    pub(crate) playback_ids: Vec<PlaybackIdRecord>,
    pub(crate) state: State,
}

/// A playback id with its [`Policy`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PlaybackIdRecord {
    pub(crate) id: PlaybackId,
    pub(crate) policy: Policy,
    pub(crate) drm_configuration_id: Option<String>,
}

/// Secrets of a live stream, which the store encrypts with a [`Keyring`](crate::secret::Keyring).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Secrets {
    #[serde(with = "key")]
    pub(crate) stream_key: StreamKey,
    pub(crate) srt_passphrase: String,
    /// Stored here as a whole, because a URL of a [`SimulcastTargetRecord`] may contain a passphrase.
    #[serde(default)]
    pub(crate) simulcast_targets: Vec<SimulcastTargetRecord>,
}

impl LiveStreamRecord {
    /// Creates a live stream, which is idle.
    pub(crate) fn new(settings: Settings, created_at: WallTime) -> Self {
        Self {
            id: LiveStreamId::generate(),
            created_at,
            settings,
            secrets: Secrets {
                stream_key: StreamKey::generate(),
                // libsrt accepts 10 to 79 characters and the API documents at most 64. A stream key fits both.
                srt_passphrase: StreamKey::generate().reveal().to_owned(),
                simulcast_targets: Vec::new(),
            },
            playback_ids: Vec::new(),
            state: State::default(),
        }
    }

    /// Returns the settings that the [`lifecycle`](crate::lifecycle) depends on.
    pub(crate) fn rules(&self, can_simulcast: bool) -> Rules {
        // The window is at most 1800 s, so its milliseconds fit.
        let window = (self.settings.reconnect_window() * 1_000.0).round() as i64;
        Rules {
            reconnect_window: TimeDelta::from_millis(window),
            max_continuous_duration: TimeDelta::from_secs(i64::from(self.settings.max_continuous_duration())),
            test: self.settings.test.unwrap_or(false),
            simulcast_targets: self.secrets.simulcast_targets.iter().map(|target| target.id.clone()).collect(),
            can_simulcast,
        }
    }
}

impl From<CreatePlaybackIDRequest> for PlaybackIdRecord {
    fn from(request: CreatePlaybackIDRequest) -> Self {
        Self {
            id: PlaybackId::generate(),
            policy: request.policy.unwrap_or_default(),
            drm_configuration_id: request.drm_configuration_id,
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(hidden)")
    }
}

/// Format of a stream key in the JSON that is encrypted.
mod key {
    use media::id::StreamKey;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(key: &StreamKey, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(key.reveal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StreamKey, D::Error> {
        super::serde_format::id::deserialize(from)
    }
}
