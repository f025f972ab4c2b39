//! Routes: the resource that a path names, found without a clock or a lookup.

use media::id::PlaybackId;
use packager::uri::{self, File};

use crate::playback::watch_page;
use crate::stats::RouteKind;

/// Maximum length of a path. A longer one names nothing.
const MAX_PATH: usize = 2_048;
/// Extensions of playback files. A path that ends like this and names no file is not passed to the fallback either.
const PLAYBACK_EXTENSIONS: [&str; 3] = [".m3u8", ".m4s", ".mp4"];

/// Resource that a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// A playlist or media.
    Playback(uri::Route),
    /// The watch page; `None` if the path contains no valid playback id.
    Watch(Option<PlaybackId>),
    /// A file that the watch page loads.
    Asset(&'static watch_page::Asset),
    /// No resource.
    Unknown,
    /// A path for the [`Fallback`](crate::api::Fallback).
    Other,
}

impl Route {
    /// Parses an absolute path without its query.
    pub(crate) fn parse(path: &str) -> Self {
        if path.len() > MAX_PATH {
            return Self::Unknown;
        }
        if let Some(id) = path.strip_prefix("/watch/") {
            return Self::Watch(id.parse().ok());
        }
        if let Some(name) = path.strip_prefix("/assets/") {
            return watch_page::asset(name).map_or(Self::Unknown, Self::Asset);
        }
        match uri::Route::parse(path) {
            Some(route) => Self::Playback(route),
            None if PLAYBACK_EXTENSIONS.iter().any(|ending| path.ends_with(ending)) => Self::Unknown,
            None => Self::Other,
        }
    }

    /// Returns the kind by which a request of this route is counted.
    pub(crate) const fn kind(&self) -> RouteKind {
        match self {
            Self::Playback(uri::Route::Multivariant(_)) => RouteKind::Multivariant,
            Self::Playback(uri::Route::File(_, _, File::Playlist(_))) => RouteKind::Playlist,
            Self::Playback(uri::Route::File(_, _, File::Init(..))) => RouteKind::Init,
            Self::Playback(uri::Route::File(_, _, File::Segment(..))) => RouteKind::Segment,
            Self::Playback(uri::Route::File(_, _, File::Part(..))) => RouteKind::Part,
            Self::Watch(_) | Self::Asset(_) => RouteKind::Watch,
            Self::Unknown => RouteKind::Unknown,
            Self::Other => RouteKind::Fallback,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_path_is_routed() {
        assert!(matches!(Route::parse("/abc.m3u8"), Route::Playback(uri::Route::Multivariant(_))));
        assert!(matches!(Route::parse("/abc/def/video-1.2.m4s"), Route::Playback(uri::Route::File(..))));
        assert_eq!(Route::parse("/watch/abc"), Route::Watch(Some("abc".parse().unwrap())));
        for other in ["/watch/", "/watch/a/b", "/watch/a%20b"] {
            assert_eq!(Route::parse(other), Route::Watch(None), "{other}");
        }
        assert!(matches!(Route::parse(watch_page::HLS_JS_PATH.as_str()), Route::Asset(_)));
        for other in ["/", "*", "", "/healthz", "/metrics", "/video/v1/live-streams/abc", "/openapi.json", "/watch"] {
            assert_eq!(Route::parse(other), Route::Other, "{other:?}");
        }
    }

    #[test]
    fn malformed_playback_paths_name_nothing() {
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
}
