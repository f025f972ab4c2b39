//! Answers: status, headers and body, made of what is there already.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::body::{Body, Chunk, Source};
use crate::pulse::InFlight;
use crate::rendered::Rendered;
use crate::route::BadDirective;

/// Header fields that an answer has at most, so that its map grows once.
const FIELDS: usize = 10;
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const EXPOSED: HeaderValue = HeaderValue::from_static("Age, Content-Length, Content-Range, Date, ETag");
const ANY: HeaderValue = HeaderValue::from_static("*");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const VARY_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");
const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What never changes may be kept for a year, the longest that caches know.
pub(crate) const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const BRIEFLY: HeaderValue = HeaderValue::from_static("public, max-age=1");
const NOT_AT_ALL: HeaderValue = HeaderValue::from_static("no-store");
/// A media URL means the same bytes for ever, so one validator serves them all.
pub(crate) const MEDIA_ETAG: HeaderValue = HeaderValue::from_static("\"as-published\"");

/// Why there is nothing to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    UnknownPath,
    UnknownPlayback,
    UnknownMedia,
    Protected,
    Host,
    Full,
    Idle,
    NotPlayable,
    Stalled,
    Stopping,
    TooFar,
    Directive(BadDirective),
    Method,
}

impl Refusal {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::UnknownPlayback | Self::UnknownMedia => StatusCode::NOT_FOUND,
            Self::Protected => StatusCode::FORBIDDEN,
            Self::Idle => StatusCode::PRECONDITION_FAILED,
            Self::NotPlayable | Self::Stalled | Self::Stopping | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Host | Self::TooFar | Self::Directive(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    const fn body(self) -> &'static str {
        match self {
            Self::UnknownPath => {
                r#"{"error":{"type":"not_found","messages":["Nothing is served at this path. Viewers begin at /{PLAYBACK_ID}.m3u8."]}}"#
            }
            Self::UnknownPlayback => {
                r#"{"error":{"type":"not_found","messages":["No live stream has this playback ID. Check it, or ask for a playlist of a live stream that exists."]}}"#
            }
            Self::UnknownMedia => {
                r#"{"error":{"type":"not_found","messages":["This file is not, or no longer, in the live window. Load the playlist again and go on from there."]}}"#
            }
            Self::Protected => {
                r#"{"error":{"type":"forbidden","messages":["This playback ID has the policy signed or drm: it needs a token, and playback with tokens is not supported yet. Give the live stream a playback ID with the policy public."]}}"#
            }
            Self::Host => {
                r#"{"error":{"type":"bad_request","messages":["A request must name its host exactly once: HTTP/1.1 in one Host field, HTTP/2 in :authority."]}}"#
            }
            Self::Full => {
                r#"{"error":{"type":"unavailable","messages":["This server has as many viewers as it takes. Ask again in a moment."]}}"#
            }
            Self::Idle => {
                r#"{"error":{"type":"precondition_failed","messages":["This live stream is idle. Start the encoder, then ask again."]}}"#
            }
            Self::NotPlayable => {
                r#"{"error":{"type":"unavailable","messages":["The encoder has not sent a whole segment yet. Ask again in a moment, and check that the encoder sends keyframes."]}}"#
            }
            Self::Stalled => {
                r#"{"error":{"type":"unavailable","messages":["Nothing new came for three target durations. The encoder may have stalled; ask again in a moment."]}}"#
            }
            Self::Stopping => {
                r#"{"error":{"type":"unavailable","messages":["The server is restarting. Ask again in a moment."]}}"#
            }
            Self::TooFar => {
                r#"{"error":{"type":"invalid_parameters","messages":["_HLS_msn and _HLS_part lie too far ahead of the playlist. Load it without them and go on from there."]}}"#
            }
            Self::Directive(BadDirective::Msn) => {
                r#"{"error":{"type":"invalid_parameters","messages":["_HLS_msn must be a whole number."]}}"#
            }
            Self::Directive(BadDirective::Part) => {
                r#"{"error":{"type":"invalid_parameters","messages":["_HLS_part must be a whole number."]}}"#
            }
            Self::Directive(BadDirective::PartAlone) => {
                r#"{"error":{"type":"invalid_parameters","messages":["_HLS_part needs _HLS_msn."]}}"#
            }
            Self::Directive(BadDirective::Skip) => {
                r#"{"error":{"type":"invalid_parameters","messages":["_HLS_skip must be YES or v2."]}}"#
            }
            Self::Method => {
                r#"{"error":{"type":"method_not_allowed","messages":["Only GET, HEAD and OPTIONS are served here."]}}"#
            }
        }
    }

    pub(crate) const fn keep(self) -> HeaderValue {
        match self.status() {
            StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED => BRIEFLY,
            _ => NOT_AT_ALL,
        }
    }

    pub(crate) fn answer(self, head_only: bool, busy: InFlight) -> Response<Body> {
        let mut answer = whole(self.status(), Bytes::from_static(self.body().as_bytes()).into(), head_only, busy);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CACHE_CONTROL, self.keep());
        match self {
            Self::Method => drop(headers.insert(ALLOW, METHODS)),
            Self::NotPlayable | Self::Stalled | Self::Stopping | Self::Full => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }
}

