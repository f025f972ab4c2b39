//! Answers: status, headers and body, built from bytes that already exist.

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::http::body::{Body, Chunk, Source};
use crate::playback::rendered::{Rendered, Variant};
use crate::worker::activity::RequestGuard;

/// Maximum of header fields in an answer, so that the map allocates once.
const MAX_FIELDS: usize = 10;
pub(crate) const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const EXPOSED: HeaderValue = HeaderValue::from_static("Age, Content-Length, Content-Range, Date, ETag");
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const VARY_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");
const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
/// Immutable content may be cached for a year, the longest time that caches support.
pub(crate) const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// A media URL permanently means the same bytes, so one validator serves them all.
pub(crate) const MEDIA_ETAG: HeaderValue = HeaderValue::from_static("\"as-published\"");

/// Preferences that a client states in its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientPreferences {
    /// `HEAD`: the answer has no body.
    pub(crate) head_only: bool,
    /// The client accepts gzip.
    pub(crate) gzip: bool,
    /// Requested range of bytes.
    pub(crate) range: Option<crate::http::range::Range>,
}

/// Returns the answer to a CORS preflight.
pub(crate) fn preflight(guard: RequestGuard) -> Response<Body> {
    let mut answer = bare(StatusCode::NO_CONTENT, Body::empty(guard));
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ANY_ORIGIN);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    answer
}

/// Answer with a whole playlist, not yet in the form of an HTTP version.
#[derive(Debug)]
pub(crate) struct Playlist {
    pub(crate) rendered: Arc<Rendered>,
    /// True for the answer to a blocking reload.
    pub(crate) reload: bool,
    /// The reader accepts gzip.
    pub(crate) gzip: bool,
    pub(crate) guard: RequestGuard,
}

impl Playlist {
    /// Returns the answer to `HEAD`, or to a reader that already has the playlist (`known`).
    pub(crate) fn head_only(self, known: bool) -> Response<Body> {
        if known {
            let mut answer = bare(StatusCode::NOT_MODIFIED, Body::empty(self.guard));
            describe(&self.rendered, self.reload, false, answer.headers_mut());
            return answer;
        }
        let text = self.rendered.text(self.gzip);
        let mut answer = bare(StatusCode::OK, Body::empty(self.guard));
        describe(&self.rendered, self.reload, text.zipped, answer.headers_mut());
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.bytes.len()));
        answer
    }

    fn into_response(self) -> Response<Body> {
        let Self { rendered, reload, gzip, guard } = self;
        let text = rendered.text(gzip);
        let head = rendered.head(Variant { reload, zipped: text.zipped }, || {
            let mut headers = playlist_head(&rendered, reload, text.zipped).into_parts().0.headers;
            headers.insert(CONTENT_LENGTH, HeaderValue::from(text.bytes.len()));
            headers
        });
        let mut response = Response::new(Body::once(text.bytes.clone(), guard));
        response.headers_mut().clone_from(head);
        response
    }
}

/// Answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Head and body.
    Response(Response<Body>),
    /// A whole playlist, which has its own precomputed form in each HTTP version.
    Playlist(Playlist),
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Response(response) => response.status(),
            Self::Playlist(_) => StatusCode::OK,
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        match self {
            Self::Response(response) => response,
            Self::Playlist(playlist) => playlist.into_response(),
        }
    }

    /// Adds `Connection: close`.
    pub(crate) fn closing(self) -> Self {
        let mut last = self.into_response();
        last.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Self::Response(last)
    }
}

/// Returns the head of the answer with a whole playlist. `reload` is true if it answers a blocking reload.
pub(crate) fn playlist_head(rendered: &Rendered, reload: bool, zipped: bool) -> Response<()> {
    let mut head = bare(StatusCode::OK, ());
    describe(rendered, reload, zipped, head.headers_mut());
    head
}

