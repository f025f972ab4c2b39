//! Reasons why an attempt to push to a target ended.

use std::io;

use srt::{CallError, Rejection};
use wire::rtmp::client::{TargetError, TrackError};
use wire::ts::mux::MuxError;

use crate::address::NotAllowed;
use crate::state::Severity;

/// Reason why an attempt ended. No variant contains a secret, because the text is stored, logged and returned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the target's name cannot be resolved: {0}")]
    Resolve(io::Error),
    #[error("the target's name has no address")]
    NoAddress,
    #[error("the target was not dialled: {0}")]
    NotAllowed(#[from] NotAllowed),
    #[error("the target accepted no connection in time")]
    ConnectTimeout,
    #[error("the target cannot be reached: {0}")]
    Connect(io::Error),
    #[error("the target's name cannot be used with TLS")]
    TlsName,
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("the target did not start the publication in time")]
    HandshakeTimeout,
    #[error("the target does not answer as an RTMP server: {0}")]
    Protocol(#[from] wire::Error),
    #[error("the target sends far more than answers")]
    TooMuchReceived,
    /// The target's own words, with secrets masked.
    #[error("the target refused the publication: {text}")]
    Refused { severity: Severity, text: String },
    /// The target's own words, with secrets masked.
    #[error("the target ended the publication: {text}")]
    Ended { severity: Severity, text: String },
    #[error("the target redirects to an address that cannot be used: {0}")]
    Redirect(TargetError),
    #[error("the target redirects from an encrypted to an unencrypted connection")]
    RedirectWithoutTls,
    #[error("the target redirects again after a redirect")]
    RedirectedAgain,
    #[error("the target keeps asking for authentication")]
    AuthenticationLoop,
    #[error("the target cannot take the programme: {0}")]
    Track(#[from] TrackError),
    #[error("the target cannot take the programme: {0}")]
    TransportStream(#[from] MuxError),
    #[error("the target refused the connection: {0}")]
    Rejected(Rejection),
    #[error("the SRT connection failed: {0}")]
    Srt(CallError),
    /// libsrt does not distinguish the two.
    #[error("the target closed the connection or no longer answers")]
    Disconnected,
    #[error("the target accepted no data for too long")]
    Stalled,
    #[error("the target closed the connection")]
    Closed,
    #[error("the connection was lost: {0}")]
    Lost(io::Error),
}

impl Failure {
    /// Returns [`Severity::Fatal`] if another attempt in this broadcast fails too.
    pub(crate) const fn severity(&self) -> Severity {
        match self {
            Self::Refused { severity, .. } | Self::Ended { severity, .. } => *severity,
            // As with a wrong stream key, the owner has to change the address.
            Self::Rejected(
                Rejection::BAD_SECRET
                | Rejection::UNSECURE
                | Rejection::UNAUTHORIZED
                | Rejection::FORBIDDEN
                | Rejection::NOT_FOUND
                | Rejection::UNACCEPTABLE,
            )
            | Self::NotAllowed(_)
            | Self::AuthenticationLoop
            | Self::TransportStream(MuxError::Codec { .. } | MuxError::Form { .. } | MuxError::TooManyStreams { .. })
            | Self::Track(TrackError::Codec { .. } | TrackError::Multitrack { .. })
            | Self::TlsName => Severity::Fatal,
            _ => Severity::Normal,
        }
    }
}
