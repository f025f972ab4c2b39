//! Reasons why a connection is not established.

use std::fmt;

/// Reason why a connection is not established: a number of libsrt's `srt.h`, or of `access_control.h` from 1000 on.
///
/// [`Display`](fmt::Display) explains the numbers that a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection(pub i32);

impl Rejection {
    /// No reason is known.
    pub const UNKNOWN: Self = Self(0);
    /// The passphrases differ.
    pub const BAD_SECRET: Self = Self(10);
    /// One side has a passphrase and the other has none.
    pub const UNSECURE: Self = Self(11);
    /// The listener did not answer in time.
    pub const TIMEOUT: Self = Self(16);
    /// The stream id is malformed.
    pub const BAD_REQUEST: Self = Self(1_400);
    /// The authentication in the stream id failed.
    pub const UNAUTHORIZED: Self = Self(1_401);
    /// The listener is overloaded, or the caller has exceeded a limit.
    pub const OVERLOAD: Self = Self(1_402);
    /// Access is denied.
    pub const FORBIDDEN: Self = Self(1_403);
    /// The resource that the stream id names does not exist.
    pub const NOT_FOUND: Self = Self(1_404);
    /// The mode in the stream id is not supported.
    pub const BAD_MODE: Self = Self(1_405);
    /// The listener cannot meet the request in the stream id.
    pub const UNACCEPTABLE: Self = Self(1_406);
    /// The listener has an internal error.
    pub const INTERNAL: Self = Self(1_500);
    /// The service is down.
    pub const DOWN: Self = Self(1_503);

    /// Returns the reason in plain English; `None` if the number explains itself no further.
    const fn text(self) -> Option<&'static str> {
        Some(match self.0 {
            2 => "it gave no reason",
            5 => "it has too many callers that wait",
            7 => "it is closing",
            8 => "it speaks another version of SRT",
            10 => "the passphrase is wrong",
            11 => "it requires a passphrase and got none, or it takes none",
            12..=15 => "it does not take live streams",
            16 => "it did not answer in time",
            1_400 => "the stream id is malformed",
            1_401 => "the authentication in the stream id failed",
            1_402 => "it is overloaded, or a limit is exceeded",
            1_403 => "access is forbidden",
            1_404 => "it does not know what the stream id names",
            1_405 => "it does not take the mode in the stream id",
            1_406 => "the request in the stream id is not acceptable",
            1_409 => "another publisher sends there",
            1_415 => "it does not support this type of media",
            1_423 => "the stream is locked",
            1_500..=1_502 => "it has an internal error",
            1_503 => "the service is down",
            1_507 => "it has no room for the stream",
            _ => return None,
        })
    }
}

/// Writes the reason in plain English, as the end of a sentence about the listener, and its number.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "{text} (reason {})", self.0),
            None => write!(f, "reason {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_explained_and_keep_their_number() {
        assert_eq!(Rejection::BAD_SECRET.to_string(), "the passphrase is wrong (reason 10)");
        assert_eq!(Rejection::FORBIDDEN.to_string(), "access is forbidden (reason 1403)");
        assert_eq!(Rejection(2_001).to_string(), "reason 2001");
    }
}
