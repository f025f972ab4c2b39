//! Requests taken apart, with errors in the API's own words.

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

/// Deepest nesting of a body. What is kept lies some levels deeper in the store, and must still be readable there.
const MAX_DEPTH: usize = 64;

/// How long a body may take to arrive; then 408. It is short, so whoever takes longer only holds a connection.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// The query, where unknown names are passed over.
pub(crate) struct Params<T>(pub(crate) T);

/// The live stream that the path names.
pub(crate) struct StreamId(pub(crate) LiveStreamId);

/// The live stream that the path names, and what of it.
pub(crate) struct StreamPart(pub(crate) LiveStreamId, pub(crate) String);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = arrived(request, state, BODY_TIMEOUT).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::invalid("a JSON body is required; it may be {} where nothing in it is"));
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

/// The whole body, if it is here within `patience`.
pub(super) async fn arrived<S: Send + Sync>(request: Request, state: &S, patience: Duration) -> Result<Bytes, Problem> {
    let arrived = tokio::time::timeout(patience, Bytes::from_request(request, state)).await;
    arrived.map_err(|_| Problem::SLOW_BODY)?.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body is longer than {} KiB", MAX_BODY / 1_024);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
        }
        _ => Problem::invalid("the body broke off before its end"),
    })
}

fn not_json(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "the body ends in the middle of its JSON".to_owned();
    }
    format!("the body is not JSON: look at line {}, column {}", error.line(), error.column())
}

/// The parser has bounded the nesting already, so this recursion is bounded too.
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
    // What cannot be an id names nothing that exists.
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
    async fn a_body_that_does_not_arrive_is_not_waited_for() {
        let body = axum::body::Body::from_stream(stream::pending::<Result<&str, std::io::Error>>());
        let slow = arrived(Request::new(body), &(), Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(slow.into_response().status(), StatusCode::REQUEST_TIMEOUT);
        let whole = arrived(Request::new("{}".into()), &(), BODY_TIMEOUT).await.unwrap();
        assert_eq!(whole, "{}");
    }
}
