//! Request bodies that create and update a live stream, and their conversion to [`Settings`].

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;
use utoipa::ToSchema;

use super::asset::{merge, unchanged};
use super::validate::{embedded, list, text, url};
use super::{
    AssetOptions, AssetOptionsUpdate, CreatePlaybackIDRequest, CreateSimulcastTargetRequest, EmbeddedSubtitle, Extras,
    FieldErrors, GeneratedSubtitle, LatencyMode, LiveStreamMetadata, MAX_CONTINUOUS_DURATION, MAX_PASSTHROUGH, Policy,
    Settings, Validate, one_or_many,
};

/// Longest reconnect window, in seconds.
const MAX_RECONNECT_WINDOW: f64 = 1_800.0;
/// Smallest limit of the duration of a broadcast, in seconds.
const MIN_CONTINUOUS_DURATION: u32 = 60;
/// Most playback ids of a live stream, in a [`CreateLiveStreamRequest`] and later.
pub(crate) const MAX_PLAYBACK_IDS: usize = 100;
/// Largest settings of a live stream, in bytes of JSON. A change that would exceed this is refused.
const MAX_SETTINGS: usize = 32 * 1024;

/// Fields of a live stream that only the server sets. They are ignored and not refused, because clients send back
/// everything that they received.
const READ_ONLY: [&str; 9] = [
    "id",
    "created_at",
    "stream_key",
    "srt_passphrase",
    "status",
    "playback_ids",
    "active_asset_id",
    "recent_asset_ids",
    "active_ingest_protocol",
];

/// Settings that only the creation or a separate endpoint can set.
const CREATE_ONLY: [&str; 8] = [
    "audio_only",
    "test",
    "playback_policy",
    "playback_policies",
    "advanced_playback_policies",
    "simulcast_targets",
    "embedded_subtitles",
    "generated_subtitles",
];

/// A live stream to create.
#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct CreateLiveStreamRequest {
    /// Older name of `playback_policies`.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schema(nullable = false)]
    pub(crate) playback_policy: Option<Vec<Policy>>,
    /// Policies, `public` or `signed`, with a playback id created for each. A single string is an array of one.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schema(nullable = false)]
    pub(crate) playback_policies: Option<Vec<Policy>>,
    /// Policies, with a playback id created for each. Required for DRM.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) advanced_playback_policies: Option<Vec<CreatePlaybackIDRequest>>,
    /// Settings of the recordings.
    #[serde(default)]
    #[schema(nullable = false)]
    new_asset_settings: Option<AssetOptions>,
    /// Seconds that an encoder may be absent before the broadcast ends. The default is 60 in standard latency and 0
    /// otherwise.
    #[serde(default)]
    #[schema(nullable = false, minimum = 0, maximum = 1800)]
    reconnect_window: Option<f64>,
    /// Show the slate during interruptions in standard latency too.
    #[serde(default)]
    #[schema(nullable = false)]
    use_slate_for_standard_latency: Option<bool>,
    /// URL of the image that is shown during interruptions.
    #[serde(default)]
    #[schema(nullable = false, pattern = "^(https?://[A-Za-z0-9]|$)")]
    reconnect_slate_url: Option<String>,
    /// Free text of the owner, at most 255 characters.
    #[serde(default)]
    #[schema(nullable = false, max_length = 255)]
    passthrough: Option<String>,
    /// Discard the video.
    #[serde(default)]
    #[schema(nullable = false)]
    audio_only: Option<bool>,
    /// Closed captions in the incoming video.
    #[serde(default)]
    #[schema(nullable = false)]
    embedded_subtitles: Option<Vec<EmbeddedSubtitle>>,
    /// Subtitles from speech recognition, at most one track.
    #[serde(default)]
    #[schema(nullable = false)]
    generated_subtitles: Option<Vec<GeneratedSubtitle>>,
    /// Older form of `latency_mode: reduced`.
    #[serde(default)]
    #[schema(nullable = false)]
    reduced_latency: Option<bool>,
    /// Older form of `latency_mode: low`.
    #[serde(default)]
    #[schema(nullable = false)]
    low_latency: Option<bool>,
    /// Latency of the programme for viewers.
    #[serde(default)]
    #[schema(nullable = false)]
    latency_mode: Option<LatencyMode>,
    /// Create a test live stream, which is disabled after it was active for five minutes.
    #[serde(default)]
    #[schema(nullable = false)]
    test: Option<bool>,
    /// Other services to send the programme to.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) simulcast_targets: Option<Vec<CreateSimulcastTargetRequest>>,
    /// Longest duration of a broadcast, in seconds.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false, minimum = 60, maximum = 43200)]
    max_continuous_duration: Option<u32>,
    /// Description by the owner.
    #[serde(default)]
    #[schema(nullable = false)]
    meta: Option<LiveStreamMetadata>,
    /// Settings that this version does not know, kept and returned.
    #[serde(flatten)]
    #[schema(ignore)]
    extras: Extras,
}

