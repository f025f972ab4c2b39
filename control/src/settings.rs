//! The settings of a live stream, in the shapes the API speaks and the store keeps.
//!
//! Settings that this version does not know are kept in `extras` beside those it knows, at every level, and are given
//! back as they came.

mod asset;
mod one_or_many;
mod request;
mod validate;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::index::Quality;

pub(crate) use asset::{AssetOptions, AssetOptionsUpdate, StaticRendition};
use asset::{EncodingTier, MaxResolutionTier, VideoQuality};
pub(crate) use one_or_many::one_or_many;
pub(crate) use request::{CreateLiveStreamRequest, MAX_PLAYBACK_IDS, MAX_SIMULCAST_TARGETS, UpdateLiveStreamRequest};
pub(crate) use validate::{FieldErrors, MAX_PASSTHROUGH, Validate};

/// Settings this version does not know.
pub(crate) type Extras = Map<String, Value>;

/// Longest a broadcast may last unless told otherwise, in seconds; also the most that can be asked for.
pub(crate) const MAX_CONTINUOUS_DURATION: u32 = 43_200;

/// Reconnect window of standard latency, in seconds, unless told otherwise.
const STANDARD_RECONNECT_WINDOW: f64 = 60.0;

/// How early viewers get the programme.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LatencyMode {
    /// Low-latency HLS with parts.
    Low,
    /// Shorter segments.
    Reduced,
    /// The default.
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

/// Who may watch through a playback id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Everyone who knows the id.
    #[default]
    Public,
    /// Who brings a token signed for it.
    Signed,
    /// Who brings a token and gets a licence.
    Drm,
}

impl Policy {
    /// The policy as the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Signed => "signed",
            Self::Drm => "drm",
        }
    }
}

/// A playback id to be made.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct CreatePlaybackIDRequest {
    /// Who may watch through it; `public` unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) policy: Option<Policy>,
    /// The DRM configuration, needed with `drm` and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) drm_configuration_id: Option<String>,
}

/// What the owner tells about a live stream.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct LiveStreamMetadata {
    /// The title, at most 512 characters; empty clears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 512)]
    pub(crate) title: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// A caption channel of CEA-608.
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

/// Closed captions inside the incoming video. What is left out gets its default and is answered with it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EmbeddedSubtitle {
    /// The track's name; made from the language unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) name: Option<String>,
    /// The owner's own note, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// The language, as BCP 47 writes it.
    #[serde(default = "english")]
    #[schema(default = "en")]
    pub(crate) language_code: String,
    /// The channel the captions come in.
    #[serde(default)]
    pub(crate) language_channel: LanguageChannel,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// Subtitles made by speech recognition. What is left out gets its default and is answered with it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GeneratedSubtitle {
    /// The track's name; made from the language unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) name: Option<String>,
    /// The owner's own note, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// The language that is spoken: `en`, `en-US`, `es`, `fr`, `de`, `pt` or `it`.
    #[serde(default = "english")]
    #[schema(default = "en", pattern = "^(en|en-US|es|fr|de|pt|it)$")]
    pub(crate) language_code: String,
    /// Vocabularies that help the recognition.
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
    /// The same with a name.
    pub(crate) fn named(mut self) -> Self {
        self.name.get_or_insert_with(|| format!("{} CC", language_name(&self.language_code)));
        self
    }
}

impl GeneratedSubtitle {
    /// The same with a name.
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

/// A place to send the programme on to.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct CreateSimulcastTargetRequest {
    /// The owner's own note, at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub(crate) passthrough: Option<String>,
    /// The key at the other service; RTMP and RTMPS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) stream_key: Option<String>,
    /// The `rtmp`, `rtmps` or `srt` address of the other service.
    #[schema(pattern = "^(rtmp|rtmps|srt)://[A-Za-z0-9]")]
    pub(crate) url: String,
    /// Keys that this version does not know.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) extras: Extras,
}

/// All settings of a live stream that hold no secret.
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
    /// Seconds an encoder may stay away.
    pub(crate) fn reconnect_window(&self) -> f64 {
        self.reconnect_window.unwrap_or(match self.latency_mode {
            LatencyMode::Standard => STANDARD_RECONNECT_WINDOW,
            LatencyMode::Reduced | LatencyMode::Low => 0.0,
        })
    }

    /// Whether a slate fills the gap while the encoder is away.
    pub(crate) fn slate(&self) -> bool {
        let wanted = self.latency_mode != LatencyMode::Standard || self.use_slate_for_standard_latency == Some(true);
        wanted && self.reconnect_window() > 0.0
    }

    /// How much is encoded, if anybody said.
    pub(crate) fn quality(&self) -> Option<Quality> {
        let asset = self.new_asset_settings.as_ref()?;
        let older = asset.encoding_tier.map(|tier| match tier {
            EncodingTier::Baseline => Quality::Basic,
            EncodingTier::Smart => Quality::Plus,
            EncodingTier::Premium => Quality::Premium,
        });
        let quality = asset.video_quality.map(|quality| match quality {
            VideoQuality::Basic => Quality::Basic,
            VideoQuality::Plus => Quality::Plus,
            VideoQuality::Premium => Quality::Premium,
        });
        quality.or(older)
    }

    /// The tallest picture that is encoded, in lines.
    pub(crate) fn max_height(&self) -> u32 {
        match self.new_asset_settings.as_ref().and_then(|asset| asset.max_resolution_tier) {
            None | Some(MaxResolutionTier::P1080) => 1_080,
            Some(MaxResolutionTier::P1440) => 1_440,
            Some(MaxResolutionTier::P2160) => 2_160,
        }
    }

    /// Seconds a broadcast may last.
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
    fn slates_are_where_the_api_says() {
        let slate = |json| settings(json).slate();
        assert!(!slate(serde_json::json!({})), "standard latency has none unless asked for");
        assert!(slate(serde_json::json!({"use_slate_for_standard_latency": true})));
        assert!(!slate(serde_json::json!({"latency_mode": "low"})), "there is no reconnect window to fill");
        assert!(slate(serde_json::json!({"latency_mode": "low", "reconnect_window": 30})));
        assert!(!slate(serde_json::json!({"use_slate_for_standard_latency": true, "reconnect_window": 0})));
    }

    #[test]
    fn quality_has_an_older_name() {
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
