//! Errors of the [`Muxer`](super::Muxer).

use media::TrackId;

/// Something that a transport stream cannot hold. The stream itself remains valid, and whatever follows can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// There is no mapping of the codec to transport streams.
    #[error("{codec} cannot be carried in MPEG-TS")]
    Codec {
        /// Name of the codec, for people.
        codec: &'static str,
    },
    /// There is a mapping of the codec, but not of this form of it.
    #[error("{codec} with {form} cannot be carried in MPEG-TS")]
    Form {
        /// Name of the codec, for people.
        codec: &'static str,
        /// The form, as in "frames of 960 samples".
        form: &'static str,
    },
    /// A programme has no room for another stream.
    #[error("more than {limit} streams in a programme")]
    TooManyStreams {
        /// Most streams, metadata included.
        limit: usize,
    },
    /// The track of a frame was not added, or was removed.
    #[error("track {} is not in the programme", .0.0)]
    UnknownTrack(TrackId),
    /// A frame has no content, or no NAL unit that fits in it.
    #[error("a frame without content")]
    Empty,
    /// A frame or its metadata is longer than its form in the stream allows.
    #[error("{len} bytes where at most {limit} fit")]
    TooLong {
        /// Number of bytes, or fewer if not all were counted.
        len: usize,
        /// Most bytes.
        limit: usize,
    },
    /// Metadata is not what its kind says: no ID3 tag, or no complete section.
    #[error("metadata that is not of its kind")]
    Metadata,
    /// The caller has not taken the packets that were written.
    #[error("more than {limit} bytes wait to be taken")]
    Full {
        /// Most bytes that wait.
        limit: usize,
    },
}
