//! MPEG transport streams (ISO/IEC 13818-1): the [`Demuxer`], and the [`Muxer`](mux::Muxer).
//!
//! Bytes come in cut anywhere; tracks, frames and metadata of the first programme go out. A payload byte of video is
//! copied once, from its packet into its access unit. An access unit of video is output when the next one begins,
//! because nothing else shows that it is complete.

mod audio;
mod clock;
mod demux;
mod faults;
mod framing;
pub(crate) mod fuzz;
mod metadata;
pub mod mux;
mod packet;
mod pes;
mod pids;
mod psi;
mod stream;
mod sync;
mod unsupported;
mod video;

pub use demux::{Demuxer, FIRST_AUDIO_TRACK, VIDEO_TRACK};
pub use unsupported::{NoFramesReason, Reason, StreamType, Unsupported};

/// Limits of a [`Demuxer`], and what happens beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most consecutive bytes without packets; more are an error.
    pub unsynced: usize,
    /// Most PIDs that are followed, those of the tables included, up to 255. Further streams count as
    /// [`Stats::unknown_streams`].
    pub pids: usize,
    /// Most tracks, video included. Further audio counts as [`Stats::unknown_streams`].
    pub tracks: usize,
    /// Longest section of a table; a longer one is skipped and counted.
    pub section: usize,
    /// Longest PES packet; the rest of a longer one is dropped and counted.
    pub pes: usize,
    /// Longest access unit of video; a longer one is dropped and counted.
    pub unit: usize,
    /// Longest metadata of one instant; longer metadata is dropped and counted.
    pub metadata: usize,
    /// Bytes of memory allocated at once, which the next access units share.
    pub block: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unsynced: 1 << 20,
            pids: 64,
            tracks: 17,
            section: 4_098,
            pes: 16 << 20,
            unit: 8 << 20,
            metadata: 64 << 10,
            // Small enough that written bytes are still in a core's cache when they are read, and large enough for
            // several of most frames.
            block: 256 << 10,
        }
    }
}

/// Counters of a [`Demuxer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets of any kind.
    pub packets: u64,
    /// Null packets, which only fill the line.
    pub null_packets: u64,
    /// Packets marked as damaged by an earlier receiver, or invalid.
    pub damaged_packets: u64,
    /// Scrambled packets, which are dropped.
    pub scrambled_packets: u64,
    /// Packets with a PID that the programme does not name, or not yet.
    pub unknown_packets: u64,
    /// Packets received twice.
    pub duplicates: u64,
    /// Gaps in the continuity counter of a PID.
    pub continuity_errors: u64,
    /// Losses of packet synchronization.
    pub resyncs: u64,
    /// Sections with a wrong CRC.
    pub bad_crc: u64,
    /// Sections over the limit.
    pub oversized_sections: u64,
    /// Unsupported streams in a programme map: of another codec, a second video stream, or beyond a limit.
    pub unknown_streams: u64,
    /// Access units and metadata dropped because they were damaged, truncated, too long or without a timestamp.
    pub dropped: u64,
    /// PES packets longer or shorter than their declared length, without any loss.
    pub wrong_lengths: u64,
    /// Access units before the parameter sets that they need, as at the start of a stream that is joined midway.
    pub early: u64,
    /// Programme clock references.
    pub clock_references: u64,
}
