//! `/metrics`, in Prometheus' text format.
//!
//! The crates below count in their own atomics. Each scrape reads those into a fresh registry, so that no labels of an
//! ended stream remain.

mod targets;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use control::Control;
use ingest::LinkStats;
use ingest::health::Drift;
use prometheus::core::{AtomicU64, Collector, GenericGaugeVec};
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::app::App;
use crate::broadcast::Stats;

/// The parts of the program that `/metrics` reads.
pub(crate) struct Sources {
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) app: Arc<App>,
    pub(crate) control: Control,
    pub(crate) ingest: Arc<ingest::Stats>,
    pub(crate) origin: origin::Stats,
}

impl Sources {
    /// Returns the text of a scrape.
    pub(crate) fn render(&self) -> anyhow::Result<String> {
        let page = Page(Registry::new());
        page.0.register(Box::new(self.app.package_latency.histogram().clone()))?;
        page.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        page.build_info()?;
        let tasks = self.runtime.metrics().num_alive_tasks();
        page.gauge("weir_tasks", "Tasks of encoders, broadcasts and timers.", tasks as u64)?;
        self.store(&page)?;
        self.ingest(&page)?;
        self.streams(&page)?;
        self.origin(&page)?;
        Ok(TextEncoder::new().encode_to_string(&page.0.gather())?)
    }

    fn store(&self, page: &Page) -> anyhow::Result<()> {
        let status = self.control.store_status();
        page.gauge("weir_store_up", "1 if the store accepts writes, 0 if not.", u64::from(status.fault.is_none()))?;
        let help = "State changes of live streams that are not stored yet.";
        page.gauge("weir_store_queued_transitions", help, status.queued as u64)?;
        page.counter("weir_store_failures_total", "Times that the store started to fail.", status.failures)
    }

    fn ingest(&self, page: &Page) -> anyhow::Result<()> {
        let stats = &self.ingest;
        page.counter("weir_ingest_connections_total", "Encoder connections accepted.", stats.accepted())?;
        page.gauge("weir_ingest_connections", "Encoder connections open.", stats.open())?;
        page.counter("weir_ingest_bytes_total", "Bytes received from encoders.", stats.bytes())?;
        let refusals = stats.refusals();
        let rejected = &self.app.rejections;
        let reasons = [
            ("full", refusals.full),
            ("protocol", refusals.protocol),
            ("timeout", refusals.timeout),
            ("unknown_key", refusals.unknown_key),
            ("disabled", refusals.disabled),
            ("unavailable", refusals.unavailable),
            ("long_gop", rejected.long_gop.load(Ordering::Relaxed)),
            ("unpackageable", rejected.unpackageable.load(Ordering::Relaxed)),
            ("passphrase", refusals.passphrase),
            ("throttled", refusals.throttled),
            ("not_publishing", refusals.not_publishing),
            ("unsupported", refusals.unsupported),
            ("no_media", refusals.no_media),
            ("bitrate", refusals.bitrate),
            ("memory", refusals.memory),
        ];
        page.counters(
            "weir_ingest_refusals_total",
            "Encoder connections refused or ended by the server.",
            "reason",
            reasons,
        )
    }

    fn streams(&self, page: &Page) -> anyhow::Result<()> {
        let broadcasts = self.app.broadcasts();
        page.gauge("weir_broadcasts", "Broadcasts that run or have just ended.", broadcasts.len() as u64)?;
        let streams: Vec<_> = broadcasts.iter().map(|b| (b.stream.to_string(), b.stats())).collect();
        stream_counters(page, &streams)?;
        stream_faults(page, &streams)?;
        stream_times(page, &streams)?;
        links(page, &streams)?;
        ladders(page, &streams)?;
        targets::add(page, &broadcasts)?;
        let help = "Bytes of media kept in memory for viewers.";
        let windows = GenericGaugeVec::<AtomicU64>::new(Opts::new("weir_origin_window_bytes", help), &[STREAM])?;
        broadcasts
            .iter()
            .for_each(|b| windows.with_label_values(&[b.stream.as_str()]).add(b.origin().stats().window_bytes));
        page.add(windows)
    }

    fn origin(&self, page: &Page) -> anyhow::Result<()> {
        let stats = &self.origin;
        page.counter("weir_origin_bytes_total", "Bytes sent to viewers.", stats.bytes_sent())?;
        page.gauge("weir_origin_connections", "Viewer connections open.", stats.open_connections())?;
        page.gauge("weir_origin_blocked_readers", "Requests that are waiting for media.", stats.blocked_readers())?;
        page.counter(
            "weir_origin_write_stalls_total",
            "Connections closed because the viewer did not read.",
            stats.stall_closes(),
        )?;
        let help = "Requests by kind and status class.";
        let requests = IntCounterVec::new(Opts::new("weir_origin_requests_total", help), &["kind", "status"])?;
        for kind in origin::RouteKind::ALL {
            for class in 1..=origin::STATUS_CLASSES {
                requests.with_label_values(&[kind.label(), &format!("{class}xx")]).inc_by(stats.requests(kind, class));
            }
        }
        page.add(requests)
    }
}

