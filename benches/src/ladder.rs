//! A ladder of renditions: CPU-seconds compared with ffmpeg, memory, and the delay from an input frame to its output
//! frame.
//!
//! ffmpeg encodes the same renditions from the same clip, with the same settings of x264 and bilinear scaling. The
//! ladder runs in real time, as in the server, and is judged by ffmpeg in real time. ffmpeg at full speed, which keeps
//! its caches warm, is reported as well. Each has one core, unless `--all-cores` is set.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ladder::plan::{FIRST_AUDIO_TRACK, Input, Level, Rung, plan};
use ladder::{Ladder, Output, Settings};
use media::{Frame, FrameRate, LatencyMode, Timestamp, TrackId};
use slate::{Item, Splice};
use wire::Item as Demuxed;
use wire::ts::{Demuxer, Limits};

use crate::peers::SERVER_CORE;
use crate::{proc, report, stats};

const GOAL: f64 = 1.0;
/// The goal with source passthrough.
const GOAL_WITH_SOURCE: f64 = 0.6;
const FPS: u32 = 30;
/// Decoding threads of ffmpeg, as many as the ladder has for this size.
const DECODING_THREADS: &str = "1";

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Length of the clip in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Height of the clip. A machine that is too slow for the ladder in real time skips frames, and then the results
    /// mean nothing: use a smaller clip there.
    #[arg(long, default_value_t = 720)]
    height: u32,
    /// Quality of the ladder: plus or premium.
    #[arg(long, default_value = "plus")]
    level: String,
    /// Run on all cores. Parallel threads use more CPU time than the same work in sequence if cores share resources, as
    /// those of virtual machines do, and ffmpeg has fewer threads.
    #[arg(long)]
    all_cores: bool,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Ladder");
    if !args.all_cores {
        proc::pin_self(SERVER_CORE)?;
    }
    let level = match args.level.as_str() {
        "plus" => Level::Plus,
        "premium" => Level::Premium,
        other => anyhow::bail!("unknown level {other}"),
    };
    let folder = tempfile::tempdir()?;
    let clip = folder.path().join("clip.ts");
    let (width, height) = (args.height * 16 / 9 / 2 * 2, args.height);
    make_clip(&clip, width, height, args.seconds)?;
    let items = demux(&clip)?;
    let input = Input { width, height, rate: FrameRate::new(FPS, 1), bitrate: None, codec_efficiency: 1.0 };
    let rungs = plan(&input, level, 1_080);
    let names: Vec<_> = rungs.iter().map(|rung| format!("{} {} kbit/s", rung.name, rung.bitrate / 1_000)).collect();
    println!("{} s of {height}p30 with AAC into {}.\n", args.seconds, names.join(", "));
    report::table(&[
        "program, mode",
        "CPU s",
        "ratio to ffmpeg in real time",
        "≤ 1.0, 0.6",
        "ratio to ffmpeg at full speed",
        "peak MB",
        "delay p50 ms",
        "p99 ms",
        "skipped frames",
        "shed",
    ]);
    for mode in [LatencyMode::Standard, LatencyMode::Low] {
        let megabytes = |bytes: u64| report::megabytes(bytes as f64);
        let [full_speed, real_time] = [Speed::Full, Speed::RealTime].map(|speed| {
            let (cpu, memory) = peer(&clip, level, mode, speed, &rungs)?;
            let name = format!("ffmpeg, {mode:?}, {speed:?}");
            report::row(&[&name, &format!("{cpu:.1}"), "", "", "", &megabytes(memory), "", "", "", ""]);
            Ok::<_, anyhow::Error>(cpu)
        });
        let (full_speed, real_time) = (full_speed?, real_time?);
        for (source, goal, name) in [(false, GOAL, "Weir"), (true, GOAL_WITH_SOURCE, "Weir, source passthrough")] {
            let ours = ladder(&items, level, mode, source)?;
            report::row(&[
                &format!("{name}, {mode:?}"),
                &format!("{:.1}", ours.cpu),
                &format!("{:.2}", ours.cpu / real_time),
                report::met(ours.cpu / real_time <= goal && ours.skipped + ours.shed == 0),
                &format!("{:.2}", ours.cpu / full_speed),
                &megabytes(ours.memory),
                &format!("{:.0}", stats::quantile(&ours.delays, 0.5)),
                &format!("{:.0}", stats::quantile(&ours.delays, 0.99)),
                &ours.skipped.to_string(),
                &ours.shed.to_string(),
            ]);
        }
    }
    Ok(())
}

