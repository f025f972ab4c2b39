//! Settings of a live stream, in the form of the API and of the store.
//!
//! Settings that this version does not know are kept in [`Extras`] beside the known ones, at every level, and are
//! returned unchanged.

mod asset;
mod one_or_many;
mod request;
mod simulcast;
mod validate;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub(crate) use asset::{AssetOptions, AssetOptionsUpdate, StaticRendition};
use asset::{EncodingTier, MaxResolutionTier, VideoQuality};
pub(crate) use one_or_many::one_or_many;
pub(crate) use request::{CreateLiveStreamRequest, MAX_PLAYBACK_IDS, UpdateLiveStreamRequest};
pub(crate) use simulcast::CreateSimulcastTargetRequest;
pub use simulcast::SimulcastRendition;
pub(crate) use validate::{FieldErrors, MAX_PASSTHROUGH, Validate};

/// Settings that this version does not know.
pub(crate) type Extras = Map<String, Value>;

/// Default and largest limit of the duration of a broadcast, in seconds.
pub(crate) const MAX_CONTINUOUS_DURATION: u32 = 43_200;

/// Default reconnect window of [`LatencyMode::Standard`], in seconds.
const STANDARD_RECONNECT_WINDOW: f64 = 60.0;

/// Latency of the programme for viewers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LatencyMode {
    /// Low-latency HLS with parts.
    Low,
    /// Shorter segments.
    Reduced,
    /// Standard latency, the default.
    #[default]
    Standard,
}

impl From<LatencyMode> for media::LatencyMode {
    fn from(mode: LatencyMode) -> Self {
        match mode {
            LatencyMode::Low => Self::Low,
            LatencyMode::Reduced => Self::Reduced,
            LatencyMode::Standard => Self::Standard,
        }
    }
}

/// Quality and cost of the renditions of a live stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quality {
    /// Passthrough: the programme as the encoder sent it.
    Basic,
    /// The usual renditions.
    Plus,
    /// More renditions, with higher bit rates.
    Premium,
}

/// Viewers that a playback id admits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Everyone with the id.
    #[default]
    Public,
    /// Viewers with a token that was signed for the id.
    Signed,
    /// Viewers with a signed token and a DRM licence.
    Drm,
}

impl Policy {
    /// Parses the name of a policy in the API.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Public, Self::Signed, Self::Drm].into_iter().find(|policy| policy.as_str() == name)
    }

    /// Returns the name of the policy in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Signed => "signed",
            Self::Drm => "drm",
        }
    }
}

/// A playback id to create.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct CreatePlaybackIDRequest {
    /// Viewers that the playback id admits; `public` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) policy: Option<Policy>,
    /// DRM configuration, required with `drm` and allowed only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) drm_configuration_id: Option<String>,
}

/// Description of a live stream by its owner.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct LiveStreamMetadata {
    /// Title, at most 512 characters. An empty one removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 512)]
    pub(crate) title: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Caption channel of CEA-608.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LanguageChannel {
    /// The first channel of field 1.
    #[default]
    Cc1,
    /// The second channel of field 1.
    Cc2,
    /// The first channel of field 2.
    Cc3,
    /// The second channel of field 2.
    Cc4,
}

/// Closed captions in the incoming video. An omitted field gets its default, which the response contains.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EmbeddedSubtitle {
    /// Name of the track; by default, the name of the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) name: Option<String>,
    /// Free text of the owner, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// Language, as a BCP 47 tag.
    #[serde(default = "english")]
    #[schema(default = "en")]
    pub(crate) language_code: String,
    /// Channel of the captions.
    #[serde(default)]
    pub(crate) language_channel: LanguageChannel,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Subtitles from speech recognition. An omitted field gets its default, which the response contains.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GeneratedSubtitle {
    /// Name of the track; by default, the name of the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) name: Option<String>,
    /// Free text of the owner, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// Spoken language: `en`, `en-US`, `es`, `fr`, `de`, `pt` or `it`.
    #[serde(default = "english")]
    #[schema(default = "en", pattern = "^(en|en-US|es|fr|de|pt|it)$")]
    pub(crate) language_code: String,
    /// Vocabularies for the speech recognition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) transcription_vocabulary_ids: Option<Vec<String>>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

fn english() -> String {
    "en".to_owned()
}

impl EmbeddedSubtitle {
    /// Fills in the default name.
    pub(crate) fn named(mut self) -> Self {
        self.name.get_or_insert_with(|| format!("{} CC", language_name(&self.language_code)));
        self
    }
}

impl GeneratedSubtitle {
    /// Fills in the default name.
    pub(crate) fn named(mut self) -> Self {
        self.name.get_or_insert_with(|| format!("{} (generated)", language_name(&self.language_code)));
        self
    }
}

fn language_name(code: &str) -> &str {
    match code {
        "en" | "en-US" => "English",
        "es" => "Spanish",
        "fr" => "French",
        "de" => "German",
        "pt" => "Portuguese",
        "it" => "Italian",
        other => other,
    }
}

/// All settings of a live stream that contain no secret.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    #[serde(default)]
    pub(crate) latency_mode: LatencyMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reconnect_window: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_continuous_duration: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audio_only: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) test: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) passthrough: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<LiveStreamMetadata>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) use_slate_for_standard_latency: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reconnect_slate_url: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) embedded_subtitles: Vec<EmbeddedSubtitle>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) generated_subtitles: Vec<GeneratedSubtitle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) new_asset_settings: Option<AssetOptions>,
    #[serde(flatten)]
    pub(crate) extras: Extras,
}

