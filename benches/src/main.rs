//! Benchmarks. Each compares Weir with another program in the same run, and prints Markdown for `docs/performance.md`.
#![allow(clippy::print_stdout, reason = "the results go to the standard output")]

mod clip;
mod counting;
mod demux;
mod fanout;
#[path = "../../weir/tests/e2e/support/flashes.rs"]
mod flashes;
mod http;
mod ladder;
#[path = "../../weir/tests/e2e/support/lossy.rs"]
mod lossy;
mod packaging;
mod passthrough;
mod peers;
mod playlist;
mod plot;
mod proc;
mod push;
mod release;
mod report;
mod serving;
mod simulcast;
mod sink;
mod soak;
mod srt;
mod stats;
mod synthetic;
mod unbroken;

use anyhow::Result;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Benchmarks of Weir. Each prints Markdown for `docs/performance.md`.
#[derive(Parser)]
#[command(version)]
enum Benchmark {
    /// Packaging of frames into parts: bytes of payload per CPU-second, and how many of them are copied.
    Packager(packaging::Args),
    /// Demuxing of MPEG-TS: bytes per CPU-second, compared with ffmpeg.
    Demux(demux::Args),
    /// Time from the last frame of a part to the response to a blocked playlist request.
    Release(release::Args),
    /// Requests per CPU-second for a playlist, a part and a segment, compared with nginx.
    Origin(serving::Args),
    /// Ten thousand readers blocked on one playlist.
    Fanout(fanout::Args),
    /// CPU and memory for publishers of 5 Mbit/s, compared with nginx-rtmp.
    Passthrough(passthrough::Args),
    /// CPU, delay and memory for targets of a live stream, compared with nginx-rtmp.
    Simulcast(simulcast::Args),
    /// CPU per megabit of SRT over a lossy network, compared with srt-live-transmit.
    Srt(srt::Args),
    /// CPU, memory and delay of a ladder of renditions, compared with ffmpeg.
    Ladder(ladder::Args),
    /// Publishers that connect and disconnect, and their viewers, for half an hour.
    Soak(soak::Args),
    /// A transcoded live stream whose encoder disconnects once a minute, for an hour.
    Unbroken(unbroken::Args),
    /// The server process of `origin` and `fanout`, which start it themselves.
    #[command(hide = true)]
    ServeSynthetic(synthetic::Args),
}

fn main() -> Result<()> {
    match Benchmark::parse() {
        Benchmark::Packager(args) => packaging::run(&args),
        Benchmark::Demux(args) => demux::run(&args),
        Benchmark::Release(args) => release::run(&args),
        Benchmark::Origin(args) => serving::run(&args),
        Benchmark::Fanout(args) => fanout::run(&args),
        Benchmark::Passthrough(args) => passthrough::run(&args),
        Benchmark::Simulcast(args) => simulcast::run(&args),
        Benchmark::Srt(args) => srt::run(&args),
        Benchmark::Ladder(args) => ladder::run(&args),
        Benchmark::Soak(args) => soak::run(&args),
        Benchmark::Unbroken(args) => unbroken::run(&args),
        Benchmark::ServeSynthetic(args) => synthetic::serve(&args),
    }
}
