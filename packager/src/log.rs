//! The packaged log: everything that the packager publishes of a broadcast, in order, for its readers to fold.
//!
//! One writer, many readers, append only. An [`Entry`] is an [`Event`] with its number; [`LogWriter`] makes entries
//! of a [`Packager`](crate::Packager)'s events, and each [`LogReader`] gets all of them in order. [`wire`] is their
//! binary form.
//!
//! Nothing published ever changes: the bytes named by (rendition, media sequence number, part) or (rendition, init
//! number) are the same forever. No entry depends on when a reader joined: the facts that only a reader of the whole
//! log could know, such as the discontinuity sequence or the peak bit rate, are in the entries themselves.

mod entry;
mod event;
mod payload;
mod reader;
mod readiness;
mod stats;
pub mod wire;
mod writer;

pub use entry::Entry;
pub use event::{Event, Format, Init, NextPart, Part, RenditionId, RenditionRole, SegmentEnd, Targets};
pub use payload::Payload;
pub use reader::LogReader;
pub use stats::RenditionStats;
pub use writer::LogWriter;

pub(crate) use readiness::{Readiness, can_start};
pub(crate) use writer::RenditionLog;