/// The speed at which ffmpeg reads the clip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speed {
    Full,
    RealTime,
}

struct Run {
    cpu: f64,
    memory: u64,
    /// Delay of each frame in each rung, in milliseconds.
    delays: Vec<f64>,
    /// Frames that were not encoded. With any, or with rungs that were shed, the CPU time is not comparable.
    skipped: u64,
    shed: u64,
}

/// Times at which each video frame entered the ladder, and at which its encoded frames left it.
#[derive(Default)]
struct Times {
    entered: Vec<(Timestamp, Instant)>,
    left: Vec<(Timestamp, Instant)>,
}

/// Pushes the clip in real time.
fn ladder(items: &[Demuxed], level: Level, mode: LatencyMode, source: bool) -> Result<Run> {
    let me = std::process::id();
    let (before, floor) = (proc::cpu(me)?, proc::resident(me)?);
    let times = Arc::new(Mutex::new(Times::default()));
    let output_times = times.clone();
    let output = move |outputs: &mut Vec<Output>| {
        let now = Instant::now();
        let mut times = output_times.lock().unwrap_or_else(PoisonError::into_inner);
        times.left.extend(outputs.drain(..).filter_map(|output| match output {
            Output::Frame(frame) if frame.track < FIRST_AUDIO_TRACK => Some((frame.pts, now)),
            _ => None,
        }));
    };
    let settings = Settings { level, max_height: 1_080, mode, slate: None, hardware: false, loudness: None, source };
    let ladder = Ladder::start(settings, Box::new(output))?;
    let memory = push(&ladder, items, &times)?.saturating_sub(floor);
    let stats = ladder.stats();
    drop(ladder);
    let cpu = (proc::cpu(me)?.saturating_sub(before)).as_secs_f64();
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let delays = delays(&times);
    ensure!(!delays.is_empty(), "nothing was encoded: {stats:?}");
    ensure!(!source || stats.source_frames > 0, "the source was not passed through: {stats:?}");
    let skipped = stats.skipped_frames + stats.refused_frames + stats.continuity.late_frames;
    Ok(Run { cpu, memory, delays, skipped, shed: stats.times_shed })
}

/// Pushes each frame into the ladder when it is due. Returns the peak memory of the process.
fn push(ladder: &Ladder, items: &[Demuxed], times: &Mutex<Times>) -> Result<u64> {
    let (mut splice, began, mut first, mut peak) = (Splice::new(), Instant::now(), None, 0);
    let mut video = None;
    ladder.begin();
    for (n, item) in items.iter().enumerate() {
        let mut spliced = Vec::new();
        match item {
            Demuxed::Track(track) => {
                video = video.or((track.kind() == media::Kind::Video).then_some(track.id));
                splice.track(track.clone(), &mut spliced);
            }
            Demuxed::Frame(frame) => {
                let due = (frame.dts - *first.get_or_insert(frame.dts)).as_millis();
                let due = began + Duration::from_millis(u64::try_from(due).unwrap_or(0));
                sleep(due.saturating_duration_since(Instant::now()));
                splice.frame(frame.clone(), &mut spliced);
            }
            Demuxed::Metadata(_) | Demuxed::Fault(_) | Demuxed::VideoExpected => {}
        }
        record_input(&spliced, video, times);
        spliced.into_iter().for_each(|item| ladder.push(item));
        if n % 100 == 0 {
            peak = peak.max(proc::resident(std::process::id())?);
        }
    }
    // Drains the ladder. Without this its clock would go on and repeat the last frame.
    ladder.gone();
    sleep(Duration::from_millis(200));
    Ok(peak)
}

fn record_input(spliced: &[Item], video: Option<TrackId>, times: &Mutex<Times>) {
    let now = Instant::now();
    let frames = spliced.iter().filter_map(|item| match item {
        Item::Frame(Frame { track, pts, .. }) if Some(*track) == video => Some((*pts, now)),
        _ => None,
    });
    times.lock().unwrap_or_else(PoisonError::into_inner).entered.extend(frames);
}

