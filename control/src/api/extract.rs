//! Requests taken apart, with errors in the API's own words.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use media::id::LiveStreamId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;
use crate::error::Error;

/// Deepest nesting of a body. What is kept lies some levels deeper in the store, and must still be readable there.
const MAX_DEPTH: usize = 64;

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
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let kind = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
                _ => "invalid_parameters",
            };
            Problem::new(rejection.status(), kind, rejection.body_text())
        })?;
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::invalid("a JSON body is required; it may be {} where nothing in it is"));
        }
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?;
        if !value.is_object() {
            return Err(Problem::invalid("the body must be a JSON object"));
        }
        if !is_shallow(&value, MAX_DEPTH) {
            return Err(Problem::invalid(format!("the body must nest no deeper than {MAX_DEPTH} levels")));
        }
        serde_path_to_error::deserialize(value).map(Self).map_err(|error| {
            let path = error.path().to_string();
            let what = error.into_inner();
            Problem::invalid(if path == "." { what.to_string() } else { format!("{path}: {what}") })
        })
    }
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
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
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
        .map_err(|rejection| Problem::invalid(Cow::Owned(rejection.body_text())))?;
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
