//! `/metrics`: what an operator scrapes, in Prometheus' text format.
//!
//! The crates below count in atomics of their own; a scrape reads them into a fresh registry, so that a stream that is
//! gone leaves no label behind.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use control::Control;
use ingest::LinkStats;
use ingest::health::Drift;
use prometheus::core::{AtomicU64, Collector, GenericGaugeVec};
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::figures::Figures;
use crate::studio::Studio;

/// Buckets of the time from a read of the encoder's socket to the window, in seconds.
const PACKAGE_BUCKETS: [f64; 9] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.025, 0.1];

/// Times that are measured as they happen.
pub(crate) struct Latencies {
    package: Histogram,
}

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let options = HistogramOpts::new("weir_package_seconds", "From a read of the encoder's socket to the window.")
            .buckets(PACKAGE_BUCKETS.to_vec());
        Ok(Self { package: Histogram::with_opts(options)? })
    }

    pub(crate) fn packaged(&self, took: Duration) {
        self.package.observe(took.as_secs_f64());
    }
}

/// Where the numbers come from.
pub(crate) struct Sources {
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) studio: Arc<Studio>,
    pub(crate) control: Control,
    pub(crate) ingest: Arc<ingest::Stats>,
    pub(crate) origin: origin::Stats,
}

impl Sources {
    /// The text of a scrape.
    pub(crate) fn render(&self) -> anyhow::Result<String> {
        let page = Page(Registry::new());
        page.0.register(Box::new(self.studio.latencies.package.clone()))?;
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
        page.gauge("weir_store_up", "Whether the store takes writes.", u64::from(status.fault.is_none()))?;
        let help = "Transitions of live streams that the store does not have yet.";
        page.gauge("weir_store_queued_transitions", help, status.queued as u64)?;
        page.counter("weir_store_failures_total", "Times the store began to fail.", status.failures)
    }

    fn ingest(&self, page: &Page) -> anyhow::Result<()> {
        let stats = &self.ingest;
        page.counter("weir_ingest_connections_total", "Encoder connections accepted.", stats.accepted())?;
        page.gauge("weir_ingest_connections", "Encoder connections open.", stats.open())?;
        page.counter("weir_ingest_bytes_total", "Bytes received from encoders.", stats.bytes())?;
        let refusals = stats.refusals();
        let later = &self.studio.refusals;
        let reasons = [
            ("full", refusals.full),
            ("protocol", refusals.protocol),
            ("timeout", refusals.timeout),
            ("unknown_key", refusals.unknown_key),
            ("disabled", refusals.disabled),
            ("unavailable", refusals.unavailable),
            ("long_gop", later.long_gop.load(Ordering::Relaxed)),
            ("unpackageable", later.unpackageable.load(Ordering::Relaxed)),
            ("passphrase", refusals.passphrase),
            ("throttled", refusals.throttled),
            ("not_publishing", refusals.not_publishing),
            ("unsupported", refusals.unsupported),
            ("no_media", refusals.no_media),
            ("bitrate", refusals.bitrate),
            ("memory", refusals.memory),
        ];
        page.counters("weir_ingest_refusals_total", "Encoder connections turned away.", "reason", reasons)
    }

