//! All live streams in memory, with lookups by stream key for listeners and by playback id for the origin.
//!
//! Running broadcasts depend only on this index, and listeners call it on threads that must not wait for a database. It
//! holds one record for each live stream, so it is no larger than the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use media::id::{LiveStreamId, PlaybackId, StreamKey};
use parking_lot::{Mutex, RwLock};

use crate::resource::{LiveStreamRecord, Status, StreamSettings};
use crate::secret::{Hash, hash};
use crate::settings::Policy;

/// Result of the lookup of a stream key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyLookup {
    /// No live stream has this key.
    Unknown,
    /// The live stream refuses encoders.
    Disabled,
    /// The encoder may publish to this live stream.
    Found(Arc<StreamSettings>),
}

/// Selects the live streams of a list. An absent condition matches all.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) stream_key: Option<StreamKey>,
    pub(crate) status: Option<Status>,
}

/// A live stream with its locks.
pub(crate) struct StreamLock {
    /// Position in the list.
    number: i64,
    /// Serialises edits. Transitions of the lifecycle do not take this lock, because an edit holds it during its write.
    pub(crate) edits: tokio::sync::Mutex<()>,
    /// The live stream; `None` once it is deleted. Locked while a change is published, so that changes are published in
    /// order.
    pub(crate) record: Mutex<Option<LiveStreamRecord>>,
}

impl StreamLock {
    /// Returns a copy of the live stream; `None` once it is deleted.
    pub(crate) fn get(&self) -> Option<LiveStreamRecord> {
        self.record.lock().clone()
    }
}

/// The index of all live streams, each behind its [`StreamLock`].
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

/// A live stream in [`Maps`], with the keys of all its entries there.
struct Entry {
    stream: Arc<StreamLock>,
    key: StreamKey,
    srt_passphrase: String,
    enabled: bool,
    playback_ids: Vec<PlaybackId>,
    settings: Arc<StreamSettings>,
}

impl Index {
    /// Returns the next position at the end of the list.
    pub(crate) fn next_number(&self) -> i64 {
        let maps = &mut *self.0.write();
        maps.newest += 1;
        maps.newest
    }

    /// Returns the locks of a live stream that is to have position `number` in the list. It cannot be found until
    /// [`put`](Self::put).
    pub(crate) fn prepare(&self, number: i64, record: LiveStreamRecord) -> Arc<StreamLock> {
        let maps = &mut *self.0.write();
        maps.newest = maps.newest.max(number);
        Arc::new(StreamLock { number, edits: tokio::sync::Mutex::default(), record: Mutex::new(Some(record)) })
    }

    /// Replaces all entries of a live stream by those of `record`.
    pub(crate) fn put(&self, stream: &Arc<StreamLock>, record: &LiveStreamRecord) -> Arc<StreamSettings> {
        let settings = Arc::new(StreamSettings::from(record));
        let maps = &mut *self.0.write();
        maps.remove(&record.id);
        let key = record.secrets.stream_key.clone();
        maps.keys.insert(hash(key.reveal()), record.id.clone());
        for playback in &record.playback_ids {
            maps.playback.insert(playback.id.clone(), (record.id.clone(), playback.policy));
        }
        let playback_ids = record.playback_ids.iter().map(|p| p.id.clone()).collect();
        let srt_passphrase = record.secrets.srt_passphrase.clone();
        let enabled = record.state.enabled;
        let stream = stream.clone();
        maps.list.insert(stream.number, record.id.clone());
        let entry = Entry { stream, key, srt_passphrase, enabled, playback_ids, settings: settings.clone() };
        maps.streams.insert(record.id.clone(), entry);
        settings
    }

    /// Removes a live stream.
    pub(crate) fn remove(&self, id: &LiveStreamId) {
        self.0.write().remove(id);
    }

    /// Returns a live stream.
    pub(crate) fn stream(&self, id: &LiveStreamId) -> Option<Arc<StreamLock>> {
        self.0.read().streams.get(id).map(|entry| entry.stream.clone())
    }

    /// Returns a page of the live streams that match the [`Filter`], newest first.
    pub(crate) fn list(&self, filter: &Filter, limit: usize, offset: usize) -> Vec<LiveStreamRecord> {
        // The records are locked only after the maps are unlocked, because a holder of a record may wait for the maps.
        let found: Vec<_> = {
            let maps = self.0.read();
            let stream = |id: &LiveStreamId| maps.streams.get(id).map(|entry| entry.stream.clone());
            match &filter.stream_key {
                Some(key) => maps.keys.get(&hash(key.reveal())).and_then(stream).into_iter().collect(),
                None => maps.list.values().rev().filter_map(stream).collect(),
            }
        };
        let records =
            found.iter().filter_map(|stream| stream.record.lock().as_ref().filter(|r| filter.matches(r)).cloned());
        records.skip(offset).take(limit).collect()
    }

    /// Looks up the live stream of a stream key that an encoder presented.
    pub(crate) fn find_key(&self, presented: &str) -> KeyLookup {
        let Ok(presented) = presented.parse::<StreamKey>() else { return KeyLookup::Unknown };
        let maps = self.0.read();
        let entry = maps.keys.get(&hash(presented.reveal())).and_then(|id| maps.streams.get(id));
        // The hash only finds the entry. The comparison, in constant time, decides.
        match entry.filter(|entry| entry.key == presented) {
            None => KeyLookup::Unknown,
            Some(Entry { enabled: false, .. }) => KeyLookup::Disabled,
            Some(entry) => KeyLookup::Found(entry.settings.clone()),
        }
    }

    /// Returns the passphrase that encrypts the SRT connections of a live stream.
    pub(crate) fn srt_passphrase(&self, id: &LiveStreamId) -> Option<String> {
        self.0.read().streams.get(id).map(|entry| entry.srt_passphrase.clone())
    }

    /// Looks up the live stream of a playback id, and its [`Policy`].
    pub(crate) fn find_playback(&self, presented: &str) -> Option<(LiveStreamId, Policy)> {
        self.0.read().playback.get(&presented.parse().ok()?).cloned()
    }

    /// Returns the title of the live stream of a playback id.
    pub(crate) fn title(&self, presented: &str) -> Option<String> {
        let maps = self.0.read();
        let (stream, _) = maps.playback.get(&presented.parse().ok()?)?;
        maps.streams.get(stream)?.settings.title.clone()
    }
}

impl Filter {
    fn matches(&self, record: &LiveStreamRecord) -> bool {
        self.status.is_none_or(|status| status == Status::from(&record.state))
            && self.stream_key.as_ref().is_none_or(|key| *key == record.secrets.stream_key)
    }
}

impl Maps {
    fn remove(&mut self, id: &LiveStreamId) {
        let Some(entry) = self.streams.remove(id) else { return };
        self.list.remove(&entry.stream.number);
        self.keys.remove(&hash(entry.key.reveal()));
        for id in &entry.playback_ids {
            self.playback.remove(id);
        }
    }
}
