//! The settings of a live stream that the path of a frame needs.

use media::LatencyMode;
use media::id::LiveStreamId;

use super::live_stream::LiveStreamRecord;
use super::simulcast_target::SimulcastTargetSettings;
use crate::settings::Quality;

/// Settings of a live stream for the path of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSettings {
    /// Id of the live stream.
    pub id: LiveStreamId,
    /// Latency of the programme for viewers.
    pub latency_mode: LatencyMode,
    /// Whether video is discarded.
    pub audio_only: bool,
    /// Renditions to encode for viewers; `None` if the owner did not choose.
    pub quality: Option<Quality>,
    /// Largest encoded height in lines; for a portrait programme, the largest width.
    pub max_height: u32,
    /// Whether the audio is brought to a common loudness.
    pub normalize_audio: bool,
    /// Whether viewers see a slate while the encoder is absent.
    pub slate: bool,
    /// URL of the slate image. Without one, the server shows its default image.
    pub slate_url: Option<String>,
    /// Title for viewers.
    pub title: Option<String>,
    /// Other services that the programme is sent to. Their secrets are hidden in the `Debug` output.
    pub simulcast_targets: Vec<SimulcastTargetSettings>,
}

impl From<&LiveStreamRecord> for StreamSettings {
    fn from(record: &LiveStreamRecord) -> Self {
        let settings = &record.settings;
        Self {
            id: record.id.clone(),
            latency_mode: settings.latency_mode.into(),
            audio_only: settings.audio_only.unwrap_or(false),
            quality: settings.quality(),
            max_height: settings.max_height(),
            normalize_audio: settings.new_asset_settings.as_ref().and_then(|a| a.normalize_audio).unwrap_or(false),
            slate: settings.slate(),
            slate_url: settings.reconnect_slate_url.clone(),
            title: settings.meta.as_ref().and_then(|meta| meta.title.clone()),
            simulcast_targets: record.secrets.simulcast_targets.iter().map(SimulcastTargetSettings::from).collect(),
        }
    }
}
