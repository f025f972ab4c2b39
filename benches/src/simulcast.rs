//! Simulcast cost: one live stream to many targets, from Weir in `low` mode and from nginx-rtmp's `push`, in one run.
//!
//! Both servers push to the same process. What a target costs is what the server costs more than the same server without
//! targets, which is measured first.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::clip::{FPS, LOOP_FRAMES, Quality, Schedule};
use crate::passthrough::WINDOW_BYTES;
use crate::peers::{LOAD_CORE, Nginx, SERVER_CORE, Weir};
use crate::push::{Push, Target, drive, loopback};
use crate::sink::{Arrival, Sink};
use crate::{proc, report, stats};

const CPU_GOAL: f64 = 0.6;
/// Number of targets to which the goals of CPU and memory apply. With fewer, the memory of one target is less than what
/// the whole process differs by from run to run.
const GOAL_AT: usize = 50;
const DELAY_GOAL_MS: f64 = 5.0;
/// Memory of a target beside its queue.
const MEMORY_GOAL: f64 = 64.0 * 1_024.0;
/// Settings of Weir for targets on this machine.
const SETTINGS: [(&str, &str); 2] = [("WEIR_SIMULCAST_ALLOW_PRIVATE", "true"), ("WEIR_SIMULCAST_MAX_TARGETS", "100")];
/// The metrics of bytes in the queues of targets, and of the frames dropped there.
const QUEUE_BYTES: &str = "weir_simulcast_queue_bytes";
const DROPPED: &str = "weir_simulcast_dropped_frames_total";
/// Time for the last frames to arrive.
const DRAIN: Duration = Duration::from_millis(500);

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary of Weir.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Numbers of targets to measure, one after another, after a measurement without targets.
    #[arg(long, value_delimiter = ',', default_value = "1,6,50")]
    targets: Vec<usize>,
    /// Seconds before the measurement; the window holds 30 s.
    #[arg(long, default_value_t = 70)]
    warm_up: u64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Measurements of one server.
#[derive(Default)]
struct Server {
    cpu: Duration,
    /// Bytes of memory, without the window of the live stream.
    memory: f64,
    /// Milliseconds from each video frame's arrival to its departure to a target.
    delays: Vec<f64>,
    /// Video frames that did not arrive at a target.
    missing: usize,
}

struct Outcome {
    weir: Server,
    nginx: Server,
    load_cpu: Duration,
    queued: f64,
    dropped: f64,
    late: Duration,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Simulcast");
    proc::pin_self(LOAD_CORE)?;
    let schedule = Arc::new(Schedule::load(Quality::FULL_HD)?);
    let baseline = measure(args, 0, &schedule).context("no targets")?;
    report::table(&[
        "targets",
        "Weir, CPU ms per target-second",
        "nginx-rtmp, CPU ms per target-second",
        "ratio",
        "goal ≤ 0.6 at 50",
        "Weir, all of its CPU",
        "nginx-rtmp, all of its CPU",
        "ratio",
        "Weir, delay p50, p99, max, ms",
        "goal p99 ≤ 5 ms",
        "nginx-rtmp, delay p50, p99, max, ms",
        "frames missing, Weir, nginx-rtmp",
        "Weir, memory per target, KB",
        "of it queued, KB",
        "goal ≤ queue + 64 KB at 50",
        "nginx-rtmp, memory per target, KB",
        "pusher and sink CPU",
        "pusher max delay, ms",
    ]);
    for n in std::iter::once(&0).chain(&args.targets) {
        if *n == 0 {
            print(args, 0, &baseline, &baseline);
        } else {
            print(args, *n, &measure(args, *n, &schedule).with_context(|| format!("{n} targets"))?, &baseline);
        }
    }
    Ok(())
}

fn measure(args: &Args, n: usize, schedule: &Arc<Schedule>) -> Result<Outcome> {
    // The sinks run on a thread of their own, so that they read while the pusher sleeps.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let sinks = [Sink::start(runtime.handle(), schedule)?, Sink::start(runtime.handle(), schedule)?];
    let weir = Weir::start_with(&args.weir, Some(SERVER_CORE), &SETTINGS)?;
    let nginx = Nginx::pushing(sinks[1].address, n, SERVER_CORE)?;
    let url = format!("rtmp://{}/app", sinks[0].address);
    let targets: Vec<_> = (0..n).map(|n| json!({ "url": url, "stream_key": n.to_string() })).collect();
    let settings = json!({ "playback_policy": ["public"], "latency_mode": "low", "simulcast_targets": targets });
    let stream = runtime.block_on(weir.create(&settings))?;

    let first = Instant::now() + Duration::from_millis(500);
    // Half a frame apart, so that no server waits for the other one.
    let starts = [first, first + Duration::from_nanos(500_000_000 / FPS)];
    let mut pushes = Vec::with_capacity(starts.len());
    for (start, address) in starts.into_iter().zip([weir.rtmp, nginx.address]) {
        let target = Target { address, key: stream.key.clone(), source: loopback(0) };
        pushes.push(Push::publish(&target, schedule.clone(), start)?);
    }

    let from = first + Duration::from_secs(args.warm_up);
    let until = from + Duration::from_secs(args.seconds);
    let pids = [weir.process.pid(), nginx.process.pid()];
    let cpu = || -> Result<[Duration; 3]> { Ok([proc::cpu(pids[0])?, proc::cpu(pids[1])?, proc::own_cpu()]) };
    let mut sent = [Vec::new(), Vec::new()];
    drive(&mut pushes, from, |push, _, at| sent[push].push(at))?;
    for sink in &sinks {
        ensure!(sink.publications() == n, "{} of {n} targets receive the stream", sink.publications());
        sink.take_arrivals();
    }
    let before = cpu()?;
    let late = drive(&mut pushes, until, |push, _, at| sent[push].push(at))?;
    let after = cpu()?;
    std::thread::sleep(DRAIN);

    let metric = |name| runtime.block_on(weir.metric(name)).map(Option::unwrap_or_default);
    let memory = [proc::memory(pids[0])?, proc::memory(pids[1])?].map(|memory| memory.pss as f64);
    let windows = [metric(WINDOW_BYTES)?, 0.0];
    let (queued, dropped) = (metric(QUEUE_BYTES)?, metric(DROPPED)?);
    let [weir_measured, nginx_measured] = [0, 1].map(|i| {
        let frames = Frames { start: starts[i], from, sent: &sent[i] };
        let delays = frames.delays(&sinks[i].take_arrivals());
        let missing = (frames.number() * n).saturating_sub(delays.len());
        Server { cpu: after[i].saturating_sub(before[i]), memory: memory[i] - windows[i], delays, missing }
    });
    pushes.into_iter().try_for_each(Push::end)?;
    let load_cpu = after[2].saturating_sub(before[2]);
    Ok(Outcome { weir: weir_measured, nginx: nginx_measured, load_cpu, queued, dropped, late })
}

