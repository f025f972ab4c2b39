//! Settings for the recordings of a live stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::one_or_many::Shorthand;
use super::validate::{MAX_LIST, language, text};
use super::{CreatePlaybackIDRequest, Extras, FieldErrors, MAX_PASSTHROUGH, Policy, Validate, one_or_many};

/// MP4 files in addition to the playlists; the older form of static renditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mp4Support {
    None,
    Standard,
    #[serde(rename = "capped-1080p")]
    Capped,
    AudioOnly,
    #[serde(rename = "audio-only,capped-1080p")]
    AudioOnlyCapped,
}

/// Access to the recording as the encoder sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MasterAccess {
    None,
    Temporary,
}

/// Largest resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) enum MaxResolutionTier {
    #[serde(rename = "1080p")]
    P1080,
    #[serde(rename = "1440p")]
    P1440,
    #[serde(rename = "2160p")]
    P2160,
}

/// Quality and cost; the older form of the video quality.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingTier {
    Smart,
    Baseline,
    Premium,
}

/// Quality and cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VideoQuality {
    Basic,
    Plus,
    Premium,
}

/// Quality and cost that an existing live stream can change to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VideoQualityUpdate {
    Plus,
    Premium,
}

/// Size of a static rendition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StaticResolution {
    Highest,
    AudioOnly,
    #[serde(rename = "2160p")]
    P2160,
    #[serde(rename = "1440p")]
    P1440,
    #[serde(rename = "1080p")]
    P1080,
    #[serde(rename = "720p")]
    P720,
    #[serde(rename = "540p")]
    P540,
    #[serde(rename = "480p")]
    P480,
    #[serde(rename = "360p")]
    P360,
    #[serde(rename = "270p")]
    P270,
}

/// Media type of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InputType {
    Video,
    Audio,
    Text,
}

/// A file to create from the recording.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StaticRendition {
    /// Size of the file.
    pub(crate) resolution: StaticResolution,
    /// Free text of the owner, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Description of a recording by its owner.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AssetMetadata {
    /// Title, at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 512)]
    pub(crate) title: Option<String>,
    /// Owner's id for the creator, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 128)]
    pub(crate) creator_id: Option<String>,
    /// Owner's id for the recording, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 128)]
    pub(crate) external_id: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Settings of an input. For a live stream, the first input describes the programme itself and has no URL.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct InputSettings {
    /// URL of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) url: Option<String>,
    /// Position and size of an image over the programme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    pub(crate) overlay_settings: Option<Extras>,
    /// Media type of the input.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) kind: Option<InputType>,
    /// Language, as a BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) language_code: Option<String>,
    /// Name of the track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) name: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Settings of new recordings.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AssetOptions {
    /// Older name of `inputs`.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) input: Option<Vec<InputSettings>>,
    /// Inputs in addition to the programme.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) inputs: Option<Vec<InputSettings>>,
    /// Older name of `playback_policies`.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) playback_policy: Option<Vec<Policy>>,
    /// Policies, with a playback id created for each.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) playback_policies: Option<Vec<Policy>>,
    /// Policies, with a playback id created for each. Required for DRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) advanced_playback_policies: Option<Vec<CreatePlaybackIDRequest>>,
    /// Free text of the owner, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// MP4 files in addition to the playlists; not together with `static_renditions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) mp4_support: Option<Mp4Support>,
    /// Bring the audio to a common loudness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) normalize_audio: Option<bool>,
    /// Access to the recording as the encoder sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) master_access: Option<MasterAccess>,
    /// Create test assets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) test: Option<bool>,
    /// Largest resolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) max_resolution_tier: Option<MaxResolutionTier>,
    /// Older name of `video_quality`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) encoding_tier: Option<EncodingTier>,
    /// Quality and cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) video_quality: Option<VideoQuality>,
    /// Files to create from the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) static_renditions: Option<Vec<StaticRendition>>,
    /// Description of the recording by its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) meta: Option<AssetMetadata>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Changes to the settings of new recordings. An omitted setting stays as it is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AssetOptionsUpdate {
    /// MP4 files in addition to the playlists.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) mp4_support: Option<Mp4Support>,
    /// Access to the recording as the encoder sent it.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) master_access: Option<MasterAccess>,
    /// Quality and cost.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) video_quality: Option<VideoQualityUpdate>,
    /// Description of the recording by its owner.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) meta: Option<AssetMetadata>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Settings of new recordings that only the creation of a live stream or a separate endpoint can set.
const CREATE_ONLY: [&str; 11] = [
    "input",
    "inputs",
    "playback_policy",
    "playback_policies",
    "advanced_playback_policies",
    "passthrough",
    "normalize_audio",
    "test",
    "max_resolution_tier",
    "encoding_tier",
    "static_renditions",
];

impl AssetOptions {
    /// Applies an [`AssetOptionsUpdate`].
    pub(crate) fn apply(&mut self, update: AssetOptionsUpdate) {
        self.mp4_support = update.mp4_support.or(self.mp4_support);
        self.master_access = update.master_access.or(self.master_access);
        match update.video_quality {
            Some(VideoQualityUpdate::Plus) => self.video_quality = Some(VideoQuality::Plus),
            Some(VideoQualityUpdate::Premium) => self.video_quality = Some(VideoQuality::Premium),
            None => {}
        }
        if let Some(meta) = update.meta {
            let kept = self.meta.get_or_insert_default();
            kept.title = meta.title.or(kept.title.take());
            kept.creator_id = meta.creator_id.or(kept.creator_id.take());
            kept.external_id = meta.external_id.or(kept.external_id.take());
            merge(&mut kept.extras, meta.extras);
        }
        merge(&mut self.extras, update.extras);
    }
}

impl AssetOptionsUpdate {
    /// Adds what is wrong with this change of `kept` to `errors`.
    pub(crate) fn validate(&mut self, kept: Option<&AssetOptions>, at: &str, errors: &mut FieldErrors) {
        self.meta.validate(&format!("{at}.meta"), errors);
        unchanged(&mut self.extras, &CREATE_ONLY, &kept, &format!("{at}."), errors);
    }
}

/// Removes the settings from `extras` that an update cannot change. A value equal to the current one is no error,
/// because clients send back everything that they received.
pub(crate) fn unchanged<T: Serialize>(
    extras: &mut Extras,
    names: &[&str],
    kept: &T,
    at: &str,
    errors: &mut FieldErrors,
) {
    let kept = serde_json::to_value(kept).unwrap_or_default();
    for name in names {
        if extras.remove(*name).is_some_and(|value| kept.get(name) != Some(&value)) {
            errors.add(&format!("{at}{name}"), "cannot be changed by an update");
        }
    }
}

/// Merges unknown settings into `kept`. A null removes a setting.
pub(crate) fn merge(kept: &mut Extras, changes: Extras) {
    for (name, value) in changes {
        match value {
            Value::Null => drop(kept.remove(&name)),
            value => drop(kept.insert(name, value)),
        }
    }
}

impl Shorthand for InputSettings {
    const EXPECTED: &'static str = "a URL or an array of inputs";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self { url: Some(text.to_owned()), ..Self::default() })
    }
}

