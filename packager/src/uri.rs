//! The URIs of a broadcast: written here for playlists, read here for the origin.
//!
//! ```text
//! /{PLAYBACK_ID}.m3u8                                   multivariant playlist
//! /{PLAYBACK_ID}/{BROADCAST_ID}/video.m3u8              media playlist
//! /{PLAYBACK_ID}/{BROADCAST_ID}/video-init-0.mp4        init section
//! /{PLAYBACK_ID}/{BROADCAST_ID}/video-17.m4s            segment 17
//! /{PLAYBACK_ID}/{BROADCAST_ID}/video-17.3.m4s          part 3 of segment 17
//! /{PLAYBACK_ID}/{BROADCAST_ID}/audio2.m3u8             media playlist of the second audio rendition
//! /{PLAYBACK_ID}/{BROADCAST_ID}/video2.m3u8             media playlist of the first dependent rendition
//! ```
//!
//! Every resource has exactly one path, so that a cache never stores it twice: numbers with a sign or leading zeros are
//! not accepted.

use std::fmt;
use std::ops::RangeInclusive;

use media::id::{BroadcastId, PlaybackId};

use crate::log::RenditionId;

/// A path of a broadcast or a live stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// The multivariant playlist of the live stream's current broadcast.
    Multivariant(PlaybackId),
    /// A file of one broadcast.
    File(PlaybackId, BroadcastId, File),
}

impl Route {
    /// Reads an absolute path without its query.
    pub fn parse(path: &str) -> Option<Self> {
        let mut steps = path.strip_prefix('/')?.splitn(3, '/');
        match (steps.next()?, steps.next(), steps.next()) {
            (first, None, None) => Some(Self::Multivariant(first.strip_suffix(".m3u8")?.parse().ok()?)),
            (playback, Some(broadcast), Some(file)) => {
                Some(Self::File(playback.parse().ok()?, broadcast.parse().ok()?, File::parse(file)?))
            }
            _ => None,
        }
    }
}

/// The absolute path.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multivariant(playback) => write!(f, "/{playback}.m3u8"),
            Self::File(playback, broadcast, file) => write!(f, "/{playback}/{broadcast}/{file}"),
        }
    }
}

/// A file in the folder of a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum File {
    /// The media playlist of a rendition.
    Playlist(RenditionId),
    /// An init section: rendition and number.
    Init(RenditionId, u32),
    /// A segment: rendition and media sequence number.
    Segment(RenditionId, u64),
    /// A part: rendition, media sequence number, index.
    Part(RenditionId, u64, u32),
}

impl File {
    /// Reads a file name.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(rendition) = name.strip_suffix(".m3u8") {
            return Some(Self::Playlist(parse_rendition(rendition)?));
        }
        if let Some(stem) = name.strip_suffix(".mp4") {
            let (rendition, number) = stem.rsplit_once("-init-")?;
            return Some(Self::Init(parse_rendition(rendition)?, parse_number(number)?.try_into().ok()?));
        }
        let (rendition, numbers) = name.strip_suffix(".m4s")?.rsplit_once('-')?;
        let rendition = parse_rendition(rendition)?;
        match numbers.split_once('.') {
            None => Some(Self::Segment(rendition, parse_number(numbers)?)),
            Some((msn, part)) => Some(Self::Part(rendition, parse_number(msn)?, parse_number(part)?.try_into().ok()?)),
        }
    }
}

/// The file name, which is also the reference to it from its neighbours.
impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Playlist(r) => write!(f, "{}.m3u8", Name(r)),
            Self::Init(r, number) => write!(f, "{}-init-{number}.mp4", Name(r)),
            Self::Segment(r, msn) => write!(f, "{}-{msn}.m4s", Name(r)),
            Self::Part(r, msn, part) => write!(f, "{}-{msn}.{part}.m4s", Name(r)),
        }
    }
}

/// The query that child URIs carry on, so that no cookie is needed. Displayed with its `?`; nothing if it is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// False for a viewer who asked for playlists without parts (`low_latency=false`).
    pub low_latency: bool,
    /// Further parameters, already in `name=value&…` form: a token. Empty if there are none.
    pub extra: &'a str,
}

impl Query<'_> {
    /// The query for media files, which are the same with and without parts, so that caches store them once.
    pub fn for_media(self) -> Self {
        Self { low_latency: true, ..self }
    }
}

impl Default for Query<'_> {
    fn default() -> Self {
        Self { low_latency: true, extra: "" }
    }
}

