//! The description of the API: an OpenAPI document for programs, and a page for people.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder, Server};
use utoipa::{Modify, OpenApi as _};

use super::{live_streams, playback_ids, settings, simulcast_targets, system};
use crate::control::Control;

/// Page that shows `/openapi.json`. It loads nothing from other sites.
const PAGE: &str = include_str!("docs.html");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";

/// Error responses of every endpoint.
const ERRORS: [(&str, &str); 2] = [
    ("401", "The access token is missing or wrong."),
    ("429", "Too many wrong access tokens came from this address. Retry-After says when to try again."),
];
/// Error responses of every endpoint that makes a change.
const CHANGE_ERRORS: [(&str, &str); 2] = [
    ("403", "A page of another site made a browser send the request."),
    ("503", "The change cannot be stored at the moment. Retry-After says when to try again."),
];
/// Error responses of every endpoint that may get a body.
const BODY_ERRORS: [(&str, &str); 3] = [
    ("408", "The body did not arrive within 10 seconds."),
    ("413", "The body is larger than 64 KiB."),
    ("415", "The Content-Type is not application/json."),
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "Create, control and observe live streams.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        live_streams::create, live_streams::list, live_streams::get, live_streams::update, live_streams::delete,
        live_streams::reset_key, live_streams::enable, live_streams::disable, live_streams::complete,
        playback_ids::create, playback_ids::get, playback_ids::delete,
        simulcast_targets::create, simulcast_targets::get, simulcast_targets::delete,
        settings::embedded_subtitles, settings::generated_subtitles,
        settings::static_renditions, settings::delete_static_renditions,
        system::whoami,
    ),
    security(("accessToken" = [])),
    modifiers(&AccessToken, &CommonErrors),
)]
struct Description;

/// Adds the security scheme.
struct AccessToken;

impl Modify for AccessToken {
    fn modify(&self, openapi: &mut OpenApi) {
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("The id of an access token as the user name, and its secret as the password."))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("accessToken", SecurityScheme::Http(basic));
    }
}

/// Adds the error responses that only depend on the method: [`ERRORS`], [`CHANGE_ERRORS`] and [`BODY_ERRORS`].
struct CommonErrors;

impl Modify for CommonErrors {
    fn modify(&self, openapi: &mut OpenApi) {
        for path in openapi.paths.paths.values_mut() {
            let with_body = [&mut path.post, &mut path.put, &mut path.patch];
            for operation in with_body.into_iter().flatten() {
                add_errors(operation, &BODY_ERRORS);
                add_errors(operation, &CHANGE_ERRORS);
                add_errors(operation, &ERRORS);
            }
            if let Some(operation) = &mut path.delete {
                add_errors(operation, &CHANGE_ERRORS);
                add_errors(operation, &ERRORS);
            }
            if let Some(operation) = &mut path.get {
                add_errors(operation, &ERRORS);
            }
        }
    }
}

fn add_errors(operation: &mut Operation, errors: &[(&str, &str)]) {
    for (status, description) in errors {
        let body = Content::new(Some(Ref::from_schema_name("ErrorResponse")));
        let response = ResponseBuilder::new().description(*description).content("application/json", body).build();
        operation.responses.responses.insert((*status).to_owned(), RefOr::T(response));
    }
}

/// Returns the OpenAPI document of the API at `public_url`.
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
