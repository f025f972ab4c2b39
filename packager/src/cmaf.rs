//! CMAF boxes (ISO/IEC 14496-12, 23000-19): init sections and fragments.

mod entry;
mod event;
mod fragment;
mod init;

pub(crate) use event::event;
pub(crate) use fragment::{Sample, fragment, gap};
pub(crate) use init::{format, init, timescale};

/// The only track of every file: audio and video are never in one file.
const TRACK_ID: u32 = 1;

/// A width or height, in the 16 bits that boxes have for it.
fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}
