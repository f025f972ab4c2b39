//! Fan-out: ten thousand readers blocked on one playlist, server and readers each on one core.
//!
//! Readers of HTTP/1.1 have a connection each, those of HTTP/2 over TLS share one by tens, as the renditions and windows of
//! one player do.

mod http1;
mod http2;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::peers::LOAD_CORE;
use crate::playlist::with_query;
use crate::synthetic::Synthetic;
use crate::{proc, report, stats};

const SPREAD_GOAL_MS: f64 = 80.0;
const CPU_GOAL_US: f64 = 12.0;
const MEMORY_GOAL: f64 = 10_000.0;
/// Connections from one loopback address; a 4-tuple each, well below the range of local ports.
const PER_ADDRESS: usize = 2_000;
/// No release takes so long.
const LIMIT: Duration = Duration::from_secs(30);
const OPEN_FILES: u64 = 20_000;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Readers.
    #[arg(long, default_value_t = 10_000)]
    readers: usize,
    /// Releases that are measured.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Parts that the readers of HTTP/1.1 follow, one after another; 0 to leave that out.
    #[arg(long, default_value_t = 50)]
    parts: usize,
    /// HTTP/2 over TLS, ten readers on a connection, instead of HTTP/1.1.
    #[arg(long)]
    http2: bool,
}

/// Readers of one kind.
trait Crowd: Sized {
    /// Nobody yet.
    fn new(server: &Synthetic) -> Result<Self>;
    /// Adds readers.
    fn grow(&mut self, readers: usize) -> Result<()>;
    /// All of them ask for `path`.
    fn ask(&mut self, path: &str) -> Result<()>;
    /// Waits for every reader's answer; gives when each was whole.
    fn answers(&mut self) -> Result<Vec<Instant>>;
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Fan-out");
    proc::raise_open_files(OPEN_FILES)?;
    let mut server = Synthetic::start()?;
    proc::pin_self(LOAD_CORE)?;
    if args.http2 {
        return rounds::<http2::Readers>(args, &mut server).map(drop);
    }
    let mut readers = rounds::<http1::Readers>(args, &mut server)?;
    if args.parts > 0 {
        readers.follow(&mut server, args.parts)?;
    }
    Ok(())
}

/// Releases to readers that are all blocked, one after another.
fn rounds<C: Crowd>(args: &Args, server: &mut Synthetic) -> Result<C> {
    let path = server.playlist.clone();
    let mut crowd = C::new(server)?;
    // One reader goes ahead, so that what the server makes once is not counted as a reader's memory.
    crowd.grow(1)?;
    let next = server.next_part()?;
    crowd.ask(&with_query(&path, &next))?;
    server.release()?;
    crowd.answers()?;
    let idle = proc::memory(server.pid())?.rss;
    crowd.grow(args.readers.saturating_sub(1))?;

    let (mut arrivals, mut cpu, mut last, mut blocked_rss) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for n in 0..=args.rounds {
        let next = server.next_part()?;
        crowd.ask(&with_query(&path, &next))?;
        server.await_blocked(args.readers)?;
        blocked_rss = proc::memory(server.pid())?.rss;
        let before = proc::cpu(server.pid())?;
        let released = Instant::now();
        server.release()?;
        let mut at = crowd.answers()?;
        // Let the server end its work on this release before its CPU time is read.
        server.await_blocked(0)?;
        let used = proc::cpu(server.pid())?.saturating_sub(before);
        ensure!(at.len() == args.readers, "{} of {} answered", at.len(), args.readers);
        // The first release with all readers warms up both sides.
        if n == 0 {
            continue;
        }
        at.sort();
        arrivals.extend(at.iter().map(|t| (*t - at[0]).as_secs_f64() * 1e3));
        last.push((at[at.len() - 1] - released).as_secs_f64() * 1e3);
        cpu.push(used.as_secs_f64() * 1e6 / args.readers as f64);
    }
    print(args.readers, &arrivals, &last, &cpu, blocked_rss.saturating_sub(idle));
    Ok(crowd)
}

fn print(readers: usize, arrivals: &[f64], last: &[f64], cpu: &[f64], grown: u64) {
    report::table(&[
        "readers",
        "answered",
        "spread p50, ms",
        "spread p99, ms",
        "≤ 80 ms",
        "release to last answer, ms (median)",
        "CPU a release, µs (mean)",
        "≤ 12 µs",
        "memory a reader, KB",
        "≤ 10 KB",
    ]);
    let (spread, each) = (stats::quantile(arrivals, 0.99), stats::mean(cpu));
    let memory = grown as f64 / readers as f64;
    report::row(&[
        readers.to_string(),
        "all".to_owned(),
        format!("{:.1}", stats::median(arrivals)),
        format!("{spread:.1}"),
        report::met(spread <= SPREAD_GOAL_MS).to_owned(),
        format!("{:.1}", stats::median(last)),
        format!("{each:.2}"),
        report::met(each <= CPU_GOAL_US).to_owned(),
        format!("{:.2}", memory / 1e3),
        report::met(memory <= MEMORY_GOAL).to_owned(),
    ]);
}
