//! All live streams in memory, with look-ups by stream key for listeners and by playback id for the origin.
//!
//! A running broadcast lives from here, and a listener asks on threads that must not wait for a database. There is one
//! record for each live stream, no more than the store has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use media::LatencyMode;
use media::id::{LiveStreamId, PlaybackId, StreamKey};
use parking_lot::{Mutex, RwLock};

use crate::resource::{LiveStreamRecord, Status};
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

/// Which live streams a list is of.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) stream_key: Option<StreamKey>,
    pub(crate) status: Option<Status>,
}

/// A live stream as it is.
pub(crate) struct Live {
    /// Its place in the list.
    number: i64,
    /// Edits go through it one by one. Transitions of the lifecycle do not wait here, because an edit waits for the disk.
    pub(crate) door: tokio::sync::Mutex<()>,
    /// None once it is deleted. Held while a change is made known, so that changes come out in their order.
    pub(crate) record: Mutex<Option<LiveStreamRecord>>,
}

impl Live {
    /// The live stream as it stands.
    pub(crate) fn get(&self) -> Option<LiveStreamRecord> {
        self.record.lock().clone()
    }
}

#[derive(Default)]
pub(crate) struct Index(RwLock<Maps>);

#[derive(Default)]
struct Maps {
    streams: HashMap<LiveStreamId, Entry>,
    list: BTreeMap<i64, LiveStreamId>,
    newest: i64,
    keys: HashMap<Hash, LiveStreamId>,
    playback: HashMap<PlaybackId, (LiveStreamId, Policy)>,
}

struct Entry {
    live: Arc<Live>,
    key: StreamKey,
    srt_passphrase: String,
    enabled: bool,
    playback_ids: Vec<PlaybackId>,
    settings: Arc<StreamSettings>,
}

impl Index {
    /// A place behind all others in the list.
    pub(crate) fn next_number(&self) -> i64 {
        let maps = &mut *self.0.write();
        maps.newest += 1;
        maps.newest
    }

    /// Adds a live stream in its place of the list; it cannot be found until it is [`put`](Self::put).
    pub(crate) fn add(&self, number: i64, record: LiveStreamRecord) -> Arc<Live> {
        let maps = &mut *self.0.write();
        maps.newest = maps.newest.max(number);
        Arc::new(Live { number, door: tokio::sync::Mutex::default(), record: Mutex::new(Some(record)) })
    }

    /// Lets a live stream be found as its record says now.
    pub(crate) fn put(&self, live: &Arc<Live>, record: &LiveStreamRecord) -> Arc<StreamSettings> {
        let settings = Arc::new(StreamSettings::from(record));
        let maps = &mut *self.0.write();
        maps.forget(&record.id);
        let key = record.secrets.stream_key.clone();
        maps.keys.insert(hash(key.reveal()), record.id.clone());
        for playback in &record.playback_ids {
            maps.playback.insert(playback.id.clone(), (record.id.clone(), playback.policy));
        }
        let playback_ids = record.playback_ids.iter().map(|p| p.id.clone()).collect();
        let srt_passphrase = record.secrets.srt_passphrase.clone();
        let enabled = record.state.enabled;
        let live = live.clone();
        maps.list.insert(live.number, record.id.clone());
        let entry = Entry { live, key, srt_passphrase, enabled, playback_ids, settings: settings.clone() };
        maps.streams.insert(record.id.clone(), entry);
        settings
    }

    /// Forgets a live stream.
    pub(crate) fn remove(&self, id: &LiveStreamId) {
        self.0.write().forget(id);
    }

    /// A live stream.
    pub(crate) fn live(&self, id: &LiveStreamId) -> Option<Arc<Live>> {
        self.0.read().streams.get(id).map(|entry| entry.live.clone())
    }

    /// A page of the live streams that pass the filter, newest first.
    pub(crate) fn list(&self, filter: &Filter, limit: usize, offset: usize) -> Vec<LiveStreamRecord> {
        // Records are looked at without the maps: whoever holds a record may want to change the maps.
        let found: Vec<_> = {
            let maps = self.0.read();
            let of = |id: &LiveStreamId| maps.streams.get(id).map(|entry| entry.live.clone());
            match &filter.stream_key {
                Some(key) => maps.keys.get(&hash(key.reveal())).and_then(of).into_iter().collect(),
                None => maps.list.values().rev().filter_map(of).collect(),
            }
        };
        let records = found.iter().filter_map(|live| live.record.lock().as_ref().filter(|r| filter.passes(r)).cloned());
        records.skip(offset).take(limit).collect()
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

impl Filter {
    fn passes(&self, record: &LiveStreamRecord) -> bool {
        self.status.is_none_or(|status| status == Status::from(&record.state))
            && self.stream_key.as_ref().is_none_or(|key| *key == record.secrets.stream_key)
    }
}

impl Maps {
    fn forget(&mut self, id: &LiveStreamId) {
        let Some(entry) = self.streams.remove(id) else { return };
        self.list.remove(&entry.live.number);
        self.keys.remove(&hash(entry.key.reveal()));
        for id in &entry.playback_ids {
            self.playback.remove(id);
        }
    }
}
