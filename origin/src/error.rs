//! Errors at the start of the server. The failure of a connection or request stays with that connection.

/// Reason why a [`Server`](crate::Server) could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listening socket could not be handed to a worker.
    #[error("cannot listen: {0}")]
    Listen(#[source] std::io::Error),
    /// The thread or runtime of a worker could not be created.
    #[error("cannot start a playback worker: {0}")]
    Worker(#[source] std::io::Error),
}
