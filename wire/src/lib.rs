//! Sans-IO protocols: RTMP, FLV and MPEG-TS.
//!
//! Nothing here opens a socket or reads a clock: bytes go in as slices of any size, cut anywhere, and events and bytes
//! to send come out. What a peer may make this crate hold is capped, and a refusal says where in the stream it arose
//! (see [`Error`]).

pub mod amf0;
mod annexb;
mod error;
pub mod flv;
#[doc(hidden)]
pub mod fuzz;
mod item;
mod latm;
pub mod rtmp;
pub mod ts;

pub use error::{Blame, Error, Place};
pub use item::Item;
