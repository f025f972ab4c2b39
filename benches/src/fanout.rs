//! Fan-out: ten thousand readers blocked on one playlist, server and readers each on one core.
//!
//! The writer of the broadcast must not notice the readers. The time of each append is therefore measured without
//! readers, with all of them blocked, and with all of them reloading.
//!
//! Each HTTP/1.1 reader has its own connection. Ten HTTP/2 readers share a connection over TLS, as the renditions and
//! windows of one player do.

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
/// A part lasts 200 ms; a delay of this length is not noticeable.
const APPEND_GOAL_US: f64 = 1_000.0;
/// Time between two appends without readers, or with readers that reload without pause.
const APPEND_PERIOD: Duration = Duration::from_millis(10);
/// Connections from one loopback address. Each needs its own 4-tuple, and this is well below the range of local ports.
const PER_ADDRESS: usize = 2_000;
/// Timeout of a release.
const LIMIT: Duration = Duration::from_secs(30);
const OPEN_FILES: u64 = 20_000;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of readers.
    #[arg(long, default_value_t = 10_000)]
    readers: usize,
    /// Number of measured releases.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Number of parts that the HTTP/1.1 readers follow, one after another; 0 to skip this.
    #[arg(long, default_value_t = 50)]
    parts: usize,
    /// Number of appends measured without readers, and with HTTP/1.1 readers that reload without pause.
    #[arg(long, default_value_t = 1_000)]
    appends: usize,
    /// HTTP/2 over TLS, ten readers on a connection, instead of HTTP/1.1.
    #[arg(long)]
    http2: bool,
}

/// Readers of one protocol.
trait Crowd: Sized {
    /// Creates an empty crowd.
    fn new(server: &Synthetic) -> Result<Self>;
    /// Adds readers.
    fn grow(&mut self, readers: usize) -> Result<()>;
    /// Sends a request for `path` from every reader.
    fn ask(&mut self, path: &str) -> Result<()>;
    /// Waits for the answer to every reader. Returns when each was complete.
    fn answers(&mut self) -> Result<Vec<Instant>>;
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Fan-out");
    proc::raise_open_files(OPEN_FILES)?;
    let mut server = Synthetic::start()?;
    proc::pin_self(LOAD_CORE)?;
    let mut appends = vec![("none", without_readers(&mut server, args.appends)?)];
    if args.http2 {
        let (_, blocked) = rounds::<http2::Readers>(args, &mut server)?;
        appends.push(("blocked", blocked));
    } else {
        let (mut readers, blocked) = rounds::<http1::Readers>(args, &mut server)?;
        appends.push(("blocked", blocked));
        if args.parts > 0 {
            appends.push(("following, a part each 200 ms", readers.follow(&mut server, args.parts)?));
        }
        appends.push(("reloading, a part each 10 ms", readers.reload(&mut server, args.appends)?));
    }
    print_appends(&appends);
    Ok(())
}

/// Measures appends while no reader is connected.
fn without_readers(server: &mut Synthetic, appends: usize) -> Result<Vec<Duration>> {
    let measure = |_| {
        std::thread::sleep(APPEND_PERIOD);
        server.release()
    };
    (0..appends).map(measure).collect()
}

/// Measures releases to readers that are all blocked, one after another. Returns the readers and the time of each
/// append.
fn rounds<C: Crowd>(args: &Args, server: &mut Synthetic) -> Result<(C, Vec<Duration>)> {
    let path = server.playlist.clone();
    let mut crowd = C::new(server)?;
    // The first reader comes before the baseline, so that what the server allocates once is not counted as a reader's
    // memory.
    crowd.grow(1)?;
    let next = server.next_part()?;
    crowd.ask(&with_query(&path, &next))?;
    server.release()?;
    crowd.answers()?;
    let idle = proc::memory(server.pid())?.rss;
    crowd.grow(args.readers.saturating_sub(1))?;

    let (mut arrivals, mut cpu, mut last, mut appends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut blocked_rss = 0;
    for n in 0..=args.rounds {
        let next = server.next_part()?;
        crowd.ask(&with_query(&path, &next))?;
        server.await_blocked(args.readers)?;
        blocked_rss = proc::memory(server.pid())?.rss;
        let before = proc::cpu(server.pid())?;
        let released = Instant::now();
        let append = server.release()?;
        let mut at = crowd.answers()?;
        // The server must finish this release before its CPU time is read.
        server.await_blocked(0)?;
        let used = proc::cpu(server.pid())?.saturating_sub(before);
        ensure!(at.len() == args.readers, "{} of {} answered", at.len(), args.readers);
        // The first release with all readers warms up both sides.
        if n == 0 {
            continue;
        }
        appends.push(append);
        at.sort();
        arrivals.extend(at.iter().map(|t| (*t - at[0]).as_secs_f64() * 1e3));
        last.push((at[at.len() - 1] - released).as_secs_f64() * 1e3);
        cpu.push(used.as_secs_f64() * 1e6 / args.readers as f64);
    }
    print(args.readers, &arrivals, &last, &cpu, blocked_rss.saturating_sub(idle));
    Ok((crowd, appends))
}

fn print_appends(cases: &[(&str, Vec<Duration>)]) {
    println!();
    report::table(&["readers", "appends", "p50, µs", "p99, µs", "longest, µs", "p99 ≤ 1 ms"]);
    for (readers, appends) in cases {
        let times: Vec<f64> = appends.iter().map(|append| append.as_secs_f64() * 1e6).collect();
        let p99 = stats::quantile(&times, 0.99);
        report::row(&[
            (*readers).to_owned(),
            times.len().to_string(),
            format!("{:.1}", stats::median(&times)),
            format!("{p99:.1}"),
            format!("{:.1}", stats::quantile(&times, 1.0)),
            report::met(p99 <= APPEND_GOAL_US).to_owned(),
        ]);
    }
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
