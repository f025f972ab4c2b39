//! Protection against cross-site request forgery: pages of other sites that use the API through a browser with its
//! token.
//!
//! A browser that was once given the token for `/docs` or the API adds it to every request, even to those that a page
//! of another site makes it send. Such a page can send forms and plain text without a preflight request, but neither
//! JSON nor a `Sec-Fetch-Site` field of its choice (Fetch Metadata).

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::extract::{BODY_TIMEOUT, read_body};
use super::field_error::shortened;
use super::problem::Problem;
use crate::control::Control;

const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses changes from pages of other sites ([`Problem::CROSS_SITE`]), and bodies that are not JSON.
pub(crate) async fn require_same_site(State(control): State<Control>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    if is_cross_site(request.headers(), &control.config().public_url) {
        return Problem::CROSS_SITE.into_response();
    }
    if request.method() == Method::DELETE {
        return next.run(request).await;
    }
    match request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable")) {
        Some(json) if is_json(json) => next.run(request).await,
        Some(other) => unsupported(other).into_response(),
        None if request.body().is_end_stream() => next.run(request).await,
        None => match without_body(request).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        },
    }
}

/// Returns the request if its body is empty. Some programs send an empty body with chunked transfer coding.
async fn without_body(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(Request::from_parts(parts.clone(), body), &(), BODY_TIMEOUT).await?;
    if bytes.is_empty() { Ok(Request::from_parts(parts, Body::empty())) } else { Err(unsupported("none")) }
}

fn unsupported(got: &str) -> Problem {
    let message = format!("the Content-Type must be application/json, not {}", shortened(got));
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
}

/// Returns whether the headers of a browser say that a page of another site made it send this.
fn is_cross_site(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(FETCH_SITE) {
        return !matches!(site, "same-origin" | "none");
    }
    // Browsers without Fetch Metadata send only the origin of the page.
    let Some(origin) = text(header::ORIGIN.as_str()) else { return false };
    let Some((_, host)) = origin.split_once("://") else { return true };
    let own = public_url.split_once("://").map(|(_, host)| host);
    ![text(header::HOST.as_str()), own].into_iter().flatten().any(|known| known.eq_ignore_ascii_case(host))
}

/// Returns whether this is `application/json` or a type based on it, with any parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_differs_from_the_types_that_a_form_can_send() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(is_json(json), "{json}");
        }
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "text/json",
            "",
            "application/jsonp",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn pages_of_other_sites_differ_from_our_own_and_from_programs() {
        let foreign = |fields: &[(&'static str, &'static str)]| {
            let headers = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            is_cross_site(&headers, "https://live.example")
        };
        assert!(!foreign(&[("host", "localhost:8080")]));
        assert!(!foreign(&[("sec-fetch-site", "same-origin"), ("origin", "https://other.example")]));
        assert!(!foreign(&[("host", "a:1"), ("origin", "http://a:1")]));
        assert!(!foreign(&[("host", "inside:1"), ("origin", "https://live.example")]));
        for site in ["cross-site", "same-site", "x"] {
            assert!(foreign(&[("sec-fetch-site", site)]), "{site}");
        }
        assert!(foreign(&[("host", "a"), ("origin", "https://b")]));
        assert!(foreign(&[("host", "a"), ("origin", "null")]));
    }
}
