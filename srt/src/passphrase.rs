//! The [`Passphrase`] of a connection.

use std::fmt;

/// The secret that SRT derives its keys from; never printed.
#[derive(Clone)]
pub struct Passphrase(String);

impl Passphrase {
    /// Wraps the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Returns the secret, for the handshake.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(hidden)")
    }
}
