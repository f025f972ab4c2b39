//! What an operator wants to know of one live stream's contribution.

use std::time::{Duration, Instant};

use ingest::LinkFigures;
use media::{Frame, TimeDelta, Timestamp};
use slate::Repairs;

/// Counters of a broadcast and the drift of its current contribution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    pub(crate) keyframes: u64,
    pub(crate) contributions: u64,
    pub(crate) repairs: Repairs,
    /// How the link of the current contribution does, where its protocol tells.
    pub(crate) link: Option<LinkFigures>,
    /// Packets of the contributions before.
    link_before: LinkFigures,
    began: Option<Instant>,
    newest: Option<Instant>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Figures {
    pub(crate) fn begin(&mut self, now: Instant) {
        self.contributions += 1;
        self.link_before = self.link_total();
        self.link = None;
        (self.began, self.newest, self.first, self.last) = (Some(now), None, None, None);
    }

    pub(crate) fn bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn frame(&mut self, frame: &Frame, video: bool, now: Instant) {
        self.frames += 1;
        self.keyframes += u64::from(video && frame.access.is_independent());
        if self.first.is_none() {
            (self.first, self.began) = (Some(frame.dts), Some(now));
        }
        self.last = self.last.max(Some(frame.dts));
        self.newest = Some(now);
    }

    /// The link's figures with the packets of earlier contributions counted in.
    pub(crate) fn link_total(&self) -> LinkFigures {
        let (before, now) = (&self.link_before, self.link.unwrap_or_default());
        LinkFigures {
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

    /// Elapsed media time less elapsed wall time of the contribution, in milliseconds: below zero when the encoder or
    /// its network is too slow.
    pub(crate) fn drift_millis(&self) -> i64 {
        let (Some(began), Some(newest), Some(first), Some(last)) = (self.began, self.newest, self.first, self.last)
        else {
            return 0;
        };
        (last - first - delta(newest.saturating_duration_since(began))).as_millis()
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::{Access, Timescale, TrackId};

    #[test]
    fn packets_are_counted_over_contributions() {
        let mut figures = Figures::default();
        let link = |packets| LinkFigures { packets, ..LinkFigures::default() };
        for (contribution, packets) in [(1, 10), (2, 5)] {
            figures.begin(Instant::now());
            figures.link = Some(link(packets));
            assert_eq!(figures.contributions, contribution);
        }
        assert_eq!(figures.link_total().packets, 15);
        figures.begin(Instant::now());
        assert_eq!((figures.link, figures.link_total().packets), (None, 15));
    }

    #[test]
    fn drift_is_media_time_less_wall_time() {
        let mut figures = Figures::default();
        let start = Instant::now();
        figures.begin(start);
        assert_eq!(figures.drift_millis(), 0);
        for (media, wall) in [(5_000, 0), (6_000, 1_500)] {
            let dts = Timescale::MILLIS.timestamp(media);
            let frame =
                Frame { track: TrackId(1), dts, pts: dts, access: Access::Independent, payload: bytes::Bytes::new() };
            figures.frame(&frame, media == 5_000, start + Duration::from_millis(wall));
        }
        assert_eq!(figures.drift_millis(), -500);
        assert_eq!((figures.frames, figures.keyframes), (2, 1));
    }
}
