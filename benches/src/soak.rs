//! Soak test: publishers that connect and disconnect, and their viewers, while memory, threads, files and the log are
//! monitored.

mod players;
mod publishers;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::runtime::Runtime;

use crate::clip::{Quality, Schedule};
use crate::http::sum_of;
use crate::passthrough::WINDOW_BYTES;
use crate::peers::Weir;
use crate::plot::{self, Panel, Series};
use crate::push::{Target, loopback};
use crate::{proc, report, stats};

const INTERVAL: Duration = Duration::from_secs(5);
const RECONNECT_WINDOW_SECS: u32 = 30;
/// Timeout after the last encoder: the reconnect window, a minute in which ended playlists stay, and a margin.
const QUIET_LIMIT: Duration = Duration::from_secs(180);
/// Threads and files that may remain, because the store opens connections on demand and keeps them.
const LEFT_OVER: usize = 8;
/// The metric of living tasks in the server's runtimes.
const TASKS: &str = "weir_tasks";
/// Maximum growth of memory outside the windows in the second half, as a share of all memory.
const GROWTH_LIMIT: f64 = 0.1;
const OPEN_FILES: u64 = 16_384;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary of Weir.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Duration in minutes.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Number of publishers, each with its own live stream.
    #[arg(long, default_value_t = 10)]
    publishers: usize,
    /// Number of viewers, spread over the live streams.
    #[arg(long, default_value_t = 200)]
    readers: usize,
    /// Output file of the samples.
    #[arg(long, default_value = "target/soak.csv")]
    csv: PathBuf,
    /// Output file of the plot.
    #[arg(long, default_value = "docs/soak.svg")]
    svg: PathBuf,
    /// Output file of the server's log.
    #[arg(long, default_value = "target/soak.log")]
    log: PathBuf,
}

/// The state of the server at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    memory: proc::Memory,
    window: f64,
    threads: usize,
    files: usize,
    tasks: usize,
    broadcasts: f64,
    encoders: f64,
    viewers: f64,
    publishing: u64,
    cpu: Duration,
}

/// Runs the soak test, prints its tables, and fails if a check failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Soak");
    proc::raise_open_files(OPEN_FILES)?;
    let schedule = Arc::new(Schedule::load(Quality::SMALL)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut weir = Weir::start(&args.weir, None)?;
    let streams = runtime.block_on(weir.create_streams(args.publishers, RECONNECT_WINDOW_SECS))?;

    let (stop, publishing, viewing) = (AtomicBool::new(false), publishers::Stats::default(), Arc::default());
    let watch = Watch { weir: &weir, runtime: &runtime, started: Instant::now(), publishing: &publishing };
    let idle = watch.sample()?;
    let samples = std::thread::scope(|scope| -> Result<Vec<Sample>> {
        for (i, stream) in streams.iter().enumerate() {
            let target = Target { address: weir.rtmp, key: stream.key.clone(), source: loopback(i) };
            let (schedule, stop, publishing) = (&schedule, &stop, &publishing);
            scope.spawn(move || publishers::run(&target, schedule, stop, publishing));
        }
        let viewers = viewers(args, &weir, &streams, &viewing);
        let samples = viewers.and_then(|viewers| {
            let samples = watch.record(args);
            viewers.shutdown_background();
            samples
        });
        // Without this the scope would wait for the publishers' threads forever.
        stop.store(true, Ordering::Relaxed);
        samples
    })?;
    let quiet = watch.await_quiet()?;
    fs::write(&args.svg, plot::draw(&panels(&samples)))?;
    let log = weir.log()?;
    fs::write(&args.log, &log)?;
    let exit = weir.process.stop()?;
    let server = Outcome { idle, quiet, log: &log, exit: exit.code() };
    let verdicts = judge(&samples, &server, &viewing, &publishing);
    print(args, &samples, &publishing, &viewing);
    report::table(&["check", "result", "passed"]);
    verdicts.iter().for_each(|v| report::row(&[v.check, &v.result, report::met(v.passed)]));
    ensure!(verdicts.iter().all(|v| v.passed), "a check of the server failed");
    Ok(())
}

/// Starts the viewers on a separate thread.
fn viewers(
    args: &Args,
    weir: &Weir,
    streams: &[crate::http::LiveStream],
    counts: &Arc<players::Stats>,
) -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for i in 0..args.readers {
        let stream = streams.get(i % streams.len().max(1)).context("no live stream")?;
        runtime.spawn(players::run(weir.http, loopback(i), stream.playback_id.clone(), counts.clone()));
    }
    Ok(runtime)
}