impl Validate for AssetOptions {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        text(self.passthrough.as_deref(), &format!("{at}.passthrough"), MAX_PASSTHROUGH, errors);
        if self.static_renditions.is_some() && self.mp4_support.is_some_and(|s| s != Mp4Support::None) {
            errors.add(at, "may have either mp4_support or static_renditions, not both");
        }
        for (name, policies) in
            [("playback_policy", &self.playback_policy), ("playback_policies", &self.playback_policies)]
        {
            let policies = policies.as_deref().unwrap_or_default();
            errors.at_most(&format!("{at}.{name}"), policies.len(), MAX_LIST);
            if policies.contains(&Policy::Drm) {
                errors.add(&format!("{at}.{name}"), "cannot be drm; use advanced_playback_policies");
            }
        }
        self.advanced_playback_policies.validate(&format!("{at}.advanced_playback_policies"), errors);
        self.static_renditions.validate(&format!("{at}.static_renditions"), errors);
        self.input.validate(&format!("{at}.input"), errors);
        self.inputs.validate(&format!("{at}.inputs"), errors);
        self.meta.validate(&format!("{at}.meta"), errors);
    }
}

impl Validate for StaticRendition {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        text(self.passthrough.as_deref(), &format!("{at}.passthrough"), MAX_PASSTHROUGH, errors);
    }
}

impl Validate for AssetMetadata {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        text(self.title.as_deref(), &format!("{at}.title"), 512, errors);
        text(self.creator_id.as_deref(), &format!("{at}.creator_id"), 128, errors);
        text(self.external_id.as_deref(), &format!("{at}.external_id"), 128, errors);
    }
}

impl Validate for InputSettings {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        if let Some(code) = &self.language_code {
            language(code, &format!("{at}.language_code"), errors);
        }
        if self.kind == Some(InputType::Text) && self.language_code.is_none() {
            errors.add(&format!("{at}.language_code"), "is required if type is text");
        }
    }
}