impl Settings {
    /// Returns the seconds that an encoder may be absent before the broadcast ends.
    pub(crate) fn reconnect_window(&self) -> f64 {
        self.reconnect_window.unwrap_or(match self.latency_mode {
            LatencyMode::Standard => STANDARD_RECONNECT_WINDOW,
            LatencyMode::Reduced | LatencyMode::Low => 0.0,
        })
    }

    /// Returns whether a slate fills the gap while the encoder is absent.
    pub(crate) fn slate(&self) -> bool {
        let wanted = self.latency_mode != LatencyMode::Standard || self.use_slate_for_standard_latency == Some(true);
        wanted && self.reconnect_window() > 0.0
    }

    /// Returns the chosen quality, if any. `video_quality` wins over the older `encoding_tier`.
    pub(crate) fn quality(&self) -> Option<Quality> {
        let asset = self.new_asset_settings.as_ref()?;
        let older_name = asset.encoding_tier.map(|tier| match tier {
            EncodingTier::Baseline => Quality::Basic,
            EncodingTier::Smart => Quality::Plus,
            EncodingTier::Premium => Quality::Premium,
        });
        let quality = asset.video_quality.map(|quality| match quality {
            VideoQuality::Basic => Quality::Basic,
            VideoQuality::Plus => Quality::Plus,
            VideoQuality::Premium => Quality::Premium,
        });
        quality.or(older_name)
    }

    /// Returns the largest height that is encoded, in lines.
    pub(crate) fn max_height(&self) -> u32 {
        match self.new_asset_settings.as_ref().and_then(|asset| asset.max_resolution_tier) {
            None | Some(MaxResolutionTier::P1080) => 1_080,
            Some(MaxResolutionTier::P1440) => 1_440,
            Some(MaxResolutionTier::P2160) => 2_160,
        }
    }

    /// Returns the longest duration of a broadcast, in seconds.
    pub(crate) fn max_continuous_duration(&self) -> u32 {
        self.max_continuous_duration.unwrap_or(MAX_CONTINUOUS_DURATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: serde_json::Value) -> Settings {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn slates_follow_latency_mode_and_reconnect_window() {
        let slate = |json| settings(json).slate();
        assert!(!slate(serde_json::json!({})), "standard latency has a slate only on request");
        assert!(slate(serde_json::json!({"use_slate_for_standard_latency": true})));
        assert!(!slate(serde_json::json!({"latency_mode": "low"})), "there is no reconnect window to fill");
        assert!(slate(serde_json::json!({"latency_mode": "low", "reconnect_window": 30})));
        assert!(!slate(serde_json::json!({"use_slate_for_standard_latency": true, "reconnect_window": 0})));
    }

    #[test]
    fn encoding_tier_is_the_older_name_of_video_quality() {
        let quality = |asset: serde_json::Value| settings(serde_json::json!({"new_asset_settings": asset})).quality();
        assert_eq!(quality(serde_json::json!({})), None);
        assert_eq!(quality(serde_json::json!({"encoding_tier": "smart"})), Some(Quality::Plus));
        assert_eq!(
            quality(serde_json::json!({"video_quality": "premium", "encoding_tier": "baseline"})),
            Some(Quality::Premium)
        );
        assert_eq!(settings(serde_json::json!({})).max_height(), 1_080);
        let tall = serde_json::json!({"new_asset_settings": {"max_resolution_tier": "2160p"}});
        assert_eq!(settings(tall).max_height(), 2_160);
    }
}
