//! Resources in the form in which clients get them.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::simulcast_target::READ_ONLY;
use super::{LiveStreamRecord, PlaybackIdRecord, SimulcastTargetRecord, Status};
use crate::lifecycle::{self, Protocol, Severity, State};
use crate::settings::{
    AssetOptions, EmbeddedSubtitle, Extras, GeneratedSubtitle, LatencyMode, LiveStreamMetadata, Policy,
    SimulcastRendition,
};

/// A live stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveStream {
    /// Id of the live stream.
    id: String,
    /// Time of creation, in seconds since the Unix epoch.
    created_at: String,
    /// Key that encoders publish with: a secret.
    stream_key: String,
    /// Passphrase for publishing over SRT: a secret.
    srt_passphrase: String,
    /// State of the live stream.
    status: Status,
    /// Playback ids, which viewers use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    playback_ids: Vec<PlaybackID>,
    /// Latency of the programme for viewers.
    latency_mode: LatencyMode,
    /// Present if `latency_mode` is `low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    low_latency: Option<bool>,
    /// Present if `latency_mode` is `reduced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reduced_latency: Option<bool>,
    /// Seconds that an encoder may be absent before the broadcast ends.
    #[serde(serialize_with = "number")]
    reconnect_window: f64,
    /// Longest duration of a broadcast, in seconds.
    max_continuous_duration: u32,
    /// Protocol of the encoder; present while the live stream is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    active_ingest_protocol: Option<IngestProtocol>,
    /// Whether video is discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    audio_only: Option<bool>,
    /// Whether this is a test live stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    test: Option<bool>,
    /// Free text of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    passthrough: Option<String>,
    /// Description by the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    meta: Option<LiveStreamMetadata>,
    /// Whether the slate is shown in standard latency too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    use_slate_for_standard_latency: Option<bool>,
    /// URL of the image that is shown during interruptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reconnect_slate_url: Option<String>,
    /// Closed captions in the incoming video.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    embedded_subtitles: Vec<EmbeddedSubtitle>,
    /// Subtitles from speech recognition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    generated_subtitles: Vec<GeneratedSubtitle>,
    /// Settings of the recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    new_asset_settings: Option<AssetOptions>,
    /// Other services that the programme is sent to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    simulcast_targets: Vec<SimulcastTarget>,
    /// Settings that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    extras: Extras,
}

/// Protocol of an encoder's connection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IngestProtocol {
    /// RTMP or RTMPS.
    Rtmp,
    /// SRT.
    Srt,
}

/// An id through which viewers watch a live stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlaybackID {
    /// Id for the playback URL.
    id: String,
    /// Viewers that the playback id admits.
    policy: Policy,
    /// DRM configuration; present if the policy is `drm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    drm_configuration_id: Option<String>,
}

/// Another service that the programme is sent to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SimulcastTarget {
    /// Id of the simulcast target.
    id: String,
    /// URL of the other service.
    url: String,
    /// State of the simulcast target.
    status: SimulcastStatus,
    /// Whether the server tries again; present if `status` is `errored`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error_severity: Option<Severity>,
    /// Reason of the error, for people; present if `status` is `errored`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
    /// Stream key at the other service: a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    stream_key: Option<String>,
    /// Free text of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    passthrough: Option<String>,
    /// Rendition that is sent; `source` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rendition: Option<SimulcastRendition>,
    /// Settings that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    extras: Extras,
}

/// State of a simulcast target.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SimulcastStatus {
    /// No broadcast is running.
    Idle,
    /// A broadcast is running, and the other service is being connected to.
    Starting,
    /// The other service receives the programme.
    Broadcasting,
    /// The connection failed.
    Errored,
}

impl From<LiveStreamRecord> for LiveStream {
    fn from(record: LiveStreamRecord) -> Self {
        let LiveStreamRecord { id, created_at, settings, secrets, playback_ids, state } = record;
        let status = Status::from(&state);
        let targets = secrets.simulcast_targets.into_iter();
        let protocol = state.protocol().filter(|_| status == Status::Active);
        Self {
            id: id.to_string(),
            created_at: created_at.unix_millis().div_euclid(1_000).to_string(),
            stream_key: secrets.stream_key.reveal().to_owned(),
            srt_passphrase: secrets.srt_passphrase,
            status,
            playback_ids: playback_ids.into_iter().map(PlaybackID::from).collect(),
            latency_mode: settings.latency_mode,
            low_latency: (settings.latency_mode == LatencyMode::Low).then_some(true),
            reduced_latency: (settings.latency_mode == LatencyMode::Reduced).then_some(true),
            reconnect_window: settings.reconnect_window(),
            max_continuous_duration: settings.max_continuous_duration(),
            active_ingest_protocol: protocol.map(IngestProtocol::from),
            audio_only: settings.audio_only,
            test: settings.test,
            passthrough: settings.passthrough,
            meta: settings.meta,
            use_slate_for_standard_latency: settings.use_slate_for_standard_latency,
            reconnect_slate_url: settings.reconnect_slate_url,
            embedded_subtitles: settings.embedded_subtitles,
            generated_subtitles: settings.generated_subtitles,
            new_asset_settings: settings.new_asset_settings,
            simulcast_targets: targets.map(|target| SimulcastTarget::new(target, &state)).collect(),
            extras: settings.extras,
        }
    }
}

impl From<Protocol> for IngestProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Rtmp => Self::Rtmp,
            Protocol::Srt => Self::Srt,
        }
    }
}

impl From<PlaybackIdRecord> for PlaybackID {
    fn from(playback: PlaybackIdRecord) -> Self {
        let PlaybackIdRecord { id, policy, drm_configuration_id } = playback;
        Self { id: id.to_string(), policy, drm_configuration_id }
    }
}

impl SimulcastTarget {
    /// Combines a target of a live stream with its status in the live stream's `state`.
    pub(crate) fn new(target: SimulcastTargetRecord, state: &State) -> Self {
        use lifecycle::SimulcastStatus::{Broadcasting, Errored, Starting};

        let SimulcastTargetRecord { id, url, stream_key, passthrough, rendition, mut extras } = target;
        let (status, error) = match state.simulcast_status(&id) {
            None => (SimulcastStatus::Idle, None),
            Some(Starting) => (SimulcastStatus::Starting, None),
            Some(Broadcasting) => (SimulcastStatus::Broadcasting, None),
            Some(Errored { severity, reason }) => (SimulcastStatus::Errored, Some((*severity, reason.clone()))),
        };
        let (error_severity, error) = error.unzip();
        // A version that did not know all of them may have stored fields of these names.
        for name in READ_ONLY {
            extras.remove(name);
        }
        Self { id: id.to_string(), url, status, error_severity, error, stream_key, passthrough, rendition, extras }
    }
}

/// Serializes a whole number without a fraction, because clients with integer types reject one.
fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    let whole = value.trunc() as i64;
    if *value == whole as f64 { to.serialize_i64(whole) } else { to.serialize_f64(*value) }
}
