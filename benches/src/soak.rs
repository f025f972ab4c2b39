//! Soak: publishers that come and go and viewers that follow them, while memory, threads, files and the log are watched.

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
/// After the last encoder: the reconnect window, a minute in which the end is shown, and some air.
const QUIET_LIMIT: Duration = Duration::from_secs(180);
/// Threads and files that may be left: the store opens connections as it needs them, and keeps them.
const LEFT_OVER: usize = 8;
/// Tasks alive in the server's runtimes, where it says so.
const TASKS: &str = "weir_tasks";
/// Memory beside the windows may not grow by more than this share of the whole in the second half.
const GROWTH_LIMIT: f64 = 0.1;
const OPEN_FILES: u64 = 16_384;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Weir's binary.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Minutes.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Publishers, each with a live stream of its own.
    #[arg(long, default_value_t = 10)]
    publishers: usize,
    /// Viewers, spread over the live streams.
    #[arg(long, default_value_t = 200)]
    readers: usize,
    /// Where the samples go.
    #[arg(long, default_value = "target/soak.csv")]
    csv: PathBuf,
    /// Where the plot goes.
    #[arg(long, default_value = "docs/soak.svg")]
    svg: PathBuf,
    /// Where the server's log goes.
    #[arg(long, default_value = "target/soak.log")]
    log: PathBuf,
}

/// The server at one moment.
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

/// Runs the soak, prints its table and fails if the server did not keep well.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Soak");
    proc::raise_open_files(OPEN_FILES)?;
    let schedule = Arc::new(Schedule::load(Quality::SMALL)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut weir = Weir::start(&args.weir, None)?;
    let streams = runtime.block_on(weir.create_streams(args.publishers, RECONNECT_WINDOW_SECS))?;

    let (stop, publishing, watching) = (AtomicBool::new(false), publishers::Counts::default(), Arc::default());
    let watch = Watch { weir: &weir, runtime: &runtime, started: Instant::now(), publishing: &publishing };
    let idle = watch.sample()?;
    let samples = std::thread::scope(|scope| -> Result<Vec<Sample>> {
        for (i, stream) in streams.iter().enumerate() {
            let target = Target { address: weir.rtmp, key: stream.key.clone(), source: loopback(i) };
            let (schedule, stop, publishing) = (&schedule, &stop, &publishing);
            scope.spawn(move || publishers::run(&target, schedule, stop, publishing));
        }
        let viewers = viewers(args, &weir, &streams, &watching);
        let samples = viewers.and_then(|viewers| {
            let samples = watch.record(args);
            viewers.shutdown_background();
            samples
        });
        // Without this the publishers' threads would keep the scope open for ever.
        stop.store(true, Ordering::Relaxed);
        samples
    })?;
    let quiet = watch.await_quiet()?;
    fs::write(&args.svg, plot::draw(&panels(&samples)))?;
    let log = weir.log()?;
    fs::write(&args.log, &log)?;
    let exit = weir.process.stop()?;
    let verdicts = judge(&samples, idle, quiet, &watching, &publishing, &log, exit.code());
    print(args, &samples, &publishing, &watching);
    report::table(&["what", "found", "well"]);
    verdicts.iter().for_each(|v| report::row(&[v.what, &v.found, report::met(v.well)]));
    ensure!(verdicts.iter().all(|v| v.well), "the server did not keep well");
    Ok(())
}

/// Starts the viewers on a thread of their own.
fn viewers(
    args: &Args,
    weir: &Weir,
    streams: &[crate::http::LiveStream],
    counts: &Arc<players::Counts>,
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
    publishing: &'a publishers::Counts,
}

impl Watch<'_> {
    fn sample(&self) -> Result<Sample> {
        let pid = self.weir.process.pid();
        let metrics = self.runtime.block_on(async { self.weir.client().await?.get("/metrics").await })?;
        ensure!(metrics.status == 200, "/metrics answers {}", metrics.status);
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

    /// Samples until the time is over.
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

    /// Waits until nothing of the load is left in the server.
    fn await_quiet(&self) -> Result<Sample> {
        let deadline = Instant::now() + QUIET_LIMIT;
        loop {
            let sample = self.sample()?;
            // The connection that asks is a viewer's to the server.
            if sample.broadcasts == 0.0 && sample.encoders == 0.0 && sample.viewers <= 1.0 {
                return Ok(sample);
            }
            if Instant::now() > deadline {
                bail!("the server still holds what is gone: {sample:?}");
            }
            std::thread::sleep(INTERVAL);
        }
    }
}

