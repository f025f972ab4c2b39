//! The settings that recordings of a live stream will be made with.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::validate::{language, text};
use super::{CreatePlaybackIDRequest, Extras, FieldErrors, MAX_PASSTHROUGH, Policy, Validate, one_or_many};

/// Most static renditions, inputs and playback policies one live stream asks for; more are refused.
const MAX_LIST: usize = 20;

/// MP4 files beside the playlists; older than static renditions.
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

/// Access to the recording as it came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MasterAccess {
    None,
    Temporary,
}

/// The largest picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) enum MaxResolutionTier {
    #[serde(rename = "1080p")]
    P1080,
    #[serde(rename = "1440p")]
    P1440,
    #[serde(rename = "2160p")]
    P2160,
}

/// Quality against cost; the older name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodingTier {
    Smart,
    Baseline,
    Premium,
}

/// Quality against cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VideoQuality {
    Basic,
    Plus,
    Premium,
}

/// Quality against cost, of those a live stream can change to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VideoQualityUpdate {
    Plus,
    Premium,
}

/// The size of a static rendition.
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

/// What an input carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InputType {
    Video,
    Audio,
    Text,
}

/// A file to be made of the recording.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StaticRendition {
    /// Its size.
    pub(crate) resolution: StaticResolution,
    /// The owner's own note, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// What the owner tells about a recording.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AssetMetadata {
    /// The title, at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 512)]
    pub(crate) title: Option<String>,
    /// The owner's name for who made it, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 128)]
    pub(crate) creator_id: Option<String>,
    /// The owner's name for it, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 128)]
    pub(crate) external_id: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Settings of one input; for a live stream, the first one describes the programme itself and has no URL.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct InputSettings {
    /// Where the file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) url: Option<String>,
    /// How a picture lies over the programme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    pub(crate) overlay_settings: Option<Extras>,
    /// What the input carries.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) kind: Option<InputType>,
    /// The language, as BCP 47 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) language_code: Option<String>,
    /// The track's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) name: Option<String>,
    /// Further keys, kept as they are.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// The settings of new recordings.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AssetOptions {
    /// The older name of `inputs`.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) input: Option<Vec<InputSettings>>,
    /// Inputs beside the programme.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) inputs: Option<Vec<InputSettings>>,
    /// The older name of `playback_policies`.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) playback_policy: Option<Vec<Policy>>,
    /// A playback id is made for each.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) playback_policies: Option<Vec<Policy>>,
    /// A playback id is made for each; the way to ask for DRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) advanced_playback_policies: Option<Vec<CreatePlaybackIDRequest>>,
    /// The owner's own note, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// MP4 files beside the playlists; not together with `static_renditions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) mp4_support: Option<Mp4Support>,
    /// Bring the sound to a common loudness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) normalize_audio: Option<bool>,
    /// Access to the recording as it came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) master_access: Option<MasterAccess>,
    /// Make test assets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) test: Option<bool>,
    /// The largest picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) max_resolution_tier: Option<MaxResolutionTier>,
    /// The older name of `video_quality`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) encoding_tier: Option<EncodingTier>,
    /// Quality against cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) video_quality: Option<VideoQuality>,
    /// Files to be made of the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) static_renditions: Option<Vec<StaticRendition>>,
    /// What the owner tells about the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) meta: Option<AssetMetadata>,
    /// Further keys, kept as they are.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Changes to the settings of new recordings; what is left out stays.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AssetOptionsUpdate {
    /// MP4 files beside the playlists.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) mp4_support: Option<Mp4Support>,
    /// Access to the recording as it came in.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) master_access: Option<MasterAccess>,
    /// Quality against cost.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) video_quality: Option<VideoQualityUpdate>,
    /// What the owner tells about the recording.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) meta: Option<AssetMetadata>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Settings of new recordings that only the creation of a live stream, or an endpoint of their own, can set.
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
    /// Takes over what `update` brings.
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
    /// Says what is wrong with a change of `kept`.
    pub(crate) fn validate(&mut self, kept: Option<&AssetOptions>, at: &str, errors: &mut FieldErrors) {
        self.meta.validate(&format!("{at}.meta"), errors);
        unchanged(&mut self.extras, &CREATE_ONLY, &kept, &format!("{at}."), errors);
    }
}

/// Takes settings out of `extras` that an update cannot change. One that says what is kept already, as of a client that
/// sends back all it was given, does no harm.
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

/// Takes over unknown settings; a null takes one away.
pub(crate) fn merge(kept: &mut Extras, brought: Extras) {
    for (name, value) in brought {
        match value {
            Value::Null => drop(kept.remove(&name)),
            value => drop(kept.insert(name, value)),
        }
    }
}

impl Validate for AssetOptions {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        text(self.passthrough.as_deref(), &format!("{at}.passthrough"), MAX_PASSTHROUGH, errors);
        if self.static_renditions.is_some() && self.mp4_support.is_some_and(|s| s != Mp4Support::None) {
            errors.add(at, "takes either mp4_support or static_renditions, not both");
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
            errors.add(&format!("{at}.language_code"), "is required where type is text");
        }
    }
}
