//! Resources as the store keeps them and as clients get them.

mod live_stream;
mod view;

pub use live_stream::Status;
pub(crate) use live_stream::{LiveStreamRecord, PlaybackIdRecord, SimulcastTargetRecord};
pub(crate) use view::{LiveStream, PlaybackID, SimulcastTarget};
