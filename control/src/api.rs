//! The REST API: routes, and what all answers have in common.

mod auth;
mod cross_site;
mod docs;
mod extract;
mod failed_logins;
mod field_error;
mod live_streams;
mod problem;
mod settings;
mod simulcast;
mod system;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::Control;
use crate::secret::random_hex;

pub use docs::openapi;
pub use failed_logins::ClientAddress;
pub(crate) use failed_logins::FailedLogins;
use problem::Problem;

/// Largest request body, in bytes; larger ones are answered with 413.
const MAX_BODY: usize = 64 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer's envelope.
#[derive(Serialize, ToSchema)]
pub(crate) struct Data<T> {
    /// What was asked for.
    pub(crate) data: T,
}

/// Whether the API's router is the one to answer this path.
pub fn serves(path: &str) -> bool {
    path.starts_with("/video/") || path.starts_with("/system/") || path == "/openapi.json" || path == "/docs"
}

/// The API with everything it needs.
pub(crate) fn router(control: Control) -> Router {
    let streams = Router::new()
        .route("/video/v1/live-streams", post(live_streams::create).get(live_streams::list))
        .nest("/video/v1/live-streams/{LIVE_STREAM_ID}", stream())
        .route("/system/v1/whoami", get(system::whoami))
        .route_layer(middleware::from_fn_with_state(control.clone(), cross_site::require_own))
        .route_layer(middleware::from_fn_with_state(control.clone(), auth::require));
    Router::new()
        .merge(streams)
        .route("/openapi.json", get(docs::json))
        .route("/docs", get(docs::page))
        .fallback(|| async { Problem::NO_ENDPOINT })
        .method_not_allowed_fallback(|| async { Problem::METHOD })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(finish))
        .with_state(control)
}

fn stream() -> Router<Control> {
    Router::new()
        .route("/", get(live_streams::get).patch(live_streams::update).delete(live_streams::delete))
        .route("/reset-stream-key", post(live_streams::reset_key))
        .route("/enable", put(live_streams::enable))
        .route("/disable", put(live_streams::disable))
        .route("/complete", put(live_streams::complete))
        .route("/playback-ids", post(live_streams::add_playback_id))
        .route(
            "/playback-ids/{PLAYBACK_ID}",
            get(live_streams::get_playback_id).delete(live_streams::delete_playback_id),
        )
        .route("/simulcast-targets", post(simulcast::create))
        .route("/simulcast-targets/{SIMULCAST_TARGET_ID}", get(simulcast::get).delete(simulcast::delete))
        .route("/embedded-subtitles", put(settings::embedded_subtitles))
        .route("/generated-subtitles", put(settings::generated_subtitles))
        .route(
            "/new-asset-settings/static-renditions",
            put(settings::static_renditions).delete(settings::delete_static_renditions),
        )
}

/// Gives every answer an id that a log line can name, and keeps it out of caches: it may hold secrets.
async fn finish(request: Request, next: Next) -> Response {
    let id = random_hex(16).ok().and_then(|id| HeaderValue::from_str(&id).ok());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut answer = next.run(request).await;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(id) = id {
        tracing::debug!(request = ?id, %method, path, status = answer.status().as_u16(), "api");
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}
