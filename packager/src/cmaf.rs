//! CMAF boxes (ISO/IEC 14496-12, 23000-19): init sections and fragments.

mod fragment;
mod init;

pub(crate) use fragment::{Sample, fragment, gap};
pub(crate) use init::{format, init};

/// The one track of every file: renditions are demuxed.
const TRACK_ID: u32 = 1;
