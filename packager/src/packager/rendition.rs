//! One rendition in the making: what waits for it, and what writes its parts and segments.

mod frame_duration;
mod input;
mod writer;

pub(super) use input::{MAX_QUEUED_FRAMES, RenditionInput};
pub(super) use writer::{ExpectedEnd, RenditionWriter, SegmentStart};
