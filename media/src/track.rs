//! Elementary streams and what is needed to describe them.

use crate::codec::CodecConfig;
use crate::time::Timescale;

/// Numbers a track within a contribution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackId(pub u32);

/// What a track carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One elementary stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// Its number within the contribution.
    pub id: TrackId,
    /// Its codec and header.
    pub codec: CodecConfig,
    /// What is spoken in it, where the contribution says.
    pub language: Option<Language>,
    /// Of several encodings of the same sound, 0 for the best; those for links that carry less are counted from there.
    pub tier: u8,
}

/// A language as ISO 639-2 names it: three small letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Language([u8; 3]);

impl Language {
    /// Takes three letters of any case; none for `und`, which means that nobody knows.
    pub fn new(code: [u8; 3]) -> Option<Self> {
        let code = code.map(|letter| letter.to_ascii_lowercase());
        (code.iter().all(u8::is_ascii_lowercase) && code != *b"und").then_some(Self(code))
    }

    /// Its three letters.
    pub fn as_str(&self) -> &str {
        // They are ASCII, see `new`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Track {
    /// A track in no known language.
    pub const fn new(id: TrackId, codec: CodecConfig) -> Self {
        Self { id, codec, language: None, tier: 0 }
    }

    /// What the track carries.
    pub const fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// The timescale of the track in MP4; see [`CodecConfig::timescale`].
    pub const fn timescale(&self) -> Timescale {
        self.codec.timescale()
    }

    /// The codec parameter of RFC 6381: `avc1.64001F`, `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        self.codec.codec_string()
    }
}

/// How early a viewer gets the programme; see `docs/architecture.md` for the durations that follow from it.
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