/// The video frames that were pushed to a server.
struct Frames<'a> {
    /// Time at which the first frame was due.
    start: Instant,
    /// Time at which the measurement began.
    from: Instant,
    /// Time at which each frame had been written.
    sent: &'a [Instant],
}

impl Frames<'_> {
    /// Returns the number of frames that were pushed during the measurement.
    fn number(&self) -> usize {
        self.sent.iter().filter(|sent| **sent >= self.from).count()
    }

    /// Returns the milliseconds from writing a frame to its arrival at the sink, of the frames pushed during the
    /// measurement.
    fn delays(&self, arrivals: &[Arrival]) -> Vec<f64> {
        let delay = |arrival: &Arrival| {
            let frame = frame_near(arrival.position, arrival.at.saturating_duration_since(self.start));
            let sent = self.sent.get(frame).filter(|sent| **sent >= self.from)?;
            Some(arrival.at.saturating_duration_since(*sent).as_secs_f64() * 1e3)
        };
        arrivals.iter().filter_map(delay).collect()
    }
}

/// Returns the number of the frame at this position of the loop that was due nearest to `elapsed`.
fn frame_near(position: usize, elapsed: Duration) -> usize {
    let due = (elapsed.as_secs_f64() * FPS as f64) as usize;
    position + (due + LOOP_FRAMES / 2).saturating_sub(position) / LOOP_FRAMES * LOOP_FRAMES
}

fn print(args: &Args, n: usize, outcome: &Outcome, baseline: &Outcome) {
    let each = |of: fn(&Outcome) -> f64| (of(outcome) - of(baseline)) / n.max(1) as f64;
    let seconds = args.seconds as f64;
    let weir_cpu = each(|outcome| outcome.weir.cpu.as_secs_f64()) * 1e3 / seconds;
    let nginx_cpu = each(|outcome| outcome.nginx.cpu.as_secs_f64()) * 1e3 / seconds;
    let ratio = weir_cpu / nginx_cpu;
    let of_all = outcome.weir.cpu.as_secs_f64() / outcome.nginx.cpu.as_secs_f64();
    let share = |cpu: Duration| format!("{:.1} %", 100.0 * cpu.as_secs_f64() / seconds);
    let delays = |server: &Server| {
        let ms = [0.5, 0.99, 1.0].map(|q| format!("{:.2}", stats::quantile(&server.delays, q)));
        ms.join(", ")
    };
    let (memory, queued) = (each(|outcome| outcome.weir.memory), outcome.queued / n.max(1) as f64);
    let kilobytes = |bytes: f64| format!("{:.0}", bytes / 1_024.0);
    let with_targets = |text: String| if n == 0 { "–".to_owned() } else { text };
    let goal = |met: bool| with_targets(report::met(met).to_owned());
    let goal_at_50 = |met: bool| if n == GOAL_AT { goal(met) } else { "–".to_owned() };
    report::row(&[
        n.to_string(),
        with_targets(format!("{weir_cpu:.2}")),
        with_targets(format!("{nginx_cpu:.2}")),
        with_targets(format!("{ratio:.2}")),
        goal_at_50(ratio <= CPU_GOAL),
        share(outcome.weir.cpu),
        share(outcome.nginx.cpu),
        format!("{of_all:.2}"),
        with_targets(delays(&outcome.weir)),
        goal(stats::quantile(&outcome.weir.delays, 0.99) <= DELAY_GOAL_MS),
        with_targets(delays(&outcome.nginx)),
        format!("{} (dropped: {}), {}", outcome.weir.missing, outcome.dropped, outcome.nginx.missing),
        with_targets(kilobytes(memory)),
        with_targets(kilobytes(queued)),
        goal_at_50(memory <= queued + MEMORY_GOAL),
        with_targets(kilobytes(each(|outcome| outcome.nginx.memory))),
        share(outcome.load_cpu),
        format!("{:.1}", outcome.late.as_secs_f64() * 1e3),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_repetition_of_the_loop_is_found() {
        assert_eq!(frame_near(3, Duration::from_millis(100)), 3);
        assert_eq!(frame_near(479, Duration::from_millis(15_990)), 479);
        assert_eq!(frame_near(0, Duration::from_millis(15_990)), 480);
        assert_eq!(frame_near(1, Duration::from_millis(16_040)), 481);
        assert_eq!(frame_near(479, Duration::from_millis(16_010)), 479);
    }
}
