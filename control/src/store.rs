//! The store: live streams, their playback ids and the access tokens, in SQLite.
//!
//! Each write is one transaction, durable when it is acknowledged. What is read at the start lives in memory from then on,
//! so there is one connection, and it belongs to the [`Writer`](crate::store::writer::Writer). The queries keep to what Postgres understands too.

mod check;
pub(crate) mod queue;
pub(crate) mod writer;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use media::WallTime;
use media::id::{LiveStreamId, PlaybackId};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqlSafeStr, Sqlite, Transaction};

pub use check::{check_store, check_store_file, check_store_url};
pub use writer::StoreStatus;

use crate::error::Error;
use crate::lifecycle::State;
use crate::resource::{LiveStreamRecord, PlaybackIdRecord, Status};
use crate::secret::{Hash, Keyring, hash};
use crate::settings::Policy;

/// How long a write waits for another program that holds the lock.
const BUSY: Duration = Duration::from_secs(1);

/// All migrations, oldest first. One that was released never changes.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "live streams", include_str!("../migrations/0001_live_streams.sql"))];

/// The database. A connection that had an error is dropped, because SQLite may have rolled back by itself, or have opened
/// the file for reading only; the next write opens another one.
pub(crate) struct Store {
    options: SqliteConnectOptions,
    file: DatabaseFile,
    db: Option<SqliteConnection>,
}

/// One write, done wholly or not at all.
#[derive(Debug)]
pub(crate) enum Write {
    /// A new live stream, with its place in the list.
    Insert(i64, Box<LiveStreamRecord>),
    /// A live stream as it was and as it shall be.
    Update(Box<(LiveStreamRecord, LiveStreamRecord)>),
    /// A live stream goes, with its playback ids.
    Delete(LiveStreamId),
}

/// Which file the database is in, by more than its name.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode; none where the database is in no file.
    id: Option<(u64, u64)>,
}

impl DatabaseFile {
    fn at(path: &Path) -> Self {
        let id = std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        Self { path: path.to_owned(), id }
    }

    /// Whether what was opened is still there: what is written to a file without a name is lost.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        let Some(id) = self.id else { return Ok(()) };
        match tokio::fs::metadata(&self.path).await {
            Ok(file) if (file.dev(), file.ino()) == id => Ok(()),
            Ok(_) => Err(Error::Replaced(self.path.clone())),
            Err(_) => Err(Error::Deleted(self.path.clone())),
        }
    }
}

impl Store {
    /// Opens the database at `url`, makes it if there is none, and brings it to this version.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        if !url.starts_with("sqlite:") {
            return Err(Error::StoreUrl(url.to_owned()));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A loss of power must not take back what was acknowledged.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true);
        let mut db = options.connect().await?;
        migrator().run_direct(None, &mut db, false).await?;
        let file = DatabaseFile::at(options.get_filename());
        // From now on a database that is not there is an error, not an empty one.
        Ok(Self { options: options.create_if_missing(false), file, db: Some(db) })
    }

    /// Closes the database.
    pub(crate) async fn close(mut self) {
        if let Some(db) = self.db.take() {
            // All that can go wrong is that the last clean-up is left to the next start.
            let _ = db.close().await;
        }
    }

    /// The file it is in.
    pub(crate) fn file(&self) -> &DatabaseFile {
        &self.file
    }

    /// Whether there is anything that a key file was needed for.
    pub(crate) async fn has_secrets(&mut self) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        let row = sqlx::query("SELECT COUNT(*) AS count FROM live_streams").fetch_one(&mut db).await?;
        self.db = Some(db);
        Ok(row.try_get::<i64, _>("count")? > 0)
    }

    /// All live streams with their places in the list, oldest first.
    pub(crate) async fn all(&mut self, keyring: &Keyring) -> Result<Vec<(i64, LiveStreamRecord)>, Error> {
        let mut db = self.connection().await?;
        let rows = sqlx::query("SELECT * FROM live_streams ORDER BY number").fetch_all(&mut db).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            records.push((row.try_get("number")?, record(&mut db, keyring, &row).await?));
        }
        self.db = Some(db);
        Ok(records)
    }

    /// The access tokens with the hashes of their secrets.
    pub(crate) async fn tokens(&mut self) -> Result<Vec<(String, Hash)>, Error> {
        let mut db = self.connection().await?;
        let rows = sqlx::query("SELECT id, secret_hash FROM access_tokens").fetch_all(&mut db).await?;
        self.db = Some(db);
        rows.iter()
            .map(|row| {
                let id: String = row.try_get("id")?;
                let hash = row.try_get::<Vec<u8>, _>("secret_hash")?;
                let hash = hash.try_into().map_err(|_| corrupt(&id, "secret_hash"))?;
                Ok((id, hash))
            })
            .collect()
    }

    /// Keeps an access token.
    pub(crate) async fn add_token(&mut self, id: &str, hash: &Hash, now: WallTime) -> Result<(), Error> {
        let mut db = self.connection().await?;
        sqlx::query("INSERT INTO access_tokens (id, secret_hash, created_at) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(hash.as_slice())
            .bind(now.unix_millis())
            .execute(&mut db)
            .await?;
        self.db = Some(db);
        Ok(())
    }

    /// Makes a write durable.
    pub(crate) async fn write(&mut self, write: &Write, keyring: &Keyring) -> Result<(), Error> {
        let mut db = self.connection().await?;
        {
            let mut change = Change { tx: db.begin_with("BEGIN IMMEDIATE").await?, keyring };
            match write {
                Write::Insert(number, record) => change.insert(*number, record).await?,
                Write::Update(records) => change.update(&records.0, &records.1).await?,
                Write::Delete(id) => change.delete(id).await?,
            }
            change.tx.commit().await?;
        }
        self.db = Some(db);
        Ok(())
    }

    /// Makes the states of live streams durable, in this order; one that is gone by now is left out.
    pub(crate) async fn write_states(&mut self, states: &[(LiveStreamId, State)]) -> Result<(), Error> {
        let mut db = self.connection().await?;
        let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
        for (id, state) in states {
            sqlx::query("UPDATE live_streams SET status = $2, state = $3 WHERE id = $1")
                .bind(id.as_str())
                .bind(Status::from(state).as_str())
                .bind(json(id, state)?)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        self.db = Some(db);
        Ok(())
    }

    /// Tries whether something can be written, by a write that says nothing.
    pub(crate) async fn probe(&mut self) -> Result<(), Error> {
        let mut db = self.connection().await?;
        sqlx::query("PRAGMA user_version = 0").execute(&mut db).await?;
        self.db = Some(db);
        Ok(())
    }

    /// The connection, taken out: what goes wrong with it does not put it back.
    async fn connection(&mut self) -> Result<SqliteConnection, Error> {
        self.file.check().await?;
        match self.db.take() {
            Some(db) => Ok(db),
            None => Ok(self.options.connect().await?),
        }
    }
}

/// A change in the making. Dropped before its commit, it never was.
struct Change<'a> {
    tx: Transaction<'a, Sqlite>,
    keyring: &'a Keyring,
}

