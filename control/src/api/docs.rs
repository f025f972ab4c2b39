//! The API's description, for programs and for people.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Server};
use utoipa::{Modify, OpenApi as _};

use super::{live_streams, settings, simulcast, system};
use crate::control::Control;

/// A page of ours that shows `/openapi.json`; it loads nothing from anywhere else.
const PAGE: &str = include_str!("docs.html");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "Live streams: create them, control them, watch over them.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        live_streams::create, live_streams::list, live_streams::get, live_streams::update, live_streams::delete,
        live_streams::reset_key, live_streams::enable, live_streams::disable, live_streams::complete,
        live_streams::add_playback_id, live_streams::get_playback_id, live_streams::delete_playback_id,
        simulcast::create, simulcast::get, simulcast::delete,
        settings::embedded_subtitles, settings::generated_subtitles,
        settings::static_renditions, settings::delete_static_renditions,
        system::whoami,
    ),
    security(("accessToken" = [])),
    modifiers(&AccessToken),
)]
struct Description;

struct AccessToken;

impl Modify for AccessToken {
    fn modify(&self, openapi: &mut OpenApi) {
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("The id of an access token as the user name, its secret as the password."))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("accessToken", SecurityScheme::Http(basic));
    }
}

/// The description of the API at `public_url`.
pub fn openapi(public_url: &str) -> OpenApi {
    let mut openapi = Description::openapi();
    openapi.servers = Some(vec![Server::new(public_url.trim_end_matches('/'))]);
    openapi
}

pub(crate) async fn json(State(control): State<Control>) -> Json<OpenApi> {
    Json(openapi(&control.config().public_url))
}

pub(crate) async fn page() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE))
}
