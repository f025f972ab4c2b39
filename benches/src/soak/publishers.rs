//! Encoders that come and go: they end properly, drop, come back soon or late, and take over from themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clip::Schedule;
use crate::push::{Push, Target, drive};

/// An encoder is on, and mostly off, for so many seconds.
const SPELL_SECS: std::ops::RangeInclusive<u64> = 20..=120;
/// A dropped encoder that comes back at once is off for so many seconds.
const DROP_SECS: std::ops::RangeInclusive<u64> = 1..=5;
/// The flag that ends the run is looked at so often.
const SLICE: Duration = Duration::from_millis(200);

/// What the encoders count together.
#[derive(Default)]
pub(crate) struct Counts {
    /// Encoders that send now.
    pub(crate) on: AtomicU64,
    /// Publications that began.
    pub(crate) publications: AtomicU64,
    /// Publications that took over from one that was still open.
    pub(crate) takeovers: AtomicU64,
    /// Publications that were refused or cut off.
    pub(crate) failures: AtomicU64,
}

/// Publishes on and off until `stop`.
pub(crate) fn run(target: &Target, schedule: &Arc<Schedule>, stop: &AtomicBool, counts: &Counts) {
    while !stop.load(Ordering::Relaxed) {
        counts.on.fetch_add(1, Ordering::Relaxed);
        let ended = spell(target, schedule, stop, counts);
        counts.on.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = ended {
            counts.failures.fetch_add(1, Ordering::Relaxed);
            println!("- publisher from {}: {error:#}", target.source);
        }
        let off = if fastrand::u8(..3) == 0 { DROP_SECS } else { SPELL_SECS };
        let back = Instant::now() + Duration::from_secs(fastrand::u64(off));
        while Instant::now() < back && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(SLICE);
        }
    }
}

/// One time on, which a takeover may prolong.
fn spell(target: &Target, schedule: &Arc<Schedule>, stop: &AtomicBool, counts: &Counts) -> Result<()> {
    let mut push = begin(target, schedule, counts)?;
    loop {
        let until = Instant::now() + Duration::from_secs(fastrand::u64(SPELL_SECS));
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            drive(std::slice::from_mut(&mut push), Instant::now() + SLICE, |_, _, _| {})?;
        }
        match fastrand::u8(..3) {
            _ if stop.load(Ordering::Relaxed) => return push.end(),
            0 => return push.end(),
            // As when the encoder's machine loses its power: the connection just closes.
            1 => return Ok(()),
            _ => {
                counts.takeovers.fetch_add(1, Ordering::Relaxed);
                // The old one closes only now that the new one publishes.
                push = begin(target, schedule, counts)?;
            }
        }
    }
}

fn begin(target: &Target, schedule: &Arc<Schedule>, counts: &Counts) -> Result<Push> {
    let push = Push::publish(target, schedule.clone(), Instant::now())?;
    counts.publications.fetch_add(1, Ordering::Relaxed);
    Ok(push)
}
