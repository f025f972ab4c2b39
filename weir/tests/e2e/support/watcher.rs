//! A strict reader beside a scenario: it follows every playlist of a broadcast from the first answer to the end, by blocking
//! reloads as a player does, and checks what rfc8216bis asks for and can be seen from outside.
//!
//! One thread for each media playlist reloads, another one asks for what is hinted at, and one reads the multivariant
//! playlist each second. What they find wrong is kept, and told when the scenario asks for it.

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

/// Violations that are kept; when a rule is broken for good, more of them tell nothing new.
const MAX_FAULTS: usize = 40;
const LOOK: Duration = Duration::from_secs(1);

/// Watches a broadcast until it is finished or dropped.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What came to light besides violations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Hints that were answered with 404.
    pub wrong_hints: usize,
    /// Hints that came true.
    pub hints: usize,
    /// How unevenly media came, in seconds, by media playlist: a player that is further behind never runs dry.
    pub spread: BTreeMap<String, f64>,
    /// `PART-HOLD-BACK`, or `HOLD-BACK` where no parts are offered.
    pub hold_back: f64,
    /// Variants whose `BANDWIDTH` in the first multivariant playlist did not hold for what came later.
    pub outgrown: Vec<String>,
    /// The newest `FRAME-RATE`.
    pub frame_rate: Option<f64>,
    /// Segments that were looked at.
    pub segments: usize,
}

struct Shared {
    client: Client,
    /// Of the multivariant playlist.
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

/// What is known of a media playlist.
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
    /// Begins to ask for the multivariant playlist at once.
    pub(crate) fn start(server: &Server, stream: &Stream) -> Self {
        let path = server.playback(stream).path();
        let shared = Shared { client: server.client(), path, stop: AtomicBool::new(false), state: Mutex::default() };
        let shared = Arc::new(shared);
        let main = Arc::clone(&shared);
        Self { shared, threads: vec![thread::spawn(move || multivariant::follow(&main))] }
    }

    /// Waits until so many segments of some rendition were looked at.
    pub(crate) fn wait_for(&self, segments: usize) {
        until("segments to be looked at", || {
            let state = self.shared.state.lock().expect("no thread panicked");
            state.lists.values().any(|list| list.segments.len() >= segments).then_some(())
        });
    }

    /// Ends it, and fails if anything was wrong.
    pub(crate) fn finish(mut self, what: &str) -> Seen {
        self.stop();
        let mut state = self.shared.state.lock().expect("no thread panicked");
        assert!(state.faults.is_empty(), "{what}: against rfc8216bis:\n{}", state.faults.join("\n"));
        state.seen.segments = state.lists.values().map(|list| list.segments.len()).sum();
        assert!(state.seen.segments > 0, "{what}: nothing was seen");
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

    /// Sleeps, but for no longer than the scenario lasts.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stopping() && Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Seconds since 1970 of a date as playlists have it, in UTC.
fn unix_seconds(date: &str) -> Option<f64> {
    let number = |from: usize, to: usize| date.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Years begin in March, so that leap days are at their ends.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    let seconds: f64 = date.get(17..)?.strip_suffix('Z')?.parse().ok()?;
    Some((days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60) as f64 + seconds)
}

#[test]
fn dates_are_read() {
    assert_eq!(unix_seconds("1970-01-01T00:00:00.000Z"), Some(0.0));
    assert_eq!(unix_seconds("2026-11-21T08:00:00.250Z"), Some(1_795_248_000.25));
    assert_eq!(unix_seconds("2024-02-29T23:59:59.000Z"), Some(1_709_251_199.0));
}