/// One thing that must be well.
struct Verdict {
    what: &'static str,
    found: String,
    well: bool,
}

fn judge(
    samples: &[Sample],
    idle: Sample,
    quiet: Sample,
    watching: &players::Counts,
    publishing: &publishers::Counts,
    log: &str,
    exit: Option<i32>,
) -> Vec<Verdict> {
    let counts = watching.all().into_iter();
    let bad: Vec<_> = counts.filter(|((kind, status), _)| !players::expected(kind, *status)).collect();
    let failures = publishing.failures.load(Ordering::Relaxed);
    let errors: Vec<&str> = log.lines().filter(|line| is_error(line)).collect();
    let errors_text = format!("{}{}", errors.len(), errors.first().map_or(String::new(), |e| format!(", as in `{e}`")));
    let memory: Vec<_> = samples.iter().map(|s| (s.seconds, s.memory.rss as f64, s.window)).collect();
    let (grown, steady) = growth(&memory);
    let mut verdicts = vec![
        Verdict { what: "growth of memory beside the windows", found: grown, well: steady },
        Verdict { what: "errors in the log", found: errors_text, well: errors.is_empty() },
        Verdict { what: "answers that players do not expect", found: format!("{bad:?}"), well: bad.is_empty() },
        Verdict { what: "publications refused or cut off", found: failures.to_string(), well: failures == 0 },
        left("open files", idle.files, quiet.files),
        left("threads", idle.threads, quiet.threads),
        Verdict { what: "exit code after SIGTERM", found: format!("{exit:?}"), well: exit == Some(0) },
    ];
    // A server that does not tell its tasks proves nothing about them.
    if idle.tasks > 0 {
        verdicts.push(left("tasks", idle.tasks, quiet.tasks));
    }
    verdicts
}

/// The growth of resident memory beside the windows, by a straight line through the second half, and whether that is well.
/// Of each moment: seconds, resident bytes, bytes of the windows.
pub(crate) fn growth(samples: &[(f64, f64, f64)]) -> (String, bool) {
    let second_half = &samples[samples.len() / 2..];
    let beside: Vec<_> = second_half.iter().map(|(seconds, resident, window)| (*seconds, resident - window)).collect();
    let span = beside.last().map_or(0.0, |p| p.0) - beside.first().map_or(0.0, |p| p.0);
    let growth = stats::slope(&beside) * span;
    let mean = stats::mean(&second_half.iter().map(|(_, resident, _)| *resident).collect::<Vec<_>>());
    let found = format!("{} MB in the second half, of {} MB", report::megabytes(growth), report::megabytes(mean));
    (found, growth <= GROWTH_LIMIT * mean)
}

/// What is left of something after all load went.
fn left(what: &'static str, before: usize, after: usize) -> Verdict {
    Verdict { what, found: format!("{before} before, {after} after"), well: after <= before + LEFT_OVER }
}

/// True for a line of the log at level error, or a panic.
pub(crate) fn is_error(line: &str) -> bool {
    line.contains("panicked at") || line.split_whitespace().take(3).any(|word| word == "ERROR")
}

fn print(args: &Args, samples: &[Sample], publishing: &publishers::Counts, watching: &players::Counts) {
    let most = |of: fn(&Sample) -> f64| samples.iter().map(of).fold(0.0, f64::max);
    let counts = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (first, last) = (samples.first(), samples.last());
    let cpu = last.map_or(0.0, |s| s.cpu.as_secs_f64()) - first.map_or(0.0, |s| s.cpu.as_secs_f64());
    report::table(&[
        "minutes",
        "publishers",
        "publications",
        "takeovers",
        "readers",
        "RSS at most, MB",
        "window at most, MB",
        "CPU, s",
    ]);
    report::row(&[
        args.minutes.to_string(),
        args.publishers.to_string(),
        counts(&publishing.publications).to_string(),
        counts(&publishing.takeovers).to_string(),
        args.readers.to_string(),
        report::megabytes(most(|s| s.memory.rss as f64)),
        report::megabytes(most(|s| s.window)),
        format!("{cpu:.0}"),
    ]);
    println!();
    report::table(&["asked for", "status", "answers"]);
    for ((kind, status), count) in watching.all() {
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
                series("resident less windows", |s| (s.memory.rss as f64 - s.window).max(0.0) / 1e6),
            ],
        },
        Panel {
            title: "Publishers and broadcasts",
            series: vec![series("publishing", |s| s.publishing as f64), series("broadcasts", |s| s.broadcasts)],
        },
        Panel {
            title: "What is open",
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
