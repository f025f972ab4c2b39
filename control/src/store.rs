//! The store: live streams, their playback ids and the access tokens, in an SQL database.
//!
//! Each write is one transaction and is durable when it is acknowledged. Everything is read once at startup and kept in
//! memory from then on. There is a single connection, owned by the [`Writer`]. Only [`dialect`] knows which database
//! engine this is; the queries in the other files are limited to what Postgres understands too.

mod check;
mod dialect;
mod live_streams;
mod queue;
#[cfg(test)]
mod tests;
mod tokens;
mod writer;

use std::path::Path;

use media::id::LiveStreamId;

pub use check::{StoreState, check_store, check_store_file, check_store_url};
use dialect::{Connection, DatabaseFile, Options};
pub use writer::StoreStatus;
pub(crate) use writer::Writer;

use crate::error::Error;
use crate::resource::LiveStreamRecord;
use crate::secret::Keyring;

/// The database.
///
/// A connection that had an error is dropped, because the engine may have rolled back by itself or opened the file
/// read-only. The next write opens a new one.
pub(crate) struct Store {
    options: Options,
    file: DatabaseFile,
    connection: Option<Connection>,
}

/// A write that is carried out completely or not at all.
#[derive(Debug)]
pub(crate) enum Write {
    /// Adds a live stream, with its position in the list.
    Insert(i64, Box<LiveStreamRecord>),
    /// Replaces a live stream (first) by its new version (second).
    Update(Box<(LiveStreamRecord, LiveStreamRecord)>),
    /// Deletes a live stream and its playback ids.
    Delete(LiveStreamId),
}

impl Store {
    /// Opens the database at `url`, creates it if necessary, and migrates it to this version.
    pub(crate) async fn open(url: &str) -> Result<Self, Error> {
        let options = dialect::options(url)?;
        let connection = dialect::create(&options).await?;
        let file = DatabaseFile::at(options.get_filename());
        Ok(Self { options, file, connection: Some(connection) })
    }

    /// Opens the existing database at `url` so that nothing can change it. Returns it with the number of migrations that
    /// [`Store::open`] would run.
    async fn open_read_only(url: &str) -> Result<(Self, usize), Error> {
        let options = dialect::read_only_options(url)?;
        let mut connection = dialect::connect(&options).await?;
        let pending = dialect::pending_migrations(&mut connection).await?;
        let file = DatabaseFile::at(options.get_filename());
        Ok((Self { options, file, connection: Some(connection) }, pending))
    }

    /// Closes the database.
    pub(crate) async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            dialect::close(connection).await;
        }
    }

    /// Returns the file that the database is in.
    fn file(&self) -> &DatabaseFile {
        &self.file
    }

    /// Reads the key that the secrets in this store are encrypted with; `None` if there is neither a key nor a secret.
    ///
    /// Fails with [`Error::KeyFileMissing`] if the store has secrets, because a new key would not decrypt them.
    pub(crate) async fn keyring(&mut self, key_file: &Path) -> Result<Option<Keyring>, Error> {
        match Keyring::read(key_file)? {
            None if self.has_secrets().await? => Err(Error::KeyFileMissing(key_file.to_owned())),
            keyring => Ok(keyring),
        }
    }

    /// Checks that the database can be written, with a write that changes nothing.
    pub(crate) async fn probe(&mut self) -> Result<(), Error> {
        let mut connection = self.take_connection().await?;
        dialect::probe(&mut connection).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Takes the connection out, or opens a new one. The caller puts it back unless it had an error.
    async fn take_connection(&mut self) -> Result<Connection, Error> {
        self.file.check().await?;
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => dialect::connect(&self.options).await,
        }
    }
}

fn corrupt(id: &str, what: &str) -> Error {
    Error::Corrupt { id: id.to_owned(), what: what.to_owned() }
}
