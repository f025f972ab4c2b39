//! HTTP Basic authentication with an access token's id and secret (RFC 7617).

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::failed_logins::ClientAddress;
use super::problem::Problem;
use crate::control::Control;

/// Lets only those in who bring an access token, and tells the handlers which.
pub(crate) async fn require(State(control): State<Control>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ClientAddress>().map(|address| address.0);
    match check(&control, credentials(request.headers()), from) {
        Ok(id) => {
            request.extensions_mut().insert(id);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The token of these credentials. Wrong ones make the next attempt from the same address wait; none at all are no guess.
fn check(control: &Control, given: Option<(String, String)>, from: Option<IpAddr>) -> Result<TokenId, Problem> {
    let Some((id, secret)) = given else { return Err(Problem::UNAUTHORIZED) };
    let Some(from) = from else {
        return if control.knows(&id, &secret) { Ok(TokenId(id)) } else { Err(Problem::UNAUTHORIZED) };
    };
    let now = Instant::now();
    if let Some(wait) = control.guard().wait(from, now) {
        return Err(Problem::TOO_MANY.after(wait));
    }
    if control.knows(&id, &secret) {
        control.guard().succeeded(from);
        return Ok(TokenId(id));
    }
    control.guard().failed(from, now);
    Err(Problem::UNAUTHORIZED)
}

/// The access token that a request came with.
#[derive(Clone)]
pub(crate) struct TokenId(pub(crate) String);

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
