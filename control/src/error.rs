//! Errors of `control`, and whose fault each of them is.

use std::fmt;
use std::path::PathBuf;

/// Reason for which a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resource does not exist (the caller's fault).
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The request is invalid (the caller's fault), with one message for each field.
    #[error("invalid parameters: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The server is shutting down and accepts no more changes.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store accepts no writes at the moment, so the caller should try again (no one's fault).
    #[error("the store accepts no changes now: {0}")]
    Unavailable(String),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The database file no longer exists.
    #[error("the database file {} was deleted or moved away", .0.display())]
    Deleted(PathBuf),
    /// Another file has taken the place of the database file.
    #[error("the database file {} was replaced by another one", .0.display())]
    Replaced(PathBuf),
    /// The database is of another version, or a migration of it failed.
    #[error("the store cannot be migrated to this version")]
    Migrate(#[source] StoreError),
    /// The [`Config::store_url`](crate::Config::store_url) is not supported.
    #[error("{0:?} must be the URL of an SQLite file, such as sqlite:///var/lib/weir/weir.db")]
    StoreUrl(String),
    /// The database file cannot be created.
    #[error("the database {} cannot be created: {error}", path.display())]
    StoreFile {
        /// The database file.
        path: PathBuf,
        /// Error of the operating system.
        error: std::io::Error,
    },
    /// A row holds something that this version did not write.
    #[error("the stored live stream {id} cannot be read: {what}")]
    Corrupt {
        /// Id of the row.
        id: String,
        /// Description of the problem.
        what: String,
    },
    /// A secret cannot be decrypted, because [`Config::key_file`](crate::Config::key_file) is not the one that it was
    /// encrypted with.
    #[error("the secrets of {0} cannot be decrypted with this key file")]
    Sealed(String),
    /// The [`Config::key_file`](crate::Config::key_file) that belongs to the existing database is missing.
    #[error(
        "the key file {} is missing, and the secrets in the database cannot be decrypted without it: restore it from \
         the same backup as the database; to start over, move the database away too",
        .0.display()
    )]
    KeyFileMissing(PathBuf),
    /// The key file cannot be read or written.
    #[error("the key file {}: {error}", path.display())]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// Error of the operating system, or [`InvalidData`](std::io::ErrorKind::InvalidData) for a wrong length.
        error: std::io::Error,
    },
    /// The operating system provides no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Error of the database engine, without the engine's own types.
pub struct StoreError {
    fault: Option<String>,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    /// Describes for the operator what is wrong with the store; `None` if the store is not at fault.
    pub(crate) fn store_fault(&self) -> Option<String> {
        match self {
            Self::Deleted(_) => Some("the database file was deleted or moved away".to_owned()),
            Self::Replaced(_) => Some("the database file was replaced by another one".to_owned()),
            Self::Store(error) => error.fault.clone(),
            _ => None,
        }
    }

    /// Returns an [`Error::Invalid`] with a single message.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(vec![message.into()])
    }
}

impl StoreError {
    /// Wraps an error of the engine.
    ///
    /// `fault` describes a failure of the store. It is `None` if the statement itself is wrong, because other
    /// statements still succeed then.
    pub(crate) fn new(fault: Option<String>, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { fault, cause: Box::new(cause) }
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.cause, f)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cause, f)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}