/// What a reader says of the answer it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taste {
    /// `HEAD`: no body.
    pub(crate) head_only: bool,
    /// It reads gzip.
    pub(crate) gzip: bool,
    /// A range of the bytes.
    pub(crate) range: Option<crate::range::Range>,
}

/// The answer to a CORS preflight.
pub(crate) fn preflight(busy: InFlight) -> Response<Body> {
    let mut answer = bare(StatusCode::NO_CONTENT, Body::empty(busy));
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ANY);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    answer
}

/// A playlist on its way out.
#[derive(Debug)]
pub(crate) struct Playlist {
    pub(crate) rendered: Arc<Rendered>,
    /// It answers a blocking reload.
    pub(crate) reload: bool,
    /// Its reader reads gzip.
    pub(crate) gzip: bool,
    pub(crate) busy: InFlight,
}

impl Playlist {
    /// The answer to `HEAD`, or to a reader that has it already.
    pub(crate) fn head_alone(self, known: bool) -> Response<Body> {
        if known {
            let mut answer = bare(StatusCode::NOT_MODIFIED, Body::empty(self.busy));
            describe(&self.rendered, self.reload, false, answer.headers_mut());
            return answer;
        }
        let text = self.rendered.text(self.gzip);
        let mut answer = bare(StatusCode::OK, Body::empty(self.busy));
        describe(&self.rendered, self.reload, text.zipped, answer.headers_mut());
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.bytes.len()));
        answer
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Head and body.
    Response(Response<Body>),
    /// A whole playlist, which has a form of its own for HTTP/1.1.
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
            Self::Playlist(Playlist { rendered, reload, gzip, busy }) => {
                rendered.response(reload, gzip).map(|bytes| Body::once(bytes, busy))
            }
        }
    }
}

/// The head of the answer with a whole playlist; `reload` if it answers a blocking reload.
pub(crate) fn playlist_head(rendered: &Rendered, reload: bool, zipped: bool) -> Response<()> {
    let mut head = bare(StatusCode::OK, ());
    describe(rendered, reload, zipped, head.headers_mut());
    head
}

fn describe(rendered: &Rendered, reload: bool, zipped: bool, headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, PLAYLIST);
    headers.insert(CACHE_CONTROL, if reload { rendered.keep_reload.clone() } else { rendered.keep.clone() });
    headers.insert(ETAG, rendered.etag.clone());
    headers.insert(VARY, VARY_ENCODING);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if zipped {
        headers.insert(CONTENT_ENCODING, GZIP);
    }
}

/// Media: the whole of it or the range asked for, `known` if the reader has it.
pub(crate) fn media(
    source: Source,
    content_type: HeaderValue,
    known: bool,
    taste: Taste,
    busy: InFlight,
) -> Response<Body> {
    let total = source.len();
    let mut answer = match taste.range.map(|range| range.of(total)) {
        _ if known => bare(StatusCode::NOT_MODIFIED, Body::empty(busy)),
        None => whole(StatusCode::OK, Chunk::range(source, 0, total), taste.head_only, busy),
        Some(Some((first, len))) => {
            let chunk = Chunk::range(source, first, len);
            let mut answer = whole(StatusCode::PARTIAL_CONTENT, chunk, taste.head_only, busy);
            let last = first.saturating_add(len).saturating_sub(1);
            insert_text(answer.headers_mut(), CONTENT_RANGE, &format!("bytes {first}-{last}/{total}"));
            answer
        }
        Some(None) => return unsatisfiable(total, busy),
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, FOR_EVER);
    headers.insert(ETAG, MEDIA_ETAG);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer
}

/// The answer to a range that lies past the end of `total` bytes. Nothing of the media is in it, so none of the media's
/// fields are: a cache that kept it would keep the refusal.
fn unsatisfiable(total: u64, busy: InFlight) -> Response<Body> {
    let mut answer = bare(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty(busy));
    let headers = answer.headers_mut();
    insert_text(headers, CONTENT_RANGE, &format!("bytes */{total}"));
    headers.insert(CACHE_CONTROL, NOT_AT_ALL);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer
}

/// An answer with a body, or for `HEAD` with its length alone.
pub(crate) fn whole(status: StatusCode, chunk: Chunk, head_only: bool, busy: InFlight) -> Response<Body> {
    if !head_only {
        return bare(status, Body::once(chunk, busy));
    }
    let length = HeaderValue::from(bytes::Buf::remaining(&chunk));
    let mut answer = bare(status, Body::empty(busy));
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    answer
}

pub(crate) fn bare<B>(status: StatusCode, body: B) -> Response<B> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = HeaderMap::with_capacity(FIELDS);
    answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    answer
}

fn insert_text(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// True if an `If-None-Match` names `etag`, compared weakly as RFC 9110 §13.1.2 wants.
pub(crate) fn is_known(if_none_match: Option<&str>, etag: &HeaderValue) -> bool {
    let Some(list) = if_none_match else { return false };
    let Ok(etag) = etag.to_str().map(opaque) else { return false };
    list.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == etag)
}

fn opaque(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

/// True if an `Accept-Encoding` takes gzip.
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
    fn gzip_is_used_for_those_who_take_it() {
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
