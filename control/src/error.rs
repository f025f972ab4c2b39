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
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] sqlx::Error),
    /// The database is of another version, or a migration of it failed.
    #[error("the store cannot be brought to this version")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The address of the database cannot be used.
    #[error("the store url {0:?} is not understood; it begins with sqlite://")]
    StoreUrl(String),
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

impl Error {
    /// A single thing wrong with a request.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(vec![message.into()])
    }
}