/// Stats of each broadcast, with its live stream's id.
type StreamStats = [(String, Stats)];

/// The label of metrics of one live stream.
const STREAM: &str = "live_stream";

fn stream_counters(page: &Page, streams: &StreamStats) -> anyhow::Result<()> {
    type Get = fn(&Stats) -> u64;
    let counters: [(&str, &str, Get); 7] = [
        ("weir_stream_bytes_total", "Bytes received for a live stream.", |s| s.bytes),
        ("weir_stream_frames_total", "Frames received.", |s| s.frames),
        ("weir_stream_keyframes_total", "Key frames received.", |s| s.keyframes),
        ("weir_stream_contributions_total", "Encoder connections of the broadcast.", |s| s.contributions),
        ("weir_stream_clock_jumps_total", "Jumps of the encoder's clock.", |s| s.splice.timestamp_jumps),
        ("weir_stream_silent_frames_total", "Silent audio frames inserted into gaps.", |s| s.splice.silent_frames),
        ("weir_stream_dropped_frames_total", "Audio frames dropped because their time was already filled.", |s| {
            s.splice.dropped_frames
        }),
    ];
    for (name, help, get) in counters {
        page.counters(name, help, STREAM, streams.iter().map(|(id, stats)| (id.as_str(), get(stats))))?;
    }
    let slates = streams.iter().filter_map(|(id, stats)| Some((id, stats.slate_frames?)));
    page.counters("weir_stream_slate_pictures_total", "Video frames of the slate inserted into gaps.", STREAM, slates)
}

fn stream_faults(page: &Page, streams: &StreamStats) -> anyhow::Result<()> {
    let help = "Faults in an encoder's media, which were repaired or made Weir drop something.";
    let faults = IntCounterVec::new(Opts::new("weir_stream_faults_total", help), &[STREAM, "fault"])?;
    for (id, fault, count) in streams.iter().flat_map(|(id, s)| s.faults.iter().map(move |(k, n)| (id, k, n))) {
        faults.with_label_values(&[id.as_str(), fault.label()]).inc_by(*count);
    }
    page.add(faults)
}

/// Distances of the media's clock and of the live edge from the wall clock.
fn stream_times(page: &Page, streams: &StreamStats) -> anyhow::Result<()> {
    let help = "Wall time minus EXT-X-PROGRAM-DATE-TIME at the end of the newest published media.";
    let edges = GaugeVec::new(Opts::new("weir_stream_live_edge_seconds", help), &[STREAM])?;
    let known = streams.iter().filter_map(|(id, stats)| Some((id, stats.live_edge?)));
    known.for_each(|(id, edge)| edges.with_label_values(&[id]).set(edge.as_secs_f64()));
    page.add(edges)?;
    type Get = fn(&Drift) -> i64;
    let drifts: [(&str, &str, Get); 3] = [
        ("weir_stream_drift_seconds", "Media time minus wall time of the contribution.", |drift| drift.now),
        ("weir_stream_drift_session_average_seconds", "Average drift since the start of the contribution.", |drift| {
            drift.session_average
        }),
        ("weir_stream_drift_deviation_seconds", "Deviation of the drift from its average of the last 30 s.", |drift| {
            drift.deviation
        }),
    ];
    for (name, help, get) in drifts {
        let family = GaugeVec::new(Opts::new(name, help), &[STREAM])?;
        streams.iter().for_each(|(id, s)| family.with_label_values(&[id]).set(get(&s.drift) as f64 / 1_000.0));
        page.add(family)?;
    }
    Ok(())
}

