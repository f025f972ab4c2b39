//! Resources as the API answers with them.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{LiveStreamRecord, PlaybackIdRecord, SimulcastTargetRecord, Status};
use crate::lifecycle::Protocol;
use crate::settings::{
    AssetOptions, EmbeddedSubtitle, Extras, GeneratedSubtitle, LatencyMode, LiveStreamMetadata, Policy,
};

/// A live stream.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveStream {
    /// Its id.
    id: String,
    /// When it was made, in seconds since the Unix epoch.
    created_at: String,
    /// The key encoders publish with: a secret.
    stream_key: String,
    /// The passphrase for publishing over SRT: a secret.
    srt_passphrase: String,
    /// Where it is in its life.
    status: Status,
    /// The ids it is watched through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    playback_ids: Vec<PlaybackID>,
    /// How early viewers get the programme.
    latency_mode: LatencyMode,
    /// Set where `latency_mode` is `low`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    low_latency: Option<bool>,
    /// Set where `latency_mode` is `reduced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reduced_latency: Option<bool>,
    /// Seconds an encoder may stay away before the broadcast ends.
    #[serde(serialize_with = "number")]
    reconnect_window: f64,
    /// Seconds a broadcast may last.
    max_continuous_duration: u32,
    /// How the encoder came in; while the live stream is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    active_ingest_protocol: Option<IngestProtocol>,
    /// Whether the pictures are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    audio_only: Option<bool>,
    /// Whether it is for trying things out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    test: Option<bool>,
    /// The owner's own note.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    passthrough: Option<String>,
    /// What the owner tells about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    meta: Option<LiveStreamMetadata>,
    /// Whether the slate is shown in standard latency too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    use_slate_for_standard_latency: Option<bool>,
    /// The picture shown in interruptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reconnect_slate_url: Option<String>,
    /// Closed captions inside the incoming video.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    embedded_subtitles: Vec<EmbeddedSubtitle>,
    /// Subtitles made by speech recognition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    generated_subtitles: Vec<GeneratedSubtitle>,
    /// The settings of its recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    new_asset_settings: Option<AssetOptions>,
    /// Where the programme is sent on to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    simulcast_targets: Vec<SimulcastTarget>,
    /// Settings that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    extras: Extras,
}

/// How an encoder came in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IngestProtocol {
    /// RTMP or RTMPS.
    Rtmp,
    /// SRT.
    Srt,
}

/// An id that a live stream is watched through.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlaybackID {
    /// The id.
    id: String,
    /// Who may watch through it.
    policy: Policy,
    /// The DRM configuration, where the policy is `drm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    drm_configuration_id: Option<String>,
}

/// A place the programme is sent on to.
#[derive(Serialize, ToSchema)]
pub(crate) struct SimulcastTarget {
    /// Its id.
    id: String,
    /// The address of the other service.
    url: String,
    /// `idle` as long as nothing is sent.
    status: SimulcastStatus,
    /// The key at the other service: a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    stream_key: Option<String>,
    /// The owner's own note.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    passthrough: Option<String>,
    /// Settings that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    extras: Extras,
}

/// The state of a simulcast target.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SimulcastStatus {
    /// Nothing is sent.
    Idle,
}

impl From<LiveStreamRecord> for LiveStream {
    fn from(record: LiveStreamRecord) -> Self {
        let LiveStreamRecord { id, created_at, settings, secrets, playback_ids, state } = record;
        let status = Status::from(&state);
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
            simulcast_targets: secrets.simulcast_targets.into_iter().map(SimulcastTarget::from).collect(),
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

impl From<SimulcastTargetRecord> for SimulcastTarget {
    fn from(target: SimulcastTargetRecord) -> Self {
        let SimulcastTargetRecord { id, url, stream_key, passthrough, extras } = target;
        Self { id, url, status: SimulcastStatus::Idle, stream_key, passthrough, extras }
    }
}

/// Whole numbers are written without a fraction, as clients with integer types expect.
fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    let whole = value.trunc() as i64;
    if *value == whole as f64 { to.serialize_i64(whole) } else { to.serialize_f64(*value) }
}
