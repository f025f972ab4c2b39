//! What can be wrong with bytes from outside, and where.

use std::fmt;

use media::codec::HeaderError;

/// Where in the input something is wrong: a grammar, a byte offset within it and a path of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    grammar: &'static str,
    byte: u64,
    path: String,
}

impl Place {
    /// Byte `byte` of `grammar`, in the field that `path` names, outermost first: `chunk > message length`.
    pub(crate) fn new(grammar: &'static str, byte: u64, path: impl Into<String>) -> Self {
        Self { grammar, byte, path: path.into() }
    }

    /// The same place seen from an outer grammar that holds this one in the field `path`, which starts at `byte`.
    pub(crate) fn within(self, grammar: &'static str, byte: u64, path: &str) -> Self {
        Self { grammar, byte, path: format!("{path} > {} byte {} > {}", self.grammar, self.byte, self.path) }
    }

    /// Offset in the outermost grammar: for a session, in the bytes of the connection.
    pub const fn byte(&self) -> u64 {
        self.byte
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte {}: {}", self.grammar, self.byte, self.path)
    }
}

/// Who has to change something for the bytes to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The peer broke the protocol or a cap.
    Peer,
    /// The peer is right, but asks for something that Weir does not do.
    Unsupported,
}

/// Bytes that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field is cut off by the end of what holds it.
    #[error("{place}: ends before the field is whole")]
    Short {
        /// Where.
        place: Place,
    },
    /// A field holds a value that the protocol forbids.
    #[error("{place}: {value} is out of range")]
    Range {
        /// Where.
        place: Place,
        /// The value found.
        value: u64,
    },
    /// A field asks for more than the cap allows.
    #[error("{place}: {value} is over the limit of {limit}")]
    Limit {
        /// Where.
        place: Place,
        /// The value found.
        value: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// A message that has no business at this point of the session.
    #[error("{place}: {what} does not belong here")]
    Unexpected {
        /// Where.
        place: Place,
        /// The message.
        what: &'static str,
    },
    /// Sound bytes that Weir does not carry.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// Where.
        place: Place,
        /// What was asked for.
        what: String,
    },
    /// A codec header that cannot be used.
    #[error("{place}: {source}")]
    Codec {
        /// Where.
        place: Place,
        /// What is wrong with the header.
        source: HeaderError,
    },
}

impl Error {
    /// Where in the input it is.
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

    /// Who is to blame.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Unsupported { .. } | Self::Codec { source: HeaderError::Unsupported { .. }, .. } => {
                Blame::Unsupported
            }
            _ => Blame::Peer,
        }
    }

    /// The same error seen from an outer grammar, as [`Place::within`].
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
        assert_eq!(inner.to_string(), "amf0 byte 17: argument 2 > object > key: ends before the field is whole");
        let outer = inner.within("rtmp", 4_193, "message type 20");
        assert_eq!(
            outer.to_string(),
            "rtmp byte 4193: message type 20 > amf0 byte 17 > argument 2 > object > key: ends before the field is whole"
        );
        assert_eq!((outer.place().byte(), outer.blame()), (4_193, Blame::Peer));
    }

    #[test]
    fn blame_is_told_apart() {
        let place = Place::new("flv", 0, "codec");
        let header = |source| Error::Codec { place: place.clone(), source };
        assert_eq!(header(HeaderError::Short { place: "x", bit: 0 }).blame(), Blame::Peer);
        assert_eq!(header(HeaderError::Unsupported { place: "x", value: 9 }).blame(), Blame::Unsupported);
        assert_eq!(Error::Unsupported { place, what: "RTMPE".into() }.blame(), Blame::Unsupported);
    }
}
