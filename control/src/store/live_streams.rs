//! Live streams and their playback ids in the store.

use media::WallTime;
use media::id::{LiveStreamId, PlaybackId};
use sqlx::Row as _;

use super::dialect::{self, Connection, Row, Transaction};
use super::{Store, Write, corrupt};
use crate::error::Error;
use crate::lifecycle::State;
use crate::resource::{LiveStreamRecord, PlaybackIdRecord, Status};
use crate::secret::{Keyring, hash};
use crate::settings::Policy;

impl Store {
    /// Returns whether the store holds anything that is encrypted with the key file.
    pub(super) async fn has_secrets(&mut self) -> Result<bool, Error> {
        let mut db = self.take_connection().await?;
        let row = sqlx::query("SELECT COUNT(*) AS count FROM live_streams").fetch_one(&mut db).await?;
        self.connection = Some(db);
        Ok(row.try_get::<i64, _>("count")? > 0)
    }

    /// Reads all live streams with their positions in the list, oldest first.
    pub(crate) async fn all(&mut self, keyring: &Keyring) -> Result<Vec<(i64, LiveStreamRecord)>, Error> {
        let mut db = self.take_connection().await?;
        let rows = sqlx::query("SELECT * FROM live_streams ORDER BY number").fetch_all(&mut db).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            records.push((row.try_get("number")?, record(&mut db, keyring, &row).await?));
        }
        self.connection = Some(db);
        Ok(records)
    }

    /// Carries out a write and makes it durable.
    pub(super) async fn write(&mut self, write: &Write, keyring: &Keyring) -> Result<(), Error> {
        let mut db = self.take_connection().await?;
        {
            let mut change = Change { transaction: dialect::begin(&mut db).await?, keyring };
            match write {
                Write::Insert(number, record) => change.insert(*number, record).await?,
                Write::Update(records) => change.update(&records.0, &records.1).await?,
                Write::Delete(id) => change.delete(id).await?,
            }
            change.transaction.commit().await?;
        }
        self.connection = Some(db);
        Ok(())
    }

    /// Makes the states of live streams durable, in this order. A live stream that was deleted since is skipped.
    pub(super) async fn write_states(&mut self, states: &[(LiveStreamId, State)]) -> Result<(), Error> {
        let mut db = self.take_connection().await?;
        let mut transaction = dialect::begin(&mut db).await?;
        for (id, state) in states {
            sqlx::query("UPDATE live_streams SET status = $2, state = $3 WHERE id = $1")
                .bind(id.as_str())
                .bind(Status::from(state).as_str())
                .bind(json(id, state)?)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.connection = Some(db);
        Ok(())
    }
}

/// A [`Write`] in its transaction.
struct Change<'a> {
    transaction: Transaction<'a>,
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
        .execute(&mut *self.transaction)
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
        .execute(&mut *self.transaction)
        .await?;
        if old.playback_ids == new.playback_ids {
            return Ok(());
        }
        sqlx::query("DELETE FROM playback_ids WHERE live_stream_id = $1")
            .bind(new.id.as_str())
            .execute(&mut *self.transaction)
            .await?;
        self.insert_playback_ids(new).await
    }

    async fn delete(&mut self, id: &LiveStreamId) -> Result<(), Error> {
        sqlx::query("DELETE FROM live_streams WHERE id = $1").bind(id.as_str()).execute(&mut *self.transaction).await?;
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
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(())
    }
}

/// The columns of a [`LiveStreamRecord`] that an update can change.
struct Columns {
    key_hash: Vec<u8>,
    status: &'static str,
    state: String,
    settings: String,
    secrets: Vec<u8>,
}

impl Columns {
    fn of(record: &LiveStreamRecord, keyring: &Keyring) -> Result<Self, Error> {
        let invalid = |error: serde_json::Error| corrupt(record.id.as_str(), &error.to_string());
        let secrets = serde_json::to_vec(&record.secrets).map_err(invalid)?;
        Ok(Self {
            key_hash: hash(record.secrets.stream_key.reveal()).to_vec(),
            status: Status::from(&record.state).as_str(),
            state: json(&record.id, &record.state)?,
            settings: serde_json::to_string(&record.settings).map_err(invalid)?,
            secrets: keyring.seal(record.id.as_str(), &secrets)?,
        })
    }
}

fn json(id: &LiveStreamId, state: &State) -> Result<String, Error> {
    serde_json::to_string(state).map_err(|error| corrupt(id.as_str(), &error.to_string()))
}

async fn record(db: &mut Connection, keyring: &Keyring, row: &Row) -> Result<LiveStreamRecord, Error> {
    let id: String = row.try_get("id")?;
    let playback_ids = sqlx::query("SELECT * FROM playback_ids WHERE live_stream_id = $1 ORDER BY place")
        .bind(&id)
        .fetch_all(&mut *db)
        .await?;
    let invalid = |error: serde_json::Error| corrupt(&id, &error.to_string());
    let secrets = keyring.unseal(&id, row.try_get("secrets")?)?;
    Ok(LiveStreamRecord {
        id: id.parse().map_err(|_| corrupt(&id, "id"))?,
        created_at: WallTime::from_unix_millis(row.try_get("created_at")?),
        settings: serde_json::from_str(row.try_get("settings")?).map_err(invalid)?,
        // The text of the error may contain a secret.
        secrets: serde_json::from_slice(&secrets).map_err(|_| corrupt(&id, "secrets"))?,
        state: serde_json::from_str(row.try_get("state")?).map_err(invalid)?,
        playback_ids: playback_ids.iter().map(|row| playback_id(&id, row)).collect::<Result<_, _>>()?,
    })
}

fn playback_id(live_stream: &str, row: &Row) -> Result<PlaybackIdRecord, Error> {
    let policy: &str = row.try_get("policy")?;
    Ok(PlaybackIdRecord {
        id: row.try_get::<&str, _>("id")?.parse::<PlaybackId>().map_err(|_| corrupt(live_stream, "playback id"))?,
        policy: Policy::parse(policy).ok_or_else(|| corrupt(live_stream, "policy"))?,
        drm_configuration_id: row.try_get("drm_configuration_id")?,
    })
}
