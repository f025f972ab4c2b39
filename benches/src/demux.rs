//! MPEG-TS demuxer: bytes per CPU-second, compared with `ffmpeg -c copy -f null` on the same file in the same run.
//!
//! ffmpeg needs a tenth of a second of CPU time to start, so it is also measured on a short file. The difference is the
//! cost of the bytes alone.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wire::ts::{Demuxer, Limits};

use crate::packaging::thread_cpu;
use crate::{report, stats};

const GOAL: f64 = 5.0;
/// Bytes of one read from a file.
const READ: usize = 65_536;
/// Bytes of media in an SRT datagram.
const DATAGRAM: usize = 1_316;
/// Bytes of a transport stream packet.
const PACKET: usize = 188;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minimum size of the file, in MB.
    #[arg(long, default_value_t = 200)]
    megabytes: u64,
    /// Number of rounds, of which the median is reported.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("MPEG-TS demuxer");
    let folder = tempfile::tempdir()?;
    let (clip, whole) = (folder.path().join("clip.ts"), folder.path().join("whole.ts"));
    encode(&clip)?;
    let times = args.megabytes * 1_000_000 / fs::metadata(&clip)?.len();
    ffmpeg(&["-stream_loop", &times.to_string(), "-i", text(&clip)?, "-c", "copy", text(&whole)?])?;
    let (short, size) = (fs::metadata(&clip)?.len() as f64, fs::metadata(&whole)?.len() as f64);
    println!(
        "{:.0} MB of 720p30 at 10 Mbit/s with AAC; MB per CPU-second, medians of {} rounds.\n",
        size / 1e6,
        args.rounds
    );

    let mut runs = Runs::default();
    let bytes = fs::read(&whole)?;
    for _ in 0..args.rounds {
        runs.ffmpeg.push(peer(&whole)?);
        runs.start.push(peer(&clip)?);
        runs.file.push(measure_file(&whole, READ)?.as_secs_f64());
        runs.datagrams.push(measure_file(&whole, DATAGRAM)?.as_secs_f64());
        runs.memory.push(measure_memory(&bytes, READ)?.as_secs_f64());
    }
    let peer = stats::median(&runs.ffmpeg);
    let marginal = (peer - stats::median(&runs.start)) * size / (size - short);
    report::table(&["program", "MB per CPU-second", "ratio to ffmpeg", "≥ 5", "ratio to ffmpeg without startup"]);
    let row = |name: &str, seconds: f64, goal: bool| {
        let met = if goal { report::met(peer / seconds >= GOAL) } else { "" };
        let rate = format!("{:.0}", size / 1e6 / seconds);
        report::row(&[name, &rate, &format!("{:.2}", peer / seconds), met, &format!("{:.2}", marginal / seconds)]);
    };
    row("ffmpeg", peer, false);
    row("ffmpeg without startup", marginal, false);
    row("Weir, pieces of 64 KB", stats::median(&runs.file), true);
    row("Weir, pieces of 1 316 bytes", stats::median(&runs.datagrams), true);
    row("Weir, pieces of 64 KB, without reading the file", stats::median(&runs.memory), false);
    Ok(())
}

/// CPU seconds of each round.
#[derive(Default)]
struct Runs {
    ffmpeg: Vec<f64>,
    start: Vec<f64>,
    file: Vec<f64>,
    datagrams: Vec<f64>,
    memory: Vec<f64>,
}

/// Returns the CPU time of the demuxer for bytes in memory.
fn measure_memory(bytes: &[u8], piece: usize) -> Result<Duration> {
    measure(bytes.len(), |demux| bytes.chunks(piece).try_for_each(demux))
}

/// Returns the CPU time of the demuxer and of reading the file, [`READ`] bytes at a time.
fn measure_file(path: &Path, piece: usize) -> Result<Duration> {
    let size = fs::metadata(path)?.len() as usize;
    let mut buffer = vec![0; READ];
    measure(size, |demux| {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => buffer[..read].chunks(piece).try_for_each(&mut *demux)?,
            }
        }
    })
}

fn measure(size: usize, feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>) -> Result<Duration> {
    let before = thread_cpu();
    let (mut demuxer, mut items, mut count) = (Demuxer::new(Limits::default()), Vec::new(), 0);
    feed(&mut |piece| {
        demuxer.push(piece, &mut items)?;
        count += items.len();
        items.clear();
        Ok(())
    })?;
    demuxer.finish(&mut items);
    let (cpu, stats) = (thread_cpu().saturating_sub(before), demuxer.stats());
    let whole = stats.packets as usize * PACKET == size && stats.dropped == 0 && stats.continuity_errors == 0;
    ensure!(count > 1_000 && whole, "the file was not demuxed completely: {stats:?}");
    Ok(cpu)
}

/// Returns the CPU seconds of ffmpeg for the file.
fn peer(path: &Path) -> Result<f64> {
    let before = cpu_of_children()?;
    ffmpeg(&["-i", text(path)?, "-c", "copy", "-f", "null", "-"])?;
    Ok((cpu_of_children()?.saturating_sub(before)).as_secs_f64())
}

/// Returns the CPU time (user and system) of the children that have ended and were waited for.
fn cpu_of_children() -> Result<Duration> {
    use rustix::param::clock_ticks_per_second;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |split| split.1).split_whitespace().collect();
    let ticks =
        |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).context("/proc/self/stat is short");
    Ok(Duration::from_secs_f64((ticks(13)? + ticks(14)?) as f64 / clock_ticks_per_second() as f64))
}

fn encode(path: &Path) -> Result<()> {
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=1280x720:rate=30",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=330:sample_rate=48000",
        "-t",
        "4",
        "-vf",
        "noise=alls=12:allf=t,format=yuv420p",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-b:v",
        "10M",
        "-maxrate",
        "10M",
        "-bufsize",
        "10M",
        "-g",
        "60",
        "-c:a",
        "aac",
        "-b:a",
        "128k",
        text(path)?,
    ])
}

fn ffmpeg(args: &[&str]) -> Result<()> {
    let status = Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(args).status();
    ensure!(status.context("starting ffmpeg")?.success(), "ffmpeg failed");
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
