//! One rendition in the making: the frames that wait for it, and the writer of its parts and segments.

mod frame_duration;
mod input;
mod writer;

pub(super) use input::{MAX_QUEUED_FRAMES, RenditionInput};
pub(super) use writer::{RenditionWriter, SegmentStart};
