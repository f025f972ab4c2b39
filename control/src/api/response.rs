//! Successful responses.

use axum::Json;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;

/// Envelope of a successful response.
#[derive(Serialize, ToSchema)]
pub(crate) struct Data<T> {
    /// The requested resource.
    pub(crate) data: T,
}

/// An empty object, if success is all that there is to report.
#[derive(Serialize, ToSchema)]
pub(crate) struct Nothing {}

/// Result of an endpoint that answers with status 200.
pub(crate) type Answer<T> = Result<Json<Data<T>>, Problem>;
/// Result of an endpoint that answers with status 201.
pub(crate) type Created<T> = Result<(StatusCode, Json<Data<T>>), Problem>;

/// Builds an [`Answer`].
pub(crate) fn ok<T, V: From<T>>(value: T) -> Answer<V> {
    Ok(Json(Data { data: value.into() }))
}

/// Builds a [`Created`].
pub(crate) fn created<T, V: From<T>>(value: T) -> Created<V> {
    ok(value).map(|body| (StatusCode::CREATED, body))
}
