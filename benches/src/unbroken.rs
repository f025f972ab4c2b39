//! The unbroken programme: an encoder that drops once a minute, for an hour, into an encoded live stream. Memory, threads and how
//! far picture and sound are apart are watched; the playlists may not break once.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::flashes::{self, Witness};
use crate::passthrough::WINDOW_BYTES;
use crate::peers::{Process, Weir};
use crate::playlist::{renditions, resolve};
use crate::plot::{self, Panel, Series};
use crate::soak::{growth, is_error};
use crate::{proc, report, stats};

/// Memory and threads are looked at so often.
const INTERVAL: Duration = Duration::from_secs(10);
/// An encoder is on so long.
const ON: Duration = Duration::from_secs(50);
/// And away for so many seconds, which with the time on makes a minute.
const AWAY_SECS: std::ops::RangeInclusive<u64> = 1..=19;
/// After a return what is away from the live edge has come from the new encoder.
const SETTLED: Duration = Duration::from_secs(25);
const SYNC_GOAL_MS: f64 = 40.0;
/// Threads come and go with the decoder of each contribution.
const THREADS_LIMIT: usize = 4;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Weir's binary.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Where the samples go.
    #[arg(long, default_value = "target/unbroken.csv")]
    csv: PathBuf,
    /// Where the plot goes.
    #[arg(long, default_value = "docs/unbroken.svg")]
    svg: PathBuf,
    /// Where the server's log goes.
    #[arg(long, default_value = "target/unbroken.log")]
    log: PathBuf,
}

/// The server at one moment.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    memory: f64,
    window: f64,
    threads: usize,
    /// Milliseconds that flashes come after their beeps, in the last measurement.
    apart: f64,
}

/// Runs the soak, prints its table and fails if anything broke.
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
    let (samples, drops) = watch.record(args, &|| push(&clip, &url))?;
    let breaks = watch.breaks()?;
    fs::write(&args.svg, plot::draw(&panels(&samples)))?;
    let log = weir.log()?;
    fs::write(&args.log, &log)?;
    weir.process.stop()?;
    let errors = log.lines().filter(|line| is_error(line)).count();
    report::table(&["what", "found", "well"]);
    let verdicts = [judge_memory(&samples), judge_threads(&samples), judge_sync(&samples)];
    for (what, found, well) in &verdicts {
        report::row(&[what, found.as_str(), report::met(*well)]);
    }
    report::row(&["drops", &drops.to_string(), ""]);
    report::row(&["breaks in the playlists", &breaks.to_string(), report::met(breaks == 0)]);
    report::row(&["errors in the log", &errors.to_string(), report::met(errors == 0)]);
    ensure!(verdicts.iter().all(|(_, _, well)| *well) && breaks == 0 && errors == 0, "the programme did not keep well");
    Ok(())
}

struct Watch<'a> {
    weir: &'a Weir,
    runtime: &'a Runtime,
    playback_id: &'a str,
    folder: &'a Path,
}

impl Watch<'_> {
    /// Lets the encoder come and go; gives the samples, and how often it dropped.
    fn record(&self, args: &Args, encoder: &dyn Fn() -> Result<Process>) -> Result<(Vec<Sample>, usize)> {
        let mut csv = File::create(&args.csv)?;
        writeln!(csv, "seconds,rss,window_bytes,threads,apart_ms")?;
        let (started, end) = (Instant::now(), Duration::from_secs(args.minutes * 60));
        let (mut samples, mut drops, mut apart) = (Vec::new(), 0, 0.0);
        while started.elapsed() < end {
            let mut running = encoder()?;
            let (began, mut measured) = (Instant::now(), false);
            while began.elapsed() < ON {
                std::thread::sleep(INTERVAL);
                if began.elapsed() > SETTLED && !std::mem::replace(&mut measured, true) {
                    apart = self.apart()?;
                }
                let sample = self.sample(started, apart)?;
                let Sample { seconds, memory, window, threads, apart } = sample;
                writeln!(csv, "{seconds:.1},{memory},{window},{threads},{apart:.1}")?;
                samples.push(sample);
            }
            running.child().kill()?;
            drops += 1;
            std::thread::sleep(Duration::from_secs(fastrand::u64(AWAY_SECS)));
        }
        Ok((samples, drops))
    }

    fn sample(&self, started: Instant, apart: f64) -> Result<Sample> {
        let pid = self.weir.process.pid();
        Ok(Sample {
            seconds: started.elapsed().as_secs_f64(),
            memory: proc::memory(pid)?.rss as f64,
            window: self.runtime.block_on(self.weir.metric(WINDOW_BYTES))?.unwrap_or(0.0),
            threads: proc::threads(pid)?,
            apart,
        })
    }

    /// How far flashes and beeps are apart in the newest seconds, in milliseconds.
    fn apart(&self) -> Result<f64> {
        let witness = Witness::new(self.folder);
        let url = format!("http://{}/{}.m3u8?low_latency=false", self.weir.http, self.playback_id);
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-live_start_index", "-4", "-i", &url, "-t", "6"])
            .args(witness.outputs())
            .status()?;
        ensure!(status.success(), "ffmpeg cannot play the programme");
        let (flashes, beeps) = witness.onsets()?;
        let nearest =
            |at: f64| beeps.iter().map(|beep| at - beep).min_by(|one, other| one.abs().total_cmp(&other.abs()));
        let apart: Vec<f64> = flashes.iter().filter_map(|at| nearest(*at)).map(|seconds| seconds * 1e3).collect();
        ensure!(apart.len() >= 2, "{} flashes and {} beeps", flashes.len(), beeps.len());
        Ok(stats::median(&apart))
    }

    /// Discontinuities that the media playlists ever had, and gaps that they list.
    fn breaks(&self) -> Result<usize> {
        let path = format!("/{}.m3u8", self.playback_id);
        let get = |path: &str| self.runtime.block_on(async { self.weir.client().await?.get(path).await });
        let main = get(&path)?.text();
        let (video, audio) = renditions(&main);
        let lists = [video.context("no pictures")?, audio.context("no sound")?];
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
    let (found, well) = growth(&memory);
    ("growth of memory beside the window", found, well)
}

fn judge_threads(samples: &[Sample]) -> (&'static str, String, bool) {
    let (first, second) = samples.split_at(samples.len() / 2);
    let most = |half: &[Sample]| half.iter().map(|s| s.threads).max().unwrap_or(0);
    let (before, after) = (most(first), most(second));
    ("threads, at most in each half", format!("{before}, {after}"), after <= before + THREADS_LIMIT)
}

fn judge_sync(samples: &[Sample]) -> (&'static str, String, bool) {
    let apart = || samples.iter().map(|s| s.apart);
    let (least, most) = (apart().fold(f64::MAX, f64::min), apart().fold(f64::MIN, f64::max));
    let found = format!("{least:.0} to {most:.0} ms");
    ("flashes after their beeps", found, least.abs() <= SYNC_GOAL_MS && most.abs() <= SYNC_GOAL_MS)
}

fn panels(samples: &[Sample]) -> Vec<Panel> {
    let series =
        |name, of: fn(&Sample) -> f64| Series { name, points: samples.iter().map(|s| (s.seconds, of(s))).collect() };
    vec![
        Panel {
            title: "Memory, MB",
            series: vec![
                series("resident", |s| s.memory / 1e6),
                series("resident less window", |s| (s.memory - s.window).max(0.0) / 1e6),
            ],
        },
        Panel { title: "Threads", series: vec![series("threads", |s| s.threads as f64)] },
        Panel { title: "Picture and sound apart, ms", series: vec![series("apart", |s| s.apart.abs())] },
    ]
}
