//! What `control` is told at its start.

use std::fmt;
use std::path::PathBuf;

/// What `control` is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database: `sqlite://…`.
    pub store_url: String,
    /// The file with the key that secrets in the database are sealed with; made where there is none.
    pub key_file: PathBuf,
    /// The access token of the API. Without one, the store's own is used, and made at the first start.
    pub token: Option<Token>,
    /// The address clients reach the API at, for its description.
    pub public_url: String,
    /// What `whoami` says.
    pub environment: Environment,
}

/// An access token of the API.
#[derive(Clone)]
pub struct Token {
    /// The user name.
    pub id: String,
    /// The password.
    pub secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, hidden)", self.id)
    }
}

/// Names of this installation, for clients that ask.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The environment's id.
    pub id: String,
    /// The environment's name.
    pub name: String,
    /// `production` or `development`.
    pub kind: String,
    /// The organisation's id.
    pub organization_id: String,
    /// The organisation's name.
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
