//! Benchmarks, each a ratio against a peer in the same run; results are Markdown for `docs/performance.md`.
#![allow(clippy::print_stdout, reason = "the results go to the standard output")]

mod clip;
mod http;
mod passthrough;
mod peers;
mod proc;
mod push;
mod report;
mod stats;

use anyhow::Result;
use clap::Parser;

/// Weir's benchmarks.
#[derive(Parser)]
#[command(version)]
enum Benchmark {
    /// CPU and memory for publishers of 5 Mbit/s, against nginx-rtmp.
    Passthrough(passthrough::Args),
}

fn main() -> Result<()> {
    match Benchmark::parse() {
        Benchmark::Passthrough(args) => passthrough::run(&args),
    }
}
