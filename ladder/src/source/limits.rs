//! Limits on a source that is forwarded: the length of its GOPs, and its bit rate.

use media::{LatencyMode, TimeDelta, Timestamp};

/// Longest GOP that is forwarded. Beyond it viewers have no place to join, so the contribution is encoded instead.
const MAX_GOP: TimeDelta = TimeDelta::from_secs(4);
/// Tolerance for a GOP that is longer than the first one.
const GOP_JITTER: TimeDelta = TimeDelta::from_millis(200);
/// Interval over which the bit rate is measured.
const BITRATE_INTERVAL: TimeDelta = TimeDelta::from_secs(4);

/// Checks one contribution after another against the limits.
#[derive(Debug)]
pub(crate) struct SourceLimits {
    /// Bits per second that a source may have.
    max_bits: u32,
    /// Lower bound of `max_gop`.
    min_gop: TimeDelta,
    /// Longest GOP allowed; `None` before the second IDR frame, which sets it.
    max_gop: Option<TimeDelta>,
    /// Tick of the newest IDR frame.
    last_idr: Option<Timestamp>,
    /// Tick since which `bytes` are counted.
    counted_since: Option<Timestamp>,
    bytes: usize,
    /// Whether the current contribution has kept to the limits so far.
    within: bool,
}

impl SourceLimits {
    /// Returns limits for a latency mode; `max_bits` bounds the bit rate, per second.
    pub(crate) fn new(mode: LatencyMode, max_bits: u32) -> Self {
        let seconds = if mode == LatencyMode::Standard { 4 } else { 2 };
        Self {
            max_bits,
            min_gop: TimeDelta::from_secs(seconds),
            max_gop: None,
            last_idr: None,
            counted_since: None,
            bytes: 0,
            within: true,
        }
    }

    /// Resets the verdict for another contribution.
    pub(crate) const fn begin(&mut self) {
        self.within = true;
    }

    /// Returns whether the contribution has kept to the limits so far, since [`SourceLimits::begin`].
    pub(crate) const fn is_within(&self) -> bool {
        self.within
    }

    /// Counts the bytes of a frame that is forwarded.
    pub(crate) const fn add_bytes(&mut self, count: usize) {
        self.bytes += count;
    }

    /// Notes that an IDR frame is presented at `at`.
    pub(crate) const fn note_idr(&mut self, at: Timestamp) {
        self.last_idr = Some(at);
    }

    /// Returns whether the GOP presented at `at` is short enough. A longer one disqualifies the contribution; an
    /// encoder's GOP, with `on_air` false, does not.
    pub(crate) fn check_gop(&mut self, at: Timestamp, on_air: bool) -> bool {
        let max = self.max_gop.unwrap_or(MAX_GOP) + GOP_JITTER;
        let idr = self.last_idr.filter(|_| on_air);
        self.within &= idr.is_none_or(|idr| at - idr <= max);
        self.within
    }

    /// Returns whether an IDR frame at `at` may be forwarded, by the bit rate so far. The first one after the encoder's
    /// frames, with `on_air` false, always may, and starts the measurement again.
    pub(crate) fn check_idr(&mut self, at: Timestamp, on_air: bool) -> bool {
        if !on_air {
            (self.counted_since, self.bytes) = (Some(at), 0);
            return true;
        }
        if let Some(idr) = self.last_idr {
            self.max_gop.get_or_insert((at - idr).clamp(self.min_gop, MAX_GOP));
        }
        let since = *self.counted_since.get_or_insert(at);
        if at - since >= BITRATE_INTERVAL {
            let bits = self.bytes as f64 * 8.0 / (at - since).as_secs_f64();
            (self.counted_since, self.bytes) = (Some(at), 0);
            self.within &= bits <= f64::from(self.max_bits);
        }
        self.within
    }
}
