//! HTTP Basic authentication with the id and secret of an access token (RFC 7617).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::failed_logins::FailedLogins;
use super::problem::Problem;
use crate::control::Control;

/// Address that a request comes from, as an extension of the request. A request without one is never delayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientAddress(pub IpAddr);

/// Id of the access token that a request was authenticated with, as an extension of the request.
#[derive(Clone)]
pub(crate) struct TokenId(pub(super) String);

/// State of [`require_token`].
#[derive(Clone)]
pub(crate) struct Authenticator {
    control: Control,
    failed_logins: Arc<FailedLogins>,
}

/// Refuses requests without a valid access token. The others get their [`TokenId`].
pub(crate) async fn require_token(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = request.extensions().get::<ClientAddress>().map(|address| address.0);
    match authenticator.check(credentials(request.headers()), from) {
        Ok(id) => {
            request.extensions_mut().insert(id);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

impl Authenticator {
    pub(crate) fn new(control: Control) -> Self {
        Self { control, failed_logins: Arc::default() }
    }

    /// Checks id and secret. Wrong ones delay the next attempt from the same address; missing ones do not count as a
    /// guess.
    fn check(&self, given: Option<(String, String)>, from: Option<IpAddr>) -> Result<TokenId, Problem> {
        let Some((id, secret)) = given else { return Err(Problem::UNAUTHORIZED) };
        let Some(from) = from else {
            return if self.control.accepts_token(&id, &secret) { Ok(TokenId(id)) } else { Err(Problem::UNAUTHORIZED) };
        };
        let now = Instant::now();
        if let Some(wait) = self.failed_logins.wait(from, now) {
            return Err(Problem::TOO_MANY_REQUESTS.after(wait));
        }
        if self.control.accepts_token(&id, &secret) {
            self.failed_logins.succeeded(from);
            return Ok(TokenId(id));
        }
        self.failed_logins.failed(from, now);
        Err(Problem::UNAUTHORIZED)
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = plain.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
