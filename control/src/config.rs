//! Configuration of `control`, which is fixed at its start.

use std::fmt;
use std::path::PathBuf;

/// Default of [`Config::max_simulcast_targets`].
pub const MAX_SIMULCAST_TARGETS: usize = 6;

/// Configuration of `control`.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of the database: `sqlite://…`.
    pub store_url: String,
    /// File with the key that encrypts the secrets in the database. Created if it is missing and there are no secrets
    /// yet.
    pub key_file: PathBuf,
    /// Access token of the API. Without one, the tokens in the store are accepted, and the first start generates one.
    pub token: Option<Token>,
    /// URL at which clients reach the API, for its OpenAPI document.
    pub public_url: String,
    /// Names that `whoami` returns.
    pub environment: Environment,
    /// Most simulcast targets of a live stream. Further ones are refused, and those that exist remain.
    pub max_simulcast_targets: usize,
}

/// An access token of the API.
#[derive(Clone)]
pub struct Token {
    /// User name of HTTP Basic authentication.
    pub id: String,
    /// Password of HTTP Basic authentication.
    pub secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, hidden)", self.id)
    }
}

/// Names of this installation for clients.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Id of the environment.
    pub id: String,
    /// Name of the environment.
    pub name: String,
    /// `production` or `development`.
    pub kind: String,
    /// Id of the organisation.
    pub organization_id: String,
    /// Name of the organisation.
    pub organization_name: String,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            id: "weir".to_owned(),
            name: "Weir".to_owned(),
            kind: "production".to_owned(),
            organization_id: "weir".to_owned(),
            organization_name: "Weir".to_owned(),
        }
    }
}