/// Takes samples of the server.
struct Watch<'a> {
    weir: &'a Weir,
    runtime: &'a Runtime,
    started: Instant,
    publishing: &'a publishers::Stats,
}

impl Watch<'_> {
    fn sample(&self) -> Result<Sample> {
        let pid = self.weir.process.pid();
        let metrics = self.runtime.block_on(async { self.weir.client().await?.get("/metrics").await })?;
        ensure!(metrics.status == 200, "/metrics: status {}", metrics.status);
        let text = metrics.text();
        let metric = |name: &str| sum_of(&text, name).unwrap_or(0.0);
        Ok(Sample {
            seconds: self.started.elapsed().as_secs_f64(),
            memory: proc::memory(pid)?,
            window: metric(WINDOW_BYTES),
            threads: proc::threads(pid)?,
            files: proc::open_files(pid)?,
            tasks: metric(TASKS) as usize,
            broadcasts: metric("weir_broadcasts"),
            encoders: metric("weir_ingest_connections"),
            viewers: metric("weir_origin_connections"),
            publishing: self.publishing.on.load(Ordering::Relaxed),
            cpu: proc::cpu(pid)?,
        })
    }

    /// Takes samples until the time is over.
    fn record(&self, args: &Args) -> Result<Vec<Sample>> {
        let mut csv = File::create(&args.csv)?;
        writeln!(
            csv,
            "seconds,rss,pss,window_bytes,threads,open_files,tasks,broadcasts,encoders,viewers,publishing,cpu_seconds"
        )?;
        let (mut samples, mut next) = (Vec::new(), Instant::now());
        while self.started.elapsed().as_secs_f64() < args.minutes * 60.0 {
            next += INTERVAL;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let s = self.sample()?;
            let Sample {
                seconds,
                memory,
                window,
                threads,
                files,
                tasks,
                broadcasts,
                encoders,
                viewers,
                publishing,
                cpu,
            } = s;
            let (proc::Memory { rss, pss }, cpu) = (memory, cpu.as_secs_f64());
            write!(csv, "{seconds:.1},{rss},{pss},{window},{threads},{files},{tasks},")?;
            writeln!(csv, "{broadcasts},{encoders},{viewers},{publishing},{cpu:.2}")?;
            samples.push(s);
        }
        Ok(samples)
    }

    /// Waits until the server has no broadcasts and connections of the load.
    fn await_quiet(&self) -> Result<Sample> {
        let deadline = Instant::now() + QUIET_LIMIT;
        loop {
            let sample = self.sample()?;
            // The connection for /metrics counts as a viewer.
            if sample.broadcasts == 0.0 && sample.encoders == 0.0 && sample.viewers <= 1.0 {
                return Ok(sample);
            }
            if Instant::now() > deadline {
                bail!("the server still has broadcasts or connections of the load: {sample:?}");
            }
            std::thread::sleep(INTERVAL);
        }
    }
}

/// The result of one check.
struct Verdict {
    check: &'static str,
    result: String,
    passed: bool,
}

/// The server before and after the load.
struct Outcome<'a> {
    idle: Sample,
    quiet: Sample,
    log: &'a str,
    exit: Option<i32>,
}

fn judge(
    samples: &[Sample],
    server: &Outcome<'_>,
    viewing: &players::Stats,
    publishing: &publishers::Stats,
) -> Vec<Verdict> {
    let Outcome { idle, quiet, log, exit } = server;
    let counts = viewing.all().into_iter();
    let bad: Vec<_> = counts.filter(|((kind, status), _)| !players::expected(kind, *status)).collect();
    let failures = publishing.failures.load(Ordering::Relaxed);
    let errors: Vec<&str> = log.lines().filter(|line| is_error(line)).collect();
    let errors_text = format!("{}{}", errors.len(), errors.first().map_or(String::new(), |e| format!(", as in `{e}`")));
    let memory: Vec<_> = samples.iter().map(|s| (s.seconds, s.memory.rss as f64, s.window)).collect();
    let (grown, steady) = growth(&memory);
    let mut verdicts = vec![
        Verdict { check: "growth of memory outside the windows", result: grown, passed: steady },
        Verdict { check: "errors in the log", result: errors_text, passed: errors.is_empty() },
        Verdict { check: "responses that players do not expect", result: format!("{bad:?}"), passed: bad.is_empty() },
        Verdict {
            check: "publications refused or ended by the server",
            result: failures.to_string(),
            passed: failures == 0,
        },
        left("open files", idle.files, quiet.files),
        left("threads", idle.threads, quiet.threads),
        Verdict { check: "exit code after SIGTERM", result: format!("{exit:?}"), passed: *exit == Some(0) },
    ];
    // Skipped for a server without this metric.
    if idle.tasks > 0 {
        verdicts.push(left("tasks", idle.tasks, quiet.tasks));
    }
    verdicts
}

