//! Packager: bytes of payload per CPU-second from frames to parts, and a proof that none of them is copied.
//!
//! The proof has two parts: the bytes allocated per frame do not depend on the size of the frame, and every payload
//! byte of a part is in the memory of its frame.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use media::codec::avc;
use media::{Access, CodecConfig, Frame, LatencyMode, Timescale, Track, TrackId, WallTime};
use packager::log::{Event, Part};
use packager::{Config, Packager};
use rustix::time::{ClockId, clock_gettime};

use crate::clip::{Quality, Schedule};
use crate::counting::{Allocated, allocated};
use crate::{report, stats};

const GOAL: f64 = 3e9;
const FPS: i64 = 30;
const WARM_UP: i64 = 3_000;
/// Frame sizes: that of 1080p at 5 Mbit/s, and ten times as much.
const SIZES: [usize; 2] = [20_000, 200_000];

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Frames in each round.
    #[arg(long, default_value_t = 300_000)]
    frames: i64,
    /// Number of rounds, of which the median is reported.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// A round's counts.
#[derive(Default)]
struct Outcome {
    frames: u64,
    payload: u64,
    shared: u64,
    cpu: Duration,
    allocated: Allocated,
}

/// Runs the benchmark and prints its table.
pub(crate) fn run(args: &Args) -> Result<()> {
    report::header("Packager");
    let schedule = Schedule::load(Quality::FULL_HD)?;
    report::table(&[
        "frame, bytes",
        "frames",
        "GB per CPU-second",
        "≥ 3",
        "ns per frame",
        "allocations per frame",
        "bytes allocated per frame",
        "payload bytes in parts",
        "bytes copied",
    ]);
    for size in SIZES {
        let rounds = (0..args.rounds).map(|_| measure(&schedule, size, args.frames)).collect::<Result<Vec<_>>>()?;
        let rates: Vec<f64> = rounds.iter().map(|r| r.payload as f64 / r.cpu.as_secs_f64()).collect();
        let times: Vec<f64> = rounds.iter().map(|r| r.cpu.as_secs_f64() * 1e9 / r.frames as f64).collect();
        let last = rounds.last().context("no round")?;
        let each = |n: u64| format!("{:.2}", n as f64 / last.frames as f64);
        report::row(&[
            size.to_string(),
            last.frames.to_string(),
            format!("{:.2}", stats::median(&rates) / 1e9),
            report::met(stats::median(&rates) >= GOAL).to_owned(),
            format!("{:.0}", stats::median(&times)),
            each(last.allocated.count),
            each(last.allocated.bytes),
            last.payload.to_string(),
            (last.payload - last.shared).to_string(),
        ]);
    }
    Ok(())
}

fn measure(schedule: &Schedule, size: usize, frames: i64) -> Result<Outcome> {
    let config = avc::Config::parse(schedule.avc_record())?;
    let track = Track::new(TrackId(1), CodecConfig::Avc(config));
    let mut packager = Packager::new(Config { mode: LatencyMode::Low, ..Config::default() });
    packager.add_track(track)?;
    let payload = payload(size);
    let frame = |n: i64| {
        let dts = Timescale::new(FPS as u32).timestamp(n);
        let frame = Frame {
            track: TrackId(1),
            dts,
            pts: dts,
            access: Access::independent_if(n % FPS == 0),
            payload: payload.clone(),
        };
        (frame, WallTime::from_unix_millis(n * 1_000 / FPS))
    };
    for n in 0..WARM_UP {
        let (frame, arrival) = frame(n);
        packager.push(frame, arrival)?;
        while packager.poll().is_some() {}
    }

    let (mut outcome, mut kept) = (Outcome::default(), None);
    let (cpu, before) = (thread_cpu(), allocated());
    for n in WARM_UP..WARM_UP + frames {
        let (frame, arrival) = frame(n);
        packager.push(frame, arrival)?;
        while let Some(event) = packager.poll() {
            if let Event::Part(part) = event {
                outcome.count(&part, &payload);
                kept = Some(part);
            }
        }
    }
    outcome.cpu = thread_cpu().saturating_sub(cpu);
    let after = allocated();
    outcome.allocated = Allocated { count: after.count - before.count, bytes: after.bytes - before.bytes };
    kept.context("no part was published")?;
    ensure!(outcome.payload >= (frames as u64 - 60) * size as u64, "payload is missing in the parts");
    Ok(outcome)
}

impl Outcome {
    /// Counts the payload in `part`, and how much of it is in the memory of `source`.
    fn count(&mut self, part: &Arc<Part>, source: &Bytes) {
        let memory = source.as_ptr_range();
        let frames = u64::from(part.frames);
        self.frames += frames;
        self.payload += frames * source.len() as u64;
        let shared = part.data.pieces().iter().filter(|piece| memory.contains(&piece.as_ptr()));
        self.shared += shared.map(|piece| piece.len() as u64).sum::<u64>();
    }
}

/// Returns one IDR slice of `size` bytes, with a length prefix.
fn payload(size: usize) -> Bytes {
    let mut bytes = vec![0x65; size];
    let length = (size as u32).saturating_sub(4).to_be_bytes();
    bytes.splice(..4, length);
    bytes.into()
}

pub(crate) fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_nal_unit() {
        let bytes = payload(20);
        assert_eq!((bytes.len(), &bytes[..5]), (20, &[0u8, 0, 0, 16, 0x65][..]));
    }
}
