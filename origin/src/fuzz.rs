//! Bodies of the fuzz targets, compiled with the library so that a change of it cannot leave them behind.

use packager::uri;

use crate::range::Range;
use crate::route::{Directives, Route};

/// Reads `data` as a request's path and query, and as a `Range`. What is a path of playback has no other spelling, and a
/// range never reaches past the end.
pub fn request_path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    if let Route::Playback(route) = Route::parse(path) {
        assert_eq!(route.to_string(), path, "a path that is not the canonical one was accepted");
        assert_eq!(uri::Route::parse(path), Some(route));
    }
    if let Ok(directives) = Directives::parse(query) {
        assert!(directives.part.is_none() || directives.msn.is_some());
    }
    for total in [0, 1, 1_000, u64::MAX] {
        if let Some((first, len)) = Range::parse(&text).and_then(|range| range.of(total)) {
            assert!(len > 0 && first.checked_add(len).is_some_and(|end| end <= total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::request_path;

    #[test]
    fn known_inputs_pass_at_every_split() {
        for text in [
            "/abc.m3u8?_HLS_msn=1&_HLS_part=2&_HLS_skip=YES",
            "/abc/def/video-18446744073709551615.4294967295.m4s",
            "bytes=0-18446744073709551615",
            "bytes=-18446744073709551616",
            "/watch/%2e%2e/\u{feff}?_HLS_part=\u{0}",
        ] {
            for end in 0..=text.len() {
                request_path(&text.as_bytes()[..end]);
                request_path(&text.as_bytes()[end..]);
            }
        }
    }
}
