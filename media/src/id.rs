//! Typed ids, and secrets that are never printed.
//!
//! Ids consist of `[A-Za-z0-9]`, so that they fit in a URL, a shell and every encoder's text box.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

/// Longest id accepted from outside, in bytes.
pub const MAX_LEN: usize = 64;

/// Error of a text that cannot be an id: empty, longer than [`MAX_LEN`], or with characters outside `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to {MAX_LEN} characters of A-Z, a-z, 0-9, '-' and '_'")]
pub struct InvalidId;

fn valid(text: &str) -> bool {
    (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Returns `len` characters of `[A-Za-z0-9]` from the operating system's random source.
fn random(len: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut out = String::with_capacity(len);
    let mut pool = [0u8; 64];
    while out.len() < len {
        // Without randomness no key is secure, so the program has to stop.
        #[allow(clippy::expect_used)]
        getrandom::fill(&mut pool).expect("the operating system gives randomness");
        // Bytes above the last whole multiple of 62 would favour the first letters.
        out.extend(
            pool.iter().filter(|b| **b < 248).take(len - out.len()).map(|b| char::from(ALPHABET[usize::from(b % 62)])),
        );
    }
    out
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Creates a random id.
            pub fn generate() -> Self {
                Self(random($len))
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Identifies a live stream to its owner.
    LiveStreamId, 44
);
id!(
    /// Identifies a live stream to its viewers.
    PlaybackId, 44
);
id!(
    /// Identifies one broadcast of a live stream. It is part of every media URL, so that a URL always means the same
    /// bytes.
    BroadcastId, 12
);
id!(
    /// Identifies one encoder connection, in logs.
    ContributionId, 12
);
id!(
    /// Identifies an asset.
    AssetId, 44
);
id!(
    /// Identifies a simulcast target of a live stream.
    SimulcastTargetId, 44
);

/// The secret that an encoder publishes with. It is compared in constant time and never printed.
#[derive(Clone)]
pub struct StreamKey(String);

impl StreamKey {
    /// Creates a random key of `[A-Za-z0-9]`, because `%`, `/`, `!` and the like break encoders.
    pub fn generate() -> Self {
        Self(random(36))
    }

    /// Returns the key as text, for its owner. The [`Debug`](fmt::Debug) output hides it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamKey {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
    }
}

impl PartialEq for StreamKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for StreamKey {}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_url_safe_and_differ() {
        let (a, b) = (PlaybackId::generate(), PlaybackId::generate());
        assert_eq!(a.as_str().len(), 44);
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<PlaybackId>(), Ok(a));
    }

    #[test]
    fn bad_ids_are_refused() {
        for text in ["", "a/b", "a b", "é", &"x".repeat(MAX_LEN + 1)] {
            assert_eq!(text.parse::<LiveStreamId>(), Err(InvalidId), "{text:?}");
        }
        assert!("x".repeat(MAX_LEN).parse::<LiveStreamId>().is_ok());
    }

    #[test]
    fn a_key_is_not_printed() {
        let key: StreamKey = "very-secret".parse().unwrap();
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(key, "very-secret".parse().unwrap());
        assert_ne!(key, "very-secreT".parse().unwrap());
    }
}
