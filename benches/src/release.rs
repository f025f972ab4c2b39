//! Release: time from the last byte of a part's last frame to the response to a blocked playlist request.
//!
//! The last frame of a part is found from the media: the sizes in the part's `trun` are looked up in the clip once, and
//! the durations of later parts are added.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::clip::{FPS, LOOP_FRAMES, Quality, Schedule};
use crate::http::{Client, LiveStream};
use crate::peers::{LOAD_CORE, SERVER_CORE, Weir};
use crate::playlist::{Media, renditions, resolve, with_query};
use crate::push::{Push, Target, drive, loopback};
use crate::{proc, report, stats};

const GOAL_P50_MS: f64 = 5.0;
const GOAL_P99_MS: f64 = 15.0;
/// The published value of OvenMediaEngine.
const OME_P50_MS: f64 = 38.0;
/// Parts to skip at the start, while connections and caches warm up.
const WARM_UP: usize = 10;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The binary of Weir.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// Numbers of streams to measure, one after another.
    #[arg(long, value_delimiter = ',', default_value = "1,10")]
    streams: Vec<usize>,
    /// Seconds for each number.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// The number of the last frame of a part, and the time at which the part became visible.
type Visible = (u64, Instant);

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Release");
    proc::pin_self(LOAD_CORE)?;
    let schedule = Arc::new(Schedule::load(Quality::FULL_HD)?);
    report::table(&[
        "streams",
        "parts",
        "p50, ms",
        "p99, ms",
        "max, ms",
        "p50 ≤ 5 ms",
        "p99 ≤ 15 ms",
        "p50, ratio to OvenMediaEngine's 38 ms",
    ]);
    for n in &args.streams {
        let samples = measure(args, *n, &schedule).with_context(|| format!("{n} streams"))?;
        let (p50, p99) = (stats::quantile(&samples, 0.5), stats::quantile(&samples, 0.99));
        report::row(&[
            n.to_string(),
            samples.len().to_string(),
            format!("{p50:.2}"),
            format!("{p99:.2}"),
            format!("{:.2}", stats::quantile(&samples, 1.0)),
            report::met(p50 <= GOAL_P50_MS).to_owned(),
            report::met(p99 <= GOAL_P99_MS).to_owned(),
            format!("{:.2}", p50 / OME_P50_MS),
        ]);
    }
    Ok(())
}

/// Returns the milliseconds from the last frame of a part to the response, for each part of each stream.
fn measure(args: &Args, n: usize, schedule: &Arc<Schedule>) -> Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let weir = Weir::start(&args.weir, Some(SERVER_CORE))?;
    let streams = runtime.block_on(weir.create_streams(n, 60))?;
    let start = Instant::now() + Duration::from_millis(500);
    let end = start + Duration::from_secs(args.seconds);
    let mut pushes = Vec::with_capacity(n);
    for (i, stream) in streams.iter().enumerate() {
        let start = start + Duration::from_nanos(1_000_000_000 / n as u64 * i as u64);
        let target = Target { address: weir.rtmp, key: stream.key.clone(), source: loopback(i) };
        pushes.push(Push::publish(&target, schedule.clone(), start)?);
    }
    let pusher = std::thread::spawn(move || -> Result<Vec<Vec<Instant>>> {
        let mut sent = vec![Vec::new(); pushes.len()];
        // One second longer, so that the last awaited response arrives.
        drive(&mut pushes, end + Duration::from_secs(1), |push, _, at| sent[push].push(at))?;
        pushes.into_iter().try_for_each(Push::end)?;
        Ok(sent)
    });
    let readers = runtime.block_on(async {
        let mut readers = tokio::task::JoinSet::new();
        for (i, stream) in streams.into_iter().enumerate() {
            let reader = read(weir.http, stream, schedule.clone(), start, end);
            readers.spawn(async move { (i, reader.await) });
        }
        readers.join_all().await
    });
    let sent = pusher.join().map_err(|_| anyhow::anyhow!("the pusher panicked"))??;
    let mut samples = Vec::new();
    for (i, parts) in readers {
        for (frame, seen) in parts?.into_iter().skip(WARM_UP) {
            let written = sent[i].get(frame as usize).context("a part has a frame that was not sent")?;
            let delay = seen.saturating_duration_since(*written);
            samples.push(delay.as_secs_f64() * 1e3);
        }
    }
    Ok(samples)
}