    fn streams(&self, page: &Page) -> anyhow::Result<()> {
        let broadcasts = self.studio.broadcasts();
        page.gauge("weir_broadcasts", "Broadcasts running or just ended.", broadcasts.len() as u64)?;
        let figures: Vec<_> = broadcasts.iter().map(|b| (b.stream.to_string(), b.figures())).collect();
        let each = |get: fn(&Figures) -> u64| figures.iter().map(move |(id, f)| (id.as_str(), get(f)));
        let stream = "live_stream";
        page.counters("weir_stream_bytes_total", "Bytes received for a live stream.", stream, each(|f| f.bytes))?;
        page.counters("weir_stream_frames_total", "Frames received.", stream, each(|f| f.frames))?;
        page.counters("weir_stream_keyframes_total", "IDR pictures received.", stream, each(|f| f.keyframes))?;
        page.counters(
            "weir_stream_contributions_total",
            "Encoder connections of the broadcast.",
            stream,
            each(|f| f.contributions),
        )?;
        page.counters(
            "weir_stream_clock_jumps_total",
            "Jumps of the encoder's clock.",
            stream,
            each(|f| f.repairs.jumps),
        )?;
        page.counters(
            "weir_stream_silent_frames_total",
            "Audio frames put into holes.",
            stream,
            each(|f| f.repairs.silent_frames),
        )?;
        page.counters(
            "weir_stream_dropped_frames_total",
            "Audio frames whose time was filled.",
            stream,
            each(|f| f.repairs.dropped_frames),
        )?;
        let help = "Faults in an encoder's media that were repaired, or that something was dropped for.";
        let faults = IntCounterVec::new(Opts::new("weir_stream_faults_total", help), &[stream, "fault"])?;
        for (id, fault, count) in figures.iter().flat_map(|(id, f)| f.faults.iter().map(move |(k, n)| (id, k, n))) {
            faults.with_label_values(&[id.as_str(), fault.label()]).inc_by(*count);
        }
        page.add(faults)?;
        let slates = figures.iter().filter_map(|(id, f)| Some((id, f.slate_frames?)));
        page.counters("weir_stream_slate_pictures_total", "Pictures of the slate put into gaps.", stream, slates)?;
        let help = "Wall time less EXT-X-PROGRAM-DATE-TIME at the end of the newest published media.";
        let edges = GaugeVec::new(Opts::new("weir_stream_live_edge_seconds", help), &[stream])?;
        let known = figures.iter().filter_map(|(id, f)| Some((id, f.live_edge?)));
        known.for_each(|(id, edge)| edges.with_label_values(&[id]).set(edge.as_secs_f64()));
        page.add(edges)?;
        let help = "Media time less wall time of the contribution.";
        type Of = fn(&Drift) -> i64;
        let drifts: [(&str, &str, Of); 3] = [
            ("weir_stream_drift_seconds", help, |drift| drift.now),
            ("weir_stream_drift_session_average_seconds", "The same, averaged over the contribution.", |drift| {
                drift.session_average
            }),
            ("weir_stream_drift_deviation_seconds", "How far drift is from its average of the last 30 s.", |drift| {
                drift.deviation
            }),
        ];
        for (name, help, get) in drifts {
            let family = GaugeVec::new(Opts::new(name, help), &[stream])?;
            figures.iter().for_each(|(id, f)| family.with_label_values(&[id]).set(get(&f.drift) as f64 / 1_000.0));
            page.add(family)?;
        }
        self.links(page, &figures)?;
        self.ladders(page, &figures)?;
        let help = "Bytes held in memory for viewers.";
        let windows = GenericGaugeVec::<AtomicU64>::new(Opts::new("weir_origin_window_bytes", help), &[stream])?;
        broadcasts
            .iter()
            .for_each(|b| windows.with_label_values(&[b.stream.as_str()]).add(b.origin().stats().window_bytes));
        page.add(windows)
    }

    /// What SRT tells of its links.
    fn links(&self, page: &Page, figures: &[(String, Figures)]) -> anyhow::Result<()> {
        let stream = "live_stream";
        type Of<T> = fn(&LinkStats) -> T;
        let counters: [(&str, &str, Of<u64>); 7] = [
            ("weir_srt_packets_total", "SRT packets with media received.", |link| link.packets),
            ("weir_srt_lost_packets_total", "SRT packets that were missing when they were due to arrive.", |l| l.lost),
            ("weir_srt_retransmitted_packets_total", "SRT packets received on request.", |l| l.retransmitted),
            ("weir_srt_dropped_packets_total", "SRT packets given up for being too late.", |link| link.dropped),
            ("weir_srt_undecrypted_packets_total", "SRT packets that could not be decrypted.", |l| l.undecrypted),
            ("weir_srt_continuity_errors_total", "Gaps in the transport stream.", |l| l.continuity_errors),
            ("weir_srt_dropped_units_total", "Access units left out for being damaged.", |l| l.dropped_units),
        ];
        for (name, help, get) in counters {
            // Those of an earlier contribution are counted on from, so that a counter never goes back.
            let totals = figures.iter().filter(|(_, f)| f.link.is_some());
            let totals = totals.map(|(id, f)| (id, get(&f.link_total())));
            page.counters(name, help, stream, totals)?;
        }
        let gauges: [(&str, &str, Of<f64>); 6] = [
            ("weir_srt_round_trip_seconds", "Round-trip time to the SRT encoder.", |l| l.round_trip.as_secs_f64()),
            ("weir_srt_latency_seconds", "Latency that SRT agreed on.", |l| l.latency.as_secs_f64()),
            ("weir_srt_buffer_seconds", "Media that SRT holds until it is due.", |l| l.buffered.as_secs_f64()),
            ("weir_srt_receive_bytes_per_second", "Rate that SRT receives at.", |l| l.receive_rate as f64 / 8.0),
            ("weir_srt_send_bytes_per_second", "Rate that SRT sends at.", |l| l.send_rate as f64 / 8.0),
            ("weir_srt_capacity_bytes_per_second", "Capacity of the line as SRT estimates it.", |l| {
                l.capacity as f64 / 8.0
            }),
        ];
        for (name, help, get) in gauges {
            let family = GaugeVec::new(Opts::new(name, help), &[stream])?;
            let links = figures.iter().filter_map(|(id, f)| f.link.as_ref().map(|link| (id, link)));
            links.for_each(|(id, link)| family.with_label_values(&[id]).set(get(link)));
            page.add(family)?;
        }
        Ok(())
    }

