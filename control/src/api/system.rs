//! What a client may ask about itself.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::Data;
use super::auth::TokenId;
use super::live_streams::Answer;
use super::problem::ErrorResponse;
use crate::control::Control;

/// What all access tokens may do.
const PERMISSIONS: [&str; 4] = ["video:read", "video:write", "system:read", "system:write"];

/// The access token and where it belongs.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// What it may do.
    permissions: Vec<&'static str>,
    /// The organisation's name.
    organization_name: String,
    /// The organisation's id.
    organization_id: String,
    /// `production` or `development`.
    environment_type: String,
    /// The environment's name.
    environment_name: String,
    /// The environment's id.
    environment_id: String,
    /// The access token's name: its id.
    access_token_name: String,
}

/// Who am I
///
/// Says which access token a request comes with, and where it belongs.
#[utoipa::path(get, path = "/system/v1/whoami", tag = "System", operation_id = "get-whoami",
    responses((status = 200, body = Data<WhoAmI>), (status = 401, body = ErrorResponse)))]
pub(crate) async fn whoami(
    State(control): State<Control>,
    Extension(TokenId(access_token_name)): Extension<TokenId>,
) -> Answer<WhoAmI> {
    let environment = control.config().environment.clone();
    Ok(Json(Data {
        data: WhoAmI {
            permissions: PERMISSIONS.to_vec(),
            organization_name: environment.organization_name,
            organization_id: environment.organization_id,
            environment_type: environment.kind,
            environment_name: environment.name,
            environment_id: environment.id,
            access_token_name,
        },
    }))
}
