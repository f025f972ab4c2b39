//! Errors in bytes from outside, and their place.

use std::fmt;

use media::codec::HeaderError;

/// Place of an error in the input: a grammar, a byte offset within it, and a path of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    grammar: &'static str,
    byte: u64,
    path: String,
}

impl Place {
    /// Creates the place at byte `byte` of `grammar`, in the field named by `path`, outermost first: `chunk > message
    /// length`.
    pub(crate) fn new(grammar: &'static str, byte: u64, path: impl Into<String>) -> Self {
        Self { grammar, byte, path: path.into() }
    }

    /// Returns the same place within an outer grammar whose field `path` starts at `byte` and contains this one.
    pub(crate) fn within(self, grammar: &'static str, byte: u64, path: &str) -> Self {
        Self { grammar, byte, path: format!("{path} > {} byte {} > {}", self.grammar, self.byte, self.path) }
    }

    /// Returns the offset in the outermost grammar: for a session, in the bytes of the connection.
    pub const fn byte(&self) -> u64 {
        self.byte
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte {}: {}", self.grammar, self.byte, self.path)
    }
}

/// Side that has to change something for the bytes to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The peer violated the protocol or a limit.
    Peer,
    /// The peer is right, but asks for something that Weir does not support.
    Unsupported,
}

/// Bytes that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ends within a field.
    #[error("{place}: ends before the field is complete")]
    Short {
        /// Place of the field.
        place: Place,
    },
    /// A field holds a value that the protocol forbids.
    #[error("{place}: {value} is out of range")]
    Range {
        /// Place of the field.
        place: Place,
        /// The value found.
        value: u64,
    },
    /// A field exceeds a limit.
    #[error("{place}: {value} is over the limit of {limit}")]
    Limit {
        /// Place of the field.
        place: Place,
        /// The value found.
        value: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// A message that is not allowed in this state of the session.
    #[error("{place}: {what} does not belong here")]
    Unexpected {
        /// Place of the message.
        place: Place,
        /// The message.
        what: &'static str,
    },
    /// The bytes are valid, but Weir does not support their content.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// Place of the content.
        place: Place,
        /// The unsupported content.
        what: String,
    },
    /// A codec header that cannot be used.
    #[error("{place}: {source}")]
    Codec {
        /// Place of the header.
        place: Place,
        /// Error in the header.
        source: HeaderError,
    },
}

impl Error {
    /// Returns the place of the error in the input.
    pub const fn place(&self) -> &Place {
        match self {
            Self::Short { place }
            | Self::Range { place, .. }
            | Self::Limit { place, .. }
            | Self::Unexpected { place, .. }
            | Self::Unsupported { place, .. }
            | Self::Codec { place, .. } => place,
        }
    }

    /// Returns the side that has to change something.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Unsupported { .. } | Self::Codec { source: HeaderError::Unsupported { .. }, .. } => {
                Blame::Unsupported
            }
            _ => Blame::Peer,
        }
    }

    /// Returns the same error within an outer grammar, as [`Place::within`].
    pub(crate) fn within(mut self, grammar: &'static str, byte: u64, path: &str) -> Self {
        let place = match &mut self {
            Self::Short { place }
            | Self::Range { place, .. }
            | Self::Limit { place, .. }
            | Self::Unexpected { place, .. }
            | Self::Unsupported { place, .. }
            | Self::Codec { place, .. } => place,
        };
        *place = place.clone().within(grammar, byte, path);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_byte_and_a_path_from_the_outside_in() {
        let inner = Error::Short { place: Place::new("amf0", 17, "argument 2 > object > key") };
        assert_eq!(inner.to_string(), "amf0 byte 17: argument 2 > object > key: ends before the field is complete");
        let outer = inner.within("rtmp", 4_193, "message type 20");
        assert_eq!(
            outer.to_string(),
            "rtmp byte 4193: message type 20 > amf0 byte 17 > argument 2 > object > key: ends before the field is complete"
        );
        assert_eq!((outer.place().byte(), outer.blame()), (4_193, Blame::Peer));
    }

    #[test]
    fn blame_depends_on_the_error() {
        let place = Place::new("flv", 0, "codec");
        let header = |source| Error::Codec { place: place.clone(), source };
        assert_eq!(header(HeaderError::Short { place: "x", bit: 0 }).blame(), Blame::Peer);
        assert_eq!(header(HeaderError::Unsupported { place: "x", value: 9 }).blame(), Blame::Unsupported);
        assert_eq!(Error::Unsupported { place, what: "RTMPE".into() }.blame(), Blame::Unsupported);
    }
}
