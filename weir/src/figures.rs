//! What an operator wants to know of one live stream's contribution.

use std::collections::BTreeMap;

use ingest::LinkStats;
use ingest::health::Drift;
use media::{Fault, TimeDelta};
use slate::SpliceStats;

/// Counters of a broadcast and the drift of its current contribution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) keyframes: u64,
    pub(crate) contributions: u64,
    /// Wall time less the wall time at which the end of the newest published media was captured.
    pub(crate) live_edge: Option<TimeDelta>,
    /// Faults that were repaired, or that something was dropped for.
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) repairs: SpliceStats,
    /// How the link of the current contribution does, where its protocol tells.
    pub(crate) link: Option<LinkStats>,
    /// Packets of the contributions before.
    link_before: LinkStats,
    /// The drift of the current contribution.
    pub(crate) drift: Drift,
    /// Pictures of the slate put into gaps, where the programme is passed through and has one.
    pub(crate) slate_frames: Option<u64>,
    /// What the ladder does, where the programme is encoded.
    pub(crate) ladder: Option<ladder::Stats>,
}

impl Figures {
    pub(crate) fn begin(&mut self) {
        self.contributions += 1;
        self.link_before = self.link_total();
        self.link = None;
    }

    pub(crate) fn bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn frame(&mut self, keyframe: bool) {
        self.frames += 1;
        self.keyframes += u64::from(keyframe);
    }

    /// The link's figures with the packets of earlier contributions counted in.
    pub(crate) fn link_total(&self) -> LinkStats {
        let (before, now) = (&self.link_before, self.link.unwrap_or_default());
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
        let mut figures = Figures::default();
        let link = |packets| LinkStats { packets, ..LinkStats::default() };
        for (contribution, packets) in [(1, 10), (2, 5)] {
            figures.begin();
            figures.link = Some(link(packets));
            assert_eq!(figures.contributions, contribution);
        }
        assert_eq!(figures.link_total().packets, 15);
        figures.begin();
        assert_eq!((figures.link, figures.link_total().packets), (None, 15));
    }
}
