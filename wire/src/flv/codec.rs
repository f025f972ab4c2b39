//! Codecs by their names in FLV and Enhanced RTMP, and their headers.

use std::fmt;

use bytes::Bytes;
use media::codec::{HeaderError, aac, av1, avc, flac, hevc, opus, vp9};
use media::{CodecConfig, Kind};

use super::units;

/// Supported codecs with their FourCC.
const CARRIED: [(Codec, [u8; 4]); 9] = [
    (Codec::Avc, *b"avc1"),
    (Codec::Hevc, *b"hvc1"),
    (Codec::Av1, *b"av01"),
    (Codec::Vp9, *b"vp09"),
    (Codec::Aac, *b"mp4a"),
    (Codec::Opus, *b"Opus"),
    (Codec::Ac3, *b"ac-3"),
    (Codec::Eac3, *b"ec-3"),
    (Codec::Flac, *b"fLaC"),
];
/// FourCC that some encoders write for `hvc1`.
const HEV1: [u8; 4] = *b"hev1";
/// Known FourCCs of unsupported codecs.
const KNOWN: [([u8; 4], &str); 3] = [(*b"vp08", "VP8"), (*b"vvc1", "VVC"), (*b".mp3", "MP3")];

/// A codec, by the name that a tag gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264: `CodecID` 7, `avc1`.
    Avc,
    /// HEVC: `hvc1`, or `CodecID` 12, which is in no standard but used by encoders from China.
    Hevc,
    /// AV1: `av01`.
    Av1,
    /// VP9: `vp09`.
    Vp9,
    /// MPEG-4 AAC: `SoundFormat` 10, `mp4a`.
    Aac,
    /// Opus: `Opus`.
    Opus,
    /// AC-3: `ac-3`.
    Ac3,
    /// Enhanced AC-3: `ec-3`.
    Eac3,
    /// FLAC: `fLaC`.
    Flac,
    /// An unsupported `CodecID` of video.
    VideoId(u8),
    /// An unsupported `SoundFormat`.
    SoundFormat(u8),
    /// An unsupported FourCC.
    FourCc([u8; 4]),
}

impl Codec {
    /// Returns the codec of `kind` with this FourCC. Case is ignored, because encoders get it wrong.
    pub(super) fn from_four_cc(kind: Kind, four_cc: [u8; 4]) -> Self {
        if kind == Kind::Video && four_cc.eq_ignore_ascii_case(&HEV1) {
            return Self::Hevc;
        }
        let is_it = |(codec, cc): &&(Self, [u8; 4])| codec.kind() == Some(kind) && cc.eq_ignore_ascii_case(&four_cc);
        CARRIED.iter().find(is_it).map_or(Self::FourCc(four_cc), |(codec, _)| *codec)
    }

    /// Returns the codec of a configuration.
    pub const fn of(config: &CodecConfig) -> Self {
        match config {
            CodecConfig::Avc(_) => Self::Avc,
            CodecConfig::Hevc(_) => Self::Hevc,
            CodecConfig::Av1(_) => Self::Av1,
            CodecConfig::Vp9(_) => Self::Vp9,
            CodecConfig::Aac(_) => Self::Aac,
            CodecConfig::Opus(_) => Self::Opus,
            CodecConfig::Ac3(_) => Self::Ac3,
            CodecConfig::Eac3(_) => Self::Eac3,
            CodecConfig::Flac(_) => Self::Flac,
        }
    }

    /// Returns the FourCC of a supported codec; `None` for the others.
    pub(crate) fn four_cc(self) -> Option<[u8; 4]> {
        CARRIED.iter().find(|(codec, _)| *codec == self).map(|(_, four_cc)| *four_cc)
    }

    /// Returns the FourCCs of the supported codecs of `kind`.
    pub(crate) fn carried(kind: Kind) -> impl Iterator<Item = &'static str> {
        let of_kind = move |(codec, _): &&(Self, [u8; 4])| codec.kind() == Some(kind);
        CARRIED.iter().filter(of_kind).filter_map(|(_, four_cc)| std::str::from_utf8(four_cc).ok())
    }

    /// Returns the kind of a supported codec; `None` for the others.
    const fn kind(self) -> Option<Kind> {
        match self {
            Self::Avc | Self::Hevc | Self::Av1 | Self::Vp9 => Some(Kind::Video),
            Self::Aac | Self::Opus | Self::Ac3 | Self::Eac3 | Self::Flac => Some(Kind::Audio),
            Self::VideoId(_) | Self::SoundFormat(_) | Self::FourCc(_) => None,
        }
    }

    /// Returns whether Weir supports the codec.
    pub(super) const fn is_carried(self) -> bool {
        self.kind().is_some()
    }

    /// Returns whether Enhanced RTMP puts a composition time before each frame.
    pub(super) fn has_composition_time(self) -> bool {
        matches!(self, Self::Avc | Self::Hevc) || self == Self::FourCc(*b"vvc1")
    }

    /// Parses a header; `None` if it is empty and the frames contain the configuration.
    pub(super) fn config(self, header: Bytes) -> Result<Option<CodecConfig>, HeaderError> {
        Ok(Some(match self {
            // The standard defines two channels as the default.
            Self::Opus if header.is_empty() => CodecConfig::Opus(opus::Config::new(2)?),
            _ if header.is_empty() => return Ok(None),
            // Parameter sets instead of a record are recognized by their start codes or their lengths.
            Self::Avc => match avc::Config::parse(header.clone()) {
                Ok(config) => CodecConfig::Avc(config),
                Err(error) => return units::avc_header(&header).map(Some).ok_or(error),
            },
            Self::Hevc => match units::hevc_header(&header) {
                // A record of version 0 begins with a zero too.
                Some(config) if header.starts_with(&[0, 0]) => config,
                _ => CodecConfig::Hevc(hevc::Config::parse(header)?),
            },
            Self::Av1 => CodecConfig::Av1(av1::Config::parse(header)?),
            Self::Vp9 => CodecConfig::Vp9(vp9::Config::parse(header)?),
            // No audio object type begins like an ADTS header.
            Self::Aac if header.starts_with(&[0xff]) => CodecConfig::Aac(aac::Config::from_adts(&header)?),
            Self::Aac => CodecConfig::Aac(aac::Config::parse(header)?),
            Self::Opus => CodecConfig::Opus(opus::Config::parse(&header)?),
            Self::Flac => CodecConfig::Flac(flac::Config::parse(&header)?),
            // Their headers are empty by the standard. Content that is there all the same says no more than the frames.
            Self::Ac3 | Self::Eac3 | Self::VideoId(_) | Self::SoundFormat(_) | Self::FourCc(_) => return Ok(None),
        }))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Avc => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Flac => "FLAC",
            Self::VideoId(2) => "Sorenson H.263",
            Self::VideoId(4 | 5) => "VP6",
            Self::SoundFormat(2 | 14) => "MP3",
            Self::SoundFormat(11) => "Speex",
            Self::VideoId(id) => return write!(f, "FLV video codec {id}"),
            Self::SoundFormat(id) => return write!(f, "FLV sound format {id}"),
            Self::FourCc(cc) => match KNOWN.iter().find(|(known, _)| known == cc) {
                Some((_, name)) => name,
                None => return write!(f, "FourCC {}", cc.escape_ascii()),
            },
        };
        f.write_str(name)
    }
}