impl Change<'_> {
    async fn insert(&mut self, number: i64, record: &LiveStreamRecord) -> Result<(), Error> {
        let columns = Columns::of(record, self.keyring)?;
        sqlx::query(
            "INSERT INTO live_streams (id, number, created_at, key_hash, status, state, settings, secrets)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(record.id.as_str())
        .bind(number)
        .bind(record.created_at.unix_millis())
        .bind(columns.key_hash)
        .bind(columns.status)
        .bind(columns.state)
        .bind(columns.settings)
        .bind(columns.secrets)
        .execute(&mut *self.tx)
        .await?;
        self.insert_playback_ids(record).await
    }

    async fn update(&mut self, old: &LiveStreamRecord, new: &LiveStreamRecord) -> Result<(), Error> {
        let columns = Columns::of(new, self.keyring)?;
        sqlx::query(
            "UPDATE live_streams SET key_hash = $2, status = $3, state = $4, settings = $5, secrets = $6 WHERE id = $1",
        )
        .bind(new.id.as_str())
        .bind(columns.key_hash)
        .bind(columns.status)
        .bind(columns.state)
        .bind(columns.settings)
        .bind(columns.secrets)
        .execute(&mut *self.tx)
        .await?;
        if old.playback_ids == new.playback_ids {
            return Ok(());
        }
        sqlx::query("DELETE FROM playback_ids WHERE live_stream_id = $1")
            .bind(new.id.as_str())
            .execute(&mut *self.tx)
            .await?;
        self.insert_playback_ids(new).await
    }

    async fn delete(&mut self, id: &LiveStreamId) -> Result<(), Error> {
        sqlx::query("DELETE FROM live_streams WHERE id = $1").bind(id.as_str()).execute(&mut *self.tx).await?;
        Ok(())
    }

    async fn insert_playback_ids(&mut self, record: &LiveStreamRecord) -> Result<(), Error> {
        for (place, playback) in (0i64..).zip(&record.playback_ids) {
            sqlx::query(
                "INSERT INTO playback_ids (id, live_stream_id, place, policy, drm_configuration_id)
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(playback.id.as_str())
            .bind(record.id.as_str())
            .bind(place)
            .bind(playback.policy.as_str())
            .bind(playback.drm_configuration_id.as_deref())
            .execute(&mut *self.tx)
            .await?;
        }
        Ok(())
    }
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}

struct Columns {
    key_hash: Vec<u8>,
    status: &'static str,
    state: String,
    settings: String,
    secrets: Vec<u8>,
}

impl Columns {
    fn of(record: &LiveStreamRecord, keyring: &Keyring) -> Result<Self, Error> {
        let broken = |what: serde_json::Error| corrupt(record.id.as_str(), &what.to_string());
        let secrets = serde_json::to_vec(&record.secrets).map_err(broken)?;
        Ok(Self {
            key_hash: hash(record.secrets.stream_key.reveal()).to_vec(),
            status: Status::from(&record.state).as_str(),
            state: json(&record.id, &record.state)?,
            settings: serde_json::to_string(&record.settings).map_err(broken)?,
            secrets: keyring.seal(record.id.as_str(), &secrets)?,
        })
    }
}

fn json(id: &LiveStreamId, state: &State) -> Result<String, Error> {
    serde_json::to_string(state).map_err(|what| corrupt(id.as_str(), &what.to_string()))
}

fn corrupt(id: &str, what: &str) -> Error {
    Error::Corrupt { id: id.to_owned(), what: what.to_owned() }
}

async fn record(db: &mut SqliteConnection, keyring: &Keyring, row: &SqliteRow) -> Result<LiveStreamRecord, Error> {
    let id: String = row.try_get("id")?;
    let playback_ids = sqlx::query("SELECT * FROM playback_ids WHERE live_stream_id = $1 ORDER BY place")
        .bind(&id)
        .fetch_all(&mut *db)
        .await?;
    let broken = |what: serde_json::Error| corrupt(&id, &what.to_string());
    Ok(LiveStreamRecord {
        id: id.parse().map_err(|_| corrupt(&id, "id"))?,
        created_at: WallTime::from_unix_millis(row.try_get("created_at")?),
        settings: serde_json::from_str(row.try_get("settings")?).map_err(broken)?,
        secrets: serde_json::from_slice(&keyring.unseal(&id, row.try_get("secrets")?)?).map_err(broken)?,
        state: serde_json::from_str(row.try_get("state")?).map_err(broken)?,
        playback_ids: playback_ids.iter().map(|row| playback(&id, row)).collect::<Result<_, _>>()?,
    })
}

fn playback(of: &str, row: &SqliteRow) -> Result<PlaybackIdRecord, Error> {
    let policy: &str = row.try_get("policy")?;
    let policies = [Policy::Public, Policy::Signed, Policy::Drm];
    Ok(PlaybackIdRecord {
        id: row.try_get::<&str, _>("id")?.parse::<PlaybackId>().map_err(|_| corrupt(of, "playback id"))?,
        policy: policies.into_iter().find(|p| p.as_str() == policy).ok_or_else(|| corrupt(of, "policy"))?,
        drm_configuration_id: row.try_get("drm_configuration_id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A live stream in a store of its own.
    async fn stored(folder: &Path) -> (Store, Keyring, LiveStreamRecord) {
        let keyring = Keyring::create(&folder.join("secret.key")).unwrap();
        let mut store = Store::open(&format!("sqlite://{}", folder.join("weir.db").display())).await.unwrap();
        let record = LiveStreamRecord::new(crate::settings::Settings::default(), WallTime::from_unix_millis(1));
        store.write(&Write::Insert(1, Box::new(record.clone())), &keyring).await.unwrap();
        (store, keyring, record)
    }

    fn larger(record: &LiveStreamRecord) -> Write {
        let mut large = record.clone();
        large.settings.passthrough = Some("x".repeat(1 << 20));
        Write::Update(Box::new((record.clone(), large)))
    }

    #[tokio::test]
    async fn a_disk_that_was_full_is_forgotten_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, keyring, record) = stored(folder.path()).await;
        // The limit is one connection's, as a full disk is one moment's.
        sqlx::query("PRAGMA max_page_count = 1").execute(store.db.as_mut().unwrap()).await.unwrap();
        let full = store.write(&larger(&record), &keyring).await.unwrap_err();
        assert_eq!(full.store_fault().unwrap(), "the disk is full");
        store.write(&larger(&record), &keyring).await.unwrap();
        store.write_states(&[(record.id.clone(), State { enabled: false, broadcast: None })]).await.unwrap();
        let kept = store.all(&keyring).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert!(!kept[0].1.state.enabled && kept[0].1.settings.passthrough.is_some());
    }

    #[tokio::test]
    async fn a_database_that_can_only_be_read_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, keyring, record) = stored(folder.path()).await;
        sqlx::query("PRAGMA query_only = 1").execute(store.db.as_mut().unwrap()).await.unwrap();
        let fault = store.write(&larger(&record), &keyring).await.unwrap_err();
        assert_eq!(fault.store_fault().unwrap(), "the database can only be read");
        // Once the folder can be written again, a connection of now can.
        store.probe().await.unwrap();
    }

    #[tokio::test]
    async fn a_write_that_is_wrong_itself_is_no_fault_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, keyring, record) = stored(folder.path()).await;
        let twice = store.write(&Write::Insert(2, Box::new(record)), &keyring).await.unwrap_err();
        assert!(twice.store_fault().is_none(), "{twice}");
    }

    #[tokio::test]
    async fn a_file_that_is_gone_or_another_one_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, ..) = stored(folder.path()).await;
        let (path, aside) = (folder.path().join("weir.db"), folder.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert!(matches!(store.probe().await, Err(Error::Deleted(_))));
        std::fs::copy(&aside, &path).unwrap();
        assert!(matches!(store.probe().await, Err(Error::Replaced(_))));
        std::fs::rename(&aside, &path).unwrap();
        store.probe().await.unwrap();
    }
}
