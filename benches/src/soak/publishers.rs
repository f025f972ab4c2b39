//! Encoders that end properly, lose their connection, reconnect soon or late, and take over from themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clip::Schedule;
use crate::push::{Push, Target, drive};

/// Seconds for which an encoder publishes, and for which it usually pauses.
const PUBLISH_SECS: std::ops::RangeInclusive<u64> = 20..=120;
/// Seconds of a short pause.
const SHORT_PAUSE_SECS: std::ops::RangeInclusive<u64> = 1..=5;
/// Interval at which the stop flag is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The counters of all encoders.
#[derive(Default)]
pub(crate) struct Stats {
    /// Encoders that are publishing.
    pub(crate) on: AtomicU64,
    /// Publications that were started.
    pub(crate) publications: AtomicU64,
    /// Publications that took over from one that was still open.
    pub(crate) takeovers: AtomicU64,
    /// Publications that were refused or ended by the server.
    pub(crate) failures: AtomicU64,
}

/// Publishes with pauses until `stop`.
pub(crate) fn run(target: &Target, schedule: &Arc<Schedule>, stop: &AtomicBool, stats: &Stats) {
    while !stop.load(Ordering::Relaxed) {
        stats.on.fetch_add(1, Ordering::Relaxed);
        let ended = publish_once(target, schedule, stop, stats);
        stats.on.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = ended {
            stats.failures.fetch_add(1, Ordering::Relaxed);
            println!("- publisher from {}: {error:#}", target.source);
        }
        let pause = if fastrand::u8(..3) == 0 { SHORT_PAUSE_SECS } else { PUBLISH_SECS };
        let back = Instant::now() + Duration::from_secs(fastrand::u64(pause));
        while Instant::now() < back && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Publishes once. A takeover prolongs the publication.
fn publish_once(target: &Target, schedule: &Arc<Schedule>, stop: &AtomicBool, stats: &Stats) -> Result<()> {
    let mut push = begin(target, schedule, stats)?;
    loop {
        let until = Instant::now() + Duration::from_secs(fastrand::u64(PUBLISH_SECS));
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            drive(std::slice::from_mut(&mut push), Instant::now() + POLL_INTERVAL, |_, _, _| {})?;
        }
        match fastrand::u8(..3) {
            _ if stop.load(Ordering::Relaxed) => return push.end(),
            0 => return push.end(),
            // The connection closes without an end of the stream, as after a crash of the encoder.
            1 => return Ok(()),
            _ => {
                stats.takeovers.fetch_add(1, Ordering::Relaxed);
                // The old publication closes after the new one has started.
                push = begin(target, schedule, stats)?;
            }
        }
    }
}

fn begin(target: &Target, schedule: &Arc<Schedule>, stats: &Stats) -> Result<Push> {
    let push = Push::publish(target, schedule.clone(), Instant::now())?;
    stats.publications.fetch_add(1, Ordering::Relaxed);
    Ok(push)
}
