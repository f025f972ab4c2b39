//! Stats of one broadcast, for the metrics.

use std::collections::BTreeMap;

use ingest::LinkStats;
use ingest::health::Drift;
use media::{Fault, TimeDelta};
use slate::SpliceStats;

/// Counters of a broadcast, and the drift of its current contribution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) keyframes: u64,
    pub(crate) contributions: u64,
    /// Wall time less the capture time of the end of the newest published media.
    pub(crate) live_edge: Option<TimeDelta>,
    /// Faults that were repaired, or for which media was dropped.
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) splice: SpliceStats,
    /// Stats of the current contribution's link, if its protocol has any.
    pub(crate) link: Option<LinkStats>,
    /// Packet counters of earlier contributions.
    earlier_links: LinkStats,
    /// Drift of the current contribution.
    pub(crate) drift: Drift,
    /// Number of video frames of the slate inserted into gaps; `None` if the programme has no slate or is transcoded.
    pub(crate) slate_frames: Option<u64>,
    /// Stats of the [`ladder::Ladder`], if the programme is transcoded.
    pub(crate) ladder: Option<ladder::Stats>,
}

impl Stats {
    /// Counts another contribution.
    pub(crate) fn begin(&mut self) {
        self.contributions += 1;
        self.earlier_links = self.link_total();
        self.link = None;
    }

    pub(crate) fn bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn frame(&mut self, keyframe: bool) {
        self.frames += 1;
        self.keyframes += u64::from(keyframe);
    }

    /// Returns the link's stats with the packets of earlier contributions included.
    pub(crate) fn link_total(&self) -> LinkStats {
        let (before, now) = (&self.earlier_links, self.link.unwrap_or_default());
        LinkStats {
            packets: before.packets + now.packets,
            lost: before.lost + now.lost,
            retransmitted: before.retransmitted + now.retransmitted,
            dropped: before.dropped + now.dropped,
            undecrypted: before.undecrypted + now.undecrypted,
            continuity_errors: before.continuity_errors + now.continuity_errors,
            dropped_units: before.dropped_units + now.dropped_units,
            ..now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_over_contributions() {
        let mut stats = Stats::default();
        let link = |packets| LinkStats { packets, ..LinkStats::default() };
        for (contribution, packets) in [(1, 10), (2, 5)] {
            stats.begin();
            stats.link = Some(link(packets));
            assert_eq!(stats.contributions, contribution);
        }
        assert_eq!(stats.link_total().packets, 15);
        stats.begin();
        assert_eq!((stats.link, stats.link_total().packets), (None, 15));
    }
}
