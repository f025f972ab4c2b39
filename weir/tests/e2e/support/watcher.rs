//! A strict client that runs beside a test. It follows every playlist of a broadcast from the first response to the
//! end, with blocking reloads as a player does, and checks all rules of rfc8216bis that are visible to a client.
//!
//! Each media playlist has a thread that reloads it and a thread that requests preload hints. One more thread reads the
//! multivariant playlist each second. Violations are collected, and reported by [`Watcher::finish`].

mod hints;
mod media;
mod multivariant;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Client, MediaPlaylist, Server, Stream, until};

/// Maximum number of violations to keep. More of them add nothing.
const MAX_FAULTS: usize = 40;
/// Interval between two requests for the multivariant playlist.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Checks the playlists of a broadcast until it is finished or dropped.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Observations other than violations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Hints that were answered with 404.
    pub wrong_hints: usize,
    /// Hints whose part was published.
    pub hints: usize,
    /// Jitter of the media in seconds, by media playlist. A player that is further behind live never runs out of media.
    pub spread: BTreeMap<String, f64>,
    /// `PART-HOLD-BACK`, or `HOLD-BACK` if there are no parts.
    pub hold_back: f64,
    /// Variants whose later media exceeded their `BANDWIDTH` in the first multivariant playlist.
    pub outgrown: Vec<String>,
    /// The newest `FRAME-RATE`.
    pub frame_rate: Option<f64>,
    /// Number of segments that were checked.
    pub segments: usize,
}

struct Shared {
    client: Client,
    /// Path of the multivariant playlist.
    path: String,
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: Vec<String>,
    lists: BTreeMap<String, List>,
    /// Media playlists that have a thread.
    followed: BTreeSet<String>,
    seen: Seen,
}

/// The state of a media playlist.
#[derive(Default)]
struct List {
    newest: MediaPlaylist,
    segments: BTreeMap<u64, Measured>,
}

/// A segment that was fetched.
#[derive(Clone)]
struct Measured {
    bytes: usize,
    duration: f64,
    gap: bool,
    codec: String,
}

impl Watcher {
    /// Starts to request the multivariant playlist at once.
    pub(crate) fn start(server: &Server, stream: &Stream) -> Self {
        let path = server.playback(stream).path();
        let shared = Shared { client: server.client(), path, stop: AtomicBool::new(false), state: Mutex::default() };
        let shared = Arc::new(shared);
        let main = Arc::clone(&shared);
        Self { shared, threads: vec![thread::spawn(move || multivariant::follow(&main))] }
    }

    /// Waits until `segments` segments of a rendition have been checked.
    pub(crate) fn wait_for(&self, segments: usize) {
        until("segments to be checked", || {
            let state = self.shared.state.lock().expect("no thread panicked");
            state.lists.values().any(|list| list.segments.len() >= segments).then_some(())
        });
    }

    /// Stops, and fails if there was any violation.
    pub(crate) fn finish(mut self, what: &str) -> Seen {
        self.stop();
        let mut state = self.shared.state.lock().expect("no thread panicked");
        assert!(state.faults.is_empty(), "{what}: violations of rfc8216bis:\n{}", state.faults.join("\n"));
        state.seen.segments = state.lists.values().map(|list| list.segments.len()).sum();
        assert!(state.seen.segments > 0, "{what}: no segment was checked");
        state.seen.clone()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.fault("the watcher itself failed".to_owned());
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn fault(&self, fault: String) {
        let mut state = self.state.lock().expect("no thread panicked");
        if state.faults.len() < MAX_FAULTS {
            state.faults.push(fault);
        }
    }

    /// Sleeps, but no longer than until the watcher stops.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stopping() && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Converts a UTC date of a playlist to seconds since 1970.
fn unix_seconds(date: &str) -> Option<f64> {
    let number = |from: usize, to: usize| date.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Years start in March, so that a leap day is the last day of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    let seconds: f64 = date.get(17..)?.strip_suffix('Z')?.parse().ok()?;
    Some((days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60) as f64 + seconds)
}

#[test]
fn dates_are_converted() {
    assert_eq!(unix_seconds("1970-01-01T00:00:00.000Z"), Some(0.0));
    assert_eq!(unix_seconds("2026-11-21T08:00:00.250Z"), Some(1_795_248_000.25));
    assert_eq!(unix_seconds("2024-02-29T23:59:59.000Z"), Some(1_709_251_199.0));
}
