//! Look-ups in memory: by stream key for listeners, by playback id for the origin.
//!
//! A listener asks on threads that must not wait for a database. The index follows each committed change of the store
//! and holds one small entry for each live stream and each playback id, no more than the store does.

use std::collections::HashMap;
use std::sync::Arc;

use media::LatencyMode;
use media::id::{LiveStreamId, PlaybackId, StreamKey};
use parking_lot::RwLock;

use crate::record::Record;
use crate::secret::{Hash, hash};
use crate::settings::Policy;

/// What the path of a frame needs to know of a live stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSettings {
    /// The live stream.
    pub id: LiveStreamId,
    /// How early viewers get the programme.
    pub latency_mode: LatencyMode,
    /// Whether the pictures are left out.
    pub audio_only: bool,
    /// How much is encoded for viewers; none where nobody said.
    pub quality: Option<Quality>,
    /// The tallest picture that is encoded, in lines; of an upright one the widest.
    pub max_height: u32,
    /// Whether the sound is brought to a common loudness.
    pub normalize_audio: bool,
    /// Whether viewers see a slate picture while the encoder is away.
    pub slate: bool,
    /// Where the slate picture is; the server has one of its own.
    pub slate_url: Option<String>,
    /// The title that viewers see.
    pub title: Option<String>,
}

/// Quality against cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quality {
    /// The programme as it came in.
    Basic,
    /// The usual renditions.
    Plus,
    /// More renditions, with higher bit rates.
    Premium,
}

impl From<&Record> for StreamSettings {
    fn from(record: &Record) -> Self {
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
        }
    }
}

/// The answer to a stream key that an encoder brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyLookup {
    /// No live stream has this key.
    Unknown,
    /// The live stream refuses encoders.
    Disabled,
    /// Let the encoder in.
    Found(Arc<StreamSettings>),
}

/// The door of a live stream: one change at a time goes through it.
pub(crate) type Door = Arc<tokio::sync::Mutex<()>>;

#[derive(Default)]
pub(crate) struct Index(RwLock<Maps>);

#[derive(Default)]
struct Maps {
    streams: HashMap<LiveStreamId, Entry>,
    keys: HashMap<Hash, LiveStreamId>,
    playback: HashMap<PlaybackId, (LiveStreamId, Policy)>,
}

struct Entry {
    door: Door,
    key: StreamKey,
    srt_passphrase: String,
    enabled: bool,
    playback_ids: Vec<PlaybackId>,
    settings: Arc<StreamSettings>,
}

impl Index {
    /// Takes over a live stream as it was committed.
    pub(crate) fn put(&self, record: &Record) -> Arc<StreamSettings> {
        let settings = Arc::new(StreamSettings::from(record));
        let maps = &mut *self.0.write();
        let door = maps.forget(&record.id).unwrap_or_default();
        let key = record.secrets.stream_key.clone();
        maps.keys.insert(hash(key.reveal()), record.id.clone());
        for playback in &record.playback_ids {
            maps.playback.insert(playback.id.clone(), (record.id.clone(), playback.policy));
        }
        let playback_ids = record.playback_ids.iter().map(|p| p.id.clone()).collect();
        let srt_passphrase = record.secrets.srt_passphrase.clone();
        let enabled = record.state.enabled;
        let entry = Entry { door, key, srt_passphrase, enabled, playback_ids, settings: settings.clone() };
        maps.streams.insert(record.id.clone(), entry);
        settings
    }

    /// Forgets a live stream.
    pub(crate) fn remove(&self, id: &LiveStreamId) {
        self.0.write().forget(id);
    }

    /// The door of a live stream.
    pub(crate) fn door(&self, id: &LiveStreamId) -> Option<Door> {
        self.0.read().streams.get(id).map(|entry| entry.door.clone())
    }

    /// The live stream of the key an encoder brought.
    pub(crate) fn find_key(&self, presented: &str) -> KeyLookup {
        let Ok(presented) = presented.parse::<StreamKey>() else { return KeyLookup::Unknown };
        let maps = self.0.read();
        let entry = maps.keys.get(&hash(presented.reveal())).and_then(|id| maps.streams.get(id));
        // The hash found it; the comparison in constant time decides.
        match entry.filter(|entry| entry.key == presented) {
            None => KeyLookup::Unknown,
            Some(Entry { enabled: false, .. }) => KeyLookup::Disabled,
            Some(entry) => KeyLookup::Found(entry.settings.clone()),
        }
    }

    /// What SRT connections of a live stream are encrypted with.
    pub(crate) fn srt_passphrase(&self, id: &LiveStreamId) -> Option<String> {
        self.0.read().streams.get(id).map(|entry| entry.srt_passphrase.clone())
    }

    /// The live stream of a playback id, and who may watch through it.
    pub(crate) fn find_playback(&self, presented: &str) -> Option<(LiveStreamId, Policy)> {
        self.0.read().playback.get(&presented.parse().ok()?).cloned()
    }

    /// The title of the live stream of a playback id.
    pub(crate) fn title(&self, presented: &str) -> Option<String> {
        let maps = self.0.read();
        let (stream, _) = maps.playback.get(&presented.parse().ok()?)?;
        maps.streams.get(stream)?.settings.title.clone()
    }
}

impl Maps {
    fn forget(&mut self, id: &LiveStreamId) -> Option<Door> {
        let entry = self.streams.remove(id)?;
        self.keys.remove(&hash(entry.key.reveal()));
        for id in &entry.playback_ids {
            self.playback.remove(id);
        }
        Some(entry.door)
    }
}
