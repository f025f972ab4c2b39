//! Resources, lifecycle, the REST API and the store.
//!
//! `control` decides and is never on the path of a frame. [`Control`] is the only way to change a live stream, whether
//! an encoder, the API or a deadline asks for the change. An edit is first written to the store. A transition of the
//! [`lifecycle`] is only queued for it. The change then reaches the lookups in memory, and after them the
//! [`EffectHandler`], which carries out its effects. A failing store therefore blocks edits of settings but interrupts
//! no broadcast.

mod api;
mod clock;
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

pub use api::{ClientAddress, openapi, router, serves};
pub use config::{Config, Environment, MAX_SIMULCAST_TARGETS, Token};
pub use control::{Control, EffectHandler, Snapshot};
pub use error::{Error, StoreError};
pub use index::KeyLookup;
pub use resource::{SimulcastTargetSettings, Status, StreamSettings};
pub use settings::{Policy, Quality, SimulcastRendition};
pub use store::{StoreState, StoreStatus, check_store, check_store_file, check_store_url};