/// Changes to a live stream. An omitted setting stays as it is. While a broadcast is running, most
/// changes apply from the next broadcast on.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct UpdateLiveStreamRequest {
    /// Free text of the owner, at most 255 characters. An empty one removes it.
    #[serde(default)]
    #[schema(nullable = false, max_length = 255)]
    passthrough: Option<String>,
    /// Latency of the programme for viewers.
    #[serde(default)]
    #[schema(nullable = false)]
    latency_mode: Option<LatencyMode>,
    /// Older form of `latency_mode: reduced`.
    #[serde(default)]
    #[schema(nullable = false)]
    reduced_latency: Option<bool>,
    /// Older form of `latency_mode: low`.
    #[serde(default)]
    #[schema(nullable = false)]
    low_latency: Option<bool>,
    /// Seconds that an encoder may be absent before the broadcast ends.
    #[serde(default)]
    #[schema(nullable = false, minimum = 0, maximum = 1800)]
    reconnect_window: Option<f64>,
    /// Show the slate during interruptions in standard latency too.
    #[serde(default)]
    #[schema(nullable = false)]
    use_slate_for_standard_latency: Option<bool>,
    /// URL of the image that is shown during interruptions. An empty one removes it.
    #[serde(default)]
    #[schema(nullable = false, pattern = "^(https?://[A-Za-z0-9]|$)")]
    reconnect_slate_url: Option<String>,
    /// Longest duration of a broadcast, in seconds.
    #[serde(default, deserialize_with = "whole")]
    #[schema(nullable = false, minimum = 60, maximum = 43200)]
    max_continuous_duration: Option<u32>,
    /// Changes to the settings of the recordings.
    #[serde(default)]
    #[schema(nullable = false)]
    new_asset_settings: Option<AssetOptionsUpdate>,
    /// Description by the owner.
    #[serde(default)]
    #[schema(nullable = false)]
    meta: Option<LiveStreamMetadata>,
    /// Settings that this version does not know, kept and returned. A null removes a setting.
    #[serde(flatten)]
    #[schema(ignore)]
    extras: Extras,
}

impl CreateLiveStreamRequest {
    /// Returns the requested [`Settings`], or their errors. The request may have at most `max_simulcast_targets`.
    pub(crate) fn settings(&self, max_simulcast_targets: usize) -> Result<Settings, Vec<String>> {
        let mut errors = FieldErrors::default();
        let latency_mode = latency(self.latency_mode, self.low_latency, self.reduced_latency, &mut errors);
        let mut settings = Settings {
            latency_mode: latency_mode.unwrap_or_default(),
            reconnect_window: self.reconnect_window,
            max_continuous_duration: self.max_continuous_duration,
            audio_only: self.audio_only,
            test: self.test,
            passthrough: self.passthrough.clone().filter(|text| !text.is_empty()),
            meta: self.meta.clone(),
            use_slate_for_standard_latency: self.use_slate_for_standard_latency,
            reconnect_slate_url: self.reconnect_slate_url.clone().filter(|url| !url.is_empty()),
            new_asset_settings: self.new_asset_settings.clone(),
            ..Settings::default()
        };
        settings.embedded_subtitles = self.embedded_subtitles.iter().flatten().cloned().map(|s| s.named()).collect();
        settings.generated_subtitles = self.generated_subtitles.iter().flatten().cloned().map(|s| s.named()).collect();
        let known = self.extras.iter().filter(|(name, _)| !READ_ONLY.contains(&name.as_str()));
        merge(&mut settings.extras, known.map(|(name, value)| (name.clone(), value.clone())).collect());
        self.check_lists(max_simulcast_targets, &mut errors);
        settings.validate("", &mut errors);
        errors.into_result().map(|()| settings)
    }

    /// Returns the requested playback ids. A newer field wins over an older one.
    pub(crate) fn playback_ids(&self) -> Vec<CreatePlaybackIDRequest> {
        if let Some(list) = &self.advanced_playback_policies {
            return list.clone();
        }
        let policies = self.playback_policies.as_ref().or(self.playback_policy.as_ref());
        let of = |policy: &Policy| CreatePlaybackIDRequest { policy: Some(*policy), drm_configuration_id: None };
        policies.map(|list| list.iter().map(of).collect()).unwrap_or_default()
    }

    fn check_lists(&self, max_simulcast_targets: usize, errors: &mut FieldErrors) {
        let policies = [("playback_policy", &self.playback_policy), ("playback_policies", &self.playback_policies)];
        for (at, policies) in policies {
            if policies.as_ref().is_some_and(|policies| policies.contains(&Policy::Drm)) {
                errors.add(at, "cannot be drm; use advanced_playback_policies");
            }
        }
        self.advanced_playback_policies.validate("advanced_playback_policies", errors);
        errors.at_most("playback_policies", self.playback_ids().len(), MAX_PLAYBACK_IDS);
        let targets = self.simulcast_targets.as_deref().unwrap_or_default();
        list(targets, "simulcast_targets", max_simulcast_targets, errors);
    }
}

