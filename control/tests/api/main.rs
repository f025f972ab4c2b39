//! The endpoints of the API, through the router.

#[path = "../common/mod.rs"]
mod common;

/// Opens a server in a temporary folder, which lives as long as the test.
macro_rules! server {
    ($client:ident, $control:ident, $effects:ident) => {
        let folder = tempfile::tempdir().unwrap();
        #[allow(unused_mut, unused_variables)]
        let ($control, mut $effects) = open(folder.path()).await;
        let $client = Client(control::router(&$control));
    };
    ($client:ident) => {
        server!($client, control, effects);
    };
}

mod openapi;
mod requests;
mod resources;
mod settings;
mod simulcast;