/// Returns the delays from the input frame of each tick to its encoded frames, in milliseconds, after the start.
fn delays(times: &Times) -> Vec<f64> {
    let (half, settled) = (FrameRate::new(FPS * 2, 1).span(1), times.entered.get(FPS as usize).map(|(_, at)| *at));
    let (Some((entered, _)), Some((left, _))) = (times.entered.first(), times.left.first()) else { return Vec::new() };
    // The output timeline has its own start, which is the same frame.
    let offset = *left - *entered;
    let delay = |(pts, left): &(Timestamp, Instant)| {
        let (_, entered) = times.entered.iter().find(|(entered, _)| (*entered + offset - *pts).abs() < half)?;
        let steady = settled.is_some_and(|settled| *entered > settled);
        steady.then(|| left.saturating_duration_since(*entered).as_secs_f64() * 1_000.0)
    };
    times.left.iter().filter_map(delay).collect()
}

/// Returns the CPU seconds and the peak memory of ffmpeg.
fn peer(clip: &Path, level: Level, mode: LatencyMode, speed: Speed, rungs: &[Rung]) -> Result<(f64, u64)> {
    let preset = if level == Level::Plus { "superfast" } else { "veryfast" };
    let gop = if mode == LatencyMode::Low { FPS } else { 2 * FPS };
    let names: Vec<_> = (0..rungs.len()).map(|n| format!("[v{n}]")).collect();
    let scaled = rungs
        .iter()
        .enumerate()
        .skip(1)
        .map(|(n, rung)| format!(";[v{n}]scale={}:{}:flags=bilinear[s{n}]", rung.width, rung.height));
    let graph = format!("[0:v]split={}{}{}", rungs.len(), names.concat(), scaled.collect::<String>());
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-threads", DECODING_THREADS]);
    if speed == Speed::RealTime {
        command.arg("-re");
    }
    command.arg("-i").arg(clip);
    command.args(["-filter_complex_threads", "1", "-filter_complex", &graph]);
    for (n, rung) in rungs.iter().enumerate() {
        let seconds = if mode == LatencyMode::Low { 1 } else { 2 };
        let (bits, buffer) = (rung.bitrate.to_string(), (rung.bitrate * seconds).to_string());
        command.args(["-map", &if n == 0 { "[v0]".to_owned() } else { format!("[s{n}]") }]);
        command.args(["-c:v", "libx264", "-preset", preset, "-threads", "1", "-b:v", &bits, "-maxrate", &bits]);
        command.args(["-bufsize", &buffer, "-g", &gop.to_string(), "-sc_threshold", "0"]);
        match mode {
            LatencyMode::Low => command.args(["-tune", "zerolatency"]),
            _ => command.args(["-bf", "2", "-rc-lookahead", "10"]),
        };
        command.args(["-f", "null", "-"]);
    }
    command.args(["-map", "0:a", "-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-f", "null", "-"]);
    watch(command.spawn().context("starting ffmpeg")?)
}

/// Waits for a child to end. Returns its CPU seconds and peak memory.
fn watch(mut child: Child) -> Result<(f64, u64)> {
    let (before, mut peak) = (cpu_of_children()?, 0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(proc::resident(child.id()).unwrap_or(0));
        sleep(Duration::from_millis(50));
    };
    ensure!(status.success(), "ffmpeg failed");
    Ok(((cpu_of_children()?.saturating_sub(before)).as_secs_f64(), peak))
}

/// Returns the CPU time (user and system) of the children that have ended and were waited for.
fn cpu_of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |split| split.1).split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).context("/proc/self/stat");
    Ok(Duration::from_secs_f64((ticks(13)? + ticks(14)?) as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn demux(clip: &Path) -> Result<Vec<Demuxed>> {
    let (mut demuxer, mut items) = (Demuxer::new(Limits::default()), Vec::new());
    demuxer.push(&fs::read(clip)?, &mut items)?;
    demuxer.finish(&mut items);
    Ok(items)
}

/// Encodes moving video with noise, as a camera has it.
fn make_clip(clip: &Path, width: u32, height: u32, seconds: u32) -> Result<()> {
    let video = format!("testsrc2=s={width}x{height}:r=30,noise=alls=8:allf=t,format=yuv420p");
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-nostdin",
        "-y",
        "-f",
        "lavfi",
        "-i",
        &video,
        "-f",
        "lavfi",
        "-i",
        "sine=330:r=48000",
    ]);
    command.args([
        "-t",
        &seconds.to_string(),
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-b:v",
        "6M",
        "-maxrate",
        "6M",
    ]);
    command.args(["-bufsize", "6M", "-g", "60", "-bf", "2", "-c:a", "aac", "-ac", "2", "-b:a", "128k"]);
    command.args(["-muxdelay", "0", "-muxpreload", "0"]).arg(clip);
    ensure!(command.status().context("starting ffmpeg")?.success(), "ffmpeg failed");
    Ok(())
}
