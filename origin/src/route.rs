//! What a request asks for: its path and its query, read without a clock or a look-up.

use media::id::PlaybackId;
use packager::uri;

use crate::watch;

/// Longest path that is looked at; beyond, it names nothing.
const MAX_PATH: usize = 2_048;
/// How the files of playback end; a path that ends so and is none of them is nobody else's either.
const OWN_ENDINGS: [&str; 3] = [".m3u8", ".m4s", ".mp4"];

/// What a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// A playlist or media.
    Playback(uri::Route),
    /// The page with a player; `None` where no playback id can be.
    Watch(Option<PlaybackId>),
    /// A file that the page loads.
    Asset(&'static watch::Asset),
    /// Nothing.
    Unknown,
    /// Somebody else's: the fallback's.
    Other,
}

impl Route {
    /// Reads an absolute path without its query.
    pub(crate) fn parse(path: &str) -> Self {
        if path.len() > MAX_PATH {
            return Self::Unknown;
        }
        if let Some(id) = path.strip_prefix("/watch/") {
            return Self::Watch(id.parse().ok());
        }
        if let Some(name) = path.strip_prefix("/assets/") {
            return watch::asset(name).map_or(Self::Unknown, Self::Asset);
        }
        match uri::Route::parse(path) {
            Some(route) => Self::Playback(route),
            None if OWN_ENDINGS.iter().any(|ending| path.ends_with(ending)) => Self::Unknown,
            None => Self::Other,
        }
    }
}

/// The delivery directives of a playlist's query (rfc8216bis §6.2.5), and whether parts are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Directives {
    /// `_HLS_msn`: the segment that the playlist must hold.
    pub(crate) msn: Option<u64>,
    /// `_HLS_part`: the part of it.
    pub(crate) part: Option<u32>,
    /// `_HLS_skip`: a delta update will do.
    pub(crate) skip: bool,
    /// False for `low_latency=false`: the programme without parts.
    pub(crate) low_latency: bool,
}

impl Default for Directives {
    fn default() -> Self {
        Self { msn: None, part: None, skip: false, low_latency: true }
    }
}

/// A directive that cannot be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadDirective {
    /// `_HLS_msn` is no number.
    #[error("_HLS_msn must be a whole number")]
    Msn,
    /// `_HLS_part` is no number.
    #[error("_HLS_part must be a whole number")]
    Part,
    /// `_HLS_part` without `_HLS_msn`.
    #[error("_HLS_part needs _HLS_msn")]
    PartAlone,
    /// `_HLS_skip` is neither `YES` nor `v2`.
    #[error("_HLS_skip must be YES or v2")]
    Skip,
}

impl Directives {
    /// Reads a query; parameters it does not know are left alone.
    pub(crate) fn parse(query: &str) -> Result<Self, BadDirective> {
        let mut directives = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => directives.msn = Some(number(value).ok_or(BadDirective::Msn)?),
                "_HLS_part" => {
                    let part = number(value).and_then(|part| u32::try_from(part).ok());
                    directives.part = Some(part.ok_or(BadDirective::Part)?);
                }
                "_HLS_skip" if matches!(value, "YES" | "v2") => directives.skip = true,
                "_HLS_skip" => return Err(BadDirective::Skip),
                "low_latency" => directives.low_latency = value != "false",
                _ => {}
            }
        }
        match directives {
            Self { msn: None, part: Some(_), .. } => Err(BadDirective::PartAlone),
            directives => Ok(directives),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_path_finds_its_owner() {
        assert!(matches!(Route::parse("/abc.m3u8"), Route::Playback(uri::Route::Multivariant(_))));
        assert!(matches!(Route::parse("/abc/def/video-1.2.m4s"), Route::Playback(uri::Route::File(..))));
        assert_eq!(Route::parse("/watch/abc"), Route::Watch(Some("abc".parse().unwrap())));
        for other in ["/watch/", "/watch/a/b", "/watch/a%20b"] {
            assert_eq!(Route::parse(other), Route::Watch(None), "{other}");
        }
        assert!(matches!(Route::parse(watch::HLS_JS_PATH.as_str()), Route::Asset(_)));
        for other in ["/", "*", "", "/healthz", "/metrics", "/video/v1/live-streams/abc", "/openapi.json", "/watch"] {
            assert_eq!(Route::parse(other), Route::Other, "{other:?}");
        }
    }

    #[test]
    fn what_only_looks_like_playback_names_nothing() {
        let long = format!("/{}", "a".repeat(MAX_PATH));
        for path in [
            "/../etc/passwd.m3u8",
            "/%2e%2e/abc.m3u8",
            "/abc/def/../video.m3u8",
            "/abc/def/video-01.m4s",
            "/abc//video.m3u8",
            "/assets/",
            "/assets/../hls.js",
            "/\u{0}.m3u8",
            &long,
        ] {
            assert_eq!(Route::parse(path), Route::Unknown, "{path:?}");
        }
    }

    #[test]
    fn directives_are_read() {
        assert_eq!(Directives::parse(""), Ok(Directives::default()));
        let all = Directives::parse("_HLS_msn=7&token=x&_HLS_part=2&_HLS_skip=v2&low_latency=false");
        assert_eq!(all, Ok(Directives { msn: Some(7), part: Some(2), skip: true, low_latency: false }));
        assert_eq!(Directives::parse("low_latency=true"), Ok(Directives::default()));
    }

    #[test]
    fn bad_directives_are_named() {
        for (query, bad) in [
            ("_HLS_part=1", BadDirective::PartAlone),
            ("_HLS_msn=", BadDirective::Msn),
            ("_HLS_msn", BadDirective::Msn),
            ("_HLS_msn=-1", BadDirective::Msn),
            ("_HLS_msn=18446744073709551616", BadDirective::Msn),
            ("_HLS_msn=1&_HLS_part=x", BadDirective::Part),
            ("_HLS_msn=1&_HLS_part=4294967296", BadDirective::Part),
            ("_HLS_skip=no", BadDirective::Skip),
        ] {
            assert_eq!(Directives::parse(query), Err(bad), "{query:?}");
        }
    }
}
