//! Elementary streams and their descriptions.

use crate::codec::CodecConfig;
use crate::time::Timescale;

/// Number of a [`Track`] within a contribution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackId(pub u32);

/// Kind of a [`Track`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Video.
    Video,
    /// Audio.
    Audio,
}

/// One elementary stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// Number within the contribution.
    pub id: TrackId,
    /// Codec and header ([`CodecConfig`]).
    pub codec: CodecConfig,
    /// [`Language`], if the contribution declares one.
    pub language: Option<Language>,
    /// Rank among several encodings of the same audio: 0 for the best, higher for lower bit rates.
    pub tier: u8,
}

/// A language of ISO 639-2: three lower-case letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Language([u8; 3]);

impl Language {
    /// Creates a language from three letters of any case; `None` for `und`, which means undetermined.
    pub fn new(code: [u8; 3]) -> Option<Self> {
        let code = code.map(|letter| letter.to_ascii_lowercase());
        (code.iter().all(u8::is_ascii_lowercase) && code != *b"und").then_some(Self(code))
    }

    /// Returns the three letters.
    pub fn as_str(&self) -> &str {
        // Always ASCII, see `new`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Track {
    /// Creates a track without a language.
    pub const fn new(id: TrackId, codec: CodecConfig) -> Self {
        Self { id, codec, language: None, tier: 0 }
    }

    /// Returns the kind of the track.
    pub const fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// Returns the timescale of the track in MP4; see [`CodecConfig::timescale`].
    pub const fn timescale(&self) -> Timescale {
        self.codec.timescale()
    }

    /// Returns the codec parameter of RFC 6381: `avc1.64001F`, `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        self.codec.codec_string()
    }
}

/// Latency mode of a live stream. The durations that follow from it are in `docs/architecture.md`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LatencyMode {
    /// Segments of 4 s.
    #[default]
    Standard,
    /// Segments of 2 s.
    Reduced,
    /// Segments of 2 s in parts of 0.2 s.
    Low,
}
