//! Reports of faults that a demuxer repaired or dropped data for.

use media::{Fault, FaultReport, TrackId};

use super::{Stats, Unsupported, VIDEO_TRACK};

/// Most unsupported streams that are reported; further ones are only counted, so that no encoder fills the log.
pub(super) const MAX_UNSUPPORTED: usize = 32;

/// State of the last report.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported {
    stats: Stats,
    unsupported: usize,
    /// Tracks already reported as unusable; at most one entry for each track.
    unusable: Vec<TrackId>,
}

impl Reported {
    /// Reports the changes of the [`Stats`] since the last call.
    pub(super) fn counted(&mut self, stats: &Stats, out: &mut impl FnMut(FaultReport)) {
        let before = std::mem::replace(&mut self.stats, *stats);
        let lost = |stats: &Stats| stats.continuity_errors + stats.damaged_packets + stats.resyncs;
        let tables = |stats: &Stats| stats.bad_crc + stats.oversized_sections;
        let counted = [
            (Fault::DamagedFrames, stats.dropped - before.dropped, "frames cut short, too long or without a time"),
            (Fault::DamagedFrames, stats.scrambled_packets - before.scrambled_packets, "scrambled packets"),
            (
                Fault::MissingMedia,
                lost(stats) - lost(&before),
                "packets of the transport stream are missing or damaged",
            ),
            (Fault::WrongHeaders, stats.wrong_lengths - before.wrong_lengths, "PES_packet_length"),
            (Fault::WrongHeaders, tables(stats) - tables(&before), "tables with a wrong checksum or length"),
        ];
        for (fault, count, detail) in counted.into_iter().filter(|(_, count, _)| *count > 0) {
            out(FaultReport::new(fault, None).times(count).with_detail(detail));
        }
        if stats.early > before.early {
            let report = FaultReport::new(Fault::FramesBeforeKeyFrame, Some(VIDEO_TRACK));
            out(report.times(stats.early - before.early).with_detail("its parameter sets have not come"));
        }
    }

    /// Reports the [`Unsupported`] streams found since the last call.
    pub(super) fn unsupported(&mut self, all: &[Unsupported], out: &mut impl FnMut(FaultReport)) {
        for unsupported in all.get(self.unsupported..).unwrap_or_default() {
            out(FaultReport::new(Fault::TrackLeftOut, None).with_detail(unsupported.to_string()));
        }
        self.unsupported = all.len();
    }

    /// Reports tracks that turned out to be unusable; `all` are those that are unusable now.
    pub(super) fn unusable(&mut self, all: Vec<(TrackId, String)>, out: &mut impl FnMut(FaultReport)) {
        self.unusable.retain(|known| all.iter().any(|(track, _)| track == known));
        for (track, reason) in all {
            if !self.unusable.contains(&track) {
                self.unusable.push(track);
                let detail = format!("audio is left out: {reason}");
                out(FaultReport::new(Fault::TrackLeftOut, Some(track)).with_detail(detail));
            }
        }
    }
}
