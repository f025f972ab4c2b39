//! Resources: as the store keeps them, as the path of a frame uses them, and as clients get them.

mod live_stream;
mod simulcast_target;
mod stream_settings;
mod view;

pub use live_stream::Status;
pub(crate) use live_stream::{LiveStreamRecord, PlaybackIdRecord};
pub(crate) use simulcast_target::SimulcastTargetRecord;
pub use simulcast_target::SimulcastTargetSettings;
pub use stream_settings::StreamSettings;
pub(crate) use view::{LiveStream, PlaybackID, SimulcastTarget};