/// Returns the growth of resident memory outside the windows, by linear regression over the second half, and whether it
/// is small enough. Each sample has the time in seconds, the resident bytes, and the bytes of the windows.
pub(crate) fn growth(samples: &[(f64, f64, f64)]) -> (String, bool) {
    let second_half = &samples[samples.len() / 2..];
    let outside: Vec<_> = second_half.iter().map(|(seconds, resident, window)| (*seconds, resident - window)).collect();
    let span = outside.last().map_or(0.0, |p| p.0) - outside.first().map_or(0.0, |p| p.0);
    let growth = stats::slope(&outside) * span;
    let mean = stats::mean(&second_half.iter().map(|(_, resident, _)| *resident).collect::<Vec<_>>());
    let found = format!("{} MB in the second half, of {} MB", report::megabytes(growth), report::megabytes(mean));
    (found, growth <= GROWTH_LIMIT * mean)
}

/// Checks that a count has returned to its initial value, with a tolerance, after the load has ended.
fn left(check: &'static str, before: usize, after: usize) -> Verdict {
    Verdict { check, result: format!("{before} before, {after} after"), passed: after <= before + LEFT_OVER }
}

/// Returns true for a line of the log at level ERROR, or for a panic.
pub(crate) fn is_error(line: &str) -> bool {
    line.contains("panicked at") || line.split_whitespace().take(3).any(|word| word == "ERROR")
}

fn print(args: &Args, samples: &[Sample], publishing: &publishers::Stats, viewing: &players::Stats) {
    let max = |of: fn(&Sample) -> f64| samples.iter().map(of).fold(0.0, f64::max);
    let counts = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (first, last) = (samples.first(), samples.last());
    let cpu = last.map_or(0.0, |s| s.cpu.as_secs_f64()) - first.map_or(0.0, |s| s.cpu.as_secs_f64());
    report::table(&[
        "minutes",
        "publishers",
        "publications",
        "takeovers",
        "readers",
        "max RSS, MB",
        "max window, MB",
        "CPU, s",
    ]);
    report::row(&[
        args.minutes.to_string(),
        args.publishers.to_string(),
        counts(&publishing.publications).to_string(),
        counts(&publishing.takeovers).to_string(),
        args.readers.to_string(),
        report::megabytes(max(|s| s.memory.rss as f64)),
        report::megabytes(max(|s| s.window)),
        format!("{cpu:.0}"),
    ]);
    println!();
    report::table(&["request", "status", "responses"]);
    for ((kind, status), count) in viewing.all() {
        report::row(&[kind.to_owned(), status.to_string(), count.to_string()]);
    }
    println!();
}

fn panels(samples: &[Sample]) -> Vec<Panel> {
    let series =
        |name, of: fn(&Sample) -> f64| Series { name, points: samples.iter().map(|s| (s.seconds, of(s))).collect() };
    vec![
        Panel {
            title: "Memory, MB",
            series: vec![
                series("resident", |s| s.memory.rss as f64 / 1e6),
                series("windows", |s| s.window / 1e6),
                series("resident minus windows", |s| (s.memory.rss as f64 - s.window).max(0.0) / 1e6),
            ],
        },
        Panel {
            title: "Publishers and broadcasts",
            series: vec![series("publishing", |s| s.publishing as f64), series("broadcasts", |s| s.broadcasts)],
        },
        Panel {
            title: "Files, tasks and threads",
            series: vec![
                series("files", |s| s.files as f64),
                series("tasks", |s| s.tasks as f64),
                series("threads", |s| s.threads as f64),
            ],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_the_log_are_found() {
        assert!(is_error("2026-11-21T08:00:00Z ERROR weir: no"));
        assert!(is_error("thread 'x' panicked at src/a.rs:1:2:"));
        assert!(!is_error("2026-11-21T08:00:00Z  INFO weir: an ERROR that a peer made"));
    }
}
