//! Answers that say no. What a client may know is told apart from what only the log gets.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;

/// The envelope of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorResponse {
    /// What went wrong.
    error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorBody {
    /// The kind of error: `not_found`, `invalid_parameters`, `unauthorized` and the like.
    #[serde(rename = "type")]
    kind: &'static str,
    /// A message for each thing that is wrong.
    messages: Vec<Cow<'static, str>>,
}

/// An error as a client sees it.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    messages: Vec<Cow<'static, str>>,
    text: Option<&'static str>,
    /// Seconds after which it is worth asking again.
    retry_after: Option<u64>,
}

impl Problem {
    /// The credentials are missing or wrong.
    pub(crate) const UNAUTHORIZED: Self = Self::fixed(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "HTTP Basic authentication with a known access token id and secret is required",
    );
    /// No endpoint has this path.
    pub(crate) const NO_ENDPOINT: Self =
        Self::fixed(StatusCode::NOT_FOUND, "not_found", "there is no endpoint with this path");
    /// The endpoint does not take this method.
    pub(crate) const METHOD: Self = Self::fixed(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this endpoint does not take this method; the Allow header names those it takes",
    );

    /// The body does not arrive.
    pub(crate) const SLOW_BODY: Self =
        Self::fixed(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive within 10 seconds");
    /// Another site's page makes a browser ask.
    pub(crate) const FOREIGN: Self = Self::fixed(
        StatusCode::FORBIDDEN,
        "forbidden",
        "a page of another site cannot change anything through a browser; ask from a program or from this server's own pages",
    );
    /// Wrong credentials too often.
    pub(crate) const TOO_MANY: Self = Self::fixed(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        "wrong credentials came from this address too often; wait as long as Retry-After says, then try again",
    );

    const fn fixed(status: StatusCode, kind: &'static str, text: &'static str) -> Self {
        Self { status, kind, messages: Vec::new(), text: Some(text), retry_after: None }
    }

    /// An error with one message.
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind, messages: vec![message.into()], text: None, retry_after: None }
    }

    /// The same, with the time after which it is worth asking again.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait.as_secs_f64().ceil() as u64), ..self }
    }

    /// The request is wrong in this way.
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
                "the server is shutting down; try again",
            )
            .after(Duration::from_secs(1)),
            // The log has told the reason once.
            Error::Unavailable(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "the server cannot store changes at the moment; live streams go on; try again",
            )
            .after(Duration::from_secs(5)),
            error => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the server failed; its log says more")
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
        let mut answer = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"weir\", charset=\"UTF-8\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}
