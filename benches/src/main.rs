//! Benchmarks, each a ratio against a peer in the same run; results are Markdown for `docs/performance.md`.
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
mod soak;
mod srt;
mod stats;
mod synthetic;
mod unbroken;

use anyhow::Result;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Weir's benchmarks; each prints Markdown for `docs/performance.md`.
#[derive(Parser)]
#[command(version)]
enum Benchmark {
    /// Frames to parts: bytes of payload a CPU-second, and how many of them are copied.
    Packager(packaging::Args),
    /// MPEG-TS: bytes a CPU-second against ffmpeg.
    Demux(demux::Args),
    /// From a part's last frame to the blocked playlist answer.
    Release(release::Args),
    /// Requests a CPU-second for a playlist, a part and a segment, against nginx.
    Origin(serving::Args),
    /// Ten thousand readers blocked on one playlist.
    Fanout(fanout::Args),
    /// CPU and memory for publishers of 5 Mbit/s, against nginx-rtmp.
    Passthrough(passthrough::Args),
    /// CPU for a megabit of SRT over a bad network, against srt-live-transmit.
    Srt(srt::Args),
    /// CPU, memory and delay of a ladder of renditions, against ffmpeg making the same ones.
    Ladder(ladder::Args),
    /// Publishers that come and go and viewers that follow, for half an hour.
    Soak(soak::Args),
    /// An encoder that drops once a minute, for an hour, into a live stream that is encoded.
    Unbroken(unbroken::Args),
    /// The server of `origin` and `fanout`, which start it themselves.
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
        Benchmark::Srt(args) => srt::run(&args),
        Benchmark::Ladder(args) => ladder::run(&args),
        Benchmark::Soak(args) => soak::run(&args),
        Benchmark::Unbroken(args) => unbroken::run(&args),
        Benchmark::ServeSynthetic(args) => synthetic::serve(&args),
    }
}
