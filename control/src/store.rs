//! The store: live streams, their playback ids and the access tokens, in SQLite.
//!
//! Each change is one transaction, durable when it is acknowledged. The queries keep to what Postgres understands too.

use std::str::FromStr;

use media::WallTime;
use media::id::{LiveStreamId, PlaybackId, StreamKey};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection, Row, SqlSafeStr, Sqlite, SqlitePool, Transaction};

use crate::error::Error;
use crate::record::{Playback, Record, Status};
use crate::secret::{Hash, Keyring, hash};
use crate::settings::Policy;

/// Connections to the database; requests wait for one.
const CONNECTIONS: u32 = 4;

/// All migrations, oldest first. One that was released never changes.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "live streams", include_str!("../migrations/0001_live_streams.sql"))];

/// The database with the keyring for its sealed columns.
pub(crate) struct Store {
    pool: SqlitePool,
    keyring: Keyring,
}

/// Which live streams a list is of.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) stream_key: Option<StreamKey>,
    pub(crate) status: Option<Status>,
}

/// A change in the making.
pub(crate) struct Change<'a> {
    tx: Transaction<'static, Sqlite>,
    keyring: &'a Keyring,
}

impl Store {
    /// Opens the database at `url`, makes it if there is none, and brings it to this version.
    pub(crate) async fn open(url: &str, keyring: Keyring) -> Result<Self, Error> {
        if !url.starts_with("sqlite:") {
            return Err(Error::StoreUrl(url.to_owned()));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A loss of power must not take back what was acknowledged.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            // On a full disk SQLite rolls back by itself, which leaves sqlx waiting for the end of that transaction for ever.
            .before_acquire(|db, _| Box::pin(async move { Ok(!db.is_in_transaction()) }))
            .connect_with(options)
            .await?;
        migrator().run(&pool).await?;
        Ok(Self { pool, keyring })
    }

    /// Waits for what is under way and closes the database.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// All live streams, oldest first.
    pub(crate) async fn all(&self) -> Result<Vec<Record>, Error> {
        let mut db = self.pool.acquire().await?;
        let rows = sqlx::query("SELECT * FROM live_streams ORDER BY number").fetch_all(&mut *db).await?;
        records(&mut db, &self.keyring, rows).await
    }

    /// One live stream.
    pub(crate) async fn get(&self, id: &LiveStreamId) -> Result<Option<Record>, Error> {
        let mut db = self.pool.acquire().await?;
        get(&mut db, &self.keyring, id).await
    }

    /// A page of the live streams that pass the filter, newest first.
    pub(crate) async fn list(&self, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<Record>, Error> {
        let mut db = self.pool.acquire().await?;
        let rows = sqlx::query(
            "SELECT * FROM live_streams WHERE ($1 IS NULL OR key_hash = $1) AND ($2 IS NULL OR status = $2)
             ORDER BY number DESC LIMIT $3 OFFSET $4",
        )
        .bind(filter.stream_key.as_ref().map(|key| hash(key.reveal()).to_vec()))
        .bind(filter.status.map(Status::as_str))
        .bind(limit)
        .bind(offset)
        .fetch_all(&mut *db)
        .await?;
        records(&mut db, &self.keyring, rows).await
    }

    /// Begins a change. SQLite has one writer, so others wait here rather than fail at their commit.
    pub(crate) async fn change(&self) -> Result<Change<'_>, Error> {
        Ok(Change { tx: self.pool.begin_with("BEGIN IMMEDIATE").await?, keyring: &self.keyring })
    }

    /// The access tokens with the hashes of their secrets.
    pub(crate) async fn tokens(&self) -> Result<Vec<(String, Hash)>, Error> {
        let rows = sqlx::query("SELECT id, secret_hash FROM access_tokens").fetch_all(&self.pool).await?;
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
    pub(crate) async fn add_token(&self, id: &str, hash: &Hash, now: WallTime) -> Result<(), Error> {
        sqlx::query("INSERT INTO access_tokens (id, secret_hash, created_at) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(hash.as_slice())
            .bind(now.unix_millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

impl Change<'_> {
    /// The live stream as it stands in this change.
    pub(crate) async fn get(&mut self, id: &LiveStreamId) -> Result<Option<Record>, Error> {
        get(&mut self.tx, self.keyring, id).await
    }

    /// Adds a live stream.
    pub(crate) async fn insert(&mut self, record: &Record) -> Result<(), Error> {
        let columns = Columns::of(record, self.keyring)?;
        sqlx::query(
            "INSERT INTO live_streams (id, number, created_at, key_hash, status, state, settings, secrets)
             VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM live_streams), $2, $3, $4, $5, $6, $7)",
        )
        .bind(record.id.as_str())
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

    /// Replaces `old` by `new`.
    pub(crate) async fn update(&mut self, old: &Record, new: &Record) -> Result<(), Error> {
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

    /// Takes a live stream away, with its playback ids.
    pub(crate) async fn delete(&mut self, id: &LiveStreamId) -> Result<(), Error> {
        sqlx::query("DELETE FROM live_streams WHERE id = $1").bind(id.as_str()).execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Makes the change durable. Dropped without this, it never was.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        Ok(self.tx.commit().await?)
    }

    async fn insert_playback_ids(&mut self, record: &Record) -> Result<(), Error> {
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
    fn of(record: &Record, keyring: &Keyring) -> Result<Self, Error> {
        let broken = |what: serde_json::Error| corrupt(record.id.as_str(), &what.to_string());
        let secrets = serde_json::to_vec(&record.secrets).map_err(broken)?;
        Ok(Self {
            key_hash: hash(record.secrets.stream_key.reveal()).to_vec(),
            status: Status::from(&record.state).as_str(),
            state: serde_json::to_string(&record.state).map_err(broken)?,
            settings: serde_json::to_string(&record.settings).map_err(broken)?,
            secrets: keyring.seal(record.id.as_str(), &secrets)?,
        })
    }
}

fn corrupt(id: &str, what: &str) -> Error {
    Error::Corrupt { id: id.to_owned(), what: what.to_owned() }
}

async fn get(db: &mut SqliteConnection, keyring: &Keyring, id: &LiveStreamId) -> Result<Option<Record>, Error> {
    let row =
        sqlx::query("SELECT * FROM live_streams WHERE id = $1").bind(id.as_str()).fetch_optional(&mut *db).await?;
    match row {
        Some(row) => record(db, keyring, &row).await.map(Some),
        None => Ok(None),
    }
}

async fn records(db: &mut SqliteConnection, keyring: &Keyring, rows: Vec<SqliteRow>) -> Result<Vec<Record>, Error> {
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        records.push(record(db, keyring, &row).await?);
    }
    Ok(records)
}

async fn record(db: &mut SqliteConnection, keyring: &Keyring, row: &SqliteRow) -> Result<Record, Error> {
    let id: String = row.try_get("id")?;
    let playback_ids = sqlx::query("SELECT * FROM playback_ids WHERE live_stream_id = $1 ORDER BY place")
        .bind(&id)
        .fetch_all(&mut *db)
        .await?;
    let broken = |what: serde_json::Error| corrupt(&id, &what.to_string());
    Ok(Record {
        id: id.parse().map_err(|_| corrupt(&id, "id"))?,
        created_at: WallTime::from_unix_millis(row.try_get("created_at")?),
        settings: serde_json::from_str(row.try_get("settings")?).map_err(broken)?,
        secrets: serde_json::from_slice(&keyring.unseal(&id, row.try_get("secrets")?)?).map_err(broken)?,
        state: serde_json::from_str(row.try_get("state")?).map_err(broken)?,
        playback_ids: playback_ids.iter().map(|row| playback(&id, row)).collect::<Result<_, _>>()?,
    })
}

fn playback(of: &str, row: &SqliteRow) -> Result<Playback, Error> {
    let policy: &str = row.try_get("policy")?;
    let policies = [Policy::Public, Policy::Signed, Policy::Drm];
    Ok(Playback {
        id: row.try_get::<&str, _>("id")?.parse::<PlaybackId>().map_err(|_| corrupt(of, "playback id"))?,
        policy: policies.into_iter().find(|p| p.as_str() == policy).ok_or_else(|| corrupt(of, "policy"))?,
        drm_configuration_id: row.try_get("drm_configuration_id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_that_was_full_is_forgotten_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(&folder.path().join("secret.key")).unwrap();
        let url = format!("sqlite://{}", folder.path().join("weir.db").display());
        let store = Store::open(&url, keyring).await.unwrap();
        let token = |length: usize| "x".repeat(length);
        // The limit is one connection's, as a full disk is one moment's.
        let mut full = store.change().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 1").execute(&mut *full.tx).await.unwrap();
        let insert = "INSERT INTO access_tokens (id, secret_hash, created_at) VALUES ($1, x'00', 0)";
        sqlx::query(insert).bind(token(1 << 20)).execute(&mut *full.tx).await.unwrap_err();
        drop(full);
        for length in 1..=CONNECTIONS as usize {
            let mut change = store.change().await.unwrap();
            sqlx::query(insert).bind(token(length)).execute(&mut *change.tx).await.unwrap();
            change.commit().await.unwrap();
        }
    }
}
