//! Faults in a broadcast's media: counted, logged, and reported to its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::lifecycle::Warning;
use media::id::LiveStreamId;
use media::{Fault, FaultReport};
use parking_lot::Mutex;
use tracing::warn;

/// While a fault goes on, it is logged again after this long, with the number of occurrences since.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// Bound of the dropped tracks of a contribution that are logged with their reason. Further ones are only counted.
const MAX_DROPPED_TRACKS: usize = 32;

/// Reports a warning to the owner of the live stream.
pub(crate) type Warn = Arc<dyn Fn(Warning) + Send + Sync>;

/// The faults of one broadcast.
///
/// A fault is logged at its first occurrence in a contribution, and once a minute while it goes on ([`LOG_AGAIN`]). Its
/// [`Warning`] is sent once per contribution.
pub(crate) struct Faults {
    stream: LiveStreamId,
    warn: Warn,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    totals: BTreeMap<Fault, u64>,
    /// Faults of the current contribution.
    reported: BTreeMap<Fault, Reported>,
    /// Dropped tracks as the log names them, at most [`MAX_DROPPED_TRACKS`].
    dropped_tracks: BTreeSet<Box<str>>,
}

struct Reported {
    logged_at: Instant,
    since: u64,
}

impl State {
    /// Returns true if the report names a dropped track for the first time, because each of them is logged.
    fn is_new_track(&mut self, report: &FaultReport) -> bool {
        let drops_track = matches!(report.fault, Fault::TrackLeftOut | Fault::DecoderFailed);
        let detail = report.detail.as_ref().filter(|_| drops_track && self.dropped_tracks.len() < MAX_DROPPED_TRACKS);
        detail.is_some_and(|detail| self.dropped_tracks.insert(detail.clone()))
    }
}

impl Faults {
    pub(crate) fn new(stream: LiveStreamId, warn: Warn) -> Self {
        Self { stream, warn, state: Mutex::default() }
    }

    /// Starts a contribution, whose faults are logged and reported again.
    pub(crate) fn begin(&self) {
        let mut state = self.state.lock();
        state.reported.clear();
        state.dropped_tracks.clear();
    }

    /// Counts a fault, and logs and reports it if it is due.
    pub(crate) fn record(&self, report: FaultReport) {
        let now = Instant::now();
        let mut state = self.state.lock();
        *state.totals.entry(report.fault).or_default() += report.count;
        let is_new_track = state.is_new_track(&report);
        let is_first = !state.reported.contains_key(&report.fault);
        let reported = state.reported.entry(report.fault).or_insert(Reported { logged_at: now, since: 0 });
        reported.since += report.count;
        if !is_first && !is_new_track && now.duration_since(reported.logged_at) < LOG_AGAIN {
            return;
        }
        let count = std::mem::take(&mut reported.since);
        reported.logged_at = now;
        drop(state);
        let FaultReport { fault, track, detail, .. } = report;
        let (track, detail) = (track.map(|track| track.0), detail.as_deref());
        warn!(stream = %self.stream, fault = fault.label(), track, count, detail, "{}", fault.message());
        if is_first {
            self.warn(Warning::Media(fault));
        }
    }

    /// Reports a warning that is not about a fault in the media.
    pub(crate) fn warn(&self, warning: Warning) {
        (self.warn)(warning);
    }

    /// Occurrences of each fault since the broadcast began.
    pub(crate) fn totals(&self) -> BTreeMap<Fault, u64> {
        self.state.lock().totals.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_names_each_fault() {
        let page = include_str!("../../docs/operations.md");
        let missing = Fault::ALL.iter().filter(|fault| !page.contains(&format!("| `{}` |", fault.label())));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&Fault>::new());
    }

    #[test]
    fn a_fault_is_counted_always_and_reported_once_in_a_contribution() {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&warnings);
        let faults = Faults::new(LiveStreamId::generate(), Arc::new(move |warning| sink.lock().push(warning)));
        let report = FaultReport::new(Fault::SplitAccessUnit, None);
        (0..3).for_each(|_| faults.record(report.clone()));
        assert_eq!(*warnings.lock(), [Warning::Media(Fault::SplitAccessUnit)]);
        faults.record(FaultReport::new(Fault::MissingMedia, None).times(5));
        faults.begin();
        faults.record(report);
        let again = Warning::Media(Fault::SplitAccessUnit);
        assert_eq!(*warnings.lock(), [again, Warning::Media(Fault::MissingMedia), again]);
        assert_eq!(faults.totals(), BTreeMap::from([(Fault::SplitAccessUnit, 4), (Fault::MissingMedia, 5)]));
    }
}