fn describe(rendered: &Rendered, reload: bool, zipped: bool, headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, PLAYLIST);
    headers.insert(CACHE_CONTROL, if reload { rendered.reload_max_age.clone() } else { rendered.max_age.clone() });
    headers.insert(ETAG, rendered.etag.clone());
    headers.insert(VARY, VARY_ENCODING);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if zipped {
        headers.insert(CONTENT_ENCODING, GZIP);
    }
}

/// Returns the answer with the whole media or the requested range of it; 304 if the reader already has it (`known`).
pub(crate) fn media(
    source: Source,
    content_type: HeaderValue,
    known: bool,
    preferences: ClientPreferences,
    guard: RequestGuard,
) -> Response<Body> {
    let total = source.len();
    let mut answer = match preferences.range.map(|range| range.resolve(total)) {
        _ if known => bare(StatusCode::NOT_MODIFIED, Body::empty(guard)),
        None => whole(StatusCode::OK, Chunk::range(source, 0, total), preferences.head_only, guard),
        Some(Some((first, len))) => {
            let chunk = Chunk::range(source, first, len);
            let mut answer = whole(StatusCode::PARTIAL_CONTENT, chunk, preferences.head_only, guard);
            let last = first.saturating_add(len).saturating_sub(1);
            insert_text(answer.headers_mut(), CONTENT_RANGE, &format!("bytes {first}-{last}/{total}"));
            answer
        }
        Some(None) => return unsatisfiable(total, guard),
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.insert(ETAG, MEDIA_ETAG);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer
}

/// Returns the answer to a range past the end of `total` bytes. None of the media's header fields are in it, because a
/// cache would then keep the refusal.
fn unsatisfiable(total: u64, guard: RequestGuard) -> Response<Body> {
    let mut answer = bare(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty(guard));
    let headers = answer.headers_mut();
    insert_text(headers, CONTENT_RANGE, &format!("bytes */{total}"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer
}

/// Returns an answer with `chunk` as its body, or with its length only for `HEAD`.
pub(crate) fn whole(status: StatusCode, chunk: Chunk, head_only: bool, guard: RequestGuard) -> Response<Body> {
    if !head_only {
        return bare(status, Body::once(chunk, guard));
    }
    let length = HeaderValue::from(bytes::Buf::remaining(&chunk));
    let mut answer = bare(status, Body::empty(guard));
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    answer
}

pub(crate) fn bare<B>(status: StatusCode, body: B) -> Response<B> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = HeaderMap::with_capacity(MAX_FIELDS);
    answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
    answer
}

fn insert_text(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Returns true if an `If-None-Match` names `etag`, by weak comparison (RFC 9110 §13.1.2).
pub(crate) fn is_known(if_none_match: Option<&str>, etag: &HeaderValue) -> bool {
    let Some(list) = if_none_match else { return false };
    let Ok(etag) = etag.to_str().map(opaque) else { return false };
    list.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == etag)
}

fn opaque(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

/// Returns true if an `Accept-Encoding` accepts gzip.
pub(crate) fn takes_gzip(accept_encoding: Option<&str>) -> bool {
    let Some(list) = accept_encoding else { return false };
    list.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        matches!(name.trim(), "gzip" | "x-gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_are_compared_weakly() {
        let etag = HeaderValue::from_static("W/\"a-1\"");
        for (header, known) in [
            ("W/\"a-1\"", true),
            ("\"a-1\"", true),
            ("\"x\", W/\"a-1\"", true),
            ("*", true),
            ("\"a-2\"", false),
            ("", false),
        ] {
            assert_eq!(is_known(Some(header), &etag), known, "{header}");
        }
        assert!(!is_known(None, &etag));
    }

    #[test]
    fn gzip_is_used_if_accepted() {
        for (header, takes) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("br", false),
        ] {
            assert_eq!(takes_gzip(Some(header)), takes, "{header}");
        }
        assert!(!takes_gzip(None));
    }
}
