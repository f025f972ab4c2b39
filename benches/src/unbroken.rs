//! Continuity of a transcoded live stream whose encoder disconnects once a minute, for an hour. Memory, threads and the
//! offset between video and audio are monitored, and the playlists must not have a discontinuity.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::flashes::{self, SyncProbe};
use crate::passthrough::WINDOW_BYTES;
use crate::peers::{Process, Weir};
use crate::playlist::{renditions, resolve};
use crate::plot::{self, Panel, Series};
use crate::soak::{growth, is_error};
use crate::{proc, report, stats};

/// Interval at which memory and threads are sampled.
const INTERVAL: Duration = Duration::from_secs(10);
/// Time for which an encoder publishes.
const PUBLISH: Duration = Duration::from_secs(50);
/// Seconds for which it is disconnected. Together with [`PUBLISH`] this is about a minute.
const PAUSE_SECS: std::ops::RangeInclusive<u64> = 1..=19;
/// Time after a reconnect at which all media near the live edge is from the new encoder.
const SETTLED: Duration = Duration::from_secs(25);
const SYNC_GOAL_MS: f64 = 40.0;
/// Maximum growth of the number of threads, which varies with the decoder of each contribution.
const THREADS_LIMIT: usize = 4;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary of Weir.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Duration in minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Output file of the samples.
    #[arg(long, default_value = "target/unbroken.csv")]
    csv: PathBuf,
    /// Output file of the plot.
    #[arg(long, default_value = "docs/unbroken.svg")]
    svg: PathBuf,
    /// Output file of the server's log.
    #[arg(long, default_value = "target/unbroken.log")]
    log: PathBuf,
}

/// The state of the server at one time.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    memory: f64,
    window: f64,
    threads: usize,
    /// Delay of flashes after their beeps in the last measurement, in milliseconds.
    av_offset: f64,
}

/// Runs the test, prints its table, and fails if a check failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Unbroken");
    let folder = tempfile::tempdir()?;
    let clip = folder.path().join("flashes.mkv");
    flashes::make(&clip)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut weir = Weir::start(&args.weir, None)?;
    let settings = json!({
        "playback_policy": ["public"], "latency_mode": "low", "reconnect_window": 60,
        "new_asset_settings": { "video_quality": "plus" },
    });
    let stream = runtime.block_on(weir.create(&settings))?;
    let watch = Watch { weir: &weir, runtime: &runtime, playback_id: &stream.playback_id, folder: folder.path() };
    let url = format!("rtmp://{}/app/{}", weir.rtmp, stream.key);
    let (samples, disconnects) = watch.record(args, &|| push(&clip, &url))?;
    let discontinuities = watch.discontinuities()?;
    fs::write(&args.svg, plot::draw(&panels(&samples)))?;
    let log = weir.log()?;
    fs::write(&args.log, &log)?;
    weir.process.stop()?;
    let errors = log.lines().filter(|line| is_error(line)).count();
    report::table(&["check", "result", "passed"]);
    let verdicts = [judge_memory(&samples), judge_threads(&samples), judge_sync(&samples)];
    for (check, result, passed) in &verdicts {
        report::row(&[check, result.as_str(), report::met(*passed)]);
    }
    report::row(&["disconnects", &disconnects.to_string(), ""]);
    report::row(&[
        "discontinuities and gaps in the playlists",
        &discontinuities.to_string(),
        report::met(discontinuities == 0),
    ]);
    report::row(&["errors in the log", &errors.to_string(), report::met(errors == 0)]);
    ensure!(
        verdicts.iter().all(|(_, _, passed)| *passed) && discontinuities == 0 && errors == 0,
        "a check of the programme failed"
    );
    Ok(())
}

struct Watch<'a> {
    weir: &'a Weir,
    runtime: &'a Runtime,
    playback_id: &'a str,
    folder: &'a Path,
}

