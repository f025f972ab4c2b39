//! Passthrough cost: the same streams to Weir in `low` mode and to nginx-rtmp with plain HLS, in one run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::clip::{Quality, Schedule};
use crate::peers::{LOAD_CORE, Nginx, SERVER_CORE, Weir};
use crate::push::{Push, Target, drive, loopback};
use crate::{proc, report};

const CPU_GOAL: f64 = 0.65;
/// Number of publishers to which the CPU goal applies.
const GOAL_AT: usize = 50;
const MEMORY_FACTOR: f64 = 1.1;
const MEMORY_A_STREAM: f64 = 1e6;
/// The metric of the bytes in Weir's windows.
pub(crate) const WINDOW_BYTES: &str = "weir_origin_window_bytes";

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary of Weir.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Numbers of publishers to measure, one after another.
    #[arg(long, value_delimiter = ',', default_value = "1,10,50")]
    publishers: Vec<usize>,
    /// Seconds before the measurement; the windows hold 30 s.
    #[arg(long, default_value_t = 40)]
    warm_up: u64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

struct Outcome {
    weir_cpu: Duration,
    nginx_cpu: Duration,
    load_cpu: Duration,
    weir_idle: proc::Memory,
    weir: proc::Memory,
    nginx: proc::Memory,
    nginx_files: u64,
    window: f64,
    late: Duration,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Passthrough cost");
    proc::pin_self(LOAD_CORE)?;
    let schedule = Arc::new(Schedule::load(Quality::FULL_HD)?);
    report::table(&[
        "publishers",
        "Weir, CPU ms per stream-second",
        "nginx-rtmp, CPU ms per stream-second",
        "ratio",
        "goal ≤ 0.65 at 50",
        "load of core 0",
        "Weir PSS minus idle, MB",
        "window, MB",
        "limit, MB",
        "met",
        "Weir RSS, MB",
        "nginx PSS, MB",
        "nginx files in memory, MB",
        "pusher CPU %",
        "pusher max delay, ms",
    ]);
    for n in &args.publishers {
        let outcome = measure(args, *n, &schedule).with_context(|| format!("{n} publishers"))?;
        print(args, *n, &outcome);
    }
    Ok(())
}

fn measure(args: &Args, n: usize, schedule: &Arc<Schedule>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let weir = Weir::start(&args.weir, Some(SERVER_CORE))?;
    let nginx = Nginx::rtmp(SERVER_CORE)?;
    let streams = runtime.block_on(weir.create_streams(n, 60))?;
    let (weir_pid, nginx_pid) = (weir.process.pid(), nginx.process.pid());
    let weir_idle = proc::memory(weir_pid)?;

    let mut pushes = Vec::with_capacity(2 * n);
    let start = Instant::now() + Duration::from_millis(500 + 20 * n as u64);
    for (i, stream) in streams.into_iter().enumerate() {
        // Publishers are spread over a second, so that their frames and GOPs do not coincide.
        let start = start + Duration::from_nanos(1_000_000_000 / n as u64 * i as u64);
        for address in [weir.rtmp, nginx.address] {
            let target = Target { address, key: stream.key.clone(), source: loopback(i) };
            pushes.push(Push::publish(&target, schedule.clone(), start)?);
        }
    }

    let measured_from = start + Duration::from_secs(args.warm_up);
    drive(&mut pushes, measured_from, |_, _, _| {})?;
    let cpu = || -> Result<[Duration; 3]> { Ok([proc::cpu(weir_pid)?, proc::cpu(nginx_pid)?, proc::own_cpu()]) };
    let before = cpu()?;
    let late = drive(&mut pushes, measured_from + Duration::from_secs(args.seconds), |_, _, _| {})?;
    let after = cpu()?;
    let [weir_cpu, nginx_cpu, load_cpu] = [0, 1, 2].map(|i| after[i].saturating_sub(before[i]));
    let (weir_memory, nginx_memory) = (proc::memory(weir_pid)?, proc::memory(nginx_pid)?);
    let window = runtime.block_on(weir.metric(WINDOW_BYTES))?.context("no window gauge in /metrics")?;
    let nginx_files = nginx.written()?;
    for push in pushes {
        push.end()?;
    }
    Ok(Outcome {
        weir_cpu,
        nginx_cpu,
        load_cpu,
        weir_idle,
        weir: weir_memory,
        nginx: nginx_memory,
        nginx_files,
        window,
        late,
    })
}

fn print(args: &Args, n: usize, outcome: &Outcome) {
    let stream_seconds = n as f64 * args.seconds as f64;
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e3 / stream_seconds;
    let ratio = outcome.weir_cpu.as_secs_f64() / outcome.nginx_cpu.as_secs_f64();
    let share = |cpu: Duration| format!("{:.0} %", 100.0 * cpu.as_secs_f64() / args.seconds as f64);
    let used = outcome.weir.pss.saturating_sub(outcome.weir_idle.pss) as f64;
    let limit = outcome.window * MEMORY_FACTOR + MEMORY_A_STREAM * n as f64;
    let goal = if n == GOAL_AT { report::met(ratio <= CPU_GOAL) } else { "–" };
    report::row(&[
        n.to_string(),
        format!("{:.2}", each(outcome.weir_cpu)),
        format!("{:.2}", each(outcome.nginx_cpu)),
        format!("{ratio:.2}"),
        goal.to_owned(),
        share(outcome.weir_cpu + outcome.nginx_cpu),
        report::megabytes(used),
        report::megabytes(outcome.window),
        report::megabytes(limit),
        report::met(used <= limit).to_owned(),
        report::megabytes(outcome.weir.rss as f64),
        report::megabytes(outcome.nginx.pss as f64),
        report::megabytes(outcome.nginx_files as f64),
        share(outcome.load_cpu),
        format!("{:.1}", outcome.late.as_secs_f64() * 1e3),
    ]);
}
