//! The REST API: routes, and what all responses have in common.

mod auth;
mod cross_site;
mod extract;
mod failed_logins;
mod field_error;
mod live_streams;
mod openapi;
mod playback_ids;
mod problem;
mod response;
mod settings;
mod simulcast_targets;
mod system;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};

use crate::control::Control;
use crate::secret::random_hex;
pub use auth::ClientAddress;
pub use openapi::openapi;
use problem::Problem;

/// Largest request body, in bytes; a larger one is answered with 413.
const MAX_BODY: usize = 64 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Returns whether [`router`] answers requests for this path.
pub fn serves(path: &str) -> bool {
    path.starts_with("/video/") || path.starts_with("/system/") || path == "/openapi.json" || path == "/docs"
}

/// Builds the API of `control`, to be merged into the router of the server.
pub fn router(control: &Control) -> Router {
    let authenticator = auth::Authenticator::new(control.clone());
    let authenticated = Router::new()
        .route("/video/v1/live-streams", post(live_streams::create).get(live_streams::list))
        .nest("/video/v1/live-streams/{LIVE_STREAM_ID}", live_stream_routes())
        .route("/system/v1/whoami", get(system::whoami))
        .route_layer(middleware::from_fn_with_state(control.clone(), cross_site::require_same_site))
        .route_layer(middleware::from_fn_with_state(authenticator, auth::require_token));
    Router::new()
        .merge(authenticated)
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::page))
        .fallback(|| async { Problem::NO_ENDPOINT })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(add_headers))
        .with_state(control.clone())
}

fn live_stream_routes() -> Router<Control> {
    Router::new()
        .route("/", get(live_streams::get).patch(live_streams::update).delete(live_streams::delete))
        .route("/reset-stream-key", post(live_streams::reset_key))
        .route("/enable", put(live_streams::enable))
        .route("/disable", put(live_streams::disable))
        .route("/complete", put(live_streams::complete))
        .route("/playback-ids", post(playback_ids::create))
        .route("/playback-ids/{PLAYBACK_ID}", get(playback_ids::get).delete(playback_ids::delete))
        .route("/simulcast-targets", post(simulcast_targets::create))
        .route(
            "/simulcast-targets/{SIMULCAST_TARGET_ID}",
            get(simulcast_targets::get).delete(simulcast_targets::delete),
        )
        .route("/embedded-subtitles", put(settings::embedded_subtitles))
        .route("/generated-subtitles", put(settings::generated_subtitles))
        .route(
            "/new-asset-settings/static-renditions",
            put(settings::static_renditions).delete(settings::delete_static_renditions),
        )
}

/// Adds an id to each response, which the log names too, and keeps it out of caches, because it may contain secrets.
async fn add_headers(request: Request, next: Next) -> Response {
    let id = random_hex(16).ok().and_then(|id| HeaderValue::from_str(&id).ok());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(id) = id {
        tracing::debug!(request = ?id, %method, path, status = response.status().as_u16(), "api");
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
