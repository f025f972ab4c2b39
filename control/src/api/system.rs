//! The endpoint that identifies the access token.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::TokenId;
use super::response::{Answer, Data};
use crate::control::Control;

/// Permissions of every access token.
const PERMISSIONS: [&str; 4] = ["video:read", "video:write", "system:read", "system:write"];

/// The access token and its environment.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// Permissions of the access token.
    permissions: Vec<&'static str>,
    /// Name of the organisation.
    organization_name: String,
    /// Id of the organisation.
    organization_id: String,
    /// `production` or `development`.
    environment_type: String,
    /// Name of the environment.
    environment_name: String,
    /// Id of the environment.
    environment_id: String,
    /// Name of the access token, which is its id.
    access_token_name: String,
}

/// Identify the access token
///
/// Returns the access token of the request, and the environment that it belongs to.
#[utoipa::path(get, path = "/system/v1/whoami", tag = "System", operation_id = "get-whoami",
    responses((status = 200, body = Data<WhoAmI>)))]
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
