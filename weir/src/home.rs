//! The page at `/`: names the program and links to its other pages.

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use origin::FallbackBody;

const PAGE: &str = include_str!("home.html");
/// Forbids the page to load anything.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src data:");

/// Answers a request for `/`.
pub(crate) fn answer(method: &Method) -> BoxFuture<'static, Response<FallbackBody>> {
    let known = matches!(*method, Method::GET | Method::HEAD);
    let text = if known { PAGE.replace("{{version}}", env!("CARGO_PKG_VERSION")) } else { String::new() };
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    } else {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    Box::pin(std::future::ready(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_links_to_every_endpoint_and_loads_nothing() {
        let page = answer(&Method::GET).await;
        assert_eq!(page.status(), StatusCode::OK);
        let text = page.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&text).unwrap();
        for place in ["/watch/", "/docs", "/openapi.json", "/video/v1/live-streams", "/healthz", "/readyz", "/metrics"]
        {
            assert!(text.contains(place), "{place}");
        }
        assert!(text.contains(env!("CARGO_PKG_VERSION")) && !text.contains("://") && !text.contains("{{"));
        assert_eq!(answer(&Method::POST).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