/// Follows the video of a stream with blocking playlist requests until `end`.
async fn read(
    host: std::net::SocketAddr,
    stream: LiveStream,
    schedule: Arc<Schedule>,
    start: Instant,
    end: Instant,
) -> Result<Vec<Visible>> {
    let mut client = Client::connect(host, loopback(0)).await?;
    let path = first_playlist(&mut client, &stream.playback_id).await?;
    let mut media = media(&mut client, &path).await?;
    let mut anchor = Anchor::find(&mut client, &path, &media, &schedule, start).await?;
    let mut parts = Vec::new();
    while Instant::now() < end {
        let waited = (media.msn, media.part);
        let response = client.get(&with_query(&path, &media.next())).await?;
        let seen = Instant::now();
        ensure!(response.status == 200, "a blocking playlist request: status {}", response.status);
        media = Media::parse(&response.text());
        let new: Vec<_> = media.parts.iter().filter(|part| (part.msn, part.index) >= waited).collect();
        ensure!(!new.is_empty(), "the response has no new part: {}", response.text());
        for (n, part) in new.into_iter().enumerate() {
            let last = anchor.advance(part.duration);
            // Only the first of the new parts was awaited.
            if n == 0 {
                parts.push((last, seen));
            }
        }
    }
    let check = Anchor::find(&mut client, &path, &media, &schedule, start).await?;
    ensure!(check.next == anchor.next, "durations lead to frame {}, sizes to {}", anchor.next, check.next);
    Ok(parts)
}

/// Returns the path of the first variant, as soon as there is one.
async fn first_playlist(client: &mut Client, playback_id: &str) -> Result<String> {
    let path = format!("/{playback_id}.m3u8");
    loop {
        let response = client.get(&path).await?;
        match response.status {
            200 => {
                let text = response.text();
                let (variant, _) = renditions(&text);
                return Ok(resolve(&path, variant.context("no variant")?));
            }
            412 | 503 => tokio::time::sleep(Duration::from_millis(100)).await,
            status => bail!("{path}: status {status}"),
        }
    }
}

async fn media(client: &mut Client, path: &str) -> Result<Media> {
    let response = client.get(path).await?;
    ensure!(response.status == 200, "{path}: status {}", response.status);
    Ok(Media::parse(&response.text()))
}

/// The number of the first frame of the next part.
struct Anchor {
    next: u64,
}

impl Anchor {
    /// Finds the frames of the newest part in the clip by their sizes.
    async fn find(client: &mut Client, path: &str, media: &Media, schedule: &Schedule, start: Instant) -> Result<Self> {
        let part = media.parts.last().context("the playlist has no parts")?;
        let response = client.get(&resolve(path, &part.uri)).await?;
        ensure!(response.status == 200, "{}: status {}", part.uri, response.status);
        let sizes = sample_sizes(&response.body).context("the part has no trun with sizes")?;
        let looped = |n: usize| schedule.sample_sizes[n % LOOP_FRAMES];
        let first = (0..LOOP_FRAMES).find(|at| sizes.iter().enumerate().all(|(n, size)| looped(at + n) == *size));
        let end = first.context("the part's samples are not the clip's")? as u64 + sizes.len() as u64;
        // The newest part ends about now, so take the nearest repetition of the loop.
        let (due, length) = (start.elapsed().as_millis() as u64 * FPS / 1_000, LOOP_FRAMES as u64);
        Ok(Self { next: end + (due + length / 2).saturating_sub(end) / length * length })
    }

    /// Adds a part, and returns its last frame.
    fn advance(&mut self, seconds: f64) -> u64 {
        self.next += (seconds * FPS as f64).round() as u64;
        self.next.saturating_sub(1)
    }
}

const TRUN_DATA_OFFSET: u32 = 0x1;
const TRUN_FIRST_FLAGS: u32 = 0x4;
const TRUN_SIZE: u32 = 0x200;
/// Fields of a sample in a `trun`, in order: duration, size, flags, composition offset.
const TRUN_FIELDS: [u32; 4] = [0x100, TRUN_SIZE, 0x400, 0x800];

/// Returns the sample sizes of the first `trun` in `part`.
fn sample_sizes(part: &[u8]) -> Option<Vec<u32>> {
    let body = part.windows(4).position(|w| w == b"trun")? + 4;
    let word = |at: usize| Some(u32::from_be_bytes(part.get(at..at + 4)?.try_into().ok()?));
    let (flags, count) = (word(body)? & 0xff_ffff, word(body + 4)?);
    let mut at = body + 8;
    at += [TRUN_DATA_OFFSET, TRUN_FIRST_FLAGS].iter().filter(|flag| flags & **flag != 0).count() * 4;
    let mut sizes = Vec::new();
    for _ in 0..count {
        for field in TRUN_FIELDS.into_iter().filter(|field| flags & field != 0) {
            if field == TRUN_SIZE {
                sizes.push(word(at)?);
            }
            at += 4;
        }
    }
    (!sizes.is_empty()).then_some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_of_a_trun_are_parsed() {
        let mut part = b"....moof....trun".to_vec();
        for word in [0x0000_0b05u32, 2, 100, 7, 3000, 11, 1, 3000, 22, 2] {
            part.extend(word.to_be_bytes());
        }
        assert_eq!(sample_sizes(&part), Some(vec![11, 22]));
        assert_eq!(sample_sizes(&part[..30]), None);
        assert_eq!(sample_sizes(b"mdat"), None);
    }

    #[test]
    fn durations_of_parts_are_added() {
        let mut anchor = Anchor { next: 30 };
        assert_eq!(anchor.advance(0.2), 35);
        assert_eq!(anchor.advance(0.16667), 40);
    }
}
