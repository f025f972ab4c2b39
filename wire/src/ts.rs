//! MPEG transport streams (ISO/IEC 13818-1): the demuxer.
//!
//! Bytes come in cut anywhere; tracks, frames and metadata of the first programme go out. A payload byte of a picture is
//! copied once, from its packet into its access unit. An access unit of pictures is given when the next one begins, for
//! nothing else says that it is whole.

mod audio;
mod clock;
mod demux;
mod faults;
mod framing;
pub(crate) mod fuzz;
mod left_out;
mod metadata;
mod packet;
mod pes;
mod psi;
mod stream;
mod sync;
mod video;

pub use demux::{Demuxer, FIRST_AUDIO_TRACK, VIDEO_TRACK};
pub use left_out::{LeftOut, Obstacle, Reason, StreamType};

/// What a stream may make a [`Demuxer`] hold, and what happens beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a row without packets; more are an error.
    pub unsynced: usize,
    /// PIDs that are followed, the tables' own included; streams beyond them are counted as unknown. At most 255.
    pub pids: usize,
    /// Tracks, the one of pictures included; sound beyond them is counted as unknown.
    pub tracks: usize,
    /// Longest section of a table; a longer one is passed over and counted.
    pub section: usize,
    /// Longest PES packet; a longer one is dropped from there on and counted.
    pub pes: usize,
    /// Longest access unit of pictures; a longer one is dropped and counted.
    pub unit: usize,
    /// Longest metadata of one instant; longer ones are dropped and counted.
    pub metadata: usize,
    /// Bytes of memory taken at once for the access units to come, which share it.
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
            // What is written stays in a core's cache until it is read, and most frames fit several times.
            block: 256 << 10,
        }
    }
}

/// What a [`Demuxer`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets of any kind.
    pub packets: u64,
    /// Packets that only fill the line.
    pub null_packets: u64,
    /// Packets marked as damaged on their way, or that make no sense.
    pub damaged_packets: u64,
    /// Encrypted packets, which are dropped.
    pub scrambled_packets: u64,
    /// Packets of PIDs that the programme does not name, or not yet.
    pub unknown_packets: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Places where packets of a PID are missing.
    pub continuity_errors: u64,
    /// Times that the grid of packets was lost.
    pub resyncs: u64,
    /// Sections with a wrong CRC.
    pub bad_crc: u64,
    /// Sections over the limit.
    pub oversized_sections: u64,
    /// Streams named by a map that are not carried: of another codec, a second picture, or over a limit.
    pub unknown_streams: u64,
    /// Access units and metadata dropped because they were damaged, cut short, too long or without a time.
    pub dropped: u64,
    /// PES packets that were longer or shorter than they said, which cost nothing.
    pub wrong_lengths: u64,
    /// Access units that came before the parameter sets they need, as where a stream is joined.
    pub early: u64,
    /// Programme clock references.
    pub clock_references: u64,
}
