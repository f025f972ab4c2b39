//! Resources, lifecycle, the REST API and the store.
//!
//! `control` decides and is never on the path of a frame. All changes of a live stream, whether an encoder, the API or
//! the clock asks for them, go through one door: an edit is written to the store first, a transition of the [`lifecycle`] is
//! queued for it; then come the look-ups in memory, then the [`EffectHandler`], which carries out what was decided. So a store
//! that fails keeps settings from being changed, and no broadcast from going on.

mod api;
mod config;
mod control;
mod deadlines;
mod error;
mod index;
pub mod lifecycle;
mod resource;
mod secret;
mod serde_format;
mod settings;
mod store;

pub use api::{ClientAddress, openapi, serves};
pub use config::{Config, Environment, Token};
pub use control::{Control, EffectHandler, Snapshot};
pub use error::Error;
pub use index::{KeyLookup, Quality, StreamSettings};
pub use resource::Status;
pub use settings::Policy;
pub use store::{StoreStatus, check_store, check_store_file, check_store_url};