impl Watch<'_> {
    /// Starts and kills the encoder repeatedly. Returns the samples, and the number of disconnects.
    fn record(&self, args: &Args, encoder: &dyn Fn() -> Result<Process>) -> Result<(Vec<Sample>, usize)> {
        let mut csv = File::create(&args.csv)?;
        writeln!(csv, "seconds,rss,window_bytes,threads,apart_ms")?;
        let (started, end) = (Instant::now(), Duration::from_secs(args.minutes * 60));
        let (mut samples, mut disconnects, mut av_offset) = (Vec::new(), 0, 0.0);
        while started.elapsed() < end {
            let mut running = encoder()?;
            let (began, mut measured) = (Instant::now(), false);
            while began.elapsed() < PUBLISH {
                std::thread::sleep(INTERVAL);
                if began.elapsed() > SETTLED && !std::mem::replace(&mut measured, true) {
                    av_offset = self.av_offset()?;
                }
                let sample = self.sample(started, av_offset)?;
                let Sample { seconds, memory, window, threads, av_offset } = sample;
                writeln!(csv, "{seconds:.1},{memory},{window},{threads},{av_offset:.1}")?;
                samples.push(sample);
            }
            running.child().kill()?;
            disconnects += 1;
            std::thread::sleep(Duration::from_secs(fastrand::u64(PAUSE_SECS)));
        }
        Ok((samples, disconnects))
    }

    fn sample(&self, started: Instant, av_offset: f64) -> Result<Sample> {
        let pid = self.weir.process.pid();
        Ok(Sample {
            seconds: started.elapsed().as_secs_f64(),
            memory: proc::memory(pid)?.rss as f64,
            window: self.runtime.block_on(self.weir.metric(WINDOW_BYTES))?.unwrap_or(0.0),
            threads: proc::threads(pid)?,
            av_offset,
        })
    }

    /// Measures the offset between flashes and beeps in the newest seconds, in milliseconds.
    fn av_offset(&self) -> Result<f64> {
        let probe = SyncProbe::new(self.folder);
        let url = format!("http://{}/{}.m3u8?low_latency=false", self.weir.http, self.playback_id);
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-live_start_index", "-4", "-i", &url, "-t", "6"])
            .args(probe.outputs())
            .status()?;
        ensure!(status.success(), "ffmpeg could not play the programme");
        let (flashes, beeps) = probe.onsets()?;
        let nearest =
            |at: f64| beeps.iter().map(|beep| at - beep).min_by(|one, other| one.abs().total_cmp(&other.abs()));
        let offsets: Vec<f64> = flashes.iter().filter_map(|at| nearest(*at)).map(|seconds| seconds * 1e3).collect();
        ensure!(offsets.len() >= 2, "{} flashes and {} beeps", flashes.len(), beeps.len());
        Ok(stats::median(&offsets))
    }

    /// Counts the discontinuities that the media playlists have had, and the gaps that they list.
    fn discontinuities(&self) -> Result<usize> {
        let path = format!("/{}.m3u8", self.playback_id);
        let get = |path: &str| self.runtime.block_on(async { self.weir.client().await?.get(path).await });
        let main = get(&path)?.text();
        let (video, audio) = renditions(&main);
        let lists = [video.context("no video")?, audio.context("no audio")?];
        lists.iter().try_fold(0, |sum, uri| {
            let list = get(&resolve(&path, uri))?.text();
            Ok(sum + list.matches("#EXT-X-DISCONTINUITY").count() + list.matches("#EXT-X-GAP").count())
        })
    }
}

fn push(clip: &Path, url: &str) -> Result<Process> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-re", "-i"]).arg(clip).args(["-c", "copy", "-f", "flv", url]);
    command.stderr(Stdio::null());
    Process::start(command)
}

fn judge_memory(samples: &[Sample]) -> (&'static str, String, bool) {
    let memory: Vec<_> = samples.iter().map(|s| (s.seconds, s.memory, s.window)).collect();
    let (result, passed) = growth(&memory);
    ("growth of memory outside the window", result, passed)
}

fn judge_threads(samples: &[Sample]) -> (&'static str, String, bool) {
    let (first, second) = samples.split_at(samples.len() / 2);
    let max = |half: &[Sample]| half.iter().map(|s| s.threads).max().unwrap_or(0);
    let (before, after) = (max(first), max(second));
    ("maximum of threads in each half", format!("{before}, {after}"), after <= before + THREADS_LIMIT)
}

fn judge_sync(samples: &[Sample]) -> (&'static str, String, bool) {
    let offsets = || samples.iter().map(|s| s.av_offset);
    let (min, max) = (offsets().fold(f64::MAX, f64::min), offsets().fold(f64::MIN, f64::max));
    let found = format!("{min:.0} to {max:.0} ms");
    ("delay of flashes after beeps", found, min.abs() <= SYNC_GOAL_MS && max.abs() <= SYNC_GOAL_MS)
}

fn panels(samples: &[Sample]) -> Vec<Panel> {
    let series =
        |name, of: fn(&Sample) -> f64| Series { name, points: samples.iter().map(|s| (s.seconds, of(s))).collect() };
    vec![
        Panel {
            title: "Memory, MB",
            series: vec![
                series("resident", |s| s.memory / 1e6),
                series("resident minus window", |s| (s.memory - s.window).max(0.0) / 1e6),
            ],
        },
        Panel { title: "Threads", series: vec![series("threads", |s| s.threads as f64)] },
        Panel { title: "Offset between video and audio, ms", series: vec![series("offset", |s| s.av_offset.abs())] },
    ]
}