impl UpdateLiveStreamRequest {
    /// Removes the simulcast targets from the request if `is_unchanged` accepts them, because clients send back
    /// everything that they received. Others are an error in [`apply`](Self::apply).
    pub(crate) fn ignore_simulcast_targets(&mut self, is_unchanged: impl FnOnce(&[Value]) -> bool) {
        let sent = self.extras.get("simulcast_targets").and_then(Value::as_array);
        if sent.is_some_and(|targets| is_unchanged(targets)) {
            self.extras.remove("simulcast_targets");
        }
    }

    /// Applies the changes to `settings`, or returns their errors.
    pub(crate) fn apply(mut self, settings: &mut Settings) -> Result<(), Vec<String>> {
        let mut errors = FieldErrors::default();
        unchanged(&mut self.extras, &CREATE_ONLY, settings, "", &mut errors);
        if let Some(update) = &mut self.new_asset_settings {
            update.validate(settings.new_asset_settings.as_ref(), "new_asset_settings", &mut errors);
        }
        if let Some(mode) = latency(self.latency_mode, self.low_latency, self.reduced_latency, &mut errors) {
            settings.latency_mode = mode;
        }
        settings.reconnect_window = self.reconnect_window.or(settings.reconnect_window);
        // Clients send back everything that they received, also a default. That is no change.
        let max_duration = self.max_continuous_duration.filter(|d| *d != settings.max_continuous_duration());
        settings.max_continuous_duration = max_duration.or(settings.max_continuous_duration);
        settings.use_slate_for_standard_latency =
            self.use_slate_for_standard_latency.or(settings.use_slate_for_standard_latency);
        replace_or_clear(&mut settings.passthrough, self.passthrough);
        replace_or_clear(&mut settings.reconnect_slate_url, self.reconnect_slate_url);
        if let Some(meta) = self.meta {
            let kept = settings.meta.get_or_insert_default();
            replace_or_clear(&mut kept.title, meta.title);
            merge(&mut kept.extras, meta.extras);
        }
        if let Some(update) = self.new_asset_settings {
            settings.new_asset_settings.get_or_insert_default().apply(update);
        }
        let known = self.extras.into_iter().filter(|(name, _)| !READ_ONLY.contains(&name.as_str()));
        merge(&mut settings.extras, known.collect());
        settings.validate("", &mut errors);
        errors.into_result()
    }
}

/// Deserializes a whole number, which JSON may also write with a fraction of zero.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(from)? else { return Ok(None) };
    // The conversion saturates, and [`Settings::validate`] checks the range.
    if number.fract() == 0.0 { Ok(Some(number as u32)) } else { Err(D::Error::custom("must be a whole number")) }
}

fn replace_or_clear(kept: &mut Option<String>, change: Option<String>) {
    if let Some(text) = change {
        *kept = Some(text).filter(|text| !text.is_empty());
    }
}

/// Returns the latency mode that the field and its two older forms agree on.
fn latency(
    mode: Option<LatencyMode>,
    low: Option<bool>,
    reduced: Option<bool>,
    errors: &mut FieldErrors,
) -> Option<LatencyMode> {
    let flags = match (low, reduced) {
        (None, None) => None,
        (Some(true), Some(true)) => {
            errors.add("low_latency", "cannot be true together with reduced_latency; use latency_mode");
            None
        }
        (Some(true), _) => Some(LatencyMode::Low),
        (_, Some(true)) => Some(LatencyMode::Reduced),
        _ => Some(LatencyMode::Standard),
    };
    match (mode, flags) {
        (Some(mode), Some(flags)) if mode != flags && flags != LatencyMode::Standard => {
            errors.add("latency_mode", "contradicts low_latency or reduced_latency; leave those out");
            None
        }
        _ => mode.or(flags),
    }
}

impl Validate for Settings {
    fn validate(&self, _: &str, errors: &mut FieldErrors) {
        if self.reconnect_window.is_some_and(|w| !(0.0..=MAX_RECONNECT_WINDOW).contains(&w)) {
            errors.add("reconnect_window", "must be a number from 0 to 1800 (seconds)");
        }
        let durations = MIN_CONTINUOUS_DURATION..=MAX_CONTINUOUS_DURATION;
        if self.max_continuous_duration.is_some_and(|d| !durations.contains(&d)) {
            errors.add("max_continuous_duration", "must be a whole number from 60 to 43200 (seconds)");
        }
        text(self.passthrough.as_deref(), "passthrough", MAX_PASSTHROUGH, errors);
        if let Some(slate) = &self.reconnect_slate_url {
            url(slate, &["http", "https"], "reconnect_slate_url", errors);
        }
        self.meta.validate("meta", errors);
        self.new_asset_settings.validate("new_asset_settings", errors);
        embedded(&self.embedded_subtitles, "embedded_subtitles", errors);
        errors.at_most("generated_subtitles", self.generated_subtitles.len(), 1);
        self.generated_subtitles.validate("generated_subtitles", errors);
        if serde_json::to_string(self).map_or(usize::MAX, |json| json.len()) > MAX_SETTINGS {
            errors.add("settings", "must not exceed 32 KiB");
        }
    }
}