/// The stats of SRT connections.
fn links(page: &Page, streams: &StreamStats) -> anyhow::Result<()> {
    type Get<T> = fn(&LinkStats) -> T;
    let counters: [(&str, &str, Get<u64>); 7] = [
        ("weir_srt_packets_total", "SRT packets with media received.", |link| link.packets),
        ("weir_srt_lost_packets_total", "SRT packets that were missing when they were due to arrive.", |l| l.lost),
        ("weir_srt_retransmitted_packets_total", "SRT packets received after a request to resend them.", |l| {
            l.retransmitted
        }),
        ("weir_srt_dropped_packets_total", "SRT packets dropped because they arrived too late.", |link| link.dropped),
        ("weir_srt_undecrypted_packets_total", "SRT packets that could not be decrypted.", |l| l.undecrypted),
        ("weir_srt_continuity_errors_total", "Gaps in the transport stream.", |l| l.continuity_errors),
        ("weir_srt_dropped_units_total", "Access units dropped because they were damaged.", |l| l.dropped_units),
    ];
    for (name, help, get) in counters {
        // Includes earlier contributions, so that a counter never goes back.
        let totals = streams.iter().filter(|(_, stats)| stats.link.is_some());
        let totals = totals.map(|(id, stats)| (id, get(&stats.link_total())));
        page.counters(name, help, STREAM, totals)?;
    }
    let gauges: [(&str, &str, Get<f64>); 6] = [
        ("weir_srt_round_trip_seconds", "Round-trip time to the SRT encoder.", |l| l.round_trip.as_secs_f64()),
        ("weir_srt_latency_seconds", "Latency that the SRT handshake agreed on.", |l| l.latency.as_secs_f64()),
        ("weir_srt_buffer_seconds", "Media in SRT's receive buffer that is not due yet.", |l| l.buffered.as_secs_f64()),
        ("weir_srt_receive_bytes_per_second", "Receive rate of SRT.", |l| l.receive_rate as f64 / 8.0),
        ("weir_srt_send_bytes_per_second", "Send rate of SRT.", |l| l.send_rate as f64 / 8.0),
        ("weir_srt_capacity_bytes_per_second", "Capacity of the network path as SRT estimates it.", |l| {
            l.capacity as f64 / 8.0
        }),
    ];
    for (name, help, get) in gauges {
        let family = GaugeVec::new(Opts::new(name, help), &[STREAM])?;
        let links = streams.iter().filter_map(|(id, stats)| stats.link.as_ref().map(|link| (id, link)));
        links.for_each(|(id, link)| family.with_label_values(&[id]).set(get(link)));
        page.add(family)?;
    }
    Ok(())
}

/// The stats of [`ladder::Ladder`]s.
fn ladders(page: &Page, streams: &StreamStats) -> anyhow::Result<()> {
    type Get = fn(&ladder::Stats) -> u64;
    let counters: [(&str, &str, Get); 12] = [
        ("weir_ladder_live_pictures_total", "Video frames of the encoder presented once.", |s| s.continuity.live),
        ("weir_ladder_held_pictures_total", "Video frames repeated because the next one had not arrived.", |s| {
            s.continuity.repeated
        }),
        ("weir_ladder_slate_pictures_total", "Video frames of the slate.", |s| s.continuity.slate),
        ("weir_ladder_silent_samples_total", "Samples of silence inserted because audio was missing.", |s| {
            s.continuity.silent_samples
        }),
        ("weir_ladder_late_pictures_total", "Video frames dropped because they arrived too late.", |s| {
            s.continuity.late_frames
        }),
        ("weir_ladder_source_frames_total", "Frames of the encoder passed through.", |s| s.source_frames),
        ("weir_ladder_refused_frames_total", "Frames dropped because decoding was too slow.", |s| s.refused_frames),
        ("weir_ladder_bad_frames_total", "Frames that could not be decoded.", |s| s.bad_frames),
        ("weir_ladder_skipped_pictures_total", "Video frames not encoded because an encoder was too slow.", |s| {
            s.skipped_frames
        }),
        ("weir_ladder_decoders_replaced_total", "Decoders that failed and were replaced.", |s| s.decoders_replaced),
        ("weir_ladder_encoders_replaced_total", "Encoders that failed and were replaced.", |s| s.encoders_replaced),
        ("weir_ladder_shed_total", "Times that a rung was shed because of overload.", |s| s.times_shed),
    ];
    let ladders = || streams.iter().filter_map(|(id, stats)| stats.ladder.as_ref().map(|ladder| (id, ladder)));
    for (name, help, get) in counters {
        page.counters(name, help, STREAM, ladders().map(|(id, stats)| (id, get(stats))))?;
    }
    let gauges: [(&str, &str, Get); 2] = [
        ("weir_ladder_rungs", "Rungs of the ladder, including those that are shed.", |s| s.rungs as u64),
        ("weir_ladder_shed_rungs", "Rungs that are shed at the moment.", |s| s.rungs_shed as u64),
    ];
    for (name, help, get) in gauges {
        let family = GenericGaugeVec::<AtomicU64>::new(Opts::new(name, help), &[STREAM])?;
        ladders().for_each(|(id, stats)| family.with_label_values(&[id]).set(get(stats)));
        page.add(family)?;
    }
    Ok(())
}

/// The metrics of one scrape.
struct Page(Registry);

impl Page {
    fn add(&self, collector: impl Collector + 'static) -> anyhow::Result<()> {
        Ok(self.0.register(Box::new(collector))?)
    }

    /// Adds a gauge that is always 1. Its labels identify the build.
    fn build_info(&self) -> anyhow::Result<()> {
        let help = "The version of the program as a label; the value is always 1.";
        let info = IntGaugeVec::new(Opts::new("weir_build_info", help), &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.add(info)
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> anyhow::Result<()> {
        let counter = prometheus::IntCounter::new(name, help)?;
        counter.inc_by(value);
        self.add(counter)
    }

    fn gauge(&self, name: &str, help: &str, value: u64) -> anyhow::Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.add(gauge)
    }

    fn counters<L: Display>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> anyhow::Result<()> {
        let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
        for (of, value) in values {
            family.with_label_values(&[of.to_string()]).inc_by(value);
        }
        self.add(family)
    }
}
