//! Bodies of the fuzz targets. They compile with the library, so that a change of the library cannot leave them behind.

use packager::uri;

use crate::http::range::Range;
use crate::http::request::{Head, Request};
use crate::playback::directives::Directives;
use crate::playback::route::Route;

/// Parses `data` as the head of a request, as a path with a query, and as a `Range` header. Asserts that the end of a
/// head does not depend on what follows it, that a playback path has a single spelling, and that a range never reaches
/// past the end.
pub fn request_path(data: &[u8]) {
    if let Head::Plain(request, length) = Request::parse(data) {
        let (head, _) = data.split_at(length);
        assert_eq!(Request::parse(head), Head::Plain(request, length));
        assert!((0..length).all(|cut| Request::parse(head.split_at(cut).0) == Head::Partial));
    }
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
        if let Some((first, len)) = Range::parse(&text).and_then(|range| range.resolve(total)) {
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
            "GET /abc.m3u8?x HTTP/1.1\r\nHost: h\r\nRange: bytes=0-\r\n\r\nGET / HTTP/1.1\r\n\r\n",
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
