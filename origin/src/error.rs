//! What can fail when the server starts; a failing connection or request is that connection's own matter.

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listening socket could not be taken over.
    #[error("cannot listen: {0}")]
    Listen(#[source] std::io::Error),
    /// A worker's thread or runtime could not be made.
    #[error("cannot start a playback worker: {0}")]
    Worker(#[source] std::io::Error),
}