    /// How encoding does.
    fn ladders(&self, page: &Page, figures: &[(String, Figures)]) -> anyhow::Result<()> {
        type Of = fn(&ladder::Stats) -> u64;
        let counters: [(&str, &str, Of); 12] = [
            ("weir_ladder_live_pictures_total", "Pictures shown as they came.", |f| f.continuity.live),
            ("weir_ladder_held_pictures_total", "Pictures shown again because the next was away.", |f| {
                f.continuity.held
            }),
            ("weir_ladder_slate_pictures_total", "Pictures of the slate.", |f| f.continuity.slate),
            ("weir_ladder_silent_samples_total", "Samples of silence in place of sound.", |f| {
                f.continuity.silent_samples
            }),
            ("weir_ladder_late_pictures_total", "Pictures that came too late.", |f| f.continuity.late_frames),
            ("weir_ladder_source_frames_total", "Frames of the encoder's own, passed on.", |f| f.source_frames),
            ("weir_ladder_refused_frames_total", "Frames left out because decoding was behind.", |f| f.refused_frames),
            ("weir_ladder_bad_frames_total", "Frames that could not be decoded.", |f| f.bad_frames),
            ("weir_ladder_skipped_pictures_total", "Pictures left out because an encoder was behind.", |f| {
                f.skipped_frames
            }),
            ("weir_ladder_decoders_replaced_total", "Decoders that failed and were replaced.", |f| f.decoders_replaced),
            ("weir_ladder_encoders_replaced_total", "Encoders that failed and were replaced.", |f| f.encoders_replaced),
            ("weir_ladder_shed_total", "Times a rung was shed for want of time.", |f| f.times_shed),
        ];
        let ladders = || figures.iter().filter_map(|(id, f)| f.ladder.as_ref().map(|ladder| (id, ladder)));
        for (name, help, get) in counters {
            page.counters(name, help, "live_stream", ladders().map(|(id, f)| (id, get(f))))?;
        }
        let gauges: [(&str, &str, Of); 2] = [
            ("weir_ladder_rungs", "Rungs of the ladder, the shed ones included.", |f| f.rungs as u64),
            ("weir_ladder_shed_rungs", "Rungs that are shed now.", |f| f.rungs_shed as u64),
        ];
        for (name, help, get) in gauges {
            let family = GenericGaugeVec::<AtomicU64>::new(Opts::new(name, help), &["live_stream"])?;
            ladders().for_each(|(id, f)| family.with_label_values(&[id]).set(get(f)));
            page.add(family)?;
        }
        Ok(())
    }

    fn origin(&self, page: &Page) -> anyhow::Result<()> {
        let stats = &self.origin;
        page.counter("weir_origin_bytes_total", "Bytes sent to viewers.", stats.bytes_sent())?;
        page.gauge("weir_origin_connections", "Viewer connections open.", stats.open_connections())?;
        page.gauge("weir_origin_blocked_readers", "Requests that wait for media.", stats.blocked_readers())?;
        page.counter("weir_origin_write_stalls_total", "Connections cut off for not reading.", stats.stall_closes())?;
        let help = "Requests by kind and class of status.";
        let requests = IntCounterVec::new(Opts::new("weir_origin_requests_total", help), &["kind", "status"])?;
        for kind in origin::RouteKind::ALL {
            for class in 1..=origin::STATUS_CLASSES {
                requests.with_label_values(&[kind.label(), &format!("{class}xx")]).inc_by(stats.requests(kind, class));
            }
        }
        page.add(requests)
    }
}

/// The metrics of one scrape.
struct Page(Registry);

impl Page {
    fn add(&self, collector: impl Collector + 'static) -> anyhow::Result<()> {
        Ok(self.0.register(Box::new(collector))?)
    }

    /// Always 1; its labels say which build this is.
    fn build_info(&self) -> anyhow::Result<()> {
        let help = "The version of the program, as a label.";
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
