//! The binary form of an [`Entry`](super::Entry), for logs that leave the process.
//!
//! ```text
//! u8 version, u8 kind, u64 seq, then the fields of the kind in the order of their declaration
//! ```
//!
//! Numbers are big-endian. A duration or a position is an `i64` of flicks, a wall time an `i64` of milliseconds since
//! the Unix epoch. A text has its length in a `u8` before it, bytes theirs in a `u32`. An optional field has a `u8`
//! before it: 1 if it is there, or 0. The bytes of a part or an init section are last, so that neither side copies
//! them.
//!
//! A transport delivers whole entries; the form has neither a total length nor a checksum of its own.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;

/// Version of the form. A reader refuses every other one.
pub const VERSION: u8 = 1;
/// Longest init section or part in bytes: a segment of 20 s at 100 Mbit/s fits. [`decode()`] refuses longer ones.
pub const MAX_BYTES: u32 = 256 << 20;
/// Longest duration in seconds that [`decode()`] accepts; no segment, part or stall lasts for a day.
pub const MAX_SECS: i64 = 86_400;
/// Largest number of an entry or a segment that [`decode()`] accepts, so that counting on from it cannot overflow.
pub const MAX_NUMBER: u64 = 1 << 62;

/// The kinds of entries, as the second byte says them.
mod kind {
    pub(super) const START: u8 = 0;
    pub(super) const TARGETS: u8 = 1;
    pub(super) const INIT: u8 = 2;
    pub(super) const PART: u8 = 3;
    pub(super) const SEGMENT: u8 = 4;
    pub(super) const NEXT: u8 = 5;
    pub(super) const WITHDRAWN: u8 = 6;
    pub(super) const CAPTIONS: u8 = 7;
    pub(super) const END: u8 = 8;
}

/// Bytes that are not an entry in this form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("log entry, byte {at}: {field} {problem}")]
pub struct WireError {
    /// Position of the first byte of the field.
    pub at: usize,
    /// Name of the field.
    pub field: &'static str,
    /// Reason for the refusal.
    pub problem: Problem,
}

/// Reason why a field was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The entry ends before the field does.
    #[error("is cut off")]
    Truncated,
    /// The entry continues after its last field.
    #[error("is followed by more bytes")]
    Trailing,
    /// The field has a value that the form does not allow.
    #[error("has a value that is not allowed")]
    Invalid,
    /// The field has a value beyond its bounds.
    #[error("is out of bounds")]
    OutOfBounds,
}
