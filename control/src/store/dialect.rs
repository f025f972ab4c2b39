//! The database engine: SQLite. No other file names it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqlSafeStr, Sqlite};

use crate::error::{Error, StoreError};

/// A connection to the database.
pub(super) type Connection = SqliteConnection;
/// Address and options of the database.
pub(super) type Options = SqliteConnectOptions;
/// A row of a result.
pub(super) type Row = SqliteRow;
/// A transaction; dropped before its commit, it is rolled back.
pub(super) type Transaction<'a> = sqlx::Transaction<'a, Sqlite>;

/// Time that a write waits for another program that holds the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// All migrations, oldest first. A released migration never changes.
const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "live streams", include_str!("../../migrations/0001_live_streams.sql"))];

// Primary result codes of SQLite. The extended codes have further bits above the lowest eight.
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_READONLY: i32 = 8;
const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_CONSTRAINT: i32 = 19;
const SQLITE_NOTADB: i32 = 26;

/// Returns the options with which a server opens the database at `url`.
pub(super) fn options(url: &str) -> Result<Options, Error> {
    Ok(parse(url)?
        .journal_mode(SqliteJournalMode::Wal)
        // A power failure must not undo an acknowledged write.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true))
}

/// Returns the options with which the existing database at `url` is opened without changing it.
///
/// SQLite creates files beside a database in WAL mode, even for a read-only connection. It creates none for an immutable
/// database. A database with a log or a rollback journal is not immutable, because its newest content is there.
pub(super) fn read_only_options(url: &str) -> Result<Options, Error> {
    let options = parse(url)?.read_only(true);
    let is_beside = |suffix: &str| {
        let mut path = options.get_filename().as_os_str().to_owned();
        path.push(suffix);
        Path::new(&path).exists()
    };
    let is_immutable = !is_beside("-wal") && !is_beside("-journal");
    Ok(options.immutable(is_immutable))
}

/// Parses the URL of a database. This is the only place that decides which URLs are supported.
fn parse(url: &str) -> Result<Options, Error> {
    let unsupported = || Error::StoreUrl(url.to_owned());
    if !url.starts_with("sqlite:") {
        return Err(unsupported());
    }
    let options = Options::from_str(url).map_err(|_| unsupported())?;
    // A missing database is an error, not an empty one. Only [`create`] creates it.
    Ok(options.create_if_missing(false).busy_timeout(BUSY_TIMEOUT))
}

/// Connects to the database, creates it if necessary, and migrates it to this version.
pub(super) async fn create(options: &Options) -> Result<Connection, Error> {
    let mut connection = options.clone().create_if_missing(true).connect().await?;
    migrator().run_direct(None, &mut connection, false).await?;
    Ok(connection)
}

/// Returns the number of migrations that [`create`] would run, without running them. Fails if [`create`] would refuse the
/// database.
pub(super) async fn pending_migrations(connection: &mut Connection) -> Result<usize, Error> {
    let migrator = migrator();
    let table = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1")
        .bind(&*migrator.table_name)
        .fetch_optional(&mut *connection)
        .await?;
    if table.is_none() {
        return Ok(MIGRATIONS.len());
    }
    let applied = connection.list_applied_migrations(&migrator.table_name).await?;
    let newest = applied.iter().map(|migration| migration.version).max().unwrap_or(0);
    // Migrating up to a version that the database already has only checks what was applied.
    migrator.run_direct(Some(newest), connection, false).await?;
    Ok(MIGRATIONS.iter().filter(|(version, ..)| *version > newest).count())
}

/// Connects to the existing database.
pub(super) async fn connect(options: &Options) -> Result<Connection, Error> {
    Ok(options.connect().await?)
}

/// Closes a connection.
pub(super) async fn close(connection: Connection) {
    // The only possible failure is that the last clean-up is left to the next start.
    let _ = connection.close().await;
}

/// Begins a transaction that holds the write lock from its beginning.
pub(super) async fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Error> {
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}

/// Writes without changing anything.
pub(super) async fn probe(connection: &mut Connection) -> Result<(), Error> {
    sqlx::query("PRAGMA user_version = 0").execute(connection).await?;
    Ok(())
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}

/// Identity of the database file, which its path alone does not give.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode; `None` if the database is not in a file.
    id: Option<(u64, u64)>,
}

impl DatabaseFile {
    pub(super) fn at(path: &Path) -> Self {
        let id = std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        Self { path: path.to_owned(), id }
    }

    /// Checks that the opened file is still at its path, because writes to a file without a name are lost.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        let Some(id) = self.id else { return Ok(()) };
        match tokio::fs::metadata(&self.path).await {
            Ok(file) if (file.dev(), file.ino()) == id => Ok(()),
            Ok(_) => Err(Error::Replaced(self.path.clone())),
            Err(_) => Err(Error::Deleted(self.path.clone())),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::new(fault(&error), error))
    }
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(StoreError::new(None, error))
    }
}

/// Describes for the operator what is wrong with the database; `None` if the statement itself is wrong.
fn fault(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    let known = match code.map(|code| code & 0xff) {
        Some(SQLITE_CONSTRAINT) => return None,
        Some(SQLITE_BUSY | SQLITE_LOCKED) => "another program holds the lock of the database",
        Some(SQLITE_READONLY) => "the database is read-only",
        Some(SQLITE_FULL) => "the disk is full",
        Some(SQLITE_IOERR) => "the disk fails",
        Some(SQLITE_CORRUPT | SQLITE_NOTADB) => "the database file is damaged",
        Some(SQLITE_CANTOPEN) => "the database file cannot be opened",
        _ => return Some(format!("the database fails: {error}")),
    };
    Some(known.to_owned())
}
