//! Access tokens in the store.

use media::WallTime;
use sqlx::Row as _;

use super::{Store, corrupt};
use crate::error::Error;
use crate::secret::Hash;

impl Store {
    /// Reads the ids of all access tokens, with the hashes of their secrets.
    pub(crate) async fn tokens(&mut self) -> Result<Vec<(String, Hash)>, Error> {
        let mut db = self.take_connection().await?;
        let rows = sqlx::query("SELECT id, secret_hash FROM access_tokens").fetch_all(&mut db).await?;
        self.connection = Some(db);
        rows.iter()
            .map(|row| {
                let id: String = row.try_get("id")?;
                let hash = row.try_get::<Vec<u8>, _>("secret_hash")?;
                let hash = hash.try_into().map_err(|_| corrupt(&id, "secret_hash"))?;
                Ok((id, hash))
            })
            .collect()
    }

    /// Adds an access token.
    pub(crate) async fn add_token(&mut self, id: &str, hash: &Hash, now: WallTime) -> Result<(), Error> {
        let mut db = self.take_connection().await?;
        sqlx::query("INSERT INTO access_tokens (id, secret_hash, created_at) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(hash.as_slice())
            .bind(now.unix_millis())
            .execute(&mut db)
            .await?;
        self.connection = Some(db);
        Ok(())
    }
}
