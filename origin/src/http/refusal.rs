//! Refusals: the error answers of playback, each with a text for its reader.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::http::body::Body;
use crate::http::response::{METHODS, NO_STORE, whole};
use crate::playback::directives::BadDirective;
use crate::worker::activity::RequestGuard;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ONE_SECOND: HeaderValue = HeaderValue::from_static("public, max-age=1");

/// Reason why a request gets no media.
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
                r#"{"error":{"type":"not_found","messages":["Nothing is served at this path. Players start at /{PLAYBACK_ID}.m3u8."]}}"#
            }
            Self::UnknownPlayback => {
                r#"{"error":{"type":"not_found","messages":["No live stream has this playback ID. Check it, or use the playback ID of an existing live stream."]}}"#
            }
            Self::UnknownMedia => {
                r#"{"error":{"type":"not_found","messages":["This file is not, or no longer, in the live window. Reload the playlist and continue from there."]}}"#
            }
            Self::Protected => {
                r#"{"error":{"type":"forbidden","messages":["This playback ID has the policy signed or drm: it needs a token, and playback with tokens is not supported yet. Give the live stream a playback ID with the policy public."]}}"#
            }
            Self::Host => {
                r#"{"error":{"type":"bad_request","messages":["A request must name its host exactly once: HTTP/1.1 in one Host field, HTTP/2 in :authority."]}}"#
            }
            Self::Full => {
                r#"{"error":{"type":"unavailable","messages":["This server has reached its maximum of viewers. Try again in a moment."]}}"#
            }
            Self::Idle => {
                r#"{"error":{"type":"precondition_failed","messages":["This live stream is idle. Start the encoder, then try again."]}}"#
            }
            Self::NotPlayable => {
                r#"{"error":{"type":"unavailable","messages":["The encoder has not sent a whole segment yet. Try again in a moment, and check that the encoder sends keyframes."]}}"#
            }
            Self::Stalled => {
                r#"{"error":{"type":"unavailable","messages":["No new media arrived for three target durations. The encoder may have stalled; try again in a moment."]}}"#
            }
            Self::Stopping => {
                r#"{"error":{"type":"unavailable","messages":["The server is restarting. Try again in a moment."]}}"#
            }
            Self::TooFar => {
                r#"{"error":{"type":"invalid_parameters","messages":["_HLS_msn and _HLS_part are too far ahead of the playlist. Load it without them and continue from there."]}}"#
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

    pub(crate) const fn max_age(self) -> HeaderValue {
        match self.status() {
            StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED => ONE_SECOND,
            _ => NO_STORE,
        }
    }

    pub(crate) fn answer(self, head_only: bool, guard: RequestGuard) -> Response<Body> {
        let mut answer = whole(self.status(), Bytes::from_static(self.body().as_bytes()).into(), head_only, guard);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CACHE_CONTROL, self.max_age());
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
