//! Error responses. What a client may know is separate from what only the log gets.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;

/// Envelope of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorResponse {
    /// The error.
    error: ErrorBody,
}

/// Kind and messages of an error.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorBody {
    /// Kind of the error, such as `not_found`, `invalid_parameters` or `unauthorized`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Messages, one for each thing that is wrong.
    messages: Vec<Cow<'static, str>>,
}

/// An error for a client, which becomes an [`ErrorResponse`].
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    messages: Vec<Cow<'static, str>>,
    /// Message of a constant, which cannot hold a `Vec` with elements.
    text: Option<&'static str>,
    /// Seconds after which the client should try again.
    retry_after: Option<u64>,
}

impl Problem {
    /// The credentials are missing or wrong.
    pub(crate) const UNAUTHORIZED: Self = Self::fixed(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "HTTP Basic authentication with the id and secret of a valid access token is required",
    );
    /// No endpoint has this path.
    pub(crate) const NO_ENDPOINT: Self =
        Self::fixed(StatusCode::NOT_FOUND, "not_found", "there is no endpoint with this path");
    /// The endpoint does not support this method.
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self::fixed(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this endpoint does not support this method; the Allow header lists the supported ones",
    );
    /// The body did not arrive in time.
    pub(crate) const REQUEST_TIMEOUT: Self =
        Self::fixed(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive within 10 seconds");
    /// A page of another site made the browser send this request.
    pub(crate) const CROSS_SITE: Self = Self::fixed(
        StatusCode::FORBIDDEN,
        "forbidden",
        "a page of another site cannot make changes through a browser; use a program or this server's own pages",
    );
    /// Wrong credentials came too often from this address.
    pub(crate) const TOO_MANY_REQUESTS: Self = Self::fixed(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        "too many wrong credentials came from this address; try again after the time in Retry-After",
    );

    const fn fixed(status: StatusCode, kind: &'static str, text: &'static str) -> Self {
        Self { status, kind, messages: Vec::new(), text: Some(text), retry_after: None }
    }

    /// Creates an error with one message.
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind, messages: vec![message.into()], text: None, retry_after: None }
    }

    /// Adds the time after which the client should try again.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait.as_secs_f64().ceil() as u64), ..self }
    }

    /// Creates an error for an invalid request.
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameters", message)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(what) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", format!("the {what} does not exist"))
            }
            Error::Invalid(messages) => Self {
                status: StatusCode::BAD_REQUEST,
                kind: "invalid_parameters",
                messages: messages.into_iter().map(Cow::Owned).collect(),
                text: None,
                retry_after: None,
            },
            Error::ShuttingDown => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "the server is shutting down; try again later",
            )
            .after(Duration::from_secs(1)),
            // The writer has already logged the reason.
            Error::Unavailable(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "the server cannot store changes at the moment; live streams continue; try again later",
            )
            .after(Duration::from_secs(5)),
            error => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, "a request failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "an internal error occurred; the server's log has the details",
                )
            }
        }
    }
}

impl From<Vec<String>> for Problem {
    fn from(messages: Vec<String>) -> Self {
        Error::Invalid(messages).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let messages = self.text.map(Cow::Borrowed).into_iter().chain(self.messages).collect();
        let body = ErrorResponse { error: ErrorBody { kind: self.kind, messages } };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"weir\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
