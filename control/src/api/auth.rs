//! HTTP Basic authentication with an access token's id and secret (RFC 7617).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::problem::Problem;
use crate::control::Control;

/// Lets only those in who bring an access token, and tells the handlers which.
pub(crate) async fn require(State(control): State<Control>, mut request: Request, next: Next) -> Response {
    match credentials(request.headers()).filter(|(id, secret)| control.knows(id, secret)) {
        Some((id, _)) => {
            request.extensions_mut().insert(TokenId(id));
            next.run(request).await
        }
        None => Problem::UNAUTHORIZED.into_response(),
    }
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
