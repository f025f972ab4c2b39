//! The time that a batch of frames takes from ingest to the window, as a histogram for `/metrics`.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts};

/// Upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 9] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.025, 0.1];

/// Times from a read of the encoder's socket to the window.
pub(crate) struct PackageLatency(Histogram);

impl PackageLatency {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let help = "Time from a read of the encoder's socket until its frames are in the window.";
        let options = HistogramOpts::new("weir_package_seconds", help).buckets(BUCKETS.to_vec());
        Ok(Self(Histogram::with_opts(options)?))
    }

    /// Records one batch.
    pub(crate) fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }

    /// Returns the histogram to be scraped.
    pub(crate) fn histogram(&self) -> &Histogram {
        &self.0
    }
}
