//! [`Error`] of a connection.

use crate::ffi::CallError;
use crate::rejection::Rejection;

/// Errors of SRT connections.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call of libsrt failed; [`CallError::is_lost`] if the connection is over.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The UDP socket could not be created.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The listener refused the connection, or did not answer ([`Rejection::TIMEOUT`]).
    #[error("the listener refused the connection: {0}")]
    Refused(Rejection),
}