impl fmt::Display for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.low_latency {
            f.write_str("?low_latency=false")?;
        }
        if !self.extra.is_empty() {
            f.write_str(if self.low_latency { "?" } else { "&" })?;
        }
        for byte in self.extra.bytes() {
            // Any other byte could end the quoted string or the line around it.
            if byte.is_ascii_alphanumeric() || b"-._~%=&+:@/!*,;()".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// Video renditions are counted from 1, the reference rendition first. Dependent renditions have these numbers.
const DEPENDENT_NUMBERS: RangeInclusive<u32> = 2..=RenditionId::MAX_DEPENDENT_VIDEO + 1;

struct Name(RenditionId);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RenditionId::VIDEO => f.write_str("video"),
            RenditionId::AUDIO => f.write_str("audio"),
            RenditionId(n) if self.0.is_audio() => write!(f, "audio{n}"),
            RenditionId(n) => {
                match DEPENDENT_NUMBERS.zip(0..).find(|(_, n)| RenditionId::dependent_video(*n) == Some(self.0)) {
                    Some((number, _)) => write!(f, "video{number}"),
                    None => write!(f, "rendition{n}"),
                }
            }
        }
    }
}

fn parse_rendition(name: &str) -> Option<RenditionId> {
    match name {
        "video" => Some(RenditionId::VIDEO),
        "audio" => Some(RenditionId::AUDIO),
        other => {
            if let Some(number) = other.strip_prefix("video") {
                let number = u32::try_from(parse_number(number)?).ok()?;
                return RenditionId::dependent_video(number.checked_sub(*DEPENDENT_NUMBERS.start())?);
            }
            let audio = other.strip_prefix("audio");
            let number = parse_number(audio.or_else(|| other.strip_prefix("rendition"))?)?;
            let rendition = RenditionId(number.try_into().ok()?);
            let has_own_name =
                matches!(rendition, RenditionId::VIDEO | RenditionId::AUDIO) || rendition.is_dependent_video();
            (!has_own_name && rendition.is_audio() == audio.is_some()).then_some(rendition)
        }
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_parsed_from_its_text() {
        let (playback, broadcast) = (PlaybackId::generate(), BroadcastId::generate());
        let file = |file| Route::File(playback.clone(), broadcast.clone(), file);
        for route in [
            Route::Multivariant(playback.clone()),
            file(File::Playlist(RenditionId::VIDEO)),
            file(File::Init(RenditionId::AUDIO, 3)),
            file(File::Segment(RenditionId::VIDEO, u64::MAX)),
            file(File::Init(RenditionId(2), 0)),
            file(File::Part(RenditionId(8), 0, 10)),
            file(File::Part(RenditionId(9), 0, 10)),
            file(File::Playlist(RenditionId(16))),
            file(File::Playlist(RenditionId(17))),
        ] {
            assert_eq!(Route::parse(&route.to_string()), Some(route));
        }
    }

    #[test]
    fn other_spellings_are_not_accepted() {
        for path in [
            "",
            "/",
            "/.m3u8",
            "/p",
            "/p/b",
            "/p/b/",
            "p.m3u8",
            "/p.m3u8/",
            "/p/b/video",
            "/p/b/c/video.m3u8",
            "/p/b/video-01.m4s",
            "/p/b/video-+1.m4s",
            "/p/b/video-1.01.m4s",
            "/p/b/video-.m4s",
            "/p/b/video-1..m4s",
            "/p/b/video-1.4294967296.m4s",
            "/p/b/video-18446744073709551616.m4s",
            "/p/b/rendition0-1.m4s",
            "/p/b/rendition2-1.m4s",
            "/p/b/audio1-1.m4s",
            "/p/b/audio9-1.m4s",
            "/p/b/rendition9-1.m4s",
            "/p/b/video0-1.m4s",
            "/p/b/video1-1.m4s",
            "/p/b/video10-1.m4s",
            "/p/b/video02-1.m4s",
            "/p/b/video-init-00.mp4",
            "/p/b/-init-0.mp4",
            "/p%2e/b/video.m3u8",
            "/p/b/Video.m3u8",
        ] {
            assert_eq!(Route::parse(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_query_cannot_end_its_line() {
        assert_eq!(Query::default().to_string(), "");
        let query = Query { low_latency: false, extra: "token=a.b-c" };
        assert_eq!(query.to_string(), "?low_latency=false&token=a.b-c");
        let query = Query { low_latency: true, extra: "t=\"\n#\u{e9}" };
        assert_eq!(query.to_string(), "?t=%22%0A%23%C3%A9");
    }
}
