//! Sans-IO protocols: RTMP, FLV and MPEG-TS, and addresses of SRT.
//!
//! Nothing here opens a socket or reads a clock. Bytes go in as slices of any size, cut anywhere; events, and bytes to
//! send, come out. The memory that a peer can make this crate use is limited, and an [`Error`] says where in the stream
//! it arose.

pub mod amf0;
mod annexb;
mod error;
pub mod flv;
#[doc(hidden)]
pub mod fuzz;
mod item;
mod latm;
pub mod rtmp;
mod secret;
pub mod srt;
pub mod ts;
mod url;

pub use error::{Blame, Error, Place};
pub use item::Item;
