//! What can go wrong in `control`, and whose fault it is.

use std::path::PathBuf;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resource does not exist (the caller's fault).
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The request asks for something that cannot be (the caller's fault); a message for each field.
    #[error("invalid parameters: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The server is going down and takes no changes any more.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store takes no writes at the moment: worth another try (nobody's fault).
    #[error("the store takes no changes now: {0}")]
    Unavailable(String),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] sqlx::Error),
    /// The database file is not there any more.
    #[error("the database file {} was deleted or moved away", .0.display())]
    Deleted(PathBuf),
    /// Another file has taken the place of the database file.
    #[error("the database file {} was replaced by another one", .0.display())]
    Replaced(PathBuf),
    /// The database is of another version, or a migration of it failed.
    #[error("the store cannot be brought to this version")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The address of the database cannot be used.
    #[error("{0:?} must be the address of an SQLite file, such as sqlite:///var/lib/weir/weir.db")]
    StoreUrl(String),
    /// The file of the database cannot be made.
    #[error("the database {} cannot be made: {error}", path.display())]
    StoreFile {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// A row holds something this version did not write.
    #[error("the stored live stream {id} cannot be read: {what}")]
    Corrupt {
        /// The row.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// A secret does not open: the key file is not the one it was sealed with.
    #[error("the secrets of {0} do not open with this key file")]
    Sealed(String),
    /// There is a database, but not the key file that belongs to it.
    #[error(
        "the key file {} is missing, and the secrets in the database do not open without it: put it back from the backup that \
         the database came with; to begin anew, move the database away too",
        .0.display()
    )]
    KeyFileMissing(PathBuf),
    /// The key file cannot be read or written.
    #[error("the key file {}: {error}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

// Result codes of SQLite, without what extends them.
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_READONLY: i32 = 8;
const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_CONSTRAINT: i32 = 19;
const SQLITE_NOTADB: i32 = 26;

impl Error {
    /// What is wrong with the store, in words for its operator; none where the store is not at fault.
    pub(crate) fn store_fault(&self) -> Option<String> {
        let error = match self {
            Self::Deleted(_) => return Some("the database file was deleted or moved away".to_owned()),
            Self::Replaced(_) => return Some("the database file was replaced by another one".to_owned()),
            Self::Store(error) => error,
            _ => return None,
        };
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
        let known = match code.map(|code| code & 0xff) {
            Some(SQLITE_CONSTRAINT) => return None,
            Some(SQLITE_BUSY | SQLITE_LOCKED) => "another program holds the lock of the database",
            Some(SQLITE_READONLY) => "the database can only be read",
            Some(SQLITE_FULL) => "the disk is full",
            Some(SQLITE_IOERR) => "the disk fails",
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => "the database file is damaged",
            Some(SQLITE_CANTOPEN) => "the database file cannot be opened",
            _ => return Some(format!("the database fails: {error}")),
        };
        Some(known.to_owned())
    }

    /// A single thing wrong with a request.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(vec![message.into()])
    }
}
