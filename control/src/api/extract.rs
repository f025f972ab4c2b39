//! Extractors of bodies, queries and paths, with the errors of this API.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use media::id::LiveStreamId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::MAX_BODY;
use super::field_error;
use super::problem::Problem;
use crate::error::Error;

/// Deepest nesting of a body. The store nests settings some levels deeper, and must still be able to read them.
const MAX_DEPTH: usize = 64;

/// Time within which a body must arrive; later, the response is 408. Bodies are small ([`MAX_BODY`]), so a slower
/// client only holds a connection.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body of at most [`MAX_BODY`] bytes.
pub(crate) struct Body<T>(pub(crate) T);

/// The query. Unknown names are ignored.
pub(crate) struct Params<T>(pub(crate) T);

/// Id of the live stream in the path.
pub(crate) struct StreamId(pub(crate) LiveStreamId);

/// Ids of the live stream and of its part in the path.
pub(crate) struct StreamPart(pub(crate) LiveStreamId, pub(crate) String);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read_body(request, state, BODY_TIMEOUT).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::invalid("a JSON body is required; it may be {}"));
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| Problem::invalid(not_json(&error)))?;
        if !value.is_object() {
            return Err(Problem::invalid("the body must be a JSON object"));
        }
        if !is_shallow(&value, MAX_DEPTH) {
            return Err(Problem::invalid(format!("the body must nest no deeper than {MAX_DEPTH} levels")));
        }
        serde_path_to_error::deserialize(value).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let what = error.into_inner().to_string();
            Problem::invalid(field_error::message(if path == "." { "" } else { &path }, &what))
        })
    }
}

/// Reads the whole body, which must arrive within `limit`.
pub(super) async fn read_body<S: Send + Sync>(request: Request, state: &S, limit: Duration) -> Result<Bytes, Problem> {
    let body = tokio::time::timeout(limit, Bytes::from_request(request, state)).await;
    body.map_err(|_| Problem::REQUEST_TIMEOUT)?.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body is larger than {} KiB", MAX_BODY / 1_024);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
        }
        _ => Problem::invalid("the body ended early"),
    })
}

fn not_json(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "the JSON of the body is incomplete".to_owned();
    }
    format!("the body is not valid JSON: see line {}, column {}", error.line(), error.column())
}

/// Returns whether `value` nests at most `levels` deep. The parser has a limit of its own, which bounds this recursion.
fn is_shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(list) => levels > 0 && list.iter().all(|inner| is_shallow(inner, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|inner| is_shallow(inner, levels - 1)),
        _ => true,
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                let text = rejection.body_text();
                let what = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, what)| what);
                Err(Problem::invalid(field_error::message("", what)))
            }
        }
    }
}

#[derive(Deserialize)]
struct StreamPath {
    #[serde(rename = "LIVE_STREAM_ID")]
    id: String,
    #[serde(alias = "PLAYBACK_ID", alias = "SIMULCAST_TARGET_ID", default)]
    part: String,
}

async fn path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<(LiveStreamId, String), Problem> {
    let Path(path) = Path::<StreamPath>::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::from(Error::NotFound("live stream")))?;
    // An invalid id belongs to no live stream.
    let id = path.id.parse().map_err(|_| Error::NotFound("live stream"))?;
    Ok((id, path.part))
}

impl<S: Send + Sync> FromRequestParts<S> for StreamId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path(parts, state).await.map(|(id, _)| Self(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for StreamPart {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path(parts, state).await.map(|(id, part)| Self(id, part))
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_refused() {
        let body = axum::body::Body::from_stream(stream::pending::<Result<&str, std::io::Error>>());
        let slow = read_body(Request::new(body), &(), Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(slow.into_response().status(), StatusCode::REQUEST_TIMEOUT);
        let whole = read_body(Request::new("{}".into()), &(), BODY_TIMEOUT).await.unwrap();
        assert_eq!(whole, "{}");
    }
}
