//! Metrics of simulcast targets. No label contains a secret: targets are named by their ids.

use prometheus::core::{AtomicU64, GenericGaugeVec};
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};
use simulcast::{Severity, State, Stats};

use super::{Page, STREAM};
use crate::broadcast::Broadcast;

/// The labels of metrics of one target.
const TARGET: [&str; 2] = [STREAM, "target"];

/// Values of the label `state`.
const STATES: [&str; 5] = ["idle", "starting", "broadcasting", "errored", "failed"];

/// Adds the metrics of the targets of these broadcasts.
pub(super) fn add(page: &Page, broadcasts: &[std::sync::Arc<Broadcast>]) -> anyhow::Result<()> {
    let targets: Vec<_> = broadcasts
        .iter()
        .flat_map(|broadcast| broadcast.targets().stats().into_iter().map(|(id, stats)| (&broadcast.stream, id, stats)))
        .collect();
    let help = "1 for the current state of a simulcast target: errored is tried again, failed is not.";
    let states = IntGaugeVec::new(Opts::new("weir_simulcast_target_state", help), &[STREAM, "target", "state"])?;
    for (stream, id, stats) in &targets {
        for state in STATES {
            let is_current = state == name(&stats.state);
            states.with_label_values(&[stream.as_str(), id.as_str(), state]).set(i64::from(is_current));
        }
    }
    page.add(states)?;
    type Get = fn(&Stats) -> u64;
    let counters: [(&str, &str, Get); 5] = [
        ("weir_simulcast_bytes_total", "Bytes sent to a simulcast target.", |s| s.bytes),
        ("weir_simulcast_frames_total", "Frames sent to a simulcast target.", |s| s.frames),
        ("weir_simulcast_dropped_frames_total", "Frames dropped because the target's queue was full.", |s| {
            s.dropped_frames
        }),
        ("weir_simulcast_connects_total", "Publications that started at a simulcast target.", |s| s.connects),
        ("weir_simulcast_failures_total", "Attempts that failed, and publications that broke off.", |s| s.failures),
    ];
    for (name, help, get) in counters {
        let family = IntCounterVec::new(Opts::new(name, help), &TARGET)?;
        for (stream, id, stats) in &targets {
            family.with_label_values(&[stream.as_str(), id.as_str()]).inc_by(get(stats));
        }
        page.add(family)?;
    }
    let help = "Bytes of media that wait for a simulcast target.";
    let queues = GenericGaugeVec::<AtomicU64>::new(Opts::new("weir_simulcast_queue_bytes", help), &TARGET)?;
    for (stream, id, stats) in &targets {
        queues.with_label_values(&[stream.as_str(), id.as_str()]).set(stats.queue_bytes);
    }
    page.add(queues)?;
    let help = "Round-trip time to a simulcast target, where it is known: with SRT.";
    let round_trips = GaugeVec::new(Opts::new("weir_simulcast_round_trip_seconds", help), &TARGET)?;
    for (stream, id, stats) in &targets {
        if let Some(round_trip) = stats.rtt {
            round_trips.with_label_values(&[stream.as_str(), id.as_str()]).set(round_trip.as_secs_f64());
        }
    }
    page.add(round_trips)
}

fn name(state: &State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Starting => "starting",
        State::Broadcasting => "broadcasting",
        State::Errored { severity: Severity::Normal, .. } => "errored",
        State::Errored { severity: Severity::Fatal, .. } => "failed",
    }
}
